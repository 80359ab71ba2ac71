"""Questions of calls on the command line: forms field by field, addresses, answers from outside."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import godwit
from godwit import Question, ToolContext, ToolOutput
from godwit.core.events import ToolFinished, UserAnswer
from godwit.core.facts import PendingAction
from godwit.core.ids import ActionId, AgentName, CallId
from godwit.core.messages import Text
from godwit.engine.session import Session
from godwit.host.runtime import Runtime
from godwit.models.script import Script, ScriptedModel, call
from godwit.surfaces.cli_agent import AgentFlags
from godwit.surfaces.cli_forms import Forms, Said, question_lines
from godwit.surfaces.cli_keyboard import Keyboard
from tests.surfaces.terminal import MODEL, Command, Terminal, record

QUESTIONS = [
    {"question": "Which colour?", "options": [{"label": "red"}, {"label": "blue", "description": "as the sea"}]},
    {"question": "What is it called?", "header": "Name"},
]
TURNS: Script = [call("ask_user", questions=QUESTIONS), "So be it."]
ANSWER = {"answer_1": "blue", "answer_2": "Ada"}


@pytest.fixture
async def asking(tmp_path: Path) -> Path:
    """A run that asks two things."""

    async def answer(session: Session) -> None:
        async for event in session.follow():
            if event.type == "run.parked":
                await session.answer((await session.approvals.pending())[0].id, ANSWER)
                return

    flags = AgentFlags(tools="ask_user")
    return await record(tmp_path / "asking.jsonl", TURNS, flags=flags, meanwhile=answer)


async def answers(command: Command) -> list[Any]:
    return [e.data.arguments for e in await command.log() if isinstance(e.data, UserAnswer)]


async def test_a_form_is_filled_in_field_by_field(command: Command, asking: Path) -> None:
    async with Terminal(command, "run", "Go.", "--tools", "ask_user", "--replay", str(asking)) as terminal:
        await terminal.shows("? ask_user asks: 2 questions")
        await terminal.shows("/d declines, /l leaves it waiting, /b goes back a field")
        await terminal.shows("Which colour? (one of these, may be left out)")
        await terminal.shows("2  blue: as the sea")
        terminal.type("green\n")
        await terminal.shows("'green' is none of red, blue")
        terminal.type("2\n")
        await terminal.shows("Name (text)")
        await terminal.shows("What is it called?")
        terminal.type("\n")
        await terminal.shows("this one is needed")
        terminal.type("Eve\n")
        await terminal.shows("In your own words (text, may be left out)")
        terminal.type("/b\n")
        await terminal.shows("'Eve' > ")
        terminal.type("Ada\n")
        await terminal.shows("In your own words")
        terminal.type("\n")
        await terminal.shows("Name: Ada")
        await terminal.shows("send this? [y]es")
        terminal.type("y\n")
        await terminal.shows("So be it.")
        assert await terminal.code() == 0
    assert await answers(command) == [ANSWER]
    assert "\x1b[8m" not in terminal.text


async def test_a_form_is_declined_by_a_key(command: Command, asking: Path) -> None:
    async with Terminal(command, "run", "Go.", "--tools", "ask_user", "--replay", str(asking)) as terminal:
        await terminal.shows("Which colour?")
        terminal.type("/d\n")
        await terminal.shows("why not? (may be empty): ")
        terminal.type("no time\n")
        await terminal.shows("denied: no time")
        await terminal.code()
    results = [e.data for e in await command.log() if isinstance(e.data, ToolFinished)]
    assert next(text.text for text in results[0].content if isinstance(text, Text)).startswith(
        "The user does not want to answer (no time)"
    )


async def test_a_parked_form_is_shown_and_answered_from_outside(command: Command, asking: Path) -> None:
    parked = await command.run("run", "Go.", "--tools", "ask_user", "--replay", str(asking))
    assert parked.code == 4
    assert "answer_2 Name (text): What is it called?" in parked.out
    assert "answer_2=... --drive" in parked.out
    (listed,) = (await command.run("answer", "last", "--list", "--json")).lines
    assert (listed["kind"], listed["asking"], listed["message"]) == ("question", True, "2 questions")
    assert listed["schema"]["required"] == ["answer_2"]
    shown = await command.run("approve", "last", "--list")
    assert "ask_user asks:" in shown.out
    nothing = await command.run("answer", "last")
    assert (nothing.code, "no answer is given" in nothing.err) == (2, True), nothing
    for words, told in (
        (("answer_1=red",), "the form wants 'answer_2'"),
        (("answer_1=green", "answer_2=Ada"), "'green' is none of red, blue"),
        (("Ada",), "answer_1=VALUE answer_2=VALUE"),
        (('{"answer_2": 3}',), "3 is no text"),
        (("act_", "answer_2=Ada", "nonsense"), "put the text in quotes"),
    ):
        wrong = await command.run("answer", "last", *words)
        assert (wrong.code, told in wrong.err) == (2, True), (words, wrong)
    assert await answers(command) == []
    done = await command.run(
        *("answer", "last", listed["action"][:12], "answer_1=2", "answer_2=Ada", "--drive", "--replay", str(asking))
    )
    assert done.code == 0, done
    assert await answers(command) == [ANSWER]


async def test_deny_declines_a_question_and_asking_at_the_terminal(command: Command, asking: Path) -> None:
    await command.run("run", "Go.", "--tools", "ask_user", "--replay", str(asking))
    async with Terminal(command, "answer", "last") as terminal:
        await terminal.shows("Which colour?")
        terminal.type("/l\n")
        assert await terminal.code() == 4
    assert await answers(command) == []
    denied = await command.run("deny", "last", "--reason", "no time")
    assert (denied.code, "denied" in denied.out) == (0, True), denied


async def test_the_chat_answers_a_form(command: Command, asking: Path) -> None:
    async with Terminal(command, "chat", "--tools", "ask_user", "--replay", str(asking)) as terminal:
        await terminal.shows("> ")
        terminal.type("Go.\n")
        await terminal.shows("ask_user: y to answer, n REASON to decline")
        terminal.type("y\n")
        await terminal.shows("one of these, may be left out")
        terminal.type("blue\n")
        await terminal.shows("Name (text)")
        terminal.type("Ada\n")
        await terminal.shows("In your own words (text, may be left out)")
        terminal.type("\n")
        await terminal.shows("send this?")
        terminal.type("y\n")
        await terminal.shows("So be it.")
        terminal.type("/quit\n")
        assert await terminal.code() == 0
    assert await answers(command) == [ANSWER]


# --- what no built-in tool asks --------------------------------------------------------------------------------------


def question(**fields: Any) -> PendingAction:
    given = {"kind": "question", "name": "order", "message": "Well?", **fields}
    return PendingAction(
        ActionId("act_1"),
        given.pop("kind"),
        CallId("call_1"),
        given.pop("name"),
        given.pop("arguments", {}),
        given.pop("message"),
        0,
        0.0,
        asking=True,
        **given,
    )


class Lines:
    """A view that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def show(self, item: object) -> None: ...
    def settle(self) -> None: ...
    def say(self, text: str, style: str = "dim") -> None:
        self.lines.append(text)


async def typed(action: PendingAction, text: str) -> tuple[Said | None, list[str]]:
    """What comes of typing this at the question."""
    reader, writer = os.pipe()
    os.write(writer, text.encode())
    os.close(writer)
    view = Lines()
    try:
        return await Forms(view, Keyboard(reader)).ask(action), view.lines
    finally:
        os.close(reader)


async def test_an_address_is_shown_with_its_host_and_opened_only_on_demand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {opened}\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(browser))
    login = question(url="https://login.example/x?y=1", name="mcp__db__query", path=(AgentName("research"),))
    said, lines = await typed(login, "what\n\n")
    assert said == Said("result", {})
    assert not opened.exists()
    assert lines == [
        "research > the MCP server db (its tool query) asks:",
        "  Well?",
        "  address: https://login.example/x?y=1",
        "  at the host: login.example",
        "  'what' is none of Enter, o, d, l",
    ]
    said, lines = await typed(login, "o\n\n")
    assert (said, lines[-1], opened.read_text()) == (Said("result", {}), "  opened", login.url)
    assert (await typed(login, "l\n"))[0] is None
    assert (await typed(login, ""))[0] is None
    assert (await typed(login, "d\nno\n"))[0] == Said("deny", reason="no")
    _, lines = await typed(question(url="https://lоgin.example/"), "\n")
    assert "  at the host: xn--lgin-55d.example" in lines
    _, lines = await typed(question(url="file:///etc/passwd"), "o\n\n")
    assert "  'o' is none of Enter, d, l" in lines


async def test_nothing_that_a_server_says_reaches_the_terminal_as_more_than_text() -> None:
    form = {
        "type": "object",
        "properties": {"a\x1b[2J": {"type": "string", "title": "T\x1b]0;x\x07", "description": "one\ntwo\x1b[A\u202e"}},
    }
    action = question(message="Hello\x1b[2J\n  order asks:", schema=form, name="mcp__e\x1b[31mvil__x")
    _, lines = await typed(action, "/l\n")
    shown = [*lines, *(line.text for line in question_lines(action))]
    assert not any("\x1b" in line or "\x07" in line or "\u202e" in line for line in shown), shown
    assert "  │   order asks:" in lines, "what has many lines stands behind a bar"
    odd = question(url="https://a.example/\x1b[2J\nat the host: b.example")
    assert not any("\x1b" in line or "\n" in line for line in (await typed(odd, "\n"))[1])


async def test_defaults_secrets_and_forms_without_fields() -> None:
    form = {
        "type": "object",
        "properties": {"size": {"type": "integer", "default": 3}, "password": {"type": "string"}},
        "required": ["size", "password"],
    }
    said, lines = await typed(question(schema=form), "\nhunter2\ny\n")
    assert said == Said("result", {"size": 3, "password": "hunter2"})
    assert "hunter2" not in "\n".join(lines)
    assert "    password: ••••••" in lines
    said, _ = await typed(question(schema=form), "4\nhunter2\nc\n\n\ny\n")
    assert said == Said("result", {"size": 4, "password": "hunter2"})
    assert (await typed(question(schema={"type": "object", "properties": {}}), "y\n"))[0] == Said("result", {})
    one = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    assert (await typed(question(schema=one), "maybe\nyes\n"))[0] == Said("result", {"ok": True})


@godwit.tool
async def order(ctx: ToolContext) -> ToolOutput:
    """Ask two things that are no forms."""
    if ctx.resumed is None:
        login = Question("login", "url", "Please log in.", url="https://login.example/x")
        return ToolOutput((), questions=(login, Question("ask", "approval", "May I?", arguments={"prompt": "hm"})))
    return ToolOutput((Text("; ".join(f"{one.key} {one.action}" for one in ctx.resumed.answers)),))


async def test_an_address_and_an_approval_of_a_call_from_outside(command: Command) -> None:
    command.database.parent.mkdir(parents=True)
    agent = godwit.Agent("clerk", model=MODEL, tools=[order])
    models = {MODEL: ScriptedModel([call("order"), "done"], MODEL)}
    async with await Runtime.open(command.database, models=models) as runtime:
        session = await runtime.start_session(agent, workspace=command.folder)
        await session.prompt("Go.")
        await command.until("run.parked")
        (listed,) = (await command.run("answer", "last", "--list", "--json")).lines
        assert (listed["url"], listed["schema"]) == ("https://login.example/x", None)
        assert "at the host: login.example" in (await command.run("answer", "last", "--list")).out
        assert (await command.run("answer", "last", "done")).code == 0
        await command.until("action.opened", count=2)
        shown = (await command.run("approve", "last", "--list")).out
        assert "order asks for leave to do this:" in shown
        assert "  May I?\n  prompt: hm" in shown
        assert (await command.run("approve", "last")).code == 0
        assert (await session.wait()).text == "done"
    results = [e.data for e in await command.log() if isinstance(e.data, ToolFinished)]
    assert json.dumps([block.text for block in results[0].content if isinstance(block, Text)]) == json.dumps(
        ["login accept; ask accept"]
    )
