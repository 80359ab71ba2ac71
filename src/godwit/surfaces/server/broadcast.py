"""Broadcast: one reader of a session's log and what is on its way, and its frames for any number of followers.

Frames are made and encoded once and lie in a ring; each follower has a place in it and takes the same bytes. A follower that
begins further back, or has fallen behind the ring, reads what it has missed from the log (`Feed.stored`) and takes its place
again: a slow one costs the others nothing, and nothing is kept for it but where it is. Which frames there are is a dialect's
business.

Rules a change must keep: nothing grows with a follower's slowness; a stored frame reaches each follower once, in order;
a piece of something that is on its way reaches only those who were shown its beginning.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Final, NamedTuple, Protocol

from ...core.errors import GodwitError, SessionNotFound
from ...core.ids import Seq, SessionId

logger = logging.getLogger("godwit.server")

RING_FRAMES: Final = 1024
RING_BYTES: Final = 4 * 1024 * 1024
"""What a ring holds at most, but for its last frame."""
CHUNK_BYTES: Final = 64 * 1024
"""Frames that wait for one follower are put together up to this size."""

Place = tuple[Seq, int]
"""Where a stored frame stands: a seq, and the how-manieth that comes from it."""


class Piece(NamedTuple):
    """A part of something that is not stored yet, of the event `of`; `first`: its beginning. `topic`: who asks for it."""

    topic: str
    of: str
    first: bool = False


class Unseen(NamedTuple):
    """What a stored frame is to those who were not shown the pieces of `of`, which had told some of it already."""

    of: str
    data: bytes


class Frame(NamedTuple):
    """`place`: that of a stored frame; a piece has that of the frame before it. A stored frame of which pieces have told
    everything is empty, and has `unseen`."""

    place: Place
    data: bytes
    piece: Piece | None = None
    unseen: Unseen | None = None


class Feed(Protocol):
    """What a dialect shows of one session."""

    def stored(self, after: Place) -> AsyncIterator[Frame]:
        """The frames behind a place, up to the end of the log as it is found."""
        ...

    def live(self, after: Place) -> AsyncIterator[Frame]:
        """The frames behind a place, then each new one, with pieces between them. It ends with the session."""
        ...

    def so_far(self, piece: Piece) -> bytes | None:
        """One frame or several that show a newcomer all of it up to where `live` has come; None when it is over."""
        ...


class Broadcast:
    """The followers of one session. It reads from `at` on, while there is one; `over` is called when there is none left."""

    def __init__(self, feed: Feed, at: Place, over: Callable[[], None] = lambda: None) -> None:
        self._feed = feed
        self._over = over
        self._ring: deque[Frame] = deque()
        self._bytes = 0
        self._first = 0
        self._floor = at
        self._waiting: set[asyncio.Future[None]] = set()
        self._followers = 0
        self._reading: asyncio.Task[None] | None = None
        self._broke: GodwitError | None = None
        self.ended = False

    @property
    def followers(self) -> int:
        return self._followers

    async def follow(self, after: Place, topics: Collection[str] = ()) -> AsyncIterator[bytes]:
        """The stored frames behind a place, then each new one, and pieces of these topics. It ends with the session;
        with an error when its reader breaks off before, for an end would be taken for the session's."""
        self._followers += 1
        try:
            if self._reading is None and not self.ended:
                self._reading = asyncio.ensure_future(self._read())
            number, shown_to = -1, 0
            shown: str | None = None
            lost: str | None = None
            while True:
                if number < self._first:
                    # Pieces of what was being shown may be among what was missed: of that nothing more is shown.
                    floor, lost, shown = self._floor, shown or lost, None
                    if after < floor:
                        async for chunk, place in _chunks(self._feed.stored(after)):
                            after = place
                            yield chunk
                        after = max(after, floor)
                        if after < self._floor:
                            continue  # the ring has moved on meanwhile
                    number = self._behind(after)
                taken: list[bytes] = []
                size = 0
                while number < self._first + len(self._ring) and size < CHUNK_BYTES:
                    frame = self._ring[number - self._first]
                    number += 1
                    data = frame.data
                    piece = frame.piece
                    if piece is None:
                        if frame.place <= after:
                            continue
                        after = frame.place
                        if frame.unseen is not None and frame.unseen.of != shown:
                            data = frame.unseen.data
                    elif piece.topic not in topics or piece.of == lost:
                        continue
                    elif piece.of != shown:
                        told = data if piece.first else self._feed.so_far(piece)
                        if told is None:
                            continue
                        data = told
                        # What is told so far holds all that the ring has of it now.
                        shown, shown_to = piece.of, number if piece.first else self._first + len(self._ring)
                    elif number <= shown_to:
                        continue
                    taken.append(data)
                    size += len(data)
                if taken:
                    yield b"".join(taken)
                elif self._broke is not None:
                    raise self._broke.with_traceback(None)
                elif self.ended:
                    return
                else:
                    await self._more()
        finally:
            self._followers -= 1
            if self._followers == 0:
                await self._stop()

    def _behind(self, after: Place) -> int:
        """The number of the first frame in the ring that comes behind a place."""
        number = self._first + len(self._ring)
        for frame in reversed(self._ring):
            if frame.place <= after and frame.piece is None:
                break
            number -= 1
        return number

    async def _more(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def _read(self) -> None:
        source = self._feed.live(self._floor)
        try:
            async with contextlib.aclosing(source) as frames:  # type: ignore[type-var]
                async for frame in frames:
                    self._put(frame)
        except SessionNotFound:
            pass  # it was deleted, which is an end
        except GodwitError as error:
            self._broke = error
        except Exception:
            logger.exception("what followers are shown of a session broke off: they have to connect again")
            self._broke = GodwitError("what is shown of this session broke off: connect again")
        finally:
            self.ended = True
            self._over()
            self._wake()

    def _put(self, frame: Frame) -> None:
        ring = self._ring
        ring.append(frame)
        self._bytes += _size(frame)
        while len(ring) > RING_FRAMES or (self._bytes > RING_BYTES and len(ring) > 1):
            gone = ring.popleft()
            self._bytes -= _size(gone)
            self._first += 1
            self._floor = max(self._floor, gone.place)
        self._wake()

    async def _stop(self) -> None:
        self._over()
        reading = self._reading
        if reading is not None and not reading.done():
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


def _size(frame: Frame) -> int:
    return len(frame.data) + (0 if frame.unseen is None else len(frame.unseen.data))


async def _chunks(frames: AsyncIterator[Frame]) -> AsyncIterator[tuple[bytes, Place]]:
    """Stored frames put together, each time with the place of the last one."""
    taken: list[bytes] = []
    size = 0
    place: Place | None = None
    async for frame in frames:
        taken.append(frame.data)
        size += len(frame.data)
        place = frame.place
        if size >= CHUNK_BYTES:
            yield b"".join(taken), place
            taken, size = [], 0
    if taken and place is not None:
        yield b"".join(taken), place


class Broadcasts:
    """The broadcasts of one dialect, by session."""

    def __init__(self, make: Callable[[SessionId], Awaitable[Feed]]) -> None:
        self._make = make
        self._running: dict[SessionId, Broadcast] = {}

    def __len__(self) -> int:
        return len(self._running)

    async def follow(
        self, session: SessionId, head: Place, after: Place, topics: Collection[str] = ()
    ) -> AsyncIterator[bytes]:
        """See `Broadcast.follow`. `head`: where the log ends, as far as is known: a new broadcast begins there."""
        broadcast = self._running.get(session)
        if broadcast is None:
            feed = await self._make(session)
            broadcast = self._running.get(session)
            if broadcast is None:
                made = Broadcast(feed, head, lambda: self._let_go(session, made))
                broadcast = self._running[session] = made
        async with contextlib.aclosing(broadcast.follow(after, topics)) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                yield chunk

    def _let_go(self, session: SessionId, broadcast: Broadcast) -> None:
        if self._running.get(session) is broadcast:
            del self._running[session]
