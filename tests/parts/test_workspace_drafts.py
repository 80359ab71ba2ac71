"""What a process leaves that dies while it writes a file, and who clears it away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from godwit.core.checkpoint import CheckpointPolicy
from godwit.core.ids import SessionId
from godwit.workspaces import drafts
from godwit.workspaces.checkpoints import FileCheckpoints

DYING = """
import os, signal, sys
from godwit.workspaces import confined
from godwit.workspaces.local import LocalWorkspace
def die(*args, **options):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(os, sys.argv[2], die)
import asyncio
create = not os.path.exists(os.path.join(sys.argv[1], sys.argv[3]))
asyncio.run(LocalWorkspace(sys.argv[1]).write(sys.argv[3], b"half", create_only=create))
"""


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


async def checkpoint(folder: Path, beside: Path) -> None:
    await FileCheckpoints(str(beside / "kept")).take(SessionId("ses_drafts"), str(folder), CheckpointPolicy())


@pytest.mark.parametrize(("call", "path"), [("link", "new.txt"), ("unlink", "new.txt"), ("rename", "old.txt")])
async def test_what_a_dead_writer_left_goes_with_the_next_checkpoint(tmp_path: Path, call: str, path: str) -> None:
    folder = tmp_path / "w"
    folder.mkdir()
    (folder / "old.txt").write_text("old")
    dead = subprocess.run([sys.executable, "-c", DYING, str(folder), call, path], check=False)  # noqa: ASYNC221
    assert dead.returncode == -signal.SIGKILL
    left = [n for n in names(folder) if drafts.NAME.fullmatch(n)]
    assert len(left) == 1
    await checkpoint(folder, tmp_path)
    assert set(names(folder)) <= {"old.txt", "new.txt"}
    assert (folder / "old.txt").read_text() == "old"


async def test_the_draft_of_a_living_writer_stays(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    folder.mkdir()
    place = os.open(folder, os.O_RDONLY)
    name, file = drafts.create(place)
    try:
        await checkpoint(folder, tmp_path)
        assert names(folder) == [name]
    finally:
        os.close(file)
    drafts.clear(place, name)
    os.close(place)
    assert names(folder) == []


async def test_other_names_stay(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    folder.mkdir()
    for name in (".godwit-0123456789abcdef.tmp", ".godwit-x.new", "a.new"):
        (folder / name).write_text("mine")
    await checkpoint(folder, tmp_path)
    assert names(folder) == [".godwit-0123456789abcdef.tmp", ".godwit-x.new", "a.new"]
