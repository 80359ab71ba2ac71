"""A run from prompt to end: turns, tools, results, limits, and what the log says of it."""

from __future__ import annotations

import asyncio

import pytest

import godwit
from godwit.core.errors import (
    ModelUnavailable,
    RateLimited,
    RunFailed,
    SessionBusy,
    StreamBroken,
    ToolFailed,
)
from godwit.core.events import AgentMessage, RunFinished, RunRetrying, ToolFinished, ToolStarted
from godwit.core.messages import Assistant, Text, ToolResult, User
from godwit.core.transcript import problems
from godwit.models.script import call, fail, hold, malformed, say, tries

from .conftest import Bench, data, types, until_type, within


@godwit.tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def test_a_run_with_tools_ends_with_the_answer(bench: Bench) -> None:
    session = await bench.start([call("add", a=1, b=2) + call("add", a=3, b=4), "3 and 7."], add)
    assert await session.status() == "queued"
    result = await within(session.send("Add."))
    assert (result.outcome, result.text, result.turns, result.tool_calls) == ("done", "3 and 7.", 2, 2)
    assert await session.status() == "idle"
    history = await session.history()
    assert [type(m) for m in history] == [User, Assistant, ToolResult, ToolResult, Assistant]
    assert [m.text for m in history if isinstance(m, ToolResult)] == ["3", "7"]
    assert not list(problems(history))
    seqs = [e.seq for e in await session.events()]
    assert seqs == list(range(1, len(seqs) + 1))
    assert (await types(session))[:6] == [
        "session.created",
        "user.message",
        "run.started",
        "session.opened",
        "run.claimed",
        "input.delivered",
    ]
    # The second question holds everything said before it, and the model saw the tool's schema.
    assert bench.model is not None
    assert len(bench.model.requests[1].entries) == 4
    assert [t.name for t in bench.model.requests[0].tools] == ["add"]


async def test_conversation_goes_on_over_runs_and_restarts(bench: Bench) -> None:
    session = await bench.start(["one", "two", "three"])
    assert (await within(session.send("1"))).text == "one"
    assert (await within(session.send("2"))).text == "two"
    await bench.close()
    runtime = await bench.runtime(["one", "two", "three"])
    again = await runtime.open_session(session.id)
    assert (await within(again.send("3"))).text == "three"
    assert len(await again.history()) == 6


async def test_stream_gives_events_and_deltas_in_order(bench: Bench) -> None:
    session = await bench.start([call("add", a=1, b=1), "It is two."], add)
    shown: dict[str, str] = {}
    order: list[str] = []

    async def read() -> None:
        async for item in session.stream("Add."):
            if isinstance(item, godwit.Delta):
                if item.kind == "text":
                    assert item.offset == len(shown.get(item.id, ""))
                    shown[item.id] = shown.get(item.id, "") + item.text
                    order.append("delta")
            else:
                order.append(item.type)

    await within(read())
    final = [m for m in await data(session, AgentMessage)][-1].message
    assert shown[final.id] == "It is two."
    assert order[-1] == "run.finished"
    # Every delta of the answer stands between the question and the stored answer.
    last_question = len(order) - 1 - order[::-1].index("model.started")
    last_answer = len(order) - 1 - order[::-1].index("agent.message")
    assert all(
        last_question < place < last_answer for place, name in enumerate(order) if name == "delta" and place > last_question
    )


async def test_results_are_logged_when_ready_and_shown_in_call_order(bench: Bench) -> None:
    slow, fast_done = asyncio.Event(), asyncio.Event()

    @godwit.tool
    async def wait() -> str:
        await slow.wait()
        return "slow"

    @godwit.tool
    async def quick() -> str:
        fast_done.set()
        return "quick"

    session = await bench.start([call("wait") + call("quick"), "done"], wait, quick)
    await session.prompt("Go.")
    first = await until_type(session, "tool.finished")
    assert isinstance(first.data, ToolFinished)
    assert first.data.name == "quick"
    slow.set()
    await within(session.wait())
    results = [m for m in await session.history() if isinstance(m, ToolResult)]
    assert [r.text for r in results] == ["slow", "quick"]


async def test_calls_that_write_one_file_run_one_after_the_other(bench: Bench) -> None:
    running: list[str] = []
    most = 0

    def make(name: str) -> object:
        async def work(file: str) -> str:  # noqa: ARG001 - the lock is named by it
            nonlocal most
            running.append(name)
            most = max(most, len(running))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            running.remove(name)
            return name

        return godwit.tool(work, name=name, locks=lambda arguments: {arguments["file"]})

    one, two = make("one"), make("two")
    session = await bench.start([call("one", file="a") + call("two", file="a") + call("one", file="a"), "ok"], one, two)
    assert (await within(session.send("Go."))).outcome == "done"
    assert most == 1


async def test_no_more_than_the_limit_run_at_once(bench: Bench) -> None:
    running = most = 0

    @godwit.tool
    async def work(n: int) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(5):
            await asyncio.sleep(0)
        running -= 1
        return str(n)

    calls = call("work", n=0)
    for n in range(1, 20):
        calls = calls + call("work", n=n)
    session = await bench.start([calls, "ok"], work)
    await within(session.send("Go."))
    assert most == 8
    assert [m.text for m in await session.history() if isinstance(m, ToolResult)] == [str(n) for n in range(20)]


async def test_bad_arguments_go_back_to_the_model_twice(bench: Bench) -> None:
    session = await bench.start([malformed("add", "{a:"), call("add", a="x", b=1), call("add", a=1, b=1), "2"], add)
    assert (await within(session.send("Go."))).text == "2"
    assert [d.status for d in await data(session, ToolFinished)] == ["invalid", "invalid", "ok"]
    assert len(await data(session, ToolStarted)) == 1


async def test_bad_arguments_a_third_time_fail_the_run_and_leave_the_session_usable(bench: Bench) -> None:
    session = await bench.start([malformed("add", "{"), malformed("add", "["), malformed("add", "("), "fine again"], add)
    with pytest.raises(RunFailed) as failed:
        await within(session.send("Go."))
    assert failed.value.details["reason"] == "invalid_tool_arguments"
    assert (await within(session.send("Again."))).text == "fine again"


async def test_unknown_tool_and_failing_tool_are_error_results(bench: Bench) -> None:
    @godwit.tool
    def broken() -> str:
        raise ToolFailed("the disk is made of cheese")

    session = await bench.start([call("nothing") + call("broken"), "I see."], broken)
    await within(session.send("Go."))
    results = [m for m in await session.history() if isinstance(m, ToolResult)]
    assert [r.status for r in results] == ["error", "error"]
    assert "nothing" in results[0].text
    assert "broken" in results[0].text
    assert "cheese" in results[1].text


async def test_the_same_call_again_and_again_is_warned_then_blocked(bench: Bench) -> None:
    session = await bench.start([*[call("add", a=1, b=1) for _ in range(4)], "I stop."], add)
    await within(session.send("Go."))
    results = [m for m in await session.history() if isinstance(m, ToolResult)]
    assert [r.status for r in results] == ["ok", "ok", "ok", "denied"]
    assert "Warning" not in results[1].text
    assert "Warning" in results[2].text
    assert "Blocked" in results[3].text


async def test_turn_limit_ends_the_run_as_limited(bench: Bench) -> None:
    script = [call("add", a=n, b=n) for n in range(9)]
    session = await bench.start(script, add, limits=godwit.Limits(max_turns=3))
    result = await within(session.send("Go."))
    assert (result.outcome, result.turns) == ("limited", 3)
    assert result.error is not None
    assert result.error.code == "max_turns"
    assert not list(problems(await session.history()))


async def test_wall_time_ends_the_run_as_limited_in_mid_tool(bench: Bench) -> None:
    @godwit.tool
    async def forever() -> str:
        await asyncio.Event().wait()
        return "never"

    session = await bench.start([call("forever")], forever, limits=godwit.Limits(max_duration_s=0.2))
    result = await within(session.send("Go."))
    assert result.outcome == "limited"
    assert result.error is not None
    assert result.error.code == "max_duration"


async def test_a_tool_that_takes_too_long_is_cut_off(bench: Bench) -> None:
    @godwit.tool(timeout_s=0.1)
    async def forever() -> str:
        await asyncio.Event().wait()
        return "never"

    session = await bench.start([call("forever"), "moving on"], forever)
    assert (await within(session.send("Go."))).text == "moving on"
    result = next(m for m in await session.history() if isinstance(m, ToolResult))
    assert result.status == "error"
    assert "timed out after 0.1 s" in result.text


async def test_a_second_prompt_while_a_run_is_open_is_busy(bench: Bench) -> None:
    release = asyncio.Event()
    session = await bench.start([hold(release) + say("done")])
    await session.prompt("Go.")
    with pytest.raises(SessionBusy):
        await session.send("Me too.")
    release.set()
    assert (await within(session.wait())).text == "done"


async def test_retries_before_the_first_sign_of_an_answer(bench: Bench) -> None:
    session = await bench.start([tries(RateLimited(retry_after_s=0.0), ModelUnavailable(retry_after_s=0.0), "here")])
    assert (await within(session.send("Go."))).text == "here"
    assert [d.retry for d in await data(session, RunRetrying)] == [1, 2]


async def test_what_a_provider_asks_to_wait_is_honoured_up_to_a_limit(bench: Bench) -> None:
    session = await bench.start([tries(RateLimited(retry_after_s=90.0), "here")])
    await session.prompt("Go.")
    retrying = await until_type(session, "run.retrying")
    assert isinstance(retrying.data, RunRetrying)
    assert retrying.data.delay_ms == 90_000
    assert await session.status() == "retrying"
    await within(session.interrupt())
    assert bench.model is not None
    bench.model._turns = [RateLimited("come back tomorrow", retry_after_s=86_400.0)]
    with pytest.raises(RunFailed):
        await within(session.send("Again."))
    assert len(await data(session, RunRetrying)) == 1


async def test_retries_end_and_the_run_fails(bench: Bench) -> None:
    session = await bench.start([tries(*[RateLimited("slow down", retry_after_s=0.0)] * 4, "fine now")])
    with pytest.raises(RunFailed) as failed:
        await within(session.send("Go."))
    assert failed.value.details["reason"] == "rate_limited"
    assert len(await data(session, RunRetrying)) == 3
    assert (await session.history())[-1] == User((Text("Go."),))
    assert (await within(session.send("Again."))).text == "fine now"


async def test_no_retry_once_something_was_seen(bench: Bench) -> None:
    session = await bench.start([tries(say("Half an answ") + fail(StreamBroken(retry_after_s=0.0)), "never asked")])
    with pytest.raises(RunFailed):
        await within(session.send("Go."))
    assert not await data(session, RunRetrying)
    kept = (await data(session, AgentMessage))[0].message
    assert (kept.text, kept.complete, kept.stop) == ("Half an answ", False, "error")


async def test_the_next_model_takes_over(bench: Bench) -> None:
    from godwit.models.script import ScriptedModel

    first = ScriptedModel([ModelUnavailable("down", retryable=False)], "scripted:first")
    second = ScriptedModel(["from the second", "still the second"], "scripted:second")
    runtime = await bench.runtime(models={"scripted:first": first, "scripted:second": second})
    session = await bench.start([], runtime=runtime, model=["scripted:first", "scripted:second"])
    assert (await within(session.send("Go."))).text == "from the second"
    retrying = (await data(session, RunRetrying))[0]
    assert (retrying.model, retrying.delay_ms) == ("scripted:second", 0)


async def test_a_large_result_becomes_an_artifact(bench: Bench) -> None:
    whole = "".join(f"line {n}\n" for n in range(40_000))

    @godwit.tool
    def much() -> str:
        return whole

    session = await bench.start([call("much"), "a lot"], much)
    await within(session.send("Go."))
    result = next(m for m in await session.history() if isinstance(m, ToolResult))
    assert len(result.text) < 40 * 1024
    assert result.text.startswith("line 0\n")
    assert result.text.endswith("line 39999\n")
    stored = next(d for d in await data(session, ToolFinished))
    assert (await bench.runtimes[0].get_artifact(stored.metadata["artifact"])).decode() == whole


async def test_context_and_labels_reach_function_tools(bench: Bench) -> None:
    seen: list[object] = []

    @godwit.tool
    def look(ctx: godwit.ToolContext) -> str:
        seen.append((ctx.context, ctx.labels.tenant, ctx.key))
        return "ok"

    runtime = await bench.runtime([call("look"), "done"])
    agent = godwit.Agent("tester", model="scripted:test", tools=[look])
    session = await runtime.start_session(agent, labels=godwit.Labels(tenant="acme", correlation="t-1"))
    await within(session.send("Go.", context={"user": 7}))
    assert seen[0][:2] == ({"user": 7}, "acme")  # type: ignore[index]
    assert (session.tenant_id, session.correlation_id, session.principal) == ("acme", "t-1", None)


async def test_a_given_history_leaves_the_own_one_untouched(bench: Bench) -> None:
    session = await bench.start(["own", lambda request: f"{len(request.entries)} messages", "own again"])
    await within(session.send("First."))
    before = await session.history()
    given = (User((Text("a"),)), Assistant("m1", (Text("b"),)))  # type: ignore[arg-type]
    result = await within(session.send("Second.", history=given))
    assert result.text == "3 messages"
    assert await session.history() == before
    assert bench.model is not None
    bench.model._turns[1] = "own again"
    assert (await within(session.send("Third."))).text == "own again"
    assert len(await session.history()) == 4


async def test_the_same_key_joins_the_run_it_started(bench: Bench) -> None:
    session = await bench.start(["once", "twice"])
    first = await within(session.send("Go.", key="k1"))
    again = await within(session.send("Go.", key="k1"))
    assert again.run == first.run
    assert len(await data(session, RunFinished)) == 1


async def test_usage_adds_up(bench: Bench) -> None:
    from godwit.core.messages import Usage
    from godwit.models.script import end

    session = await bench.start(
        [
            call("add", a=1, b=1) + end(usage=Usage(100, 5, requests=1, cost_usd=0.5)),
            say("2") + end(usage=Usage(120, 7, requests=1)),
        ],
        add,
    )
    result = await within(session.send("Go."))
    assert (result.usage.input_tokens, result.usage.output_tokens, result.usage.requests) == (220, 12, 2)
    assert result.usage.cost_usd == 0.5
    assert (await session.state()).usage == result.usage
