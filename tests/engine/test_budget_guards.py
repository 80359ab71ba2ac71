"""Guards: code of the user's that is asked before each step, and what becomes of one that fails."""

from __future__ import annotations

import asyncio
import math
import threading
from typing import Any

import pytest

import godwit
from godwit.contracts import BudgetCheck
from godwit.core.budget import BudgetDecision
from godwit.core.errors import ConfigurationError, InvalidArgument, RateLimited
from godwit.core.events import BudgetExceeded, BudgetWarned, ToolFinished
from godwit.core.messages import Text, Usage
from godwit.engine import guard as engine_guard
from godwit.engine.session import Session
from godwit.models.script import Script, call, end, hold, say, tries
from tests.engine.budget_words import ALLOW, DENY, Guard, look, parked
from tests.engine.conftest import MODEL, Bench, data, types, until, within
from tests.patience import PATIENCE_S


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
    monkeypatch.setattr(engine_guard, "GUARD_S", 0.05)
    for guard in (Guard(model=answer), Guard(tool=answer)):
        session = await bench.start([call("look"), "done"], look, budget_guard=guard)
        result = await within(session.send("go"))
        assert result.outcome == "limited"
        assert result.error is not None
        assert result.error.message.startswith(f"Budget exhausted on 'guard': {said}")
        assert [e.resource for e in await data(session, BudgetExceeded)] == ["guard"]
        assert await types(session)  # what was stored can be read


async def test_a_guard_that_cannot_count_denies_what_follows(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_guard, "GUARD_S", 0.05)
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
async def test_a_guard_that_hangs_holds_up_no_interrupt(
    bench: Bench, blocking: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_guard, "GUARD_S", 10 * PATIENCE_S)
    asked, release = threading.Event(), threading.Event()

    class Hanging:
        def before_model(self, check: BudgetCheck) -> Any:
            asked.set()
            if blocking:
                release.wait()
                return ALLOW
            return hang()

    session = await bench.start(["x"], budget_guard=Hanging())
    try:
        run = await session.prompt("go")
        assert await asyncio.to_thread(asked.wait, PATIENCE_S)
        assert await within(session.interrupt())
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
