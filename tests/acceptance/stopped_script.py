"""A driver that a test can stop with SIGSTOP: it runs a tool that waits, then one with an effect.

python -m tests.acceptance.stopped_script DATABASE
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import godwit
from godwit.models.script import ScriptedModel, call

SESSION = "ses_stopped"


def make_agent(ledger: Path) -> godwit.Agent:
    @godwit.tool
    async def slow() -> str:
        await asyncio.wait_for(asyncio.Event().wait(), 60)
        return "never"

    @godwit.tool
    async def effect() -> str:
        with ledger.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return "done"

    return godwit.Agent("stopped", model="scripted:test", tools=[slow, effect])


async def main(database: str) -> None:
    model = ScriptedModel([call("slow"), call("effect"), "done"], "scripted:test")
    agent = make_agent(Path(database).with_suffix(".ledger"))
    async with await godwit.Runtime.open(database, models={"scripted:test": model}) as runtime:
        session = await runtime.start_session(agent, session=SESSION)
        await session.prompt("Go.")
        print("going", flush=True)
        await session.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
