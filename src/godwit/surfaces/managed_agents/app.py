"""ManagedAgents: the dialect as the front of the server sees it, and the app that its routes make."""

from __future__ import annotations

import re

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp

from ...core.errors import GodwitError
from ..server.methods import allowed
from ..server.routing import DialectApp
from ..server.rule import UPLOAD, Rule
from ..server.service import Service, request_id_of
from .absent import absent_routes
from .agents import agent_routes
from .credentials import credential_routes
from .environments import environment_routes
from .errors import envelope, render
from .event_routes import event_routes, plain_routes
from .files import file_routes
from .resources import resource_routes
from .sessions import session_routes
from .vaults import vault_routes
from .work import work_queue, work_routes, work_rule

_EVENTS = re.compile(r"/v1/sessions/[^/]+/events")


class ManagedAgents:
    """Implements `surfaces.server.dialect.Dialect`. It takes what lies below `/v1/` and is not OpenAI's."""

    name = "managed_agents"

    def __init__(self, service: Service) -> None:
        app = DialectApp(openapi_url=None, exception_handlers={HTTPException: _unrouted})
        app.take(agent_routes(service))
        app.take(work_routes(service, work_queue(service)))
        app.take(environment_routes(service))
        app.take(file_routes(service))
        app.take(resource_routes(service))
        app.take(session_routes(service))
        app.take(vault_routes(service))
        app.take(credential_routes(service))
        app.take(event_routes(service))
        app.take(plain_routes(service))
        app.take(absent_routes())
        self._app = app

    @property
    def app(self) -> ASGIApp:
        return self._app

    def claims(self, request: HTTPConnection) -> bool:
        others = any(value.strip() for value in request.headers.getlist("openai-beta"))
        return request.scope["path"].startswith("/v1/") and not others

    def rule(self, request: HTTPConnection) -> Rule | None:
        """Who may answer may send events; what else they may send is asked when the body is read."""
        if request.scope["method"] == "POST" and _EVENTS.fullmatch(request.scope["path"]):
            return Rule("answer", True)
        if request.scope["method"] == "POST" and request.scope["path"] == "/v1/files":
            return UPLOAD
        return work_rule(request)

    def error(self, error: GodwitError, request_id: str) -> Response:
        return render(error, request_id)


async def _unrouted(request: Request, error: Exception) -> Response:
    """A path or a method that is not there."""
    assert isinstance(error, HTTPException)
    what = f"{request.method} {request.url.path}"
    message = f"{what}: there is no such method here" if error.status_code == 405 else f"{what}: there is nothing here"
    told = envelope(error.status_code, message, request_id_of(request))
    if error.status_code == 405:
        told.headers["allow"] = allowed(request, request.app.router.routes)
    return told
