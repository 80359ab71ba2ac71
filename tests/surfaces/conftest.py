"""What the tests of the command line start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.surfaces.terminal import Command


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """`godwit` in an empty folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    return Command(folder)
