"""The app of a server, and the process that runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...core.errors import Unauthenticated
from ...core.principal import LOCAL, Principal
from .dialect import Dialect
from .front import Front
from .service import Service
from .settings import ServerSettings

if TYPE_CHECKING:
    from ...host.runtime import Runtime

MakeDialect = Callable[[Service], Dialect]


def create_app(
    runtime: Runtime, settings: ServerSettings | None = None, dialects: Sequence[MakeDialect] | None = None
) -> Front:
    """An ASGI app over this runtime, which stays the caller's to close."""
    settings = settings or ServerSettings()
    service = Service(runtime, settings)

    async def authenticate(_: HTTPConnection) -> Principal:
        if settings.asks_for_keys:
            raise Unauthenticated("no key was given")
        return LOCAL

    made = [make(service) for make in (_dialects() if dialects is None else dialects)]
    return Front(service, made, authenticate, Starlette(routes=[Route("/healthz", _healthy)]))


def _dialects() -> Sequence[MakeDialect]:
    from ..managed_agents import ManagedAgents

    return (ManagedAgents,)


async def _healthy(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def serve(runtime: Runtime, settings: ServerSettings | None = None) -> None:
    """Serve until the task is cancelled or the process is told to end; open runs then yield at a checkpoint."""
    import uvicorn

    settings = settings or ServerSettings()
    app = create_app(runtime, settings)
    server = uvicorn.Server(uvicorn.Config(app, settings.host, settings.port, log_config=None, access_log=False))
    await runtime.desk.recover()
    await server.serve()
