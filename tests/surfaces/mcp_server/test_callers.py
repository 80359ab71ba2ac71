"""Who may do what over MCP: tenants find nothing of each other, keys and scopes are asked for, and pages are kept out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

import godwit
from godwit import Agent
from godwit.host.api_keys import ApiKeys
from godwit.models.script import ScriptedModel, call, say
from godwit.surfaces.mcp_server.tools import SESSION_TOOLS
from godwit.surfaces.server import ServerSettings
from tests.surfaces.server.running import RunningServer, running

from .clients import MODEL, MODES, Mode, over_http, put, structured, text_of

KEYS: dict[str, str] = {}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
ACCEPT = {"accept": "application/json, text/event-stream"}


async def prepare(runtime: godwit.Runtime) -> None:
    keys = ApiKeys(runtime.store, runtime.clock, runtime.ids)
    for tenant in ("one", "two"):
        await put(runtime, Agent(f"coder_{tenant}", model=MODEL, tools=["bash"], permissions={"bash": "ask"}), tenant=tenant)
        for scope in ("read", "answer", "operate", "admin"):
            KEYS[f"{tenant} {scope}"] = (await keys.create(scope, tenant=tenant, scopes=[scope]))[0]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    model = ScriptedModel([say("I look.") + call("bash", command="echo hi"), say("It says hi.")])
    settings = ServerSettings(keys=True, max_body=100_000)
    with running(tmp_path / "g.db", models={MODEL: model}, settings=settings, prepare=prepare) as found:
        yield found


@pytest.mark.parametrize("mode", MODES)
async def test_tenants_find_nothing_of_each_other(server: RunningServer, mode: Mode) -> None:
    async with over_http(server.url, mode, key=KEYS["one operate"]) as one:
        waiting = structured(await one.call_tool("coder_one", {"prompt": "a mark of the first", "key": "k"}))
        session, (action,) = waiting["session"], waiting["actions"]
    async with over_http(server.url, mode, key=KEYS["two admin"]) as two:
        tools = [tool.name for tool in (await two.list_tools()).tools]
        assert "coder_two" in tools
        assert "coder_one" not in tools
        for name, arguments in (
            ("session_status", {}),
            ("session_wait", {}),
            ("session_transcript", {}),
            ("session_events", {}),
            ("session_interrupt", {}),
            ("session_actions", {}),
            ("session_send", {"text": "hello"}),
            ("session_answer", {"action": action["action"], "decision": "approve"}),
            ("coder_two", {"prompt": "hello"}),
        ):
            result = await two.call_tool(name, {"session": session, **arguments})
            assert result.is_error, name
            assert "mark" not in text_of(result)
        assert structured(await two.call_tool("session_list", {}))["sessions"] == []
        assert structured(await two.call_tool("session_actions", {}))["actions"] == []
        for part in ("", "/events", "/artifacts"):
            with pytest.raises(MCPError):
                await two.read_resource(f"godwit://sessions/{session}{part}")
        assert [str(one.uri) for one in (await two.list_resources()).resources] == ["godwit://sessions"]
        reference = types.ResourceTemplateReference(uri="godwit://sessions/{session}")
        assert (await two.complete(reference, {"name": "session", "value": ""})).completion.values == []
        # A key of one's own means nothing to somebody else.
        own = structured(await two.call_tool("coder_two", {"prompt": "a mark of the first", "key": "k"}))
        assert own["session"] != session
    async with over_http(server.url, mode, key=KEYS["one read"]) as one:
        assert structured(await one.call_tool("session_status", {"session": session}))["session"]["status"] == "waiting"


@pytest.mark.parametrize("mode", MODES)
async def test_scopes(server: RunningServer, mode: Mode) -> None:
    async with over_http(server.url, mode, key=KEYS["one operate"]) as operator:
        waiting = structured(await operator.call_tool("coder_one", {"prompt": "do it"}))
        session, (action,) = waiting["session"], waiting["actions"]
    answer = {"session": session, "action": action["action"], "decision": "approve"}
    changing: dict[str, dict[str, Any]] = {
        "coder_one": {"prompt": "do it"},
        "session_start": {"agent": "coder_one", "prompt": "do it"},
        "session_send": {"session": session, "text": "faster"},
        "session_interrupt": {"session": session},
        "session_answer": answer,
    }
    assert {name for name, tool in SESSION_TOOLS.items() if not tool.reads} == changing.keys() - {"coder_one"}
    async with over_http(server.url, mode, key=KEYS["one read"]) as reader:
        for name, arguments in changing.items():
            result = await reader.call_tool(name, arguments)
            assert result.is_error, name
            assert "scope" in text_of(result)
        assert structured(await reader.call_tool("session_status", {"session": session}))["session"]["status"] == "waiting"
    async with over_http(server.url, mode, key=KEYS["one answer"]) as answerer:
        assert (await answerer.call_tool("session_interrupt", {"session": session})).is_error
        assert structured(await answerer.call_tool("session_answer", answer))["changed"] is True
        result = await answerer.call_tool("session_wait", {"session": session})
        assert text_of(result) == "It says hi."


def test_a_connection_belongs_to_who_began_it(server: RunningServer) -> None:
    with httpx2.Client(base_url=server.url, headers=ACCEPT) as client:
        own = {"authorization": f"Bearer {KEYS['one operate']}"}
        begun = client.post("/mcp", json=INITIALIZE, headers=own)
        assert begun.status_code == 200
        session = {"mcp-session-id": begun.headers["mcp-session-id"]}
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        assert client.post("/mcp", json=ping, headers={**own, **session}).status_code == 200
        for other in ("two operate", "one admin"):
            taken = {"authorization": f"Bearer {KEYS[other]}"}
            assert client.post("/mcp", json=ping, headers={**taken, **session}).status_code == 404
            assert client.delete("/mcp", headers={**taken, **session}).status_code == 404


def test_what_is_refused_before_the_protocol(server: RunningServer) -> None:
    with httpx2.Client(base_url=server.url, headers=ACCEPT) as client:
        for headers in ({}, {"authorization": "Bearer gk_wrong"}, {"x-api-key": "wrong"}):
            refused = client.post("/mcp", json=INITIALIZE, headers=headers)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Bearer"
            assert refused.json()["error"]["data"]["code"] == "unauthenticated"
        own = {"authorization": f"Bearer {KEYS['one operate']}"}
        assert client.post("/mcp", content=b"x" * 200_000, headers=own).status_code == 413
        assert client.put("/mcp", headers=own).status_code == 405
        assert client.post("/mcp/", json=INITIALIZE, headers=own).status_code == 404


async def test_what_changes_something_is_audited(server: RunningServer) -> None:
    async with over_http(server.url, key=KEYS["one operate"]) as client:
        await client.list_tools()
        await client.call_tool("session_list", {})
        await client.call_tool("session_start", {"agent": "coder_one", "prompt": "do it"})
    with httpx2.Client(base_url=server.url, headers={"authorization": f"Bearer {KEYS['one admin']}"}) as admin:
        entries = admin.get("/admin/audit").json()["data"]
    assert [(one["dialect"], one["path"]) for one in entries if one["dialect"] == "mcp"] == [("mcp", "/mcp")]


def test_pages_of_others_may_not_ask(tmp_path: Path) -> None:
    with running(tmp_path / "g.db", models={}) as server, httpx2.Client(base_url=server.url, headers=ACCEPT) as client:
        assert client.post("/mcp", json=INITIALIZE).status_code == 200
        for headers in ({"host": "evil.example"}, {"origin": "https://evil.example"}):
            assert client.post("/mcp", json=INITIALIZE, headers=headers).status_code == 403
