"""A session that is held to checks, run as a process of its own that can kill itself at any one point of them.

    python -m tests.acceptance.verification_script DATABASE POINT

Points (`deaths.py`) are `before` and `after` an append, and `output`, in the middle of a check, when it prints. The same
command again goes on from the log. Each check that begins notes that in `ran`, in the session's folder.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import godwit
from godwit.core.events import Delta
from godwit.core.verification import VerificationCommand, VerificationPolicy
from godwit.models.script import Script, ScriptedModel, call

from .deaths import DyingStore, Point

SESSION = "ses_checked"
MODEL = "scripted:test"
SCRIPT: Script = [call("make", name="begun"), "Done.", call("make", name="fine"), "Now it is."]
CHECKS = (
    VerificationCommand("one", "echo one >> ran; echo one passes"),
    VerificationCommand("two", "echo two >> ran; echo two looks; test -e fine"),
    VerificationCommand("three", "echo three >> ran; echo three passes"),
)


class DyingChecks(DyingStore):
    """The store that may die around its appends, and when a command prints."""

    def publish(self, delta: Delta) -> None:
        super().publish(delta)
        if delta.kind == "tool_output":
            self.point.here("output")


async def main(database: Path, point: Point) -> None:
    folder = database.with_suffix("")
    folder.mkdir(exist_ok=True)

    @godwit.tool(repeatable=True)
    async def make(name: str) -> str:
        """Make an empty file."""
        (folder / name).touch()
        return f"made {name}"

    agent = godwit.Agent("checked", model=MODEL, tools=[make], verification=VerificationPolicy(CHECKS))
    store = DyingChecks.open(database)
    store.point = point
    async with await godwit.Runtime.open(store=store, models={MODEL: ScriptedModel(SCRIPT, MODEL)}) as runtime:
        known = await store.sessions(prefix=SESSION)
        if known:
            session = await runtime.open_session(SESSION, agent=agent)
        else:
            session = await runtime.start_session(agent, workspace=folder, session=SESSION)
        result = await session.send("Make it fine.", key="prompt")
        print(result.outcome, result.verified, result.text, sep="|")
    point.survived()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Point(sys.argv[2])))
