"""What of the protocol is not there: it says so, with 501, rather than 404 for a path that official clients know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...core.errors import NotSupported

PATHS = {
    "/v1/memory_stores": "memory stores",
    "/v1/skills": "skills",
    "/v1/deployments": "deployments",
    "/v1/deployment_runs": "deployments",
    "/v1/dreams": "dreams",
    "/v1/tunnels": "tunnels",
    "/v1/user_profiles": "user profiles",
}
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def absent_routes() -> list[Route]:
    """To be tried behind all others: what one of those answers does not come here."""
    return [
        Route(path + below, _absent(what), methods=METHODS) for path, what in PATHS.items() for below in ("", "/{rest:path}")
    ]


def _absent(what: str) -> Callable[[Request], Awaitable[Response]]:
    async def refuse(request: Request) -> Response:
        raise NotSupported(f"godwit has no {what} here: {request.method} {request.url.path} is not there")

    return refuse
