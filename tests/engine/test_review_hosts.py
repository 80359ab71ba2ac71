"""Handles, dispatch and stores under stress: several handles, closing at every moment, a store that fails now and then."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest

import godwit
from godwit.contracts import Lease, SessionRow, Snapshot
from godwit.core.errors import SessionClosed, StoreClosed, StoreLocked
from godwit.core.events import (
    Event,
    RunClaimed,
    ToolFinished,
    UserInterrupt,
)
from godwit.core.ids import Seq, SessionId
from godwit.engine.session import Session
from godwit.models.script import Script, call, hold, say
from godwit.stores.sqlite import SqliteStore
from tests.patience import PATIENCE_S

from .conftest import MODEL, Bench, data, until_type, within
from .test_control import Gate, note

# --- handles ---------------------------------------------------------------------------------------------------------


async def test_a_session_opened_right_after_closing_its_handle_is_driven(bench: Bench) -> None:
    runtime = await bench.runtime(["hello", "again"])
    session = await bench.start(["hello", "again"], runtime=runtime)
    await within(session.send("Hi."))
    await session.close()
    again = await runtime.open_session(session.id)
    assert (await asyncio.wait_for(again.send("Hi again."), PATIENCE_S)).text == "again"


async def test_closing_one_handle_leaves_the_other_usable(bench: Bench) -> None:
    runtime = await bench.runtime(["hello"])
    session = await bench.start(["hello"], runtime=runtime)
    other = await runtime.open_session(session.id)
    await session.close()
    await asyncio.sleep(0)
    assert (await asyncio.wait_for(other.send("Hi."), PATIENCE_S)).text == "hello"


async def test_a_second_handle_does_not_disturb_the_run_under_way(bench: Bench) -> None:
    gate = Gate()
    runtime = await bench.runtime()
    session = await bench.start([call("gate"), "done"], gate.tool, runtime=runtime)
    run = await session.prompt("Go.")
    await within(gate.entered.wait())
    other = await runtime.open_session(session.id)
    await other.steer("Mind this.", mode="batch")
    await asyncio.sleep(0.05)
    gate.release.set()
    assert (await within(session.wait(run))).outcome == "done"
    assert [d.status for d in await data(session, ToolFinished)] == ["ok"]
    assert [d.attempt for d in await data(session, RunClaimed)] == [1], "nobody died"


async def test_closing_a_second_handle_elsewhere_leaves_a_run_it_does_not_drive(bench: Bench) -> None:
    gate = Gate()
    script: Script = [call("gate"), "done"]
    first = await bench.runtime(script)
    session = await bench.start(script, gate.tool, runtime=first)
    run = await session.prompt("Go.")
    await within(gate.entered.wait())
    second = await Bench.runtime(bench, script)
    agent = godwit.Agent("tester", model=MODEL, tools=[gate.tool])
    other = await second.open_session(session.id, agent=agent)
    closing = asyncio.create_task(other.close())
    await asyncio.sleep(0.1)
    gate.release.set()
    await within(closing)
    assert (await within(session.wait(run))).outcome == "done", "close ends the open run if this process drives it"


# --- closing the runtime ---------------------------------------------------------------------------------------------


async def test_closing_the_runtime_right_after_a_prompt_yields_the_run(bench: Bench) -> None:
    release = asyncio.Event()
    script: Script = [say("an ") + hold(release) + say("answer")]
    runtime = await bench.runtime(script, grace_s=0.1)
    session = await bench.start(script, runtime=runtime)
    run = await session.prompt("Go.")
    await within(runtime.close())
    bench.runtimes.clear()
    again = await (await bench.runtime(["whole"])).open_session(session.id)
    assert not await data(again, UserInterrupt), "the host stopped, nobody interrupted"
    assert (await within(again.wait(run))).outcome == "done"


@pytest.mark.parametrize("rounds", range(12))
async def test_closing_the_runtime_at_any_moment_never_interrupts(bench: Bench, rounds: int) -> None:
    release = asyncio.Event()
    script: Script = [call("note", text="a"), say("an ") + hold(release) + say("answer")]
    runtime = await bench.runtime(script, grace_s=0.05)
    session = await bench.start(script, note, runtime=runtime)
    run = await session.prompt("Go.")
    for _ in range(rounds * 3):
        await asyncio.sleep(0)
    await within(runtime.close())
    bench.runtimes.clear()
    again = await (await bench.runtime([call("note", text="a"), "whole"])).open_session(
        session.id, agent=godwit.Agent("tester", model=MODEL, tools=[note])
    )
    assert not await data(again, UserInterrupt)
    assert (await within(again.wait(run))).outcome == "done"


async def test_closing_the_runtime_frees_whoever_waits(bench: Bench) -> None:
    release = asyncio.Event()
    script: Script = [say("an ") + hold(release)]
    runtime = await bench.runtime(script, grace_s=0.05)
    session = await bench.start(script, runtime=runtime)
    waiting = asyncio.create_task(session.send("Go."))
    await until_type(session, "model.started")
    await within(runtime.close())
    bench.runtimes.clear()
    with pytest.raises((StoreClosed, SessionClosed)):
        await asyncio.wait_for(waiting, PATIENCE_S)


async def test_closing_the_runtime_twice_and_at_once(bench: Bench) -> None:
    runtime = await bench.runtime(["hello"])
    session = await bench.start(["hello"], runtime=runtime)
    await within(session.send("Hi."))
    await within(asyncio.gather(runtime.close(), runtime.close()))
    await within(runtime.close())


# --- follow-ups ------------------------------------------------------------------------------------------------------


async def test_a_follow_up_to_a_paused_session_without_a_run_starts_one_when_resumed(bench: Bench) -> None:
    session = await bench.start(["hello", "followed"])
    await within(session.send("Hi."))
    await session.pause()
    await session.follow_up("And then?")
    await session.resume()
    await asyncio.wait_for(until_type(session, "run.finished", (await session.state()).seq - 1), PATIENCE_S)
    assert [type(q).__name__ for q in await session.queue.list()] == []


@pytest.mark.parametrize("rounds", range(8))
async def test_a_follow_up_that_arrives_around_the_run_end_is_never_stuck(bench: Bench, rounds: int) -> None:
    gate = Gate()
    session = await bench.start([call("gate"), "done", "followed"], gate.tool)
    run = await session.prompt("Go.")
    await within(gate.entered.wait())
    gate.release.set()
    for _ in range(rounds * 4):
        await asyncio.sleep(0)
    await session.follow_up("And then?")
    await within(session.wait(run))
    assert (await within(session.wait())).text == "followed"
    assert await session.queue.list() == []


# --- pause -----------------------------------------------------------------------------------------------------------


async def test_two_pauses_at_once_are_one(bench: Bench) -> None:
    session = await bench.start(["hello"])
    assert sorted(await asyncio.gather(session.pause(), session.pause())) == [False, True]
    assert sorted(await asyncio.gather(session.resume(), session.resume())) == [False, True]


async def test_a_tool_may_pause_its_own_session(bench: Bench) -> None:
    held: list[Session] = []

    @godwit.tool
    async def pause_it() -> str:
        """Pause."""
        await held[0].pause()
        return "paused"

    session = await bench.start([call("pause_it"), "done"], pause_it)
    held.append(session)
    run = await session.prompt("Go.")
    await asyncio.wait_for(until_type(session, "run.yielded"), PATIENCE_S)
    await session.resume()
    assert (await within(session.wait(run))).text == "done"


# --- what belongs to one run must not reach the next -----------------------------------------------------------------


class SlowSnapshots(SqliteStore):
    """The real store; a snapshot takes as long as the test says."""

    free = asyncio.Event()
    hold_next = False

    async def put_snapshot(self, session: SessionId, snapshot: Snapshot) -> None:
        if SlowSnapshots.hold_next:
            SlowSnapshots.hold_next = False
            await SlowSnapshots.free.wait()
        await super().put_snapshot(session, snapshot)


@pytest.fixture
def eager_snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    from godwit.engine import log

    monkeypatch.setattr(log, "SNAPSHOT_EVERY", 1)
    SlowSnapshots.free = asyncio.Event()
    SlowSnapshots.hold_next = False


@pytest.mark.usefixtures("eager_snapshots")
async def test_a_run_sent_while_an_interrupted_one_is_put_away_is_not_interrupted(bench: Bench) -> None:
    release, reached = asyncio.Event(), asyncio.Event()
    runtime = await bench.runtime(store=SlowSnapshots.open(bench.path))
    script: Script = [say("half ") + hold(release, reached=reached), "second"]
    session = await bench.start(script, runtime=runtime)
    first = await session.prompt("Go.")
    await within(reached.wait())
    ending = asyncio.create_task(session.interrupt())
    await until_type(session, "user.interrupt")
    SlowSnapshots.hold_next = True
    assert (await within(session.wait(first))).outcome == "interrupted"
    second = await session.prompt("Once more.")
    await asyncio.sleep(0.1)
    SlowSnapshots.free.set()
    result = await within(session.wait(second))
    await within(ending)
    assert (result.outcome, result.text) == ("done", "second")


@pytest.mark.usefixtures("eager_snapshots")
async def test_a_run_sent_while_the_last_one_is_put_away_gets_its_own_context(bench: Bench) -> None:
    gate = Gate()

    @godwit.tool
    async def who(context: godwit.ToolContext) -> str:
        """Who."""
        return str(context.context)

    runtime = await bench.runtime(store=SlowSnapshots.open(bench.path))
    session = await bench.start([call("gate"), "first", call("who"), "second"], gate.tool, who, runtime=runtime)
    first = await session.prompt("Go.", context="one")
    await within(gate.entered.wait())
    gate.release.set()

    async def arm() -> None:
        await until_type(session, "turn.finished")
        SlowSnapshots.hold_next = True

    await arm()
    await within(session.wait(first))
    second = await session.prompt("Once more.", context="two")
    await asyncio.sleep(0.1)
    SlowSnapshots.free.set()
    await within(session.wait(second))
    assert [d.content[0].text for d in await data(session, ToolFinished) if d.name == "who"] == ["two"]


# --- a store that fails ----------------------------------------------------------------------------------------------


class FlakyStore(SqliteStore):
    """The real store, some of whose operations fail as often as the test says."""

    failures: ClassVar[dict[str, int]] = {}
    counts: ClassVar[dict[str, int]] = {}

    @classmethod
    def reset(cls, **failures: int) -> None:
        cls.failures, cls.counts = dict(failures), {}

    def _step(self, name: str) -> None:
        FlakyStore.counts[name] = FlakyStore.counts.get(name, 0) + 1
        if FlakyStore.failures.get(name, 0) > 0:
            FlakyStore.failures[name] -= 1
            raise StoreLocked()

    async def wait(self, session: SessionId, after: Seq, timeout_s: float | None = None) -> Seq:
        self._step("wait")
        return await super().wait(session, after, timeout_s)

    async def renew(self, lease: Lease) -> bool:
        self._step("renew")
        return await super().renew(lease)

    async def release(self, lease: Lease) -> None:
        self._step("release")
        await super().release(lease)

    async def put_snapshot(self, session: SessionId, snapshot: Snapshot) -> None:
        self._step("put_snapshot")
        await super().put_snapshot(session, snapshot)

    async def session(self, session: SessionId) -> SessionRow:
        self._step("session")
        return await super().session(session)

    async def read(self, session: SessionId, *args: Any, **options: Any) -> list[Event]:
        self._step("read")
        return await super().read(session, *args, **options)


async def test_one_failed_renewal_does_not_end_the_lease(bench: Bench) -> None:
    gate = Gate()
    FlakyStore.reset()
    script: Script = [call("gate"), call("note", text="a"), "done"]
    runtime = await bench.runtime(store=FlakyStore.open(bench.path), lease_ttl_s=0.4)
    session = await bench.start(script, gate.tool, note, runtime=runtime)
    run = await session.prompt("Go.")
    await within(gate.entered.wait())
    FlakyStore.failures["renew"] = 1
    before = FlakyStore.counts.get("renew", 0)
    async with asyncio.timeout(PATIENCE_S):
        while FlakyStore.counts.get("renew", 0) < before + 6:  # noqa: ASYNC110 - the store counts, nobody tells
            await asyncio.sleep(0.02)
    gate.release.set()
    result = await within(session.wait(run))
    assert result.outcome == "done"
    assert [d.status for d in await data(session, ToolFinished)] == ["ok", "ok"]


async def test_a_failed_look_at_the_log_does_not_deafen_the_driver(bench: Bench) -> None:
    release, reached = asyncio.Event(), asyncio.Event()
    FlakyStore.reset()
    runtime = await bench.runtime(store=FlakyStore.open(bench.path))
    script: Script = [say("half ") + hold(release, reached=reached) + say("more")]
    session = await bench.start(script, runtime=runtime)
    run = await session.prompt("Go.")
    await within(reached.wait())
    await asyncio.sleep(0.05)
    FlakyStore.failures["read"] = 1  # the driver's own ear is the first to read what comes
    await session._inbox.steer(godwit.core.messages.user_content("Hello?"), "batch")
    await asyncio.sleep(0.1)
    FlakyStore.reset()
    await asyncio.wait_for(session.interrupt(), PATIENCE_S)
    assert (await within(session.wait(run))).outcome == "interrupted"


@pytest.mark.usefixtures("eager_snapshots")
async def test_a_failed_snapshot_costs_no_run(bench: Bench) -> None:
    FlakyStore.reset(put_snapshot=1000)
    runtime = await bench.runtime(store=FlakyStore.open(bench.path))
    session = await bench.start([call("note", text="a"), "done"], note, runtime=runtime)
    result = await within(session.send("Go."))
    assert result.text == "done"
    assert [d.status for d in await data(session, ToolFinished)] == ["ok"]


async def test_a_failed_release_costs_no_run(bench: Bench) -> None:
    FlakyStore.reset(release=1)
    runtime = await bench.runtime(store=FlakyStore.open(bench.path))
    session = await bench.start(["hello", "again"], runtime=runtime)
    assert (await within(session.send("Hi."))).text == "hello"
    assert (await within(session.send("Hi."))).text == "again"


async def test_a_session_deleted_elsewhere_is_not_looked_for_without_end(bench: Bench) -> None:
    FlakyStore.reset()
    runtime = await bench.runtime(store=FlakyStore.open(bench.path))
    session = await bench.start(["hello"], runtime=runtime)
    await within(session.send("Hi."))
    elsewhere = await bench.runtime(["hello"])
    await elsewhere.delete_session(session.id)
    await asyncio.sleep(0.2)
    FlakyStore.counts.clear()
    await asyncio.sleep(0.5)
    assert sum(FlakyStore.counts.values()) < 20, FlakyStore.counts


async def test_a_store_that_cannot_be_read_is_not_asked_without_pause(bench: Bench) -> None:
    FlakyStore.reset()
    runtime = await bench.runtime(store=FlakyStore.open(bench.path))
    session = await bench.start(["hello", "again"], runtime=runtime)
    await within(session.send("Hi."))
    FlakyStore.failures.update(session=10**9, read=10**9, wait=10**9)
    runtime.wake(session.id)
    await asyncio.sleep(0.5)
    counts = dict(FlakyStore.counts)
    FlakyStore.reset()
    assert sum(counts.values()) < 200, counts
    assert (await within(session.send("Hi."))).text == "again"


# --- growth ----------------------------------------------------------------------------------------------------------


async def test_nothing_grows_with_the_runs(bench: Bench) -> None:
    runtime = await bench.runtime(["hello"] * 400, durability="memory")
    session = await bench.start(["hello"] * 400, runtime=runtime)

    async def some(count: int) -> None:
        for number in range(count):
            if number % 3 == 0:
                async for _ in session.stream("Hi."):
                    pass
            elif number % 3 == 1:
                await session.prompt("Hi.")
                await session.wait()
            else:
                await session.send("Hi.")

    await within(some(9))
    await within(runtime.settle(session.id))
    tasks, opened = len(asyncio.all_tasks()), runtime._dispatcher
    await within(some(60))
    await within(runtime.settle(session.id))
    async with asyncio.timeout(PATIENCE_S):
        while len(asyncio.all_tasks()) > tasks:  # noqa: ASYNC110 - those that were cancelled have some rounds to go
            await asyncio.sleep(0)
    assert not opened._listeners
    assert len(session.session_cancel_token._calls) <= 1
    assert len(session.session_cancel_token._children or ()) <= 1
    assert len(session._own_runs) <= 1
