"""Feed: the events of a session and of all that works for it, with what is on its way between them, as one stream.

Beside the log (`engine/tree.py`), deltas of every session whose work is followed. An event never comes before a delta that
was shown before it. Nothing grows with a reader's slowness: of deltas it misses the oldest, which their offsets tell.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from ...contracts import Store
from ...core.events import Delta, Event
from ...core.ids import Seq, SessionId
from ...engine.tree import TreeReceiver, cursor_behind

MOST: Final = 4096
"""Deltas of one session that wait to be taken."""


class Feed:
    """Reads on behind `after`, a seq of the first session. `close` it."""

    def __init__(self, store: Store, session: SessionId, after: Seq) -> None:
        self._store = store
        self._tree = TreeReceiver(store, session, cursor_behind(after))
        self._seqs: dict[SessionId, Seq] = {session: after}
        self._deltas: dict[SessionId, deque[Delta]] = {}
        self._ends: dict[SessionId, Callable[[], None]] = {}
        self._bell = asyncio.Event()
        self._log: asyncio.Future[None] | None = None
        self.watch(session)

    def watch(self, session: SessionId) -> None:
        """Have the deltas of this session as well; those of what is on its way already come from their beginning."""
        if session in self._ends:
            return
        waiting = self._deltas[session] = deque(maxlen=MOST)

        def show(delta: Delta) -> None:
            waiting.append(delta)
            self._bell.set()

        self._ends[session] = self._store.watch(session, show)

    @property
    def watched(self) -> set[SessionId]:
        """The sessions whose deltas come."""
        return set(self._ends)

    def leave(self, session: SessionId) -> None:
        """No more deltas of this session."""
        end = self._ends.pop(session, None)
        if end is not None:
            end()
            self._deltas.pop(session, None)

    async def next(self) -> tuple[list[Delta], Event | None]:
        """The next event, and the deltas that come before it; no event when there is none yet, and then no deltas either
        when all was taken: `wait` then."""
        self._bell.clear()
        event = await self._tree.next_stored()
        if event is not None:
            self._seqs[event.session] = event.seq
            return self._take(event.session, event.seq), event
        taken: list[Delta] = []
        for session in self._deltas:
            taken += self._take(session, self._seqs.get(session, 0) + 1)
        return taken, None

    def _take(self, session: SessionId, before: Seq) -> list[Delta]:
        """Those that were shown before that event was there; the others go on waiting."""
        waiting = self._deltas.get(session)
        if not waiting:
            return []
        taken = [one for one in waiting if one.after < before]
        if taken:
            later = [one for one in waiting if one.after >= before]
            waiting.clear()
            waiting.extend(later)
        return taken

    async def wait(self) -> None:
        """Return when something was shown or stored since the last `next`."""
        if self._log is None:
            self._log = asyncio.ensure_future(self._tree.wait())
            self._log.add_done_callback(self._ring)
        if not self._log.done():
            await self._bell.wait()
        if self._log.done():
            log, self._log = self._log, None
            log.result()

    def _ring(self, log: asyncio.Future[None]) -> None:
        if not log.cancelled():
            log.exception()  # whoever waits is told
        self._bell.set()

    async def close(self) -> None:
        for session in list(self._ends):
            self.leave(session)
        if self._log is not None:
            self._log.cancel()
            await asyncio.gather(self._log, return_exceptions=True)
        await self._tree.aclose()


__all__ = ["Feed"]
