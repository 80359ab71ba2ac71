"""Routes of files: `/v1/files`. What is uploaded is kept as it is; outputs of sessions are taken in when asked for."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import Response

from ...core.errors import DocumentExists, InvalidArgument, NotFound, SessionNotFound, TooLarge
from ...core.principal import Principal
from ...host.files import LONGEST_NAME, PLAIN, Files, StoredFile
from ..server.service import Service
from .caller import Operator, Reader, id_of
from .content import Files as NamedFiles, files_in
from .mounts import OUTPUTS
from .paging import MOST, paged
from .query import Query, moment, moment_or_none

MOST_IDS, MOST_NAMED = 100, 100
SHORTEST_S, LONGEST_S = 3600, 7_776_000
"""How long a file may be kept that is to go by itself: from an hour to ninety days."""
_OLD = re.compile(r"2023-")
"""The version of the protocol whose pages go by ids."""


def files_of(service: Service) -> Files:
    return Files(service.store, service.runtime.clock, most=service.settings.max_upload)


async def named_files(service: Service, principal: Principal, given: object) -> NamedFiles:
    """The files that content in a request names. What is not there is left out; InvalidArgument for too many, TooLarge when
    they have more bytes together than the body of a request may have."""
    named, found = files_in(given), dict[str, tuple[str, bytes, str]]()
    if len(named) > MOST_NAMED:
        raise InvalidArgument(f"{len(named)} files are named, which is more than {MOST_NAMED}")
    files, left = files_of(service), service.settings.max_body
    for id_ in sorted(named):
        try:
            left -= (await files.get(id_, tenant=principal.tenant)).size
            if left < 0:
                text = f"the files that are named have more than {service.settings.max_body} bytes together; mount them"
                raise TooLarge(text, limit=service.settings.max_body)
            file, content = await files.content(id_, tenant=principal.tenant)
        except NotFound:
            continue
        found[id_] = (file.media_type, content, file.name)
    return found


def file_routes(service: Service) -> APIRouter:
    routes = APIRouter(prefix="/v1/files")
    files = files_of(service)

    @routes.post("")
    async def upload(principal: Operator, request: Request) -> dict[str, Any]:
        name, kind, content, keep_s = await _parts(request)
        await service.tenants.room(principal, "documents", len(content))
        id_ = id_of(request, "file") or service.new_id("file")
        try:
            made = await files.put(id_, name, content, tenant=principal.tenant, media_type=kind, keep_s=keep_s)
        except DocumentExists:
            made = await files.get(id_, tenant=principal.tenant)  # this is done again
        return _shown(made)

    @routes.get("")
    async def listed(principal: Reader, request: Request) -> dict[str, Any]:
        query, listing = Query(request), _Listing(service, files, principal)
        ids, scope = query.texts("ids"), query.text("scope_id")
        if scope is not None:
            await listing.look(scope)
        if ids is not None:
            return await listing.named(query, ids)
        if _OLD.match(request.headers.get("anthropic-version", "")):
            return await listing.by_ids(query)
        page = await paged(query, "files", listing.fetch, _place)
        return page.body([_shown(one) for one in page.rows])

    @routes.get("/{file}")
    async def get(principal: Reader, file: str) -> dict[str, Any]:
        return _shown(await files.get(file, tenant=principal.tenant))

    @routes.get("/{file}/content")
    async def content(principal: Reader, file: str) -> Response:
        found, data = await files.content(file, tenant=principal.tenant)
        name = quote(found.name.rpartition("/")[2])
        return Response(
            data, media_type=found.media_type, headers={"content-disposition": f"attachment; filename*=UTF-8''{name}"}
        )

    @routes.delete("/{file}")
    async def delete(principal: Operator, file: str) -> dict[str, Any]:
        await files.delete(file, tenant=principal.tenant)
        return {"id": file, "type": "file_deleted"}

    return routes


def _shown(file: StoredFile) -> dict[str, Any]:
    return {
        "type": "file",
        "id": file.id,
        "filename": file.name,
        "mime_type": file.media_type,
        "size_bytes": file.size,
        "created_at": moment(file.created_ms),
        "expires_at": moment_or_none(file.expires_ms),
        "downloadable": True,
        "scope": None if file.session is None else {"type": "session", "id": file.session},
    }


def _place(file: StoredFile) -> tuple[int, str]:
    return file.created_ms, file.id


# --- uploading --------------------------------------------------------------------------------------------------------


async def _parts(request: Request) -> tuple[str, str, bytes, int | None]:
    """Name, media type and content of the file that a form holds, and for how long it is kept. InvalidArgument.

    The form goes to a temporary file on its way, so that its content is in memory once, and only when it is whole.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise InvalidArgument("the body has to be a form (multipart/form-data) with the part `file`")
    try:
        form = await _Form(request.headers, request.stream(), max_files=1, max_fields=10).parse()
    except MultiPartException as error:
        raise InvalidArgument(f"the form cannot be read: {error.message}") from None
    try:
        unknown = sorted(set(form) - {"file", "expires_in_seconds"})
        if unknown:
            raise InvalidArgument(f"{unknown[0]}: the form has no such part; known are file, expires_in_seconds")
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise InvalidArgument("file: the form has no file of this name")
        keep_s = _keep_s(form.getlist("expires_in_seconds"))
        kind = (file.content_type or "").partition(";")[0].strip().lower()
        name = (file.filename or "").replace("\\", "/").rpartition("/")[2]
        kind = kind or mimetypes.guess_type(name)[0] or PLAIN
        name = name or "unnamed" + (mimetypes.guess_extension(kind) or "")
        return name[-LONGEST_NAME:], kind, await file.read(), keep_s
    finally:
        await form.close()


class _Form(MultiPartParser):
    """The part `file` is a file also when nobody says what its name is, as it may be in this protocol."""

    def on_headers_finished(self) -> None:
        part = self._current_part
        said = part.content_disposition or b""
        _, options = parse_options_header(said)
        if options.get(b"name") == b"file" and b"filename" not in options:
            part.content_disposition = said + b'; filename=""'
        super().on_headers_finished()


def _keep_s(given: Sequence[UploadFile | str]) -> int | None:
    if not given:
        return None
    value = given[-1]
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value) and SHORTEST_S <= int(value) <= LONGEST_S:
        return int(value)
    raise InvalidArgument(f"expires_in_seconds: {value!r} is no whole number from {SHORTEST_S} to {LONGEST_S}")


# --- listing ----------------------------------------------------------------------------------------------------------


class _Listing:
    def __init__(self, service: Service, files: Files, principal: Principal) -> None:
        self._service = service
        self._files = files
        self._principal = principal
        self._session: str | None = None

    async def look(self, session: str) -> None:
        """List the outputs of this session, as they are now; none of one that is not there, or works elsewhere. TooMany when
        there is no room for more."""
        self._session = session
        try:
            row = await self._service.row(self._principal, session)
        except SessionNotFound:
            return
        if row.workspace is not None:
            await self._service.tenants.room(self._principal, "documents")
            await self._files.look(row.id, row.workspace, OUTPUTS, tenant=self._principal.tenant)

    async def fetch(self, limit: int, after: tuple[int, str] | None, ascending: bool) -> list[StoredFile]:
        return await self._files.list(
            tenant=self._principal.tenant, session=self._session, limit=limit, after=after, ascending=ascending
        )

    async def named(self, query: Query, ids: list[str]) -> dict[str, Any]:
        """Those of these ids that are there, on one page."""
        if len(ids) > MOST_IDS:
            raise InvalidArgument(f"ids: {len(ids)} are more than {MOST_IDS}")
        for other in ("page", "limit"):
            if query.text(other) is not None:
                raise InvalidArgument(f"{other}: it does not go with ids")
        found: list[StoredFile] = []
        for one in ids:
            try:
                file = await self._files.get(one, tenant=self._principal.tenant)
            except NotFound:
                continue
            if self._session is None or file.session == self._session:
                found.append(file)
        found.sort(key=_place, reverse=True)
        return {"data": [_shown(one) for one in found], "next_page": None, **_ends(found, more=False)}

    async def by_ids(self, query: Query) -> dict[str, Any]:
        """A page as older clients know it: behind or before a file."""
        limit = query.number("limit", most=MOST) or 20
        behind, before = query.text("after_id"), query.text("before_id")
        if behind is not None and before is not None:
            raise InvalidArgument("before_id: it does not go with after_id")
        at = None
        for name, given in (("after_id", behind), ("before_id", before)):
            if given is None:
                continue
            try:
                at = _place(await self._files.get(given, tenant=self._principal.tenant))
            except NotFound:
                raise InvalidArgument(f"{name}: there is no file {given!r}", value=given) from None
        found = await self.fetch(limit + 1, at, before is not None)
        more, found = len(found) > limit, found[:limit]
        if before is not None:
            found.reverse()
        return {"data": [_shown(one) for one in found], **_ends(found, more=more)}


def _ends(found: Sequence[StoredFile], *, more: bool) -> dict[str, Any]:
    return {
        "has_more": more,
        "first_id": found[0].id if found else None,
        "last_id": found[-1].id if found else None,
    }
