"""Windows between a decision and its append: what arrives in them must be seen before a run ends or is parked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

import godwit
from godwit.contracts import Appended, Lease, ToolTraits
from godwit.core.agent import ToolDefinition
from godwit.core.events import (
    Draft,
    Event,
    InputDelivered,
    ModelStarted,
    SessionPaused,
    SessionResumed,
    ToolFinished,
    UserInterrupt,
)
from godwit.core.ids import Seq, SessionId
from godwit.core.messages import user_content
from godwit.engine.inbox import Inbox
from godwit.engine.session import Session
from godwit.host.runtime import Runtime
from godwit.models.script import call, hold, say
from godwit.stores.sqlite import SqliteStore
from tests.patience import PATIENCE_S

from .conftest import MODEL, Bench, data, until_type, within
from .test_control import note
from .test_review_phases import PHASES, at_phase


class SlowEar(SqliteStore):
    """The real store; while `held`, a driver's look at what came from outside takes until the test lets it go on."""

    held = False
    reached = asyncio.Event()
    go_on = asyncio.Event()

    hold_requests = False
    at_requests = asyncio.Event()
    free_requests = asyncio.Event()

    async def read(self, session: SessionId, from_seq: Seq = 0, **options: Any) -> list[Event]:
        task = asyncio.current_task()
        if SlowEar.hold_requests and task is not None and task.get_name().startswith("drive ") and options == {"limit": 1}:
            SlowEar.hold_requests = False
            SlowEar.at_requests.set()
            await SlowEar.free_requests.wait()
        if SlowEar.held and task is not None and "_listen" in repr(task.get_coro()) and "Driver" in repr(task.get_coro()):
            SlowEar.held = False
            SlowEar.reached.set()
            await SlowEar.go_on.wait()
        return await super().read(session, from_seq, **options)


def inbox_of(runtime: Runtime, session: Session) -> Inbox:
    """The way in without a handle that wakes anything, as another process has it."""
    return Inbox(runtime.store, session.id, runtime.clock, runtime.ids)


@pytest.fixture
async def ear() -> type[SlowEar]:
    SlowEar.held, SlowEar.reached, SlowEar.go_on = False, asyncio.Event(), asyncio.Event()
    SlowEar.hold_requests, SlowEar.at_requests, SlowEar.free_requests = False, asyncio.Event(), asyncio.Event()
    return SlowEar


async def test_a_follow_up_folded_between_the_decision_and_the_end_is_delivered(bench: Bench, ear: type[SlowEar]) -> None:
    """The driver decides that the run is done while its ear holds the log's lock over a follow-up it is just folding."""
    go, reached = asyncio.Event(), asyncio.Event()
    runtime = await bench.runtime(store=SlowEar.open(bench.path, durability="process"))
    session = await bench.start([say("done") + hold(go, reached=reached), "followed"], runtime=runtime)
    run = await session.prompt("Go.")
    await within(reached.wait())
    ear.held = True
    await inbox_of(runtime, session).follow_up(user_content("And then?"))
    await within(ear.reached.wait())
    go.set()
    await asyncio.sleep(0.05)
    ear.go_on.set()
    assert (await within(session.wait(run))).text == "followed"
    assert await session.queue.list() == []


async def test_a_steer_folded_between_the_decision_and_the_park_is_heeded(bench: Bench) -> None:
    go, reached = asyncio.Event(), asyncio.Event()
    runtime = await bench.runtime(durability="process")
    session = await bench.start(
        [say("I will. ") + call("note", text="a") + hold(go, reached=reached), "steered"],
        note,
        runtime=runtime,
        permissions=godwit.Permissions(ask=("note",)),
    )
    run = await session.prompt("Go.")
    await within(reached.wait())
    go.set()
    await until_type(session, "action.opened")
    # From here on the run is about to be parked, or is: either way the steer ends the wait.
    await inbox_of(runtime, session).steer(user_content("Never mind."), "skip")
    assert (await within(session.wait(run))).text == "steered"
    assert [d.status for d in await data(session, ToolFinished)] == ["skipped"]


async def test_no_effect_begins_when_its_start_was_not_stored(bench: Bench, ear: type[SlowEar]) -> None:
    """A pause makes the staged claim impossible while the driver waits to store it together with the call's start."""
    effects: list[str] = []

    @godwit.tool
    async def pay() -> str:
        """Pay."""
        effects.append(await session.status())
        return "paid"

    runtime = await bench.runtime(store=SlowEar.open(bench.path, durability="process"))
    session = await bench.start([call("pay"), "done"], pay, runtime=runtime, permissions=godwit.Permissions(ask=("pay",)))
    run = await session.prompt("Go.")
    await until_type(session, "run.parked")
    await within(runtime.settle(session.id))
    ear.hold_requests = True
    await session.approve((await session.approvals.pending())[0].id)
    await within(ear.at_requests.wait())
    ear.held = True
    await inbox_of(runtime, session).pause()
    await within(ear.reached.wait())
    ear.free_requests.set()
    await asyncio.sleep(0.05)
    ear.go_on.set()
    await within(runtime.settle(session.id))
    assert effects == [], "the session is paused, and nothing says that the call was started"
    await session.resume()
    assert (await within(session.wait(run))).outcome == "done"
    assert effects == ["running"]
    kinds = [e.type for e in await session.events() if e.type.startswith(("tool.", "action."))]
    assert kinds == ["action.opened", "action.closed", "tool.started", "tool.finished"]


class Blinking(SqliteStore):
    """The real store; when a call is about to be recorded as started, somebody pauses, and resumes right behind it."""

    armed = False

    async def append(self, session: SessionId, events: Sequence[Draft], **options: Any) -> Appended:
        if not Blinking.armed or "tool.started" not in [e.type for e in events]:
            return await super().append(session, events, **options)
        Blinking.armed = False
        await super().append(session, [Draft(SessionPaused(), at_ms=1)])
        try:
            return await super().append(session, events, **options)
        finally:
            await super().append(session, [Draft(SessionResumed(), at_ms=1)])


async def test_a_start_that_was_refused_is_no_start(bench: Bench) -> None:
    """The claim and the start are refused together; once the pause is over, the call runs: it is not in doubt."""
    runtime = await bench.runtime(store=Blinking.open(bench.path, durability="process"))
    session = await bench.start(
        [call("note", text="a"), "done"], note, runtime=runtime, permissions=godwit.Permissions(ask=("note",))
    )
    run = await session.prompt("Go.")
    await until_type(session, "run.parked")
    await within(runtime.settle(session.id))
    Blinking.armed = True
    await session.approve((await session.approvals.pending())[0].id)
    assert (await within(session.wait(run))).outcome == "done"
    assert not Blinking.armed
    assert [d.status for d in await data(session, ToolFinished)] == ["ok"]


async def test_a_claim_that_a_short_pause_undid_is_made_again(bench: Bench, ear: type[SlowEar]) -> None:
    """Paused and resumed between the claim and the call's start: the call runs, it is not in doubt."""
    runtime = await bench.runtime(store=SlowEar.open(bench.path, durability="process"))
    session = await bench.start(
        [call("note", text="a"), "done"], note, runtime=runtime, permissions=godwit.Permissions(ask=("note",))
    )
    run = await session.prompt("Go.")
    await until_type(session, "run.parked")
    await within(runtime.settle(session.id))
    ear.hold_requests = True
    await session.approve((await session.approvals.pending())[0].id)
    await within(ear.at_requests.wait())
    await inbox_of(runtime, session).pause()
    await asyncio.sleep(0.05)
    await inbox_of(runtime, session).resume()
    await asyncio.sleep(0.05)
    ear.free_requests.set()
    assert (await within(session.wait(run))).outcome == "done"
    assert [d.status for d in await data(session, ToolFinished)] == ["ok"]


@pytest.mark.parametrize("seed", range(60))
async def test_inputs_from_outside_at_every_moment_of_a_short_run(bench: Bench, seed: int) -> None:
    """A follow-up after so many rounds of the loop: the run ends only once it has been delivered."""
    runtime = await bench.runtime(durability="process" if seed % 2 else "disk")
    session = await bench.start([call("note", text="a"), "done", "followed", "more"], note, runtime=runtime)
    run = await session.prompt("Go.")
    for _ in range(seed):
        await asyncio.sleep(0)
    follow = await session.follow_up("And then?")
    await within(session.wait(run))
    await within(session.wait())
    assert follow in [d.id for d in await data(session, InputDelivered)]
    assert await session.queue.list() == []


@pytest.mark.parametrize("seed", range(40))
async def test_answers_at_every_moment_of_parking(bench: Bench, seed: int) -> None:
    """Two calls ask; both answers come around the moment of parking. None is slept over."""
    runtime = await bench.runtime(durability="process" if seed % 2 else "disk")
    session = await bench.start(
        [call("note", text="a") + call("note", text="b"), "done"],
        note,
        runtime=runtime,
        permissions=godwit.Permissions(ask=("note",)),
    )
    run = await session.prompt("Go.")
    await until_type(session, "action.opened")
    inbox = inbox_of(runtime, session)
    for number in range(2):
        for _ in range(seed // 2 + number):
            await asyncio.sleep(0)
        await inbox.answer((await session.approvals.pending())[0].id, "approve")
    assert (await within(session.wait(run))).outcome == "done"


# --- what is left of one command must not reach what comes later -----------------------------------------------------


class SlowRelease(SqliteStore):
    """The real store; a lease is let go when the test says."""

    held = False
    reached = asyncio.Event()
    go_on = asyncio.Event()

    async def release(self, lease: Lease) -> None:
        if SlowRelease.held:
            SlowRelease.held = False
            SlowRelease.reached.set()
            await SlowRelease.go_on.wait()
        await super().release(lease)


async def test_a_token_that_falls_after_a_run_does_not_reach_the_next(bench: Bench) -> None:
    SlowRelease.held, SlowRelease.reached, SlowRelease.go_on = False, asyncio.Event(), asyncio.Event()
    runtime = await bench.runtime(store=SlowRelease.open(bench.path))
    session = await bench.start(["first", "second"], runtime=runtime)
    other = await runtime.open_session(session.id)
    await within(runtime.settle(session.id))  # the drive that opens it lets go as well, and must not be the one that is held
    SlowRelease.held = True
    await within(session.send("Go."))
    await within(SlowRelease.reached.wait())
    session.session_cancel_token.cancel()  # no run is open
    second = await other.prompt("Once more.")
    SlowRelease.go_on.set()
    assert (await within(other.wait(second))).outcome == "done"


async def test_a_takeover_by_force_that_found_nothing_is_forgotten(bench: Bench) -> None:
    runtime = await bench.runtime()
    session = await bench.start(["hello"], runtime=runtime)
    await within(session.send("Hi."))
    await within(runtime.settle(session.id))
    await within(runtime.settle(session.id, force=True))  # as interrupt(force=True) does when the run has just ended
    # Else the next look takes the session from whoever drives it then.
    assert not runtime._dispatcher._hosted[session.id].force


class SlowClaim(SqliteStore):
    """The real store; a claim is made when the test says."""

    held = False
    reached = asyncio.Event()
    go_on = asyncio.Event()
    forced: ClassVar[list[bool]] = []

    async def claim(self, session: SessionId, owner: str, ttl_s: float, *, force: bool = False) -> Lease | None:
        SlowClaim.forced.append(force)
        if SlowClaim.held:
            SlowClaim.held = False
            SlowClaim.reached.set()
            await SlowClaim.go_on.wait()
        return await super().claim(session, owner, ttl_s, force=force)


@pytest.mark.parametrize("owned", [True, False], ids=["another has it", "nobody has it"])
async def test_a_takeover_by_force_in_the_middle_of_a_claim_is_heeded(bench: Bench, owned: bool) -> None:
    """A claim without force under way fails; the next one is made with it. One that succeeds is enough."""
    SlowClaim.held, SlowClaim.reached, SlowClaim.go_on = False, asyncio.Event(), asyncio.Event()
    runtime = await bench.runtime(store=SlowClaim.open(bench.path))
    session = await bench.start(["hello", "again"], runtime=runtime)
    await within(runtime.settle(session.id))
    if owned:
        assert await runtime.store.claim(session.id, "hung", 60.0) is not None
    SlowClaim.held, SlowClaim.forced = True, []
    run = await session.prompt("Hi.")
    await within(SlowClaim.reached.wait())
    taking = asyncio.create_task(runtime.settle(session.id, force=True))  # as interrupt(force=True) does
    await asyncio.sleep(0)
    SlowClaim.go_on.set()
    await within(taking)
    assert (await within(session.wait(run))).text == "hello"
    assert SlowClaim.forced == ([False, True] if owned else [False])
    assert (await within(session.send("Still there?"))).text == "again"
    assert SlowClaim.forced[-1] is False, "what was asked for once is over"


async def test_a_second_handle_does_not_take_the_context_of_the_first(bench: Bench) -> None:
    @godwit.tool
    async def who(context: godwit.ToolContext) -> str:
        """Who."""
        return str(context.context)

    runtime = await bench.runtime()
    session = await bench.start([call("who"), "done"], who, runtime=runtime)
    await session.pause()
    run = await session.prompt("Go.")
    await bench.close()
    again = await bench.runtime([call("who"), "done"])
    agent = godwit.Agent("tester", model=MODEL, tools=[who])
    one = await again.open_session(session.id, agent=agent, context="given")
    await again.open_session(session.id)
    await one.resume()
    await within(one.wait(run))
    assert [d.content[0].text for d in await data(one, ToolFinished)] == ["given"]


# --- owners that die, hosts that end ---------------------------------------------------------------------------------


async def test_an_interrupt_from_a_watching_handle_outlives_the_owner(bench: Bench) -> None:
    """The owner lives when the interrupt is sent and dies before it has acted on it."""
    session = await bench.start(["hello"])
    await session.pause()
    run = await session.prompt("Go.")
    await bench.close()
    runtime = await bench.runtime(["hello"])
    watching = await runtime.open_session(session.id, drive=False)
    assert await runtime.store.claim(session.id, "another machine", 0.4) is not None
    assert await asyncio.wait_for(watching.interrupt(), PATIENCE_S)
    assert (await within(watching.wait(run))).outcome == "interrupted"


async def test_the_wall_time_ends_a_parked_run_that_was_opened_again(bench: Bench) -> None:
    options: dict[str, Any] = {
        "permissions": godwit.Permissions(ask=("note",)),
        "limits": godwit.Limits(max_duration_s=0.5),
    }
    session = await bench.start([call("note", text="a"), "done"], note, **options)
    run = await session.prompt("Go.")
    await until_type(session, "run.parked")
    await bench.close()
    again = await (await bench.runtime(["unused"])).open_session(
        session.id, agent=godwit.Agent("tester", model=MODEL, tools=[note], **options)
    )
    assert (await asyncio.wait_for(again.wait(run), PATIENCE_S)).outcome == "limited"


async def others() -> list[str]:
    """Tasks that are still there, besides this test's own."""
    await asyncio.sleep(0)
    return [str(t.get_coro()) for t in asyncio.all_tasks() if t is not asyncio.current_task()]


@pytest.mark.parametrize("phase", PHASES)
async def test_nothing_is_left_running_when_the_runtime_has_closed(bench: Bench, phase: str) -> None:
    session, _, _ = await at_phase(bench, phase)
    await asyncio.wait_for(bench.close(), PATIENCE_S)
    assert await others() == []
    assert session.id


async def test_nothing_is_left_running_when_session_and_runtime_close_at_once(bench: Bench) -> None:
    session, _, _ = await at_phase(bench, "tool")
    await within(asyncio.gather(session.close(), bench.close(), return_exceptions=True))
    assert await others() == []


async def test_nothing_is_left_running_when_a_tool_closed_its_session(bench: Bench) -> None:
    held: list[Session] = []
    going = asyncio.Event()

    @godwit.tool
    async def leave() -> str:
        """Leave."""
        going.set()
        await held[0].close()
        return "closed"

    runtime = await bench.runtime(grace_s=0.1)
    session = await bench.start([call("leave"), "done"], leave, runtime=runtime)
    held.append(session)
    await session.prompt("Go.")
    await within(going.wait())
    await asyncio.wait_for(bench.close(), PATIENCE_S)
    assert await others() == []


class Plain:
    """A tool whose `run` is no coroutine function."""

    definition = ToolDefinition("plain", "Plain.", {"type": "object", "properties": {}})
    traits = ToolTraits()

    def __init__(self, result: Any) -> None:
        self.result = result

    def validate(self, arguments: dict[str, Any]) -> None:
        del arguments

    def locks(self, arguments: dict[str, Any], workspace: Any) -> frozenset[str]:
        del arguments, workspace
        return frozenset()

    def run(self, arguments: dict[str, Any], context: Any) -> Any:
        del arguments, context
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.mark.parametrize("result", [ValueError("at once"), "no coroutine"])
async def test_a_tool_that_fails_before_it_is_awaited_is_an_error(bench: Bench, result: Any) -> None:
    runtime = await bench.runtime([call("plain"), "done"], tools=[Plain(result)])
    session = await runtime.start_session(godwit.Agent("tester", model=MODEL, tools=["plain"]), workspace=bench.workspace)
    assert (await within(session.send("Go."))).outcome == "done"
    assert [d.status for d in await data(session, ToolFinished)] == ["error"]


class EarlyInterrupt(SqliteStore):
    """The real store; an interrupt of another process comes just before the driver says that it asks a model."""

    async def append(self, session: SessionId, events: Sequence[Draft], **options: Any) -> Appended:
        asks = [draft for draft in events if isinstance(draft.data, ModelStarted)]
        if asks and asks[0].run is not None:
            interrupt = Draft(UserInterrupt(asks[0].run), at_ms=asks[0].at_ms, run=asks[0].run)
            await super().append(session, [interrupt])
        return await super().append(session, events, **options)


async def test_an_interrupt_that_comes_with_the_drivers_own_commit_is_heard(bench: Bench) -> None:
    """The driver folds it in with what it commits itself, so its ear finds nothing new when it looks."""
    runtime = await bench.runtime(store=EarlyInterrupt.open(bench.path, durability="process"))
    session = await bench.start([hold(asyncio.Event()) + "never"], runtime=runtime)
    assert (await within(session.send("Go."))).outcome == "interrupted"
