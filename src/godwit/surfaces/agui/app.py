"""Agui: the dialect as the front of the server sees it, below `/agui`.

POST /agui/{agent}                a run of AG-UI: RunAgentInput in, a stream of events out
POST /agui/{agent}/connect        the stream of a thread that is there, and nothing is sent to it
GET  /agui/{agent}/capabilities   what the agent can do
POST /agui, /agui/connect         the same where there is one agent, or the thread is there
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ...contracts import SessionRow
from ...core.errors import GodwitError, InvalidArgument, NotFound
from ..server.caller import Caller
from ..server.exchange import exchange_of
from ..server.methods import allowed
from ..server.routing import DialectApp
from ..server.rule import Rule
from ..server.service import Service, principal_of
from ..server.stream import EventStream
from .acting import Acting
from .capabilities import capabilities
from .conversation import Conversations
from .cursors import decoded
from .errors import render
from .following import Reader, Stream
from .inputs import Options, RunAgentInput, options_in, read
from .leaving import Leaving
from .profiles import profile_of
from .threads import Threads

PREFIX = "/agui"


class Agui:
    """Implements `surfaces.server.dialect.Dialect`."""

    name = "agui"

    def __init__(self, service: Service) -> None:
        endpoint = _Endpoint(service)
        app = DialectApp(openapi_url=None, exception_handlers={HTTPException: _unrouted})
        app.take(
            [
                Route(PREFIX, endpoint.run, methods=["POST"]),
                Route(f"{PREFIX}/connect", endpoint.connect, methods=["POST"]),
                Route(f"{PREFIX}/capabilities", endpoint.capabilities, methods=["GET"]),
                Route(f"{PREFIX}/{{agent}}", endpoint.run, methods=["POST"]),
                Route(f"{PREFIX}/{{agent}}/connect", endpoint.connect, methods=["POST"]),
                Route(f"{PREFIX}/{{agent}}/capabilities", endpoint.capabilities, methods=["GET"]),
            ]
        )
        self._app = app

    @property
    def app(self) -> ASGIApp:
        return self._app

    def claims(self, request: HTTPConnection) -> bool:
        path = request.scope["path"]
        return bool(path == PREFIX or path.startswith(f"{PREFIX}/"))

    def rule(self, request: HTTPConnection) -> Rule | None:
        """What a run does is told by its body; it asks for more when it is known."""
        return Rule("read", False)

    def error(self, error: GodwitError, request_id: str) -> Response:
        return render(error)


class _Endpoint:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._threads = Threads()
        self._conversations = Conversations(service.store)
        self._leaving = Leaving(service)

    async def run(self, request: Request) -> Response:
        caller, agent = self._caller(request), request.path_params.get("agent")
        given, options, reader = await _asked(request)
        row = await self._threads.open(caller, given.thread_id, agent)
        _check_place(reader, row)
        done = await Acting(caller, self._conversations).act(row, given, options)
        reader = replace(reader, begins=done.acted, sent=done.sent, warnings=done.warnings)
        stream = Stream(self._service, self._conversations, row, reader)
        policy = options.on_disconnect or self._service.settings.agui_on_disconnect
        if not caller.principal.may("operate"):
            policy = "continue"
        return self._stream(self._leaving.followed(stream, row.id, policy))

    async def connect(self, request: Request) -> Response:
        caller, agent = self._caller(request), request.path_params.get("agent")
        given, _, reader = await _asked(request)
        row = await self._threads.find(caller, given.thread_id)
        if row is None:
            raise NotFound(f"there is no thread {given.thread_id!r}", thread=given.thread_id)
        await self._threads.agent_of(caller, row, agent)
        _check_place(reader, row)
        stream = Stream(self._service, self._conversations, row, replace(reader, replays=True))
        return self._stream(stream.frames())

    def _stream(self, frames: AsyncIterator[bytes]) -> Response:
        return EventStream(frames, heartbeat_s=self._service.settings.heartbeat_s, hints=False)

    async def capabilities(self, request: Request) -> Response:
        agent = await self._threads.agent(self._caller(request), request.path_params.get("agent"))
        told = msgspec.json.encode(capabilities(agent, version("godwit")))
        return Response(told, media_type="application/json")

    def _caller(self, request: Request) -> Caller:
        exchange = exchange_of(request.scope)
        return Caller(self._service, principal_of(request), None if exchange is None else exchange.begins)


async def _asked(request: Request) -> tuple[RunAgentInput, Options, Reader]:
    """What is asked, and who reads what comes of it: from where its `Last-Event-ID` says, or what it says to godwit.
    InvalidArgument."""
    body = await request.body()
    given = read(body)
    options = options_in(given)
    cursor = request.headers.get("last-event-id") or options.cursor
    raw: list[dict[str, Any]] = msgspec.json.decode(body)["messages"]
    reader = Reader(
        given.thread_id,
        given.run_id,
        profile_of(given.protocol_version),
        given.parent_run_id,
        given.messages,
        given.state,
        raw,
        None if cursor is None else decoded(cursor),
    )
    return given, options, reader


def _check_place(reader: Reader, row: SessionRow) -> None:
    """InvalidArgument for a reader who would go on behind the end of the log, and wait for ever."""
    if reader.cursor is not None and reader.cursor.seq > row.head:
        raise InvalidArgument(
            "this cursor is of another thread: this one has not come so far", cursor=reader.cursor.encoded()
        )


async def _unrouted(request: Request, error: Exception) -> Response:
    """A path or a method that is not there."""
    assert isinstance(error, HTTPException)
    what = f"{request.method} {request.url.path}"
    message = f"{what}: there is no such method here" if error.status_code == 405 else f"{what}: there is nothing here"
    told = render(NotFound(message), error.status_code)
    if error.status_code == 405:
        told.headers["allow"] = allowed(request, request.app.router.routes)
    return told


__all__ = ["Agui"]
