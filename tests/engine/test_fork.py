"""Forks: two sessions with one past, of which neither can hurt the other; with the files of then in a folder of their
own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import godwit
from godwit.contracts import SessionHandle
from godwit.core.budget import Budget
from godwit.core.errors import (
    CheckpointFailed,
    Conflict,
    InvalidArgument,
    KeyReused,
    RunNotFound,
    SessionExists,
    SessionNotFound,
)
from godwit.core.events import SessionForked
from godwit.core.messages import text_of
from godwit.core.rules import Permissions
from godwit.engine.session import Session
from godwit.models.script import ScriptedModel, call, hold
from godwit.testing import tree

from .conftest import MODEL, Bench, data, types, until_type, within


def sh(command: str) -> Any:
    return call("bash", command=command)


async def said(session: SessionHandle) -> list[str]:
    return [text_of(message.content) for message in await session.history()]


def heard(request: Any) -> str:
    """The model says what it has heard last."""
    return f"I hear {text_of(request.entries[-1].message.content)}"


async def talked(bench: Bench, *prompts: str, **agent: Any) -> Session:
    """A session that has talked; its model has nothing of its own to say."""
    model = ScriptedModel([heard], MODEL, select=lambda _: 0)
    runtime = await bench.runtime(models={MODEL: model})
    spec = godwit.Agent("tester", model=MODEL, **agent)
    session = await runtime.start_session(spec, workspace=bench.workspace)
    for prompt in prompts:
        assert (await within(session.send(prompt))).outcome == "done"
    return session


TALK = ["one", "I hear one", "two", "I hear two"]


async def test_each_goes_its_own_way_from_one_past(bench: Bench) -> None:
    session = await talked(bench, "one", "two")
    head = (await session.state()).seq
    fork = await session.fork(name="the other way")
    assert fork.id != session.id
    await session.send("three")
    await fork.send("four")
    assert await said(session) == [*TALK, "three", "I hear three"]
    assert await said(fork) == [*TALK, "four", "I hear four"]
    assert [e.body for e in (await fork.events())[:head]] == [e.body for e in (await session.events())[:head]]
    (forked,) = await data(fork, SessionForked)
    assert (forked.origin, forked.name) == (session.id, "the other way")
    assert await data(session, SessionForked) == []
    found = await bench.runtimes[0].sessions()
    assert {(row.id, row.name, row.origin) for row in found} == {
        (session.id, None, None),
        (fork.id, "the other way", session.id),
    }


async def test_a_fork_at_an_earlier_place_and_by_label(bench: Bench) -> None:
    session = await talked(bench, "one", "two")
    shown = await session.tree()
    assert [(n.kind, n.text) for n in shown.nodes] == list(zip(["user", "agent"] * 2, TALK, strict=True))
    first = shown.nodes[1].seq
    await session.label(first, "begin")
    by_label = await session.fork("begin")
    by_message = await session.fork(shown.nodes[2].seq)  # before the message, as a person would say it anew
    assert await said(by_label) == await said(by_message) == TALK[:2]
    await by_label.send("else")
    assert await said(by_label) == [*TALK[:2], "else", "I hear else"]
    inner = (await session.tree()).nodes[3].seq - 2
    within_turn = await session.fork(inner)
    assert await said(within_turn) == TALK[:3]
    await session.rewind(first)
    gone_back = await session.fork()
    assert await said(gone_back) == TALK[:2]
    # What lies before the fork can be gone back to, there as here.
    await gone_back.navigate(shown.nodes[3].seq)
    assert await said(gone_back) == TALK
    for wrong in (0, -1, 10_000, "no label", True):
        with pytest.raises(InvalidArgument):
            await session.fork(wrong)


async def test_of_those_who_name_places_at_once_one_has_the_label(bench: Bench) -> None:
    session = await talked(bench, "one", "two")
    assert bench.model is not None
    other = await (await bench.runtime(models={MODEL: bench.model})).open_session(session.id, drive=False)
    places = [node.seq for node in (await session.tree()).nodes]
    named = [(session if n % 2 else other).label(seq, "here") for n, seq in enumerate(places)]
    answers = await asyncio.gather(*named, return_exceptions=True)
    assert sorted(isinstance(one, InvalidArgument) for one in answers) == [False, True, True, True]
    assert len([node for node in (await session.tree()).nodes if node.label == "here"]) == 1
    with pytest.raises(InvalidArgument, match="no Unicode"):
        await session.fork(name="half \ud800")
    # On the command line a number is a seq.
    with pytest.raises(InvalidArgument, match="reads as the seq"):
        await session.label(places[0], "7")


async def test_what_is_open_stays_where_it_is(bench: Bench) -> None:
    runtime = await bench.runtime()
    session = await bench.start(
        ["Fine.", call("bash", command="true"), "Done.", "Forked."],
        "bash",
        runtime=runtime,
        permissions=Permissions(ask=("bash",)),
    )
    await session.send("Begin.")
    await session.prompt("Now do it.")
    await until_type(session, "action.opened")
    await session.follow_up("And then?")
    fork = await within(session.fork())
    state = await fork.state()
    assert (state.run, state.turn, state.gate.actions, state.gate.queue) == (None, None, (), ())
    assert await fork.pending_confirmations() == []
    assert await said(fork) == ["Begin.", "Fine.", "Now do it."]
    assert (await fork.spent()).tokens == 0
    assert [run.status for run in await fork.runs()] == ["done", "interrupted"]
    cut = (await fork.runs())[-1].id
    with pytest.raises(RunNotFound, match="goes on there"):
        await within(fork.wait(cut))
    # Each has a question of its own now, and an answer to one is none to the other.
    await fork.prompt("Do it here.")
    await until_type(fork, "action.opened", state.seq)
    (there,), (here,) = await session.pending_confirmations(), await fork.pending_confirmations()
    assert there.id != here.id
    await fork.approve(here.id)
    assert (await within(fork.wait())).text == "Done."
    assert [one.id for one in await session.pending_confirmations()] == [there.id]
    await session.interrupt()


async def test_settings_are_those_of_now(bench: Bench) -> None:
    session = await talked(bench, "one")
    place = (await session.tree()).nodes[1].seq
    await session.configure(permissions=Permissions(deny=("bash",)), thinking="high", name="named")
    await session.set_budget(Budget(turns=50))
    await session.send("two")
    fork = await session.fork(place)
    state = await fork.state()
    assert (state.thinking, state.permissions, state.name) == ("high", Permissions(deny=("bash",)), "named")
    assert await fork.budget() == await session.budget()
    assert (await session.spent()).turns == 2
    assert (await fork.spent()).turns == 0


async def test_the_past_stays_when_the_origin_goes(bench: Bench) -> None:
    session = await talked(bench, "one", "two")
    fork = await session.fork()
    second = await fork.fork()
    past = await fork.events()
    runtime = bench.runtimes[0]
    await runtime.delete_session(session.id)
    with pytest.raises(SessionNotFound):
        await runtime.open_session(session.id)
    await bench.close()
    other = await bench.runtime(models={MODEL: ScriptedModel([heard], MODEL, select=lambda _: 0)})
    again = await other.open_session(fork.id)
    assert await again.events() == past
    assert await said(again) == TALK
    assert (await within(again.send("three"))).text == "I hear three"
    await other.delete_session(fork.id)
    last = await other.open_session(second.id)
    assert await said(last) == TALK
    assert (await last.state()).seq == len(await last.events())


async def test_it_is_made_once_or_not_at_all(bench: Bench) -> None:
    session = await talked(bench, "one")
    one = await session.fork(session="mine", key="k")
    two = await session.fork(session="mine", key="k")
    assert (one.id, len(await one.events())) == (two.id, len(await two.events()))
    with pytest.raises(KeyReused):
        await session.fork(session="mine", key="k", name="other")
    with pytest.raises(SessionExists):
        await session.fork(session="mine")
    with pytest.raises(InvalidArgument):
        await session.fork(session="no/such id")
    assert len(await bench.runtimes[0].sessions()) == 2


async def test_a_working_session_can_be_forked(bench: Bench) -> None:
    session = await talked(bench, "one")
    fork = await session.fork()
    await asyncio.gather(session.send("two"), *(fork.fork() for _ in range(5)))
    assert {len(await said(await bench.runtimes[0].open_session(row.id))) for row in await bench.runtimes[0].sessions()} == {
        2,
        4,
    }


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(bench: Bench) -> Path:
    (bench.workspace / "a.txt").write_text("one\n")
    return bench.workspace


async def test_the_files_of_then_in_a_folder_of_its_own(bench: Bench, folder: Path, tmp_path: Path) -> None:
    work = [sh("echo two >> a.txt; mkdir d; echo x > d/b.txt"), "Done.", sh("echo three >> a.txt; rm -r d"), "Done too."]
    session = await bench.start(work, "files", "bash")
    await session.send("Two.")
    then = (await session.tree()).nodes[-1].seq
    files_then = tree(folder)
    await session.send("Three.")
    files_now = tree(folder)
    other = tmp_path / "other"
    other.mkdir()
    fork = await within(session.fork(then, workspace=other))
    await within(fork.status())
    await until_type(fork, "workspace.restored")
    assert tree(other) == files_then
    assert tree(folder) == files_now
    (other / "theirs").write_text("a person's")
    await within(fork.send("Three, here."))
    assert (other / "a.txt").read_text() == "one\ntwo\nthree\n"
    assert (other / "theirs").read_text() == "a person's"
    assert tree(folder) == files_now
    # What was before the fork is gone back to in the fork's own folder.
    await within(fork.rewind((await fork.tree()).nodes[0].seq - 1, files=True))
    assert (other / "a.txt").read_text() == "one\n"
    assert tree(folder) == files_now
    await bench.runtimes[0].delete_session(session.id)
    await within(fork.redo())
    assert (other / "a.txt").read_text() == "one\ntwo\nthree\n"


async def test_a_folder_that_is_not_empty_is_refused(bench: Bench, folder: Path, tmp_path: Path) -> None:
    session = await talked(bench, "one")
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine").write_text("mine")
    for wrong in (other, tmp_path / "nowhere", folder):
        with pytest.raises(InvalidArgument):
            await session.fork(workspace=wrong)
    assert len(await bench.runtimes[0].sessions()) == 1
    assert (other / "mine").read_text() == "mine"


@pytest.mark.usefixtures("folder")
async def test_files_that_were_not_kept_are_not_made_up(bench: Bench, tmp_path: Path) -> None:
    session = await bench.start(
        [sh("echo two >> a.txt"), "Done.", sh("echo three >> a.txt"), "Done."],
        "bash",
        checkpoints=godwit.CheckpointPolicy(enabled=False),
    )
    await session.send("Two.")
    then = (await session.tree()).nodes[-1].seq
    await session.send("Three.")
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(CheckpointFailed):
        await session.fork(then, workspace=other)
    assert len(await bench.runtimes[0].sessions()) == 1
    assert list(other.iterdir()) == []


# --- going about in the tree ------------------------------------------------------------------------------------------


async def test_any_place_of_any_branch_is_gone_to(bench: Bench) -> None:
    session = await talked(bench, "one", "two")
    nodes = (await session.tree()).nodes
    went = await session.navigate(nodes[2].seq)
    assert went.text == "two"
    await session.send("better")
    shown = await session.tree()
    assert [(n.text, n.current) for n in shown.nodes] == [
        ("one", True),
        ("I hear one", True),
        ("two", False),
        ("I hear two", False),
        ("better", True),
        ("I hear better", True),
    ]
    assert [n.text for n in shown.children(nodes[1].seq)] == ["two", "better"]
    await session.navigate(nodes[3].seq)
    assert await said(session) == TALK
    await session.send("three")
    shown = await session.tree()
    assert [n.text for n in shown.path()] == [*TALK, "three", "I hear three"]
    await session.label(nodes[0].seq, "start")
    await session.navigate("start")
    assert await said(session) == []
    with pytest.raises(InvalidArgument, match="already"):
        await session.label(nodes[1].seq, "start")
    with pytest.raises(InvalidArgument):
        await session.label(1, "no message")
    for wrong in ("", " ", "x" * 201, "a\nb"):
        with pytest.raises(InvalidArgument):
            await session.label(nodes[1].seq, wrong)
    await session.label(nodes[0].seq, None)
    with pytest.raises(InvalidArgument):
        await session.navigate("start")


async def test_the_branch_that_is_left_is_summed_up(bench: Bench) -> None:
    asked: list[str] = []

    def aside(request: Any) -> Any:
        if request.turn:
            return {1: "1.", 2: "2.", 3: "Understood."}[request.turn]
        asked.append(text_of(request.entries[0].message.content))
        return "Two was tried, and failed."

    model = ScriptedModel([aside], MODEL, select=lambda _: 0)
    runtime = await bench.runtime(models={MODEL: model})
    session = await runtime.start_session(godwit.Agent("tester", model=MODEL))
    await session.send("One?")
    await session.send("Two?")
    nodes = (await session.tree()).nodes
    before = (await session.state()).seq
    await session.navigate(nodes[1].seq, summary=True, focus="the failure")
    assert len(asked) == 1
    assert "Two?" in asked[0]
    assert "One?" not in asked[0]
    assert "the failure" in asked[0]
    history = await said(session)
    assert history[:2] == ["One?", "1."]
    assert "Two was tried, and failed." in history[2]
    await session.send("And now?")
    shown = await session.tree()
    assert [n.kind for n in shown.path()] == ["user", "agent", "branch_summary", "user", "agent"]
    # Nothing is left behind where one goes forward, so nothing is summed up.
    await session.navigate(shown.head or 0, summary=True)
    assert len(asked) == 1
    with pytest.raises(InvalidArgument):
        await session.navigate(nodes[1].seq, focus="x")
    await session.navigate(before)
    assert await said(session) == ["One?", "1.", "Two?", "2."]
    assert "usage.recorded" in await types(session)


async def test_a_summary_of_what_moved_meanwhile_is_refused(bench: Bench) -> None:
    session: Session

    async def meanwhile() -> None:
        await session.rewind(2)

    def aside(request: Any) -> Any:
        return f"{request.turn}." if request.turn else hold(release) + "It failed."

    release = asyncio.Event()
    model = ScriptedModel([aside], MODEL, select=lambda _: 0)
    runtime = await bench.runtime(models={MODEL: model})
    session = await runtime.start_session(godwit.Agent("tester", model=MODEL))
    await session.send("One?")
    await session.send("Two?")
    nodes = (await session.tree()).nodes
    going = asyncio.create_task(session.navigate(nodes[1].seq, summary=True))
    while not any(not r.turn for r in model.requests):  # noqa: ASYNC110 - nothing tells of a request
        await asyncio.sleep(0.01)
    await meanwhile()
    release.set()
    with pytest.raises(Conflict):
        await within(going)
    assert (await types(session)).count("session.rewound") == 1
