"""What keeping a workspace's files costs, against walking through them: the first time, when nothing changed, when a little
has, and putting that back.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from godwit.core.checkpoint import CheckpointPolicy, CheckpointRef
from godwit.core.ids import SessionId
from godwit.workspaces.checkpoints import FileCheckpoints

from .measure import Bench, sample

WALK = "os.scandir walk"
_EACH_FOLDER = 40
_CHANGED = 10
_SESSION = SessionId("bench")
_POLICY = CheckpointPolicy()


async def checkpoints(bench: Bench) -> None:
    """Text files of 1 to 8 KB in folders of 40."""
    root = bench.folder / "checkpoints" / "workspace"
    paths = _fill(root, bench.sizes.files)
    walls: dict[str, list[float]] = {}
    cpus: dict[str, list[float]] = {}

    for number in range(-bench.sizes.warm, bench.sizes.repeats):
        kept = FileCheckpoints(bench.folder / "checkpoints" / f"kept-{number}")
        refs: list[CheckpointRef] = []

        async def walk() -> None:
            _walk(str(root), stats=False)

        async def look() -> None:
            _walk(str(root), stats=True)

        async def take(kept: FileCheckpoints = kept, refs: list[CheckpointRef] = refs) -> None:
            refs.append(await kept.take(_SESSION, str(root), _POLICY))

        async def change(number: int = number) -> None:
            for path in paths[:: max(1, len(paths) // _CHANGED)][:_CHANGED]:
                path.write_text(f"changed {number}\n" * 200)

        async def restore(kept: FileCheckpoints = kept, refs: list[CheckpointRef] = refs) -> None:
            await kept.restore(str(root), refs[-1], refs[0])

        steps = [(WALK, walk), ("the same with stat", look), ("first", take), ("unchanged", take), ("", change)]
        for name, work in [*steps, (f"{_CHANGED} changed", take), (f"restore {_CHANGED}", restore)]:
            one = await sample(work)
            if number >= 0 and name:
                walls.setdefault(name, []).append(one.wall_ms)
                cpus.setdefault(name, []).append(one.cpu_ms)
        await kept.close()
    for name, taken in walls.items():
        bench.add("checkpoints", name, "wall", "ms", taken, floor=WALK)
        bench.add("checkpoints", name, "cpu", "ms", cpus[name], floor=WALK)


def _fill(root: Path, count: int) -> list[Path]:
    paths = []
    for number in range(count):
        folder = root / f"d{number // (_EACH_FOLDER * 25)}" / f"e{number // _EACH_FOLDER}"
        if number % _EACH_FOLDER == 0:
            folder.mkdir(parents=True)
        path = folder / f"f{number}.py"
        path.write_text("".join(f"value_{line} = {number * line % 977}\n" for line in range(60 + number % 300)))
        paths.append(path)
    time.sleep(0.2)  # files that were changed a moment ago are read twice: not what is measured here
    return paths


def _walk(folder: str, *, stats: bool) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            if stats:
                entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                _walk(entry.path, stats=stats)
