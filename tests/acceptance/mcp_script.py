"""A session whose agent has the tools of an MCP server, and whose subagent has one of them. See `deaths`.

    MCP_URL=... python -m tests.acceptance.mcp_script DATABASE POINT

It calls as the name of the database, so that the server, which outlives it, can tell who called what.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import godwit
from godwit.models.script import ScriptedModel, call
from tests.patience import PATIENCE_S

from .deaths import DyingStore, Point
from .subagents_script import all_rest

SESSION = "ses_mcp"


async def main(database: Path, point: Point) -> None:
    DyingStore.point = point
    url, who = os.environ["MCP_URL"], database.stem
    models = {
        "scripted:root": ScriptedModel(
            [
                call("mcp__count__look", who=who) + call("mcp__count__send", who=who) + call("mcp__count__put", who=who),
                call("task", id="on", agent="child", prompt="send one more"),
                "Done.",
            ],
            "scripted:root",
        ),
        "scripted:child": ScriptedModel([call("mcp__count__send", who=f"{who}-child"), "Sent."], "scripted:child"),
    }
    server = godwit.McpServer("count", url)
    child = godwit.Agent("child", model="scripted:child", description="sends", mcp_servers=[server])
    root = godwit.Agent("root", model="scripted:root", mcp_servers=[server], subagents=[child])
    store = DyingStore.open(database)
    # A machine that is busy must not make it do without the server.
    settings = godwit.McpSettings(reach=(urlsplit(url).netloc,), wait_s=PATIENCE_S)
    async with await godwit.Runtime.open(store=store, models=models, mcp=settings) as runtime:
        if await store.sessions(prefix=SESSION):
            session = await runtime.open_session(SESSION, agent=root)
        else:
            session = await runtime.start_session(root, session=SESSION)
        await session.prompt("Begin.", key="prompt")
        await runtime.desk.recover()
        async with asyncio.timeout(PATIENCE_S):
            await all_rest(store)
    point.survived()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Point(sys.argv[2])))
