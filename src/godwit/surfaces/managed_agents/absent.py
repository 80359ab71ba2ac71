"""What of the protocol is not there: it says so, with 501, rather than 404 for a path that official clients know."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...core.errors import NotSupported

PATHS = {
    "/v1/vaults": "vaults",
    "/v1/files": "files",
    "/v1/sessions/{id}/resources": "resources",
    "/v1/memory_stores": "memory stores",
    "/v1/skills": "skills",
    "/v1/deployments": "deployments",
    "/v1/deployment_runs": "deployments",
    "/v1/dreams": "dreams",
    "/v1/tunnels": "tunnels",
    "/v1/user_profiles": "user profiles",
}
METHODS = ["GET", "POST", "PATCH", "DELETE"]


async def _absent(request: Request) -> Response:
    path = request.url.path
    what = next(name for start, name in PATHS.items() if path.startswith(start))
    raise NotSupported(f"godwit has no {what}: {request.method} {path} is not there")


def absent_routes() -> list[Route]:
    return [Route(path + below, _absent, methods=METHODS) for path in PATHS for below in ("", "/{rest:path}")]
