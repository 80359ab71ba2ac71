"""FileCheckpoints keep every promise of the contract, beside a database and in a temporary folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from godwit.contracts import Checkpoints
from godwit.testing import CheckpointsConformance
from godwit.workspaces.checkpoints import FileCheckpoints


class TestBesideADatabase(CheckpointsConformance):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    async def make_checkpoints(self) -> Checkpoints:
        return FileCheckpoints(self.folder / "godwit.db.files")


class TestTemporary(CheckpointsConformance):
    async def make_checkpoints(self) -> Checkpoints:
        return FileCheckpoints(None)
