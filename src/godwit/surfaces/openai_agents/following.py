"""Following: a session's stream as the bytes of server-sent events.

Whoever follows from now on, or from behind a stored event, shares the frames of one reader (`server.broadcast`). Only who
comes back in the middle of an answer, and who waits for the first turn of a session that it makes, has a reader of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import msgspec
from starlette.requests import Request

from ...contracts import SessionRow
from ...core.errors import InvalidArgument
from ...core.events import Delta, Event
from ...core.ids import SessionId
from ..server.broadcast import Broadcasts, Frame as Shared, Piece, Place as At, Unseen
from ..server.service import Service
from ..server.stream import frame
from .history import History
from .ids import Cursor, cursor_of
from .live import Cut, Live, Stored

BEHIND = 1 << 30
"""The number of a frame behind all those of an event."""
TOPIC = "all"
_encoder = msgspec.json.Encoder()


def start_of(request: Request, row: SessionRow) -> Cursor | None:
    """Where the reader was: `Last-Event-ID`, else `?from_seq=`; None begins now. InvalidArgument."""
    given = request.headers.get("last-event-id") or request.query_params.get("from_seq")
    if not given:
        return None
    cursor = cursor_of(given)
    if cursor.seq > row.head:
        raise InvalidArgument(f"the session has {row.head} events and none to be read behind {cursor.seq}", param="from_seq")
    return cursor


class Followers:
    """The followers of this server's sessions."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.broadcasts = Broadcasts(self._feed)

    async def follow(self, row: SessionRow, start: Cursor | None) -> AsyncIterator[bytes]:
        """The frames behind `start`, then each new one; from now on without it, after one that says how the session stands.
        Ends with the session."""
        if start is not None and start.shown:
            async with aclosing(own_stream(self._service, row, start)) as frames:  # type: ignore[type-var]
                async for one in frames:
                    yield one
            return
        if start is None:
            start = Cursor(row.head)
            history = History(self._service.store, row.id, self._service.settings)
            projection = await history.begin(await history.boundary(row.head))
            await history.feed(projection, row.head)
            yield _bytes(Cut(projection.status_frame(), start))
        head, after = (row.head, BEHIND), (start.seq, BEHIND if start.frame is None else start.frame)
        async with aclosing(self.broadcasts.follow(row.id, head, after, (TOPIC,))) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                yield chunk

    async def _feed(self, session: SessionId) -> SessionFeed:
        return SessionFeed(self._service, session)


class SessionFeed:
    """Implements `surfaces.server.broadcast.Feed` for one session."""

    def __init__(self, service: Service, session: SessionId) -> None:
        self._service = service
        self._session = session
        self._live: Live | None = None

    async def stored(self, after: At) -> AsyncIterator[Shared]:
        store = self._service.store
        head = (await store.session(self._session)).head
        history = History(store, self._session, self._service.settings)
        live = await _reader(history, _cursor(after))
        async for event in history.events(to=head):
            for one in live.stored(event):
                yield Shared((event.seq, one.number), _bytes(one.whole))

    async def live(self, after: At) -> AsyncIterator[Shared]:
        history = History(self._service.store, self._session, self._service.settings)
        live = self._live = await _reader(history, _cursor(after))
        place, asked, begun = after, 0, -1
        source = await self._service.runtime.stream_events(self._session, history.at, deltas=True)
        async with aclosing(source):
            async for item in source:
                if isinstance(item, Event):
                    await history.know(item)
                    for cut in live.before(item):
                        yield Shared(place, _bytes(cut), Piece(TOPIC, str(asked)))
                    if item.type == "model.started":
                        asked = item.seq
                    for one in live.stored(item):
                        place = (item.seq, one.number)
                        yield _shared(place, one, str(asked))
                    continue
                for cut in live.delta(item):
                    yield Shared(place, _bytes(cut), Piece(TOPIC, str(asked), begun != asked))
                    begun = asked

    def so_far(self, piece: Piece) -> bytes | None:
        cuts = [] if self._live is None else self._live.so_far()
        return b"".join(_bytes(cut) for cut in cuts) if cuts else None


async def own_stream(service: Service, row: SessionRow, start: Cursor, *, first_turn: bool = False) -> AsyncIterator[bytes]:
    """The frames behind `start`, then each new one. Ends with the session, and with `first_turn` when the first turn that
    ends in it has ended."""
    history = History(service.store, row.id, service.settings)
    live = await _reader(history, start)
    source = await service.runtime.stream_events(row.id, history.at, deltas=True)
    async with aclosing(source):
        async for item in source:
            if isinstance(item, Delta):
                for cut in live.delta(item):
                    yield _bytes(cut)
                continue
            await history.know(item)
            for cut in (*live.before(item), *live.event(item)):
                yield _bytes(cut)
            if first_turn and item.type == "run.finished" and item.seq > start.seq:
                return


async def _reader(history: History, start: Cursor) -> Live:
    """It has taken in what is there up to the last place between two runs before its start."""
    return Live(await history.begin(await history.boundary(start.seq)), start)


def _cursor(at: At) -> Cursor:
    return Cursor(at[0], None if at[1] >= BEHIND else at[1])


def _shared(place: At, stored: Stored, asked: str) -> Shared:
    whole, rest = stored.whole, stored.rest
    if rest is not None and rest.frame is whole.frame:
        # Its cursor tells of what else is on its way, which all who share it are shown.
        return Shared(place, _bytes(rest))
    return Shared(place, b"" if rest is None else _bytes(rest), None, Unseen(asked, _bytes(whole)))


def _bytes(cut: Cut) -> bytes:
    data = cut.frame.data
    return frame(_encoder.encode(data), event=data["type"], id=str(cut.cursor))
