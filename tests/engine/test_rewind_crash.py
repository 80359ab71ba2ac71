"""Rewinds and turns that are broken off, or that two go at: what the next process finds and finishes."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest

import godwit
from godwit.core.checkpoint import CheckpointPolicy
from godwit.core.errors import CheckpointFailed, SessionBusy
from godwit.core.events import RunFinished, SessionRewound, ToolStarted, WorkspaceCheckpointed, WorkspaceRestored
from godwit.core.messages import ToolResult
from godwit.engine.log import append_outside
from godwit.engine.session import Session
from godwit.models.script import call
from godwit.testing import tree
from tests.engine.conftest import Bench, data, types, until, until_type, within
from tests.engine.rewind_words import (
    a_folder,  # noqa: F401 - a fixture
    sh,
    started,
    until_file,
)


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
