"""Resources of a session: the files it is given, when it is made and later (`/v1/sessions/{session}/resources`)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends
from starlette.requests import Request

from ...core.errors import InvalidArgument, NotFound, NotSupported, PathEscape, RevisionConflict, ToolFailed
from ...core.principal import Principal
from ..server.service import Service
from .body import body, decoded, fit
from .caller import Operator, Reader, id_of
from .files import files_of
from .mounts import Mount, check_apart, mount_of, remove, write
from .paging import paged
from .query import Query, moment
from .session_record import Kept, SessionRecord, session_of
from .shapes import Shape

MOST = 500
"""How many a session may have."""
_ABSENT = {"github_repository": "repositories", "memory_store": "memory stores"}
_TRIES = 20


class FileResource(Shape):
    type: Literal["file"]
    file_id: str
    mount_path: str | None = None


class ResourceUpdate(Shape):
    authorization_token: str


def read_resources(given: Sequence[Any] | None, environment: str) -> list[Mount]:
    """The mounts that a new session asks for; `environment`: the type of its environment. InvalidArgument, NotSupported."""
    mounts = [_read(one, f"resources.{number}") for number, one in enumerate(given or ())]
    if mounts and environment != "cloud":
        raise InvalidArgument(
            "resources: the files of a self_hosted environment are on its workers' side: give them to the worker"
        )
    if len(mounts) > MOST:
        raise InvalidArgument(f"resources: {len(mounts)} are more than {MOST}")
    check_apart(mounts, [f"resources.{number}.mount_path" for number in range(len(mounts))])
    return mounts


def _read(given: Any, at: str) -> Mount:
    kind = given.get("type") if isinstance(given, dict) else None
    if isinstance(kind, str) and kind in _ABSENT:
        raise NotSupported(f"{at}: godwit mounts no {_ABSENT[kind]}; give the session files, or leave it out", type=kind)
    resource = fit(FileResource, given, (at,))
    return mount_of(resource.file_id, resource.mount_path, f"{at}.mount_path")


async def check_files(service: Service, principal: Principal, mounts: Sequence[Mount]) -> None:
    """NotFound when there is no such file."""
    for mount in mounts:
        await files_of(service).get(mount.file, tenant=principal.tenant)


async def mount_all(service: Service, principal: Principal, folder: str | Path, mounts: Sequence[Mount]) -> None:
    """Copy the files into the session's folder. NotFound."""
    for mount in mounts:
        _, content = await files_of(service).content(mount.file, tenant=principal.tenant)
        await write(folder, mount, content)


def shown_mount(service: Service, mount: Mount, id_: str) -> dict[str, Any]:
    """The resource of a mount that is made now."""
    now = moment(service.now_ms())
    return {
        "type": "file",
        "id": id_,
        "file_id": mount.file,
        "mount_path": mount.path,
        "created_at": now,
        "updated_at": now,
    }


def resource_routes(service: Service) -> APIRouter:
    routes = APIRouter(prefix="/v1/sessions/{session}/resources")

    @routes.post("")
    async def add(principal: Operator, session: str, request: Request) -> dict[str, Any]:
        record = await session_of(service, principal, session)
        mount = _read(decoded(await request.body()), "the body")
        id_ = id_of(request, "sesrsc") or service.new_id("sesrsc")
        folder = _folder(record)
        await check_files(service, principal, [mount])
        await service.tenants.room(principal, "documents")

        def added(resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
            if any(one["id"] == id_ for one in resources):
                return resources
            if len(resources) >= MOST:
                raise InvalidArgument(f"resources: a session has {MOST} at most")
            there = [Mount(one["file_id"], one["mount_path"]) for one in resources]
            check_apart([*there, mount], ["mount_path"] * (len(there) + 1))
            return [*resources, shown_mount(service, mount, id_)]

        def gone(resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return [one for one in resources if one["id"] != id_]

        kept = await _change(service, principal, session, added)
        try:
            await mount_all(service, principal, folder, [mount])
        except BaseException:
            await _change(service, principal, session, gone)
            raise
        return next(one for one in kept.resources if one["id"] == id_)

    @routes.get("")
    async def listed(principal: Reader, session: str, request: Request) -> dict[str, Any]:
        resources = (await session_of(service, principal, session)).kept.resources

        async def fetch(limit: int, after: tuple[int, str] | None, ascending: bool) -> list[tuple[int, dict[str, Any]]]:
            numbered = list(enumerate(resources))
            if not ascending:
                numbered.reverse()
            if after is not None:
                numbered = [one for one in numbered if (one[0] > after[0] if ascending else one[0] < after[0])]
            return numbered[:limit]

        page = await paged(
            Query(request), f"resources of {session}", fetch, lambda one: (one[0], one[1]["id"]), order="asc", limit=MOST
        )
        return page.body([one for _, one in page.rows])

    @routes.get("/{resource}")
    async def get(principal: Reader, session: str, resource: str) -> dict[str, Any]:
        return _named((await session_of(service, principal, session)).kept.resources, resource)

    @routes.post("/{resource}")
    async def update(
        principal: Operator,
        session: str,
        resource: str,
        given: Annotated[ResourceUpdate, Depends(body(ResourceUpdate))],  # noqa: ARG001 - it is checked
    ) -> dict[str, Any]:
        _named((await session_of(service, principal, session)).kept.resources, resource)
        raise InvalidArgument("authorization_token: a file needs none; nothing of it can be changed")

    @routes.delete("/{resource}")
    async def delete(principal: Operator, session: str, resource: str) -> dict[str, Any]:
        record = await session_of(service, principal, session)
        gone = _named(record.kept.resources, resource)
        folder = _folder(record)
        await _change(service, principal, session, lambda old: [one for one in old if one["id"] != resource])
        with contextlib.suppress(PathEscape, ToolFailed):  # the session has put something else there
            await remove(folder, Mount(gone["file_id"], gone["mount_path"]))
        return {"id": resource, "type": "session_resource_deleted"}

    return routes


def _folder(record: SessionRecord) -> str:
    """Where the session's files are. InvalidArgument when that is not here, or they are no more to be changed."""
    session = record.row.id
    if record.row.workspace is None or record.document is None:
        raise InvalidArgument(f"session {session!r} has no files here that others could be mounted beside")
    if record.status == "terminated":
        raise InvalidArgument(f"session {session!r} is archived and keeps the resources it has")
    return record.row.workspace


def _named(resources: Sequence[dict[str, Any]], resource: str) -> dict[str, Any]:
    found = next((one for one in resources if one["id"] == resource), None)
    if found is None:
        raise NotFound(f"there is no resource {resource!r}", resource=resource)
    return found


async def _change(
    service: Service,
    principal: Principal,
    session: str,
    change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]],
) -> Kept:
    """Change the session's list, over whatever others change of its document at the same time."""
    for _ in range(_TRIES):
        record = await session_of(service, principal, session)
        assert record.document is not None
        kept = msgspec.structs.replace(record.kept, resources=change(record.kept.resources))
        try:
            await service.store.put_documents([record.document.changed(msgspec.to_builtins(kept))])
        except RevisionConflict:
            continue
        return kept
    raise RevisionConflict(f"session {session!r} is being changed by others all the time")
