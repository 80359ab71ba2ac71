"""Plays a scenario of the official MCP conformance suite in client mode through godwit's public API: `mcp_client.py URL`.

The suite starts this for each scenario, with MCP_CONFORMANCE_SCENARIO and, for some, MCP_CONFORMANCE_CONTEXT in the
environment. A session connects to the server at URL and calls its tools as the scenario wants.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from typing import Any
from urllib.parse import urlsplit

import godwit

CALLS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "tools_call": [("add_numbers", {"a": 5, "b": 3})],
    "sse-retry": [("test_reconnection", {})],
}
"""Which tools a scenario wants to be called; all of them once where it does not say."""


async def play(url: str) -> None:
    scenario = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    settings = godwit.McpSettings(reach=(urlsplit(url).netloc, "localhost", "127.0.0.1"))
    with tempfile.TemporaryDirectory() as folder:
        async with await godwit.Runtime.open(os.path.join(folder, "godwit.db"), mcp=settings, check_models=False) as runtime:
            session = await runtime.start_session(godwit.Agent("conformance", model="openai:none"))
            count = await session.add_mcp_server(godwit.McpServer("suite", url, timeout_s=20))
            print(f"{count} tools", file=sys.stderr)
            for name, arguments in calls(scenario, context, session):
                result = await session.tool(f"mcp__suite__{name}", arguments)
                print(f"{name}: {result.status}: {result.output[:200]}", file=sys.stderr)


def calls(scenario: str, context: dict[str, Any], session: Any) -> list[tuple[str, dict[str, Any]]]:
    if (told := context.get("toolCalls")) is not None:
        return [(one["name"], one.get("arguments", {})) for one in told]
    if scenario in CALLS:
        return CALLS[scenario]
    found = []
    for definition in session.tool_definitions():
        server, _, name = definition.name.removeprefix("mcp__").partition("__")
        if server == "suite":
            found.append((name, example(definition.parameters)))
    return found


def example(schema: dict[str, Any]) -> dict[str, Any]:
    """Arguments that fit a flat schema."""
    values: dict[str, Any] = {"string": "text", "integer": 1, "number": 1, "boolean": True, "array": [], "object": {}}
    return {name: values.get(one.get("type", "string"), "text") for name, one in schema.get("properties", {}).items()}


if __name__ == "__main__":
    asyncio.run(play(sys.argv[-1]))
