"""Models and tools that misbehave: none of them may hang a session, end it wrongly or make it unusable."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

import godwit
from godwit.contracts import ModelAnswer, ModelRequest, TextDelta, ToolContext, ToolOutput, ToolTraits
from godwit.core.agent import ToolDefinition
from godwit.core.errors import RunFailed, SessionBusy
from godwit.core.events import AgentMessage, ModelStarted, RunClaimed, RunFinished, ToolFinished, UserInterrupt
from godwit.core.ids import CallId
from godwit.core.messages import Text, ToolCall, ToolResult, Usage, text_of
from godwit.core.transcript import problems
from godwit.engine.model_step import CLOSING_S
from godwit.engine.session import Session
from godwit.models.script import call, say
from tests.patience import PATIENCE_S

from .conftest import MODEL, Bench, data, until, until_type, within
from .test_control import Gate, note


class Stubborn:
    """A model made of one function of the request that yields chunks."""

    wire = "stubborn"
    name = MODEL

    def __init__(self, *plays: Any) -> None:
        self.plays = list(plays)
        self.asked = 0

    def stream(self, request: ModelRequest) -> AsyncIterator[Any]:
        play = self.plays[min(self.asked, len(self.plays) - 1)]
        self.asked += 1
        return play(request)  # type: ignore[no-any-return]


def answer(text: str) -> ModelAnswer:
    return ModelAnswer((Text(text),), "end_turn", Usage(1, 1, requests=1), MODEL)


async def plain(_: ModelRequest) -> AsyncIterator[Any]:
    yield TextDelta(0, "fine")
    yield answer("fine")


async def start(bench: Bench, model: Any, *tools: Any, **agent: Any) -> Session:
    runtime = await bench.runtime(models={MODEL: model}, grace_s=0.1)
    return await bench.start([], *tools, runtime=runtime, **agent)


async def usable(session: Session) -> None:
    """A further prompt works, and what is stored is valid."""
    assert not list(problems(await session.history()))
    assert (await asyncio.wait_for(session.send("Still there?"), PATIENCE_S)).outcome == "done"


# --- models ----------------------------------------------------------------------------------------------------------


class Odd(BaseException):
    """What no library should raise."""


@pytest.mark.parametrize("early", [True, False])
async def test_a_model_that_is_cancelled_by_itself_fails_the_run(bench: Bench, early: bool) -> None:
    async def play(_: ModelRequest) -> AsyncIterator[Any]:
        if not early:
            yield TextDelta(0, "half")
        raise asyncio.CancelledError

    model = Stubborn(play)
    session = await start(bench, model, limits=godwit.Limits(max_model_retries=0))
    run = await session.prompt("Go.")
    try:
        with pytest.raises(RunFailed):
            await asyncio.wait_for(session.wait(run), PATIENCE_S)
    finally:
        model.plays = [plain]
    assert model.asked == 1
    await usable(session)


@pytest.mark.parametrize(
    "error", [Odd("odd"), GeneratorExit(), StopAsyncIteration(), ExceptionGroup("two", [ValueError("x")])]
)
async def test_a_model_that_raises_oddly_fails_the_run(bench: Bench, error: BaseException) -> None:
    class Raising:
        def __aiter__(self) -> Any:
            return self

        async def __anext__(self) -> Any:
            raise error

    model = Stubborn(lambda _: Raising())
    session = await start(bench, model, limits=godwit.Limits(max_model_retries=0))
    with pytest.raises(RunFailed):
        await asyncio.wait_for(session.send("Go."), PATIENCE_S)
    assert model.asked == 1
    model.plays = [plain]
    await usable(session)


async def test_a_model_that_ignores_its_cancellation_does_not_hold_the_interrupt(bench: Bench) -> None:
    end, reached = asyncio.Event(), asyncio.Event()

    async def play(_: ModelRequest) -> AsyncIterator[Any]:
        yield TextDelta(0, "half")
        reached.set()
        while not end.is_set():
            try:
                await end.wait()
            except asyncio.CancelledError:
                continue

    model = Stubborn(play, plain)
    session = await start(bench, model)
    run = await session.prompt("Go.")
    await within(reached.wait())
    try:
        assert await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(session.interrupt(force=True))), PATIENCE_S)
        assert (await within(session.wait(run))).outcome == "interrupted"
        await usable(session)
    finally:
        end.set()


async def test_a_model_that_goes_on_after_its_answer_is_closed(bench: Bench) -> None:
    closed = asyncio.Event()

    async def play(_: ModelRequest) -> AsyncIterator[Any]:
        try:
            yield answer("fine")
            yield TextDelta(0, "more")
            yield answer("another")
        finally:
            closed.set()

    session = await start(bench, Stubborn(play))
    assert (await within(session.send("Go."))).text == "fine"
    assert closed.is_set()
    assert len(await data(session, AgentMessage)) == 1


@pytest.mark.slow
async def test_a_model_whose_closing_hangs_does_not_hold_the_answer(bench: Bench) -> None:
    end, closing = asyncio.Event(), asyncio.Event()

    async def play(_: ModelRequest) -> AsyncIterator[Any]:
        try:
            yield answer("fine")
        finally:
            closing.set()
            await end.wait()

    session = await start(bench, Stubborn(play, plain))
    run = await session.prompt("Go.")
    try:
        await within(closing.wait())
        await asyncio.wait_for(session.interrupt(), CLOSING_S + 5)
        assert (await within(session.wait(run))).outcome in ("done", "interrupted")
        await usable(session)
    finally:
        end.set()


@pytest.mark.parametrize(
    "content",
    [
        None,
        (Text("lone \ud800 surrogate"),),
        (ToolCall(CallId("c"), "note", {"text": object()}),),
        (ToolCall(CallId("c"), "note", {"text": "lone \ud800 surrogate"}),),
    ],
)
async def test_an_answer_that_cannot_be_stored_fails_the_run(bench: Bench, content: Any) -> None:
    async def play(_: ModelRequest) -> AsyncIterator[Any]:
        yield ModelAnswer(content, "end_turn", Usage(1, 1, requests=1), MODEL)

    session = await start(bench, model := Stubborn(play), note, limits=godwit.Limits(max_model_retries=0))
    with pytest.raises(RunFailed):
        await asyncio.wait_for(session.send("Go."), PATIENCE_S)
    model.plays = [plain]
    await usable(session)


async def test_a_prompt_sent_while_hooks_see_a_broken_run_off_is_not_hurt_by_it(bench: Bench) -> None:
    entered, go = asyncio.Event(), asyncio.Event()

    async def play(_: ModelRequest) -> AsyncIterator[Any]:
        yield ModelAnswer((Text("lone \ud800 surrogate"),), "end_turn", Usage(1, 1, requests=1), MODEL)

    @godwit.hook("after_run")
    async def hold(_: godwit.HookCall) -> None:
        entered.set()
        await go.wait()

    session = await start(bench, model := Stubborn(play), hooks=[hold], limits=godwit.Limits(max_model_retries=0))
    with pytest.raises(RunFailed):
        await within(session.send("Go."))
    await within(entered.wait())
    model.plays, before = [plain], (await session.state()).seq
    waiting = asyncio.ensure_future(session.send("Still there?"))
    await within(until(session, lambda e: e.type == "run.started", before))
    for _ in range(200):  # the longer it has waited by then, the more there is to be hurt
        await asyncio.sleep(0)
    go.set()
    assert (await within(waiting)).outcome == "done"


async def test_a_delta_that_cannot_be_shown_does_not_hang(bench: Bench) -> None:
    reached = asyncio.Event()

    async def play(_: ModelRequest) -> AsyncIterator[Any]:
        try:
            yield TextDelta(0, "lone \ud800 surrogate")
        finally:
            reached.set()  # it was taken, whatever came of it
        await asyncio.Event().wait()

    session = await start(bench, model := Stubborn(play, plain))
    run = await session.prompt("Go.")
    await within(reached.wait())
    await asyncio.wait_for(session.interrupt(), PATIENCE_S)
    with pytest.raises(RunFailed) if (await session.state()).last_outcome == "failed" else _nothing():
        await within(session.wait(run))
    await usable(session)
    assert model.asked == 2


class _nothing:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


# --- tools -----------------------------------------------------------------------------------------------------------


class Bare:
    """A tool as a stranger may write it, without the care of `godwit.tool`."""

    def __init__(self, body: Any, *, name: str = "bare", validate: Any = None, **traits: Any) -> None:
        self.definition = ToolDefinition(name, "Bare.", {"type": "object", "properties": {}})
        self.traits = ToolTraits(**traits)
        self._body = body
        self._validate = validate

    def validate(self, arguments: dict[str, Any]) -> None:
        if self._validate is not None:
            self._validate(arguments)

    def locks(self, arguments: dict[str, Any], workspace: Any) -> frozenset[str]:
        return frozenset()

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        return await self._body(context)  # type: ignore[no-any-return]


async def bare(bench: Bench, script: Any, *tools: Any, **agent: Any) -> Session:
    """A session whose tools are registered with the runtime, as `Runtime.open(tools=...)` takes them."""
    runtime = await bench.runtime(script, tools=tools, grace_s=0.1)
    made = godwit.Agent("tester", model=MODEL, tools=[t.definition.name for t in tools], **agent)
    return await runtime.start_session(made, workspace=bench.workspace)


@pytest.mark.parametrize("repeatable", [False, True])
async def test_a_tool_that_raises_a_base_exception_is_an_error(bench: Bench, repeatable: bool) -> None:
    ran = []

    async def body(_: ToolContext) -> ToolOutput:
        ran.append(1)
        raise Odd("odd")

    session = await bare(bench, [call("bare"), "done", "done"], Bare(body, repeatable=repeatable))
    assert (await within(session.send("Go."))).outcome == "done"
    assert len(ran) == 1
    assert [d.status for d in await data(session, ToolFinished)] == ["error"]
    assert [d.attempt for d in await data(session, RunClaimed)] == [1], "nobody died"
    await usable(session)


async def test_a_tool_that_cancels_itself_is_an_error(bench: Bench) -> None:
    async def body(_: ToolContext) -> ToolOutput:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)
        return ToolOutput(())

    session = await bare(bench, [call("bare"), "done", "done"], Bare(body))
    assert (await within(session.send("Go."))).outcome == "done"
    assert [d.status for d in await data(session, ToolFinished)] == ["error"]
    await usable(session)


@pytest.mark.parametrize(
    "result",
    [
        None,
        "text",
        ToolOutput((Text("lone \ud800 surrogate"),)),
        ToolOutput((), metadata={"a": {"b": object()}}),
        ToolOutput((), metadata={("a", 1): object()}),  # type: ignore[dict-item]
        ToolOutput(None),  # type: ignore[arg-type]
    ],
)
async def test_a_tool_that_returns_what_cannot_be_stored_is_an_error_and_no_more(bench: Bench, result: Any) -> None:
    async def body(_: ToolContext) -> Any:
        return result

    session = await bare(bench, [call("bare"), "done", "done"], Bare(body))
    assert (await within(session.send("Go."))).outcome == "done"
    assert next(d.status for d in await data(session, ToolFinished)) in ("error", "ok")
    await usable(session)


async def test_a_function_tool_may_return_any_text(bench: Bench) -> None:
    @godwit.tool
    async def listing() -> str:
        """Names as the file system gives them."""
        return "odd name: \udcff"

    session = await bench.start([call("listing"), "done", "done"], listing)
    assert (await within(session.send("Go."))).outcome == "done"


async def test_a_tool_that_shows_any_text_is_no_failure(bench: Bench) -> None:
    async def body(context: ToolContext) -> ToolOutput:
        context.output("odd \udcff")
        context.progress("odd \udcff")
        return ToolOutput((Text("ok"),))

    session = await bare(bench, [call("bare"), "done", "done"], Bare(body))
    async with asyncio.timeout(PATIENCE_S):
        async for _ in session.stream("Go."):
            pass
    assert [d.status for d in await data(session, ToolFinished)] == ["ok"]


async def test_a_tool_whose_validation_breaks_is_an_error(bench: Bench) -> None:
    def validate(_: dict[str, Any]) -> None:
        raise KeyError("oops")

    async def body(_: ToolContext) -> ToolOutput:
        return ToolOutput((Text("ok"),))

    session = await bare(bench, [call("bare"), "done", "done"], Bare(body, validate=validate))
    assert (await within(session.send("Go."))).outcome == "done"
    await usable(session)


@pytest.mark.parametrize("force", [False, True])
async def test_a_tool_that_ignores_its_cancellation_does_not_hold_the_interrupt(bench: Bench, force: bool) -> None:
    end, entered = asyncio.Event(), asyncio.Event()

    async def body(_: ToolContext) -> ToolOutput:
        entered.set()
        while not end.is_set():
            try:
                await end.wait()
            except asyncio.CancelledError:
                continue
        return ToolOutput((Text("late"),))

    session = await bare(bench, [call("bare"), "fine", "fine"], Bare(body))
    run = await session.prompt("Go.")
    await within(entered.wait())
    try:
        assert await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(session.interrupt(force=force))), PATIENCE_S)
        assert (await within(session.wait(run))).outcome == "interrupted"
        await usable(session)
    finally:
        end.set()


async def test_a_tool_that_ignores_its_timeout_does_not_hold_the_run(bench: Bench) -> None:
    end = asyncio.Event()

    async def body(_: ToolContext) -> ToolOutput:
        while not end.is_set():
            try:
                await end.wait()
            except asyncio.CancelledError:
                continue
        return ToolOutput((Text("late"),))

    session = await bare(bench, [call("bare"), "fine", "fine"], Bare(body, timeout_s=0.1))
    try:
        assert (
            await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(session.send("Go."))), PATIENCE_S)
        ).outcome == "done"
    finally:
        end.set()


async def test_a_host_closes_over_a_tool_and_a_model_that_ignore_it(bench: Bench) -> None:
    end, entered = asyncio.Event(), asyncio.Event()

    async def body(_: ToolContext) -> ToolOutput:
        entered.set()
        while not end.is_set():
            try:
                await end.wait()
            except asyncio.CancelledError:
                continue
        return ToolOutput((Text("late"),))

    session = await bare(bench, [call("bare"), "fine", "fine"], Bare(body))
    await session.prompt("Go.")
    await within(entered.wait())
    closing = asyncio.ensure_future(bench.runtimes[0].close())
    try:
        await asyncio.wait_for(asyncio.shield(closing), PATIENCE_S)
    finally:
        end.set()
        await closing


async def test_a_result_that_was_there_at_the_interrupt_stays_what_it_was(bench: Bench) -> None:
    held: list[Session] = []

    async def body(_: ToolContext) -> ToolOutput:
        held[0].session_cancel_token.cancel()
        return ToolOutput((Text("all done"),), metadata={"wrote": 3})

    session = await bare(bench, [call("bare"), "fine"], Bare(body))
    held.append(session)
    run = await session.prompt("Go.")
    assert (await within(session.wait(run))).outcome == "interrupted"
    finished = (await data(session, ToolFinished))[0]
    assert finished.status == "ok", finished
    assert (text_of(finished.content), finished.metadata) == ("all done", {"wrote": 3})


@pytest.mark.slow
async def test_a_tool_that_blocks_the_loop_beyond_the_lease_goes_on(bench: Bench) -> None:
    async def body(_: ToolContext) -> ToolOutput:
        time.sleep(1.0)  # noqa: ASYNC251 - it blocks on purpose
        return ToolOutput((Text("ok"),))

    runtime = await bench.runtime([call("bare"), call("bare"), "done"], tools=[Bare(body)], lease_ttl_s=0.4)
    session = await runtime.start_session(godwit.Agent("tester", model=MODEL, tools=["bare"]), workspace=bench.workspace)
    assert (await within(session.send("Go."))).outcome == "done"
    assert not await data(session, UserInterrupt)


async def test_a_tool_may_close_or_interrupt_its_own_session(bench: Bench) -> None:
    held: list[Session] = []

    @godwit.tool
    async def stop_it(how: str) -> str:
        """Stop."""
        if how == "close":
            await held[-1].close()
        else:
            await held[-1].interrupt()
        return "unreachable"

    for how in ("interrupt", "close"):
        runtime = await bench.runtime([call("stop_it", how=how), "done"], grace_s=0.1)
        session = await bench.start([call("stop_it", how=how), "done"], stop_it, runtime=runtime)
        held.append(session)
        run = await session.prompt("Go.")
        assert (await within(session.wait(run))).outcome == "interrupted"
        await within(session.close())
        again = await runtime.open_session(session.id)
        assert await again.status() == "idle"


async def test_a_tool_may_steer_and_queue_but_not_prompt_its_own_session(bench: Bench) -> None:
    held: list[Session] = []

    @godwit.tool
    async def talk() -> str:
        """Talk to the session."""
        await held[0].steer("steered", mode="batch")
        await held[0].follow_up("followed")
        with pytest.raises(SessionBusy):
            await held[0].prompt("refused")
        return "talked"

    session = await bench.start([call("talk"), "one", "two"], talk)
    held.append(session)
    result = await within(session.send("Go."))
    assert result.text == "two"
    assert [d.status for d in await data(session, ToolFinished)] == ["ok"]


async def test_the_wall_time_ends_a_run_wherever_it_is(bench: Bench) -> None:
    async def hang(_: ModelRequest) -> AsyncIterator[Any]:
        yield TextDelta(0, "half")
        await asyncio.Event().wait()

    session = await start(bench, Stubborn(hang), limits=godwit.Limits(max_duration_s=0.3))
    result = await within(session.send("Go."))
    assert result.outcome == "limited"
    assert result.error is not None
    assert result.error.code == "max_duration"
    assert not await data(session, UserInterrupt)


async def test_the_wall_time_ends_a_run_that_waits_for_its_next_try(bench: Bench) -> None:
    from godwit.core.errors import RateLimited

    async def busy(_: ModelRequest) -> AsyncIterator[Any]:
        raise RateLimited("later", retry_after_s=20)
        yield

    session = await start(bench, Stubborn(busy), limits=godwit.Limits(max_duration_s=0.3))
    assert (await within(session.send("Go."))).outcome == "limited"


async def test_the_wall_time_ends_a_run_within_a_tool(bench: Bench) -> None:
    gate = Gate()
    session = await bench.start(
        [call("gate"), "fine"], gate.tool, limits=godwit.Limits(max_duration_s=0.3), runtime=await bench.runtime(grace_s=0.1)
    )
    assert (await within(session.send("Go."))).outcome == "limited"
    assert [d.outcome for d in await data(session, RunFinished)] == ["limited"]


async def test_the_wall_time_ends_a_parked_run(bench: Bench) -> None:
    session = await bench.start(
        [call("note", text="a"), "fine"],
        note,
        permissions=godwit.Permissions(ask=("note",)),
        limits=godwit.Limits(max_duration_s=0.3),
    )
    run = await session.prompt("Go.")
    await until_type(session, "run.parked")
    assert (await asyncio.wait_for(session.wait(run), PATIENCE_S)).outcome == "limited"


__all__ = ["ModelStarted", "ToolResult", "say"]
