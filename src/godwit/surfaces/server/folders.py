"""Folders of sessions that were given none: one each, named as the session, in a folder of the server's that all protocols
share. Nobody else on this machine may read them."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...core.errors import InvalidArgument


class Folders:
    """`root`: where they are made; made itself when it is first needed. None: in a folder for this object alone, below the
    system's temporary one, under a name that nobody can know before; `close` removes it."""

    def __init__(self, root: str | os.PathLike[str] | None) -> None:
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
        places: Sequence[str] = (),
        again: bool = False,
    ) -> Path:
        """The folder of a session, with these files by their paths in it, and with these folders (`places`).

        FileExistsError when there is one, unless `again`: it is then as it was left, but for what is put into it.
        """
        return await asyncio.to_thread(self._make, session, dict(files or {}), places, again)

    def _make(self, session: str, files: Mapping[str, bytes], places: Sequence[str], again: bool) -> Path:
        folder = self.of(session)
        folder.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=again)
        for place in places:
            _within(folder, place).mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            target = _within(folder, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        return folder

    async def remove(self, session: str, folder: str | os.PathLike[str] | None) -> None:
        """Remove the session's folder, if `folder` is one that was made here; nothing happens when it is gone."""
        if folder is not None and Path(folder) == self.of(session):
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def of(self, session: str) -> Path:
        """Where the folder of this session is, or would be."""
        return self.root.resolve() / session


def _within(folder: Path, path: str) -> Path:
    target = folder / path
    if not target.is_relative_to(folder) or ".." in target.parts:
        raise InvalidArgument(f"{path!r} leads out of the folder", path=path)
    return target


def folders_for(file: str | None, folder: str | None) -> Folders:
    """In `folder`; else beside the database's file; else, for one in memory, in a temporary folder."""
    if folder is not None:
        return Folders(Path(folder).expanduser())
    return Folders(None if file is None else f"{os.path.abspath(file)}.workspaces")
