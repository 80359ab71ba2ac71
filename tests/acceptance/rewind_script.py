"""The scripted session of the rewind crash test, run as a process of its own that can kill itself at any one point.

    python -m tests.acceptance.rewind_script DATABASE POINT

Two prompts change files with the file tools and the shell; then the session goes back before the second, forth again, and
back before the first, with the files. Points (`deaths.py`) are `before` and `after` an append, `take` around a checkpoint,
`change` before one of the calls with which files are changed. The same command again goes on from the log.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import godwit
from godwit.core.events import InputDelivered, SessionRewound
from godwit.core.sandbox import SandboxPolicy
from godwit.engine.session import Session
from godwit.models.script import Script, ScriptedModel, call
from godwit.workspaces.checkpoints import FileCheckpoints
from tests.patience import PATIENCE_S

from .deaths import DyingStore, Point

SESSION = "ses_rewind"
MODEL = "scripted:test"
LEDGER = "../ledger"
SCRIPT: Script = [
    call("write", file_path="a.txt", content="written\n")
    + call("bash", command=f"echo one >> {LEDGER}; echo x >> b.txt; rm -r old; ln -s b.txt link"),
    call("edit", file_path="b.txt", old_string="x", new_string="y"),
    "First.",
    call("bash", command=f"echo two >> {LEDGER}; chmod 755 b.txt; mkdir -p deep/er; echo z > deep/er/z; rm kept.txt")
    + call("read", file_path="b.txt"),
    call("write", file_path="deep/w", content="w\n"),
    "Second.",
]
CHANGES = ("rename", "link", "unlink", "rmdir", "mkdir", "symlink", "fchmod")


def fill(folder: Path) -> None:
    """The workspace as it is before the first prompt."""
    (folder / "old").mkdir(parents=True)
    (folder / "old" / "o").write_text("o\n")
    (folder / "b.txt").write_text("b\n")
    (folder / "kept.txt").write_text("kept\n")


class DyingCheckpoints(FileCheckpoints):
    """The real checkpoints, around whose taking the process may die."""

    point: Point

    async def take(self, *args: Any) -> Any:
        self.point.here("take")
        taken = await super().take(*args)
        self.point.here("take")
        return taken


def die_in_changes(point: Point) -> None:
    def dying(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*args: Any, **options: Any) -> Any:
            point.here("change")
            return change(*args, **options)

        return changed

    for name in CHANGES:
        setattr(os, name, dying(getattr(os, name)))


async def client(session: Session) -> None:
    """Prompt twice, go back, forth, and back; each again after a crash, if it is not in the log."""
    for number in (1, 2):
        await session.wait(await session.prompt(f"Do thing {number}.", key=f"prompt-{number}"))
    events = await session.events()
    first, second = [e.seq - 1 for e in events if isinstance(e.data, InputDelivered)][:2]
    done = sum(isinstance(e.data, SessionRewound) for e in events)
    steps: list[Callable[[], Any]] = [
        lambda: session.rewind(second, files=True),
        session.redo,
        lambda: session.rewind(first, files=True),
    ]
    for step in steps[done:]:
        await step()


async def main(database: str, where: str) -> None:
    point = Point(where)
    folder = Path(database).with_suffix("") / "workspace"
    if not folder.exists():
        fill(folder)
    DyingStore.point = DyingCheckpoints.point = point
    store = DyingStore.open(database)
    checkpoints = DyingCheckpoints(f"{database}.files", own=[database])
    agent = godwit.Agent("crash", model=MODEL, tools=["files", "bash"], sandbox=SandboxPolicy(backend="none"))
    runtime = await godwit.Runtime.open(store=store, models={MODEL: ScriptedModel(SCRIPT, MODEL)}, checkpoints=checkpoints)
    die_in_changes(point)
    async with runtime:
        if await runtime.sessions(prefix=SESSION):
            session = await runtime.open_session(SESSION)
        else:
            session = await runtime.start_session(agent, workspace=folder, session=SESSION)
        await asyncio.wait_for(client(session), PATIENCE_S)
        # A rewind that was stored by a process that died is finished by opening the session.
        await runtime.settle(session.id)
    point.survived()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
