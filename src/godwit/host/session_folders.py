"""Session folders: where sessions work that were given none: one each, named as the session, in a folder of the server's
that all protocols share. Nobody else on this machine may read them.

A document that goes with the session says where its folder is, and is put before that is made. So whoever deletes the
session removes the folder with it, in whatever process; and what is left of one that was never made is found
(`Store.stray_documents`). Rules: a folder is removed only by the database that it was made for, since a copy of it names the
folder as well; a session begins in an empty one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from ..contracts import DocumentStore
from ..core.document import Document
from ..core.errors import DocumentExists, DocumentNotFound, InvalidArgument
from ..core.ids import SessionId

logger = logging.getLogger("godwit")

KIND = "session.folder"


class _Body(msgspec.Struct, frozen=True):
    """`file`: of the database that the folder was made for; None for one in memory."""

    path: str
    file: str | None


class Folders:
    """`root`: where they are made; made itself when it is first needed. None: in a folder for this object alone, below the
    system's temporary one, under a name that nobody can know before; `close` removes it."""

    def __init__(self, store: DocumentStore, root: str | os.PathLike[str] | None) -> None:
        self._store = store
        self._root = None if root is None else Path(os.path.abspath(root))
        self._making = threading.Lock()
        self._remove: weakref.finalize[..., Folders] | None = None

    @property
    def root(self) -> Path:
        """Where all of them lie. Hide it from commands: what lies within it is other sessions'."""
        with self._making:
            if self._root is None:
                made = tempfile.mkdtemp(prefix="godwit-")  # of mode 0700
                self._root = Path(os.path.realpath(made))
                self._remove = weakref.finalize(self, shutil.rmtree, made, ignore_errors=True)
            return self._root

    async def close(self) -> None:
        """Remove the temporary one, with all that is in it. Nothing happens to one that was named."""
        if self._remove is not None:
            await asyncio.to_thread(self._remove)

    async def make(
        self,
        session: str,
        files: Mapping[str, bytes] | None = None,
        *,
        tenant: str | None,
        places: Sequence[str] = (),
        again: bool = False,
    ) -> Path:
        """The folder of a session, with these files by their paths in it, and with these folders (`places`).

        FileExistsError when something is in it, unless `again`: it is then as it was left, but for what is put into it.
        """
        body = _Body(str(await asyncio.to_thread(self.of, session)), _file_of(self._store))
        with contextlib.suppress(DocumentExists):
            await self._store.put_documents(
                [Document(KIND, session, msgspec.json.encode(body), tenant, session=SessionId(session))]
            )
        return await asyncio.to_thread(self._make, session, dict(files or {}), places, again)

    def _make(self, session: str, files: Mapping[str, bytes], places: Sequence[str], again: bool) -> Path:
        folder = self.of(session)
        folder.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if not again and any(folder.iterdir()):
            raise FileExistsError(f"there is something in {folder} already")
        for place in places:
            _within(folder, place).mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            target = _within(folder, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        return folder

    async def remove(self, session: str, *, tenant: str | None) -> None:
        """Remove the folder of a session that was not made; nothing happens when there is none."""
        await remove_folder(await folder_of(self._store, session, tenant=tenant))
        await self._store.delete_document(KIND, session, tenant=tenant)

    def of(self, session: str) -> Path:
        """Where the folder of this session is, or would be."""
        return self.root.resolve() / session


def _within(folder: Path, path: str) -> Path:
    target = folder / path
    if not target.is_relative_to(folder) or ".." in target.parts:
        raise InvalidArgument(f"{path!r} leads out of the folder", path=path)
    return target


def folders_for(store: DocumentStore, folder: str | None) -> Folders:
    """In `folder`; else beside the database's file; else, for one in memory, in a temporary folder."""
    if folder is not None:
        return Folders(store, Path(folder).expanduser())
    file = _file_of(store)
    return Folders(store, None if file is None else f"{file}.workspaces")


async def folder_of(store: DocumentStore, session: str, *, tenant: str | None) -> Path | None:
    """The folder that was made for this session; None when it was given one."""
    try:
        return named_in(store, await store.get_document(KIND, session, tenant=tenant))
    except DocumentNotFound:
        return None


def named_in(store: DocumentStore, document: Document) -> Path | None:
    """The folder that this document names; None when that is another database's."""
    body = msgspec.json.decode(document.body, type=_Body)
    path = Path(body.path)
    return path if body.file == _file_of(store) and path.name == document.id else None


async def remove_folder(folder: Path | None) -> None:
    """Remove it with all that is in it, as far as the system lets us."""
    if folder is None:
        return
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    if await asyncio.to_thread(os.path.lexists, folder):
        logger.warning("the folder %s of a session that is deleted cannot be removed whole", folder)


def _file_of(store: DocumentStore) -> str | None:
    file: str | None = getattr(store, "file", None)
    return None if file is None else os.path.abspath(file)
