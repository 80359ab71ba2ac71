"""Following: a session's stream for one reader, as the bytes of server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import msgspec
from starlette.requests import Request

from ...contracts import SessionRow
from ...core.errors import InvalidArgument
from ...core.events import Delta
from ..server.service import Service
from ..server.stream import frame
from .history import History
from .ids import Cursor, cursor_of
from .live import Cut, Live

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


async def stream_of(
    service: Service, row: SessionRow, start: Cursor | None, *, first_turn: bool = False
) -> AsyncIterator[bytes]:
    """The frames behind `start`, then each new one; from now on without it, after one that says how the session stands.

    Ends with the session, and with `first_turn` when the first turn that ends in it has ended.
    """
    history = History(service.store, row.id, service.settings)
    begin = start or Cursor(row.head)
    projection = await history.begin(await history.boundary(begin.seq))
    at = projection.seq
    live = Live(projection, begin)
    if start is None:
        await history.feed(projection, row.head)
        at = row.head
        yield _bytes(Cut(projection.status_frame(), begin))
    source = await service.runtime.stream_events(row.id, at, deltas=True)
    async with aclosing(source):
        async for item in source:
            if isinstance(item, Delta):
                for cut in live.delta(item):
                    yield _bytes(cut)
                continue
            await history.know(item)
            for cut in live.event(item):
                yield _bytes(cut)
            if first_turn and item.type == "run.finished" and item.seq > begin.seq:
                return


def _bytes(cut: Cut) -> bytes:
    data = cut.frame.data
    return frame(_encoder.encode(data), event=data["type"], id=str(cut.cursor))
