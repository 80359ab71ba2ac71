"""A session with two levels of subagents, run as a process of its own that can kill itself at any one point.

    python -m tests.acceptance.subagents_script DATABASE POINT

Points (`deaths.py`) are `before` and `after` an append. The same command again goes on from the logs. The first session
hands two tasks to subagents at once and one in the background; each of these hands one on and waits for it, and another one
in the background. Those at the bottom have an effect, which is noted under its key.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import godwit
from godwit.contracts import ModelRequest
from godwit.core.messages import User, text_of
from godwit.models.script import Reply, ScriptedModel, call, say
from tests.patience import PATIENCE_S

from .deaths import DyingStore, Point

SESSION = "ses_tree"


def asked(request: ModelRequest) -> str:
    """What the session was first asked."""
    first = request.entries[0].message
    assert isinstance(first, User)
    return text_of(first.content)


def hand_on(request: ModelRequest) -> Reply:
    return call("task", id="on", agent="leaf", prompt=f"{asked(request)}1")


def hand_on_beside(request: ModelRequest) -> Reply:
    return call("task", id="beside", agent="leaf", prompt=f"{asked(request)}2", background=True)


MODELS = {
    "scripted:root": ScriptedModel(
        [
            call("task", id="both", tasks=[{"agent": "branch", "prompt": "a"}, {"agent": "branch", "prompt": "b"}]),
            call("task", id="beside", agent="branch", prompt="c", background=True),
            "Two are done, one is under way.",
            "All three are done.",
        ],
        "scripted:root",
    ),
    "scripted:branch": ScriptedModel(
        [hand_on, hand_on_beside, lambda request: say(f"branch {asked(request)}"), "Heard."], "scripted:branch"
    ),
    "scripted:leaf": ScriptedModel(
        [lambda request: call("bump", id="bump", name=asked(request)), lambda request: say(f"leaf {asked(request)}")],
        "scripted:leaf",
    ),
}


async def main(database: Path, point: Point) -> None:
    notes = os.open(database.with_suffix(".effects"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    @godwit.tool(repeatable=True)
    async def bump(name: str, ctx: godwit.ToolContext) -> str:
        """Has an effect, once under its key."""
        os.write(notes, f"{name} {ctx.key}\n".encode())
        return f"bumped {name}"

    leaf = godwit.Agent("leaf", model="scripted:leaf", tools=[bump])
    branch = godwit.Agent("branch", model="scripted:branch", subagents=[leaf])
    root = godwit.Agent("root", model="scripted:root", subagents=[branch])
    store = DyingStore.open(database)
    store.point = point
    async with await godwit.Runtime.open(store=store, models=MODELS) as runtime:
        await runtime.create(root)
        if await store.sessions(prefix=SESSION):
            session = await runtime.open_session(SESSION, agent=root)
        else:
            session = await runtime.start_session(root, session=SESSION)
        await session.prompt("Begin.", key="prompt")
        await runtime.desk.recover()
        async with asyncio.timeout(PATIENCE_S):
            await all_rest(store)
    point.survived()


async def all_rest(store: DyingStore) -> None:
    """Return when no run is open and no task has yet to end."""
    while True:
        # The end of a task may start a run with the same append: seen the other way round, both may seem over.
        tasks = await store.sessions_with_tasks()
        rows = await store.sessions(limit=100)
        working = [row for row in rows if row.run is not None]
        if not working and not tasks:
            return
        found = next(row for row in rows if row in working or row.id in tasks)
        await store.wait(found.id, found.head, 0.5)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Point(sys.argv[2])))
