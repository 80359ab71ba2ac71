"""What the tests of kept files and of rewinds are written in: a session with a shell, and the files it works on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from godwit.engine.session import Session
from godwit.models.script import call
from tests.engine.conftest import Bench


def sh(command: str) -> Any:
    return call("bash", command=command)


async def started(bench: Bench, *script: Any, **agent: Any) -> Session:
    return await bench.start([*script], "files", "bash", **agent)


@pytest.fixture(name="folder")
def a_folder(bench: Bench) -> Path:
    root = bench.workspace
    (root / "a.txt").write_text("one\n")
    (root / "keep.txt").write_text("kept\n")
    return root


async def until_file(path: Path) -> None:
    """Wait for what a command does."""
    while not path.exists():  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.01)
