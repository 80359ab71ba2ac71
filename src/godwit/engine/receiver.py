"""EventReceiver: a reader of one session's log that keeps its place, and the way deltas are put between the events."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from typing import Any

from ..contracts import EventStore
from ..core.errors import SessionNotFound
from ..core.events import Delta, Event, Labels
from ..core.ids import Seq, SessionId

PAGE = 256
"""Events read at a time."""


class EventReceiver:
    """Stored events with a greater seq than `from_seq`, then each new one: once each, in order, for ever.

    An async iterator that is safe to cancel: its place moves only when an event is returned, so waiting for the next one
    with a timeout, or in `asyncio.wait` beside other things, loses nothing. Any number may read one session; a slow or
    absent one slows nobody.
    """

    def __init__(self, store: EventStore, session: SessionId, from_seq: Seq = 0, *, labels: Labels | None = None) -> None:
        self._store = store
        self._session = session
        self._labels = labels
        self._page: list[Event] = []
        self._place = 0
        self._head: Seq = 0
        self.seq: Seq = from_seq
        """The last event returned, or where it began."""

    def __aiter__(self) -> EventReceiver:
        return self

    async def __anext__(self) -> Event:
        while True:
            event = await self.next_stored()
            if event is not None:
                return event
            await self.wait()

    async def wait(self) -> None:
        """Return when there is a next event."""
        self._head = await self._store.wait(self._session, self.seq)

    async def next_stored(self) -> Event | None:
        """The next event if it is there already."""
        if self._place >= len(self._page):
            # What `wait` has named is there: a reader that keeps up needs no look at the head, and shares what is in memory.
            to_seq = min(self._head, self.seq + PAGE) if self._head > self.seq else self.seq + PAGE
            page = await self._store.read(self._session, self.seq, to_seq=to_seq)
            if not page:
                return None
            self._page, self._place = page, 0
        event = self._page[self._place]
        self._place += 1
        self.seq = event.seq
        event.labels = self._labels
        return event

    async def recv(self) -> Event | None:
        """The next event; None when the session rests and all are taken (seed 002)."""
        while True:
            event = await self.next_stored()
            if event is not None:
                return event
            row = await self._store.session(self._session)
            if row.head > self.seq:
                continue
            if row.run is None:
                return None
            await self.wait()


async def until_final(source: AsyncIterator[Event | Delta], *, over: bool = False) -> AsyncGenerator[Event | Delta, None]:
    """What comes from a reader of one log until its session is archived or deleted; nothing when that is `over`. Closes the
    reader when it is closed."""
    try:
        with contextlib.suppress(SessionNotFound):
            while not over:
                item = await anext(source)
                yield item
                over = isinstance(item, Event) and item.type == "session.archived"
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()


async def watch(
    store: EventStore, session: SessionId, from_seq: Seq, *, labels: Labels | None = None
) -> AsyncGenerator[Event | Delta, None]:
    """The events and, between them, the deltas as they are shown. Never ends by itself."""
    receiver = EventReceiver(store, session, from_seq, labels=labels)
    live: list[Delta] = []
    bell = asyncio.Event()

    def show(delta: Delta) -> None:
        live.append(delta)
        bell.set()

    stop = store.watch(session, show)
    try:
        while True:
            bell.clear()
            while (event := await receiver.next_stored()) is not None:
                shown, live[:] = [d for d in live if d.after < event.seq], [d for d in live if d.after >= event.seq]
                for delta in shown:
                    yield delta
                yield event
            shown, live[:] = [d for d in live if d.after <= receiver.seq], [d for d in live if d.after > receiver.seq]
            for delta in shown:
                yield delta
            if not bell.is_set():
                await either(receiver.wait(), bell.wait())
    finally:
        stop()


async def either(first: Awaitable[Any], second: Awaitable[Any]) -> None:
    """Return when one of the two has; the other is cancelled."""
    tasks = [asyncio.ensure_future(first), asyncio.ensure_future(second)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
