"""Files kept around turns: when a checkpoint is made and let go of, by policy and by hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import godwit
from godwit.core.checkpoint import CheckpointPolicy
from godwit.core.errors import CheckpointFailed, CheckpointNotFound, RewindConflict
from godwit.core.events import ToolStarted, TurnFinished, WorkspaceCheckpointed
from godwit.core.messages import ToolResult
from godwit.models.script import call
from godwit.testing import tree
from tests.engine.conftest import Bench, data, types
from tests.engine.rewind_words import (
    a_folder,  # noqa: F401 - a fixture
    sh,
    started,
)


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
