"""Run records: what of a session's runs is listed and read, and that counting goes on; artifacts under limits."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

import godwit
from godwit.core.artifact import ArtifactLimits
from godwit.core.errors import ArtifactNotFound, ConfigurationError, InvalidArgument, RunNotFound
from godwit.core.events import ArtifactStored, Event
from godwit.core.record import RecordLimits
from godwit.engine.session import Session
from godwit.host.runtime import Runtime
from godwit.models.script import ScriptedModel, call, fail, hold, say
from godwit.stores.sqlite import SqliteStore
from tests.engine.conftest import Bench, data, until_type
from tests.patience import PATIENCE_S


@godwit.tool(read_only=True)
def look(what: str) -> str:
    """Look at something."""
    return f"a {what}"


@godwit.tool
def much(kind: str) -> str:
    """Say a lot."""
    return kind * 150_000


async def told(session: Session, prompts: int) -> list[str]:
    """Send so many prompts and give the ids of their runs."""
    return [(await session.send(f"prompt {n}")).run for n in range(prompts)]


# --- runs -------------------------------------------------------------------------------------------------------------


async def test_without_limits_all_is_there(bench: Bench) -> None:
    session = await bench.start([call("look", what="bird"), "one", "two", fail(godwit.errors.ModelRefused("no"))], look)
    first, _ = [await session.send(f"prompt {n}") for n in range(2)]
    with pytest.raises(godwit.RunFailed):
        await session.send("prompt 2")
    runs = await session.runs()
    assert [(r.prompt, r.status, r.text, r.turns, r.tool_calls, r.attempt) for r in runs] == [
        ("prompt 0", "done", "one", 2, 1, 1),
        ("prompt 1", "done", "two", 1, 0, 1),
        ("prompt 2", "failed", "", 1, 0, 1),
    ]
    assert runs[0].usage == first.usage
    assert [r.error is not None for r in runs] == [False, False, True]
    assert await session.run_count() == 3
    for run in runs:
        events = await session.run_events(run.id)
        assert (len(events), events[0].seq, events[-1].seq) == (run.event_count, run.first_seq, run.last_seq)
        assert (events[0].type, events[-1].type) == ("user.message", "run.finished")
        assert (events[0].at_ms, events[-1].at_ms) == (run.created_ms, run.updated_ms)
        assert await session.run_snapshot(run.id) == run
    assert [r.id for r in await session.runs(limit=2)] == [r.id for r in runs[1:]]
    assert await session.runs(limit=2) == runs[1:]
    assert await session.runs(limit=0) == []
    assert await session.runs(limit=99) == runs
    with pytest.raises(InvalidArgument):
        await session.runs(limit=-1)


class CountingStore(SqliteStore):
    """Counts the events that are read."""

    events_read = 0

    async def read(self, *arguments: Any, **options: Any) -> list[Event]:
        found = await super().read(*arguments, **options)
        self.events_read += len(found)
        return found


async def test_the_newest_runs_are_read_from_the_end_of_the_log_alone(tmp_path: Path) -> None:
    store = CountingStore.open(tmp_path / "godwit.db")
    model = ScriptedModel(["x"] * 40, "scripted:test")
    async with await Runtime.open(store=store, models={"scripted:test": model}) as runtime:
        session = await runtime.start_session(godwit.Agent("a", model="scripted:test"))
        runs = await told(session, 40)
        log = (await session.state()).seq
        store.events_read = 0
        assert [r.id for r in await session.runs(limit=2)] == runs[-2:]
        newest = store.events_read
        assert len(await session.runs()) == 40
        assert log > 300
        assert newest < log // 3  # the state, from its snapshot, and the two runs
        assert store.events_read < 2 * log


async def test_only_the_newest_runs_are_handed_out(bench: Bench) -> None:
    """Given max_runs=2, when three runs have ended, then the oldest and its events are gone."""
    runtime = await bench.runtime(["a", "b", "c"], records=RecordLimits(max_runs=2))
    session = await bench.start((), runtime=runtime)
    first, second, third = await told(session, 3)
    assert [r.id for r in await session.runs()] == [second, third]
    assert [r.id for r in await session.runs(limit=1)] == [third]
    assert await session.run_snapshot(first) is None
    assert await session.run_events(first) == []
    with pytest.raises(RunNotFound):
        await session.run_page(first)
    assert await session.run_count() == 3
    assert len(await session.run_events(second)) > 0
    # Nothing was deleted: who opens it without limits sees it all.
    other = await (await bench.runtime()).open_session(session.id, drive=False)
    assert [r.id for r in await other.runs()] == [first, second, third]


async def test_only_the_newest_events_are_handed_out_and_counting_goes_on(bench: Bench) -> None:
    """Given a cap of 3, when a run has more events, then the last three are kept, with their seqs and the whole count;
    opened elsewhere it counts the same."""
    session = await bench.start([call("look", what="bird"), "one"], look)
    [run] = await told(session, 1)
    whole = await session.run_events(run)
    assert len(whole) > 10
    capped = await (await bench.runtime(records=RecordLimits(max_events_per_run=3))).open_session(session.id, drive=False)
    assert await capped.run_events(run) == whole[-3:]
    snapshot = await capped.run_snapshot(run)
    assert snapshot is not None
    assert snapshot == await session.run_snapshot(run)
    assert snapshot.event_count == len(whole)
    again = await (await bench.runtime()).open_session(session.id, drive=False)
    assert (await again.runs())[0].event_count == len(whole)


async def test_caps_of_0_keep_nothing_but_count_on(bench: Bench) -> None:
    runtime = await bench.runtime(["a", "b"], records=RecordLimits(0, 0))
    session = await bench.start((), runtime=runtime)
    first, _ = await told(session, 2)
    assert await session.runs() == []
    assert await session.run_events(first) == []
    assert await session.run_count() == 2
    only_events = await bench.runtime(records=RecordLimits(max_events_per_run=0))
    session = await only_events.open_session(session.id, drive=False)
    run = (await session.runs())[0]
    assert run.event_count > 5
    assert await session.run_events(run.id) == []
    page = await session.run_page(run.id)
    assert (page.events, page.first_available_seq, page.has_more) == ((), None, False)
    assert (page.latest_seq, page.event_count, page.retention_gap) == (run.last_seq, run.event_count, True)
    assert not (await session.run_page(run.id, page.next_after)).retention_gap


async def test_pages_with_a_cursor(bench: Bench) -> None:
    session = await bench.start([call("look", what="bird"), "one", "two"], look)
    run, _ = await told(session, 2)
    whole = await session.run_events(run)
    seen: list[Event] = []
    after = 0
    while True:
        page = await session.run_page(run, after, limit=4)
        assert page.event_count == len(whole)
        assert page.first_available_seq == whole[0].seq
        assert page.latest_seq == whole[-1].seq
        assert not page.retention_gap
        assert page.next_after == page.events[-1].seq
        seen += page.events
        after = page.next_after
        if not page.has_more:
            break
    assert seen == whole
    last = await session.run_page(run, after)
    assert (last.events, last.next_after, last.has_more) == ((), after, False)
    assert (await session.run_page(run, 10**9)).next_after == 10**9
    for wrong in ({"after": -1}, {"limit": 0}, {"limit": 1001}):
        with pytest.raises(InvalidArgument):
            await session.run_page(run, **wrong)
    with pytest.raises(RunNotFound):
        await session.run_page("run_never")


async def test_a_page_says_when_limits_have_taken_events_away(bench: Bench) -> None:
    session = await bench.start([call("look", what="bird"), "one"], look)
    [run] = await told(session, 1)
    whole = await session.run_events(run)
    capped = await (await bench.runtime(records=RecordLimits(max_events_per_run=5))).open_session(session.id, drive=False)
    page = await capped.run_page(run, whole[2].seq, limit=3)
    assert page.retention_gap
    assert page.first_available_seq == whole[-5].seq
    assert list(page.events) == whole[-5:-2]
    assert page.has_more
    rest = await capped.run_page(run, page.next_after)
    assert list(rest.events) == whole[-2:]
    assert not rest.retention_gap
    # Whoever had read up to where they begin has missed nothing.
    assert not (await capped.run_page(run, whole[-6].seq)).retention_gap


async def test_the_open_run_while_it_goes_on(bench: Bench) -> None:
    going = asyncio.Event()
    runtime = await bench.runtime([hold(going) + say("late")], records=RecordLimits(max_runs=0))
    session = await bench.start((), runtime=runtime)
    run = await session.prompt("Go.")
    await until_type(session, "model.started")
    handle = await session.current_run()
    assert handle is not None
    before = await handle.snapshot()  # who holds a handle may look, whatever the limits are
    assert (before.status, before.prompt, before.text) == ("running", "Go.", "")
    going.set()
    await session.wait(run)
    after = await handle.snapshot()
    assert (after.status, after.text) == ("done", "late")
    assert after.event_count > before.event_count


async def test_a_terminal_state_stays(bench: Bench) -> None:
    """Given a run that has ended, when it is cancelled late, then nothing changes."""
    session = await bench.start(["done", "next"])
    first = await session.send("Go.")
    before = await session.run_snapshot(first.run)
    assert await session.cancel_run(first.run) is False
    assert await session.cancel_run("run_never") is False
    assert await session.cancel() is False
    await session.send("Next.")
    assert await session.cancel_run(first.run) is False
    assert await session.run_snapshot(first.run) == before


async def test_a_follow_up_that_starts_a_run_is_its_prompt(bench: Bench) -> None:
    session = await bench.start(["one", "two"])
    await session.send("first")
    await session.follow_up("second")
    await session.wait()
    first, second = await session.runs()
    assert (first.prompt, second.prompt) == ("first", "second")
    events = await session.run_events(second.id)
    assert [e.type for e in events[:2]] == ["user.message", "run.started"]
    assert (len(events), events[0].seq) == (second.event_count, second.first_seq)
    assert first.last_seq < second.first_seq


async def test_many_runs_at_once_under_a_cap(bench: Bench) -> None:
    """Given a cap of 10, when many sessions run and are listed at once, then nothing hangs and no list is longer."""
    runtime = await bench.runtime(["x"] * 100, records=RecordLimits(max_runs=3))
    sessions = [await bench.start((), runtime=runtime) for _ in range(10)]

    async def use(session: Session) -> None:
        for n in range(5):
            await session.send(f"{n}")
            assert len(await session.runs()) <= 3
            assert await session.run_count() == n + 1

    await asyncio.wait_for(asyncio.gather(*map(use, sessions)), PATIENCE_S)


@settings(max_examples=15)
@given(cap=st.none() | st.integers(0, 12), size=st.integers(1, 5), data=st.data())
async def test_any_way_of_paging_gives_what_is_kept(cap: int | None, size: int, data: st.DataObject) -> None:
    model = ScriptedModel([call("look", what="x"), "done"])
    limits = RecordLimits(max_events_per_run=cap)
    async with await Runtime.open(":memory:", models={"scripted:test": model}, records=limits) as runtime:
        session = await runtime.start_session(godwit.Agent("a", model="scripted:test", tools=[look]))
        run = (await session.send("go")).run
        kept = await session.run_events(run)
        whole = [e for e in await session.events() if e.run == run]
        assert kept == (whole if cap is None else whole[len(whole) - cap :] if cap else [])
        start = data.draw(st.integers(0, whole[-1].seq + 2))
        seen: list[Event] = []
        after, gaps = start, []
        for _ in range(40):
            page = await session.run_page(run, after, limit=size)
            seen += page.events
            gaps.append(page.retention_gap)
            assert page.next_after >= after
            after = page.next_after
            if not page.has_more:
                break
        assert seen == [e for e in kept if e.seq > start]
        missed = [e for e in whole if e.seq > start and e not in kept]
        assert gaps[0] == bool(missed)
        assert not any(gaps[1:])


@pytest.mark.parametrize("wrong", [{"max_runs": -1}, {"max_events_per_run": -1}, {"max_runs": True}, {"max_runs": 1.5}])
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        RecordLimits(**wrong)


# --- artifacts --------------------------------------------------------------------------------------------------------


async def test_artifacts_of_a_session(bench: Bench) -> None:
    session = await bench.start([call("much", kind="a"), call("much", kind="b"), "done"], much)
    await session.send("Go.")
    stored = await data(session, ArtifactStored)
    held = await session.artifacts.list()
    assert [(a.ref, a.size, a.media_type, a.pinned) for a in held] == [
        (a.ref, 150_000, "text/plain; charset=utf-8", False) for a in stored
    ]
    a, b = (one.ref for one in held)
    assert await session.artifacts.get(a) == b"a" * 150_000
    assert await session.artifacts.get(b[7:19]) == b"b" * 150_000  # by its beginning
    assert await session.artifacts.pin(a[:20])
    assert not await session.artifacts.pin(a)
    assert [one.pinned for one in await session.artifacts.list()] == [True, False]
    assert await session.artifacts.unpin(a)
    assert not await session.artifacts.unpin(a)
    for missing in ("sha256:00", "00", f"sha256:{'0' * 64}", "", "sha256:"):
        with pytest.raises(ArtifactNotFound):
            await session.artifacts.get(missing)
    with pytest.raises(ArtifactNotFound):
        await session.artifacts.pin(f"sha256:{'0' * 64}")


async def test_beyond_a_limit_the_oldest_go_and_pinned_ones_stay(bench: Bench) -> None:
    """Given a cap of 2, when a third artifact is stored, then the oldest that is not pinned is gone, and says so."""
    pinned = asyncio.Event()
    script = [call("much", kind="a"), hold(pinned) + call("much", kind="b"), call("much", kind="c"), call("much", kind="d")]
    runtime = await bench.runtime([*script, "done"], artifacts=ArtifactLimits(max_artifacts=2))
    session = await bench.start((), much, runtime=runtime)
    run = await session.prompt("Go.")
    first = await until_type(session, "artifact.stored")
    assert isinstance(first.data, ArtifactStored)
    await session.artifacts.pin(first.data.ref)
    pinned.set()
    await session.wait(run)
    a, b, c, d = [one.ref for one in await data(session, ArtifactStored)]
    assert [(one.ref, one.pinned) for one in await session.artifacts.list()] == [(a, True), (d, False)]
    for gone in (b, c):
        with pytest.raises(ArtifactNotFound, match="let go of"):
            await session.artifacts.get(gone)
    assert await session.artifacts.get(a) == b"a" * 150_000
    # The log still tells that it was there, and what it was.
    assert len(await data(session, ArtifactStored)) == 4


async def test_limits_by_bytes_and_of_the_whole_store(bench: Bench) -> None:
    runtime = await bench.runtime(
        [call("much", kind="a"), call("much", kind="b"), "done"],
        artifacts=ArtifactLimits(total_bytes=310_000),
    )
    one = await bench.start((), much, runtime=runtime)
    await one.send("Go.")
    assert len(await one.artifacts.list()) == 2
    other = await bench.start([call("much", kind="c"), "done"], much, runtime=runtime)
    await other.send("Go.")
    assert [a.size for a in await one.artifacts.list()] == [150_000]
    assert [a.size for a in await other.artifacts.list()] == [150_000]


@pytest.mark.parametrize("wrong", [{"max_artifacts": -1}, {"max_bytes": "1"}, {"total_bytes": True}])
def test_artifact_limits_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        ArtifactLimits(**wrong)
