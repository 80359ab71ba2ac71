"""Budgets in a running session: where limits end a run, what counts, and when."""

from __future__ import annotations

import asyncio
import math

import pytest

import godwit
from godwit.core.budget import Budget, Spent
from godwit.core.errors import ConfigurationError, SessionClosed
from godwit.core.events import BudgetExceeded, BudgetWarned, ToolFinished
from godwit.core.ids import ManualClock
from godwit.core.messages import Text, Usage
from godwit.models.script import Script, call, end, hold, say
from tests.engine.budget_words import Guard, look, parked, turns
from tests.engine.conftest import MODEL, Bench, data, within


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
