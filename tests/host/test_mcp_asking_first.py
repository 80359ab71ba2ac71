"""Servers that ask something before they let a resource be read, or make a prompt: a call of the model's asks as a tool
does; who reads by the session's own methods, or types a prompt's command, is told what is asked and gives the answers."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.engine.conftest import MODEL, Bench, data, until_type, within
from tests.parts.mcp_asker import NAME, uri_of
from tests.parts.mcp_asking import answers, asked, asking, calling, failure, heard, server_over, until_heard
from tests.surfaces.server.running import running

import godwit
from godwit import Agent
from godwit.core.errors import InvalidArgument, McpInputRequired, McpServerFailed
from godwit.core.events import ToolStarted, UserMessage
from godwit.core.messages import text_of
from godwit.core.questions import Resumption
from godwit.models.script import ScriptedModel, say
from godwit.surfaces.api import Api

READ = "read_mcp_resource"
WHO: list[Any] = [{"form": "Who?"}]
ADA = {"name": "Ada"}
FILLED = ["accept", {"name": "Ada", "size": 3}]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "heard"


# --- a model's call ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["new-http", pytest.param("new-stdio", marks=pytest.mark.slow), "old-stdio"])
async def test_a_model_that_reads_has_a_person_asked(bench: Bench, log: Path, way: str) -> None:
    async with asking(bench, log, way, [*WHO, {"url": "https://login.example"}, {"roots": True}], tool=READ) as session:
        await session.prompt("Go.")
        action = await asked(session)
        await until_type(session, "run.parked")
        assert (action.kind, action.name, action.message) == ("question", READ, "The MCP server 'desk' asks: Who?")
        assert action.schema == NAME
        await session.answer(action.action, ADA)
        await session.answer((await asked(session, 2)).action, "done")
        assert (await answers(session))[:2] == [FILLED, "accept"]
        assert [one.resumed for one in await data(session, ToolStarted)] == [False, True, True]
    assert heard(log).count("call ") == 1, "it was asked for once"


async def test_nobody_can_be_asked_for_a_model_that_reads(bench: Bench, log: Path) -> None:
    async with asking(bench, log, "new-http", WHO, tool=READ) as session:
        await within(session.wait(await session.prompt("Go.", unattended=True)))
        assert await answers(session) == ["cancel"]


async def test_an_interrupt_lets_go_of_what_an_older_server_holds(bench: Bench, log: Path) -> None:
    async with asking(bench, log, "old-stdio", [*WHO, *WHO], tool=READ) as session:
        run = await session.prompt("Go.")
        await until_type(session, "run.parked")
        await session.interrupt()
        assert (await within(session.wait(run))).outcome == "interrupted"
        await until_heard(log, "cancelled")


SAMPLE = {"messages": [{"role": "user", "content": {"type": "text", "text": "What is it?"}}], "maxTokens": 50}


async def test_the_model_may_be_asked_for_a_model_that_reads(bench: Bench, log: Path) -> None:
    def turns(request: Any) -> int:
        return 2 if request.turn == 0 else len([e for e in request.entries if type(e.message).__name__ == "Assistant"])

    model = ScriptedModel([calling(READ, [{"sample": SAMPLE}]), "done", "It is tea."], MODEL, select=turns)
    with server_over("new-http", log, sampling="allow") as (server, settings):
        runtime = await bench.runtime(models={MODEL: model}, mcp=settings)
        session = await runtime.start_session(Agent("tester", model=MODEL, mcp_servers=[server]))
        await session.prompt("Go.")
        assert await answers(session) == [["It is tea.", MODEL, "endTurn"]]
        await bench.close()


async def test_a_server_that_may_not_ask_the_model_is_told_so(bench: Bench, log: Path) -> None:
    async with asking(bench, log, "new-http", [{"sample": SAMPLE}], tool=READ, sampling="deny") as session:
        await session.prompt("Go.")
        assert "wants to ask the model something, which it may not" in (await failure(session))[1]


# --- the session's own methods ----------------------------------------------------------------------------------------


async def test_who_reads_is_told_what_is_asked_and_gives_the_answers(bench: Bench, log: Path) -> None:
    async with asking(bench, log, "new-http", [*WHO, {"all": {"a": {"form": "A?"}, "b": {"roots": True}}}]) as session:
        uri = uri_of([*WHO, {"all": {"a": {"form": "A?"}, "b": {"roots": True}}}])
        with pytest.raises(McpInputRequired, match="The MCP server 'desk' asks: Who") as first:
            await within(session.read_mcp_resource("desk", uri))
        (question,) = first.value.questions
        assert (question.kind, question.schema, first.value.details["server"]) == ("form", NAME, "desk")
        given = first.value.answered({question.key: ADA})
        with pytest.raises(McpInputRequired, match="asks: A") as second:
            await session.read_mcp_resource("desk", uri, answers=given)
        (found,) = await session.read_mcp_resource("desk", uri, answers=second.value.answered({"a": "decline"}))
        assert found.text is not None
        assert json.loads(found.text) == [FILLED, {"a": "decline", "b": []}]
    assert heard(log) == ["call ", "resumed", "answered", "resumed", "answered"], "and each answer was sent once"


async def test_answers_are_looked_at_before_they_are_sent(bench: Bench, log: Path) -> None:
    async with asking(bench, log, "new-http", WHO) as session:
        uri = uri_of(WHO)
        with pytest.raises(McpInputRequired) as info:
            await within(session.read_mcp_resource("desk", uri))
        it = info.value
        (key,) = [one.key for one in it.questions]
        with pytest.raises(InvalidArgument, match="the form wants 'name'"):
            await session.read_mcp_resource("desk", uri, answers=it.answered({key: {}}))
        with pytest.raises(InvalidArgument, match="'else' is not asked"):
            it.answered({"else": ADA})
        with pytest.raises(InvalidArgument, match="neither the fields of a form nor accept, decline or cancel"):
            it.answered({key: "perhaps"})  # type: ignore[dict-item]
        good = it.answered({key: ADA})
        with pytest.raises(InvalidArgument, match="answers to what was asked for another request"):
            await session.read_mcp_resource("desk", uri_of([]), answers=good)
        for state in ("", "{}", json.dumps({"of": "", "state": json.dumps({"type": "held", "id": "x", "asks": {}})})):
            with pytest.raises(InvalidArgument, match="these are no answers"):
                await session.read_mcp_resource("desk", uri, answers=Resumption(state, good.answers))
        assert heard(log) == ["call "]
        (found,) = await session.read_mcp_resource("desk", uri, answers=good)
        assert json.loads(found.text or "") == [FILLED]


async def test_an_older_server_is_told_that_nobody_can_be_asked(bench: Bench, log: Path) -> None:
    async with asking(bench, log, "old-stdio", WHO) as session:
        (found,) = await within(session.read_mcp_resource("desk", uri_of([*WHO, *WHO])))
        assert json.loads(found.text or "") == ["cancel", "cancel"]
        made = await session.get_mcp_prompt("desk", "ask", {"steps": json.dumps(WHO)})
        assert text_of(made.messages[0].content) == '["cancel"]'


async def test_no_model_is_asked_outside_of_calls(bench: Bench, log: Path) -> None:
    async with asking(bench, log, "new-http", WHO, sampling="allow") as session:
        with pytest.raises(McpServerFailed, match="which it may only within a call"):
            await within(session.read_mcp_resource("desk", uri_of([{"sample": SAMPLE}])))


async def test_by_the_same_names_on_a_server(tmp_path: Path, log: Path) -> None:
    model = ScriptedModel([say("Read.")], MODEL)
    with (
        server_over("new-stdio", log) as (desk, settings),
        running(tmp_path / "g.db", models={MODEL: model}, dialects=[Api], mcp=settings) as server,
    ):
        async with godwit.connect(server.url) as runtime:
            session = await runtime.start_session(Agent("a", model=MODEL), own_workspace=True)
            await session.add_mcp_server(desk)
            with pytest.raises(McpInputRequired, match="asks: Who") as info:
                await within(session.read_mcp_resource("desk", uri_of(WHO)))
            (question,) = info.value.questions
            assert (question.kind, question.schema) == ("form", NAME)
            (found,) = await session.read_mcp_resource("desk", uri_of(WHO), answers=info.value.answered({question.key: ADA}))
            assert json.loads(found.text or "") == [FILLED]
            arguments = {"steps": json.dumps(WHO)}
            with pytest.raises(McpInputRequired) as other:
                await session.get_mcp_prompt("desk", "ask", arguments)
            made = await session.get_mcp_prompt(
                "desk", "ask", arguments, answers=other.value.answered({question.key: "decline"})
            )
            assert text_of(made.messages[0].content) == '["decline"]'


# --- a prompt's command -----------------------------------------------------------------------------------------------


async def typed(session: Any, steps: list[Any], behind: str = "") -> Any:
    found = await within(session.command(f"/mcp__desk__ask {shlex.quote(json.dumps(steps))}{behind}"))
    assert found is not None
    return found


async def test_a_prompts_command_says_what_is_asked_and_takes_the_answers(bench: Bench, log: Path) -> None:
    steps = [*WHO, {"all": {"a": {"form": _form("B?", "town")}, "b": {"url": "https://login.example/x"}}}]
    with server_over("new-http", log) as (server, settings):
        runtime = await bench.runtime(["done"], mcp=settings)
        session = await runtime.start_session(Agent("tester", model=MODEL, mcp_servers=[server]), workspace=bench.workspace)
        told = await typed(session, steps)
        assert told.error == "invalid_argument"
        assert "The MCP server 'desk' asks: Who?\n  name (text)\n  size (a whole number; if left out: 3)" in told.text
        assert told.text.endswith("-- name=VALUE [size=VALUE]")

        missing = await typed(session, steps, " -- name=Ada")
        assert (missing.error, "town" in missing.text) == ("invalid_argument", True), "the second round asks as well"
        surplus = await typed(session, steps, " -- name=Ada town=Ulm siez=4")
        assert "behind -- stands 'siez=4', and its server has not asked for that" in surplus.text
        assert await data(session, UserMessage) == []

        result = await within(
            session.send(f"/mcp__desk__ask {shlex.quote(json.dumps(steps))} -- name=Ada size=4 town='Ulm an der Donau'")
        )
        assert result.text == "done"
        (message,) = await data(session, UserMessage)
        first, second = json.loads(text_of(message.content))
        assert first == ["accept", {"name": "Ada", "size": 4}]
        assert second == {"a": ["accept", {"town": "Ulm an der Donau"}], "b": "accept"}
        await bench.close()


async def test_a_lone_answer_and_one_of_defaults(bench: Bench, log: Path) -> None:
    with server_over("new-http", log) as (server, settings):
        runtime = await bench.runtime(["done"] * 3, mcp=settings)
        session = await runtime.start_session(Agent("tester", model=MODEL, mcp_servers=[server]), workspace=bench.workspace)
        one = [{"form": _form("Where?", "town")}]
        for behind, steps in (
            (" -- Ulm", one),
            (' -- \'{"town": "Ulm"}\'', one),
            (" --", [{"form": _form("Where?", "town", default="Ulm")}]),
        ):
            assert (await typed(session, steps, behind)).error is None
            await within(session.wait())
            message = (await data(session, UserMessage))[-1]
            assert text_of(message.content) == '[["accept", {"town": "Ulm"}]]'
        nothing = await typed(session, [], " -- town=Ulm")
        assert "its server has not asked for that" in nothing.text
        await bench.close()


async def test_a_server_that_asks_for_ever_ends_a_command(bench: Bench, log: Path) -> None:
    async with asking(bench, log, "new-http", WHO) as session:
        found = await typed(session, WHO * 30, " -- name=Ada")
        assert "its server asks more than 20 times" in found.text


def _form(message: str, field: str, **about: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": {field: {"type": "string", **about}}}
    return {"message": message, "requestedSchema": schema if about else {**schema, "required": [field]}}


def test_the_error_is_the_same_after_it_was_sent() -> None:
    asked = McpInputRequired("x", questions=[godwit.Question("k", "url", "m", url="https://a.example")], state="s")
    again = McpInputRequired("x", **msgspec.json.decode(msgspec.json.encode(asked.details)))
    assert (again.questions, again.state) == (asked.questions, "s")
