"""Agui: the dialect as the front of the server sees it, below `/agui`.

POST /agui/{agent}                a run of AG-UI: RunAgentInput in, a stream of events out
POST /agui/{agent}/connect        the stream of a thread that is there, and nothing is sent to it
GET  /agui/{agent}/capabilities   what the agent can do
POST /agui, /agui/connect         the same where there is one agent, or the thread is there
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ...core.errors import GodwitError, NotFound
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
from .inputs import Options, options_in, read
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
        body = await request.body()
        given = read(body)
        options = options_in(given)
        cursor = _cursor(request, options)
        row = await self._threads.open(caller, given.thread_id, agent)
        done = await Acting(caller, self._conversations).act(row, given, options)
        reader = Reader(
            given.thread_id,
            given.run_id,
            profile_of(given.protocol_version),
            given.parent_run_id,
            given.messages,
            given.state,
            _raw(body),
            None if cursor is None else decoded(cursor),
            begins=done.acted,
            warnings=done.warnings,
        )
        stream = Stream(self._service, self._conversations, row, reader)
        policy = options.on_disconnect or self._service.settings.agui_on_disconnect
        if not caller.principal.may("operate"):
            policy = "continue"
        frames = self._leaving.followed(stream, row.id, policy)
        return EventStream(frames, heartbeat_s=self._service.settings.heartbeat_s, hints=False)

    async def connect(self, request: Request) -> Response:
        caller, agent = self._caller(request), request.path_params.get("agent")
        body = await request.body()
        given = read(body)
        cursor = _cursor(request, options_in(given))
        row = await self._threads.find(caller, given.thread_id)
        if row is None:
            raise NotFound(f"there is no thread {given.thread_id!r}", thread=given.thread_id)
        await self._threads.agent_of(caller, row, agent)
        reader = Reader(
            given.thread_id,
            given.run_id,
            profile_of(given.protocol_version),
            given.parent_run_id,
            given.messages,
            given.state,
            _raw(body),
            None if cursor is None else decoded(cursor),
            replays=True,
        )
        stream = Stream(self._service, self._conversations, row, reader)
        return EventStream(stream.frames(), heartbeat_s=self._service.settings.heartbeat_s, hints=False)

    async def capabilities(self, request: Request) -> Response:
        agent = await self._threads.agent(self._caller(request), request.path_params.get("agent"))
        told = msgspec.json.encode(capabilities(agent, version("godwit")))
        return Response(told, media_type="application/json")

    def _caller(self, request: Request) -> Caller:
        exchange = exchange_of(request.scope)
        return Caller(self._service, principal_of(request), None if exchange is None else exchange.begins)


def _cursor(request: Request, options: Options) -> str | None:
    """Where the reader was: `Last-Event-ID`, else what it says to godwit."""
    return request.headers.get("last-event-id") or options.cursor


def _raw(body: bytes) -> list[dict[str, Any]]:
    """The messages as they came."""
    found: list[dict[str, Any]] = msgspec.json.decode(body)["messages"]
    return found


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
