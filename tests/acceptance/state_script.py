"""A session whose model and function tools change its shared state, run as a process of its own that can kill itself at any
append.

    python -m tests.acceptance.state_script DATABASE POINT

Points (`deaths.py`) are `before` and `after` an append. The same command again goes on from the log.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import godwit
from godwit.contracts import ToolContext
from godwit.models.script import Script, ScriptedModel, call

from .deaths import DyingStore, Point

SESSION = "ses_shared"
MODEL = "scripted:test"


def add(value: int) -> dict[str, object]:
    return {"op": "add", "path": "/list/-", "value": value}


SCRIPT: Script = [
    call("update_state", operations=[add(1)]),
    call("update_state", operations=[add(2)]),
    call("set_it"),
    call("update_state", operations=[add(3), {"op": "remove", "path": "/nothing"}]),
    call("update_state", operations=[add(4)]) + call("update_state", operations=[add(5)]),
    "Done.",
]


@godwit.tool(repeatable=True)
async def set_it(context: ToolContext) -> str:
    """Say in the state that it is set."""
    await context.patch_shared_state([{"op": "add", "path": "/set", "value": True}])
    return "set"


async def main(database: Path, point: Point) -> None:
    agent = godwit.Agent("sharer", model=MODEL, tools=["state", set_it])
    store = DyingStore.open(database)
    store.point = point
    async with await godwit.Runtime.open(store=store, models={MODEL: ScriptedModel(SCRIPT, MODEL)}) as runtime:
        known = await store.sessions(prefix=SESSION)
        if known:
            session = await runtime.open_session(SESSION, agent=agent)
        else:
            session = await runtime.start_session(agent, session=SESSION)
        await session.patch_shared_state([{"op": "add", "path": "/list", "value": [0]}], key="begin", tell=True)
        result = await session.send("Go.", key="prompt")
        print(result.outcome, result.text, json.dumps(await session.shared_state(), sort_keys=True), sep="|")
    point.survived()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Point(sys.argv[2])))
