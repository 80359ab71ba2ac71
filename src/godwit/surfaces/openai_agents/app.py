"""OpenAIAgents: the dialect as the front of the server sees it, and the app that its routes make."""

from __future__ import annotations

import re

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp

from ...core.errors import GodwitError, NotSupported
from ...host.agent_registry import AgentRegistry
from ..server.methods import allowed
from ..server.routing import DialectApp
from ..server.rule import UPLOAD, Rule
from ..server.service import Service
from .absent import absent_routes
from .agents import agent_routes
from .artifacts import artifact_routes
from .credentials import credential_routes
from .errors import envelope, render
from .files import asks_for_files, file_routes
from .sessions import session_routes
from .turns import turn_routes
from .vaults import vault_routes

HEADER, PROTOCOL, VERSION = "openai-beta", "agents=", "agents=v1"
_EVENTS = re.compile(r"/v1/agents/sessions/[^/]+/events")


class OpenAIAgents:
    """Implements `surfaces.server.dialect.Dialect`. It takes what says `OpenAI-Beta: agents=...`, below `/v1/`, and refuses
    another version than `agents=v1` in words that a client of it understands; and what the official packages ask of files,
    which does not say it."""

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
        app.take(vault_routes(service))
        app.take(credential_routes(service))
        self._app = app

    @property
    def app(self) -> ASGIApp:
        return self._app

    def claims(self, request: HTTPConnection) -> bool:
        return any(one.startswith(PROTOCOL) for one in _betas(request)) or asks_for_files(request)

    def rule(self, request: HTTPConnection) -> Rule | None:
        """Events may be answers alone, which need less than messages; which they are is seen when they are read.
        NotSupported for another version of the protocol."""
        others = [one for one in _betas(request) if one.startswith(PROTOCOL)]
        if others and VERSION not in others:
            raise NotSupported(f"OpenAI-Beta: {others[0][:100]!r} is not spoken here: {VERSION} is", given=others[0][:100])
        if request.scope["method"] == "POST" and request.scope["path"] == "/v1/files":
            return UPLOAD
        is_input = request.scope["method"] == "POST" and _EVENTS.fullmatch(request.scope["path"])
        return Rule("answer", True) if is_input else None

    def error(self, error: GodwitError, request_id: str) -> Response:
        return render(error, request_id)


def _betas(request: HTTPConnection) -> list[str]:
    return [one.strip() for value in request.headers.getlist(HEADER) for one in value.split(",")]


async def _unrouted(request: Request, error: Exception) -> Response:
    """A path or a method that is not there."""
    assert isinstance(error, HTTPException)
    what = f"{request.method} {request.url.path}"
    message = f"{what}: there is no such method here" if error.status_code == 405 else f"{what}: there is nothing here"
    told = envelope(error.status_code, message)
    if error.status_code == 405:
        told.headers["allow"] = allowed(request, request.app.router.routes)
    return told
