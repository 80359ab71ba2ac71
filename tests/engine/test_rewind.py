"""Going back with the conversation and its files: what is undone, what is left, what is refused."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import Any

import pytest

from godwit.core.errors import Conflict, InvalidArgument, RewindConflict, SessionBusy
from godwit.core.events import SessionRewound, ToolFinished, ToolStarted, TurnFinished, WorkspaceCheckpointed
from godwit.core.ids import CallId
from godwit.core.messages import ToolResult, User, text_of
from godwit.models.script import call
from godwit.testing import tree
from tests.engine.conftest import Bench, data, types, until, until_type, within
from tests.engine.rewind_words import (
    a_folder,  # noqa: F401 - a fixture
    sh,
    started,
    until_file,
)


async def test_back_and_forth_with_everything_a_shell_can_do(bench: Bench, folder: Path) -> None:
    (folder / "bin.dat").write_bytes(bytes(range(256)))
    (folder / "dir" / "deep").mkdir(parents=True)
    (folder / "dir" / "deep" / "x").write_text("x")
    (folder / ".gitignore").write_text("*.log\n")
    (folder / "old.log").write_text("ignored\n")
    os.symlink("a.txt", folder / "link")
    before = tree(folder)
    session = await started(
        bench,
        call("edit", file_path="a.txt", old_string="one", new_string="two"),
        sh("printf '\\0\\1' > bin.dat; rm -r dir; echo f > dir; ln -sf keep.txt link; chmod +x a.txt; echo more >> old.log"),
        sh("mkdir -p new/empty; mv keep.txt new/moved.txt; rm old.log"),
        "Done.",
    )
    await session.send("Change all.")
    after = tree(folder)
    head = (await session.state()).seq
    (turning,) = await session.turnings()
    assert turning.text == "Change all."
    preview = await session.preview_rewind(turning.seq)
    assert tree(folder) == after
    assert preview.conflicts == ()
    assert "-two" in preview.diff
    assert "+one" in preview.diff
    assert preview.text == "Change all."
    result = await session.rewind(turning.seq, files=True)
    assert tree(folder) == before
    assert result.left == ()
    assert result.text == "Change all."
    assert {c.path for c in result.changes} == {c.path for c in preview.changes}
    assert await session.history() == ()
    redone = await session.redo()
    assert tree(folder) == after
    assert len(await session.history()) == 8
    assert redone.to == head
    with pytest.raises(Conflict, match="no rewind to take back"):
        await session.redo()
    await session.rewind(turning.seq, files=True)
    assert tree(folder) == before
    assert (await session.send("Something else.")).text == "Done."
    with pytest.raises(Conflict, match="gone on since"):
        await session.redo()


async def test_several_rewinds_are_taken_back_one_by_one(bench: Bench, folder: Path) -> None:
    script = [x for n in (1, 2, 3) for x in (sh(f"echo {n} > a.txt"), f"{n}.")]
    session = await started(bench, *script)
    for number in (1, 2, 3):
        await session.send(f"Write {number}.")
    turnings = await session.turnings()
    assert [t.text for t in turnings] == ["Write 1.", "Write 2.", "Write 3."]
    for turning, content in zip(reversed(turnings), ("2\n", "1\n", "one\n"), strict=True):
        await session.rewind(turning.seq, files=True)
        assert (folder / "a.txt").read_text() == content
    for content in ("1\n", "2\n", "3\n"):
        await session.redo()
        assert (folder / "a.txt").read_text() == content
    assert len(await session.history()) == 12
    with pytest.raises(Conflict):
        await session.redo()
    # A redo can be undone, and redone.
    await session.rewind(turnings[0].seq, files=True)
    assert (folder / "a.txt").read_text() == "one\n"
    await session.redo()
    assert (folder / "a.txt").read_text() == "3\n"


async def test_the_conversation_alone(bench: Bench, folder: Path) -> None:
    session = await started(bench, sh("echo 1 >> a.txt"), "Done.")
    await session.send("Go.")
    (turning,) = await session.turnings()
    result = await session.rewind(turning.seq)
    assert (result.changes, result.left) == ((), ())
    assert (folder / "a.txt").read_text() == "one\n1\n"
    assert await session.history() == ()
    await session.redo()
    assert len(await session.history()) == 4
    # The files of then can still be had, also on what was left behind.
    await session.rewind(turning.seq)
    await session.send("Another way.")
    assert (folder / "a.txt").read_text() == "one\n1\n1\n"
    await session.rewind(turning.seq, files=True)
    assert (folder / "a.txt").read_text() == "one\n"


async def test_what_only_a_person_changed_stays(bench: Bench, folder: Path) -> None:
    session = await started(bench, sh("echo 1 > a.txt; mkdir made; echo x > made/x"), "Done.", sh("echo 2 > a.txt"), "Done.")
    await session.send("Go.")
    (folder / "keep.txt").write_text("a person's\n")
    (folder / "theirs.txt").write_text("a person's\n")
    (folder / "made" / "theirs").write_text("a person's\n")
    await session.send("Go.")
    (folder / "late.txt").write_text("a person's\n")
    result = await session.rewind((await session.turnings())[0].seq, files=True)
    assert result.left == ()
    assert {p: e[2] for p, e in tree(folder).items() if e[0] == "file"} == {
        "a.txt": b"one\n",
        "keep.txt": b"a person's\n",
        "theirs.txt": b"a person's\n",
        "made/theirs": b"a person's\n",
        "late.txt": b"a person's\n",
    }


@pytest.mark.parametrize("when", ["between", "after"])
async def test_what_both_changed_is_a_conflict(bench: Bench, folder: Path, when: str) -> None:
    session = await started(bench, sh("echo 1 > a.txt; echo 1 > b.txt"), "Done.", sh("echo 2 > b.txt"), "Done.")
    await session.send("Go.")
    if when == "between":
        (folder / "a.txt").write_text("a person's\n")
    await session.send("Go.")
    if when == "after":
        (folder / "a.txt").write_text("a person's\n")
    before, events = tree(folder), await types(session)
    turning = (await session.turnings())[0]
    preview = await session.preview_rewind(turning.seq)
    assert preview.conflicts == ("a.txt",)
    assert [(c.path, c.conflict) for c in preview.changes] == [("a.txt", True), ("b.txt", False)]
    with pytest.raises(RewindConflict, match=r"a\.txt would be put back") as refused:
        await session.rewind(turning.seq, files=True)
    assert refused.value.details["paths"] == ["a.txt"]
    assert (tree(folder), await types(session)) == (before, events)
    kept = await session.rewind(turning.seq, files=True, on_conflict="keep")
    assert [one.path for one in kept.left] == ["a.txt"]
    assert (folder / "a.txt").read_text() == "a person's\n"
    assert not (folder / "b.txt").exists()
    await session.redo()
    assert tree(folder) == before
    await session.rewind(turning.seq, files=True, on_conflict="overwrite")
    assert (folder / "a.txt").read_text() == "one\n"
    await session.redo()
    assert tree(folder) == before
    with pytest.raises(InvalidArgument, match="none of refuse"):
        await session.rewind(turning.seq, files=True, on_conflict="nonsense")  # type: ignore[arg-type]


async def test_work_that_was_undone_already_is_no_ones_conflict(bench: Bench, folder: Path) -> None:
    script = [sh("echo 1 > a.txt"), "Done.", sh("echo 2 > b.txt"), "Done."]
    session = await started(bench, *script)
    await session.send("One.")
    first = (await session.turnings())[0].seq
    await session.rewind(first, files=True)
    (folder / "a.txt").write_text("a person's, afterwards\n")
    # The agent's change of a.txt is not there any more, so going back once more has nothing to do with it.
    preview = await session.preview_rewind(first)
    assert (preview.changes, preview.conflicts) == ((), ())
    # Forth again it is in the way, though.
    with pytest.raises(RewindConflict, match=r"a\.txt"):
        await session.redo()
    await session.redo(on_conflict="keep")
    assert (folder / "a.txt").read_text() == "a person's, afterwards\n"


async def test_what_a_person_changed_before_the_agent_did_is_no_conflict(bench: Bench, folder: Path) -> None:
    session = await started(bench, sh("echo 1 >> b.txt"), "Done.", sh("echo 2 >> a.txt"), "Done.")
    await session.send("One.")
    (folder / "a.txt").write_text("a person's\n")
    await session.send("Two.")
    second = (await session.turnings())[1].seq
    await session.rewind(second, files=True)
    assert (folder / "a.txt").read_text() == "a person's\n"
    await session.redo()
    assert (folder / "a.txt").read_text() == "a person's\n2\n"
    await session.rewind(second, files=True)
    await session.redo()
    assert (folder / "a.txt").read_text() == "a person's\n2\n"


async def test_from_one_branch_to_another(bench: Bench, folder: Path) -> None:
    """What was left behind by a rewind can be gone to by its seq, with the files as they were there."""

    def answer(request: Any) -> Any:
        said = [e.message for e in request.entries]
        if isinstance(said[-1], ToolResult):
            return "Done."
        word = text_of(said[-1].content)
        return sh(f"echo {word} >> a.txt; echo {word} > {word}.txt")

    session = await started(bench, *[answer] * 9)
    await session.send("base")
    fork = (await session.state()).seq
    await session.send("left")
    left_end = (await session.state()).seq
    await session.rewind(fork, files=True)
    await session.send("right")
    await session.send("further")
    right_end = (await session.state()).seq
    right = tree(folder)
    (folder / "theirs.txt").write_text("a person's\n")
    await session.rewind(left_end, files=True)
    assert {p: e[2].decode() for p, e in tree(folder).items()} == {
        "a.txt": "one\nbase\nleft\n",
        "base.txt": "base\n",
        "left.txt": "left\n",
        "keep.txt": "kept\n",
        "theirs.txt": "a person's\n",
    }
    assert [text_of(m.content) for m in await session.history() if isinstance(m, User)] == ["base", "left"]
    await session.rewind(right_end, files=True)
    assert tree(folder) == {**right, "theirs.txt": tree(folder)["theirs.txt"]}
    await session.redo()
    assert (folder / "left.txt").exists()
    await session.rewind(fork, files=True)
    assert set(tree(folder)) == {"a.txt", "base.txt", "keep.txt", "theirs.txt"}
    assert (folder / "a.txt").read_text() == "one\nbase\n"


async def test_a_person_who_had_put_it_back_already_is_no_conflict(bench: Bench, folder: Path) -> None:
    session = await started(bench, sh("echo 1 > a.txt"), "Done.")
    await session.send("Go.")
    (folder / "a.txt").write_text("one\n")
    result = await session.rewind((await session.turnings())[0].seq, files=True)
    assert (result.changes, result.left) == ((), ())
    (rewound,) = await data(session, SessionRewound)
    assert rewound.files is None


async def test_ignored_files_that_both_changed_stay_without_asking(bench: Bench, folder: Path) -> None:
    (folder / ".gitignore").write_text("*.log\n")
    (folder / "run.log").write_text("1\n")
    session = await started(bench, sh("echo 2 >> run.log; mkdir -p __pycache__; echo c > __pycache__/c.pyc"), "Done.")
    await session.send("Go.")
    (folder / "run.log").write_text("a person's run\n")
    (folder / "__pycache__" / "c.pyc").write_text("newer")
    result = await session.rewind((await session.turnings())[0].seq, files=True)
    assert [one.path for one in result.left] == ["__pycache__/c.pyc", "run.log"]
    assert (folder / "run.log").read_text() == "a person's run\n"
    assert (folder / "__pycache__" / "c.pyc").read_text() == "newer"
    await session.redo()
    await session.rewind((await session.turnings())[0].seq, files=True, on_conflict="overwrite")
    assert (folder / "run.log").read_text() == "1\n"
    assert not (folder / "__pycache__").exists()


async def test_what_a_person_does_while_a_turn_waits_for_them_is_theirs(bench: Bench, folder: Path) -> None:
    script = sh("echo 1 > a.txt") + call("write", file_path="b.txt", content="agent\n")
    session = await started(bench, script, "Done.", permissions={"write": "ask"})
    run = await session.prompt("Go.")
    await until_type(session, "run.parked")
    (folder / "theirs.txt").write_text("a person's\n")
    (folder / "a.txt").write_text("a person's\n")
    (pending,) = await session.approvals.pending()
    await session.approve(pending.id)
    await within(session.wait(run))
    assert [(c.when, c.turn) for c in await data(session, WorkspaceCheckpointed)] == [("before", 1), ("after", 1)] * 2
    turning = (await session.turnings())[0]
    with pytest.raises(RewindConflict) as refused:
        await session.rewind(turning.seq, files=True)
    assert refused.value.details["paths"] == ["a.txt"]
    await session.rewind(turning.seq, files=True, on_conflict="keep")
    assert {p: e[2] for p, e in tree(folder).items()} == {
        "a.txt": b"a person's\n",
        "keep.txt": b"kept\n",
        "theirs.txt": b"a person's\n",
    }


async def test_an_interrupted_turn_can_be_undone(bench: Bench, folder: Path) -> None:
    session = await started(bench, sh("echo 1 > a.txt; echo x > b.txt; sleep 60"), "Never.")
    await session.prompt("Go.")
    await until(session, lambda e: isinstance(e.data, ToolStarted))
    await until_file(folder / "b.txt")
    await within(session.interrupt())
    assert [c.when for c in await data(session, WorkspaceCheckpointed)] == ["before", "after"]
    await session.rewind((await session.turnings())[0].seq, files=True)
    assert {p: e[2] for p, e in tree(folder).items()} == {"a.txt": b"one\n", "keep.txt": b"kept\n"}


async def test_an_interrupt_does_not_wait_for_a_checkpoint(bench: Bench, folder: Path) -> None:
    runtime = await bench.runtime()
    reached, cut = asyncio.Event(), asyncio.Event()
    take = runtime.parts.checkpoints.take  # type: ignore[union-attr]

    async def slow(*args: Any) -> Any:
        if cut.is_set():
            return await take(*args)
        reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            cut.set()

    runtime.parts.checkpoints.take = slow  # type: ignore[union-attr, method-assign]
    session = await bench.start([sh("echo 1 > a.txt"), "Never."], "bash", runtime=runtime)
    run = await session.prompt("Go.")
    await within(reached.wait())
    await within(session.interrupt())
    assert cut.is_set()
    assert (await session.wait(run)).outcome == "interrupted"
    assert (folder / "a.txt").read_text() == "one\n"
    assert await data(session, ToolStarted) == []


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("folder")
async def test_places_that_cannot_be_gone_back_to(bench: Bench) -> None:
    session = await started(bench, sh("echo 1 > a.txt"), "Done.", sh("sleep 60"))
    await session.send("Go.")
    head = (await session.state()).seq
    for seq in (0, -3, head + 1):
        with pytest.raises(InvalidArgument, match=f"1 to {head}"):
            await session.rewind(seq, files=True)
    started_at = next(e.seq for e in await session.events() if isinstance(e.data, ToolStarted))
    begun = next(e.seq for e in await session.events() if e.type == "turn.started")
    ended = next(e.seq for e in await session.events() if isinstance(e.data, TurnFinished))
    for act in (session.rewind, session.preview_rewind):
        with pytest.raises(InvalidArgument, match=f"go to {begun - 1} or {ended}") as refused:
            await act(started_at)
        assert refused.value.details["nearest"] == [begun - 1, ended]
    await session.prompt("Go on.")
    await until(session, lambda e: isinstance(e.data, ToolStarted), head)
    with pytest.raises(SessionBusy):
        await session.rewind(3, files=True)
    with pytest.raises(SessionBusy):
        await session.preview_rewind(3)
    await within(session.interrupt(force=True))
    assert await data(session, SessionRewound) == []


async def test_calls_of_the_host_are_a_persons_work(bench: Bench, folder: Path) -> None:
    session = await started(bench, sh("echo 1 > b.txt"), "Done.")
    await session.send("Go.")
    await session.write_file("a.txt", "by the host\n")
    await session.rewind((await session.turnings())[0].seq, files=True)
    assert {p: e[2] for p, e in tree(folder).items()} == {"a.txt": b"by the host\n", "keep.txt": b"kept\n"}
    assert isinstance((await data(session, ToolFinished))[-1].call, CallId.__supertype__)  # type: ignore[attr-defined]


@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 40))])
async def test_any_place_can_be_gone_to_from_any_other(bench: Bench, folder: Path, seed: int) -> None:
    """Random turns, rewinds with and without files, and redos: the files are always those of the place gone to, and what a
    person did beside is always there."""
    chance = random.Random(seed)

    def answer(request: Any) -> Any:
        if isinstance(request.entries[-1].message, ToolResult):
            return "Done."
        name = chance.choice(["a.txt", "b.txt", "d/c.txt", "d/e/f.txt"])
        return sh(
            chance.choice(
                [
                    f"mkdir -p $(dirname {name}) && echo {chance.random()} >> {name}",
                    f"rm -rf {chance.choice(['d', name])}",
                    f"[ ! -f {name} ] || chmod {chance.choice(['755', '600'])} {name}",
                    "rm -rf d; echo no folder > d",
                ]
            )
        )

    session = await started(bench, *[answer] * 40)
    places: dict[int, dict[str, Any]] = {}
    theirs = 0

    def files() -> dict[str, Any]:
        return {path: entry for path, entry in tree(folder).items() if not path.startswith("theirs")}

    async def note() -> None:
        places[(await session.state()).seq] = files()

    undone = 0
    for _ in range(14):
        match chance.choice(["turn", "turn", "back", "back", "redo", "talk", "person"]):
            case "turn":
                await session.send("Go on.")
                await note()
                undone = 0
            case "person":
                theirs += 1
                (folder / f"theirs-{theirs}").write_text(str(theirs))
            case "back" if places:
                to = chance.choice(list(places))
                result = await session.rewind(to, files=True)
                assert result.left == ()
                assert files() == places[to], f"seed {seed}: not what it was at {to}"
                await note()
                undone += 1
            case "talk" if places:  # the conversation alone: the files stay, and this place has them
                before = files()
                await session.rewind(chance.choice(list(places)))
                assert files() == before
                await note()
                undone += 1
            case "redo" if undone:
                await session.redo()
                await note()
                undone -= 1
            case _:
                pass
    assert sorted(p.name for p in folder.glob("theirs*")) == sorted(f"theirs-{n + 1}" for n in range(theirs))
