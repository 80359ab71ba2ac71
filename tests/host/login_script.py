"""Calls a tool of an MCP server with the login of this machine, when it is told to on standard input; prints the result."""

from __future__ import annotations

import asyncio
import sys
from urllib.parse import urlsplit

from godwit import Agent, McpServer, McpSettings, Runtime
from godwit.host.auth_store import AuthStore


async def main() -> None:
    auth, url = sys.argv[1:]
    settings = McpSettings(reach=(urlsplit(url).netloc,))
    store = AuthStore(auth, keyring=False)
    async with await Runtime.open(":memory:", mcp=settings, auth=store, check_models=False) as runtime:
        session = await runtime.start_session(Agent("a", model="openai:none"))
        await session.add_mcp_server(McpServer("docs", url), connect=False)
        print("ready", flush=True)
        sys.stdin.readline()
        await session.add_mcp_server(McpServer("docs", url))
        print((await session.tool("mcp__docs__read", {})).output, flush=True)


asyncio.run(main())
