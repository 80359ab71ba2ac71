"""The meter over random legal histories, and the moments at which its clock runs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from tests.core.walk import CREATED, Walk, event, picker, walks

from godwit.core.budget import Budget, Spent
from godwit.core.errors import Fault
from godwit.core.events import (
    ActionClosed,
    ActionOpened,
    AgentMessage,
    BudgetExceeded,
    BudgetWarned,
    EventData,
    InputDelivered,
    ModelStarted,
    RunClaimed,
    RunFinished,
    RunParked,
    RunRetrying,
    RunStarted,
    RunUnparked,
    RunYielded,
    SessionConfigured,
    SessionPaused,
    SessionResumed,
    SessionRewound,
    ToolStarted,
    TurnFinished,
    TurnStarted,
    UsageRecorded,
    UserAnswer,
    UserMessage,
)
from godwit.core.ids import ActionId, InputId, MessageId, RunId
from godwit.core.messages import Assistant, Text, Usage
from godwit.core.meter import Meter, metered
from godwit.core.state import State, fold

RUN = RunId("r")
ASK = ActionId("a")


@given(walks())
@settings(max_examples=40)
def test_nothing_is_ever_taken_back_and_the_clock_runs_only_in_a_drivers_hands(numbers: list[int]) -> None:
    walk = Walk()
    walk.take(CREATED)
    pick = picker(numbers)
    before, forked = walk.state.meter, 0
    for _ in range(len(numbers) // 2):
        new = walk.step(pick)
        if new is None:
            break
        now = walk.state.meter
        if new.type == "session.forked":
            assert now == Meter()  # it is another session, which has spent nothing yet
            before, forked = now, len(walk.events)
            continue
        for name in ("tokens", "nano_usd", "turns", "tool_calls", "time_ms"):
            assert getattr(now, name) >= getattr(before, name)
        assert (now.since_ms is not None) == (walk.state.gate.phase == "running")
        assert now.turns == sum(isinstance(e.data, AgentMessage) for e in walk.events[forked:])
        assert now.tool_calls == sum(isinstance(e.data, ToolStarted) for e in walk.events[forked:])
        before = now


def told(*steps: tuple[int, EventData]) -> State:
    """The state after these events, each at its second, in a run that was claimed at second 0."""
    state = State()
    opening: tuple[tuple[int, EventData], ...] = (
        (-9, CREATED),
        (-5, UserMessage(InputId("i"), (Text("go"),))),
        (-5, RunStarted(RUN, InputId("i"))),
        (0, RunClaimed(RUN, 1)),
    )
    for at_s, data in (*opening, *steps):
        new = event(state.seq + 1, data, at_ms=1_000_000 + at_s * 1000)
        new.run = RUN if state.run is not None else None
        state = fold(state, new)
    return state


def test_time_counts_while_a_driver_works() -> None:
    assert told().spent().time_s == 0
    assert told((3, InputDelivered(InputId("i"))), (7, TurnStarted(1))).spent().time_s == 7
    state = told((3, InputDelivered(InputId("i"))))
    assert state.spent(1_000_000 + 8_000).time_s == 8
    assert state.spent(1_000_000 - 8_000).time_s == 3


@pytest.mark.parametrize(
    "rest",
    [
        [(10, RunYielded(RUN)), (500, RunClaimed(RUN, 1))],
        [(10, SessionPaused()), (10, RunYielded(RUN)), (300, SessionResumed()), (500, RunClaimed(RUN, 1))],
        [
            (10, ActionOpened(ASK, "approval", None, "budget")),
            (10, RunParked(RUN, (ASK,))),
            (400, UserAnswer(ASK, "approve")),
            (400, RunUnparked(RUN)),
            (500, RunClaimed(RUN, 1)),
            (500, ActionClosed(ASK)),
        ],
        [
            (5, TurnStarted(1)),
            (10, RunRetrying(RUN, Fault("x", "x"), 1, 400_000, "m")),
            (500, RunClaimed(RUN, 1)),
        ],
        [(10, InputDelivered(InputId("i"))), (500, RunClaimed(RUN, 2))],
        [
            (10, InputDelivered(InputId("i"))),
            (300, UserMessage(InputId("s"), (Text("steer"),), "steer")),
            (400, SessionConfigured(name="x")),
            (500, RunClaimed(RUN, 2)),
        ],
    ],
    ids=["yielded", "paused", "parked", "retrying", "died", "died, and others wrote"],
)
def test_time_stands_still_while_nobody_works(rest: list[tuple[int, EventData]]) -> None:
    first: list[tuple[int, EventData]] = [(1, InputDelivered(InputId("i")))]
    state = told(*([] if isinstance(rest[0][1], InputDelivered) else first), *rest)
    assert state.gate.phase == "running"
    assert state.spent().time_s == 10
    assert state.spent(1_504_000).time_s == 14


def test_a_clock_that_goes_back_takes_nothing_back() -> None:
    state = told((10, InputDelivered(InputId("i"))), (4, TurnStarted(1)), (12, ModelStarted(MessageId("m"), "m")))
    assert state.spent().time_s == 12


def test_what_no_model_can_have_used_counts_as_nothing() -> None:
    def spent(usage: Usage) -> Spent:
        return metered(Meter(), "none", "none", UsageRecorded("p", "m", usage), 0).spent()

    assert spent(Usage(-5, 7, cost_usd=-1.0)) == Spent(tokens=7)
    assert spent(Usage(1, 1, cost_usd=float("nan"))) == Spent(tokens=2)
    assert spent(Usage(1, 1, cost_usd=float("inf"))) == Spent(tokens=2)
    assert spent(Usage(1 << 80, 0)).tokens == 1 << 40


def test_sums_of_money_are_exact() -> None:
    meter = Meter()
    for _ in range(10):
        meter = metered(meter, "none", "none", UsageRecorded("p", "m", Usage(1, 1, cost_usd=0.1)), 0)
    assert meter.spent().usd == 1


def test_a_cut_answer_counts_as_a_turn_and_a_rewind_refunds_nothing() -> None:
    cut = Assistant(MessageId("m"), (Text("ha"),), "m", "interrupted", complete=False, usage=Usage(3, 1))
    state = told(
        (1, InputDelivered(InputId("i"))), (1, TurnStarted(1)), (1, ModelStarted(cut.id, "m")), (2, AgentMessage(cut))
    )
    assert state.spent() == Spent(4, 0, 1, 0, 2)
    ended = state
    for data in (TurnFinished(1), RunFinished(RUN, "interrupted"), SessionRewound(2)):
        ended = fold(ended, event(ended.seq + 1, data, at_ms=1_002_000))
    assert ended.spent() == state.spent()


# --- what the fold keeps of budgets -----------------------------------------------------------------------------------


def test_a_run_keeps_the_budgets_it_began_with_until_an_answer_raises_them() -> None:
    new, more = (Budget(usd=9),), (Budget(usd=2),)
    state = told((1, SessionConfigured(budgets=new)))
    assert state.run is not None
    assert (state.run.budgets, state.budgets, state.budgets_set) == (None, new, new)
    state = told((1, SessionConfigured(budgets=more, raised_by=ASK)))
    assert state.run is not None
    assert (state.run.budgets, state.budgets, state.budgets_set) == (more, more, None)
    # What was set while the run was open stays for the next one.
    state = told((1, SessionConfigured(budgets=new)), (2, SessionConfigured(budgets=more, raised_by=ASK)))
    assert state.run is not None
    assert (state.run.budgets, state.budgets, state.budgets_set) == (more, new, new)


def test_what_was_warned_of_is_known_and_a_guards_warning_only_for_its_run() -> None:
    warnings = (BudgetWarned("usd", 0.8, 1), BudgetWarned("usd", 0.9, 1), BudgetWarned("calls", 3, 5, "guard"))
    state = told((1, InputDelivered(InputId("i"))), *((1, w) for w in warnings))
    assert state.warned == (("session", "usd", 1), ("guard", "calls", 5))
    for data in (RunFinished(RUN, "done"), RunStarted(RunId("r2"))):
        state = fold(state, event(state.seq + 1, data))
    assert state.warned == (("session", "usd", 1),)


def test_the_first_limit_that_was_met_ends_the_run_and_one_beside_it_does_not() -> None:
    first, second = BudgetExceeded("usd", 1, 1), BudgetExceeded("tokens", 9, 9)
    state = told((1, first), (1, second))
    assert state.run is not None
    assert state.run.exceeded == first
    beside = fold(told(), event(5, first))  # of no run
    assert beside.run is not None
    assert beside.run.exceeded is None
