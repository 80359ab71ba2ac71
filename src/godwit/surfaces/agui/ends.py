"""Ends: how a run ends for whoever follows beyond what a projection knows: one in which nothing was to be done, and what is
asked by those of whom it tells nothing more.

Rule: what keeps an input from being taken is always among the interrupts.
"""

from __future__ import annotations

from collections.abc import Collection

from ...core.errors import ActionNotFound
from ...core.events import OutputChecked, RunFinished
from ...core.ids import SessionId
from ..server.service import Service
from . import events as e
from .interrupts import interrupt_of, opened
from .outcome import Ended, ended_by

_ENDS = ("run.finished", "session.rewound", "session.forked")
_BEFORE = ("output.checked", "run.started")


class Ends:
    """Those of a session's runs."""

    def __init__(self, service: Service, session: SessionId) -> None:
        self._service = service
        self._session = session

    async def with_all(self, ended: Ended, told: Collection[SessionId]) -> Ended:
        """The same, with what others ask than the sessions that were told of: what ended tasks have left in the background
        asks as well. A run that has failed or was stopped ends so."""
        if not isinstance(ended.outcome, e.Success | e.Interrupted):
            return ended
        asks = await self._asked_beside(told)
        if not asks:
            return ended
        own = ended.outcome.interrupts if isinstance(ended.outcome, e.Interrupted) else []
        return Ended(e.Interrupted(interrupts=[*own, *asks]), ended.result)

    async def _asked_beside(self, told: Collection[SessionId]) -> list[e.Interrupt]:
        if not await self._service.store.descendants(self._session):
            return []
        handle = await self._service.runtime.open_session(self._session, drive=False)
        found: list[e.Interrupt] = []
        for pending in await handle.approvals.pending():
            if pending.kind == "external" or pending.session in told:
                continue
            try:
                found.append(interrupt_of(await opened(self._service.store, pending), call=None, subagent=None))
            except ActionNotFound:  # its session was deleted just now
                continue
        return found

    async def of_the_last_run(self) -> Ended:
        """How the newest run has ended; a success where there was none, or one that was gone back behind."""
        store = self._service.store
        for last in await store.read(self._session, types=_ENDS, newest_first=True, limit=1):
            if isinstance(last.data, RunFinished):
                before = await store.read(self._session, types=_BEFORE, to_seq=last.seq, newest_first=True, limit=1)
                checked = [event.data.value for event in before if isinstance(event.data, OutputChecked)]
                return ended_by(last.data, checked[0] if checked else None)
        return Ended(e.Success())


__all__ = ["Ends"]
