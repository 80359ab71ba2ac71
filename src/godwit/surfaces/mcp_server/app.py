"""McpServer: the dialect as the front of the server sees it: streamable HTTP at `/mcp`.

The SDK's server is made with the first request. Which scope a request needs is asked when it is known what it calls: by the
tool, and not by the method, since all of them are posted.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ...core.errors import GodwitError, NotFound
from ...core.principal import Principal
from ..server.exchange import exchange_of
from ..server.methods import allowed
from ..server.routing import DialectApp
from ..server.rule import Rule
from ..server.service import Service
from .errors import render

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    from ..server.caller import Caller

PATH = "/mcp"
MAX_CONNECTIONS = 1000
"""Connections of the older protocol that are kept, for all callers together."""


class McpServer:
    """Implements `surfaces.server.dialect.Dialect`."""

    name = "mcp"

    def __init__(self, service: Service) -> None:
        app = DialectApp(openapi_url=None, exception_handlers={HTTPException: _unrouted})
        app.take([Route(PATH, _Endpoint(service), methods=["GET", "POST", "DELETE"])])
        self._app = app

    @property
    def app(self) -> ASGIApp:
        return self._app

    def claims(self, request: HTTPConnection) -> bool:
        return bool(request.scope["path"] == PATH)

    def rule(self, request: HTTPConnection) -> Rule | None:
        """What it does is told by its body; a call of a tool may take as long as the work does."""
        return Rule("read", False, waits=True)

    def error(self, error: GodwitError, request_id: str) -> Response:
        return render(error)


class _Endpoint:
    """Gives requests to the SDK's server."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._making: asyncio.Task[StreamableHTTPSessionManager] | None = None
        self._serving: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._making is None or (self._making.done() and self._making.exception() is not None):
            self._making = asyncio.ensure_future(self._make())
        manager = await asyncio.shield(self._making)
        scope["user"] = _user(scope["godwit.principal"])
        await manager.handle_request(scope, receive, send)

    async def _make(self) -> StreamableHTTPSessionManager:
        # Beside the event loop, which must not stand still for the second that the package takes.
        await asyncio.to_thread(_load)
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

        from ..server.roster import StoredRoster
        from .protocol import served

        made = await served(self._service, StoredRoster(), lambda ctx: _caller(self._service, ctx))
        manager = StreamableHTTPSessionManager(
            made.server, max_request_body_size=self._service.settings.max_body, max_sessions=MAX_CONNECTIONS
        )
        running, ending = asyncio.Event(), asyncio.Event()

        async def serve() -> None:
            async with _closing(made), manager.run():
                running.set()
                await ending.wait()

        self._serving = asyncio.ensure_future(serve())
        self._service.tenants.until_end(ending.set)
        await running.wait()
        return manager


@contextlib.asynccontextmanager
async def _closing(made: Any) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await made.close()


def _load() -> None:
    from . import protocol  # noqa: F401


def _user(principal: Principal) -> object:
    """As the SDK knows who asks: a connection of the older protocol is used by who has begun it alone."""
    from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
    from mcp.server.auth.provider import AccessToken

    return AuthenticatedUser(AccessToken(token="", client_id=principal.id, scopes=[], subject=principal.tenant))


def _caller(service: Service, ctx: ServerRequestContext[Any, Any]) -> Caller:
    from ..server.caller import Caller

    assert ctx.request is not None  # there is one with whatever comes over HTTP
    scope = ctx.request.scope
    exchange = exchange_of(scope)
    return Caller(service, scope["godwit.principal"], None if exchange is None else exchange.begins)


async def _unrouted(request: Request, error: Exception) -> Response:
    """A method that is not there."""
    assert isinstance(error, HTTPException)
    told = render(NotFound(f"{request.method} {request.url.path}: there is no such method here"), error.status_code)
    if error.status_code == 405:
        told.headers["allow"] = allowed(request, request.app.router.routes)
    return told
