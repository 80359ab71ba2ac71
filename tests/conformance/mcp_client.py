"""Plays a scenario of the official MCP conformance suite in client mode through godwit's public API: `mcp_client.py URL`.

The suite starts this for each scenario, with MCP_CONFORMANCE_SCENARIO and, for some, MCP_CONFORMANCE_CONTEXT in the
environment. A session connects to the server at URL and calls its tools as the scenario wants.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import tempfile
from typing import Any
from urllib.parse import urlsplit

import httpx2

import godwit
from godwit.core.errors import McpLoginFailed
from godwit.core.mcp import McpStatus
from godwit.core.messages import ToolResult
from godwit.models import script

CALLS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "tools_call": [("add_numbers", {"a": 5, "b": 3})],
    "sse-retry": [("test_reconnection", {})],
}
"""Which tools a scenario wants to be called; all of them once where it does not say."""
ASK = ("elicitation-sep1034-client-defaults", "sep-2322-client-request-state")
"""Those whose tools ask people something, who are asked in runs alone."""

DOCUMENT = "https://conformance-test.local/client-metadata.json"
"""Where the suite says that our client's metadata are."""


async def play(url: str) -> None:
    scenario = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    settings = godwit.McpSettings(reach=(urlsplit(url).netloc, "localhost", "127.0.0.1"))
    with tempfile.TemporaryDirectory() as folder:
        wanted: list[tuple[str, dict[str, Any]]] = []
        database = os.path.join(folder, "godwit.db")
        models = {"scripted:suite": godwit.ScriptedModel([lambda _: all_of(wanted), "Done."], "scripted:suite")}
        # Logins of a scenario are nobody's: not those of who plays it.
        auth = godwit.AuthStore(os.path.join(folder, "auth.json"))
        async with await godwit.Runtime.open(database, mcp=settings, models=models, auth=auth) as runtime:
            session = await runtime.start_session(godwit.Agent("conformance", model="scripted:suite"))
            server = godwit.McpServer("suite", url, timeout_s=20, oauth=oauth(scenario, context))
            for _ in range(2 if scenario.startswith("auth/") else 0):
                status = await log_in(runtime, server)
                print(status, file=sys.stderr)
                if status.connected:
                    break
            count = await session.add_mcp_server(server)
            print(f"{count} tools", file=sys.stderr)
            wanted += calls(scenario, context, session)
            if scenario in ASK:
                print(await answered(session), file=sys.stderr)
                return
            for name, arguments in wanted:
                result = await session.tool(f"mcp__suite__{name}", arguments)
                print(f"{name}: {result.status}: {result.output[:200]}", file=sys.stderr)
                if result.status != "ok" and scenario.startswith("auth/"):
                    # It wants more than the login allows, or another one: as a person would, log in and call once more.
                    print(await log_in(runtime, server), file=sys.stderr)
                    result = await session.tool(f"mcp__suite__{name}", arguments)
                    print(f"{name}: {result.status}: {result.output[:200]}", file=sys.stderr)


def oauth(scenario: str, context: dict[str, Any]) -> godwit.McpOAuth | None:
    """How one logs in, where the scenario says it."""
    if "client_id" in context:
        os.environ["SUITE_CLIENT_SECRET"] = context["client_secret"]
        return godwit.McpOAuth(context["client_id"], "${SUITE_CLIENT_SECRET}", context.get("issuer"))
    return godwit.McpOAuth(client_metadata_url=DOCUMENT) if scenario == "auth/basic-cimd" else None


async def log_in(runtime: godwit.Runtime, server: godwit.McpServer) -> McpStatus:
    """The suite's authorization servers are at ports of this machine that nobody says before: reach them as they are
    named."""
    for _ in range(3):
        try:
            return await runtime.mcp_login(server, browse)
        except McpLoginFailed as error:
            if (port := re.search(r"port (\d+) is not reached", error.message)) is None:
                raise
            runtime.allow_reach([f"localhost:{port[1]}"])
    raise AssertionError


async def browse(url: str) -> None:
    """Go there as a browser does: the suite's authorization server asks nobody, and sends it back at once."""
    async with httpx2.AsyncClient(follow_redirects=True, trust_env=False) as browser:
        print(f"browsed: {(await browser.get(url)).status_code}", file=sys.stderr)


def all_of(wanted: list[tuple[str, dict[str, Any]]]) -> Any:
    """An answer of a model that makes these calls at once."""
    first, *others = (script.call(f"mcp__suite__{name}", **arguments) for name, arguments in wanted)
    return sum(others, start=first)


async def answered(session: Any) -> list[str]:
    """What the calls of a run come to in which a person takes every form as it stands."""
    run = await session.prompt("Call them all.")
    async for event in session.follow(0):
        if event.type == "action.opened":
            for action in await session.approvals.pending():
                await session.answer(action.id, {})
        if event.type == "run.finished" and event.data.run == run:
            break
    return [message.text[:200] for message in await session.history() if isinstance(message, ToolResult)]


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
