"""A session whose subagent is asked again and again, by its model and by its host; it can kill itself at any one point.

    python -m tests.acceptance.continue_script DATABASE POINT

Points (`deaths.py`) are `before` and `after` an append. The same command again goes on from the logs. The session hands
out a task, goes on with its child in a second one, and with that once more in the background. Then the host asks a subagent
of its own three times under that session; what is told of these sends is noted, a line for each.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import godwit
from godwit.contracts import ModelRequest
from godwit.core.messages import Assistant, ToolResult, User, text_of
from godwit.models.script import Reply, ScriptedModel, call, say
from tests.patience import PATIENCE_S

from .deaths import DyingStore, Point
from .subagents_script import all_rest

SESSION = "ses_tree"
POET = "ses_poet"
LINES = ("one", "two", "three")


def last(request: ModelRequest) -> str:
    return next(text_of(e.message.content) for e in reversed(request.entries) if isinstance(e.message, User))


def work(request: ModelRequest) -> Reply:
    """Have the effect, once for each prompt, then tell how many there were."""
    newest = request.entries[-1].message
    if isinstance(newest, User):
        return call("bump", id=f"bump {last(request)}", name=last(request))
    asked = sum(isinstance(e.message, User) for e in request.entries)
    return say(f"{last(request)}, number {asked}")


def boss(request: ModelRequest) -> Reply:
    done = sum(isinstance(e.message, Assistant) for e in request.entries)
    match done:
        case 0:
            return call("task", id="c0", agent="worker", prompt="a")
        case 1:
            task = next(d for d in _tasks(request))
            return call("task", id="c1", agent="worker", prompt="b", continue_task=task)
        case 2:
            task = next(d for d in _tasks(request))
            return call("task", id="c2", agent="worker", prompt="c", continue_task=task, background=True)
        case _:
            return say("Heard.")


def _tasks(request: ModelRequest) -> list[str]:
    """The ids of tasks in results, in order."""
    words = [
        w.strip(".,:;()[]'\"") for e in request.entries if isinstance(e.message, ToolResult) for w in e.message.text.split()
    ]
    return [word for word in words if word.startswith("task_")]


def models() -> dict[str, ScriptedModel]:
    return {
        "scripted:boss": ScriptedModel([boss], "scripted:boss", select=lambda _: 0),
        "scripted:worker": ScriptedModel([work], "scripted:worker", select=lambda _: 0),
    }


async def main(database: Path, point: Point) -> None:
    notes = os.open(database.with_suffix(".effects"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    sink = os.open(database.with_suffix(".sink"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    @godwit.tool(repeatable=True)
    async def bump(name: str, ctx: godwit.ToolContext) -> str:
        """Has an effect, once under its key."""
        os.write(notes, f"{name} {ctx.key}\n".encode())
        return f"bumped {name}"

    def told(item: object) -> None:
        if isinstance(item, godwit.SubagentEvent):
            os.write(sink, f"{os.getpid()} {item.kind} {item.turn}\n".encode())

    worker = godwit.Agent("worker", model="scripted:worker", tools=[bump])
    root = godwit.Agent("root", model="scripted:boss", subagents=[worker])
    store = DyingStore.open(database)
    store.point = point
    async with await godwit.Runtime.open(store=store, models=models()) as runtime:
        await runtime.create(root)
        if await store.sessions(prefix=SESSION):
            session = await runtime.open_session(SESSION, agent=root)
        else:
            session = await runtime.start_session(root, session=SESSION)
        await session.prompt("Begin.", key="prompt")
        await runtime.desk.recover()
        async with asyncio.timeout(PATIENCE_S):
            await all_rest_but(store, POET)
            poet = godwit.SubagentSession(runtime, worker, session=POET, parent=SESSION).with_events(told)
            for line in LINES:
                result = await poet.send(line, key=line)
                print(f"said {result.text}")
            await all_rest(store)
        await poet.close()
    os.write(sink, f"{os.getpid()} survived\n".encode())
    point.survived()


async def all_rest_but(store: DyingStore, spared: str) -> None:
    """Return when nothing but that session has an open run, or an open task."""
    while True:
        tasks = await store.sessions_with_tasks()
        rows = [row for row in await store.sessions(limit=100) if row.id != spared]
        busy = [row for row in rows if row.run is not None]
        if not busy and (not tasks or await store.sessions(prefix=spared)):
            return
        row = busy[0] if busy else rows[0]
        await store.wait(row.id, row.head, 0.2)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Point(sys.argv[2])))
