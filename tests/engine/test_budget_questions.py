"""Budgets that ask: a run that has met a limit waits for a person to allow more."""

from __future__ import annotations

from typing import Any

import pytest

import godwit
from godwit.core.budget import Budget
from godwit.core.errors import InvalidArgument
from godwit.core.events import ActionClosed, BudgetExceeded, SessionConfigured, ToolFinished, UserAnswer
from godwit.core.ids import SessionId
from godwit.models.script import Script, call
from godwit.testing import drafts
from tests.engine.budget_words import look, parked, turns
from tests.engine.conftest import Bench, data, until_type, within


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
