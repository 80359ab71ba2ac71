"""Child stops: how work ends that was given to children, with all that stands below it.

Rule: what is recorded as stopped ends wherever it is driven; the process that asks drives it only if nobody else does.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from ..core.errors import Conflict, NoOpenRun, NotFound, SessionNotFound
from ..core.events import SessionCreated, UserInterrupt
from ..core.ids import SessionId
from ..engine.log import append_outside, load_state
from ..engine.tasks import cancellation, is_of_tenant
from .subagent_part import SubagentPart


class ChildStops(SubagentPart):
    """Ends the work of the children of sessions."""

    async def stop(self, session: SessionId, reason: str) -> None:
        """See `Subagents.stop`."""
        try:
            state = await load_state(self._store, session)
        except SessionNotFound:
            return
        await self._stop(session, reason, state.labels.tenant)
        # What an ended task has left in the background works for this session as well.
        await self.stop_below(session, reason)

    async def works_below(self, session: SessionId) -> bool:
        """See `Subagents.works_below`."""
        return [one async for one in self._working_below(session)] != []

    async def stop_below(self, session: SessionId, reason: str) -> None:
        """See `Subagents.stop_below`."""
        async for below, tenant in self._working_below(session):
            with contextlib.suppress(SessionNotFound):
                await self._stop(below, reason, tenant)

    async def _working_below(self, session: SessionId) -> AsyncIterator[tuple[SessionId, str | None]]:
        """Those made for tasks that have something to do, each with its tenant."""
        for below in await self._store.descendants(session):
            with contextlib.suppress(SessionNotFound):
                state = await load_state(self._store, below)
                first = (await self._store.read(below, limit=1))[0].data
                if isinstance(first, SessionCreated) and first.task is not None and (state.gate.run or state.gate.tasks):
                    yield below, state.labels.tenant

    async def _stop(self, session: SessionId, reason: str, tenant: str | None) -> None:
        try:
            state = await load_state(self._store, session)
        except SessionNotFound:
            return
        clock = self._parts.clock
        if state.gate.run is not None and not state.gate.interrupted:
            with contextlib.suppress(NoOpenRun, Conflict):
                interrupt = UserInterrupt(state.gate.run, reason=reason)
                await append_outside(self._store, session, [interrupt], clock, run=state.gate.run)
        for task in state.gate.tasks:
            with contextlib.suppress(NotFound, Conflict):
                ended = await cancellation(self._store, session, task, reason)
                await append_outside(self._store, session, [ended], clock)
            if await is_of_tenant(self._store, task.session, tenant):
                await self._stop(task.session, reason, tenant)
        row = await self._store.session(session)
        if row.run is not None and row.owner is None and not self._host.hosts(session):
            await self._host.do_once(session)
