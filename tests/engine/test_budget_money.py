"""Budgets in money: what a model costs, and models whose price is not known."""

from __future__ import annotations

import pytest

import godwit
from godwit.core.budget import Price
from godwit.core.errors import InvalidArgument, RateLimited
from godwit.core.events import BudgetWarned
from godwit.core.messages import Usage
from godwit.host.runtime import Runtime
from godwit.models.registry import Registry
from godwit.models.script import Script, ScriptedModel, call, end, fail
from tests.engine.budget_words import look
from tests.engine.conftest import MODEL, Bench, data


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
