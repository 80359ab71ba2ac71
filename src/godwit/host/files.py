"""Files: what clients upload, and what sessions leave for them, as documents with content.

A file that was uploaded never changes. An output is what a session's folder held at its path when it was last looked at: it
keeps its id, and the newest content. Leaves out the folders of sessions, which are the caller's to name. Rule: no link leads
out of a folder that is read, for whoever worked in it may have made links to what is not theirs.
"""

from __future__ import annotations

import asyncio
import mimetypes
import os
import re
from collections.abc import Mapping, Sequence

import msgspec

from ..contracts import FileInfo, Store
from ..core.document import Document, encode_body
from ..core.errors import DocumentExists, DocumentNotFound, GodwitError, InvalidArgument, NotFound, RevisionConflict
from ..core.ids import Clock, SessionId, derived_id
from ..workspaces.confined import Confined

KIND = "file"
"""Of the documents."""
OUTPUTS = 1000
"""How many outputs of a session are looked at."""
LONGEST_NAME = 255
PLAIN = "application/octet-stream"
_DEEPEST = 20
_TRIES = 20
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}")


class StoredFile(msgspec.Struct, frozen=True):
    """`session`: whose output it is, None for what was uploaded. `name`: of an output, its path below that of all outputs.
    `modified_ms`: when an output was last written. Times in ms, size in bytes."""

    id: str
    name: str
    media_type: str
    size: int
    created_ms: int
    expires_ms: int | None = None
    session: SessionId | None = None
    modified_ms: int | None = None


class _Body(msgspec.Struct, frozen=True, omit_defaults=True):
    """`seen`: size and time of the output when it was looked at, to tell whether it has changed."""

    name: str
    media_type: str
    size: int
    session: SessionId | None = None
    seen: tuple[int, int] | None = None


class Files:
    """A tenant sees its own alone. `most`: bytes of an output; larger ones are passed over."""

    def __init__(self, store: Store, clock: Clock, *, most: int = 1 << 29) -> None:
        self._store = store
        self._clock = clock
        self._most = most
        self._looking: dict[SessionId, asyncio.Lock] = {}

    async def put(
        self,
        id: str,  # noqa: A002 - the field's name
        name: str,
        content: bytes,
        *,
        tenant: str | None,
        media_type: str | None = None,
        keep_s: int | None = None,
    ) -> StoredFile:
        """A new file. `media_type`: by default what its name says. `keep_s`: it is gone after so many seconds.
        InvalidArgument, DocumentExists."""
        kind = media_type or mimetypes.guess_type(name)[0] or PLAIN
        if not _MEDIA_TYPE.fullmatch(kind):
            raise InvalidArgument(f"the media type {kind[:100]!r} is none, such as text/plain", value=kind[:100])
        body = _Body(checked_name(name), kind, len(content))
        expires_ms = None if keep_s is None else self._clock.now_ms() + keep_s * 1000
        new = Document(KIND, id, encode_body(msgspec.to_builtins(body)), tenant, expires_ms=expires_ms)
        return _stored((await self._store.put_documents([new], contents={id: content}))[0])

    async def get(self, file: str, *, tenant: str | None) -> StoredFile:
        """NotFound."""
        return _stored(await self._document(file, tenant))

    async def content(self, file: str, *, tenant: str | None) -> tuple[StoredFile, bytes]:
        """NotFound."""
        document = await self._document(file, tenant)
        try:
            return _stored(document), await self._store.document_content(KIND, file, tenant=tenant)
        except DocumentNotFound:
            raise _no_file(file) from None

    async def delete(self, file: str, *, tenant: str | None) -> None:
        """NotFound. Of an output it is remembered, so that it does not come back unless it has changed."""
        for _ in range(_TRIES):
            document = await self._document(file, tenant)
            if _stored(document).session is None:
                await self._store.delete_document(KIND, file, tenant=tenant)
                return
            gone = document.changed(document.data(), archived_ms=self._clock.now_ms())
            try:
                await self._store.put_documents([gone], contents={file: b""})
                return
            except RevisionConflict:
                continue
        raise RevisionConflict(f"file {file!r} is being changed by others all the time")

    async def list(
        self,
        *,
        tenant: str | None,
        session: str | None = None,
        limit: int = 50,
        after: tuple[int, str] | None = None,
        ascending: bool = False,
    ) -> list[StoredFile]:
        """The newest first unless `ascending`. `session`: the outputs of this one, as `look` found them."""
        found = await self._store.documents(
            KIND,
            tenant=tenant,
            keys=None if session is None else {"session": session},
            limit=limit,
            after=after,
            ascending=ascending,
            archived=False,
        )
        return [_stored(one) for one in found]

    # --- outputs ------------------------------------------------------------------------------------------------------

    async def look(self, session: SessionId, folder: str, below: str, *, tenant: str | None) -> None:
        """Take in the outputs of this session: what lies in its folder, below this path. Only regular files, and the first
        `OUTPUTS` by path."""
        lock = self._looking.setdefault(session, asyncio.Lock())
        try:
            async with lock:
                await self._look(session, folder, below, tenant)
        finally:
            if not lock.locked():
                self._looking.pop(session, None)

    async def _look(self, session: SessionId, folder: str, below: str, tenant: str | None) -> None:
        if not await asyncio.to_thread(os.path.isdir, folder):
            return
        files = Confined(os.path.realpath(folder), folder)
        found = await asyncio.to_thread(_regular, files, below)
        known = await self._known(session, tenant)
        for info in found:
            path = info.path[len(below) + 1 :]
            before = known.get(path)
            seen = (info.size, info.modified_ms)
            if before is not None and msgspec.convert(before.data(), _Body).seen == seen:
                continue
            content = await asyncio.to_thread(files.read_plain, info.path, self._most)
            if content is None:
                continue
            body = _Body(path, mimetypes.guess_type(path)[0] or PLAIN, len(content), session, seen)
            await self._take(body, content, before, tenant)

    async def _known(self, session: SessionId, tenant: str | None) -> Mapping[str, Document]:
        found: list[Document] = []
        after: tuple[int, str] | None = None
        while True:
            page = await self._store.documents(
                KIND, tenant=tenant, keys={"session": session}, limit=200, after=after, ascending=True
            )
            found += page
            if len(page) < 200:
                return {str(one.data()["name"]): one for one in found}
            after = (page[-1].created_ms, page[-1].id)

    async def _take(self, body: _Body, content: bytes, before: Document | None, tenant: str | None) -> None:
        assert body.session is not None
        data = msgspec.to_builtins(body)
        if before is None:
            id_ = derived_id("file", tenant or "", body.session, body.name)
            document = Document(KIND, id_, encode_body(data), tenant, keys={"session": body.session}, session=body.session)
        else:
            document = before.changed(data, archived_ms=None)
        try:
            await self._store.put_documents([document], contents={document.id: content})
        except (RevisionConflict, DocumentExists):
            pass  # another process has just taken it in

    async def _document(self, file: str, tenant: str | None) -> Document:
        try:
            document = await self._store.get_document(KIND, file, tenant=tenant)
        except DocumentNotFound:
            raise _no_file(file) from None
        if document.archived_ms is not None:
            raise _no_file(file)
        return document


def checked_name(name: str) -> str:
    """A file's name, without a way to it. InvalidArgument."""
    if not name or len(name) > LONGEST_NAME or name in (".", "..") or re.search(r"[\x00-\x1f\x7f/\\]", name):
        text = f"the file's name {name[:100]!r} does not have 1 to {LONGEST_NAME} characters, or has one that no name has"
        raise InvalidArgument(text, value=name[:100])
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidArgument(f"the file's name {name[:100]!r} is not Unicode", value=ascii(name[:100])) from None
    return name


def _regular(files: Confined, below: str) -> Sequence[FileInfo]:
    """The regular files below this path, in the order of their paths."""
    found: list[FileInfo] = []
    pending = [(below, 0)]
    while pending and len(found) < OUTPUTS:
        folder, depth = pending.pop()
        try:
            entries = files.listdir(folder)
        except GodwitError:
            continue  # it is not there, or became something else
        inner = []
        for entry in entries:
            try:
                entry.path.encode()
            except UnicodeEncodeError:
                continue  # a name that nobody could be told
            if entry.kind == "directory" and depth < _DEEPEST:
                inner.append((entry.path, depth + 1))
            elif entry.kind == "file":
                found.append(entry)
        pending += reversed(inner)
    return sorted(found[:OUTPUTS], key=lambda info: info.path)


def _stored(document: Document) -> StoredFile:
    body = msgspec.convert(document.data(), _Body)
    return StoredFile(
        document.id,
        body.name,
        body.media_type,
        body.size,
        document.created_ms,
        document.expires_ms,
        body.session,
        None if body.seen is None else body.seen[1],
    )


def _no_file(file: str) -> NotFound:
    return NotFound(f"there is no file {file!r}", file=file)


__all__ = ["KIND", "Files", "StoredFile", "checked_name"]
