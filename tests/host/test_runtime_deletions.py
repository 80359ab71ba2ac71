"""Deleting by a session's id: nothing stays behind, whoever works on it."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from tests.engine.conftest import MODEL, Bench, within
from tests.host.by_id import Held, begin, data, outcome, says

import godwit
from godwit.core.checkpoint import CheckpointPolicy
from godwit.core.errors import ArtifactNotFound, SessionNotFound, SessionOwned
from godwit.core.events import SessionConfigured, ToolFinished
from godwit.core.ids import SessionId
from godwit.engine.log import append_outside
from godwit.models.script import Script, call


def rows_of(database: Path) -> dict[str, int]:
    """How many rows each table has."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as file:
        tables = [t for (t,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {t: file.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in tables}


async def test_deleting_leaves_nothing_behind(bench: Bench) -> None:
    """S003-35, 36, 37; defect 10: the original leaves the conversation. Events, snapshot, artifacts, keys, kept files."""

    @godwit.tool
    def much() -> str:
        return "line\n" * 50_000

    (bench.workspace / "a.txt").write_text("one\n")
    script: Script = [call("much"), call("bash", command="echo two > a.txt"), "Done."]
    runtime = await bench.runtime(script)
    agent = await runtime.create(godwit.Agent("tester", model=MODEL, tools=[much, "bash"], checkpoints=CheckpointPolicy()))
    before = rows_of(bench.path)
    session = (await runtime.start_session(agent, workspace=bench.workspace, drive=False)).id
    await runtime.send_event(session, says("Go."), key="once")
    assert (await outcome(runtime, session)).outcome == "done"
    await runtime.settle(SessionId(session))
    await append_outside(
        runtime.store, SessionId(session), [SessionConfigured(name=str(n)) for n in range(200)], runtime.clock
    )
    await runtime.send_event(session, says("Again.", "follow_up"))  # the log is long enough now for a snapshot
    await outcome(runtime, session, times=2)
    await runtime.settle(SessionId(session))
    ref = (await data(runtime, session, ToolFinished))[0].metadata["artifact"]
    checkpoints: Any = runtime.parts.checkpoints
    assert await checkpoints.kept(SessionId(session))
    full = rows_of(bench.path)
    for table in ("sessions", "events", "snapshots", "artifacts", "artifact_uses", "idempotency_keys"):
        assert full[table] > before[table], table
    await within(runtime.delete_session(session))
    assert rows_of(bench.path) == before
    with pytest.raises(ArtifactNotFound):
        await runtime.get_artifact(ref)
    assert await checkpoints.kept(SessionId(session)) == []
    with checkpoints._contents().reading() as reading:
        assert reading._db.execute("SELECT count(*) FROM objects").fetchone() == (0,)
    assert len(runtime.desk) == 0
    assert not runtime.hosts(SessionId(session))


async def test_a_session_that_another_process_works_on_can_be_deleted(bench: Bench) -> None:
    """Its run is ended there; that it lets go of the session a moment later is waited for."""
    held = Held()
    runtime, session = await begin(bench, [call("held"), "Never."], held.tool)
    await runtime.send_event(session, says("Go."))
    await within(held.entered.wait())
    elsewhere = await bench.runtime()
    await within(elsewhere.delete_session(session))
    with pytest.raises(SessionNotFound):
        await runtime.send_event(session, says("x"))
    assert await runtime.sessions() == []


async def test_deleting_gives_up_on_a_process_that_never_lets_go(bench: Bench) -> None:
    runtime, session = await begin(bench, ["Hello."], runtime=await bench.runtime(["Hello."], lease_ttl_s=0.3))
    elsewhere = await bench.runtime()
    lease = await elsewhere.store.claim(SessionId(session), elsewhere.store.owner, 3600)
    assert lease is not None
    with pytest.raises(SessionOwned):
        await within(runtime.delete_session(session))
    assert await runtime.status(session) == "archived"
    await elsewhere.store.release(lease)
    await within(runtime.delete_session(session))


async def test_two_who_delete_at_once_both_see_it_gone(bench: Bench) -> None:
    held = Held()
    runtime, session = await begin(bench, [call("held"), "Never."], held.tool)
    await runtime.send_event(session, says("Go."))
    await within(held.entered.wait())
    done = await within(asyncio.gather(*(runtime.delete_session(session) for _ in range(4)), return_exceptions=True))
    assert None in done
    assert all(error is None or isinstance(error, SessionNotFound) for error in done), done
    assert await runtime.sessions() == []


async def test_a_deleted_sessions_id_may_be_used_for_another(bench: Bench) -> None:
    runtime, session = await begin(bench, ["Hello."], session="ses_mine")
    await runtime.send_event(session, says("Hi."))
    await outcome(runtime, session)
    await runtime.delete_session(session)
    await begin(bench, ["Hello."], runtime=runtime, session="ses_mine", name="another")
    assert await runtime.status(session) == "queued"
    await runtime.send_event(session, says("Hi."))
    assert (await outcome(runtime, session)).outcome == "done"
    assert (await runtime.store.session(SessionId(session))).agent.name == "another"
