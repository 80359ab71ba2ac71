"""Files kept around turns, and going back with the conversation: what is undone, what is left, what is refused."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest

import godwit
from godwit.core.checkpoint import CheckpointPolicy
from godwit.core.errors import (
    CheckpointFailed,
    CheckpointNotFound,
    Conflict,
    InvalidArgument,
    RewindConflict,
    SessionBusy,
)
from godwit.core.events import (
    RunFinished,
    SessionRewound,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    WorkspaceCheckpointed,
    WorkspaceRestored,
)
from godwit.core.ids import CallId
from godwit.core.messages import ToolResult, User, text_of
from godwit.engine.log import append_outside
from godwit.engine.session import Session
from godwit.models.script import call
from godwit.testing import tree
from tests.engine.conftest import Bench, data, types, until, until_type, within


def sh(command: str) -> Any:
    return call("bash", command=command)


async def started(bench: Bench, *script: Any, **agent: Any) -> Session:
    return await bench.start([*script], "files", "bash", **agent)


@pytest.fixture
def folder(bench: Bench) -> Path:
    root = bench.workspace
    (root / "a.txt").write_text("one\n")
    (root / "keep.txt").write_text("kept\n")
    return root


async def until_file(path: Path) -> None:
    """Wait for what a command does."""
    while not path.exists():  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.01)


# --- when checkpoints are taken ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("folder")
async def test_a_turn_that_changes_files_is_kept_before_and_after(bench: Bench) -> None:
    session = await started(bench, call("read", file_path="a.txt"), sh("echo two >> a.txt") + sh("echo x > b.txt"), "Done.")
    await session.send("Go.")
    wanted = ("tool.started", "tool.finished", "workspace.checkpointed", "turn.finished")
    assert [t for t in await types(session) if t in wanted] == [
        "tool.started",
        "tool.finished",
        "turn.finished",
        "workspace.checkpointed",
        "tool.started",
        "tool.finished",
        "tool.started",
        "tool.finished",
        "workspace.checkpointed",
        "turn.finished",
        "turn.finished",
    ]
    before, after = await data(session, WorkspaceCheckpointed)
    assert (before.when, before.turn, after.when, after.turn) == ("before", 2, "after", 2)
    diff = await session.diff(before.ref, after.ref)
    assert [(c.path, c.change, c.added_lines) for c in diff.changes] == [("a.txt", "modified", 1), ("b.txt", "added", 1)]
    assert [c.kept for c in await session.checkpoints()] == [True, True]


@pytest.mark.usefixtures("folder")
async def test_without_a_workspace_or_a_policy_nothing_is_kept(bench: Bench) -> None:
    session = await started(bench, sh("echo x > b.txt"), "Done.", checkpoints=False)
    await session.send("Go.")
    assert await data(session, WorkspaceCheckpointed) == []
    runtime = await bench.runtime([call("note"), "Done."])

    @godwit.tool
    def note() -> str:
        """Do something."""
        return "done"

    alone = await runtime.start_session(godwit.Agent("alone", model="scripted:test", tools=[note]))
    await alone.send("Go.")
    assert await data(alone, WorkspaceCheckpointed) == []
    for ask in (alone.checkpoint, alone.checkpoints, lambda: alone.diff(1)):
        with pytest.raises(CheckpointFailed, match="no workspace"):
            await ask()
    assert not Path(f"{bench.path}.files").exists()


async def test_what_cannot_be_kept_is_not_changed(bench: Bench, folder: Path) -> None:
    policy = CheckpointPolicy(max_files=1)
    session = await started(bench, call("read", file_path="a.txt") + sh("echo x > b.txt"), "I see.", checkpoints=policy)
    await session.send("Go.")
    assert not (folder / "b.txt").exists()
    reading, writing = [m for m in await session.history() if isinstance(m, ToolResult)]
    assert reading.status == "ok"
    assert writing.status == "error"
    assert "could not be kept" in writing.text
    assert "more than 1 files" in writing.text
    assert [s.name for s in await data(session, ToolStarted)] == ["read"]
    (checkpointed,) = await data(session, WorkspaceCheckpointed)
    assert checkpointed.ref is None
    assert "max_files" in checkpointed.error
    with pytest.raises(CheckpointFailed, match="more than 1 files"):
        await session.checkpoint()


async def test_a_policy_may_let_the_work_go_on_and_the_log_says_so(bench: Bench, folder: Path) -> None:
    policy = CheckpointPolicy(max_files=2, on_failure="warn")
    session = await started(
        bench, sh("echo x > b.txt"), sh("rm b.txt; echo z > a.txt"), sh("echo y > a.txt"), "Done.", checkpoints=policy
    )
    await session.send("Go.")
    assert (folder / "a.txt").read_text() == "y\n"
    found = [(c.when, c.turn, c.ref is not None) for c in await data(session, WorkspaceCheckpointed)]
    assert found == [
        ("before", 1, True),
        ("after", 1, False),
        ("before", 2, False),
        ("after", 2, True),
        ("before", 3, True),
        ("after", 3, True),
    ]
    # Who changed what cannot be told apart around what was not kept: so it is asked about.
    with pytest.raises(RewindConflict, match=r"a\.txt"):
        await session.rewind((await session.turnings())[0].seq, files=True)
    finished = [e.seq for e in await session.events() if isinstance(e.data, TurnFinished)]
    with pytest.raises(CheckpointNotFound, match="were not kept"):
        await session.rewind(finished[0], files=True)
    assert (await session.rewind(finished[0])).changes == ()


# --- going back -------------------------------------------------------------------------------------------------------


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


async def test_old_checkpoints_are_let_go_of_by_policy(bench: Bench, folder: Path) -> None:
    policy = CheckpointPolicy(keep_count=3)
    script = [x for n in range(4) for x in (sh(f"echo {n} > a.txt"), "Done.")]
    session = await started(bench, *script, checkpoints=policy)
    for _ in range(4):
        await session.send("Go.")
    await bench.runtimes[-1].settle(session.id)
    kept = [c.kept for c in await session.checkpoints()]
    assert kept == [False, False, False, True, True, True, True, True]
    turnings = await session.turnings()
    with pytest.raises(CheckpointNotFound, match="policy has let go"):
        await session.rewind(turnings[0].seq, files=True)
    with pytest.raises(CheckpointNotFound):
        await session.diff(turnings[0].seq)
    await session.rewind(turnings[2].seq, files=True)
    assert (folder / "a.txt").read_text() == "1\n"


async def test_a_deleted_session_keeps_no_files(bench: Bench, folder: Path) -> None:
    runtime = await bench.runtime()
    sessions = [await bench.start([sh(f"echo {n} > a.txt"), "Done."], "bash", runtime=runtime) for n in (1, 2)]
    (folder / "large").write_bytes(os.urandom(100_000))
    for number, session in enumerate(sessions):
        runtime.models.resolve("scripted:test")._turns = [sh(f"echo {number} > a.txt"), "Done."]  # type: ignore[attr-defined]
        await session.send("Go.")
    assert runtime.parts.checkpoints is not None
    await runtime.delete_session(sessions[0].id)
    assert await runtime.parts.checkpoints.kept(sessions[0].id) == []
    await sessions[1].rewind((await sessions[1].turnings())[0].seq, files=True)
    await runtime.delete_session(sessions[1].id)
    with runtime.parts.checkpoints._contents().reading() as reading:  # type: ignore[attr-defined]
        assert reading._db.execute("SELECT count(*) FROM objects").fetchone() == (0,)


# --- by hand ----------------------------------------------------------------------------------------------------------


async def test_checkpoints_by_hand_and_what_changed_since(bench: Bench, folder: Path) -> None:
    session = await started(bench, sh("echo 1 > a.txt"), "Done.")
    taken = await session.checkpoint()
    assert taken.when == "manual"
    (folder / "keep.txt").write_text("changed\n")
    await session.send("Go.")
    assert [(c.when, c.ref == taken.ref) for c in await session.checkpoints()] == [
        ("manual", True),
        ("before", False),
        ("after", False),
    ]
    assert [c.path for c in (await session.diff()).changes] == ["a.txt", "keep.txt"]
    assert [c.path for c in (await session.diff(taken.ref, taken.seq)).changes] == ["keep.txt"]
    assert [c.path for c in (await session.diff(paths=["a.txt"])).changes] == ["a.txt"]
    assert (await session.diff(taken.ref, taken.ref)).text == ""
    with pytest.raises(CheckpointNotFound):
        await session.diff("tree:nonsense")
    # Going back before it undoes what the agent did, and not what the person did after it.
    await session.rewind(taken.seq - 1, files=True)
    assert {p: e[2] for p, e in tree(folder).items()} == {"a.txt": b"one\n", "keep.txt": b"changed\n"}


# --- deaths and other processes ---------------------------------------------------------------------------------------


async def stored_rewind(bench: Bench, session: Session, seq: int) -> tuple[Any, dict[str, Any]]:
    """A rewind that was stored by a process that died before it put a file back; the event, and the files then."""
    runtime = bench.runtimes[-1]
    checkpoints = runtime.parts.checkpoints
    assert checkpoints is not None
    before = tree(bench.workspace)
    base = await checkpoints.take(session.id, str(bench.workspace), CheckpointPolicy())
    first = next(c.ref for c in await data(session, WorkspaceCheckpointed) if c.ref)
    merged, _ = await checkpoints.merge(session.id, base, first)
    event = SessionRewound(seq, merged, undo=base)
    await session.close()
    await append_outside(runtime.store, session.id, [event], runtime.clock)
    return event, before


@pytest.mark.parametrize("end", ["archive", "delete"])
async def test_a_rewind_that_was_broken_off_is_finished_before_its_session_ends(
    bench: Bench, folder: Path, end: str
) -> None:
    session = await started(bench, sh("echo 1 > a.txt; rm keep.txt"), "Done.")
    before = tree(folder)
    await session.send("Go.")
    await stored_rewind(bench, session, 3)
    await bench.close()
    runtime = await bench.runtime()
    await within(runtime.archive(session.id) if end == "archive" else runtime.delete_session(session.id))
    assert tree(folder) == before
    assert [row.status for row in await runtime.sessions()] == (["archived"] if end == "archive" else [])


async def test_a_rewind_that_was_broken_off_is_finished_before_anything_else(bench: Bench, folder: Path) -> None:
    session = await started(bench, sh("echo 1 > a.txt; rm keep.txt"), "Done.", "After it.")
    before = tree(folder)
    await session.send("Go.")
    await stored_rewind(bench, session, 3)
    await bench.close()
    runtime = await bench.runtime([sh("cat a.txt"), "Seen."])
    watching = await runtime.open_session(session.id, drive=False)
    assert (await watching.state()).restoring is not None
    with pytest.raises(SessionBusy, match="being put back"):
        await watching.tool("bash", {"command": "echo 3 > a.txt"})
    run = await watching.prompt("Look.")
    handle = await runtime.open_session(session.id)
    assert (await within(handle.wait(run))).outcome == "done"
    kinds = await types(handle)
    assert kinds.index("workspace.restored") < kinds.index("run.claimed", kinds.index("session.rewound"))
    assert tree(folder) == before
    (restored,) = await data(handle, WorkspaceRestored)
    assert restored.left == ()
    assert restored.result == restored.ref
    assert (await handle.state()).restoring is None
    looked = [m for m in await handle.history() if isinstance(m, ToolResult)]
    assert looked[0].text == "one\n"


async def test_a_handle_that_does_not_drive_can_rewind(bench: Bench, folder: Path) -> None:
    @godwit.tool
    def change() -> str:
        """Change a file."""
        (folder / "a.txt").write_text("changed\n")
        return "done"

    session = await bench.start([call("change"), "Done."], change)
    await session.send("Go.")
    await bench.close()
    runtime = await bench.runtime()  # it does not know the function
    watching = await runtime.open_session(session.id, drive=False)
    (turning,) = await watching.turnings()
    await within(watching.rewind(turning.seq, files=True))
    assert (folder / "a.txt").read_text() == "one\n"
    await within(watching.redo())
    assert (folder / "a.txt").read_text() == "changed\n"


async def test_what_changed_between_the_death_and_the_next_process_is_left(bench: Bench, folder: Path) -> None:
    session = await started(bench, sh("echo 1 > a.txt; echo 1 > b.txt"), "Done.")
    await session.send("Go.")
    await stored_rewind(bench, session, 3)
    (folder / "a.txt").write_text("a person's\n")
    await bench.close()
    runtime = await bench.runtime()
    handle = await runtime.open_session(session.id)
    event = await until_type(handle, "workspace.restored")
    assert isinstance(event.data, WorkspaceRestored)
    assert [one.path for one in event.data.left] == ["a.txt"]
    assert event.data.result != event.data.ref
    assert {p: e[2] for p, e in tree(folder).items()} == {"a.txt": b"a person's\n", "keep.txt": b"kept\n"}


async def test_kept_files_that_are_gone_do_not_lock_the_session(bench: Bench, folder: Path) -> None:
    session = await started(bench, sh("echo 1 > a.txt"), "Done.")
    await session.send("Go.")
    await stored_rewind(bench, session, 3)
    await bench.close()
    shutil.rmtree(f"{bench.path}.files")
    runtime = await bench.runtime(["Still here."])
    handle = await runtime.open_session(session.id)
    event = await until_type(handle, "workspace.restored")
    assert isinstance(event.data, WorkspaceRestored)
    assert event.data.error is not None
    assert (folder / "a.txt").read_text() == "1\n"
    assert (await within(handle.send("Go on."))).text == "Still here."


async def test_a_disk_that_is_full_holds_the_session_until_it_is_not(bench: Bench, folder: Path) -> None:
    session = await started(bench, sh("head -c 600000 /dev/urandom > large; rm large; echo 1 > a.txt"), "Done.", "On.")
    (folder / "big").write_bytes(os.urandom(600_000))
    await session.send("Go.")
    (folder / "big").unlink()
    checkpoints = bench.runtimes[-1].parts.checkpoints
    assert checkpoints is not None
    base = await checkpoints.take(session.id, str(folder), CheckpointPolicy())
    first = next(c.ref for c in await data(session, WorkspaceCheckpointed) if c.ref)
    rewound = SessionRewound(3, first, undo=base)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    await append_outside(bench.runtimes[-1].store, session.id, [rewound], bench.runtimes[-1].clock)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
    try:
        with pytest.raises(CheckpointFailed, match="'big' was the first"):
            await within(session._finish_restoring())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (await session.state()).restoring is not None
    await within(session._finish_restoring())
    assert (folder / "big").stat().st_size == 600_000
    assert (folder / "a.txt").read_text() == "one\n"
    assert (await within(session.send("Go on."))).text == "Done."


async def test_two_who_rewind_at_once(bench: Bench, folder: Path) -> None:
    session = await started(bench, sh("echo 1 > a.txt"), "Done.", sh("echo 2 > a.txt"), "Done.")
    await session.send("Go.")
    await session.send("Go.")
    turnings = await session.turnings()
    other = await bench.runtimes[-1].open_session(session.id)
    done = await asyncio.gather(
        session.rewind(turnings[0].seq, files=True),
        other.rewind(turnings[1].seq, files=True),
        return_exceptions=True,
    )
    assert all(isinstance(d, SessionBusy) or not isinstance(d, BaseException) for d in done), done
    last = [e for e in await data(session, SessionRewound)][-1]
    assert (folder / "a.txt").read_text() == ("one\n" if last.to == turnings[0].seq else "1\n")
    assert (await session.state()).restoring is None


async def test_a_crash_in_the_middle_of_a_turn_keeps_its_first_checkpoint(bench: Bench, folder: Path) -> None:
    """The call's effect happened in a process that died; the next one keeps the files after it, once."""
    session = await started(bench, sh("echo 1 > a.txt; echo x > b.txt; sleep 60"), "Never.")
    await session.prompt("Go.")
    await until(session, lambda e: isinstance(e.data, ToolStarted))
    await until_file(folder / "b.txt")
    driver = bench.runtimes[-1]._dispatcher._hosted[session.id]
    assert driver.task is not None
    driver.task.cancel()  # as a death does it: nothing more is written
    await asyncio.wait([driver.task])
    await bench.close()
    runtime = await bench.runtime(["I see."])
    handle = await runtime.open_session(session.id)
    await until(handle, lambda e: isinstance(e.data, RunFinished))
    (result,) = [m for m in await handle.history() if isinstance(m, ToolResult)]
    assert result.status in ("unknown", "error")
    assert [c.when for c in await data(handle, WorkspaceCheckpointed)] == ["before", "after"]
    await handle.rewind((await handle.turnings())[0].seq, files=True)
    assert (folder / "a.txt").read_text() == "one\n"


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
