"""Api: this dialect as the front of the server sees it, and the app that its routes make."""

from __future__ import annotations

from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp

from ...core.errors import GodwitError, InvalidArgument, NotFound
from ..server.methods import allowed
from ..server.routing import DialectApp, Table
from ..server.rule import OPERATE, READ, SAFE, Rule
from ..server.service import Service, request_id_of
from . import (
    actions,
    agents,
    branches,
    control,
    document,
    evidence,
    external_tools,
    files,
    inputs,
    lanes,
    mcp_contents,
    mcp_servers,
    memories,
    models,
    names,
    records,
    runs,
    sessions,
    shared_state,
    streams,
    tasks,
    todos,
    transfers,
    webhooks,
)
from .operations import PREFIX, operation_of
from .wire import error

_ROUTERS = (
    *(
        module.router
        for module in (
            agents,
            models,
            sessions,
            inputs,
            runs,
            control,
            actions,
            tasks,
            lanes,
            external_tools,
            mcp_servers,
            mcp_contents,
            memories,
            todos,
            shared_state,
            records,
            files,
            branches,
            evidence,
            transfers,
            webhooks,
        )
    ),
    sessions.found,
)
ROUTES = tuple(route for router in _ROUTERS for route in router.routes if isinstance(route, APIRoute))
"""The operations."""


class Api:
    """Implements `surfaces.server.dialect.Dialect`. It takes what lies below `/godwit/v1/`."""

    name = "godwit"

    def __init__(self, service: Service) -> None:
        self._app = _made()
        self._operations = Table(ROUTES)
        self._app.state.service = service
        self._app.state.names = names.Names(service)
        self._app.state.broadcasts = streams.broadcasts(service)

    @property
    def app(self) -> ASGIApp:
        return self._app

    def rule(self, request: HTTPConnection) -> Rule | None:
        """What an operation says of itself; None for what its method says."""
        method: str = request.scope["method"]
        found = self._operations.find(request.scope)
        if found is None:
            return None
        told = operation_of(found[0].endpoint)
        usual = READ if method in SAFE else OPERATE
        return Rule(told.scope or usual.scope, usual.writes, told.upload, told.waits)

    def claims(self, request: HTTPConnection) -> bool:
        return bool(request.scope["path"].startswith(f"{PREFIX}/"))

    def error(self, found: GodwitError, request_id: str) -> Response:
        return error(found, request_id)


def _made() -> _App:
    app = _App(
        title="godwit",
        version="1",
        description="Durable agent sessions.",
        openapi_url=f"{PREFIX}/openapi.json",
        exception_handlers={HTTPException: _unrouted, RequestValidationError: _invalid},
    )
    for router in _ROUTERS:
        app.take(router)
    app.take(streams.routes())
    return app


def openapi() -> dict[str, Any]:
    """The document that `/godwit/v1/openapi.json` answers."""
    return _made().openapi()


class _App(DialectApp):
    """With our document."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = document.document(self, ROUTES)
        return self.openapi_schema


async def _unrouted(request: Request, found: Exception) -> Response:
    """A path or a method that is not there."""
    assert isinstance(found, HTTPException)
    what = f"{request.method} {request.url.path}"
    text = f"{what}: there is no such method here" if found.status_code == 405 else f"{what}: there is nothing here"
    told = error(NotFound(text), request_id_of(request), found.status_code)
    if found.status_code == 405:
        told.headers["allow"] = allowed(request, request.app.router.routes)
    return told


async def _invalid(request: Request, found: Exception) -> Response:
    """A part of the address that is not what it has to be."""
    assert isinstance(found, RequestValidationError)
    first = found.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return error(InvalidArgument(f"{where}: {first['msg']}", at=where), request_id_of(request))
