"""Makes a server that speaks over stdio alone reachable over streamable HTTP, by the official package on both sides:
`bridge.py COMMAND [ARGUMENT...]`; its port is the first line of its stdout. It passes on tools, calls and progress alone."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import Any

import mcp_types as types
import uvicorn
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.server import Server


async def main(command: list[str]) -> None:
    async with Client(StdioServerParameters(command=command[0], args=command[1:], env=dict(os.environ))) as inner:

        async def listed(_: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
            page = await inner.list_tools(cursor=None if params is None else params.cursor)
            return types.ListToolsResult(tools=page.tools, next_cursor=page.next_cursor)

        async def called(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
            tell = context.session.report_progress
            return await inner.call_tool(params.name, params.arguments or {}, progress_callback=tell)

        server = Server("bridge", version="1", on_list_tools=listed, on_call_tool=called)
        await serve(server.streamable_http_app(host="127.0.0.1"))


async def serve(app: Any) -> None:
    """Serve on a port of its own, and say which."""
    connection = socket.socket()
    connection.bind(("127.0.0.1", 0))
    print(connection.getsockname()[1], flush=True)
    await uvicorn.Server(uvicorn.Config(app, log_level="warning")).serve([connection])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
