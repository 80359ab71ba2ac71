"""Routes of what a session does: its events in and out, its turns and their items. What was done is read from the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from ...core.errors import NotFound, RunNotFound
from ...core.events import Event
from ...core.ids import SessionId
from ..server.service import Service, key_of, principal_of
from ..server.stream import EventStream
from .body import body
from .following import Followers, start_of
from .history import History
from .ids import Place, place_of
from .inputs import EventsCreate, accept
from .pages import Asked, asked, page
from .views import turn_body


def turn_routes(service: Service) -> APIRouter:
    router = APIRouter(prefix="/v1")
    followers = Followers(service)

    async def history_of(request: Request, session_id: str) -> History:
        principal = principal_of(request)
        principal.require("read")
        row = await service.row(principal, session_id)
        return History(service.store, row.id, service.settings)

    @router.post("/agents/sessions/{session_id}/events")
    async def send(
        request: Request, session_id: str, given: Annotated[EventsCreate, Depends(body(EventsCreate))]
    ) -> Response:
        principal = principal_of(request)
        row = await service.row(principal, session_id)
        await accept(service, principal, row, given.events, key_of(request))
        return Response(status_code=202)

    @router.get("/agents/sessions/{session_id}/events")
    async def stream(request: Request, session_id: str) -> Response:
        principal = principal_of(request)
        principal.require("read")
        row = await service.row(principal, session_id)
        frames = followers.follow(row, start_of(request, row))
        return EventStream(frames, heartbeat_s=service.settings.heartbeat_s)

    @router.get("/agents/sessions/{session_id}/items")
    async def items(request: Request, session_id: str) -> dict[str, Any]:
        history = await history_of(request, session_id)
        wanted = asked(request)
        return await _items(history, session_id, wanted, None)

    @router.get("/agents/sessions/{session_id}/turns")
    async def turns(request: Request, session_id: str) -> dict[str, Any]:
        history = await history_of(request, session_id)
        wanted = asked(request)
        behind = None if wanted.after is None else (await _start(history, wanted.after)).seq
        starts = await history.starts(ascending=wanted.ascending, behind=behind, limit=wanted.limit + 1)
        shown = [turn_body((await history.turn(start)).turn, session_id) for start in starts[: wanted.limit]]
        return page(shown, more=len(starts) > wanted.limit)

    @router.get("/agents/sessions/{session_id}/turns/{turn_id}")
    async def turn(request: Request, session_id: str, turn_id: str) -> dict[str, Any]:
        history = await history_of(request, session_id)
        return turn_body((await history.turn(await _start(history, turn_id))).turn, session_id)

    @router.get("/agents/sessions/{session_id}/turns/{turn_id}/items")
    async def turn_items(request: Request, session_id: str, turn_id: str) -> dict[str, Any]:
        history = await history_of(request, session_id)
        start = await _start(history, turn_id)
        return await _items(history, session_id, asked(request), start)

    @router.get("/agents/sessions/{session_id}/subagents")
    async def subagents(request: Request, session_id: str) -> dict[str, Any]:
        await history_of(request, session_id)
        wanted = asked(request)
        if wanted.after is not None:
            raise _no_subagent(wanted.after)
        return page([], more=False)

    @router.get("/agents/sessions/{session_id}/subagents/{subagent_id}")
    @router.get("/agents/sessions/{session_id}/subagents/{subagent_id}/{rest:path}")
    async def subagent(request: Request, session_id: str, subagent_id: str) -> None:
        await history_of(request, session_id)
        raise _no_subagent(subagent_id)

    return router


def _no_subagent(subagent: str) -> NotFound:
    return NotFound(f"the session has no subagent {subagent!r}", param="subagent_id")


async def _start(history: History, turn: str) -> Event:
    start = await history.start_of(turn)
    if start is None:
        raise RunNotFound(f"the session has no turn {turn!r}", param="turn_id")
    return start


async def _items(history: History, session: str, wanted: Asked, only: Event | None) -> dict[str, Any]:
    """A page of a session's items, or of those of the turn that begins with `only`."""
    after: Place | None = None
    if wanted.after is not None:
        after = place_of(SessionId(session), wanted.after)
        if after is None:
            raise _no_item(wanted.after)
    found: list[dict[str, Any]] = []
    seen = after is None
    async for items in _turns(history, wanted, after, only):
        for place, item in items if wanted.ascending else reversed(items):
            if not seen:
                seen = place == after
                continue
            found.append(item)
        if not seen:
            raise _no_item(str(wanted.after))
        if len(found) > wanted.limit:
            break
    if not seen:
        raise _no_item(str(wanted.after))
    return page(found[: wanted.limit], more=len(found) > wanted.limit)


async def _turns(history: History, wanted: Asked, after: Place | None, only: Event | None) -> Any:
    """The items of turn after turn, beginning with the one that holds `after`."""
    if only is not None:
        yield (await history.turn(only)).items
        return
    behind: int | None = None
    if after is not None:
        first = await history.starts(ascending=False, behind=after.seq + 1, limit=1)
        if not first:
            return
        yield (await history.turn(first[0])).items
        behind = first[0].seq
    while True:
        starts: Sequence[Event] = await history.starts(ascending=wanted.ascending, behind=behind, limit=1)
        if not starts:
            return
        yield (await history.turn(starts[0])).items
        behind = starts[0].seq


def _no_item(item: str) -> NotFound:
    return NotFound(f"there is no item {item!r} here", param="after")
