"""Routes of a session's events: sent, listed and streamed; and of its one thread, whose events they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...contracts import SessionRow
from ...core.errors import InvalidArgument, NotFound
from ...core.ids import InputId, Seq, SessionId
from ...core.principal import Principal
from ...engine.log import load_state
from ..server.broadcast import Broadcasts
from ..server.service import Service, key_of, principal_of
from ..server.stream import EventStream
from .agent_shapes import resolved
from .body import answer, decoded
from .caller import Answerer, Reader
from .content import an_object, only
from .event_ids import thread_id
from .files import named_files
from .history import BEHIND, History
from .inputs import Inputs, read_inputs
from .live import TOPICS, Live, place_of
from .paging import Cursor, cursor_of
from .projected import Body, Place, Projected
from .query import Order, Query, moment, moment_or_none
from .session_record import session_of, usage_of

MOST: Final = 1000


def event_routes(service: Service) -> APIRouter:
    routes = APIRouter(prefix="/v1/sessions/{session}")

    @routes.get("/threads")
    async def threads(principal: Reader, session: str, request: Request) -> dict[str, Any]:
        query = Query(request)
        statuses = query.texts("statuses", ("idle", "running", "rescheduling", "terminated"))
        query.number("limit")
        if query.text("page") is not None:
            raise InvalidArgument("page: invalid page cursor: all threads were on the first page")
        thread = await _thread(service, principal, session)
        return {"data": [thread] if statuses is None or thread["status"] in statuses else [], "next_page": None}

    @routes.get("/threads/{thread}")
    async def one_thread(principal: Reader, session: str, thread: str) -> dict[str, Any]:
        await _own_thread(service, principal, session, thread)
        return await _thread(service, principal, session)

    @routes.post("/threads/{thread}/archive")
    async def archived(principal: Answerer, session: str, thread: str) -> dict[str, Any]:
        principal.require("operate")
        await _own_thread(service, principal, session, thread)
        raise InvalidArgument("a session's primary thread ends with it: archive the session", thread=thread)

    return routes


def plain_routes(service: Service) -> list[BaseRoute]:
    """What is asked for most, without FastAPI, which costs as much as some of it; and streams, which are no JSON."""
    streams = Streams(service)
    inputs = Inputs(service)

    async def send(request: Request) -> Response:
        principal = principal_of(request)
        principal.require("answer")
        fields = an_object(decoded(await request.body()), "the body")
        only(fields, "the body", "events")
        given = fields.get("events")
        read = read_inputs(given, files=await named_files(service, principal, given))
        session = request.path_params["session"]
        return answer({"data": await inputs.send(principal, session, read, key=key_of(request))})

    async def listed(request: Request) -> Response:
        principal = principal_of(request)
        principal.require("read")
        session, thread = request.path_params["session"], request.path_params.get("thread")
        if thread is None:
            row = await service.row(principal, session)
        else:
            row = await _own_thread(service, principal, session, thread)
        return answer(await _Page(service, row, Query(request)).body())

    async def stream(request: Request) -> Response:
        principal = principal_of(request)
        principal.require("read")
        row = await service.row(principal, request.path_params["session"])
        thread = request.path_params.get("thread")
        if thread is not None:
            row = await _own_thread(service, principal, row.id, thread)
        return await streams.open(row, request)

    below = "/v1/sessions/{session}"
    return [
        Route(f"{below}/events", send, methods=["POST"]),
        Route(f"{below}/events", listed),
        Route(f"{below}/threads/{{thread}}/events", listed),
        Route(f"{below}/events/stream", stream),
        Route(f"{below}/threads/{{thread}}/stream", stream),
    ]


# --- streams ----------------------------------------------------------------------------------------------------------


class Streams:
    """The followers of this server's sessions."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.broadcasts = Broadcasts(self._feed)

    async def open(self, row: SessionRow, request: Request) -> EventStream:
        """From now on, or behind the place that the client names."""
        query = Query(request)
        topics = query.texts("event_deltas", TOPICS) or []
        after = _resumed(request, query, row)
        if after is None:
            # Nothing happens any more in an archived session: its end is told once more.
            after = (Seq(row.head - 1) if row.status == "archived" else row.head, BEHIND)
        head = (row.head, BEHIND) if row.status != "archived" else min(after, (row.head, BEHIND))
        frames = self.broadcasts.follow(row.id, head, after, topics)
        return EventStream(frames, heartbeat_s=self._service.settings.heartbeat_s)

    async def _feed(self, session: SessionId) -> Live:
        store = self._service.store
        row = await store.session(session)
        return Live(store, session, await _name(self._service, row), self._service.now_ms)


def _resumed(request: Request, query: Query, row: SessionRow) -> Place | None:
    """The place a client goes on from. InvalidArgument for one that the session has not come to."""
    given, whole = request.headers.get("last-event-id"), False
    if given is None:
        given, whole = query.text("from_seq"), True
    if given is None:
        return None
    place = place_of(given, whole=whole)
    if place[0] > row.head:
        raise InvalidArgument(f"the session has {row.head} events of its own, and none {place[0]}", seq=place[0])
    return place


async def _name(service: Service, row: SessionRow) -> str:
    """What people call the agent."""
    return (await resolved(service.store, row.agent, tenant=row.labels.tenant)).title


# --- lists ------------------------------------------------------------------------------------------------------------


@dataclass
class _Page:
    """A page of events. It is folded from the log as far as it takes, and never held but for the page itself."""

    service: Service
    row: SessionRow
    query: Query

    async def body(self) -> dict[str, Any]:
        query = self.query
        order: Order = query.order("asc")
        limit = min(query.number("limit") or MOST, MOST)
        types = query.texts("types")
        first, last = query.moments("created_at")
        given, listing = query.text("page"), f"events of {self.row.id}"
        history = History(self.service.store, self.row.id, await _name(self.service, self.row))
        place = None if given is None else _place_of(cursor_of(given, listing, order), given)
        events = history.behind(place or (Seq(0), BEHIND)) if order == "asc" else history.before(place)
        page: list[Projected] = []
        more = False
        async for projected in events:
            if not _fits(projected.body, types, first, last):
                continue
            if projected.waiting is not None and not await self._waits(projected.waiting):
                continue
            if len(page) == limit:
                more = True
                break
            page.append(projected)
        following = Cursor(listing, order, (page[-1].place[0], str(page[-1].place[1]))).text() if more else None
        return {"data": [projected.body for projected in page], "next_page": following}

    async def _waits(self, message: InputId) -> bool:
        """Whether it is still to be delivered. What a run that is over left waiting is not."""
        if self.row.run is None and self.row.queued == 0:
            return False
        if self._queued is None:
            state = await load_state(self.service.store, self.row.id)
            self._queued = frozenset(q.id for q in state.gate.queue) if state.run is not None else frozenset()
        return message in self._queued

    _queued: frozenset[InputId] | None = None


def _place_of(cursor: Cursor, text: str) -> Place:
    seq, number = cursor.at
    if not number.isdecimal() or len(number) > 6:
        raise InvalidArgument("page: invalid page cursor", value=text[:200])
    return Seq(seq), int(number)


def _fits(body: Body, types: list[str] | None, first_ms: int | None, last_ms: int | None) -> bool:
    if types is not None and body["type"] not in types:
        return False
    if first_ms is None and last_ms is None:
        return True
    at = cast("str | None", body["processed_at"])
    return at is not None and (first_ms is None or at >= moment(first_ms)) and (last_ms is None or at <= moment(last_ms))


# --- the one thread ---------------------------------------------------------------------------------------------------


async def _own_thread(service: Service, principal: Principal, session: str, thread: str) -> SessionRow:
    row = await service.row(principal, session)
    if thread != thread_id(row.id):
        raise NotFound(f"session {session!r} has no thread {thread!r}", thread=thread)
    return row


async def _thread(service: Service, principal: Principal, session: str) -> Body:
    record = await session_of(service, principal, session)
    row = record.row
    state = await load_state(service.store, row.id)
    spent = state.spent(None if row.owner is None else service.now_ms())
    terminated = record.status == "terminated"
    lived_ms = (row.updated_ms if terminated else service.now_ms()) - row.created_ms
    return {
        "type": "session_thread",
        "id": thread_id(row.id),
        "session_id": row.id,
        "agent": record.snapshot,
        "parent_thread_id": None,
        "status": record.status,
        "stats": {
            "active_seconds": spent.time_s,
            "duration_seconds": max(0, lived_ms) / 1000,
            "startup_seconds": 0.0,
        },
        "usage": usage_of(state, spent),
        "workflow_run_id": None,
        "created_at": moment(row.created_ms),
        "updated_at": moment(row.updated_ms),
        "archived_at": moment_or_none(row.updated_ms if terminated else None),
    }
