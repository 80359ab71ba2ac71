"""Routes of artifacts: the large outputs that a session's turns have left, by reference.

They are outputs that were too large for the conversation and not files of the environment, so their paths lie in a folder of
that name which no environment has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ...core.artifact import HeldArtifact
from ...core.errors import ArtifactNotFound
from ...core.events import ArtifactStored
from ...core.ids import ArtifactRef, SessionId
from ..server.service import Service, principal_of
from .ids import environment_id
from .pages import asked, page

SCHEME, PREFIX = "sha256:", "artifact_"
FOLDER = "/artifacts"


class Published(msgspec.Struct, frozen=True):
    """An artifact that is held, and the turn that left it."""

    held: HeldArtifact
    turn: str

    def body(self, session: str) -> dict[str, Any]:
        digest = self.held.ref.removeprefix(SCHEME)
        return {
            "id": PREFIX + digest,
            "object": "agent.session.artifact",
            "session_id": session,
            "turn_id": self.turn,
            "environment_id": environment_id(session),
            "path": f"{FOLDER}/{digest}",
            "size_bytes": self.held.size,
            "created_at": self.held.stored_ms // 1000,
        }


def artifact_routes(service: Service) -> APIRouter:
    router = APIRouter()
    base = "/agents/sessions/{session_id}/artifacts"

    async def published(request: Request, session_id: str) -> Sequence[Published]:
        """What turns have left and the session still holds, oldest first."""
        row = await service.row(principal_of(request), session_id)
        turns: dict[str, str] = {}
        for event in await service.store.read(row.id, types=("artifact.stored",)):
            if isinstance(event.data, ArtifactStored) and event.run is not None:
                turns[event.data.ref] = event.run
        held = await service.store.artifacts(row.id)
        return [Published(one, turns[one.ref]) for one in held if one.ref in turns]

    async def one(request: Request, session_id: str, artifact_id: str) -> Published:
        for found in await published(request, session_id):
            if PREFIX + found.held.ref.removeprefix(SCHEME) == artifact_id:
                return found
        raise ArtifactNotFound(f"the session has no artifact {artifact_id!r}", param="artifact_id")

    @router.get(base)
    async def every(request: Request, session_id: str) -> dict[str, Any]:
        principal_of(request).require("read")
        wanted = asked(request, "environment_id")
        bodies = [found.body(session_id) for found in await published(request, session_id)]
        environment = request.query_params.get("environment_id")
        bodies = [b for b in bodies if environment is None or b["environment_id"] == environment]
        if not wanted.ascending:
            bodies.reverse()
        if wanted.after is not None:
            ids = [b["id"] for b in bodies]
            if wanted.after not in ids:
                raise ArtifactNotFound(f"the session has no artifact {wanted.after!r}", param="after")
            bodies = bodies[ids.index(wanted.after) + 1 :]
        return page(bodies[: wanted.limit], more=len(bodies) > wanted.limit)

    @router.get(base + "/{artifact_id}")
    async def retrieve(request: Request, session_id: str, artifact_id: str) -> dict[str, Any]:
        principal_of(request).require("read")
        return (await one(request, session_id, artifact_id)).body(session_id)

    @router.get(base + "/{artifact_id}/content")
    async def content(request: Request, session_id: str, artifact_id: str) -> Response:
        principal_of(request).require("read")
        found = await one(request, session_id, artifact_id)
        _, data = await service.store.get_artifact(found.held.ref)
        # Whatever it says it is, a browser that is led here must not show it as a page of ours.
        return Response(data, media_type="application/octet-stream", headers={"content-disposition": "attachment"})

    @router.delete(base + "/{artifact_id}")
    async def delete(request: Request, session_id: str, artifact_id: str) -> dict[str, Any]:
        principal_of(request).require("operate")
        found = await one(request, session_id, artifact_id)
        await service.store.release_artifact(SessionId(session_id), ArtifactRef(found.held.ref))
        return {"id": artifact_id, "object": "agent.session.artifact.deleted", "deleted": True}

    return router
