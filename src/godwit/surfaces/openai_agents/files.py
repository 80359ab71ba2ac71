"""Routes of files: `client.files` of the official packages, as far as sessions need it.

The packages ask for files without saying that it is for this protocol, so they are known by their name (`asks_for_files`).
The files are the tenant's, whichever protocol they came by. What has no purpose here (batches, fine-tuning) is not taken.
"""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from ...core.errors import InvalidArgument, NotSupported, TooLarge
from ...core.ids import derived_id
from ...core.principal import Principal
from ...host.files import LONGEST_NAME, Files, StoredFile
from ..server.service import Service, key_of, principal_of
from .environments import Environment, Hosted, UploadedFile
from .pages import asked, page

PURPOSE, OUTPUT = "user_data", "assistants_output"
SHORTEST_S, LONGEST_S = 3600, 2_592_000
"""How long a file may be kept that is to go by itself."""
_PATH = re.compile(r"/v1/files(/[^/]+(/content)?)?")
_PACKAGES = re.compile(r"(Async)?OpenAI/")


def asks_for_files(request: HTTPConnection) -> bool:
    """Whether an official package of OpenAI's asks for files."""
    named = _PACKAGES.match(request.headers.get("user-agent", "")) is not None
    return named and "anthropic-version" not in request.headers and _PATH.fullmatch(request.scope["path"]) is not None


def files_of(service: Service) -> Files:
    return Files(service.store, service.runtime.clock, most=service.settings.max_upload)


async def uploaded_for(service: Service, principal: Principal, given: Environment) -> dict[str, bytes]:
    """The content of the files that an environment names, by their ids. NotFound; TooLarge for more than may be uploaded."""
    found: dict[str, bytes] = {}
    if not isinstance(given, Hosted):
        return found
    files, left = files_of(service), service.settings.max_upload
    for file in given.files or ():
        if isinstance(file, UploadedFile) and file.file_id not in found:
            left -= (await files.get(file.file_id, tenant=principal.tenant)).size
            if left < 0:
                limit = service.settings.max_upload
                raise TooLarge(f"environment.files: they have more than {limit} bytes together", limit=limit)
            _, found[file.file_id] = await files.content(file.file_id, tenant=principal.tenant)
    return found


def file_routes(service: Service) -> APIRouter:
    router = APIRouter(prefix="/v1/files")
    files = files_of(service)

    @router.post("")
    async def upload(request: Request) -> dict[str, Any]:
        principal = principal_of(request)
        principal.require("operate")
        name, kind, content, keep_s = await _form(request)
        await service.tenants.room(principal, "documents", len(content))
        key = key_of(request)
        own = service.new_id("file") if key is None else derived_id("file", principal.tenant or "", key)
        return _shown(await files.put(own, name, content, tenant=principal.tenant, media_type=kind, keep_s=keep_s))

    @router.get("")
    async def every(request: Request) -> dict[str, Any]:
        principal = principal_of(request)
        principal.require("read")
        wanted = asked(request, "purpose", most=10_000)
        purpose = request.query_params.get("purpose")
        after: tuple[int, str] | None = None
        if wanted.after is not None:
            last = await files.get(wanted.after, tenant=principal.tenant)
            after = (last.created_ms, last.id)
        found: list[dict[str, Any]] = []
        while len(found) <= wanted.limit:
            rows = await files.list(tenant=principal.tenant, limit=wanted.limit + 1, after=after, ascending=wanted.ascending)
            found += [_shown(one) for one in rows if purpose is None or _purpose(one) == purpose]
            if len(rows) <= wanted.limit:
                break
            after = (rows[-1].created_ms, rows[-1].id)
        return page(found[: wanted.limit], more=len(found) > wanted.limit)

    @router.get("/{file_id}")
    async def retrieve(request: Request, file_id: str) -> dict[str, Any]:
        principal_of(request).require("read")
        return _shown(await files.get(file_id, tenant=principal_of(request).tenant))

    @router.get("/{file_id}/content")
    async def content(request: Request, file_id: str) -> Response:
        principal_of(request).require("read")
        _, data = await files.content(file_id, tenant=principal_of(request).tenant)
        # Whatever it says it is, a browser that is led here must not show it as a page of ours.
        return Response(data, media_type="application/octet-stream", headers={"content-disposition": "attachment"})

    @router.delete("/{file_id}")
    async def delete(request: Request, file_id: str) -> dict[str, Any]:
        principal_of(request).require("operate")
        await files.delete(file_id, tenant=principal_of(request).tenant)
        return {"id": file_id, "object": "file", "deleted": True}

    return router


def _purpose(file: StoredFile) -> str:
    return PURPOSE if file.session is None else OUTPUT


def _shown(file: StoredFile) -> dict[str, Any]:
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": file.created_ms // 1000,
        "expires_at": None if file.expires_ms is None else file.expires_ms // 1000,
        "filename": file.name,
        "purpose": _purpose(file),
        "status": "processed",
    }


async def _form(request: Request) -> tuple[str, str | None, bytes, int | None]:
    """Name, media type and content of the file that a form holds, and how long it is kept. InvalidArgument, NotSupported.

    The form goes to a temporary file on its way, so that its content is in memory once, and only when it is whole.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise InvalidArgument("the body has to be a form (multipart/form-data) with the part `file`", param="file")
    try:
        form = await MultiPartParser(request.headers, request.stream(), max_files=1, max_fields=10).parse()
    except MultiPartException as error:
        raise InvalidArgument(f"the form cannot be read: {error.message}") from None
    try:
        known = {"file", "purpose", "expires_after[anchor]", "expires_after[seconds]"}
        unknown = next((name for name in form if name not in known), None)
        if unknown is not None:
            raise InvalidArgument(f"the form has no part {unknown[:100]!r}", param=unknown[:100])
        file, purpose = form.get("file"), form.get("purpose")
        if not isinstance(file, UploadFile):
            raise InvalidArgument("file: the form has no file of this name", param="file")
        if purpose != PURPOSE:
            raise NotSupported(f"purpose: files are for sessions, so it is {PURPOSE} here", param="purpose")
        keep_s = _keep_s(form.get("expires_after[anchor]"), form.get("expires_after[seconds]"))
        name = (file.filename or "").replace("\\", "/").rpartition("/")[2] or "unnamed"
        kind = (file.content_type or "").partition(";")[0].strip().lower()
        return name[-LONGEST_NAME:], kind or None, await file.read(), keep_s
    finally:
        await form.close()


def _keep_s(anchor: UploadFile | str | None, seconds: UploadFile | str | None) -> int | None:
    if anchor is None and seconds is None:
        return None
    given = int(seconds) if isinstance(seconds, str) and re.fullmatch(r"[0-9]{1,9}", seconds) else 0
    if anchor == "created_at" and SHORTEST_S <= given <= LONGEST_S:
        return given
    raise InvalidArgument(
        f"expires_after: created_at, and a whole number of seconds from {SHORTEST_S} to {LONGEST_S}", param="expires_after"
    )
