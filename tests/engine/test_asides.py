"""Asides: what a tool asks a model beside the conversation, and what it costs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

import godwit
from godwit.contracts import ModelChunk, ModelRequest
from godwit.core.budget import Price
from godwit.core.errors import InvalidArgument, RateLimited, ToolFailed
from godwit.core.events import BudgetExceeded, ToolFinished, UsageRecorded
from godwit.core.messages import Text, Usage
from godwit.engine.session import Session
from godwit.models.script import ScriptedModel, call, end, hold, say, tries
from tests.engine.budget_words import Guard, look
from tests.engine.conftest import MODEL, Bench, data, within


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
