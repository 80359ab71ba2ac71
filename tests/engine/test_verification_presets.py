"""Presets: the checks that fit a folder by what it holds."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import godwit
from godwit.contracts import FileInfo
from godwit.core.errors import ToolFailed
from godwit.engine.checks import find_presets
from godwit.workspaces.local import LocalWorkspace
from tests.engine.conftest import Bench


class MemoryWorkspace(LocalWorkspace):
    """Files that are on no disk. Only what presets may ask for is there."""

    def __init__(self, files: dict[str, bytes], *, broken: tuple[str, ...] = ()) -> None:
        self._kept = files
        self._broken = broken

    async def listdir(self, path: str = ".") -> list[FileInfo]:
        if path in self._broken:
            raise ToolFailed(f"{path!r} cannot be listed")
        prefix = "" if path == "." else f"{path}/"
        below = {n.removeprefix(prefix).partition("/")[::2] for n in self._kept if n.startswith(prefix)}
        if not below:
            raise ToolFailed(f"there is no folder {path!r}")
        return [FileInfo(prefix + name, "directory" if rest else "file", 1, 0) for name, rest in sorted(below)]

    async def info(self, path: str) -> FileInfo | None:
        content = self._kept.get(path)
        return None if content is None else FileInfo(path, "file", len(content), 0)

    async def read(self, path: str) -> bytes:
        if path in self._broken:
            raise ToolFailed(f"{path!r} cannot be read")
        return self._kept[path]


async def found(files: dict[str, bytes], *broken: str) -> list[str]:
    return [c.command for p in await find_presets(MemoryWorkspace(files, broken=broken)) for c in p.commands]


async def test_presets_need_no_disk() -> None:
    project = {
        "pyproject.toml": b"[tool.pytest]\n",
        ".venv/bin/python": b"",
        ".venv/bin/pytest": b"",
        "Makefile": b"lint:\n",
    }
    assert await found(project) == [".venv/bin/python -m pytest -q", "make lint"]


async def test_a_workspace_that_cannot_be_read_has_fewer_presets() -> None:
    project = {"package.json": b'{"scripts": {"test": "x"}}', "go.mod": b"module x\n", "tox.ini": b"\xff"}
    assert await found(project) == ["npm test", "go test ./...", "go vet ./..."]
    assert await found(project, "package.json") == ["go test ./...", "go vet ./..."]
    assert await found(project, ".") == []
    assert await found({"go.mod": b"module x\n" + b" " * 2_000_000}) == []


async def test_presets_of_a_real_folder(bench: Bench, tmp_path: Path) -> None:
    session = await bench.start([], "bash")
    assert await session.verification_presets() == []
    (bench.workspace / "pytest.ini").write_text("")
    (bench.workspace / ".venv" / "bin").mkdir(parents=True)
    (bench.workspace / ".venv" / "bin" / "python").symlink_to(sys.executable)  # leads out, as in every such environment
    (bench.workspace / ".venv" / "bin" / "pytest").write_text("")
    os.mkfifo(bench.workspace / "package.json")
    (bench.workspace / "Cargo.toml").symlink_to(tmp_path / "nowhere")
    (preset,) = await session.verification_presets()
    assert (preset.name, [c.command for c in preset.commands]) == ("python", [".venv/bin/python -m pytest -q"])
    homeless = await bench.runtimes[0].start_session(godwit.Agent("tester", model="scripted:test"))
    assert await homeless.verification_presets() == []
