"""A process that is killed while a server's question is open.

    python -m tests.parts.mcp_asking_script DATABASE SERVER TOOL STEPS

SERVER: the server as JSON; `reach` of it is where it may be reached. Says `parked` once a person is asked, and then stays.
"""

from __future__ import annotations

import asyncio
import json
import sys

import godwit
from godwit.models.script import ScriptedModel

from .mcp_asking import calling

SESSION = "ses_asking"


async def main(database: str, told: str, tool: str, steps: str) -> None:
    server = json.loads(told)
    settings = godwit.McpSettings(reach=tuple(server.pop("reach")), connect_s=60, wait_s=60)
    model = ScriptedModel([calling(tool, json.loads(steps)), "done"], "scripted:test")
    runtime = await godwit.Runtime.open(database, mcp=settings, models={"scripted:test": model})
    agent = godwit.Agent("tester", model="scripted:test", mcp_servers=[server])
    session = await runtime.start_session(agent, session=SESSION)
    await session.prompt("Go.")
    async for event in session.follow(0):
        if event.type == "run.parked":
            print("parked", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))
