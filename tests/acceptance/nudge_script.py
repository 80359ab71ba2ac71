"""A session whose model stops in the middle of its work, run as a process of its own that can kill itself at any append.

    python -m tests.acceptance.nudge_script DATABASE POINT

Points (`deaths.py`) are `before` and `after` an append. The same command again goes on from the log.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import godwit
from godwit.models.script import Script, ScriptedModel, call, say

from .deaths import DyingStore, Point

SESSION = "ses_nudged"
MODEL = "scripted:test"
SCRIPT: Script = [
    call("todo", todos=[{"content": "look", "status": "in_progress"}, {"content": "mend it"}]),
    "I have looked.",
    call("todo", update=[{"item": 1, "status": "completed"}, {"item": 2, "status": "in_progress"}]),
    "Half of it is mended.",
    say("Still.") + say(" Nothing."),
    call("todo", update=[{"item": 2, "status": "completed"}]) + call("goal", status="met", reason="it runs"),
    "Mended.",
]


async def main(database: Path, point: Point) -> None:
    agent = godwit.Agent("nudged", model=MODEL, tools=["todo", "goal"], nudges=2)
    store = DyingStore.open(database)
    store.point = point
    async with await godwit.Runtime.open(store=store, models={MODEL: ScriptedModel(SCRIPT, MODEL)}) as runtime:
        known = await store.sessions(prefix=SESSION)
        if known:
            session = await runtime.open_session(SESSION, agent=agent)
        else:
            session = await runtime.start_session(agent, session=SESSION, goal="It runs.")
        result = await session.send("Mend it.", key="prompt")
        goal = await session.goal()
        assert goal is not None
        print(result.outcome, result.text, goal.status, [todo.status for todo in await session.todos()], sep="|")
    point.survived()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Point(sys.argv[2])))
