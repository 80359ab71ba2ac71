"""Routes of artifacts: what the turns of a session have left.

They are the files below `/workspace/outputs`, taken in when somebody asks and no turn is open, and the outputs that were too
large for the conversation: these are no files of the environment, so their paths lie in a folder that none has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ...contracts import SessionRow
from ...core.errors import ArtifactNotFound
from ...core.events import ArtifactStored
from ...core.ids import ArtifactRef, SessionId
from ...host.files import Files
from ..server.service import Service, principal_of
from .environments import ROOT
from .history import History
from .ids import environment_id
from .pages import asked, page

SCHEME, PREFIX = "sha256:", "artifact_"
FOLDER, OUTPUTS = "/artifacts", "outputs"
MOST_FILES = 1000


class Published(msgspec.Struct, frozen=True):
    """An artifact that is there. Of its `ref` and `file` it has one: a large output's, or a file's id."""

    path: str
    turn: str
    size: int
    created_ms: int
    ref: ArtifactRef | None = None
    file: str | None = None

    @property
    def id(self) -> str:
        return PREFIX + (self.ref.removeprefix(SCHEME) if self.ref is not None else str(self.file))

    def body(self, session: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "agent.session.artifact",
            "session_id": session,
            "turn_id": self.turn,
            "environment_id": environment_id(session),
            "path": self.path,
            "size_bytes": self.size,
            "created_at": self.created_ms // 1000,
        }


async def published_by(service: Service, files: Files, row: SessionRow) -> Sequence[Published]:
    """What turns have left and is still there, oldest first."""
    found = [*await _large_outputs(service, row), *await _files(service, files, row)]
    return sorted(found, key=lambda one: one.created_ms)


async def _large_outputs(service: Service, row: SessionRow) -> list[Published]:
    turns: dict[str, str] = {}
    for event in await service.store.read(row.id, types=("artifact.stored",)):
        if isinstance(event.data, ArtifactStored) and event.run is not None:
            turns[event.data.ref] = event.run
    return [
        Published(f"{FOLDER}/{one.ref.removeprefix(SCHEME)}", turns[one.ref], one.size, one.stored_ms, one.ref)
        for one in await service.store.artifacts(row.id)
        if one.ref in turns
    ]


async def _files(service: Service, files: Files, row: SessionRow) -> list[Published]:
    """Each belongs to the turn in which it was last written; one that is written again takes the place of what it was."""
    if row.workspace is None:
        return []
    tenant = row.labels.tenant
    if row.run is None and row.status != "archived":
        await files.look(row.id, row.workspace, OUTPUTS, tenant=tenant)
    starts = await History(service.store, row.id, service.settings).starts(ascending=True)
    found: list[Published] = []
    for one in await files.list(tenant=tenant, session=row.id, limit=MOST_FILES, ascending=True):
        written_ms = one.created_ms if one.modified_ms is None else one.modified_ms
        turn = next((e for e in reversed(starts) if e.at_ms <= written_ms), starts[0] if starts else None)
        if turn is not None and turn.run is not None:
            found.append(Published(f"{ROOT}/{OUTPUTS}/{one.name}", turn.run, one.size, one.created_ms, file=one.id))
    return found


def artifact_routes(service: Service) -> APIRouter:
    router = APIRouter(prefix="/v1")
    base = "/agents/sessions/{session_id}/artifacts"

    files = Files(service.store, service.runtime.clock, most=service.settings.max_upload)

    async def published(request: Request, session_id: str) -> Sequence[Published]:
        return await published_by(service, files, await service.row(principal_of(request), session_id))

    async def one(request: Request, session_id: str, artifact_id: str) -> Published:
        for found in await published(request, session_id):
            if found.id == artifact_id:
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
        if found.file is not None:
            _, data = await files.content(found.file, tenant=principal_of(request).tenant)
        else:
            assert found.ref is not None
            _, data = await service.store.get_artifact(found.ref)
        # Whatever it says it is, a browser that is led here must not show it as a page of ours.
        return Response(data, media_type="application/octet-stream", headers={"content-disposition": "attachment"})

    @router.delete(base + "/{artifact_id}")
    async def delete(request: Request, session_id: str, artifact_id: str) -> dict[str, Any]:
        principal_of(request).require("operate")
        found = await one(request, session_id, artifact_id)
        if found.file is not None:
            await files.delete(found.file, tenant=principal_of(request).tenant)
        else:
            assert found.ref is not None
            await service.store.release_artifact(SessionId(session_id), found.ref)
        return {"id": artifact_id, "object": "agent.session.artifact.deleted", "deleted": True}

    return router
