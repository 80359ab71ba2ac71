"""The host and the workers of the lanes' crash test, each a process that may be killed at any moment.

    python -m tests.acceptance.lanes_script host DATABASE
    python -m tests.acceptance.lanes_script worker DATABASE NAME

The same command again goes on where the one before died. What a worker does is noted in a file beside the database, before
and after each effect.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import godwit
from godwit.core.errors import SessionNotFound
from godwit.core.lanes import LaneConfig, LaneHandler, LaneSettings, RetryPolicy
from godwit.models.script import Script, ScriptedModel, call

MODEL = "scripted:test"
SESSIONS = [f"ses_lanes_{n}" for n in range(3)]
TURNS = 6
LEASE_S = 0.6
SCRIPT: Script = [
    *(call("bump", name=f"b{n}") + call("once", name=f"o{n}") + call("bump", name=f"c{n}") for n in range(TURNS)),
    "All is done.",
]


def tools(database: Path) -> list[Any]:
    """A tool that may run again, and one that must not."""
    file = os.open(database.with_suffix(".ledger"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(what: str, key: str) -> None:
        os.write(file, json.dumps([what, key]).encode() + b"\n")

    async def effect(kind: str, name: str, context: godwit.ToolContext) -> str:
        note(f"{kind} begins", context.key)
        await asyncio.sleep(0.03)
        note(f"{kind} ends", context.key)
        return f"{kind} {name}"

    @godwit.tool(repeatable=True)
    async def bump(name: str, context: godwit.ToolContext) -> str:
        """Bump it, as often as it takes."""
        return await effect("bump", name, context)

    @godwit.tool
    async def once(name: str, context: godwit.ToolContext) -> str:
        """Do it once."""
        return await effect("once", name, context)

    return [bump, once]


async def host(database: Path) -> None:
    retry = RetryPolicy("fixed", retries=1000, delay_ms=10)
    lanes = LaneSettings((LaneConfig("execute", mode="outside", retry=retry),))
    models = {MODEL: ScriptedModel(SCRIPT, MODEL)}
    async with await godwit.Runtime.open(database, models=models, lanes=lanes) as runtime:
        agent = godwit.Agent("worker", model=MODEL, tools=tools(database))

        async def work(name: str) -> None:
            try:
                session = await runtime.open_session(name, agent=agent)
            except SessionNotFound:
                session = await runtime.start_session(agent, session=name)
            handler = LaneHandler("outside", timeout_s=600, lease_s=LEASE_S)
            if (await session.state()).lanes.get("execute") != handler:
                await session.set_lane_handler("execute", handler)
            await session.send("Go.", key="go")

        await asyncio.gather(*(work(name) for name in SESSIONS))
        print("done", flush=True)


async def worker(database: Path, name: str) -> None:
    async with godwit.Worker(database, lanes=["execute"], tools=tools(database), name=name, concurrency=2) as working:
        await working.wait()


if __name__ == "__main__":
    if sys.argv[1] == "host":
        asyncio.run(host(Path(sys.argv[2])))
    else:
        asyncio.run(worker(Path(sys.argv[2]), sys.argv[3]))
