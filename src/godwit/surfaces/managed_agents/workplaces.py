"""Workplaces: the folders in which sessions of a cloud environment work, a fresh one each."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from ..server.service import Service
from .mounts import PLACES


class Workplaces:
    """They lie where those of all protocols do (`Service.folders`)."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def root(self) -> Path:
        """Where all of them lie. Hide it from commands: what lies within it is other sessions'."""
        return self._service.folders.root

    async def make(self, session: str) -> Path:
        """The session's folder, which nobody else on this machine may read. In it is nothing but the places of its
        files, unless it was made before."""

        def make() -> Path:
            folder = self._folder(session)
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            for place in PLACES:
                (folder / place).mkdir(parents=True, exist_ok=True)
            return folder

        return await asyncio.to_thread(make)

    async def remove(self, session: str) -> None:
        """With all that is in it; nothing happens when there is none."""
        await asyncio.to_thread(shutil.rmtree, self._folder(session), True)

    def _folder(self, session: str) -> Path:
        return self.root / session
