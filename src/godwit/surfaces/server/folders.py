"""Folders of sessions that were given none: one each, named as the session, in a folder of the server's."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ...core.errors import InvalidArgument


class Folders:
    """`root`: where they are made; made itself when it is first needed."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(os.path.abspath(root))

    async def make(self, session: str, files: Mapping[str, bytes] | None = None) -> Path:
        """The new folder of a session, with these files by their paths in it."""
        return await asyncio.to_thread(self._make, session, dict(files or {}))

    def _make(self, session: str, files: Mapping[str, bytes]) -> Path:
        folder = self.of(session)
        folder.mkdir(parents=True, mode=0o700)
        for path, content in files.items():
            target = folder / path
            if not target.is_relative_to(folder) or ".." in target.parts:
                raise InvalidArgument(f"{path!r} leads out of the folder", path=path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        return folder

    async def remove(self, session: str, folder: str | None) -> None:
        """Remove the session's folder, if `folder` is one that was made here."""
        if folder is not None and Path(folder) == self.of(session):
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def of(self, session: str) -> Path:
        """Where the folder of this session is, or would be."""
        return self.root.resolve() / session


def folders_beside(file: str | None, folder: str | None) -> Folders:
    """In `folder`; else beside the database's file; else, for one in memory, in a temporary folder."""
    if folder is not None:
        return Folders(Path(folder).expanduser())
    if file is not None:
        return Folders(f"{os.path.abspath(file)}.workspaces")
    return Folders(Path(tempfile.gettempdir()) / f"godwit-workspaces-{os.getpid()}")
