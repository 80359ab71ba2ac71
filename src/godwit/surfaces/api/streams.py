"""The stream of a session's events, as server-sent events: plain Starlette, since nothing is to be validated but a number.

Each event is a frame with `id:` = seq and its bytes as `data:`; a delta is one of `event: delta` without an id, so a client
that comes back with `Last-Event-ID` goes on behind the last event it had. `event: end` comes last, when the session is
archived or was deleted.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...contracts import SessionRow
from ...core.errors import InvalidArgument
from ...core.events import Delta, Event
from ..server.service import principal_of
from ..server.stream import EventStream, frame
from .calls import MOST, service_of
from .wire import encode

PATH = "/sessions/{session}/stream"
OPEN = b": open\n"
"""Sent first, so that a client knows that the stream stands before anything happens."""
END = frame(b"{}", event="end")


async def stream(request: Request) -> Response:
    """The stored events behind `Last-Event-ID`, or `from_seq`, then each new one, once each."""
    service = service_of(request)
    row = await service.row(principal_of(request), request.path_params["session"])
    begin = _whole(request.headers.get("last-event-id"), "Last-Event-ID")
    if begin is None:
        begin = _whole(request.query_params.get("from_seq"), "from_seq")
    deltas = _flag(request.query_params.get("deltas"), "deltas")
    items = await service.runtime.stream_events(row.id, row.head if begin is None else begin, deltas=deltas)
    frames = _frames(items, row)
    return EventStream(frames, heartbeat_s=service.settings.heartbeat_s)


async def _frames(items: AsyncGenerator[Event | Delta, None], row: SessionRow) -> AsyncIterator[bytes]:
    yield OPEN
    async with aclosing(items):
        async for item in items:
            if isinstance(item, Event):
                item.labels = row.labels
                yield frame(item.frame(), id=str(item.seq))
            else:
                yield frame(encode(item), event="delta")
    yield END


def _whole(given: str | None, name: str) -> int | None:
    if given is None or given == "":
        return None
    if given.isascii() and given.isdigit() and len(given) < 17 and int(given) <= MOST:
        return int(given)
    raise InvalidArgument(f"{name} is the seq of an event, a whole number from 0, not {given!r}", value=given)


def _flag(given: str | None, name: str) -> bool:
    known = {None: False, "": False, "false": False, "0": False, "true": True, "1": True}
    if given not in known:
        raise InvalidArgument(f"{name} is true or false, not {given!r}", value=given)
    return known[given]


def route(prefix: str) -> Route:
    return Route(f"{prefix}{PATH}", stream, methods=["GET"])
