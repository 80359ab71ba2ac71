"""OpenAIAgents: the dialect as the front of the server sees it, and the app that its routes make."""

from __future__ import annotations

import re

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp

from ...core.errors import GodwitError
from ...host.agent_registry import AgentRegistry
from ..server.methods import allowed
from ..server.routing import DialectApp
from ..server.rule import Rule
from ..server.service import Service
from .absent import absent_routes
from .agents import agent_routes
from .artifacts import artifact_routes
from .errors import envelope, render
from .files import asks_for_files, file_routes
from .sessions import session_routes
from .turns import turn_routes

HEADER, VERSION = "openai-beta", "agents=v1"
_EVENTS = re.compile(r"/v1/agents/sessions/[^/]+/events")


class OpenAIAgents:
    """Implements `surfaces.server.dialect.Dialect`. It takes what says `OpenAI-Beta: agents=v1`, below `/v1/`, and
    what the official packages ask of files, which does not say it."""

    name = "openai_agents"

    def __init__(self, service: Service) -> None:
        runtime = service.runtime
        registry = AgentRegistry(service.store, ids=runtime.ids, clock=runtime.clock)
        app = DialectApp(openapi_url=None, exception_handlers={HTTPException: _unrouted})
        app.take(absent_routes())
        # Sessions first: `/agents/sessions` would be an agent of that name.
        app.take(session_routes(service, registry, service.folders))
        app.take(turn_routes(service))
        app.take(artifact_routes(service))
        app.take(agent_routes(service, registry))
        app.take(file_routes(service))
        self._app = app

    @property
    def app(self) -> ASGIApp:
        return self._app

    def claims(self, request: HTTPConnection) -> bool:
        named = any(VERSION in map(str.strip, value.split(",")) for value in request.headers.getlist(HEADER))
        return named or asks_for_files(request)

    def rule(self, request: HTTPConnection) -> Rule | None:
        """Events may be answers alone, which need less than messages; which they are is seen when they are read."""
        is_input = request.scope["method"] == "POST" and _EVENTS.fullmatch(request.scope["path"])
        return Rule("answer", True) if is_input else None

    def error(self, error: GodwitError, request_id: str) -> Response:
        return render(error, request_id)


async def _unrouted(request: Request, error: Exception) -> Response:
    """A path or a method that is not there."""
    assert isinstance(error, HTTPException)
    what = f"{request.method} {request.url.path}"
    message = f"{what}: there is no such method here" if error.status_code == 405 else f"{what}: there is nothing here"
    told = envelope(error.status_code, message)
    if error.status_code == 405:
        told.headers["allow"] = allowed(request, request.app.router.routes)
    return told
