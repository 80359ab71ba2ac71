"""The bench of these tests: sessions behind a server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .remote import RemoteBench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[RemoteBench]:
    made = RemoteBench(tmp_path / "godwit.db")
    yield made
    await made.close()
