"""A model that has many tools looks for them: real MCP servers with hundreds of tools, over real HTTP."""

from __future__ import annotations

import asyncio
import itertools
import threading
from typing import Any

import mcp_types as types
import pytest

import godwit
from godwit import Agent, McpServer, McpSettings, ToolSearchPolicy
from godwit.contracts import ModelRequest, SessionHandle
from godwit.core.errors import ConfigurationError
from godwit.core.events import ToolFinished, ToolStarted
from godwit.core.messages import text_of
from godwit.core.tool_search import DeferredTool
from godwit.engine.session import Session
from godwit.models.script import Reply, ScriptedModel, call, say
from tests.engine.command_words import said
from tests.engine.conftest import MODEL, Bench, data, until_type, within
from tests.parts.mcp_site import McpSite, listed, mcp_site

SEARCH = "tool_search"


def tools(count: int, prefix: str = "op") -> list[types.Tool]:
    """`echo`, which works, and as many others as are wanted."""
    return [listed("echo"), *(listed(f"{prefix}_{n:03}") for n in range(count - 1))]


def of_docs(*names: str) -> list[str]:
    return [f"mcp__docs__{name}" for name in names]


def requests(bench: Bench) -> list[ModelRequest]:
    assert bench.model is not None
    return bench.model.requests


def told(bench: Bench) -> list[list[str]]:
    """The names of the tools in each request."""
    return [[tool.name for tool in request.tools] for request in requests(bench) if request.turn]


async def session_of(
    bench: Bench, script: list[Any], *sites: McpSite, server: dict[str, Any] | None = None, **agent: Any
) -> Session:
    settings = McpSettings(reach=tuple(site.here for site in sites))
    runtime = await bench.runtime(script, mcp=settings)
    names = ["docs", "more"]
    servers = [McpServer(names[at], site.url, **(server or {})) for at, site in enumerate(sites)]
    own = agent.pop("tools", ())
    return await bench.start(script, *own, runtime=runtime, **{"mcp_servers": servers, **agent})


async def counted(bench: Bench, script: list[Any], site: McpSite) -> Session:
    """A session whose model answers by the number of the turn, and writes summaries."""
    model = ScriptedModel(["A summary.", *script], MODEL, select=lambda request: request.turn)
    runtime = await bench.runtime(models={MODEL: model}, mcp=McpSettings(reach=(site.here,)))
    bench.model = model
    return await bench.start([], runtime=runtime, mcp_servers=[McpServer("docs", site.url)])


async def run(session: SessionHandle, text: str = "Go.") -> list[ToolFinished]:
    await within(session.prompt_and_wait(text))
    return await data(session, ToolFinished)


def select(*names: str) -> Reply:
    return call(SEARCH, query=f"select:{','.join(names)}")


async def test_a_tool_among_many_is_found_and_called_and_requests_begin_in_the_same_way(bench: Bench) -> None:
    with mcp_site(tools(500)) as site:
        script = [select("op_007", "echo"), call("mcp__docs__echo", text="hello"), select("op_003"), say("Done.")]
        session = await session_of(bench, script, site, tools=["read"])
        search, echo, _ = await run(session)
        first, second, third, fourth = told(bench)
        assert first == ["read", SEARCH]
        assert second == third == [*first, *of_docs("op_007", "echo")]
        assert fourth == [*second, *of_docs("op_003")]
        definitions = [request.tools for request in requests(bench)]
        for earlier, later in itertools.pairwise(definitions):
            assert later[: len(earlier)] == earlier
        assert "docs (500): echo, op_000" in definitions[0][1].description
        assert (search.status, search.metadata["found"]) == ("ok", of_docs("op_007", "echo"))
        assert "mcp__docs__echo: Tool echo" in text_of(search.content)
        assert (echo.status, text_of(echo.content)) == ("ok", "hello")


async def test_few_tools_are_told_at_once(bench: Bench) -> None:
    with mcp_site(tools(50)) as site:
        session = await session_of(bench, [say("Done.")], site)
        await run(session)
        assert len(told(bench)[0]) == 50
        assert await session.deferred_tools() == []


@pytest.mark.parametrize(
    ("policy", "count", "deferred"),
    [
        ("always", 2, True),
        ("never", 200, False),
        ({"tools": 3}, 3, False),
        ({"tools": 3}, 4, True),
        ({"tokens": 10}, 2, True),
        ({"tools": 1000, "tokens": 100_000}, 300, False),
    ],
)
async def test_an_agent_says_when_tools_are_looked_for(bench: Bench, policy: Any, count: int, deferred: bool) -> None:
    with mcp_site(tools(count)) as site:
        session = await session_of(bench, [say("Done.")], site, tool_search=policy)
        await run(session)
        assert (told(bench)[0] == [SEARCH]) is deferred


async def test_a_small_window_is_what_counts(bench: Bench) -> None:
    """50 tools of some 40 tokens each: little of a window of 200,000, more than a tenth of one of 8,000."""
    with mcp_site(tools(50)) as site:
        session = await session_of(bench, [say("Done.")], site, context={"window": 8000})
        await run(session)
        assert told(bench)[0] == [SEARCH]


async def test_what_a_server_always_shows_and_one_that_is_not_deferred_are_told_at_once(bench: Bench) -> None:
    with mcp_site(tools(60)) as site, mcp_site(tools(60, "other")) as other:
        settings = McpSettings(reach=(site.here, other.here))
        runtime = await bench.runtime([], mcp=settings)
        servers = [
            McpServer("docs", site.url, always=("op_001", "echo")),
            McpServer("more", other.url, defer=False, tools=("other_001",)),
        ]
        session = await bench.start([select("other_001", "op_002"), say("Done.")], runtime=runtime, mcp_servers=servers)
        (search,) = await run(session)
        first = [*of_docs("echo", "op_001"), "mcp__more__other_001", SEARCH]
        assert told(bench) == [first, [*first, *of_docs("op_002")]]
        assert "There is no tool 'other_001'" in text_of(search.content)


async def test_own_tools_may_be_looked_for_as_well(bench: Bench) -> None:
    def weather(city: str) -> str:
        """What the weather is like in a city."""
        return f"sunny in {city}"

    policy = ToolSearchPolicy("always", also=("weather", "g*"))
    script = [call(SEARCH, query="weather in a town"), call("weather", city="Ulm"), say("Done.")]
    session = await bench.start(script, weather, "read", "grep", tool_search=policy)
    _, answer = await run(session)
    assert told(bench)[:2] == [["read", SEARCH], ["read", SEARCH, "weather"]]
    assert text_of(answer.content) == "sunny in Ulm"
    assert await session.deferred_tools() == [DeferredTool("weather", True), DeferredTool("grep")]


async def test_a_tool_that_was_not_found_is_not_carried_out_but_found_by_that(bench: Bench) -> None:
    with mcp_site(tools(60)) as site:
        script = [call("mcp__docs__echo", text="made up"), call("mcp__docs__echo", text="hello"), say("Done.")]
        session = await session_of(bench, script, site)
        refused, echo = await run(session)
        assert refused.status == "error"
        assert "was not known to you" in text_of(refused.content)
        assert site.calls == ["echo"]
        assert (echo.status, text_of(echo.content)) == ("ok", "hello")
        assert told(bench) == [[SEARCH], [SEARCH, *of_docs("echo")], [SEARCH, *of_docs("echo")]]


async def test_a_search_and_a_call_in_one_turn_are_not_mixed_up(bench: Bench) -> None:
    """Both were written at once, so the arguments were made up."""
    with mcp_site(tools(60)) as site:
        script = [select("echo") + call("mcp__docs__echo", text="x"), call("mcp__docs__echo", text="y"), say("Done.")]
        session = await session_of(bench, script, site)
        assert [(r.name, r.status) for r in await run(session)] == [
            ("mcp__docs__echo", "error"),
            (SEARCH, "ok"),
            ("mcp__docs__echo", "ok"),
        ]
        assert told(bench)[1] == [SEARCH, *of_docs("echo")]


async def test_a_tool_that_is_not_there_is_told_with_the_way_to_find_others(bench: Bench) -> None:
    with mcp_site(tools(200)) as site:
        session = await session_of(bench, [call("echo"), call("mcp__docs__nothing"), say("Done.")], site)
        short, long = await run(session)
        assert text_of(short.content) == "There is no tool named 'echo'. Tools: tool_search. `tool_search` finds others."
        assert text_of(long.content).endswith("op_048 and 150 more")


async def test_what_was_found_is_still_there_in_the_next_run_another_process_and_a_fork(bench: Bench) -> None:
    with mcp_site(tools(60)) as site:
        script = [select("op_001", "op_000"), say("One."), say("Two."), say("Three."), say("Four.")]
        session = await session_of(bench, script, site)
        await run(session)
        await run(session, "And now?")
        found = [SEARCH, *of_docs("op_001", "op_000")]
        assert told(bench)[1:] == [found, found]
        await bench.close()
        again = await bench.runtime(script, mcp=McpSettings(reach=(site.here,)))
        opened = await again.open_session(session.id)
        await run(opened, "And here?")
        assert told(bench) == [found]
        forked = await opened.fork()
        await run(forked, "And there?")
        assert told(bench)[-1] == found
        assert [one.name for one in await opened.deferred_tools() if one.found] == of_docs("echo", "op_000", "op_001")[1:]


async def test_going_back_takes_away_what_was_found_after_that_and_redo_brings_it_again(bench: Bench) -> None:
    with mcp_site(tools(60)) as site:
        script = [select("op_001"), say("One."), select("op_002"), say("Two."), say("Three."), say("Four.")]
        session = await counted(bench, script, site)
        await run(session, "First.")
        seq = (await session.events())[-1].seq
        await run(session, "Second.")
        assert told(bench)[-1] == [SEARCH, *of_docs("op_001", "op_002")]
        await session.rewind(seq)
        await session.redo()
        await run(session, "Third.")
        assert told(bench)[-1] == [SEARCH, *of_docs("op_001", "op_002")]
        await session.rewind(seq)
        await run(session, "Third, again.")
        assert told(bench)[-1] == [SEARCH, *of_docs("op_001")]


async def test_a_compaction_takes_no_tool_away(bench: Bench) -> None:
    with mcp_site(tools(60)) as site:
        script = [select("op_001"), call("mcp__docs__op_000"), say("One."), call("mcp__docs__op_001"), say("Two.")]
        session = await counted(bench, script, site)
        await run(session)
        await session.compact(keep_tokens=0)
        assert all(SEARCH not in str(message) for message in await session.history())
        done = await run(session, "And now?")
        assert told(bench)[-1] == [SEARCH, *of_docs("op_001", "op_000")]
        assert done[-1].metadata["tool"] == "op_001"


async def test_leaving_results_out_takes_no_tool_away(bench: Bench) -> None:
    """A search whose result is cut from what the model sees has found what it found."""
    with mcp_site(tools(60)) as site:
        names = [f"op_{n:03}" for n in range(20)]
        script = [select(*names), say("One."), say("Two.")]
        session = await session_of(
            bench, script, site, context={"window": 1000, "prune_at": 0.01, "prune_keep_turns": 0, "compact": False}
        )
        await run(session)
        await run(session, "And now?")
        assert "session.pruned" in [event.type for event in await session.events()]
        assert told(bench)[-1] == [SEARCH, *of_docs(*names)]


async def test_what_rules_deny_is_not_found_and_what_they_ask_is_asked(bench: Bench) -> None:
    with mcp_site(tools(60)) as site:
        permissions: Any = {"mcp__docs": "ask", "mcp__docs__op_001": "deny"}
        script = [select("op_001", "echo"), call("mcp__docs__echo", text="hello"), say("Done.")]
        session = await session_of(bench, script, site, permissions=permissions)
        running = asyncio.create_task(run(session))
        await within(until_type(session, "action.opened"))
        (action,) = await session.pending_confirmations()
        assert action.name == "mcp__docs__echo"
        await session.approve(action.id)
        search, echo = await running
        assert "There is no tool 'op_001'" in text_of(search.content)
        assert text_of(echo.content) == "hello"
        assert "op_001" not in requests(bench)[0].tools[0].description
        assert "docs (59)" in requests(bench)[0].tools[0].description


@pytest.mark.parametrize("default", ["deny", "ask"])
async def test_the_search_needs_no_rule(bench: Bench, default: Any) -> None:
    with mcp_site(tools(60)) as site:
        permissions = godwit.Permissions(allow=("mcp__docs__echo",), ask=("*",) if default == "ask" else (), default=default)
        script = [call(SEARCH, query="echo"), call("mcp__docs__echo", text="hello"), say("Done.")]
        session = await session_of(bench, script, site, permissions=permissions, tool_search="always")
        assert [r.status for r in await run(session)] == ["ok", "ok"]


async def test_a_rule_against_the_search_has_all_tools_told(bench: Bench) -> None:
    with mcp_site(tools(60)) as site:
        session = await session_of(bench, [say("Done.")], site, permissions={SEARCH: "deny"})
        await run(session)
        assert len(told(bench)[0]) == 60


async def test_hooks_and_budgets_are_asked_about_found_tools_and_the_search(bench: Bench) -> None:
    seen: list[str] = []

    @godwit.hook("before_tool")
    async def look(given: godwit.HookCall) -> None:
        seen.append(given.payload["tool"])

    with mcp_site(tools(60)) as site:
        script = [select("echo"), call("mcp__docs__echo", text="hello"), call("mcp__docs__echo", text="again"), say("Done.")]
        session = await session_of(bench, script, site, hooks=[look], budget={"tool_calls": 2})
        await run(session)
        assert seen[:2] == [SEARCH, "mcp__docs__echo"]
        assert site.calls == ["echo"]


async def test_the_host_reaches_all_tools(bench: Bench) -> None:
    with mcp_site(tools(60)) as site:
        session = await session_of(bench, [say("Done.")], site)
        assert (await session.tool("mcp__docs__echo", {"text": "hello"})).output == "hello"
        assert len(session.tool_names()) == 60
        assert await session.deferred_tools() == [DeferredTool(name) for name in session.tool_names()]
        await run(session)
        assert told(bench) == [[SEARCH]]  # what a host called says nothing to the model


async def test_commands_show_which_tools_are_looked_for(bench: Bench) -> None:
    with mcp_site(tools(60)) as site:
        session = await session_of(bench, [select("echo"), say("Done.")], site)
        await run(session)
        assert (await said(session, "/tools")).splitlines()[-2:] == [
            "To be looked for with tool_search: 60, of which 1 found",
            "Found (1): mcp__docs__echo",
        ]


async def test_a_server_that_comes_later_takes_no_tool_away_that_the_run_was_told_of(bench: Bench) -> None:
    with mcp_site(tools(10)) as site, mcp_site(tools(200, "other")) as other:
        other.mute = threading.Event()
        runtime = await bench.runtime([], mcp=McpSettings(reach=(site.here, other.here), wait_s=0.5))
        servers = [McpServer("docs", site.url), McpServer("more", other.url)]
        gone_on, released = asyncio.Event(), asyncio.Event()

        async def pause() -> str:
            """Wait."""
            gone_on.set()
            await released.wait()
            return "waited"

        session = await bench.start(
            [call("pause"), call("mcp__docs__echo", text="hello"), say("Done.")], pause, runtime=runtime, mcp_servers=servers
        )
        await within(runtime.mcp.connect(servers[0], session._served()))
        running = asyncio.create_task(run(session))
        await within(gone_on.wait())
        other.mute.set()
        await within(runtime.mcp.connect(servers[1], session._served()))
        released.set()
        done = await running
        first, second, third = told(bench)
        assert len(first) == 11
        assert second == third == [*first, SEARCH]
        assert done[-1].status == "ok"


async def test_a_call_under_way_when_the_process_died_is_done_by_the_next_one(bench: Bench) -> None:
    """A call that had been found is carried out in another process, which knows of it by the log alone."""
    with mcp_site(tools(60)) as site:
        script = [select("echo"), call("mcp__docs__echo", text="hello"), say("Done.")]
        session = await session_of(bench, script, site, permissions={"mcp__docs__echo": "ask"})
        await session.prompt("Go.")
        await within(until_type(session, "run.parked"))
        await bench.close()
        again = await bench.runtime(script, mcp=McpSettings(reach=(site.here,)))
        opened = await again.open_session(session.id)
        (action,) = await opened.pending_confirmations()
        await opened.approve(action.id)
        await within(until_type(opened, "run.finished"))
        assert site.calls == ["echo"]
        assert [started.name for started in await data(opened, ToolStarted)] == [SEARCH, "mcp__docs__echo"]


async def test_names_that_providers_do_not_take_are_told_as_they_are_called(bench: Bench) -> None:
    with mcp_site([*tools(60), listed("pages.get")]) as site:
        session = await session_of(bench, [call(SEARCH, query="get pages"), say("Done.")], site)
        (search,) = await run(session)
        assert "- mcp__docs__pages_get-" in text_of(search.content)
        assert told(bench)[-1] == [SEARCH, *of_docs("pages.get")]


async def test_an_own_tool_of_that_name_is_the_agents_and_nothing_is_deferred(bench: Bench) -> None:
    def tool_search(query: str) -> str:
        """Look something else up."""
        return f"mine: {query}"

    with mcp_site(tools(60)) as site:
        session = await session_of(bench, [call(SEARCH, query="x"), say("Done.")], site, tools=[tool_search])
        (mine,) = await run(session)
        assert text_of(mine.content) == "mine: x"
        assert len(told(bench)[0]) == 61


@pytest.mark.parametrize(
    "wrong", ["often", {"mode": "often"}, {"tools": -1}, {"tokens": -1}, {"share": 0}, {"share": 1.5}, {"more": 1}]
)
def test_what_is_no_policy_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="tool_search"):
        Agent("a", model=MODEL, tool_search=wrong)
