"""A client to be killed: `dying_client.py URL MODE TOOL`. It calls the tool, prints `asked` when it is to ask a person, and
never answers."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import mcp
import mcp_types as types


async def main(url: str, mode: Any, tool: str) -> None:
    async def asked(context: Any, params: Any) -> types.ElicitResult:  # noqa: ARG001 - by name
        print("asked", flush=True)
        await asyncio.Event().wait()
        raise AssertionError

    async with mcp.Client(f"{url}/mcp", mode=mode, elicitation_callback=asked) as client:
        await client.call_tool(tool, {"prompt": "do it"})


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
