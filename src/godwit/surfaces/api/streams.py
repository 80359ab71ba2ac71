"""The stream of a session's events, as server-sent events: plain Starlette, since nothing is to be validated but a number.

Each event is a frame with `id:` = seq and its bytes as `data:`; a delta is one of `event: delta` without an id, so a client
that comes back with `Last-Event-ID` goes on behind the last event it had. `event: end` comes last, when the session is
archived or was deleted. The stream of a tree has the events of those that work for the session as well, and its `id:` is an
opaque cursor.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...contracts import SessionRow
from ...core.errors import InvalidArgument, SessionNotFound
from ...core.ids import SessionId
from ...engine.tree import TreeReceiver, decoded
from ..server.broadcast import Broadcasts
from ..server.service import Service, principal_of
from ..server.stream import EventStream, frame
from .calls import MOST, service_of
from .live import DELTAS, Live
from .operations import PREFIX

PATH = f"{PREFIX}/sessions/{{session}}/stream"
TREE_PATH = f"{PREFIX}/sessions/{{session}}/tree"
OPEN = b": open\n"
"""Sent first, so that a client knows that the stream stands before anything happens."""
END = frame(b"{}", event="end")


def broadcasts(service: Service) -> Broadcasts:
    """What all followers of one server's sessions share."""

    async def make(session: SessionId) -> Live:
        return Live(service.store, await service.store.session(session))

    return Broadcasts(make)


async def stream(request: Request) -> Response:
    """The stored events behind `Last-Event-ID`, or `from_seq`, then each new one, once each."""
    service = service_of(request)
    row = await service.row(principal_of(request), request.path_params["session"])
    begin = _whole(request.headers.get("last-event-id"), "Last-Event-ID")
    if begin is None:
        begin = _whole(request.query_params.get("from_seq"), "from_seq")
    topics = (DELTAS,) if _flag(request.query_params.get("deltas"), "deltas") else ()
    shared: Broadcasts = request.app.state.broadcasts
    frames = shared.follow(row.id, (row.head, 0), (row.head if begin is None else begin, 0), topics)
    return EventStream(_frames(service, row, frames), heartbeat_s=service.settings.heartbeat_s)


async def _frames(service: Service, row: SessionRow, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield OPEN
    async with aclosing(frames):  # type: ignore[type-var]
        async for data in frames:
            yield data
    try:
        final = (await service.store.session(row.id)).status == "archived"
    except SessionNotFound:
        final = True
    if final:
        yield END


async def tree(request: Request) -> Response:
    """The events of the session and of its descendants behind `Last-Event-ID`, or `cursor`, then each new one, once each."""
    service = service_of(request)
    row = await service.row(principal_of(request), request.path_params["session"])
    cursor = request.headers.get("last-event-id") or request.query_params.get("cursor") or ""
    decoded(cursor)
    return EventStream(_of_tree(service, row, cursor), heartbeat_s=service.settings.heartbeat_s)


async def _of_tree(service: Service, row: SessionRow, cursor: str) -> AsyncIterator[bytes]:
    yield OPEN
    async with aclosing(TreeReceiver(service.store, row.id, cursor, labels=row.labels)) as receiver:
        try:
            while True:
                event = await receiver.next_stored()
                if event is not None:
                    yield frame(event.frame(), id=receiver.cursor)
                    continue
                now = await service.store.session(row.id)
                if now.status == "archived" and receiver.seq >= now.head:
                    break
                await receiver.wait()
        except SessionNotFound:
            pass
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


def routes() -> list[Route]:
    return [Route(PATH, stream, methods=["GET"]), Route(TREE_PATH, tree, methods=["GET"])]
