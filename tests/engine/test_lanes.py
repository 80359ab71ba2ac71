"""Lanes: who waits, who goes next, and what is counted. What seed 001's queue gets wrong upstream is shown to be right here:
see the tests whose names begin with `test_seed_`.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from godwit.core.errors import ConfigurationError, LaneNotFound, LanesClosed, TaskTimedOut
from godwit.core.lanes import LaneConfig, LaneEvent, LaneHandler, LaneSettings, RateLimit, RetryPolicy, Times
from godwit.engine.lanes import HELD, Lanes, Ticket
from tests.patience import PATIENCE_S


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def lanes(*configs: LaneConfig, clock: Callable[[], float] | None = None, **options: Any) -> Lanes:
    made = LaneSettings(configs, **options)
    return Lanes(made) if clock is None else Lanes(made, clock=clock)


async def nothing() -> None:
    return None


async def until_retrying(made: Lanes) -> None:
    """Until a task waits to be tried again."""
    while made.stats().retrying == 0:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0)


# --- data -----------------------------------------------------------------------------------------------------------


def test_the_standard_lanes_are_there_without_limits() -> None:
    found = {c.name: (c.priority, c.concurrency, c.mode) for c in LaneSettings().all()}
    assert found == {
        "control": (0, None, "inside"),
        "query": (1, None, "inside"),
        "execute": (2, None, "inside"),
        "generate": (3, None, "inside"),
    }


@pytest.mark.parametrize(
    "make",
    [
        lambda: LaneConfig("execute", concurrency=0),
        lambda: LaneConfig("execute", per_tenant=-1),
        lambda: LaneConfig("execute", timeout_s=float("nan")),
        lambda: LaneConfig("generate", mode="outside"),
        lambda: LaneConfig("execute", tools=("bash",)),
        lambda: LaneConfig(""),
        lambda: LaneSettings((LaneConfig("a"), LaneConfig("a"))),
        lambda: LaneSettings(ageing_s=0),
        lambda: RateLimit(0),
        lambda: RetryPolicy(jitter=2),
        lambda: RetryPolicy("sometimes"),  # type: ignore[arg-type]
        lambda: LaneConfig("execute", mode="elsewhere"),  # type: ignore[arg-type]
        lambda: LaneHandler("elsewhere"),  # type: ignore[arg-type]
        lambda: LaneSettings((LaneConfig("a", tools=("t",)), LaneConfig("b", tools=("t",)))),
    ],
)
def test_what_cannot_work_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError):
        make()


def test_seed_what_is_read_has_the_defaults_of_what_is_made() -> None:
    """Upstream a configuration that is read with fields missing gets other widths than one that is made."""
    assert msgspec.json.decode(b"{}", type=LaneSettings) == LaneSettings()
    assert msgspec.json.decode(b'{"name": "query"}', type=LaneConfig) == LaneConfig("query")
    assert msgspec.json.decode(b"{}", type=LaneHandler) == LaneHandler()


def test_pauses_grow_up_to_a_cap_and_chance_only_shortens_them() -> None:
    policy = RetryPolicy("exponential", retries=20, delay_ms=100, longest_ms=1000, jitter=0.5)
    assert [policy.pause_ms(n) for n in (1, 2, 3, 4, 5, 20, 21)] == [100, 200, 400, 800, 1000, 1000, None]
    assert policy.pause_ms(5, 1.0) == 500
    assert RetryPolicy("fixed", delay_ms=70).pause_ms(3) == 70
    assert RetryPolicy().pause_ms(1) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=200))
def test_percentiles_are_a_sixteenth_off_at_most(times: list[float]) -> None:
    counted = Times()
    for time_s in times:
        counted.add(time_s)
    ordered = sorted(times)
    for part in (0.5, 0.9, 0.99):
        true = ordered[max(0, -(-int(part * len(times) * 1000) // 1000) - 1)]
        near = [t for t in ordered if abs(counted.at(part) - t) <= t / 15 + 1e-12]
        assert near or counted.at(part) == pytest.approx(true, rel=1 / 15)
    assert counted.at(1.0) <= max(times)
    assert counted.percentiles().count == len(times)


# --- who goes next --------------------------------------------------------------------------------------------------


async def test_a_step_with_room_waits_for_nothing() -> None:
    made = lanes()
    ticket = made.ask("execute")
    assert ticket.active
    ticket.end()
    ticket.end()
    assert made.busy == 0
    with pytest.raises(LaneNotFound, match="control, query, execute, generate"):
        made.ask("nowhere")


async def test_within_a_lane_the_first_goes_first_and_its_width_is_kept() -> None:
    made = lanes(LaneConfig("execute", concurrency=2))
    tickets = [made.ask("execute") for _ in range(5)]
    assert [t.active for t in tickets] == [True, True, False, False, False]
    tickets[0].end()
    assert [t.state for t in tickets] == ["ended", "active", "active", "waiting", "waiting"]
    tickets[3].end()  # leaves the line
    tickets[1].end()
    assert tickets[4].active
    assert made.metrics().lanes["execute"].cancelled == 1


async def test_where_lanes_share_room_the_lower_priority_goes_first() -> None:
    """Seed 001: a control command overtakes ten queued generate commands."""
    made = lanes(concurrency=1)
    first = made.ask("generate")
    queued = [made.ask("generate") for _ in range(10)]
    control = made.ask("control")
    first.end()
    assert control.active
    assert not any(t.active for t in queued)
    control.end()
    assert queued[0].active


async def test_waiting_makes_every_lane_the_first_in_the_end() -> None:
    clock = Clock()
    made = lanes(concurrency=1, ageing_s=10.0, clock=clock)
    running, waits = made.ask("control"), made.ask("generate")
    for _ in range(100):
        clock.now_s += 1
        overtaking = made.ask("control")
        running.end()
        if waits.active:
            break
        running = overtaking
    assert waits.active
    assert 29 <= clock.now_s - 100 <= 31  # three lanes above it, ten seconds each


async def test_without_ageing_a_lower_lane_may_wait_for_ever() -> None:
    clock = Clock()
    made = lanes(concurrency=1, ageing_s=None, clock=clock)
    running, waits = made.ask("control"), made.ask("generate")
    for _ in range(100):
        clock.now_s += 1000
        overtaking = made.ask("control")
        running.end()
        running = overtaking
    assert waits.waiting


async def test_one_tenant_leaves_room_for_the_next() -> None:
    made = lanes(LaneConfig("execute", concurrency=3, per_tenant=1))
    mine = [made.ask("execute", tenant="a") for _ in range(3)]
    other = made.ask("execute", tenant="b")
    nobody = made.ask("execute")
    assert [t.active for t in (*mine, other, nobody)] == [True, False, False, True, True]
    mine[0].end()
    assert [t.active for t in mine[1:]] == [True, False]
    mine[1].end()
    assert mine[2].active


async def test_who_is_within_a_step_never_waits_for_what_it_holds() -> None:
    made = lanes(LaneConfig("execute", concurrency=1), LaneConfig("generate", concurrency=1), concurrency=1)
    outer = made.ask("execute")
    HELD.set(outer)
    within = made.ask("execute")
    assert within.active, "or a tool that calls a tool would wait for itself"
    model, second = made.ask("generate"), made.ask("generate")
    assert model.active, "what all share is taken by the outer step"
    assert second.waiting, "the model's own width is kept"
    model.end()
    assert second.active
    for ticket in (second, within, outer):
        ticket.end()
    assert made.ask("execute").active
    assert made.ask("execute").waiting, "a step that has ended opens nothing"


async def test_a_step_within_another_does_not_wait_behind_those_who_wait_for_that_one() -> None:
    made = lanes(concurrency=1)
    outer = made.ask("execute")
    waits = made.ask("generate")
    HELD.set(outer)
    within = made.ask("generate")
    assert (waits.waiting, within.active) == (True, True), "or all three would wait for ever"
    within.end()
    outer.end()
    assert waits.active


async def test_what_is_within_a_step_goes_first_when_its_lane_has_room_again() -> None:
    made = lanes(LaneConfig("generate", concurrency=1), concurrency=2)
    outer, model = made.ask("execute"), made.ask("generate")
    waits = made.ask("generate")
    HELD.set(outer)
    within = made.ask("generate")
    assert within.waiting, "the lane's own width is kept"
    model.end()
    assert (within.active, waits.waiting) == (True, True)
    within.end()
    assert waits.active


async def test_work_of_ones_own_may_have_steps_within_it() -> None:
    made = lanes(LaneConfig("execute", concurrency=1))

    async def outer() -> str:
        async with made.ask("execute"):
            await made.submit("execute", nothing)
        return "done"

    async with asyncio.timeout(PATIENCE_S):
        assert await made.submit("execute", outer) == "done"
        assert HELD.get() is None
        async with made.ask("execute"):
            await made.submit("execute", nothing)
        assert HELD.get() is None
    assert made.busy == 0


# --- rates ----------------------------------------------------------------------------------------------------------


async def test_a_rate_lets_as_many_begin_as_it_says() -> None:
    clock = Clock()
    made = lanes(LaneConfig("generate", rate=RateLimit(2, per_s=1.0)), clock=clock)
    tickets = [made.ask("generate") for _ in range(5)]
    assert sum(t.active for t in tickets) == 2
    clock.now_s += 0.5
    made._ring()
    assert sum(t.active for t in tickets) == 3
    clock.now_s += 100
    made._ring()
    assert sum(t.active for t in tickets) == 5, "what has waited takes of what has grown meanwhile"


async def test_a_rate_wakes_who_waits_by_itself() -> None:
    made = lanes(LaneConfig("generate", rate=RateLimit(1, per_s=0.02)))
    tickets = [made.ask("generate") for _ in range(3)]
    async with asyncio.timeout(PATIENCE_S):
        for ticket in tickets:
            assert await ticket.granted()


async def test_seed_no_token_is_used_up_by_an_empty_lane() -> None:
    """Upstream the rate limiter consumes a token even when the lane is empty."""
    clock = Clock()
    made = lanes(LaneConfig("generate", rate=RateLimit(3, per_s=3600)), LaneConfig("query", concurrency=1), clock=clock)
    for _ in range(50):  # others come and go, and each time the scheduler looks at all lanes
        one, two = made.ask("query"), made.ask("query")
        one.end()
        two.end()
    assert [made.ask("generate").active for _ in range(4)] == [True, True, True, False]


# --- submitting -----------------------------------------------------------------------------------------------------


async def test_a_task_gives_what_it_returns() -> None:
    made = lanes()

    async def seven() -> int:
        return 7

    assert await made.submit("query", seven) == 7
    assert made.metrics().lanes["query"].completed == 1


async def test_seed_a_thousand_tasks_need_no_tick() -> None:
    """Upstream the scheduler wakes every 10 ms and starts one command: a thousand would take ten seconds."""
    made = lanes(LaneConfig("execute", concurrency=1))
    loop = asyncio.get_running_loop()
    timers: list[float] = []
    call_at = loop.call_at

    def counted(when: float, *arguments: Any, **more: Any) -> asyncio.TimerHandle:
        timers.append(when)
        return call_at(when, *arguments, **more)

    loop.call_at = counted  # type: ignore[method-assign, assignment]
    try:
        await asyncio.gather(*(made.submit("execute", nothing) for _ in range(1000)))
    finally:
        loop.call_at = call_at  # type: ignore[method-assign]
    assert made.metrics().lanes["execute"].completed == 1000
    assert timers == [], "the next one begins when one ends, not when a clock says so"


async def test_seed_only_what_is_repeatable_is_tried_again() -> None:
    """Upstream every failure is retried, so that a failed or timed-out write runs up to four times."""
    policy = RetryPolicy("exponential", retries=3, delay_ms=0)
    made = lanes(LaneConfig("execute", retry=policy, timeout_s=0.001))
    tries = []

    async def fail() -> None:
        tries.append(1)
        raise OSError("no")

    async def hang() -> None:
        tries.append(1)
        await asyncio.Event().wait()

    for work, kind in ((fail, OSError), (hang, TaskTimedOut)):
        tries.clear()
        with pytest.raises(kind):
            await made.submit("execute", work)
        assert len(tries) == 1
        tries.clear()
        with pytest.raises(kind):
            await made.submit("execute", work, repeatable=True)
        assert len(tries) == 4, "once, and the three retries"
    counted = made.metrics().lanes["execute"]
    assert (counted.submitted, counted.retried, counted.dead) == (4, 6, 4)
    assert (counted.failed, counted.timed_out) == (5, 5)


async def test_seed_what_is_configured_is_used() -> None:
    """Upstream retry policy, rate limit, priority boost, pressure and lane timeouts of the configuration are ignored."""
    policy = RetryPolicy("fixed", retries=1, delay_ms=0)
    made = lanes(LaneConfig("execute", retry=policy, timeout_s=0.001, rate=RateLimit(100), pressure=1, priority=9))
    config = made.config("execute")
    assert (config.priority, config.pressure) == (9, 1)
    with pytest.raises(TaskTimedOut, match=r"longer than 0\.001 s"):
        await made.submit("execute", asyncio.Event().wait, repeatable=True)
    assert made.metrics().lanes["execute"].retried == 1


async def test_seed_metrics_are_written() -> None:
    """Upstream the metrics object is never written, so that its snapshots are empty."""
    clock = Clock()
    made = lanes(LaneConfig("execute", concurrency=1), clock=clock)
    first, second, third = (made.ask("execute") for _ in range(3))
    assert made.metrics().lanes["execute"].depth == 2
    clock.now_s += 2
    first.end()
    clock.now_s += 1
    second.end("failed")
    third.end("cancelled")
    counted = made.metrics().lanes["execute"]
    assert (counted.submitted, counted.completed, counted.failed, counted.cancelled) == (3, 1, 1, 1)
    assert (counted.wait.count, counted.run.count) == (3, 3)
    assert counted.run.longest_ms == pytest.approx(2000)
    assert counted.wait.p50_ms == pytest.approx(2000, rel=1 / 15)


async def test_seed_listeners_are_called() -> None:
    """Upstream the alert manager is never called. Pressure is told once, until none waits any more."""
    made = lanes(LaneConfig("execute", concurrency=1, pressure=2))
    told: list[LaneEvent] = []
    take_back = made.listen(told.append)
    tickets = [made.ask("execute") for _ in range(5)]
    assert told == [LaneEvent("pressure", "execute", 2, 1)]
    for ticket in tickets:
        ticket.end()
    assert told[1:] == [LaneEvent("idle", "execute")]
    again = [made.ask("execute") for _ in range(3)]
    assert [e.kind for e in told] == ["pressure", "idle", "pressure"]
    take_back()
    for ticket in again:
        ticket.end()
    assert len(told) == 3


async def test_a_listener_that_fails_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    def fails(_: LaneEvent) -> None:
        raise OSError("no")

    made = lanes(LaneConfig("execute", concurrency=1, pressure=1))
    made.listen(fails)
    first, second = made.ask("execute"), made.ask("execute")
    first.end()
    second.end()
    assert made.busy == 0
    assert caplog.text.count("a listener of lanes failed") == 2


# --- ending ---------------------------------------------------------------------------------------------------------


async def test_seed_drain_waits_for_what_is_to_be_tried_again() -> None:
    """Upstream a command that sleeps before its retry is neither pending nor active, so drain returns early."""
    made = lanes(LaneConfig("execute", retry=RetryPolicy("fixed", delay_ms=30, jitter=0)))
    fails = [OSError("not yet")]

    async def once() -> str:
        if fails:
            raise fails.pop()
        return "done"

    task = asyncio.ensure_future(made.submit("execute", once, repeatable=True))
    await until_retrying(made)
    assert (made.stats().pending, made.stats().active) == (0, 0)
    assert await made.drain(timeout_s=0) is False
    async with asyncio.timeout(PATIENCE_S):
        assert await made.drain()
    assert made.busy == 0
    assert await task == "done"


async def test_seed_shutdown_refuses_what_is_new_and_lets_retries_come() -> None:
    made = lanes(LaneConfig("execute", concurrency=1, retry=RetryPolicy("fixed", delay_ms=10)))
    fails = [OSError("not yet")]

    async def once() -> str:
        if fails:
            raise fails.pop()
        return "done"

    task = asyncio.ensure_future(made.submit("execute", once, repeatable=True))
    await until_retrying(made)
    ending = asyncio.ensure_future(made.shutdown(PATIENCE_S))
    await asyncio.sleep(0)
    with pytest.raises(LanesClosed):
        made.ask("execute")
    assert await ending is True
    assert await task == "done"
    with pytest.raises(LanesClosed):
        await made.submit("execute", nothing)


async def test_while_it_shuts_down_steps_within_those_that_run_are_let_in() -> None:
    made = lanes(LaneConfig("execute", concurrency=1))
    go = asyncio.Event()

    async def outer() -> str:
        await go.wait()
        await made.submit("query", nothing)
        return "done"

    task = asyncio.ensure_future(made.submit("execute", outer))
    await asyncio.sleep(0)
    ending = asyncio.ensure_future(made.shutdown(PATIENCE_S))
    await asyncio.sleep(0)
    go.set()
    assert await task == "done"
    assert await ending is True


async def test_who_waits_to_try_again_when_all_is_closed_leaves_no_drain_behind() -> None:
    made = lanes(LaneConfig("execute", retry=RetryPolicy("fixed", delay_ms=20)))

    async def fail() -> None:
        raise OSError("no")

    task = asyncio.ensure_future(made.submit("execute", fail, repeatable=True))
    await until_retrying(made)
    draining = asyncio.ensure_future(made.drain())
    await asyncio.sleep(0)
    made.close()
    with pytest.raises(LanesClosed):
        await task
    assert await asyncio.wait_for(draining, PATIENCE_S) is True
    counted = made.metrics().lanes["execute"]
    assert (counted.submitted, counted.failed, counted.retried) == (1, 1, 0)


async def test_pressure_is_told_again_once_nobody_waited_in_between() -> None:
    clock, told = Clock(), list[str]()
    made = lanes(LaneConfig("execute", rate=RateLimit(1), pressure=2), clock=clock)
    made.listen(lambda event: told.append(event.kind))
    asked = [made.ask("execute") for _ in range(4)]
    for _ in range(3):
        clock.now_s += 1
        made._ring()
    assert all(t.active for t in asked), "none waits, and none has ended"
    for _ in range(3):
        made.ask("execute")
    assert told == ["pressure", "pressure"]


async def test_a_lane_is_not_idle_while_one_waits_to_be_tried_again() -> None:
    told, tries = list[str](), list[int]()
    made = lanes(LaneConfig("execute", retry=RetryPolicy("fixed", delay_ms=1)))
    made.listen(lambda event: told.append(event.kind))

    async def second_time() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("no")

    await made.submit("execute", second_time, repeatable=True)
    assert (len(tries), told) == (2, ["idle"])


async def test_closing_turns_away_who_waits() -> None:
    made = lanes(LaneConfig("execute", concurrency=1))
    runs, waits = made.ask("execute"), made.ask("execute")
    waiting = asyncio.ensure_future(waits.granted())
    await asyncio.sleep(0)
    made.close()
    assert await waiting is False
    assert runs.active
    runs.end()
    assert made.busy == 0


async def test_who_stops_waiting_leaves_the_line() -> None:
    made = lanes(LaneConfig("execute", concurrency=1))
    first = made.ask("execute")
    task = asyncio.ensure_future(made.submit("execute", nothing))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert made.stats().pending == 0
    third = made.ask("execute")
    first.end()
    assert third.active


# --- any order of all of it -----------------------------------------------------------------------------------------


class Scheduler(RuleBasedStateMachine):
    """Any steps in any order: widths are kept, nobody who could go waits, and the line keeps its order."""

    tickets = Bundle("tickets")

    @initialize(
        widths=st.tuples(*[st.none() | st.integers(1, 3)] * 3),
        per_tenant=st.none() | st.integers(1, 2),
        room=st.none() | st.integers(1, 4),
        rate=st.none() | st.integers(1, 3),
        ageing_s=st.sampled_from([None, 1.0, 5.0]),
    )
    def begin(
        self,
        widths: tuple[int | None, ...],
        per_tenant: int | None,
        room: int | None,
        rate: int | None,
        ageing_s: float | None,
    ) -> None:
        self.clock = Clock()
        limit = None if rate is None else RateLimit(rate, 10.0)
        self.configs = {
            "query": LaneConfig("query", concurrency=widths[0]),
            "execute": LaneConfig("execute", concurrency=widths[1], per_tenant=per_tenant),
            "generate": LaneConfig("generate", concurrency=widths[2], rate=limit),
        }
        self.room = room
        self.loop = asyncio.new_event_loop()
        self.made = Lanes(LaneSettings(tuple(self.configs.values()), room, ageing_s), clock=self.clock)
        self.all: list[Ticket] = []
        self.opened: set[Ticket] = set()  # within steps whose lane comes later: nothing holds them up
        self.begun_s: list[float] = []

    def _do(self, work: Callable[[], Any]) -> Any:
        async def within() -> Any:
            before = {t.order for t in self.all if t.state == "active"}
            result = work()
            new = [t for t in [*self.all, *([result] if isinstance(result, Ticket) else [])] if t.state == "active"]
            self.begun_s += [self.clock.now_s] * sum(t.lane == "generate" and t.order not in before for t in new)
            return result

        return self.loop.run_until_complete(within())

    @rule(target=tickets, lane=st.sampled_from(["query", "execute", "generate"]), tenant=st.sampled_from("abc"))
    def ask(self, lane: str, tenant: str) -> Ticket:
        ticket: Ticket = self._do(lambda: self.made.ask(lane, tenant=tenant))
        self.all.append(ticket)
        return ticket

    @rule(
        target=tickets, outer=tickets, lane=st.sampled_from(["query", "execute", "generate"]), tenant=st.sampled_from("abc")
    )
    def ask_within(self, outer: Ticket, lane: str, tenant: str) -> Ticket:
        def within() -> Ticket:
            HELD.set(outer)
            return self.made.ask(lane, tenant=tenant)

        ticket: Ticket = self._do(lambda: contextvars.copy_context().run(within))
        self.all.append(ticket)
        order = ["query", "execute", "generate"]
        if not ticket.shares and order.index(lane) <= order.index(outer.lane):
            assert ticket.state == "active"
            self.opened.add(ticket)
        return ticket

    @rule(ticket=consumes(tickets), outcome=st.sampled_from(["completed", "failed", "cancelled"]))
    def end(self, ticket: Ticket, outcome: Any) -> None:
        self._do(lambda: ticket.end(outcome))

    @rule(passed_s=st.sampled_from([0.1, 1.0, 10.0]))
    def pass_time(self, passed_s: float) -> None:
        self.clock.now_s += passed_s
        self._do(lambda: self.made._give())

    @precondition(lambda self: self.all)
    @invariant()
    def widths_are_kept(self) -> None:
        active = [t for t in self.all if t.state == "active"]
        for name, config in self.configs.items():
            mine = [t for t in active if t.lane == name and t not in self.opened]
            assert config.concurrency is None or len(mine) <= config.concurrency
            if config.per_tenant is not None:
                assert all(sum(t.tenant == tenant for t in mine) <= config.per_tenant for tenant in "abc")
        assert self.room is None or sum(t.shares for t in active) <= self.room

    @precondition(lambda self: self.all)
    @invariant()
    def a_rate_is_kept(self) -> None:
        rate = self.configs["generate"].rate
        if rate is not None:
            for since in self.begun_s:
                opened = sum(t.lane == "generate" for t in self.opened)
                assert sum(since <= at < since + rate.per_s for at in self.begun_s) <= 2 * rate.steps + opened

    @precondition(lambda self: self.all)
    @invariant()
    def nobody_waits_who_could_go(self) -> None:
        active = [t for t in self.all if t.state == "active"]
        for ticket in (t for t in self.all if t.state == "waiting"):
            config = self.configs[ticket.lane]
            mine = [t for t in active if t.lane == ticket.lane]
            full = config.concurrency is not None and len(mine) >= config.concurrency
            theirs = sum(t.tenant == ticket.tenant for t in mine)
            full = full or (config.per_tenant is not None and theirs >= config.per_tenant)
            shared = sum(t.shares for t in active)
            full = full or (self.room is not None and ticket.shares and shared >= self.room)
            assert full or config.rate is not None, "there is room, and no rate that would keep it"

    @precondition(lambda self: self.all)
    @invariant()
    def first_come_first_served(self) -> None:
        """Of one lane and tenant nobody who came later has begun while one who came earlier waits, but for what is within
        another step."""
        for ticket in (t for t in self.all if t.state == "waiting"):
            later = [
                t
                for t in self.all
                if t.state == "active"
                and (t.lane, t.tenant) == (ticket.lane, ticket.tenant)
                and t.order > ticket.order
                and (t.shares or not ticket.shares)
                and t not in self.opened
            ]
            assert later == []

    @precondition(lambda self: self.all)
    @invariant()
    def counts_are_true(self) -> None:
        stats = self.made.stats()
        assert stats.pending == sum(t.state == "waiting" for t in self.all) == self.made._waiting
        assert stats.active == sum(t.state == "active" for t in self.all)

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        for ticket in self.all:
            if ticket.state == "active":
                self._do(ticket.end)
        self.clock.now_s += 1e6
        for _ in range(2 * len(self.all) + 1):
            self._do(lambda: self.made._give())
            for ticket in self.all:
                if ticket.state == "active":
                    self._do(ticket.end)
            self.clock.now_s += 100
        assert self.made.busy == 0, "all that asked had its turn"
        self.loop.close()


TestScheduler = Scheduler.TestCase
TestScheduler.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
