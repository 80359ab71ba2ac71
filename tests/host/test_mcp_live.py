"""MCP servers that are given to a session while it lives, and how it is with each: real programs and real HTTP."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.engine.conftest import MODEL, Bench, data, within
from tests.host.test_mcp_stdio import is_alive, until_dead
from tests.parts import mcp_program
from tests.parts.mcp_site import mcp_site
from tests.surfaces.server.running import running

import godwit
from godwit import Agent, McpServer, McpSettings, tool
from godwit.core.errors import ConfigurationError, McpServerFailed, PermissionDenied
from godwit.core.events import ToolFinished
from godwit.core.messages import text_of
from godwit.host.api_keys import ApiKeys
from godwit.host.mcp import connections as mcp_connections
from godwit.models.script import ScriptedModel, call, say
from godwit.surfaces.api import Api
from godwit.surfaces.server import ServerSettings

PROGRAM = mcp_program.__file__


def program(name: str = "prog", mode: str = "", **more: Any) -> McpServer:
    return McpServer(name, command=sys.executable, args=(PROGRAM, *([mode] if mode else [])), **more)


def own(names: list[str]) -> list[str]:
    return [name for name in names if name.startswith("mcp__")]


async def test_a_server_is_added_used_and_removed(bench: Bench) -> None:
    """Seed S001-124 to 131, S001-78."""
    script = [call("mcp__prog__echo", text="hello"), say("Done."), say("Without.")]
    session = await bench.start(script)
    assert await session.mcp_status() == {}
    assert await session.remove_mcp_server("prog") is False
    assert own(session.tool_names()) == []

    assert await session.add_mcp_server(program()) == len(mcp_program.TOOLS)
    assert own(session.tool_names()) == sorted(f"mcp__prog__{tool}" for tool in mcp_program.TOOLS)
    status = (await session.mcp_status())["prog"]
    assert (status.health, status.connected, status.enabled) == ("connected", True, True)
    assert (status.tool_count, status.transport, status.error) == (len(mcp_program.TOOLS), "stdio", None)
    await within(session.prompt_and_wait("Go."))
    (echo,) = await data(session, ToolFinished)
    assert text_of(echo.content) == "hello"

    assert await session.remove_mcp_server("prog") is True
    assert (own(session.tool_names()), await session.mcp_status()) == ([], {})
    await within(session.prompt_and_wait("Go."))
    assert bench.model is not None
    assert own([tool.name for tool in bench.model.requests[-1].tools]) == []


async def test_the_model_is_told_within_an_open_run(bench: Bench) -> None:
    """Seed S001-78: tools appear and vanish at once."""

    @tool
    async def change(what: str) -> str:
        """The host acts while a run is open, by a handle of its own."""
        match what:
            case "add":
                await other.add_mcp_server(program())
            case "narrow":
                await other.add_mcp_server(program(tools=("about",)))
            case "remove":
                await other.remove_mcp_server("prog")
        return "changed"

    script = [
        call("change", what="add"),
        call("mcp__prog__echo", text="in the same run"),
        call("change", what="narrow"),
        call("mcp__prog__about") + call("mcp__prog__echo", text="no more"),
        call("change", what="remove"),
        call("mcp__prog__about"),
        say("Done."),
    ]
    session = await bench.start(script, change)
    other = await bench.runtimes[0].open_session(session.id)
    await within(session.prompt_and_wait("Go."))
    assert bench.model is not None
    told = [len(own([tool.name for tool in request.tools])) for request in bench.model.requests]
    every = len(mcp_program.TOOLS)
    assert told == [0, every, every, 1, 1, 0, 0]
    results = [(one.status, text_of(one.content)) for one in await data(session, ToolFinished) if one.name != "change"]
    assert results[0] == ("ok", "in the same run")
    refused, about = sorted(results[1:3])
    assert refused == (
        "error",
        "The MCP server 'prog' has no tool 'echo' for this agent. Its tools: mcp__prog__about",
    )
    assert about[0] == "ok"
    assert results[3][0] == "error"
    assert results[3][1].startswith("There is no tool named 'mcp__prog__about'.")


async def test_a_tool_that_another_handle_has_brought_can_be_called(bench: Bench) -> None:
    session = await bench.start([])
    other = await bench.runtimes[0].open_session(session.id)
    await other.add_mcp_server(program())
    assert (await session.tool("mcp__prog__echo", {"text": "1"})).output == "1"


async def test_one_in_place_of_another_ends_that_ones_program(bench: Bench) -> None:
    session = await bench.start([])
    await session.add_mcp_server(program())
    first = json.loads((await session.tool("mcp__prog__about", {})).output)["pid"]
    await session.add_mcp_server(program(without=("echo",)))
    again = json.loads((await session.tool("mcp__prog__about", {})).output)["pid"]
    await session.add_mcp_server(program(env={"OTHER": "1"}))
    second = json.loads((await session.tool("mcp__prog__about", {})).output)["pid"]
    assert first == again != second
    assert not is_alive(first)
    await session.remove_mcp_server("prog")
    assert not is_alive(second)


@pytest.mark.parametrize("end", ["archive", "delete_session"])
async def test_the_program_of_a_session_that_has_ended_ends(bench: Bench, end: str) -> None:
    session = await bench.start([])
    await session.add_mcp_server(program())
    pid = json.loads((await session.tool("mcp__prog__about", {})).output)["pid"]
    await getattr(bench.runtimes[0], end)(session.id)
    await until_dead(pid)


async def test_the_program_of_a_session_that_nobody_holds_ends_soon(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_connections, "LEFT_S", 0.0)
    session = await bench.start([])
    other = await bench.runtimes[0].open_session(session.id)
    await session.add_mcp_server(program())
    pid = json.loads((await session.tool("mcp__prog__about", {})).output)["pid"]
    await session.close()
    assert json.loads((await other.tool("mcp__prog__about", {})).output)["pid"] == pid
    await other.detach()
    await until_dead(pid)
    again = await bench.runtimes[0].open_session(session.id)
    assert json.loads((await again.tool("mcp__prog__about", {})).output)["pid"] != pid


async def test_an_old_server_that_says_nothing_to_what_it_does_not_know_is_known_for_it(bench: Bench) -> None:
    quiet = program(mode="quiet", connect_timeout_s=3.0)
    session = await bench.start([])
    assert await session.add_mcp_server(quiet)
    other = await bench.start([], runtime=bench.runtimes[0])
    assert await other.add_mcp_server(quiet)
    first, second = [json.loads((await one.tool("mcp__prog__about", {})).output)["heard"] for one in (session, other)]
    assert first[:2] == ["server/discover", "initialize"]
    assert second[0] == "initialize"


async def test_one_that_cannot_be_connected_is_not_added(bench: Bench) -> None:
    session = await bench.start([])
    with pytest.raises(McpServerFailed, match="its program ended with exit code 0"):
        await session.add_mcp_server(McpServer("prog", command="true"))
    with pytest.raises(McpServerFailed, match=r"timed out: it does not answer within 0\.08 s"):
        await session.add_mcp_server(McpServer("prog", command="sleep", args=("30",), connect_timeout_s=0.08))
    with pytest.raises(ConfigurationError, match="or it has a command"):
        await session.add_mcp_server({"name": "prog"})
    assert await session.mcp_status() == {}


async def test_one_that_is_added_unconnected_says_what_became_of_it(bench: Bench) -> None:
    session = await bench.start([say("Done.")])
    assert await session.add_mcp_server({"name": "prog", "command": "true"}, connect=False) == 0
    assert (await session.mcp_status())["prog"].health == "idle"
    await within(session.prompt_and_wait("Go."))
    status = (await session.mcp_status())["prog"]
    assert (status.health, status.connected) == ("failed", False)
    assert status.error is not None
    assert "its program ended with exit code 0" in status.error


async def test_one_that_is_not_enabled_is_kept_and_not_used(bench: Bench) -> None:
    session = await bench.start([say("Done.")])
    assert await session.add_mcp_server(program(enabled=False)) == 0
    await within(session.prompt_and_wait("Go."))
    status = (await session.mcp_status())["prog"]
    assert (status.health, status.enabled) == ("disabled", False)
    assert own(session.tool_names()) == []


async def test_what_was_added_is_there_in_another_process(bench: Bench) -> None:
    session = await bench.start([])
    await session.add_mcp_server(program())
    await bench.close()
    runtime = await bench.runtime([call("mcp__prog__echo", text="again"), say("Done.")])
    again = await runtime.open_session(session.id)
    assert (await again.mcp_status())["prog"].health == "idle"
    await within(again.prompt_and_wait("Go."))
    (echo,) = await data(again, ToolFinished)
    assert text_of(echo.content) == "again"


async def test_two_that_are_added_at_once_are_both_there(bench: Bench) -> None:
    import asyncio

    session = await bench.start([])
    other = await bench.runtimes[0].open_session(session.id)
    await asyncio.gather(session.add_mcp_server(program("one")), other.add_mcp_server(program("two")))
    assert sorted(await session.mcp_status()) == ["one", "two"]


async def test_one_that_asks_for_a_credential_needs_a_login(bench: Bench) -> None:
    with mcp_site(takes="another") as site:
        runtime = await bench.runtime([say("Done.")], mcp=McpSettings(reach=(site.here,)))
        session = await runtime.start_session(Agent("tester", model=MODEL, mcp_servers=[McpServer("docs", site.url)]))
        await within(session.prompt_and_wait("Go."))
        status = (await session.mcp_status())["docs"]
        assert status.health == "needs_login"
        assert "asks for a credential (401)" in str(status.error)


async def test_over_http_by_the_same_names(tmp_path: Path) -> None:
    model = ScriptedModel([call("mcp__prog__echo", text="from afar"), say("Done.")], MODEL)
    with running(tmp_path / "g.db", models={MODEL: model}, dialects=[Api]) as server:
        async with godwit.connect(server.url) as runtime:
            session = await runtime.start_session(Agent("a", model=MODEL), own_workspace=True)
            assert await session.add_mcp_server(program()) == len(mcp_program.TOOLS)
            assert (await session.mcp_status())["prog"].tool_count == len(mcp_program.TOOLS)
            assert own(session.tool_names()) == sorted(f"mcp__prog__{tool}" for tool in mcp_program.TOOLS)
            await within(session.prompt_and_wait("Go."))
            (echo,) = await data(session, ToolFinished)
            assert text_of(echo.content) == "from afar"
            assert await session.remove_mcp_server("prog") is True
            assert own(session.tool_names()) == []
            assert await session.remove_mcp_server("prog") is False
            with pytest.raises(McpServerFailed, match="exit code"):
                await session.add_mcp_server(McpServer("prog", command="true"))


async def test_over_http_a_program_needs_the_scope_admin(tmp_path: Path) -> None:
    with running(
        tmp_path / "g.db", models={MODEL: ScriptedModel([], MODEL)}, dialects=[Api], settings=ServerSettings(keys=True)
    ) as server:

        async def key() -> str:
            runtime = server.runtime
            keys = ApiKeys(runtime.store, runtime.clock, runtime.ids)
            return (await keys.create("acme", tenant="acme", scopes=["operate"]))[0]

        async with godwit.connect(server.url, key=server.call(key)) as runtime:
            session = await runtime.start_session(Agent("a", model=MODEL), own_workspace=True)
            for server_of_theirs in (program(), McpServer("docs", "https://docs.example", headers={"X-Key": "${HOME}"})):
                with pytest.raises(PermissionDenied, match="admin"):
                    await session.add_mcp_server(server_of_theirs)
                with pytest.raises(PermissionDenied, match="admin"):
                    await runtime.create(Agent("b", model=MODEL, mcp_servers=[server_of_theirs]))
