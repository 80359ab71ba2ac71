"""Budgets in a running session: limits, questions, guards, asides, prices, and sessions that work for another."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

import godwit
from godwit.contracts import BudgetCheck, ModelChunk, ModelRequest
from godwit.core.budget import Budget, BudgetDecision, Price, Spent
from godwit.core.errors import ConfigurationError, InvalidArgument, RateLimited, SessionClosed, ToolFailed
from godwit.core.events import (
    ActionClosed,
    ActionOpened,
    BudgetExceeded,
    BudgetWarned,
    InputDelivered,
    RunClaimed,
    SessionConfigured,
    ToolFinished,
    TurnStarted,
    UsageRecorded,
    UserAnswer,
    UserMessage,
)
from godwit.core.ids import ActionId, ManualClock, SessionId
from godwit.core.messages import Text, Usage
from godwit.engine import budget as engine_budget
from godwit.engine.session import Session
from godwit.host.runtime import Runtime
from godwit.models.registry import Registry
from godwit.models.script import Script, ScriptedModel, call, end, fail, hold, say, tries
from godwit.testing import drafts
from tests.engine.conftest import MODEL, Bench, data, types, until, until_type, within

ALLOW = BudgetDecision()


@godwit.tool
def look() -> str:
    """Look around."""
    return "nothing new"


class Guard:
    """Says to each question what it is told to say, and keeps what it was asked."""

    def __init__(self, model: Any = ALLOW, tool: Any = ALLOW, after: Any = None) -> None:
        self.answers = {"model": model, "tool": tool, "after": after}
        self.checks: list[BudgetCheck] = []
        self.tools: list[str | None] = []
        self.records: list[Usage] = []

    async def before_model(self, check: BudgetCheck) -> BudgetDecision:
        self.checks.append(check)
        return await self._say("model")

    async def before_tool(self, check: BudgetCheck) -> BudgetDecision:
        self.tools.append(check.tool)
        return await self._say("tool")

    async def after_model(self, check: BudgetCheck, usage: Usage) -> None:
        self.records.append(usage)
        await self._say("after")

    async def _say(self, point: str) -> BudgetDecision:
        answer: Any = self.answers[point]
        if callable(answer):
            answer = await answer()
        if isinstance(answer, BaseException):
            raise answer
        said: BudgetDecision = answer
        return said


DENY = BudgetDecision("deny", "calls", 3, 2, "enough for today")


def turns(n: int) -> list[Any]:
    """A script that looks n times and then answers."""
    return [*(call("look") for _ in range(n)), "done"]


async def parked(session: Session, from_seq: int = 0) -> ActionOpened:
    """The question of the run, once it is parked with it."""
    await until_type(session, "run.parked", from_seq)
    opened = [e for e in await session.events(from_seq) if isinstance(e.data, ActionOpened)]
    found = opened[-1].data
    assert isinstance(found, ActionOpened)
    return found


# --- limits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "spent", "answers"),
    [
        ({"turns": 2}, Spent(turns=2, tool_calls=2), 2),
        ({"tool_calls": 1}, Spent(turns=2, tool_calls=1), 2),
        ({"turns": 0}, Spent(), 0),
        ({"turns": 4}, Spent(turns=4, tool_calls=3), 4),
    ],
)
async def test_a_run_ends_before_the_step_that_would_go_over(
    bench: Bench, budget: dict[str, int], spent: Spent, answers: int
) -> None:
    session = await bench.start(turns(3), look, budget=budget, limits=godwit.Limits(max_repeated_calls=9))
    result = await session.send("go")
    now = await session.spent()
    assert (now.turns, now.tool_calls) == (spent.turns, spent.tool_calls)
    assert bench.model is not None
    assert len(bench.model.requests) == answers
    if answers == 4:
        assert (result.outcome, result.text) == ("done", "done")
        return
    assert result.outcome == "limited"
    assert result.error is not None
    assert result.error.code == "budget_exhausted"
    resource = next(iter(budget))
    assert result.error.message.startswith(f"Budget exhausted on '{resource}': ")
    [exceeded] = await data(session, BudgetExceeded)
    assert (exceeded.resource, exceeded.limit, exceeded.scope) == (resource, budget[resource], "session")


async def test_the_session_stays_usable_and_a_higher_budget_lets_it_go_on(bench: Bench) -> None:
    session = await bench.start(turns(1), look, budget={"turns": 1})
    assert (await session.send("go")).outcome == "limited"
    again = await session.send("and again")
    assert (again.outcome, again.turns) == ("limited", 0)
    # Nothing of a prompt that nobody paid for is in the transcript.
    assert "and again" not in str(await session.history())
    await session.set_budget({"turns": 9})
    assert await session.budget() == Budget(turns=9)
    assert (await session.send("now then")).text == "done"
    assert (await session.spent()).turns == 2


async def test_tokens_of_the_request_count_before_it_is_made(bench: Bench) -> None:
    session = await bench.start(["x"], budget={"tokens": 2000})
    result = await session.send("y" * 8400)
    assert result.outcome == "limited"
    assert result.error is not None
    assert "0 of 2,000 tokens spent, and the next step needs 2,1" in result.error.message
    assert bench.model is not None
    assert bench.model.requests == []
    assert (await session.send("short")).outcome == "done"


async def test_the_last_answer_tells_how_large_the_next_request_is(bench: Bench) -> None:
    large = say("a") + call("look") + end(usage=Usage(900, 100, requests=1))
    session = await bench.start([large, "done"], look, budget={"tokens": 1900})
    result = await session.send("go")
    assert result.outcome == "limited"
    assert result.error is not None
    assert "1,000 of 1,900 tokens spent, and the next step needs 1,00" in result.error.message


async def test_calls_side_by_side_are_counted_one_by_one(bench: Bench) -> None:
    script: Script = [call("look", id="a") + call("look", id="b") + call("look", id="c"), "done"]
    session = await bench.start(script, look, budget={"tool_calls": 2})
    result = await session.send("go")
    assert (result.outcome, (await session.spent()).tool_calls) == ("limited", 2)
    finished = {e.call: e for e in await data(session, ToolFinished)}
    assert {c: f.status for c, f in finished.items()} == {"a": "ok", "b": "ok", "c": "denied"}
    assert finished["c"].content == (Text("Budget exhausted on 'tool_calls': 2 of 2 tool calls spent"),)
    assert len(await data(session, BudgetExceeded)) == 1


async def test_calls_that_wait_for_one_another_are_counted_once(bench: Bench) -> None:
    @godwit.tool(exclusive=True)
    async def alone() -> str:
        """Work alone."""
        return "done"

    script: Script = [call("alone", id="a") + call("alone", id="b") + call("alone", id="c"), "done"]
    session = await bench.start(script, alone, budget={"tool_calls": 3}, limits=godwit.Limits(max_repeated_calls=9))
    assert (await session.send("go")).outcome == "done"


async def test_a_soft_limit_is_told_once_for_each_limit(bench: Bench) -> None:
    session = await bench.start(["x"], budget={"turns": 4, "soft": 0.5})
    for _ in range(3):
        bench.model._turns = ["x"] * 9  # type: ignore[union-attr]
        assert (await session.send("go")).outcome == "done"
    [warned] = await data(session, BudgetWarned)
    assert (warned.resource, warned.consumed, warned.limit, warned.reason) == ("turns", 2, 4, "2 of 4 turns")
    await session.set_budget({"turns": 6, "soft": 0.5})
    await session.send("go")
    assert [w.limit for w in await data(session, BudgetWarned)] == [4, 6]


async def test_a_budget_that_is_set_counts_from_the_next_prompt(bench: Bench) -> None:
    release, reached = asyncio.Event(), asyncio.Event()
    held = say("I look. ") + hold(release, reached=reached) + call("look")
    session = await bench.start([held, call("look"), "done"], look, budget={"turns": 9})
    run = await session.prompt("go")
    await within(reached.wait())
    await session.set_budget(Budget(turns=1))
    assert await session.budget() == Budget(turns=1)
    release.set()
    assert (await within(session.wait(run))).outcome == "done"
    assert (await session.send("more")).outcome == "limited"
    await session.set_budget(None)
    assert await session.budget() == Budget(turns=9)


async def test_scopes_are_set_apart_and_no_limits_limit_nothing(bench: Bench) -> None:
    session = await bench.start(["x"], budget=[{"turns": 1}, Budget(usd=3, scope="tree")])
    await session.set_budget(Budget(tokens=9, scope="tree"))
    assert (await session.budget(), await session.budget("tree")) == (Budget(turns=1), Budget(tokens=9, scope="tree"))
    await session.set_budget([Budget(), Budget(scope="tree")])
    for _ in range(3):
        bench.model._turns = ["x"] * 9  # type: ignore[union-attr]
        assert (await session.send("go")).outcome == "done"


async def test_what_is_no_budget_is_refused_and_changes_nothing(bench: Bench) -> None:
    session = await bench.start(["x"], budget={"turns": 3})
    for wrong in ({"usd": -1}, {"euros": 5}, "five", {"usd": math.nan}, [{"turns": 1}, {"turns": 2}]):
        with pytest.raises(ConfigurationError):
            await session.set_budget(wrong)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="agent 'a': budget"):
            godwit.Agent("a", model=MODEL, budget=wrong)  # type: ignore[arg-type]
    assert await session.budget() == Budget(turns=3)
    await session.close()
    with pytest.raises(SessionClosed):
        await session.set_budget({"usd": 1})


async def test_follow_ups_keep_waiting_when_nothing_more_is_paid(bench: Bench) -> None:
    release, reached = asyncio.Event(), asyncio.Event()
    session = await bench.start([say("a ") + hold(release, reached=reached), "b", "c"], budget={"turns": 1})
    run = await session.prompt("go")
    await within(reached.wait())
    waiting = await session.follow_up("then this")
    release.set()
    assert (await within(session.wait(run))).outcome == "limited"
    assert [entry.id for entry in await session.queue.list()] == [waiting]
    await session.set_budget({"turns": 9})
    await session.send("go on")
    assert [entry.status for entry in await session.queue.list(all=True)][1] == "delivered"


async def test_what_was_cut_or_not_counted_is_estimated_under_a_budget(bench: Bench) -> None:
    silent = say("word " * 100) + end(usage=Usage(requests=1))
    session = await bench.start([silent], budget={"tokens": 10_000})
    await session.send("go" * 200)
    spent = await session.spent()
    assert 225 <= spent.tokens < 400
    free = await bench.start([silent])
    await free.send("go")
    assert (await free.spent()).tokens == 0

    reached = asyncio.Event()
    cut = await bench.start(
        [say("word " * 100) + hold(asyncio.Event(), after=100, reached=reached)], budget={"tokens": 10_000}
    )
    run = await cut.prompt("go")
    await within(reached.wait())
    await cut.interrupt()
    await cut.wait(run)
    assert (await cut.spent()).tokens >= 125


# --- asking for more ------------------------------------------------------------------------------------------------


async def test_a_limit_may_ask_for_more_and_wait(bench: Bench) -> None:
    session = await bench.start(turns(3), look, budget={"turns": 2, "on_limit": "ask"})
    run = await session.prompt("go")
    asked = await parked(session)
    assert (asked.kind, asked.call, asked.name) == ("approval", None, "budget")
    assert asked.arguments == {"scope": "session", "resource": "turns", "consumed": 2, "limit": 2, "turns": 2}
    assert asked.message == "Budget: 2 of 2 turns spent. Approve to allow 2 turns more."
    [pending] = await session.approvals.pending()
    assert (pending.id, pending.message) == (asked.action, asked.message)
    assert await session.status() == "waiting"
    seq = (await session.state()).seq
    await session.approve(asked.action)
    assert (await within(session.wait(run))).text == "done"
    [configured] = await data(session, SessionConfigured)
    assert configured.budgets == (Budget(turns=4, on_limit="ask"),)
    assert configured.raised_by == asked.action
    assert await session.budget() == Budget(turns=4, on_limit="ask")
    assert [a.reason for a in await data(session, ActionClosed)] == ["answered"]
    assert [e.type for e in await session.events(seq)][:2] == ["user.answer", "run.unparked"]
    assert await data(session, BudgetExceeded) == []


async def test_each_approval_raises_by_the_original_amount_or_by_what_was_said(bench: Bench) -> None:
    session = await bench.start(
        turns(6), look, budget={"turns": 1, "on_limit": "ask"}, limits=godwit.Limits(max_repeated_calls=9)
    )
    run = await session.prompt("go")
    seq = 0
    for given, limit in ((None, 2), (None, 3), ({"turns": 2}, 5), (None, 6), (None, 7)):
        asked = await parked(session, seq)
        seq = (await session.state()).seq
        assert asked.arguments["turns"] == 1
        await session.approve(asked.action, arguments=given)
        await until_type(session, "session.configured", seq)
        assert (await session.budget()) == Budget(turns=limit, on_limit="ask")
    assert (await within(session.wait(run))).text == "done"


async def test_a_budget_of_nothing_offers_something(bench: Bench) -> None:
    session = await bench.start(["done"], budget={"tokens": 0, "on_limit": "ask"})
    run = await session.prompt("go")
    asked = await parked(session)
    assert asked.arguments["tokens"] >= 10_000
    await session.approve(asked.action)
    assert (await within(session.wait(run))).outcome == "done"


async def test_a_raise_covers_what_the_next_step_needs(bench: Bench) -> None:
    session = await bench.start(["done"], budget={"tokens": 100, "on_limit": "ask"})
    run = await session.prompt("y" * 1000)
    asked = await parked(session)
    assert asked.arguments["tokens"] % 100 == 0
    await session.approve(asked.action)
    assert (await within(session.wait(run))).outcome == "done"


async def test_denying_more_ends_the_run_as_limited(bench: Bench) -> None:
    session = await bench.start(turns(3), look, budget={"turns": 2, "on_limit": "ask"})
    run = await session.prompt("go")
    asked = await parked(session)
    await session.deny(asked.action, "that is plenty")
    result = await within(session.wait(run))
    assert result.outcome == "limited"
    assert result.error is not None
    assert result.error.message == "Budget exhausted on 'turns': not allowed more: that is plenty"
    [exceeded] = await data(session, BudgetExceeded)
    assert (exceeded.consumed, exceeded.limit, exceeded.scope) == (2, 2, "session")
    assert (await session.state()).gate.actions == ()


async def test_a_call_waits_with_the_question_and_runs_when_more_is_allowed(bench: Bench) -> None:
    script: Script = [call("look", id="a") + call("look", id="b"), "done"]
    session = await bench.start(script, look, budget={"tool_calls": 1, "on_limit": "ask"})
    run = await session.prompt("go")
    asked = await parked(session)
    assert asked.arguments["tool_calls"] == 1
    finished = {f.call: f.status for f in await data(session, ToolFinished)}
    assert finished == {"a": "ok"}
    await session.approve(asked.action)
    assert (await within(session.wait(run))).text == "done"
    assert [f.status for f in await data(session, ToolFinished)] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"euros": 5}, "unknown resource 'euros'"),
        ({"turns": -1}, "turns=-1 must be a whole number"),
        ({"turns": "5"}, "turns='5' must be a whole number"),
        ({"usd": 5}, "the question is about turns"),
        ({}, "the question is about turns"),
    ],
)
async def test_an_answer_that_cannot_be_used_is_refused_and_the_question_stays(
    bench: Bench, wrong: dict[str, Any], said: str
) -> None:
    session = await bench.start(turns(1), look, budget={"turns": 1, "on_limit": "ask"})
    run = await session.prompt("go")
    asked = await parked(session)
    seq = (await session.state()).seq
    with pytest.raises(InvalidArgument, match=said):
        await session.approve(asked.action, arguments=wrong)
    with pytest.raises(InvalidArgument, match=said):
        await session.send_event(UserAnswer(asked.action, "approve", arguments=wrong))
    assert (await session.state()).seq == seq
    # One that came into the log by another way counts as a denial that says why.
    await bench.runtimes[0].store.append(
        SessionId(session.id), drafts(UserAnswer(asked.action, "approve", arguments={"turns": -1}))
    )
    result = await within(session.wait(run))
    assert result.outcome == "limited"
    assert result.error is not None
    assert "turns=-1 must be" in result.error.message


async def test_nobody_is_asked_in_an_unattended_run(bench: Bench) -> None:
    session = await bench.start(turns(1), look, budget={"turns": 1, "on_limit": "ask"})
    result = await session.send("go", unattended=True)
    assert result.outcome == "limited"
    assert result.error is not None
    assert result.error.message == "Budget exhausted on 'turns': 1 of 1 turn spent, and nobody can be asked for more"


async def test_an_interrupt_ends_a_run_that_asks(bench: Bench) -> None:
    session = await bench.start(turns(1), look, budget={"turns": 1, "on_limit": "ask"})
    run = await session.prompt("go")
    await parked(session)
    assert await within(session.interrupt())
    assert (await session.wait(run)).outcome == "interrupted"
    assert await session.approvals.pending() == []


async def test_a_skipping_steer_does_not_get_past_the_question(bench: Bench) -> None:
    session = await bench.start(turns(1), look, budget={"turns": 1, "on_limit": "ask"})
    run = await session.prompt("go")
    asked = await parked(session)
    seq = (await session.state()).seq
    await session.steer("hurry up")
    await until_type(session, "run.parked", seq)
    assert await session.status() == "waiting"
    await session.approve(asked.action)
    assert (await within(session.wait(run))).outcome == "done"


async def test_what_was_set_while_it_asked_counts_for_the_next_run(bench: Bench) -> None:
    session = await bench.start(turns(1), look, budget={"turns": 1, "on_limit": "ask"})
    run = await session.prompt("go")
    asked = await parked(session)
    await session.set_budget({"turns": 2})
    await session.approve(asked.action)
    assert (await within(session.wait(run))).outcome == "done"
    assert await session.budget() == Budget(turns=2)
    assert (await session.send("more")).outcome == "limited"


# --- after a crash --------------------------------------------------------------------------------------------------


async def left_off(bench: Bench, *events: Any, budget: Any, parent: str | None = None) -> Session:
    """A session whose driver died after it had written these events, opened again by a new process."""
    runtime = await bench.runtime(turns(1))
    agent = godwit.Agent("tester", model=MODEL, tools=[look], budget=budget)
    session = await runtime.start_session(agent, parent=parent)
    await session.close()
    handle = await runtime.open_session(session.id, drive=False)
    run = await handle.prompt("go")
    lease = await runtime.store.claim(session.id, "a process that died", 60)
    assert lease is not None
    [message] = await data(handle, UserMessage)
    start = [RunClaimed(run, 1), *([InputDelivered(message.id), TurnStarted(1)] if events else [])]
    for one in (*start, *events):
        await runtime.store.append(session.id, drafts(one, run=run) if not isinstance(one, list) else one, epoch=lease.epoch)
    await runtime.store.release(lease)
    await bench.close()
    again = await bench.runtime(turns(1))
    return await again.open_session(session.id, agent=agent)


async def test_a_crash_between_meeting_a_limit_and_ending_the_run(bench: Bench) -> None:
    session = await left_off(bench, BudgetExceeded("usd", 2, 2, "session", "$2.00 of $2.00 spent"), budget={"usd": 2})
    result = await within(session.wait())
    assert result.outcome == "limited"
    assert result.error is not None
    assert result.error.message == "Budget exhausted on 'usd': $2.00 of $2.00 spent"
    assert result.error.details == {"resource": "usd", "consumed": 2, "limit": 2, "scope": "session"}
    assert bench.model is not None
    assert bench.model.requests == []


async def test_a_crash_before_anything_was_said_of_the_limit(bench: Bench) -> None:
    session = await left_off(bench, budget={"turns": 0})
    assert (await within(session.wait())).outcome == "limited"
    assert len(await data(session, BudgetExceeded)) == 1


async def test_a_crash_between_the_question_and_parking(bench: Bench) -> None:
    question = ActionOpened(
        ActionId("act_1"), "approval", None, "budget", {"scope": "session", "resource": "turns", "turns": 3, "limit": 0}
    )
    session = await left_off(bench, question, budget={"turns": 0, "on_limit": "ask"})
    asked = await parked(session)
    assert asked.action == "act_1"
    await session.approve("act_1")
    assert (await within(session.wait())).outcome == "done"
    assert await session.budget() == Budget(turns=3, on_limit="ask")


async def test_a_crash_between_the_answer_and_the_raise(bench: Bench) -> None:
    question = ActionOpened(
        ActionId("act_1"), "approval", None, "budget", {"scope": "session", "resource": "turns", "turns": 3, "limit": 0}
    )
    answer = UserAnswer(ActionId("act_1"), "approve")
    session = await left_off(bench, question, answer, budget={"turns": 0, "on_limit": "ask"})
    assert (await within(session.wait())).outcome == "done"
    assert [c.budgets for c in await data(session, SessionConfigured)] == [(Budget(turns=3, on_limit="ask"),)]


async def test_a_crash_between_raising_a_parents_limit_and_saying_so(bench: Bench) -> None:
    runtime = await bench.runtime(turns(1))
    budget = {"turns": 0, "scope": "tree", "on_limit": "ask"}
    above = await runtime.start_session(godwit.Agent("parent", model=MODEL, budget=budget))
    asked = {"scope": f"tree of {above.id}", "resource": "turns", "turns": 3, "limit": 0}
    question = ActionOpened(ActionId("act_1"), "approval", None, "budget", asked)
    raised = SessionConfigured(budgets=(Budget(turns=3, scope="tree", on_limit="ask"),), raised_by=ActionId("act_1"))
    await runtime.store.append(SessionId(above.id), drafts(raised), key="raised:act_1")
    answer = UserAnswer(ActionId("act_1"), "approve")
    below = await left_off(bench, question, answer, budget=None, parent=above.id)
    assert (await within(below.wait())).outcome == "done"
    again = await bench.runtimes[-1].open_session(above.id, drive=False)
    assert [c.budgets for c in await data(again, SessionConfigured)] == [raised.budgets]


async def test_a_restart_keeps_the_question_and_the_spending(bench: Bench) -> None:
    agent = godwit.Agent("tester", model=MODEL, tools=[look], budget={"turns": 1, "on_limit": "ask"})
    first = await bench.runtime(turns(2))
    session = await first.start_session(agent)
    await session.prompt("go")
    asked = await parked(session)
    spent = await session.spent()
    await bench.close()
    other = await bench.runtime(turns(2))
    watching = await other.open_session(session.id, drive=False)
    assert [p.id for p in await watching.approvals.pending()] == [asked.action]
    assert (await watching.spent()).turns == spent.turns == 1
    await watching.approve(asked.action, arguments={"turns": 9})
    await bench.close()
    last = await bench.runtime(turns(2))
    handle = await last.open_session(session.id, agent=agent)
    assert (await within(handle.wait())).text == "done"
    assert await handle.budget() == Budget(turns=10, on_limit="ask")


# --- time -----------------------------------------------------------------------------------------------------------


async def test_time_counts_while_it_works_and_not_while_it_waits(bench: Bench) -> None:
    clock = ManualClock()

    @godwit.tool
    def slow() -> str:
        """Take a while."""
        clock.advance(40)
        return "at last"

    agent = godwit.Agent(
        "tester", model=MODEL, tools=[slow, look], permissions={"look": "ask"}, budget={"time_s": 60, "soft": 1}
    )
    script: Script = [call("slow"), call("look"), call("slow"), "done"]
    runtime = await bench.runtime(script, clock=clock, lease_ttl_s=1e6)
    session = await runtime.start_session(agent)
    run = await session.prompt("go")
    asked = await parked(session)
    assert (await session.spent()).time_s == 40
    clock.advance(3600)
    await bench.close()
    clock.advance(3600)
    again = await bench.runtime(script, clock=clock, lease_ttl_s=1e6)
    handle = await again.open_session(session.id, agent=agent)
    await handle.approve(asked.action)
    result = await within(handle.wait(run))
    assert result.outcome == "limited"
    assert result.error is not None
    assert result.error.message == "Budget exhausted on 'time_s': 80.0 s of 60.0 s spent"
    assert (await handle.spent()).time_s == 80


# --- money ----------------------------------------------------------------------------------------------------------


async def test_a_limit_in_money_stops_at_a_price(bench: Bench) -> None:
    counted = end(usage=Usage(1000, 500, requests=1))
    script: Script = [call("look") + counted, call("look") + counted, call("look") + counted, "done"]
    runtime = await bench.runtime(script, prices={MODEL: Price(1000, 2000)})
    session = await bench.start(script, look, runtime=runtime, budget={"usd": 5.0})
    result = await session.send("go")
    assert result.outcome == "limited"
    assert result.usage.cost_usd == 4.0
    assert (await session.spent()).usd == 4.0
    assert result.error is not None
    assert result.error.message.startswith("Budget exhausted on 'usd': $4.00 of $5.00 spent, and the next step needs $1.5")


async def test_a_model_without_a_price_is_not_asked_under_a_limit_in_money(bench: Bench) -> None:
    session = await bench.start(["x"], budget={"usd": 5})
    result = await session.send("go")
    assert result.outcome == "limited"
    assert result.error is not None
    assert result.error.message.startswith(f"Budget exhausted on 'usd': the price of model '{MODEL}' is not known: give it")
    assert f"prices={{'{MODEL}': Price(" in result.error.message
    assert bench.model is not None
    assert bench.model.requests == []
    await session.set_budget({"usd": 5, "unpriced": "allow"})
    for _ in range(2):
        bench.model._turns = ["x"] * 3
        assert (await session.send("go")).outcome == "done"
    [warned] = await data(session, BudgetWarned)
    assert warned.resource == f"price of {MODEL}"
    assert (await session.spent()).usd == 0


async def test_a_fallback_without_a_price_is_not_asked_either(bench: Bench) -> None:
    runtime = await Runtime.open(
        bench.path,
        models={
            "a:priced": ScriptedModel([fail(RateLimited("no", retryable=False))], price=Price(0, 0)),
            "b:unpriced": (other := ScriptedModel(["x"])),
        },
    )
    bench.runtimes.append(runtime)
    session = await runtime.start_session(godwit.Agent("a", model=["a:priced", "b:unpriced"], budget={"usd": 1}))
    result = await session.send("go")
    assert result.outcome == "limited"
    assert result.error is not None
    assert "'b:unpriced'" in result.error.message
    assert other.requests == []


async def test_a_registry_that_knows_no_prices(bench: Bench) -> None:
    class Plain:
        def resolve(self, name: str) -> ScriptedModel:
            return ScriptedModel(["x"], name, price=Price(1, 1))

    runtime = await bench.runtime(models=Plain())
    session = await bench.start([], runtime=runtime, budget={"usd": 1})
    assert (await session.send("go")).outcome == "limited"
    with pytest.raises(InvalidArgument, match="prices belong to the registry"):
        await Runtime.open(":memory:", models=Registry(environment={}), prices={"m": Price(1, 1)})


# --- guards ---------------------------------------------------------------------------------------------------------


async def test_a_guard_that_denies_stops_before_the_model(bench: Bench) -> None:
    guard = Guard(DENY)
    runtime = await bench.runtime(["x"])
    agent = godwit.Agent("guarded", model=MODEL, budget_guard=guard)
    session = await runtime.start_session(agent, labels=godwit.Labels(tenant="acme"))
    result = await session.send("go")
    assert result.outcome == "limited"
    assert result.error is not None
    assert result.error.message == "Budget exhausted on 'calls': enough for today"
    assert result.error.code == "budget_exhausted"
    assert len(guard.checks) == 1
    assert guard.records == []
    assert await session.history() == ()
    assert session.budget_guard() is None
    assert not session.is_closed
    check = guard.checks[0]
    assert (check.session, check.run, check.tool, check.spent.turns) == (session.id, result.run, None, 0)
    assert (check.labels.tenant, check.estimated_tokens) == ("acme", 0)


async def test_a_guard_may_be_set_and_taken_back(bench: Bench) -> None:
    session = await bench.start(["x"] * 9)
    guard = Guard(DENY)
    session.set_budget_guard(guard)
    assert session.budget_guard() is guard
    assert (await session.send("go")).outcome == "limited"
    session.set_budget_guard(None)
    assert session.budget_guard() is None
    assert (await session.send("go")).outcome == "done"


async def test_no_guard_falls_back_to_the_configured_one(bench: Bench) -> None:
    of_runtime, of_agent, own = Guard(), Guard(), Guard()
    runtime = await bench.runtime(["x"] * 9, budget_guard=of_runtime)
    plain = await bench.start(["x"] * 9, runtime=runtime)
    await plain.send("go")
    assert (len(of_runtime.checks), len(of_agent.checks)) == (1, 0)
    session = await runtime.start_session(godwit.Agent("guarded", model=MODEL, budget_guard=of_agent))
    await session.send("go")
    session.set_budget_guard(own)
    await session.send("go")
    session.set_budget_guard(None)
    await session.send("go")
    assert (len(of_runtime.checks), len(of_agent.checks), len(own.checks)) == (1, 2, 1)


async def test_a_guard_that_is_set_counts_from_the_next_prompt(bench: Bench) -> None:
    release, reached = asyncio.Event(), asyncio.Event()
    first, second = Guard(), Guard(DENY, DENY)
    script: Script = [say("a ") + hold(release, reached=reached) + call("look"), "done"]
    session = await bench.start(script, look)
    session.set_budget_guard(first)
    run = await session.prompt("go")
    session.set_budget_guard(second)
    await within(reached.wait())
    release.set()
    assert (await within(session.wait(run))).outcome == "done"
    assert (len(first.checks), first.tools, len(first.records)) == (2, ["look"], 2)
    assert second.checks == []
    assert (await session.send("more")).outcome == "limited"


async def test_what_guards_nothing_is_no_guard(bench: Bench) -> None:
    session = await bench.start(["x"])
    with pytest.raises(ConfigurationError, match="none of before_model, before_tool, after_model"):
        session.set_budget_guard(object())  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        godwit.Agent("a", model=MODEL, budget_guard="guard")  # type: ignore[arg-type]
    runtime = bench.runtimes[0]
    watching = await runtime.open_session(session.id, drive=False)
    with pytest.raises(InvalidArgument, match="only watches"):
        watching.set_budget_guard(Guard())


async def test_a_method_that_is_missing_allows(bench: Bench) -> None:
    class OnlyTools:
        async def before_tool(self, check: BudgetCheck) -> BudgetDecision:
            return DENY

    session = await bench.start([call("look"), "done"], look, budget_guard=OnlyTools())
    result = await session.send("go")
    assert result.outcome == "limited"
    [finished] = await data(session, ToolFinished)
    assert (finished.status, finished.content) == ("denied", (Text("Budget exhausted on 'calls': enough for today"),))


async def boom() -> Any:
    raise RuntimeError("out of order")


async def hang() -> Any:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (boom, "the budget guard failed: RuntimeError: out of order"),
        (hang, "the budget guard did not answer within 0.05 s"),
        (asyncio.CancelledError(), "the budget guard cancelled itself"),
        (None, "the budget guard answered None, not a BudgetDecision"),
        ({"verdict": "allow"}, "the budget guard answered {'verdict': 'allow'}, not a BudgetDecision"),
        (BudgetDecision("perhaps"), "the budget guard answered nonsense"),  # type: ignore[arg-type]
        (BudgetDecision("warn", "usd", math.nan, 1), "the budget guard answered nonsense"),
        (BudgetDecision("warn", "\ud800", 1, 1), "the budget guard answered nonsense"),
        (BudgetDecision("warn", 5, 1, 1), "the budget guard answered nonsense"),  # type: ignore[arg-type]
    ],
    ids=["raises", "hangs", "cancels", "none", "dict", "unknown verdict", "nan", "no text", "no name"],
)
async def test_a_guard_that_fails_denies(bench: Bench, monkeypatch: pytest.MonkeyPatch, answer: Any, said: str) -> None:
    monkeypatch.setattr(engine_budget, "GUARD_S", 0.05)
    for guard in (Guard(model=answer), Guard(tool=answer)):
        session = await bench.start([call("look"), "done"], look, budget_guard=guard)
        result = await within(session.send("go"))
        assert result.outcome == "limited"
        assert result.error is not None
        assert result.error.message.startswith(f"Budget exhausted on 'guard': {said}")
        assert [e.resource for e in await data(session, BudgetExceeded)] == ["guard"]
        assert await types(session)  # what was stored can be read


async def test_a_guard_that_cannot_count_denies_what_follows(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_budget, "GUARD_S", 0.05)
    for failing in (boom, hang):
        guard = Guard(after=failing)
        session = await bench.start([call("look"), "done"], look, budget_guard=guard)
        result = await within(session.send("go"))
        assert result.outcome == "limited"
        assert result.error is not None
        assert "the budget guard could not count a step" in result.error.message
        assert len(guard.records) == 1
        [finished] = await data(session, ToolFinished)
        assert finished.status == "skipped"


async def test_a_guard_is_told_of_each_answer_and_of_no_failure(bench: Bench) -> None:
    guard = Guard()
    script: Script = [
        tries(RateLimited("slow", retry_after_s=0.0), call("look") + end(usage=Usage(7, 3))),
        say("done") + end(usage=Usage(9, 1)),
    ]
    session = await bench.start(script, look, budget_guard=guard)
    assert (await session.send("go")).outcome == "done"
    assert [u.total_tokens for u in guard.records] == [10, 10]
    assert [c.spent.tokens for c in guard.checks] == [0, 0, 10]
    assert guard.checks[2].estimated_tokens >= 10


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_guard_that_hangs_holds_up_no_interrupt(bench: Bench, blocking: bool) -> None:
    asked, release = threading.Event(), threading.Event()

    class Hanging:
        def before_model(self, check: BudgetCheck) -> Any:
            asked.set()
            if blocking:
                release.wait(20)
                return ALLOW
            return hang()

    session = await bench.start(["x"], budget_guard=Hanging())
    try:
        run = await session.prompt("go")
        assert await asyncio.to_thread(asked.wait, 20)
        began = time.monotonic()
        assert await within(session.interrupt())
        assert time.monotonic() - began < engine_budget.GUARD_S
        result = await session.wait(run)
        assert result.outcome == "interrupted"
        assert await data(session, BudgetExceeded) == []
    finally:
        release.set()


async def test_a_guard_that_warns_is_told_of_once_in_a_run(bench: Bench) -> None:
    guard = Guard(BudgetDecision("warn", "calls", 8, 10, "nearly there"))
    session = await bench.start([call("look"), "done", "done"], look, budget_guard=guard)
    for _ in range(2):
        assert (await session.send("go")).outcome == "done"
    warnings = await data(session, BudgetWarned)
    assert [(w.resource, w.consumed, w.limit, w.scope, w.reason) for w in warnings] == [
        ("calls", 8, 10, "guard", "nearly there")
    ] * 2


async def test_a_guard_may_ask_a_person_for_each_step(bench: Bench) -> None:
    guard = Guard(tool=BudgetDecision("ask", "calls", 3, 2, "really?"))
    session = await bench.start([call("look"), "done"], look, budget_guard=guard)
    run = await session.prompt("go")
    asked = await parked(session)
    assert asked.message == "Budget: really?. Approve to take this step all the same."
    with pytest.raises(InvalidArgument, match="approve or deny alone"):
        await session.approve(asked.action, arguments={"calls": 5})
    await session.approve(asked.action)
    assert (await within(session.wait(run))).text == "done"
    assert guard.tools == ["look"]

    other = await bench.start([call("look"), "done"], look, budget_guard=guard)
    run = await other.prompt("go")
    asked = await parked(other)
    await other.deny(asked.action)
    result = await within(other.wait(run))
    assert result.error is not None
    assert result.error.message == "Budget exhausted on 'calls': not allowed more"


async def test_a_hook_and_a_guard_may_both_want_a_person(bench: Bench) -> None:
    """What a person has let pass is not asked for again and again by the two in turn; a limit is asked for on its own."""

    @godwit.hook("before_turn")
    async def careful(_: godwit.HookCall) -> godwit.HookResult:
        return godwit.HookResult("escalate", reason="may it?")

    guard = Guard(BudgetDecision("ask", "calls", 3, 2, "really?"))
    asks = {"turns": 0, "on_limit": "ask"}
    for budget, names in ((None, ["budget", "hook careful"]), (asks, ["budget", "budget", "hook careful"])):
        session = await bench.start(["done"], budget=budget, budget_guard=guard, hooks=[careful])
        run = await session.prompt("go")
        asked: list[str] = []
        seq = 0
        while await session.status() != "idle" and len(asked) < 9:
            event = await until(session, lambda e: e.type in ("run.parked", "run.finished"), seq)
            seq = event.seq
            for pending in await session.approvals.pending():
                asked.append(pending.name)
                await session.approve(pending.id)
        assert (await within(session.wait(run))).text == "done"
        assert asked == names


async def test_a_guard_that_calls_its_own_session_does_not_wait_for_itself(bench: Bench) -> None:
    sessions: list[Session] = []

    async def interrupt() -> Any:
        await sessions[0].interrupt()
        return ALLOW

    sessions.append(await bench.start(["x"], budget_guard=Guard(interrupt)))
    result = await within(sessions[0].send("go"))
    assert result.outcome == "interrupted"


# --- calls of the host ----------------------------------------------------------------------------------------------


async def test_direct_calls_are_paid_for_as_well(bench: Bench) -> None:
    guard = Guard()
    session = await bench.start(["x"], look, budget={"tool_calls": 1, "on_limit": "ask"}, budget_guard=guard)
    assert (await session.tool("look")).ok
    refused = await session.tool("look")
    assert (refused.status, refused.output) == (
        "denied",
        "Budget exhausted on 'tool_calls': 1 of 1 tool call spent, and nobody can be asked for more",
    )
    assert guard.tools == ["look"]
    assert (await session.spent()).tool_calls == 1
    assert (await session.send("still there?")).outcome == "done"


# --- asides ---------------------------------------------------------------------------------------------------------


def asking(prompt: str = "Sum up.", **options: Any) -> Any:
    class Asking:
        definition = godwit.ToolDefinition("sum_up", "Sum up.", {"type": "object", "properties": {}})
        traits = look.traits

        def validate(self, arguments: dict[str, Any]) -> None: ...

        def locks(self, arguments: dict[str, Any], workspace: Any) -> frozenset[str]:
            return frozenset()

        async def run(self, arguments: dict[str, Any], context: godwit.ToolContext) -> godwit.ToolOutput:
            return godwit.ToolOutput((Text(await context.ask_model(prompt, **options)),))

    return Asking()


async def with_aside(bench: Bench, aside: Any, tool: Any, script: Any = None, **agent: Any) -> Session:
    models = {MODEL: ScriptedModel(script or [call("sum_up"), "done"], MODEL), "small:one": aside}
    runtime = await bench.runtime(models=models)
    return await runtime.start_session(godwit.Agent("tester", model=MODEL, tools=[tool], **agent))


async def test_what_a_tool_asks_a_model_is_counted(bench: Bench) -> None:
    aside = ScriptedModel([say("All is well.") + end(usage=Usage(80, 20, requests=1))], "small:one", price=Price(1000, 1000))
    guard = Guard()
    session = await with_aside(bench, aside, asking(model="small:one", purpose="summary"), budget_guard=guard)
    result = await session.send("go")
    assert result.outcome == "done"
    [finished] = await data(session, ToolFinished)
    assert finished.content == (Text("All is well."),)
    [used] = await data(session, UsageRecorded)
    assert (used.purpose, used.model, used.usage) == ("summary", "small:one", Usage(80, 20, requests=1, cost_usd=0.1))
    assert (await session.spent()).usd == 0.1
    assert result.usage.cost_usd == 0.1
    assert len(guard.checks) == 3
    assert guard.records[1] == used.usage
    [asked] = aside.requests
    assert [m.message.content for m in asked.entries] == [(Text("Sum up."),)]
    assert (asked.tools, asked.instructions) == ((), "")
    assert "Sum up." not in str(await session.history())


async def test_a_function_in_a_thread_asks_a_model_by_the_loop_of_the_session(bench: Bench) -> None:
    """It may wait in a loop of its own; what it asks for is asked and stored in the session's."""
    threads: list[int] = []
    streamed: list[int] = []

    class Watched(ScriptedModel):
        async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
            streamed.append(threading.get_ident())
            async for chunk in super().stream(request):
                yield chunk

    @godwit.tool
    def sum_up(context: godwit.ToolContext) -> str:
        """Sum up."""
        threads.append(threading.get_ident())
        with pytest.raises(InvalidArgument):
            asyncio.run(context.ask_model(" "))
        return asyncio.run(context.ask_model("Sum up.", model="small:one", purpose="summary"))

    aside = Watched(["All is well.", "never"], "small:one")
    session = await with_aside(bench, aside, sum_up, budget={"tokens": 10_000})
    assert (await within(session.send("go"))).outcome == "done"
    assert [f.content for f in await data(session, ToolFinished)] == [(Text("All is well."),)]
    assert [u.purpose for u in await data(session, UsageRecorded)] == ["summary"]
    assert threads != streamed
    assert streamed == [threading.get_ident()]


async def test_an_aside_of_a_function_in_a_thread_is_cut_off_with_its_call(bench: Bench) -> None:
    failures: list[str] = []

    @godwit.tool
    def sum_up(context: godwit.ToolContext) -> str:
        """Sum up."""
        try:
            return asyncio.run(context.ask_model("Sum up.", model="small:one"))
        except ToolFailed as error:
            failures.append(error.message)
            raise

    reached = asyncio.Event()
    aside = ScriptedModel([say("a b c ") + hold(asyncio.Event(), reached=reached)], "small:one")
    session = await with_aside(bench, aside, sum_up)
    run = await session.prompt("go")
    await within(reached.wait())
    await within(session.interrupt())
    assert (await session.wait(run)).outcome == "interrupted"
    assert failures == ["[interrupted]"]
    assert aside.cut


async def test_an_aside_that_cannot_be_paid_for_is_an_error_of_its_call(bench: Bench) -> None:
    aside = ScriptedModel(["never"], "small:one")
    tool = asking("y" * 400_000, model="small:one")
    session = await with_aside(bench, aside, tool, budget={"tokens": 50_000, "on_limit": "ask"})
    assert (await session.send("go")).outcome == "done"
    [finished] = await data(session, ToolFinished)
    assert finished.status == "error"
    assert "Budget exhausted on 'tokens'" in str(finished.content)
    assert aside.requests == []
    assert await data(session, BudgetExceeded) == []


async def test_asides_are_retried_and_cut_off(bench: Bench) -> None:
    flaky = ScriptedModel([tries(RateLimited("slow", retry_after_s=0.0), "fine")], "small:one")
    session = await with_aside(bench, flaky, asking(model="small:one"))
    await session.send("go")
    assert [f.content for f in await data(session, ToolFinished)] == [(Text("fine"),)]

    reached = asyncio.Event()
    stuck = ScriptedModel([say("a b c ") + hold(asyncio.Event(), reached=reached)], "small:one")
    await bench.close()
    session = await with_aside(bench, stuck, asking(model="small:one"), budget={"tokens": 10_000})
    run = await session.prompt("go")
    await within(reached.wait())
    await within(session.interrupt())
    assert (await session.wait(run)).outcome == "interrupted"
    # What was said until then was paid for, whoever still wanted it.
    [used] = await data(session, UsageRecorded)
    assert used.usage.total_tokens > 0
    assert stuck.cut


async def test_a_direct_call_may_ask_a_model_too(bench: Bench) -> None:
    aside = ScriptedModel([say("fine") + end(usage=Usage(60, 40))], "small:one")
    session = await with_aside(bench, aside, asking(model="small:one"), budget={"tokens": 150})
    assert (await session.tool("sum_up")).output == "fine"
    assert (await session.spent()).tokens == 100
    assert (await session.tool("sum_up")).ok
    assert (await session.spent()).tokens == 200
    refused = await session.tool("sum_up")
    assert refused.status == "error"
    assert "Budget exhausted" in refused.output


# --- sessions that work for another -----------------------------------------------------------------------------------


async def family(bench: Bench, script: Any, *, parent: Any = None, child: Any = None) -> tuple[Session, Session]:
    runtime = await bench.runtime(script)
    above = await runtime.start_session(godwit.Agent("parent", model=MODEL, tools=[look], **(parent or {})))
    below = await runtime.start_session(godwit.Agent("child", model=MODEL, tools=[look], **(child or {})), parent=above.id)
    return above, below


async def test_a_child_spends_of_its_parents_tree(bench: Bench) -> None:
    above, below = await family(bench, turns(2), parent={"budget": {"turns": 4, "scope": "tree"}})
    assert (await below.state()).parent == (await below.state()).root == above.id
    assert (await below.send("go")).outcome == "done"
    assert await above.spent() == Spent()
    assert (await above.spent(tree=True)).turns == 3
    result = await above.send("go")
    assert (result.outcome, result.turns) == ("limited", 1)
    assert result.error is not None
    assert result.error.details["scope"] == "tree"
    refused = await below.send("go")
    assert refused.outcome == "limited"
    assert refused.error is not None
    assert refused.error.details["scope"] == f"tree of {above.id}"
    await above.set_budget(Budget(turns=100, scope="tree"))
    bench.model._turns = ["x"] * 9  # type: ignore[union-attr]
    assert (await below.send("go")).outcome == "done"


async def test_a_grandchild_is_governed_by_every_one_above(bench: Bench) -> None:
    above, below = await family(bench, ["x"] * 9, parent={"budget": {"turns": 2, "scope": "tree"}})
    runtime = bench.runtimes[0]
    last = await runtime.start_session(godwit.Agent("grandchild", model=MODEL), parent=below.id)
    assert ((await last.state()).parent, (await last.state()).root) == (below.id, above.id)
    for _ in range(2):
        assert (await last.send("go")).outcome == "done"
    assert (await last.send("go")).outcome == "limited"
    # What worked for the parent counts also when it was deleted.
    await runtime.delete_session(last.id)
    assert (await above.spent(tree=True)).turns == 2
    assert (await below.send("go")).outcome == "limited"


async def test_a_child_asks_for_more_of_its_parents_budget(bench: Bench) -> None:
    budget = {"turns": 1, "scope": "tree", "on_limit": "ask"}
    above, below = await family(bench, turns(2), parent={"budget": budget})
    run = await below.prompt("go")
    asked = await parked(below)
    assert asked.arguments["scope"] == f"tree of {above.id}"
    seq = (await below.state()).seq
    await below.approve(asked.action)
    asked = await parked(below, seq)
    assert asked.arguments["turns"] == 1
    await below.approve(asked.action, arguments={"turns": 5})
    assert (await within(below.wait(run))).outcome == "done"
    assert await above.budget("tree") == Budget(turns=7, scope="tree", on_limit="ask")
    assert [c.raised_by is not None for c in await data(above, SessionConfigured)] == [True, True]
    assert await data(below, SessionConfigured) == []


async def test_a_guard_of_the_parent_guards_its_children(bench: Bench) -> None:
    guard, own = Guard(DENY), Guard()
    above, below = await family(bench, ["x"] * 9, child={"budget_guard": own})
    assert (await below.send("go")).outcome == "done"
    above.set_budget_guard(guard)
    assert (await below.send("go")).outcome == "limited"
    assert (len(guard.checks), len(guard.records)) == (1, 0)
    assert guard.checks[0].session == below.id
    assert len(own.checks) == 2
    above.set_budget_guard(None)
    assert (await below.send("go")).outcome == "done"


SPENDER = """
import asyncio, sys
import godwit
from godwit.models.script import ScriptedModel

async def main(path, parent, name):
    model = ScriptedModel(["x"] * 99, "scripted:test")
    async with await godwit.Runtime.open(path, models={"scripted:test": model}) as runtime:
        session = await runtime.start_session(godwit.Agent(name, model="scripted:test"), parent=parent)
        print("ready", flush=True)
        sys.stdin.readline()
        answers = 0
        while (await session.send("go")).outcome == "done":
            answers += 1
        print(answers, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_two_processes_spend_of_one_tree_at_once(bench: Bench) -> None:
    runtime = await bench.runtime(["x"])
    agent = godwit.Agent("parent", model=MODEL, budget={"turns": 9, "scope": "tree"})
    above = await runtime.start_session(agent)

    async def start(name: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        words = ("-c", SPENDER, str(bench.path), above.id, name)
        process = await asyncio.create_subprocess_exec(sys.executable, *words, stdin=pipe, stdout=pipe)
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 60) == b"ready\n"
        return process

    spenders = [await start("one"), await start("two")]
    said = await asyncio.wait_for(asyncio.gather(*(s.communicate(b"go\n") for s in spenders)), 60)
    answers = [int(out) for out, _ in said]
    # Each sees what the other has committed, so together they are over by less than one step each.
    assert 9 <= sum(answers) <= 10
    assert (await above.spent(tree=True)).turns == sum(answers)
    for row in await runtime.sessions():
        assert row.parent == (None if row.id == above.id else above.id)


async def test_a_parent_that_does_not_exist(bench: Bench) -> None:
    runtime = await bench.runtime(["x"])
    with pytest.raises(godwit.errors.SessionNotFound):
        await runtime.start_session(godwit.Agent("a", model=MODEL), parent="ses_nobody")
    assert await runtime.sessions() == []
