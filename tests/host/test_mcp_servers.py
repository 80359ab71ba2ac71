"""MCP servers as tools of a session: real servers of the official package, over real HTTP."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from tests.engine.conftest import MODEL, Bench, data, until_type, within
from tests.parts.mcp_site import PNG, McpSite, listed, mcp_site

from godwit import Agent, Labels, McpServer, McpSettings
from godwit.contracts import ModelRequest, ServedSession, Tool
from godwit.core.errors import ConfigurationError
from godwit.core.events import ArtifactStored, McpUnavailable, ToolFinished
from godwit.core.mcp import tool_name
from godwit.core.messages import Document, Image, Text, text_of
from godwit.engine.session import Session
from godwit.host.mcp import client as mcp_client, connection as mcp_connection, connections as mcp
from godwit.models.script import call, say

TOKEN = tool_name("docs", "says.token")


def requests(bench: Bench) -> list[ModelRequest]:
    assert bench.model is not None
    return bench.model.requests


def connections(session: Session) -> Any:
    """What the session's runtime has of connections."""
    return session._home.parts.tool_servers


def known(session: Session) -> tuple[Tool, ...]:
    found = connections(session).known(session._spec, ServedSession(session.id))
    tools: tuple[Tool, ...] = found.tools
    return tools


async def session_of(
    bench: Bench, script: list[Any], *sites: McpSite, reach: bool = True, times: dict[str, float] | None = None, **agent: Any
) -> Session:
    settings = McpSettings(
        reach=tuple(site.here for site in sites) if reach else (),
        tokens={site.url: site.takes for site in sites if site.takes is not None},
        **(times or {}),  # type: ignore[arg-type]
    )
    runtime = await bench.runtime(script, mcp=settings)
    names = ["docs", "more"]
    servers = [McpServer(names[at], site.url) for at, site in enumerate(sites)]
    return await bench.start(script, runtime=runtime, **{"mcp_servers": servers, **agent})


async def run(session: Session, text: str = "Go.") -> Any:
    return await within(session.prompt_and_wait(text))


async def results(session: Session) -> list[ToolFinished]:
    return await data(session, ToolFinished)


async def test_tools_of_a_server_are_called_and_their_results_reach_the_model(bench: Bench) -> None:
    with mcp_site() as site:
        script = [
            call("mcp__docs__echo", text="hello"),
            call("mcp__docs__picture"),
            call("mcp__docs__numbers"),
            call("mcp__docs__broken"),
            say("Done."),
        ]
        session = await session_of(bench, script, site)
        await run(session)
        echo, picture, numbers, broken = await results(session)
        assert (echo.status, echo.content) == ("ok", (Text("hello"),))
        assert (picture.status, picture.content) == ("ok", (Image("image/png", PNG),))
        assert (numbers.status, numbers.content) == ("ok", (Text('{"numbers":[1,2]}'),))
        assert (broken.status, broken.content) == ("error", (Text("it broke"),))
        assert site.calls == ["echo", "picture", "numbers", "broken"]


async def test_a_large_result_becomes_an_artifact(bench: Bench) -> None:
    with mcp_site() as site:
        session = await session_of(bench, [call("mcp__docs__long"), say("Done.")], site)
        await run(session)
        (stored,) = await data(session, ArtifactStored)
        assert len(await session.artifacts.get(stored.ref)) == 200_000


async def test_pages_are_followed_and_a_bad_schema_costs_only_its_tool(bench: Bench, caplog: Any) -> None:
    tools = [listed("a"), listed("b", schema={"type": "object", "properties": {"x": {"type": "nonsense"}}}), listed("c.d")]
    tools += [listed("a"), listed("e")]
    with mcp_site(tools, page=2) as site:
        session = await session_of(bench, [say("Done.")], site)
        await run(session)
        names = [tool.name for tool in requests(bench)[0].tools]
        assert names[0] == "mcp__docs__a"
        assert names[1:] == ["mcp__docs__c.d", "mcp__docs__e"]
        assert "its tool 'b' is left out" in caplog.text
        assert "a second tool 'a' is left out" in caplog.text


async def test_pages_without_end_are_read_as_far_as_there_is_room(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_client, "PAGES", 5)
    with mcp_site() as site:
        site.endless = True
        session = await session_of(bench, [say("Done.")], site)
        await run(session)
        assert len(requests(bench)[0].tools) == 5


async def test_a_call_is_asked_about_and_denied_by_the_rule_of_its_server(bench: Bench) -> None:
    with mcp_site() as site:
        script = [call("mcp__docs__echo", text="1"), call("mcp__docs__broken"), say("Done.")]
        permissions: Any = {"mcp__docs": "ask", "mcp__docs__broken": "deny"}
        session = await session_of(bench, script, site, permissions=permissions)
        running = asyncio.create_task(run(session))
        await within(until_type(session, "action.opened"))
        (action,) = await session.pending_confirmations()
        assert site.calls == []
        await session.approve(action.id)
        await running
        assert [r.status for r in await results(session)] == ["ok", "denied"]
        assert site.calls == ["echo"]


async def test_only_the_tools_that_are_chosen_are_there(bench: Bench) -> None:
    with mcp_site() as site:
        servers = [McpServer("docs", site.url, tools=("echo", "wait"), without=("wait",))]
        session = await session_of(bench, [say("Done.")], site, mcp_servers=servers)
        await run(session)
        assert [tool.name for tool in requests(bench)[0].tools] == ["mcp__docs__echo"]


async def test_an_interrupt_cancels_the_call_on_the_server(bench: Bench) -> None:
    with mcp_site() as site:
        session = await session_of(bench, [call("mcp__docs__wait"), say("Done.")], site)
        running = asyncio.create_task(run(session))
        assert await asyncio.to_thread(site.waits.wait, 20)
        await session.interrupt()
        await running
        assert await asyncio.to_thread(site.cancelled.wait, 20)


async def test_the_run_goes_on_without_a_server_that_is_not_there(bench: Bench) -> None:
    with mcp_site() as site, mcp_site() as gone:
        gone.stop()
        session = await session_of(bench, [call("mcp__docs__echo", text="x"), say("Done.")], site, gone)
        await run(session)
        (missing,) = await data(session, McpUnavailable)
        assert (missing.server, missing.trouble, missing.retrying) == ("more", "connection", False)
        assert [r.status for r in await results(session)] == ["ok"]


async def test_a_server_that_does_not_answer_keeps_a_run_waiting_only_shortly(bench: Bench) -> None:
    with mcp_site() as site:
        site.mute = threading.Event()
        session = await session_of(bench, [say("Done."), say("Again.")], site, times={"wait_s": 0.3})
        await run(session)
        (missing,) = await data(session, McpUnavailable)
        assert (missing.trouble, missing.retrying) == ("connection", True)
        assert requests(bench)[0].tools == ()
        site.mute.set()
        (connection,) = connections(session)._connections.values()
        await within(connection._settled.wait())
        await run(session)
        assert len(requests(bench)[1].tools) == len(site.tools)


async def test_private_addresses_are_reached_only_when_the_settings_say_so(bench: Bench) -> None:
    with mcp_site() as site:
        session = await session_of(bench, [say("Done.")], site, reach=False)
        await run(session)
        (missing,) = await data(session, McpUnavailable)
        assert "an address of this machine, which is not reached from here" in missing.message
        assert site.tokens == []


async def test_a_token_goes_along_and_stands_in_nothing_that_is_kept(bench: Bench) -> None:
    with mcp_site(takes="t-secret-1") as site:
        session = await session_of(bench, [call("mcp__docs__echo", text="x"), call(TOKEN), say("Done.")], site)
        await run(session)
        assert set(site.tokens) == {"t-secret-1"}
        assert [r.status for r in await results(session)] == ["ok", "error"]
        assert all(b"t-secret-1" not in event.body for event in await session.events())


async def test_a_server_that_refuses_the_token_is_told_apart(bench: Bench) -> None:
    with mcp_site(takes="t-secret-1") as site:
        session = await session_of(bench, [say("Done."), say("Again.")], site)
        site.takes = "another"
        await run(session)
        (missing,) = await data(session, McpUnavailable)
        assert (missing.trouble, missing.message) == (
            "authentication",
            "the MCP server 'docs' is not connected: it refuses the credential (401); godwit mcp login docs logs in",
        )


async def test_a_server_that_was_restarted_is_connected_again(bench: Bench) -> None:
    with mcp_site() as site:
        script = [call("mcp__docs__echo", text="1"), say("One."), call("mcp__docs__echo", text="2"), say("Two.")]
        session = await session_of(bench, script, site)
        await run(session)
        await asyncio.to_thread(site.stop)
        await asyncio.to_thread(site.start)
        await run(session)
        assert [r.status for r in await results(session)] == ["ok", "ok"]


async def test_sessions_share_a_connection_unless_the_server_keeps_one_of_its_own(bench: Bench) -> None:
    for stateful in (False, True):
        with mcp_site() as site:
            site.stateful = stateful
            script = [call("mcp__docs__echo", text="1"), say("One.")]
            first = await session_of(bench, script, site)
            second = await bench.start(script, runtime=bench.runtimes[-1], mcp_servers=[McpServer("docs", site.url)])
            await run(first)
            await run(second)
            assert site.calls == ["echo", "echo"]
            assert len(site.sessions) == (2 if stateful else 0)


async def test_a_restarted_server_that_keeps_sessions_is_given_a_new_one(bench: Bench) -> None:
    with mcp_site() as site:
        site.stateful = True
        script = [call("mcp__docs__echo", text="1"), say("One."), call("mcp__docs__echo", text="2"), say("Two.")]
        session = await session_of(bench, script, site)
        await run(session)
        await asyncio.to_thread(site.stop)
        await asyncio.to_thread(site.start)
        await run(session)
        assert [r.status for r in await results(session)] == ["ok", "ok"]


async def test_a_connection_that_nobody_uses_is_let_go_and_made_again(bench: Bench) -> None:
    with mcp_site() as site:
        script = [call("mcp__docs__echo", text="1"), say("One."), call("mcp__docs__echo", text="2"), say("Two.")]
        session = await session_of(bench, script, site, times={"idle_s": 0.05})
        await run(session)
        (connection,) = connections(session)._connections.values()
        task = connection._task
        if task is not None:
            await within(asyncio.wait([task]))
        assert not connection.is_up
        await run(session)
        assert [r.status for r in await results(session)] == ["ok", "ok"]


async def test_a_list_of_tools_that_changes_is_read_again(bench: Bench) -> None:
    with mcp_site() as site:
        site.stateful = True
        session = await session_of(bench, [call("mcp__docs__grow"), say("One."), say("Two.")], site)
        await run(session)
        (connection,) = connections(session)._connections.values()
        assert await asyncio.to_thread(site.relisted.wait, 20)
        await within(connection._settled.wait())
        assert "mcp__docs__grown" in session.tool_names()
        await run(session)
        assert "mcp__docs__grown" in [tool.name for tool in requests(bench)[-1].tools]


async def test_what_is_read_only_may_be_repeated_after_a_crash(bench: Bench) -> None:
    with mcp_site() as site:
        session = await session_of(bench, [call("mcp__docs__echo", text="1"), call("mcp__docs__numbers"), say("x")], site)
        await run(session)
        tools = {tool.definition.name: tool for tool in known(session)}
        assert "mcp__docs__echo" in session.tool_names()
        assert tools["mcp__docs__echo"].traits.repeatable
        assert not tools["mcp__docs__numbers"].traits.repeatable


def test_servers_are_checked_where_they_are_written_down() -> None:
    from godwit import Agent

    with pytest.raises(ConfigurationError, match="two MCP servers"):
        Agent("a", model="m", mcp_servers=[{"name": "a", "url": "https://a"}, {"name": "a", "url": "https://b"}])
    with pytest.raises(ConfigurationError, match="two MCP servers"):  # rules know no upper case
        Agent("a", model="m", mcp_servers=[McpServer("a", "https://a"), McpServer("A", "https://b")])
    with pytest.raises(ConfigurationError, match="url"):
        Agent("a", model="m", mcp_servers=[{"name": "a", "url": "ftp://a"}])
    with pytest.raises(ConfigurationError, match="colour"):
        Agent("a", model="m", mcp_servers=[{"name": "a", "url": "https://a", "colour": "red"}])


async def test_a_tool_of_a_server_that_is_not_connected_says_why(bench: Bench) -> None:
    with mcp_site(takes="t-secret-1") as site:
        script = [call("mcp__docs__echo", text="1"), call("mcp__other__echo"), say("Done.")]
        session = await session_of(bench, script, site)
        site.takes = "another"
        await run(session)
        refused, unknown = await results(session)
        (missing,) = await data(session, McpUnavailable)
        assert refused.status == "error"
        assert refused.content == (Text(f"The{missing.message[3:]}"),)
        assert "There is no tool named 'mcp__other__echo'" in text_of(unknown.content)


async def test_a_tool_that_its_server_has_not_is_told_with_those_it_has(bench: Bench) -> None:
    with mcp_site([listed("echo")]) as site:
        session = await session_of(bench, [call("mcp__docs__nothing"), say("Done.")], site)
        await run(session)
        (result,) = await results(session)
        assert text_of(result.content) == (
            "The MCP server 'docs' has no tool 'nothing' for this agent. Its tools: mcp__docs__echo"
        )


async def test_a_server_that_is_lost_leaves_the_request_as_it_was_and_its_tools_say_why(bench: Bench) -> None:
    with mcp_site() as site:

        def lose(_: ModelRequest) -> Any:
            site.stop()
            return call("mcp__docs__numbers")

        script = [call("mcp__docs__echo", text="1"), lose, call("mcp__docs__numbers", again=1), say("Done."), say("Again.")]
        session = await session_of(bench, script, site)
        await run(session)
        echo, lost, away = await results(session)
        assert [r.status for r in (echo, lost, away)] == ["ok", "error", "error"]
        assert "the MCP server cannot be used" in text_of(lost.content)
        first, *others = requests(bench)
        assert [r.tools for r in others] == [first.tools] * 3
        (connection,) = connections(session)._connections.values()
        await within(connection._settled.wait())
        await run(session)
        assert requests(bench)[-1].tools == ()  # the next run begins without it
        assert len(await data(session, McpUnavailable)) >= 1


async def test_the_order_of_a_list_changes_no_request(bench: Bench) -> None:
    with mcp_site() as site:
        session = await session_of(bench, [say("One."), say("Two.")], site)
        await run(session)
        site.tools.reverse()
        for connection in connections(session)._connections.values():
            connection._look_again()
            await within(connection._settled.wait())
        await run(session)
        one, two = requests(bench)
        assert one.tools == two.tools
        assert one.instructions == two.instructions == ""


async def test_there_are_no_more_connections_than_may_be(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with mcp_site() as site, mcp_site() as other:
        settings = McpSettings(reach=(site.here, other.here), max_connections=1)
        runtime = await bench.runtime(mcp=settings)
        first = await bench.start([say("x")], runtime=runtime, mcp_servers=[McpServer("docs", site.url)])
        second = await bench.start([say("x")], runtime=runtime, mcp_servers=[McpServer("docs", other.url)])
        assert bench.model is not None
        bench.model._turns = [say("One."), call("mcp__docs__echo", text="1"), say("Two.")]
        await run(first)
        await run(second)
        (missing,) = await data(second, McpUnavailable)
        assert (missing.trouble, missing.message) == (
            "connection",
            "the MCP server 'docs' is not connected: this process has 1 connections to MCP servers, as many as may be,"
            " and all are in use (McpSettings.max_connections)",
        )
        # One that rests gives its place.
        monkeypatch.setattr(mcp, "SPARE_S", 0.0)
        monkeypatch.setattr(mcp_connection, "BACKOFF_S", (0.0, 0.0))
        for connection in connections(second)._connections.values():
            connection._retry_at = 0.0
        await run(second)
        assert other.calls == ["echo"]
        assert sum(one.is_live for one in connections(first)._connections.values()) == 1


async def test_a_tenant_has_its_own_limit_of_connections(bench: Bench) -> None:
    with mcp_site() as site:
        settings = McpSettings(reach=(site.here,), max_connections_per_tenant=1)
        runtime = await bench.runtime(mcp=settings)
        site.stateful = True  # so that each session has one of its own
        agent = Agent("a", model=MODEL, mcp_servers=[McpServer("docs", site.url)])
        sessions = [await runtime.start_session(agent, labels=Labels(tenant=tenant)) for tenant in ("acme", "acme", "other")]
        assert bench.model is not None
        bench.model._turns = [say("x")] * 3
        for session in sessions:
            await run(session)
        told = [[m.message for m in await data(session, McpUnavailable)] for session in sessions]
        assert [len(one) for one in told] == [0, 1, 0]
        assert "this tenant's sessions have 1 connections" in told[1][0]


@pytest.mark.parametrize("wrong", [0, -1])
def test_a_limit_of_connections_is_checked(wrong: int) -> None:
    with pytest.raises(ConfigurationError, match="max_connections"):
        McpSettings(max_connections=wrong)


async def test_what_a_result_is_made_of_reaches_the_model(bench: Bench) -> None:
    with mcp_site() as site:
        session = await session_of(bench, [call("mcp__docs__mixed"), call("mcp__docs__large"), say("Done.")], site)
        await run(session)
        mixed, large = await results(session)
        text = text_of(mixed.content)
        assert mixed.status == "error"  # as the server says
        for part in (
            "look here", "[an image that is not encoded",
            "[an image of type image/png, 6291464 bytes, too large to show, kept as artifact sha256:",
            "[sound of type audio/wav, 4 bytes, which is not shown, kept as artifact sha256:",
            "[resource page, docs://page: a page]",
            "[resource docs://text]\nin the page",
        ):  # fmt: skip
            assert part in text
        assert [block for block in mixed.content if not isinstance(block, Text)] == [
            Image("image/png", PNG),
            Document("application/pdf", b"%PDF-1.7", name="docs://file"),
        ]
        # Large data is an artifact, and not in the metadata as well.
        picture, sound, stored = await data(session, ArtifactStored)
        assert json.loads(await session.artifacts.get(stored.ref)) == {"rows": list(range(50_000))}
        assert "structured" not in large.metadata
        # What no model is shown can be had by people, under the ref that the model is told.
        assert (sound.media_type, await session.artifacts.get(sound.ref)) == ("audio/wav", b"RIFF")
        assert sound.ref in text
        assert (picture.media_type, picture.size) == ("application/octet-stream", 6291464)
        assert stored.ref in text_of(large.content)
