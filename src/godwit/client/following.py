"""Following: a session's events over a stream that may break at any byte, without gap or repeat.

The place is the seq of the last event that was read whole; a stream that broke is asked for again behind it. Deltas have no
place: those that were on their way when it broke are not shown again, and the stored event brings what they said.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx2
import msgspec

from ..contracts import SessionRow
from ..core.events import Delta, Event, Labels
from ..core.ids import Seq, SessionId
from .connection import BROKEN, Connection, segment

_delta = msgspec.json.Decoder(Delta)


class Frames:
    """Server-sent events out of bytes, however they are cut."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[str, bytes, str]]:
        """The frames that are whole now: the name of each (`message` when it has none), its data, and its id."""
        *whole, self._rest = (self._rest + data).split(b"\n\n")
        found = []
        for block in whole:
            name, value, place = "message", None, ""
            for line in block.split(b"\n"):
                field, _, text = line.partition(b":")
                if field == b"event":
                    name = text.strip().decode()
                elif field == b"data":
                    value = text.removeprefix(b" ")
                elif field == b"id":
                    place = text.strip().decode()
            if value is not None:
                found.append((name, value, place))
        return found


class Feed:
    """What comes of one session behind `seq`; it connects when it is first asked, and again whenever it has to."""

    def __init__(self, connection: Connection, session: SessionId, seq: Seq, *, deltas: bool) -> None:
        self._connection = connection
        self._session = session
        self._deltas = deltas
        self._pauses = connection.pauses()
        self._answer: httpx2.Response | None = None
        self._chunks: AsyncIterator[bytes] | None = None
        self._frames = Frames()
        self._seq = seq
        self._ready: deque[Event | Delta] = deque()
        self._ended = False

    async def connect(self) -> None:
        """Return when the server has begun to send."""
        while self._chunks is None:
            try:
                self._answer = await self._open()
                chunks = self._answer.aiter_raw()
                self._take(await anext(chunks))
                self._chunks = chunks
            except StopAsyncIteration:
                await self._lost("the stream ended")
            except BROKEN as broken:
                await self._lost(broken)
        self._pauses.over()

    async def _open(self) -> httpx2.Response:
        query = {"deltas": True} if self._deltas else {}
        return await self._connection.open_stream(f"/sessions/{segment(self._session)}/stream", query, self._seq)

    async def next(self) -> Event | Delta:
        """The next one. SessionNotFound when the session is gone; Unreachable."""
        found = await self.next_or_end()
        if found is None:
            # Nothing comes any more: the session is archived, unless it was deleted.
            await self._connection.get(f"/sessions/{segment(self._session)}/status", SessionRow)
            await asyncio.Event().wait()
        assert found is not None
        return found

    async def next_or_end(self) -> Event | Delta | None:
        """The same; None when nothing comes any more."""
        while not self._ready:
            if self._ended:
                return None
            if self._chunks is None:
                await self.connect()
                continue
            try:
                self._take(await anext(self._chunks))
                self._pauses.over()
            except StopAsyncIteration:
                if not self._ended:
                    await self._lost("the stream ended")
            except BROKEN as broken:
                await self._lost(broken)
        return self._ready.popleft()

    def _take(self, chunk: bytes) -> None:
        for name, data, _ in self._frames.feed(chunk):
            if name == "message":
                event = Event.of_frame(data)
                if event.seq > self._seq:
                    self._seq = event.seq
                    self._ready.append(event)
            elif name == "delta" and self._deltas:
                self._ready.append(_delta.decode(data))
            elif name == "end":
                self._ended = True

    async def _lost(self, why: BaseException | str) -> None:
        await self._hang_up()
        await self._pauses.next(why)

    async def _hang_up(self) -> None:
        answer, self._answer, self._chunks, self._frames = self._answer, None, None, Frames()
        if answer is not None:
            with contextlib.suppress(*BROKEN, RuntimeError):
                await answer.aclose()

    async def close(self) -> None:
        await self._hang_up()


class RemoteEvents:
    """`engine.receiver.EventReceiver` over a wire: stored events with a greater seq than `from_seq`, then each new one.

    Safe to cancel: its place moves only when an event is returned. `close` gives its connection up; so does closing the
    handle it came from.
    """

    def __init__(
        self,
        feed: Feed,
        status: Callable[[], Awaitable[SessionRow]],
        from_seq: Seq,
        labels: Labels,
    ) -> None:
        self._feed = feed
        self._status = status
        self._labels = labels
        self._coming: asyncio.Task[Event | Delta] | None = None
        self.seq: Seq = from_seq
        """The last event returned, or where it began."""

    def __aiter__(self) -> RemoteEvents:
        return self

    async def __anext__(self) -> Event:
        event = await self._whole()
        self._coming = None
        self.seq = event.seq
        event.labels = self._labels
        return event

    async def _whole(self) -> Event:
        """The next event, which stays the next one."""
        # A task of its own: who waits may be cancelled, what has come must not be lost with them.
        if self._coming is None:
            self._coming = asyncio.ensure_future(self._feed.next())
        await asyncio.wait([self._coming])
        try:
            found = self._coming.result()
        except BaseException:
            self._coming = None
            raise
        assert isinstance(found, Event)
        return found

    async def wait(self) -> None:
        """Return when there is a next event."""
        await self._whole()

    async def recv(self) -> Event | None:
        """The next event; None when the session rests and all are taken (seed 002)."""
        while True:
            row = await self._status()
            if row.head > self.seq or row.run is not None:
                return await anext(self)
            return None

    async def close(self) -> None:
        """Give the connection up. Safe to repeat."""
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.gather(self._coming, return_exceptions=True)
            self._coming = None
        await self._feed.close()


class RemoteTree:
    """`engine.tree.TreeReceiver` over a wire: the events of a session and of its descendants behind a cursor.

    Safe to cancel: its place moves only when an event is returned. `aclose` gives its connection up. When the session is
    archived nothing comes any more; SessionNotFound when it is gone.
    """

    def __init__(self, connection: Connection, session: SessionId, cursor: str, labels: Labels) -> None:
        self._feed = _TreeFeed(connection, session, cursor)
        self._labels = labels
        self._coming: asyncio.Task[tuple[Event, str]] | None = None
        self.cursor = cursor
        """The place behind the last event returned."""

    def __aiter__(self) -> RemoteTree:
        return self

    async def __anext__(self) -> Event:
        # A task of its own: who waits may be cancelled, what has come must not be lost with them.
        if self._coming is None:
            self._coming = asyncio.ensure_future(self._feed.next_placed())
        await asyncio.wait([self._coming])
        coming, self._coming = self._coming, None
        event, self.cursor = coming.result()
        event.labels = self._labels
        return event

    async def aclose(self) -> None:
        """Read no more. Safe to repeat."""
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.gather(self._coming, return_exceptions=True)
            self._coming = None
        await self._feed.close()

    close = aclose


class _TreeFeed(Feed):
    """What comes of a tree, each event with its cursor."""

    def __init__(self, connection: Connection, session: SessionId, cursor: str) -> None:
        super().__init__(connection, session, 0, deltas=False)
        self._cursor = cursor
        self._cursors: deque[str] = deque()

    async def next_placed(self) -> tuple[Event, str]:
        event = await self.next()
        assert isinstance(event, Event)
        return event, self._cursors.popleft()

    async def _open(self) -> httpx2.Response:
        path = f"/sessions/{segment(self._session)}/tree"
        return await self._connection.open_stream(path, {}, self._cursor)

    def _take(self, chunk: bytes) -> None:
        for name, data, place in self._frames.feed(chunk):
            if name == "message":
                self._ready.append(Event.of_frame(data))
                self._cursors.append(place)
                self._cursor = place
            elif name == "end":
                self._ended = True


async def watch(feed: Feed, labels: Labels) -> AsyncIterator[Event | Delta]:
    """The events and, between them, the deltas as they are shown. Never ends by itself."""
    try:
        while True:
            item = await feed.next()
            if isinstance(item, Event):
                item.labels = labels
            yield item
    finally:
        await feed.close()
