"""The command line on a terminal: what streams, what is asked, what Ctrl-C does."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from godwit.core.events import RunFinished, ToolFinished, ToolStarted, UserAnswer
from godwit.engine.session import Session
from godwit.host.runtime import Runtime
from godwit.models.replay import Recorder
from godwit.models.script import Script, ScriptedModel, call, say, think
from godwit.surfaces.cli_agent import AgentFlags
from tests.surfaces.terminal import MODEL, Command, Terminal, record

CTRL_C = "\x03"


@pytest.fixture
async def asking(tmp_path: Path) -> Path:
    """A run that calls bash once."""
    turns: Script = [think("Hm. ") + say("I look.") + call("bash", command="echo one && echo two"), "That was it."]
    return await record(tmp_path / "asking.jsonl", turns)


async def test_it_streams_and_asks_and_goes_on_after_a_yes(command: Command, asking: Path) -> None:
    async with Terminal(command, "run", "Go.", "--replay", str(asking)) as terminal:
        await terminal.shows("I look.")
        await terminal.shows("approval needed: bash echo one && echo two")
        await terminal.shows("nswer later: ")
        terminal.type("what?\n")
        await terminal.shows("none of y, n, e, s, r, a")
        await terminal.shows("nswer later: ")
        terminal.type("y\n")
        await terminal.shows("✓ bash echo one && echo two  (exit 0")
        await terminal.shows("two")
        await terminal.shows("That was it.")
        await terminal.shows("— done: 2 turns, 1 call")
        assert await terminal.code() == 0
    assert terminal.text.count("I look.") == 1, "what was streamed is not said again"
    assert "\x1b[?25l" not in terminal.text


async def test_no_with_a_reason(command: Command, tmp_path: Path) -> None:
    async def deny(session: Session) -> None:
        async for event in session.follow():
            if event.type == "run.parked":
                await session.deny((await session.approvals.pending())[0].id, "not on Fridays")
                return

    turns: Script = [call("bash", command="rm -rf ."), "Then not."]
    recording = await record(tmp_path / "deny.jsonl", turns, flags=AgentFlags(), meanwhile=deny)
    async with Terminal(command, "run", "Go.", "--replay", str(recording)) as terminal:
        await terminal.shows("nswer later: ")
        terminal.type("n not on Fridays\n")
        await terminal.shows("⊘ bash  (denied)")
        await terminal.shows("Then not.")
        assert await terminal.code() == 0
    answers = [e.data for e in await command.log() if isinstance(e.data, UserAnswer)]
    assert [(a.decision, a.reason) for a in answers] == [("deny", "not on Fridays")]


@pytest.mark.slow
async def test_edited_arguments_inline_and_in_an_editor(command: Command, asking: Path, tmp_path: Path) -> None:
    async with Terminal(command, "run", "Go.", "--replay", str(asking), EDITOR="", VISUAL="") as terminal:
        await terminal.shows("nswer later: ")
        terminal.type("e\n")
        await terminal.shows("as they are): ")
        terminal.type('{"command": \n')
        await terminal.shows("that is not JSON")
        await terminal.shows("nswer later: ")
        terminal.type("e\n")
        await terminal.shows("as they are): ")
        terminal.type('{"command": "echo three"}\n')
        await terminal.shows("✓ bash echo three")
        assert await terminal.code() == 0
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i.bak s/one/four/ "$1"\n')
    editor.chmod(0o755)
    async with Terminal(command, "run", "Go.", "--replay", str(asking), EDITOR=str(editor)) as terminal:
        await terminal.shows("nswer later: ")
        terminal.type("e\n")
        await terminal.shows("✓ bash echo four && echo two")
        assert await terminal.code() == 0
    started = [e.data for e in await command.log() if isinstance(e.data, ToolStarted)]
    assert [(s.arguments["command"], s.edited) for s in started] == [("echo four && echo two", True)]


@pytest.mark.slow
async def test_answer_later_parks_and_resume_asks_again(command: Command, asking: Path) -> None:
    async with Terminal(command, "run", "Go.", "--replay", str(asking)) as terminal:
        await terminal.shows("nswer later: ")
        terminal.type("a\n")
        await terminal.shows("parked: it waits for an answer")
        assert await terminal.code() == 4
    async with Terminal(command, "resume", "last", "--replay", str(asking)) as terminal:
        await terminal.shows("goes on from where it was (it waits for an answer")
        await terminal.shows("nswer later: ")
        terminal.type("yes\n")
        await terminal.shows("— done")
        assert await terminal.code() == 0


@pytest.mark.slow
async def test_an_answer_from_elsewhere_takes_the_question_away(command: Command, asking: Path) -> None:
    async with Terminal(command, "run", "Go.", "--replay", str(asking)) as terminal:
        await terminal.shows("nswer later: ")
        approved = await command.run("approve", "last")
        assert approved.code == 0, approved.err
        await terminal.shows("answered elsewhere")
        await terminal.shows("— done")
        assert await terminal.code() == 0


async def test_ctrl_c_interrupts_a_command_and_keeps_what_it_printed(command: Command, tmp_path: Path) -> None:
    wait = "echo 'be'gun; if [ -z \"$RECORDING\" ]; then sleep 600; fi"  # quoted, since the command is shown as well
    recording = await _recorded_with(tmp_path, wait)
    async with Terminal(command, "run", "Go.", "--replay", str(recording), "--allow", "bash") as terminal:
        await terminal.shows("begun")
        terminal.type(CTRL_C)
        await terminal.shows("interrupting; Ctrl-C again forces it")
        await terminal.shows("— interrupted")
        assert await terminal.code() == 130
    events = [e.data for e in await command.log()]
    assert any(isinstance(d, ToolFinished) and "begun" in str(d.content) for d in events)
    assert isinstance(events[-1], RunFinished)


async def test_ctrl_c_at_a_question_and_twice_at_a_stubborn_command(command: Command, asking: Path, tmp_path: Path) -> None:
    async with Terminal(command, "run", "Go.", "--replay", str(asking)) as terminal:
        await terminal.shows("nswer later: ")
        terminal.type(CTRL_C)
        await terminal.shows("— interrupted")
        assert await terminal.code() == 130
    wait = "trap '' TERM; echo stubborn; [ -n \"$RECORDING\" ] || while true; do sleep 1; done"
    recording = await _recorded_with(tmp_path, wait)
    async with Terminal(command, "run", "Go.", "--replay", str(recording), "--allow", "bash") as terminal:
        await terminal.shows("stubborn")
        terminal.type(CTRL_C)
        await terminal.shows("interrupting")
        terminal.type(CTRL_C)
        await terminal.shows("forcing it")
        await terminal.shows("— interrupted")
        assert await terminal.code() == 130


async def _recorded_with(tmp_path: Path, command: str) -> Path:
    """A recording whose command ends at once where it was recorded, since `RECORDING` was set there."""
    turns: Script = [call("bash", command=command), "Done."]
    return await record(tmp_path / "waiting.jsonl", turns, environment={"RECORDING": "1"})


@pytest.mark.slow
async def test_an_escape_sequence_of_a_model_or_a_command_does_not_reach_the_terminal(
    command: Command, tmp_path: Path
) -> None:
    turns: Script = [
        say("red \x1b[31malert\x1b]0;title\x07 now") + call("bash", command="printf '\\033[2Jgone\\n'"),
        "Done.",
    ]
    recording = await record(tmp_path / "escape.jsonl", turns)
    async with Terminal(command, "run", "Go.", "--replay", str(recording), "--allow", "bash") as terminal:
        assert await terminal.code() == 0
    assert "red alert now" in terminal.text
    assert "\x1b[2J" not in terminal._shown
    assert "\x1b[31malert" not in terminal._shown
    assert "title" not in terminal.text


async def test_chat_steers_and_answers_at_the_terminal(command: Command, tmp_path: Path) -> None:
    turns: Script = [call("bash", command="echo a"), "First.", "Second."]
    recording = await record_two(tmp_path / "chat.jsonl", turns)
    async with Terminal(command, "chat", "--replay", str(recording)) as terminal:
        await terminal.shows("> ")
        terminal.type("/help\n")
        await terminal.shows("/queue")
        await terminal.shows("\n> ")
        terminal.type("One.\n")
        await terminal.shows("y to allow")
        terminal.type("y\n")
        await terminal.shows("First.")
        await terminal.shows("— done")
        terminal.type("/nonsense\n")
        await terminal.shows("error[unknown_command]: Unknown command: /nonsense")
        await terminal.shows("\n> ")
        terminal.type("Two.\n")
        await terminal.shows("Second.")
        await terminal.shows("— done")
        terminal.type("/status\n")
        await terminal.shows("Turns: 3")
        terminal.type("/quit\n")
        await terminal.shows("go on: ")
        await terminal.shows("godwit chat --session ses_")
        assert await terminal.code() == 0


async def record_two(path: Path, turns: Script) -> Path:
    """A recording of a session of two prompts, `One.` and `Two.`."""
    folder = path.parent / f"{path.stem}.recorded"
    folder.mkdir()
    model = Recorder(ScriptedModel(turns, MODEL), path, match="results_vary")
    async with await Runtime.open(folder / "godwit.db", models={MODEL: model}, durability="memory") as runtime:
        session = await runtime.start_session(AgentFlags(allow=("bash",)).agent(MODEL), workspace=folder)
        await session.send("One.")
        await session.send("Two.")
    return path


async def test_a_yes_may_be_remembered_for_the_session(command: Command, tmp_path: Path) -> None:
    async def allow(session: Session) -> None:
        async for event in session.follow():
            if event.type == "run.parked":
                await session.approve((await session.approvals.pending())[0].id, remember="session")
                return

    turns: Script = [call("bash", command="ls"), call("bash", command="ls -a"), "Both done."]
    recording = await record(tmp_path / "twice.jsonl", turns, flags=AgentFlags(), meanwhile=allow)
    async with Terminal(command, "run", "Go.", "--replay", str(recording)) as terminal:
        await terminal.shows("[r]emember")
        terminal.type("r\n")
        await terminal.shows("empty: no: ")
        terminal.type("1 s\n")
        await terminal.shows("Both done.")
        assert await terminal.code() == 0
    answers = [e.data for e in await command.log() if isinstance(e.data, UserAnswer)]
    assert [(a.decision, a.remember, bool(a.rule)) for a in answers] == [("approve", "session", True)]


async def test_a_server_that_does_not_answer_is_said_to_be_tried_and_then_given_up(command: Command) -> None:
    """On a terminal one is told at once; a script is told of the end alone."""
    began_s = time.monotonic()
    async with Terminal(command, "--server", "http://127.0.0.1:9", "ls") as terminal:
        await terminal.shows("no answer from http://127.0.0.1:9 yet; trying for 5 s")
        told_s = time.monotonic() - began_s
        await terminal.shows("error[unreachable]: http://127.0.0.1:9 does not answer")
        await terminal.shows("hint: is it running there?")
        assert await terminal.code() == 1
    assert time.monotonic() - began_s - told_s < 10


async def test_a_script_is_not_told_that_a_server_is_tried(command: Command) -> None:
    ended = await command.run("--server", "http://127.0.0.1:9", "ls")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.splitlines()[0].startswith("error[unreachable]: ")
