"""Tools of MCP servers are tools like any other: for subagents, rules, hooks, budgets, lanes, and calls of the host."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from tests.engine.conftest import Bench, data, until_type, within
from tests.engine.task_words import Team, home, told
from tests.host.test_mcp_servers import results, run, session_of
from tests.parts.mcp_site import McpSite, listed, mcp_site

import godwit
from godwit import Budget, HookSpec, LaneConfig, McpServer, McpSettings
from godwit.core.errors import ToolFailed
from godwit.core.events import ActionOpened, ToolFinished
from godwit.core.messages import text_of
from godwit.core.rules import ApprovalPolicy
from godwit.engine.session import Session
from godwit.models.script import call, say


@pytest.fixture
def site() -> Iterator[McpSite]:
    with mcp_site() as made:
        yield made


@pytest.fixture
async def team(bench: Bench) -> Team:
    return Team(bench)


async def started(team: Team, *sites: McpSite, **options: Any) -> Session:
    settings = McpSettings(reach=tuple(site.here for site in sites))
    return await team.start(runtime=await team.runtime(mcp=settings, **options))


async def child_of(session: Session) -> Session:
    (task,) = await session.tasks.all()
    return await home(session).open_session(task.session)


def with_child(team: Team, servers: list[McpServer], *script: Any, child: Any = None, **boss: Any) -> None:
    team.add("child", [*script, lambda r: say(told(r))], mcp_servers=servers, **(child or {}))
    team.add("boss", [call("task", agent="child", prompt="go"), lambda r: say(told(r))], subagents=["child"], **boss)


async def test_a_child_has_those_servers_and_tools_that_its_parent_has(
    team: Team, site: McpSite, caplog: pytest.LogCaptureFixture
) -> None:
    with mcp_site() as secret:
        own = [
            McpServer("docs", site.url, without=("wait",)), McpServer("secret", secret.url),
            McpServer("docs2", site.url), McpServer("taken", secret.url),
        ]  # fmt: skip
        theirs = [McpServer("docs", site.url, tools=("echo", "numbers", "wait")), McpServer("taken", site.url)]
        script = [call("mcp__docs__echo", text="hello"), call("mcp__secret__echo"), call("mcp__docs2__echo")]
        with_child(team, own, *script, call("mcp__taken__echo"), mcp_servers=theirs)
        session = await started(team, site, secret)
        await run(session)
        child = await child_of(session)
        assert [r.status for r in await results(child)] == ["ok", "error", "error", "error"]
        assert {tool.name for tool in team.models["scripted:child"].requests[0].tools} == {
            "mcp__docs__echo", "mcp__docs__numbers",
        }  # fmt: skip
        assert site.calls == ["echo"]
        assert secret.tokens == []
        assert "it goes without docs2, secret, taken" in caplog.text


async def test_the_rules_above_hold_for_a_childs_calls_and_what_they_ask_is_answered_above(
    team: Team, site: McpSite
) -> None:
    servers = [McpServer("docs", site.url)]
    script = [call("mcp__docs__echo", text="1"), call("mcp__docs__numbers"), call("mcp__docs__picture")]
    rules: Any = {"mcp__docs__numbers": "deny", "mcp__docs__echo": "ask"}
    with_child(team, servers, *script, mcp_servers=servers, permissions=rules)
    session = await started(team, site)
    running = asyncio.create_task(run(session))
    await within(until_type(session, "subagent.asked"))
    assert site.calls == []
    (action,) = await session.pending_confirmations()
    await session.approve(action.id)
    await running
    child = await child_of(session)
    assert [r.status for r in await results(child)] == ["ok", "denied", "ok"]
    (opened,) = await data(child, ActionOpened)
    assert opened.name == "mcp__docs__echo"
    assert site.calls == ["echo", "picture"]


async def test_calls_of_a_child_count_in_the_budget_of_the_tree(team: Team, site: McpSite) -> None:
    servers = [McpServer("docs", site.url)]
    script = [call("mcp__docs__numbers", n=n) for n in range(6)]
    with_child(team, servers, *script, mcp_servers=servers, budget=Budget(tool_calls=3, scope="tree"))
    session = await started(team, site)
    await within(session.prompt_and_wait("Go."))
    assert site.calls == ["numbers"] * 3


async def test_hooks_see_calls_by_their_full_name_and_change_them(bench: Bench) -> None:
    with mcp_site([listed("echo"), listed("says.token")]) as site:
        session = await session_of(
            bench, [call("mcp__docs__echo", text="1"), call("mcp__docs__says.token"), say("Done.")], site
        )
        seen: list[tuple[str, Any]] = []

        async def before(asked: Any) -> Any:
            payload = asked.payload
            seen.append((payload["tool"], payload["read_only"]))
            if payload["tool"] == "mcp__docs__says.token":
                return godwit.HookResult("block", reason="not this one")
            return godwit.HookResult(modified={"text": "changed"})

        async def after(asked: Any) -> Any:
            payload = asked.payload
            seen.append((payload["tool"], payload["result"]))
            return None

        session.register_hook(HookSpec("before", "before_tool", godwit.HookMatcher(tool="mcp__docs__*")), before)
        session.register_hook(HookSpec("after", "after_tool", godwit.HookMatcher(tool="mcp__docs__*")), after)
        await run(session)
        assert seen[:3] == [("mcp__docs__echo", False), ("mcp__docs__echo", "changed"), ("mcp__docs__says.token", False)]
        assert [r.status for r in await results(session)] == ["ok", "denied"]
        assert site.calls == ["echo"]


async def test_what_a_server_says_of_its_tools_spares_no_question(bench: Bench) -> None:
    with mcp_site() as site:
        approvals = ApprovalPolicy(auto=("query",), on_ask="deny")
        permissions: Any = {"mcp__docs": "ask"}
        script = [call("mcp__docs__echo", text="1"), say("Done.")]  # which says that it is read-only
        session = await session_of(bench, script, site, approvals=approvals, permissions=permissions)
        await run(session)
        assert [r.status for r in await results(session)] == ["denied"]
        assert site.calls == []


async def test_calls_keep_to_the_lane_that_names_their_server(bench: Bench) -> None:
    with mcp_site() as site:
        lanes = [LaneConfig("docs", concurrency=1, tools=("mcp__docs",))]
        runtime = await bench.runtime(mcp=McpSettings(reach=(site.here,)), lanes=lanes)
        both = call("mcp__docs__wait") + call("mcp__docs__numbers")
        session = await bench.start([both, say("Done.")], runtime=runtime, mcp_servers=[McpServer("docs", site.url)])
        running = asyncio.create_task(run(session))
        assert await asyncio.to_thread(site.waits.wait, 20)
        assert site.calls == ["wait"]
        await session.interrupt()
        await running
        assert site.calls == ["wait"]


async def test_the_host_calls_them_as_any_tool(bench: Bench) -> None:
    with mcp_site() as site:
        session = await session_of(bench, [say("x")], site)
        result = await within(session.tool("mcp__docs__echo", {"text": "hello"}))
        assert (result.status, result.output) == ("ok", "hello")
        assert (await within(session.tool("mcp__docs__nothing"))).status == "error"
        finished = [one for one in await data(session, ToolFinished) if one.origin == "direct"]
        assert [(one.name, text_of(one.content)) for one in finished] == [("mcp__docs__echo", "hello")]
    lost = await session_of(bench, [say("x")], site)
    result = await within(lost.tool("mcp__docs__echo", {"text": "hello"}))
    assert result.output.startswith("The MCP server 'docs' is not connected: ")
    with pytest.raises(ToolFailed):
        await lost._did("mcp__docs__echo")
