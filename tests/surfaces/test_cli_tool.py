"""`godwit tool`: a tool called on a session by hand."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest

import godwit
from godwit.core.events import ToolFinished, ToolStarted
from godwit.host.runtime import Runtime
from godwit.models.script import ScriptedModel
from godwit.surfaces.cli_agent import AgentFlags
from tests.surfaces.terminal import MODEL, Command


@pytest.fixture
async def command(tmp_path: Path) -> Command:
    """A folder with one session."""
    folder = tmp_path / "work"
    (folder / ".godwit").mkdir(parents=True)
    made = Command(folder)
    async with await Runtime.open(made.database, models={MODEL: ScriptedModel([], MODEL)}) as runtime:
        await runtime.start_session(AgentFlags().agent(MODEL), workspace=folder, session="ses_1")
    return made


async def test_a_tool_is_called_and_recorded(command: Command) -> None:
    wrote = await command.run("tool", "last", "write", json.dumps({"file_path": "a.txt", "content": "one\n"}))
    assert wrote.code == 0, wrote.err
    assert (command.folder / "a.txt").read_text() == "one\n"
    ran = await command.run("tool", "ses_1", "bash", "-", text='{"command": "cat a.txt; printf \'\\\\033[2J\'; exit 3"}')
    assert ran.code == 1
    assert ran.out.startswith("one\n")
    assert "\x1b" not in ran.out
    assert ran.err.startswith("bash: error after ")
    told = await command.run("tool", "last", "bash", '{"command": "exit 3"}', "--json")
    (line,) = told.lines
    assert (told.code, line["status"], line["exit_code"], line["name"]) == (1, "error", 3, "bash")
    log = await command.log()
    assert [e.data.origin for e in log if isinstance(e.data, ToolStarted | ToolFinished)] == ["direct"] * 6
    assert line["seq"] == log[-1].seq
    async with command.session() as session:
        assert await session.history() == ()


async def test_what_cannot_be_called_is_told_and_not_recorded(command: Command) -> None:
    before = len(await command.log())
    for words, said in (
        (("write", "{"), "error[usage]: the arguments are not JSON"),
        (("write", "[]"), "error[usage]: the arguments are not a JSON object"),
        (("bash", '{"command": "ls"}', "--timeout", "0"), "error[usage]: --timeout 0"),
    ):
        ended = await command.run("tool", "last", *words)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith(said)
    unknown = await command.run("tool", "last", "fly", "{}")
    assert (unknown.code, unknown.err) == (1, "fly: error, and was not run\n")
    assert "Unknown tool 'fly'" in unknown.out
    wrong = await command.run("tool", "last", "read", '{"path": 1}')
    assert wrong.code == 1
    assert (await command.run("tool", "ses_2", "ls")).code == 5
    assert len(await command.log()) == before


async def test_without_a_name_the_tools_are_listed(command: Command) -> None:
    listed = await command.run("tool", "last")
    assert listed.code == 0, listed.err
    assert [line.split()[0] for line in listed.out.splitlines()] == [
        "read", "write", "edit", "patch", "ls", "glob", "grep", "bash",
    ]  # fmt: skip
    assert "(file_path, content)" in listed.out
    assert (await command.run("tool", "last", "--json")).lines[0]["parameters"]["required"] == ["file_path"]


async def test_an_agent_with_functions_of_a_program_can_still_be_given_a_command(command: Command) -> None:
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    async with await Runtime.open(command.database, models={MODEL: ScriptedModel([], MODEL)}) as runtime:
        agent = godwit.Agent("adder", model=MODEL, tools=[add, "bash"])
        await runtime.start_session(agent, workspace=command.folder, session="ses_2")
    ran = await command.run("tool", "ses_2", "bash", '{"command": "echo hi"}')
    assert (ran.code, ran.out) == (0, "hi\n")
    listed = await command.run("tool", "ses_2")
    assert (listed.code, listed.out) == (2, "")
    assert "error[tool_not_found]" in listed.err


async def test_ctrl_c_ends_the_call_and_records_it(command: Command) -> None:
    process = await command.start("tool", "ses_1", "bash", '{"command": "sleep 60"}')
    await command.until("tool.started")
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(20):
        await process.communicate()
    assert process.returncode == 130
    finished = [e.data for e in await command.log() if isinstance(e.data, ToolFinished)]
    assert [f.status for f in finished] == ["error"]
