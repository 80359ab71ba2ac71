"""What servers ask within calls: in both generations of the protocol, over each transport."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.engine.conftest import MODEL, Bench, data, until_type, within
from tests.parts import mcp_asker
from tests.parts.mcp_asker import NAME
from tests.parts.mcp_asking import answers, asked, asking, heard, server_over, until_heard

from godwit import Agent
from godwit.core.events import ToolAsked, ToolFinished, ToolStarted
from godwit.core.messages import text_of
from godwit.models.script import call

WAYS = (
    "new-http",
    pytest.param("new-stdio", marks=pytest.mark.slow),
    pytest.param("old-http", marks=pytest.mark.slow),
    "old-stdio",
    pytest.param("old-sse", marks=pytest.mark.slow),
)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "heard"


async def test_a_form_is_asked_and_its_answer_reaches_the_server(bench: Bench, log: Path, way: str) -> None:
    async with asking(bench, log, way, [{"form": "Who is it for?"}]) as session:
        run = await session.prompt("Go.")
        action = await asked(session)
        await until_type(session, "run.parked")
        assert (action.kind, action.message) == ("question", "The MCP server 'desk' asks: Who is it for?")
        assert action.schema == NAME
        assert await session.answer(action.action, {"name": "Ada"}) is True
        assert await session.answer(action.action, {"name": "Bea"}) is False
        assert (await within(session.wait(run))).text == "done"
        assert await answers(session) == [["accept", {"name": "Ada", "size": 3}]]
        assert [one.resumed for one in await data(session, ToolStarted)] == [False, True]
    assert [line for line in heard(log) if line != "resumed"] == ["call ", "answered"], "it was called once"


async def test_several_questions_of_all_kinds(bench: Bench, log: Path, way: str) -> None:
    url = "https://login.example/x?y=1"
    steps = [{"form": "First?"}, {"url": url}, {"roots": True}, {"form": "Last?"}]
    async with asking(bench, log, way, steps) as session:
        await session.prompt("Go.")
        await session.answer((await asked(session)).action, {"name": "Ada"})
        second = await asked(session, 2)
        assert (second.kind, second.url) == ("question", url)
        assert second.message == "The MCP server 'desk' asks you to open an address: Please log in."
        await session.answer(second.action, "done")
        await session.deny((await asked(session, 3)).action)
        first, opened, roots, last = await answers(session)
        assert (first, opened, last) == (["accept", {"name": "Ada", "size": 3}], "accept", "decline")
        assert [uri.removesuffix("/") for uri in roots] == ([bench.workspace.as_uri()] if "stdio" in way else [])


async def test_what_is_asked_at_once_is_asked_one_after_the_other(bench: Bench, log: Path, way: str) -> None:
    async with asking(bench, log, way, [{"all": {"a": {"form": "A?"}, "b": {"form": "B?"}}}]) as session:
        await session.prompt("Go.")
        for number in (1, 2):
            action = await asked(session, number)
            await session.answer(action.action, {"name": action.message[-2]})
        (found,) = await answers(session)
        assert {key: answer[1]["name"] for key, answer in found.items()} == {"a": "A", "b": "B"}
    assert heard(log).count("call ") == 1


async def test_nobody_can_be_asked(bench: Bench, log: Path, way: str) -> None:
    async with asking(bench, log, way, [{"form": "Who?"}, {"url": "https://login.example"}]) as session:
        run = await session.prompt("Go.", unattended=True)
        await within(session.wait(run))
        assert await answers(session) == ["cancel", "cancel"]
        direct = await session.tool("mcp__desk__ask", {"steps": [{"form": "Who?"}]})
        assert (direct.status, direct.output) == ("ok", '["cancel"]')


async def test_an_interrupt_ends_the_call_on_the_server(bench: Bench, log: Path, way: str) -> None:
    async with asking(bench, log, way, [{"form": "Who?"}, {"form": "Who else?"}]) as session:
        run = await session.prompt("Go.")
        await asked(session)
        await until_type(session, "run.parked")
        await session.interrupt()
        assert (await within(session.wait(run))).outcome == "interrupted"
        if way.startswith("old"):
            await until_heard(log, "cancelled")
    assert heard(log).count("call ") == 1


async def test_a_message_goes_before_the_question(bench: Bench, log: Path, way: str) -> None:
    async with asking(bench, log, way, [{"form": "Who?"}], then="changed") as session:
        run = await session.prompt("Go.")
        await asked(session)
        await session.steer("Never mind.")
        assert (await within(session.wait(run))).text == "changed"
        assert await answers(session) == ["cancel"]


async def test_two_calls_ask_side_by_side(bench: Bench, log: Path, way: str) -> None:
    with server_over(way, log) as (server, settings):
        one = call("mcp__desk__ask", steps=[{"form": "One?"}], who="1")
        two = call("mcp__desk__ask", steps=[{"form": "Two?"}], who="2")
        runtime = await bench.runtime([one + two, "done"], mcp=settings)
        session = await runtime.start_session(Agent("tester", model=MODEL, mcp_servers=[server]), workspace=bench.workspace)
        run = await session.prompt("Go.")
        for number in (1, 2):
            action = await asked(session, number)
            await session.answer(action.action, {"name": action.message.split(": ")[1]})
        assert (await within(session.wait(run))).text == "done"
        finished = await data(session, ToolFinished)
        told = sorted(json.loads(text_of(one.content))[0][1]["name"] for one in finished)
        assert told == ["One?", "Two?"], "each got the answer to what it had asked"
        await bench.close()


async def test_a_question_of_a_subagent_is_answered_from_above(bench: Bench, log: Path) -> None:
    from godwit.models.script import ScriptedModel

    with server_over("old-http", log) as (server, settings):
        child = Agent("child", model="scripted:child", description="asks", mcp_servers=[server])
        models = {
            MODEL: ScriptedModel([call("task", agent="child", description="d", prompt="p"), "done"], MODEL),
            "scripted:child": ScriptedModel([call("mcp__desk__ask", steps=[{"form": "Who?"}]), "c"], "scripted:child"),
        }
        runtime = await bench.runtime(models=models, mcp=settings)
        session = await bench.start([], runtime=runtime, subagents=[child], mcp_servers=[server])
        run = await session.prompt("Go.")

        async def pending() -> Any:
            async for _ in session.follow(0):
                if found := await session.approvals.pending():
                    return found[0]
            raise AssertionError

        action = await within(pending())
        assert (action.message, action.path) == ("The MCP server 'desk' asks: Who?", ("child",))
        await session.answer(action.id, {"name": "Ada"})
        assert (await within(session.wait(run))).text == "done"
        await bench.close()
    assert heard(log) == ["call ", "answered"]


async def test_a_state_alone_is_sent_back_at_a_bearable_pace(bench: Bench, log: Path) -> None:
    async with asking(bench, log, "new-http", [{"idle": 3}, {"form": "Who?"}, {"idle": 1}]) as session:
        await session.prompt("Go.")
        await session.answer((await asked(session)).action, {"name": "Ada"})
        assert await answers(session) == [["accept", {"name": "Ada", "size": 3}]]
    assert heard(log) == ["call ", *["resumed"] * 4, "answered", "resumed"]


async def test_what_is_kept_is_the_servers_own_to_the_byte(bench: Bench, log: Path) -> None:
    async with asking(bench, log, "new-http", [{"form": "Who?", "pad": 7}]) as session:
        await session.prompt("Go.")
        await session.answer((await asked(session)).action, {"name": "Ada"})
        await answers(session)
        (told,) = await data(session, ToolAsked)
        state = json.loads(told.state)
        assert state["request_state"] == mcp_asker.STATE + "[0, 0, []]" + " " * 7
