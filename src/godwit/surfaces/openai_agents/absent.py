"""What of the protocol is not there: it says so, with 501, rather than 404 for a path that official clients know."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...core.errors import NotSupported

PATHS = {
    "/v1/agents/automations": "automations: nothing is scheduled",
    "/v1/agents/environments": "environments apart from sessions, nor templates: give one as a session is created",
}
METHODS = ["GET", "POST", "DELETE"]


async def _absent(request: Request) -> Response:
    path = request.url.path
    what = next(what for start, what in PATHS.items() if path.startswith(start))
    raise NotSupported(f"godwit has no {what}: {request.method} {path} is not there")


async def _traces(_: Request) -> Response:
    raise NotSupported("godwit has no traces on this protocol; it sends them by OpenTelemetry")


def absent_routes() -> list[Route]:
    return [
        *(Route(path + below, _absent, methods=METHODS) for path in PATHS for below in ("", "/{rest:path}")),
        Route("/v1/agents/sessions/{session_id}/traces", _traces, methods=["GET"]),
    ]
