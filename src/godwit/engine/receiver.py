"""EventReceiver: a reader of one session's log that keeps its place, and the way deltas are put between the events."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Awaitable
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


LIVE_DELTAS = 4096
"""How many deltas wait for one reader; a slower one misses the oldest, which their offsets tell."""


class LiveDeltas:
    """The deltas of one session as they are shown, until they are taken. `close` it."""

    def __init__(self, store: EventStore, session: SessionId, *, limit: int = LIVE_DELTAS) -> None:
        self._waiting: deque[Delta] = deque(maxlen=limit)
        self._bell = asyncio.Event()
        self._log: asyncio.Future[None] | None = None
        self._end = store.watch(session, self._show)

    def close(self) -> None:
        self._end()
        if self._log is not None:
            self._log.cancel()

    def __len__(self) -> int:
        return len(self._waiting)

    def _show(self, delta: Delta) -> None:
        self._waiting.append(delta)
        self._bell.set()

    def take(self, before: Seq) -> list[Delta]:
        """Those that were shown before this event was there; the others go on waiting."""
        taken = [d for d in self._waiting if d.after < before]
        if taken:
            later = [d for d in self._waiting if d.after >= before]
            self._waiting.clear()
            self._waiting.extend(later)
        return taken

    def begin(self) -> None:
        """From here on `wait` returns for what is shown anew."""
        self._bell.clear()

    async def wait(self, receiver: EventReceiver) -> None:
        """Return when something was shown since `begin`, or there is a next event."""
        if not self._bell.is_set():
            if self._log is None:
                # It goes on waiting while deltas come: there are many of these to each event.
                self._log = asyncio.ensure_future(receiver.wait())
                self._log.add_done_callback(self._ring)
            await self._bell.wait()
        if self._log is not None and self._log.done():
            log, self._log = self._log, None
            log.result()

    def _ring(self, log: asyncio.Future[None]) -> None:
        if not log.cancelled():
            log.exception()  # whoever waits is told; when nobody does any more, nobody is to be warned
        self._bell.set()


class Watch:
    """The events of one session and, between them, the deltas as they are shown; of those a slow reader misses the oldest.

    An async iterator that is safe to cancel and never ends by itself, as `EventReceiver`. `stop` it, unless it is forgotten:
    then it stops by itself.
    """

    def __init__(self, store: EventStore, session: SessionId, from_seq: Seq, *, labels: Labels | None = None) -> None:
        self._receiver = EventReceiver(store, session, from_seq, labels=labels)
        self._live = LiveDeltas(store, session)
        self._ready: deque[Event | Delta] = deque()
        # The store holds the deltas and not this reader, so that one nobody has any more is not shown things for ever.
        self._stop = weakref.finalize(self, self._live.close)
        self._stop.atexit = False

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Event | Delta:
        while not self._ready:
            self._live.begin()
            event = await self._receiver.next_stored()
            if event is not None:
                self._ready.extend(self._live.take(event.seq))
                self._ready.append(event)
                break
            self._ready.extend(self._live.take(self._receiver.seq + 1))
            if not self._ready:
                await self._live.wait(self._receiver)
        return self._ready.popleft()

    def stop(self) -> None:
        """Watch no more. Safe to repeat."""
        self._stop()


class EventStream:
    """What a reader of one log gives until its session is archived or deleted; nothing when that is `over`.

    An async iterator that is safe to cancel: waiting for the next item with a timeout loses nothing. Leave it with `aclose`.
    """

    def __init__(self, source: EventReceiver | Watch, *, over: bool = False) -> None:
        self._source = source
        self._over = over

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event | Delta:
        if not self._over:
            try:
                item = await anext(self._source)
            except SessionNotFound:
                await self.aclose()
            else:
                if isinstance(item, Event) and item.type == "session.archived":
                    await self.aclose()
                return item
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Read no more; the session goes on. Safe to repeat."""
        self._over = True
        if isinstance(self._source, Watch):
            self._source.stop()


async def watch(
    store: EventStore, session: SessionId, from_seq: Seq, *, labels: Labels | None = None
) -> AsyncGenerator[Event | Delta, None]:
    """`Watch` as a generator, which stops when it is left."""
    source = Watch(store, session, from_seq, labels=labels)
    try:
        async for item in source:
            yield item
    finally:
        source.stop()


async def either(first: Awaitable[Any], second: Awaitable[Any]) -> None:
    """Return when one of the two has; the other is cancelled."""
    tasks = [asyncio.ensure_future(first), asyncio.ensure_future(second)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
