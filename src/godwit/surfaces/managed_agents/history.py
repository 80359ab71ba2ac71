"""History: a stored log as events of this protocol, from any place, forwards or backwards.

It reads at most one turn more than what is asked for: a fold begins at the last base before the place.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from ...contracts import EventStore
from ...core.agent import AgentRef
from ...core.errors import AgentNotFound
from ...core.events import Event, SessionConfigured, UserMessage
from ...core.ids import InputId, Seq, SessionId
from .agent_shapes import resolved, snapshot_of
from .projected import Place, Projected
from .projection import BASES, Projector

PORTION: Final = 256
"""Events read at a time."""
_LOOKED_AT: Final = 16
BEHIND: Final = 1 << 31
"""Behind whatever a seq becomes: `(seq, BEHIND)` is the place after all of it."""


class History:
    """One session's log, read as events of this protocol. `agent`: what people call its agent."""

    def __init__(self, store: EventStore, session: SessionId, agent: str) -> None:
        self._store = store
        self.session = session
        self._agent = agent

    async def open(self, after: Place) -> tuple[Projector, Seq]:
        """A projector that gives what comes behind this place, once it is fed all events behind the seq."""
        seq, index = after
        to_seq = seq if index >= BEHIND else Seq(seq - 1)
        found = await self._store.read(self.session, to_seq=to_seq, types=BASES, newest_first=True, limit=1)
        if not found:
            return Projector(self.session, self._agent), Seq(0)
        return Projector(self.session, self._agent, found[0].data), found[0].seq

    async def project(self, projector: Projector, event: Event) -> list[Projected]:
        """What the next event becomes; looks up an older message when it is delivered now, and an agent when it is new."""
        wanted = projector.wants(event)
        if wanted is not None:
            message = await self._message(wanted, event.seq)
            if message is not None:
                projector.know(message)
        data = event.data
        if isinstance(data, SessionConfigured) and data.agent is not None:
            return projector.feed(event, await self._snapshot(data.agent))
        return projector.feed(event)

    async def _snapshot(self, ref: AgentRef) -> dict[str, Any] | None:
        try:
            return snapshot_of(await resolved(self._store, ref))
        except AgentNotFound:
            return None

    async def behind(self, after: Place, to_seq: Seq | None = None) -> AsyncIterator[Projected]:
        """All events behind the place, up to the end of the log as it is found, or to what `to_seq` becomes."""
        projector, seq = await self.open(after)
        while True:
            end = seq + PORTION if to_seq is None else min(seq + PORTION, to_seq)
            events = await self._store.read(self.session, seq, to_seq=Seq(end))
            for event in events:
                for projected in await self.project(projector, event):
                    if projected.place > after:
                        yield projected
                seq = event.seq
            if not events or seq == to_seq:
                break
            await asyncio.sleep(0)  # a long log is read in portions, so that others are not held up
        if to_seq is None:
            for projected in projector.rest():
                if projected.place > after:
                    yield projected

    async def before(self, place: Place | None) -> AsyncIterator[Projected]:
        """All events before the place, or all there are, the newest first."""
        end: Seq | None = None
        if place is not None:
            bases = await self._store.read(self.session, place[0], types=BASES, limit=1)
            end = bases[0].seq if bases else None
        while True:
            to_seq = None if end is None else Seq(end - 1)
            found = await self._store.read(self.session, to_seq=to_seq, types=BASES, newest_first=True, limit=1)
            base = found[0].seq if found else Seq(0)
            unit = [p async for p in self.behind((base, BEHIND), end)]
            for projected in reversed(unit):
                if place is None or projected.place < place:
                    yield projected
            if not found:
                return
            end = base

    async def _message(self, wanted: InputId, before: Seq) -> Event | None:
        """The message of this id, which was accepted before."""
        to_seq, limit = Seq(before - 1), _LOOKED_AT
        while True:
            found = await self._store.read(
                self.session, types=("user.message",), to_seq=to_seq, newest_first=True, limit=limit
            )
            for event in found:
                data = event.data
                if isinstance(data, UserMessage) and data.id == wanted:
                    return event
            if len(found) < limit:
                return None
            to_seq, limit = Seq(found[-1].seq - 1), min(limit * 4, PORTION)
