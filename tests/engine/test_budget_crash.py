"""Budgets after a crash: what was met, asked, answered or raised is gone on with."""

from __future__ import annotations

from typing import Any

import godwit
from godwit.core.budget import Budget
from godwit.core.events import (
    ActionOpened,
    BudgetExceeded,
    InputDelivered,
    RunClaimed,
    SessionConfigured,
    TurnStarted,
    UserAnswer,
    UserMessage,
)
from godwit.core.ids import ActionId, SessionId
from godwit.engine.session import Session
from godwit.testing import drafts
from tests.engine.budget_words import look, parked, turns
from tests.engine.conftest import MODEL, Bench, data, within


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
