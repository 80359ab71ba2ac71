"""Modes: what a session may do for a while; held where a call is about to run, and by all who work for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import godwit
from godwit.core.errors import ConfigurationError, InvalidArgument
from godwit.core.events import SessionConfigured, ToolFinished
from godwit.core.messages import text_of
from godwit.core.rules import Permissions
from godwit.models.script import call

from .conftest import Bench, data, within


def sh(command: str) -> Any:
    return call("bash", command=command)


@godwit.tool
def note(text: str) -> str:
    """Write something down."""
    return f"noted {text}"


@godwit.tool(read_only=True)
def look(what: str) -> str:
    """Look at something."""
    return f"seen {what}"


@pytest.fixture
def folder(bench: Bench) -> Path:
    (bench.workspace / "a.txt").write_text("one\n")
    return bench.workspace


async def statuses(session: Any) -> list[str]:
    return [finished.status for finished in await data(session, ToolFinished)]


async def test_a_plan_changes_nothing(bench: Bench, folder: Path) -> None:
    calls = [
        call("read", file_path="a.txt"),
        sh("cat a.txt"),
        sh("echo two >> a.txt"),
        sh("ls && echo two > a.txt"),
        sh("cat <<E > a.txt\ntwo\nE"),
        sh("find . -fprint a.txt"),
        sh("cat a.txt && rm a.txt"),
        call("write", file_path="b.txt", content="x"),
        call("note", text="x"),
        call("look", what="x"),
    ]
    session = await bench.start([*calls, "A plan."], "files", "bash", note, look)
    assert await session.mode() == "build"
    await session.set_mode("plan")
    assert await session.mode() == "plan"
    result = await within(session.send("Plan it."))
    assert result.outcome == "done"
    assert await statuses(session) == ["ok", "ok", *["denied"] * 7, "ok"]
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == ["a.txt"]
    assert (folder / "a.txt").read_text() == "one\n"
    refused = [text_of(f.content) for f in await data(session, ToolFinished) if f.status == "denied"]
    assert all("plan" in text for text in refused), refused
    # The model is told so, and what it is told of its tools is the same in each mode.
    requests = bench.model.requests  # type: ignore[union-attr]
    assert "plan mode" in text_of(requests[0].entries[-1].message.content)
    assert {tool.name for tool in requests[0].tools} >= {"write", "note", "bash"}
    (configured,) = await data(session, SessionConfigured)
    assert configured.mode == "plan"


async def test_it_ends_when_a_person_says_so(bench: Bench, folder: Path) -> None:
    session = await bench.start(
        [call("note", text="1"), "Refused.", call("note", text="2"), "Done."], note, "files", permissions=Permissions()
    )
    await session.set_mode("plan")
    await within(session.send("Do it."))
    await session.set_mode("build")
    await within(session.send("Now do it."))
    assert await statuses(session) == ["denied", "ok"]
    assert "mode" not in text_of((await session.history())[-4].content).lower()
    assert folder.exists()


async def test_a_mode_takes_away_and_never_gives(bench: Bench) -> None:
    session = await bench.start([call("look", what="x"), "Refused."], look, permissions=Permissions(deny=("look",)))
    await session.set_mode("plan")
    await within(session.send("Look."))
    assert await statuses(session) == ["denied"]


async def test_a_mode_of_the_agents_own(bench: Bench) -> None:
    notes_only = godwit.Mode("notes", Permissions(allow=("note",), default="deny"), note="Only write notes.")
    session = await bench.start([call("note", text="1"), call("look", what="x"), "Done."], note, look, modes=[notes_only])
    with pytest.raises(InvalidArgument, match="build, plan, notes"):
        await session.set_mode("party")
    with pytest.raises(ConfigurationError, match="two modes of one name"):
        godwit.Agent("twice", model="scripted:test", modes=[notes_only, godwit.Mode("notes")])
    await session.set_mode("notes")
    await within(session.send("Go."))
    assert await statuses(session) == ["ok", "denied"]
    assert "Only write notes." in text_of((await session.history())[0].content)


async def test_it_survives_a_restart_and_goes_into_a_fork(bench: Bench) -> None:
    session = await bench.start([call("note", text="1"), "Refused."], note)
    await session.set_mode("plan")
    fork = await session.fork()
    await bench.close()
    runtime = await bench.runtime([call("note", text="1"), "Refused."])
    agent = godwit.Agent("tester", model="scripted:test", tools=[note])
    for one in (session, fork):
        again = await runtime.open_session(one.id, agent=agent)
        assert await again.mode() == "plan"
        await within(again.send("Go."))
        assert await statuses(again) == ["denied"]


async def test_who_works_for_the_session_is_held_to_it(bench: Bench) -> None:
    runtime = await bench.runtime()
    helper = godwit.Agent("helper", model="scripted:test", tools=[note, look])
    script: list[Any] = [
        lambda request: (
            call("note", text="from below") + call("look", what="y")
            if "below" in text_of(request.entries[0].message.content)
            else call("task", agent="helper", prompt="Do it below.")
        ),
        "Done.",
    ]
    session = await bench.start(script, runtime=runtime, subagents=[helper])
    await session.set_mode("plan")
    assert (await within(session.send("Have it done."))).outcome == "done"
    (task,) = await session.tasks.all()
    child = await runtime.open_session(task.session, drive=False)
    assert await statuses(child) == ["denied", "ok"]


async def test_it_is_switched_while_it_works(bench: Bench) -> None:
    session: Any = None

    @godwit.tool
    async def switch() -> str:
        """End building."""
        await session.set_mode("plan")
        return "switched"

    session = await bench.start([call("note", text="1"), call("switch"), call("note", text="2"), "Done."], note, switch)
    await within(session.send("Go."))
    assert await statuses(session) == ["ok", "ok", "denied"]


def test_a_name_is_one_word() -> None:
    for wrong in ("", "two words", "x" * 51, "a\nb"):
        with pytest.raises(ConfigurationError):
            godwit.Mode(wrong)
