"""Tools of a session's client: told to the model beside the agent's own, answered by the client, kept with the session."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import godwit
from godwit.core.agent import AgentSpec
from godwit.core.errors import ConfigurationError, InvalidArgument
from godwit.core.events import SessionConfigured, ToolFinished
from godwit.core.ids import AgentName
from godwit.core.messages import ToolResult
from godwit.models.script import call

from .conftest import Bench, data, types, until_type, within

NOTHING: dict[str, Any] = {"type": "object", "properties": {}}


def tool(name: str, description: str = "Do it.") -> godwit.ToolDefinition:
    return godwit.ToolDefinition(name, description, NOTHING)


OWN = tool("own")
COLOUR, ALERT = tool("colour"), tool("alert")


@godwit.tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def told(bench: Bench, request: int = -1) -> list[str]:
    assert bench.model is not None
    return [one.name for one in bench.model.requests[request].tools]


async def test_a_clients_tools_stand_beside_the_agents_own_and_are_answered(bench: Bench) -> None:
    session = await bench.start(["Hello.", call("colour") + call("add", a=1, b=2), "It is red.", "Bye."], add, OWN)
    await within(session.send("Hello."))
    assert told(bench) == ["add", "own"]
    assert await session.set_external_tools([COLOUR, {"name": "alert", "description": "Do it.", "parameters": NOTHING}])
    assert await session.external_tools() == [COLOUR, ALERT]
    assert session.tool_names() == ["add", "own", "colour", "alert"]
    run = await session.prompt("Which colour?")
    opened = (await until_type(session, "action.opened")).data
    assert getattr(opened, "kind", None) == "external"
    await until_type(session, "run.parked")
    assert told(bench) == ["add", "own", "colour", "alert"]
    (pending,) = await session.approvals.pending()
    assert await session.answer(pending.id, "red", metadata={"id": "message-1"})
    assert (await within(session.wait(run))).text == "It is red."
    results = [m for m in await session.history() if isinstance(m, ToolResult)]
    assert [(r.name, r.text, r.status) for r in results] == [("colour", "red", "ok"), ("add", "3", "ok")]
    by_name = {finished.name: finished.metadata for finished in await data(session, ToolFinished)}
    assert by_name["colour"] == {"id": "message-1"}
    # The next set takes the place of the client's alone.
    assert await session.set_external_tools([ALERT])
    await within(session.send("Bye."))
    assert told(bench) == ["add", "own", "alert"]


async def test_the_same_set_again_changes_nothing(bench: Bench) -> None:
    session = await bench.start(["Hello."], OWN)
    assert not await session.set_external_tools([]), "it has none"
    assert await session.set_external_tools([COLOUR, ALERT])
    before = await types(session)
    for again in ([COLOUR, ALERT], [ALERT, COLOUR]):
        assert not await session.set_external_tools(again)
    assert await types(session) == before
    assert session.tool_names() == ["own", "colour", "alert"], "in the order in which they were told"
    assert await session.set_external_tools([tool("colour", "Another one."), ALERT])
    assert await session.set_external_tools([])
    assert session.tool_names() == ["own"]
    assert len(await data(session, SessionConfigured)) == 3


async def test_they_are_there_after_a_restart_and_in_forks(bench: Bench) -> None:
    session = await bench.start([call("colour")], OWN)
    await session.set_external_tools([COLOUR])
    await session.prompt("Which colour?")
    await until_type(session, "run.parked")
    await bench.close()
    runtime = await bench.runtime(["never", "It is red."])
    opened = await runtime.open_session(session.id)
    assert await opened.external_tools() == [COLOUR]
    (pending,) = await opened.approvals.pending()
    await opened.answer(pending.id, "red")
    assert (await within(opened.wait())).text == "It is red."
    assert told(bench) == ["own", "colour"]
    fork = await opened.fork()
    assert fork.tool_names() == ["own", "colour"]
    assert await fork.set_external_tools([])
    assert await opened.external_tools() == [COLOUR]


@pytest.mark.parametrize("name", ["own", "add", "read", "todo", "tool_search"])
async def test_a_name_that_the_session_has_is_refused(bench: Bench, name: str) -> None:
    session = await bench.start(["Hello."], add, "files", "todo", OWN)
    assert await session.set_external_tools([COLOUR])
    before = await types(session)
    with pytest.raises(ConfigurationError, match=f"names already: {name}") as refused:
        await session.set_external_tools([ALERT, tool(name)])
    assert refused.value.details["names"] == [name]
    assert await types(session) == before
    assert await session.external_tools() == [COLOUR]


async def test_a_name_of_its_mcp_servers_is_refused_also_while_they_are_away(bench: Bench) -> None:
    server = godwit.McpServer("docs", url="http://127.0.0.1:9/mcp", connect_timeout_s=0.1)
    session = await bench.start(["Hello."], OWN, mcp_servers=[server])
    with pytest.raises(ConfigurationError) as refused:
        await session.set_external_tools([tool("mcp__docs__search"), tool("mcp__other__search")])
    assert refused.value.details["names"] == ["mcp__docs__search"]
    assert await session.set_external_tools([tool("mcp__other__search")])


@pytest.mark.parametrize(
    ("tools", "error", "says"),
    [
        ([COLOUR, COLOUR], ConfigurationError, "tools of one name: colour"),
        ([{"name": "colour"}], ConfigurationError, "tool 0 is to have a name, a description and parameters"),
        ([{"name": 1, "description": "", "parameters": {}}], ConfigurationError, "tool 0 cannot be read"),
        ([tool("not a name")], ConfigurationError, "cannot be a tool's name"),
        ([godwit.ToolDefinition("x", "", {"type": "nonsense"})], ConfigurationError, "tool 'x': the parameters"),
        ([tool(f"t{n}") for n in range(129)], InvalidArgument, "129 tools are too many"),
        ([tool("x", "y" * 262_144)], InvalidArgument, "and may have 262,144"),
    ],
    ids=["twice", "fields", "type", "name", "schema", "many", "large"],
)
async def test_what_is_no_set_of_tools_is_refused_and_changes_nothing(
    bench: Bench, tools: list[Any], error: type[Exception], says: str
) -> None:
    session = await bench.start(["Hello."], OWN)
    before = await types(session)
    with pytest.raises(error, match=says):
        await session.set_external_tools(tools)
    assert await types(session) == before
    assert (await within(session.send("Hello."))).text == "Hello."


@pytest.mark.parametrize("refused", [False, True])
async def test_an_answer_counts_although_the_tool_was_taken_away_meanwhile(bench: Bench, refused: bool) -> None:
    session = await bench.start([call("colour") + call("alert"), "So be it."], OWN)
    await session.set_external_tools([COLOUR, ALERT])
    run = await session.prompt("Which colour?")
    await until_type(session, "run.parked")
    first, second = await session.approvals.pending()
    await session.set_external_tools([])
    # The run is driven with one answer, while the other call still waits for its own.
    await session.answer(first.id, "red")
    assert [action.id for action in await session.approvals.pending()] == [second.id]
    await (session.deny(second.id, "not now") if refused else session.answer(second.id, "seen"))
    assert (await within(session.wait(run))).text == "So be it."
    results = [(m.text, m.status) for m in await session.history() if isinstance(m, ToolResult)]
    assert results[0] == ("red", "ok")
    assert results[1] == (("The user denied this call: not now", "denied") if refused else ("seen", "ok"))
    assert told(bench) == ["own"]


async def test_what_others_change_of_the_agent_meanwhile_is_not_lost(bench: Bench) -> None:
    session = await bench.start(["Hello."], OWN)
    poet = AgentSpec(AgentName("poet"), ("inherit",), description="Writes a line.")
    await asyncio.gather(session.set_external_tools([COLOUR]), session.register_agents([poet]))
    again = await bench.runtimes[0].open_session(session.id)
    assert again.config.spec.client_tools == (COLOUR,)
    assert list(again.config.spec.subagents) == ["poet"]
