"""`godwit tool`: a tool called on a session by hand."""

from __future__ import annotations

import asyncio
import json
import signal

import pytest

import godwit
from godwit.core.events import ToolFinished, ToolStarted
from godwit.host.runtime import Runtime
from godwit.models.script import ScriptedModel
from godwit.surfaces.cli_agent import AgentFlags
from tests.patience import PATIENCE_S
from tests.surfaces.terminal import MODEL, Command


@pytest.fixture
async def begun(command: Command) -> Command:
    """A folder with one session."""
    command.database.parent.mkdir()
    async with await Runtime.open(command.database, models={MODEL: ScriptedModel([], MODEL)}) as runtime:
        await runtime.start_session(AgentFlags().agent(MODEL), workspace=command.folder, session="ses_1")
    return command


async def test_a_tool_is_called_and_recorded(begun: Command) -> None:
    wrote = await begun.run("tool", "last", "write", json.dumps({"file_path": "a.txt", "content": "one\n"}))
    assert wrote.code == 0, wrote.err
    assert (begun.folder / "a.txt").read_text() == "one\n"
    ran = await begun.run("tool", "ses_1", "bash", "-", text='{"command": "cat a.txt; printf \'\\\\033[2J\'; exit 3"}')
    assert ran.code == 1
    assert ran.out.startswith("one\n")
    assert "\x1b" not in ran.out
    assert ran.err.startswith("bash: error after ")
    told = await begun.run("tool", "last", "bash", '{"command": "exit 3"}', "--json")
    (line,) = told.lines
    assert (told.code, line["status"], line["exit_code"], line["name"]) == (1, "error", 3, "bash")
    log = await begun.log()
    assert [e.data.origin for e in log if isinstance(e.data, ToolStarted | ToolFinished)] == ["direct"] * 6
    assert line["seq"] == log[-1].seq
    async with begun.session() as session:
        assert await session.history() == ()


async def test_what_cannot_be_called_is_told_and_not_recorded(begun: Command) -> None:
    before = len(await begun.log())
    for words, said in (
        (("write", "{"), "error[usage]: the arguments are not JSON"),
        (("write", "[]"), "error[usage]: the arguments are not a JSON object"),
        (("bash", '{"command": "ls"}', "--timeout", "0"), "error[usage]: --timeout 0"),
    ):
        ended = await begun.run("tool", "last", *words)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith(said)
    unknown = await begun.run("tool", "last", "fly", "{}")
    assert (unknown.code, unknown.err) == (1, "fly: error, and was not run\n")
    assert "Unknown tool 'fly'" in unknown.out
    wrong = await begun.run("tool", "last", "read", '{"path": 1}')
    assert wrong.code == 1
    assert (await begun.run("tool", "ses_2", "ls")).code == 5
    assert len(await begun.log()) == before


async def test_without_a_name_the_tools_are_listed(begun: Command) -> None:
    listed = await begun.run("tool", "last")
    assert listed.code == 0, listed.err
    assert [line.split()[0] for line in listed.out.splitlines()] == [
        "read", "write", "edit", "patch", "ls", "glob", "grep", "bash", "todo", "goal",
    ]  # fmt: skip
    assert "(file_path, content)" in listed.out
    assert (await begun.run("tool", "last", "--json")).lines[0]["parameters"]["required"] == ["file_path"]


async def test_an_agent_with_functions_of_a_program_can_still_be_given_a_command(begun: Command) -> None:
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    async with await Runtime.open(begun.database, models={MODEL: ScriptedModel([], MODEL)}) as runtime:
        agent = godwit.Agent("adder", model=MODEL, tools=[add, "bash"])
        await runtime.start_session(agent, workspace=begun.folder, session="ses_2")
    ran = await begun.run("tool", "ses_2", "bash", '{"command": "echo hi"}')
    assert (ran.code, ran.out) == (0, "hi\n")
    listed = await begun.run("tool", "ses_2")
    assert (listed.code, listed.out) == (2, "")
    assert "error[tool_not_found]" in listed.err


async def test_ctrl_c_ends_the_call_and_records_it(begun: Command) -> None:
    process = await begun.start("tool", "ses_1", "bash", '{"command": "sleep 60"}')
    await begun.until("tool.started")
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(PATIENCE_S):
        await process.communicate()
    assert process.returncode == 130
    finished = [e.data for e in await begun.log() if isinstance(e.data, ToolFinished)]
    assert [f.status for f in finished] == ["error"]
