"""Subagents on the command line: what was handed out as a tree, and who asks below while somebody watches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import godwit
from godwit.contracts import Model
from godwit.engine.session import Session
from godwit.models.script import Script, ScriptedModel, call, hold
from godwit.surfaces.api import Api
from tests.engine.conftest import until_type, within
from tests.surfaces.server.running import running
from tests.surfaces.terminal import Command, Terminal, finish

ROOT: Script = [call("task", id="t", agent="branch", prompt="Go on."), "All done."]
BRANCH: Script = [call("task", id="t", agent="leaf", prompt="Do it."), "Branch done."]
LEAF: Script = [call("bash", id="c1", command="echo deep"), "Leaf done."]


def models() -> dict[str, Model]:
    scripts = {"root": ROOT, "branch": BRANCH, "leaf": LEAF}
    return {f"scripted:{name}": ScriptedModel(script, f"scripted:{name}") for name, script in scripts.items()}


def root() -> godwit.Agent:
    leaf = godwit.Agent("leaf", model="scripted:leaf", tools=["bash"], permissions={"bash": "ask"})
    branch = godwit.Agent("branch", model="scripted:branch", subagents=[leaf])
    return godwit.Agent("root", model="scripted:root", subagents=[branch])


@asynccontextmanager
async def asked_below(command: Command) -> AsyncIterator[Session]:
    """A session of the command's database whose grandchild has a question; nothing of it is driven any more behind this."""
    command.database.parent.mkdir(exist_ok=True)
    async with await godwit.Runtime.open(command.database, models=models()) as runtime:
        session = await runtime.start_session(root(), workspace=command.folder)
        await session.prompt("Go.")
        await within(until_type(session, "subagent.asked"))
        yield session


async def test_tasks_are_listed_as_a_tree_shown_and_cancelled(command: Command) -> None:
    async with asked_below(command) as session:
        pass
    lines = (await command.run("tasks", "last")).out.splitlines()
    assert [line.split()[1:3] for line in lines] == [["waiting", "branch:"], ["waiting", "leaf:"]]
    assert lines[1].startswith("  task_")
    told = (await command.run("tasks", "last", "--json")).lines
    assert [(t["agent"], t["depth"], t["parent"]) for t in told] == [
        ("branch", 1, session.id),
        ("leaf", 2, told[0]["session"]),
    ]
    shown = await command.run("tasks", "last", told[1]["id"])
    assert (shown.code, told[1]["session"] in shown.err) == (0, True)
    unknown = await command.run("tasks", "last", "task_unknown")
    assert (unknown.code, unknown.err.partition(":")[0]) == (5, "error[task_not_found]")
    ended = await command.run("tasks", "last", told[0]["id"][:-2], "--cancel")
    assert (ended.code, ended.out) == (0, f"task {told[0]['id']} cancelled\n"), ended.err
    again = await command.run("tasks", "last", told[0]["id"], "--cancel")
    assert again.out == f"task {told[0]['id']} had ended before (cancelled)\n"
    assert [t["status"] for t in (await command.run("tasks", "last", "--json")).lines] == ["cancelled", "cancelled"]
    assert (await command.run("tasks", "last", "--cancel")).out == "no task is open\n"


async def test_sessions_of_subagents_stand_below_their_parent_and_are_never_the_last(command: Command) -> None:
    async with asked_below(command) as session:
        pass
    assert [row["id"] for row in (await command.run("ls", "--json")).lines] == [session.id]
    rows = (await command.run("ls", "--children", "--json")).lines
    assert [row.get("parent") for row in rows] == [None, session.id, rows[1]["id"]]
    table = (await command.run("ls", "--children")).out.splitlines()
    assert [len(line) - len(line.lstrip()) for line in table] == [0, 0, 2, 4]
    log = await command.run("log", "last", "--json")
    assert {event["session"] for event in log.lines} == {session.id}


async def test_what_is_asked_below_is_answered_from_another_terminal(command: Command) -> None:
    async with asked_below(command) as session:
        listed = await command.run("approve", "last", "--list")
        assert "echo deep" in listed.out
        (action,) = await session.approvals.pending()
        approved = await command.run("approve", "last", action.id)
        assert approved.code == 0, approved.err
        assert (await within(session.wait())).text == "All done."


@pytest.mark.parametrize("said", ["y", "n not now"])
async def test_who_watches_is_asked_for_what_is_asked_below(command: Command, tmp_path: Path, said: str) -> None:
    with running(tmp_path / "g.db", models=models(), dialects=[Api]) as server:

        async def start() -> str:
            runtime = server.runtime
            session = await runtime.start_session(root(), workspace=command.folder)
            runtime.desk.keep(session)
            return session.id

        session = server.call(start)
        async with Terminal(command, "--server", server.url, "run", "--session", session, "Go.") as terminal:
            await terminal.shows("branch begins: Go on.")
            await terminal.shows("branch > leaf: approval needed: bash echo deep")
            await terminal.shows("branch > leaf asks:")
            await terminal.shows("allow this?")
            terminal.type(f"{said}\n")
            await terminal.shows("branch completed")
            await terminal.shows("All done.")
            assert await terminal.code() == 0


async def test_without_a_terminal_a_question_from_below_parks(command: Command, tmp_path: Path) -> None:
    with running(tmp_path / "g.db", models=models(), dialects=[Api]) as server:

        async def start() -> str:
            session = await server.runtime.start_session(root(), workspace=command.folder)
            server.runtime.desk.keep(session)
            return session.id

        session = server.call(start)
        at = {"GODWIT_SERVER": server.url}
        parked = await command.run("run", "--session", session, "Go.", **at)
        waited = await command.run("tasks", session, "--wait", **at)
        assert (waited.code, "branch: waiting" in waited.err) == (4, True), "what waits for a person is not waited for"
        assert parked.code == 4, parked.err
        assert "asked by branch > leaf" in parked.out
        told = (await command.run("tasks", session, "--json", **at)).lines
        assert [(t["agent"], t["status"]) for t in told] == [("branch", "waiting"), ("leaf", "waiting")]
        yes = await command.run("resume", session, "--yes", **at)
        assert (yes.code, "All done." in yes.out) == (0, True), yes.out + yes.err
        shown = await command.run("tasks", session, told[1]["id"], **at)
        assert shown.out == "Leaf done.\n"
        assert len((await command.run("ls", "--children", "--json", **at)).lines) == 3
        log = (await command.run("log", session, "--tree", "--json", **at)).lines
        paths: dict[str, list[str]] = {line["session"]: line["path"] for line in log}
        assert sorted(paths.values()) == [[], ["branch"], ["branch", "leaf"]]
        for one in paths:
            alone = (await command.run("log", one, "--json", **at)).lines
            assert [line["seq"] for line in log if line["session"] == one] == [line["seq"] for line in alone]


async def test_the_logs_of_a_tree_are_shown_with_the_agents_that_lead_there(command: Command) -> None:
    async with asked_below(command) as session:
        pass
    lines = (await command.run("log", "last", "--tree")).out.splitlines()
    assert [line for line in lines if "action.opened" in line and "branch > leaf: " in line]
    assert [line for line in lines if "subagent.started" in line and "branch: " in line]
    wrong = await command.run("log", "last", "--tree", "--from", "3")
    assert (wrong.code, wrong.err.partition(":")[0]) == (2, "error[usage]")
    following = await command.start("log", session.id, "--tree", "--follow", "--json")
    assert following.stdout is not None
    seen: set[str] = set()
    while "action.opened" not in seen:
        told = json.loads(await within(following.stdout.readline()))
        if told["path"] == ["branch", "leaf"]:
            seen.add(told["type"])
    following.kill()
    await following.wait()


async def test_a_task_is_waited_for(command: Command, tmp_path: Path) -> None:
    gate = asyncio.Event()
    poet = ScriptedModel([call("bash", command="true"), hold(gate) + "A line."], "scripted:poet")
    boss = ScriptedModel(["Heard."] * 2, "scripted:boss")
    known: dict[str, Model] = {"scripted:poet": poet, "scripted:boss": boss}
    with running(tmp_path / "g.db", models=known, dialects=[Api]) as server:

        async def start() -> str:
            below = godwit.Agent("poet", model="scripted:poet", tools=["bash"], permissions={"bash": "allow"})
            above = godwit.Agent("boss", model="scripted:boss", subagents=[below])
            session = await server.runtime.start_session(above, workspace=command.folder)
            server.runtime.desk.keep(session)
            await session.tasks.start("poet", "A line.")
            return session.id

        session = server.call(start)
        waiting = await command.start("tasks", session, "--wait", "--json", GODWIT_SERVER=server.url)
        assert waiting.stderr is not None
        while b"2 steps, last turn completed" not in await within(waiting.stderr.readline()):
            pass

        async def go() -> None:
            gate.set()

        server.call(go)
        out, _ = await within(waiting.communicate())
        assert (waiting.returncode, json.loads(out)["output"]) == (0, "A line.")


async def test_without_a_terminal_it_parks_only_when_nobody_below_works_any_more(command: Command, tmp_path: Path) -> None:
    gate, reached = asyncio.Event(), asyncio.Event()
    busy = [hold(gate, reached=reached) + "Worked."]
    scripts: dict[str, Script] = {
        "boss": [call("task", id="t", tasks=[{"agent": "branch", "prompt": "ask"}, {"agent": "other", "prompt": "work"}])],
        "branch": BRANCH,
        "leaf": LEAF,
        "other": [call("task", id="t", agent="busy", prompt="Do it."), "Other done."],
        "busy": busy,
    }
    known: dict[str, Model] = {f"scripted:{name}": ScriptedModel(s, f"scripted:{name}") for name, s in scripts.items()}
    other = godwit.Agent("other", model="scripted:other", subagents=[godwit.Agent("busy", model="scripted:busy")])
    agent = godwit.Agent("boss", model="scripted:boss", subagents=[root().subagents[0], other])
    with running(tmp_path / "g.db", models=known, dialects=[Api]) as server:

        async def start() -> str:
            session = await server.runtime.start_session(agent, workspace=command.folder)
            server.runtime.desk.keep(session)
            return session.id

        session = server.call(start)
        at = {"GODWIT_SERVER": server.url}
        process = await command.start("run", "--session", session, "Go.", GODWIT_SERVER=server.url)
        assert process.stdout is not None
        said = b""
        while b"branch > leaf: approval needed" not in said:
            said += await within(process.stdout.readline())
        told = (await command.run("tasks", session, "--json", **at)).lines
        status = {t["agent"]: t["status"] for t in told}
        assert status == {"branch": "waiting", "leaf": "waiting", "other": "running", "busy": "running"}
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(process.wait(), 1)

        async def release() -> None:
            gate.set()

        server.call(release)
        ended = await finish(process)
        assert ended.code == 4, ended.err
        assert "other completed" in ended.out
