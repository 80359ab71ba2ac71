"""Tests of the host are written in the words of the engine's."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.engine.conftest import bench
from tests.host.lane_place import Place

__all__ = ["bench"]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(tmp_path / "godwit.db")
    yield made
    for runtime in made.runtimes:
        await runtime.close()
