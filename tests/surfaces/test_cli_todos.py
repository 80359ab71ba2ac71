"""What is to be done, on the command line: shown, set and ended, as slash commands, in what is shown of a run."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

import godwit
from godwit.core.events import CommandExecuted
from godwit.host.runtime import Runtime
from godwit.models.script import Script, ScriptedModel, call
from godwit.surfaces import cli_settings
from godwit.surfaces.api import Api
from godwit.surfaces.cli_agent import AgentFlags
from godwit.surfaces.cli_settings import load
from godwit.surfaces.cli_view import ScreenView
from tests.surfaces.server.running import running
from tests.surfaces.terminal import MODEL, Command
from tests.surfaces.test_cli_rewind import run

LIST = [{"content": "look", "status": "completed"}, {"content": "mend it", "status": "in_progress"}]
SCRIPT: Script = [call("todo", todos=LIST), "I have looked.", "Nothing more.", "Nothing.", "Really."]


@pytest.fixture
async def begun(command: Command) -> Command:
    """A folder whose session has a list with something left on it."""
    command.database.parent.mkdir()
    async with await Runtime.open(command.database, models={MODEL: ScriptedModel(SCRIPT, MODEL)}) as runtime:
        session = await runtime.start_session(AgentFlags(max_nudges=1).agent(MODEL), workspace=command.folder)
        await session.send("Mend it.")
    return command


async def test_the_list_is_shown(begun: Command) -> None:
    shown = await run(begun, "todos", "last")
    assert shown.code == 0, shown.err
    assert shown.out.splitlines()[1:] == ["1. [x] look", "2. [>] mend it"]
    assert "1 of 2 done, now: mend it" in shown.out
    assert (await run(begun, "todos", "last", "--json")).lines == [
        {"item": 1, "content": "look", "status": "completed"},
        {"item": 2, "content": "mend it", "status": "in_progress"},
    ]
    log = (await run(begun, "log", "last")).out
    assert "1 of 2 done, now: mend it" in log
    assert "todos, attempt 1" in log


async def test_a_goal_is_set_shown_and_ended(begun: Command) -> None:
    assert "no goal is set" in (await run(begun, "goal", "last")).out
    done = await run(begun, "goal", "last", "It runs.")
    assert (done.code, done.out.splitlines()[1]) == (0, "It runs.")
    (shown,) = (await run(begun, "goal", "last", "--json")).lines
    assert (shown["goal"]["text"], shown["goal"].get("status", "open")) == ("It runs.", "open")
    ended = await run(begun, "goal", "last", "too dear", "--end", "abandoned")
    assert ("abandoned: too dear" in ended.out, ended.err) == (True, "")
    again = await run(begun, "goal", "last", "seen", "--end", "met")
    assert ("abandoned: too dear" in again.out, again.err) == (True, "no goal is open, so nothing was changed\n")
    assert (await run(begun, "goal", "last", " ")).code == 2
    assert (await run(begun, "goal", "last", "--end", "open")).code == 2


async def test_slash_commands_show_both_and_a_goal_begins_work(command: Command) -> None:
    met = call("goal", status="met", reason="it runs")
    models = {MODEL: ScriptedModel([met, "It runs."], MODEL)}
    async with await Runtime.open(":memory:", models=models) as runtime:
        session = await runtime.start_session(AgentFlags().agent(MODEL), workspace=command.folder)
        assert (await session.send("/todos")).text == "The list is empty."
        assert (await session.send("/goal")).text == "No goal is set."
        assert (await session.send("/goal clear")).text == "No goal is open."
        assert (await session.send("/goal It runs.")).text == "It runs."
        (started,) = [e.data for e in await session.events() if isinstance(e.data, CommandExecuted) and e.data.starts]
        assert (started.name, started.arguments) == ("goal", "It runs.")
        assert (await session.send("/goal")).text == "Goal: It runs.\nIt is met: it runs"
        await session.set_todos(["look"])
        assert (await session.send("/todos")).text == "0 of 1 done\n1. [ ] look"


async def test_what_is_shown_of_a_run_tells_of_the_list_and_of_nudges(command: Command) -> None:
    models = {MODEL: ScriptedModel([*SCRIPT], MODEL)}
    async with await Runtime.open(":memory:", models=models) as runtime:
        agent = AgentFlags(max_nudges=1).agent(MODEL)
        session = await runtime.start_session(agent, workspace=command.folder, goal="It runs.")
        await session.send("Mend it.")
        events = await session.events()
    out = io.StringIO()
    view = ScreenView(live=False, file=out)
    for event in events:
        view.show(event)
    shown = out.getvalue()
    assert "1. [x] look\n2. [>] mend it" in shown
    assert "told to go on: there is more to do, the goal is not met" in shown
    assert "goal set: It runs." in shown


async def test_over_a_server(tmp_path: Path, command: Command) -> None:
    with running(
        tmp_path / "g.db", models={MODEL: ScriptedModel(["1"], MODEL, select=lambda _: 0)}, dialects=[Api]
    ) as server:
        async with godwit.connect(server.url) as runtime:
            agent = godwit.Agent("a", model=MODEL, tools=["todo", "goal"], nudges=1)
            session = await runtime.start_session(agent, own_workspace=True, goal="It runs.")
            await session.set_todos(["look"])
        shown = await command.run("--server", server.url, "todos", session.id)
        assert "1. [ ] look" in shown.out, shown.err
        assert "It runs." in (await command.run("--server", server.url, "goal", session.id)).out


def test_a_flag_counts_before_a_file(tmp_path: Path) -> None:
    cli_settings.take([])
    try:
        assert load(tmp_path).nudges.max_nudges is None
        cli_settings.also("nudges.max_nudges", 2)
        assert load(tmp_path).nudges.max_nudges == 2
        cli_settings.take(["nudges.max_nudges=5"])
        cli_settings.also("nudges.max_nudges", 2)
        assert load(tmp_path).nudges.max_nudges == 5
    finally:
        cli_settings.take([])
