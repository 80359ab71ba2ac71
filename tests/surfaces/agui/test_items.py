"""Messages, tool calls, thoughts, steps, subagents, activities: over a session and over a bare producer."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from godwit.core.errors import Conflict, IllegalStream
from godwit.surfaces.agui import (
    Activity,
    AgentSession,
    MessageStream,
    Step,
    Subagent,
    ThinkingMessageStream,
    ThinkingStep,
    ToolCallStream,
    events as e,
    verify,
)

from .recorded import Gone, Recorded


async def running() -> tuple[Recorded, AgentSession[Recorded, Any]]:
    producer = Recorded()
    session = AgentSession(producer)
    await session.start_run()
    producer.events.clear()
    return producer, session


# --- over a bare producer --------------------------------------------------------------------------------------------


async def test_a_message() -> None:
    producer = Recorded()
    message = await MessageStream(producer).start()
    await message.content("Hello, ")
    await message.content("")  # is left out
    await message.content("world!")
    name = await message.end()
    assert producer.events == [
        e.TextMessageStart(message_id=name, role="assistant"),
        e.TextMessageContent(message_id=name, delta="Hello, "),
        e.TextMessageContent(message_id=name, delta="world!"),
        e.TextMessageEnd(message_id=name),
    ]


async def test_a_message_of_nothing_but_empty_pieces_has_none() -> None:
    producer = Recorded()
    async with MessageStream(producer, "m", role="user", name="Ann") as message:
        await message.content("")
    assert producer.events == [e.TextMessageStart(message_id="m", role="user", name="Ann"), e.TextMessageEnd(message_id="m")]


async def test_a_tool_call() -> None:
    producer = Recorded()
    call = await ToolCallStream(producer, "get_weather").start()
    await call.args('{"city":')
    await call.args('"Oslo"}')
    name = await call.end()
    assert name.startswith("call_")
    assert len(name) == len("call_") + 8
    assert producer.types == ["TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_ARGS", "TOOL_CALL_END"]
    assert producer.events[0] == e.ToolCallStart(tool_call_id=name, tool_call_name="get_weather")


async def test_a_result_ends_its_call_first() -> None:
    producer = Recorded()
    async with ToolCallStream(producer, "f", "c", parent_message_id="m") as call:
        await call.args("{}")
        assert await call.result("done", "r") == "r"
    assert producer.types == ["TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END", "TOOL_CALL_RESULT"]
    assert producer.events[-1] == e.ToolCallResult(message_id="r", tool_call_id="c", content="done")


async def test_a_message_of_thoughts_keeps_empty_pieces() -> None:
    producer = Recorded()
    async with ThinkingMessageStream(producer) as thoughts:
        await thoughts.content("Hm.")
        await thoughts.content("")
    start, first, second, end = producer.events
    assert isinstance(start, e.ReasoningMessageStart)
    assert [first, second] == [e.ReasoningMessageContent(message_id=start.message_id, delta=delta) for delta in ("Hm.", "")]
    assert end == e.ReasoningMessageEnd(message_id=start.message_id)


async def test_thinking_needs_no_run_on_a_bare_producer() -> None:
    producer = Recorded()
    step = await ThinkingStep(producer, "Planning").start()
    thoughts = await step.message().start()
    await thoughts.content("First this.")
    await thoughts.end()
    await step.end()
    assert producer.types == [
        "REASONING_START",
        "REASONING_MESSAGE_START",
        "REASONING_MESSAGE_CONTENT",
        "REASONING_MESSAGE_END",
        "REASONING_END",
    ]
    assert producer.events[0].metadata == {"title": "Planning"}


async def test_thinking_needs_a_run_in_a_session() -> None:
    """A front end of today fails on anything before RUN_STARTED; the seed sent it."""
    session = AgentSession(Recorded())
    with pytest.raises(IllegalStream) as refused:
        await session.start_thinking("Planning")
    assert refused.value.details["rule"] == "first"


@pytest.mark.parametrize(("title", "metadata"), [("Planning", {"title": "Planning"}), (None, None)])
async def test_a_session_thinks_with_a_title_or_without(title: str | None, metadata: object) -> None:
    producer, session = await running()
    step = await session.start_thinking(title)
    await step.end()
    assert producer.types == ["REASONING_START", "REASONING_END"]
    assert producer.events[0].metadata == metadata


async def test_a_step() -> None:
    producer = Recorded()
    async with Step(producer, "plan"):
        pass
    assert producer.events == [e.StepStarted(step_name="plan"), e.StepFinished(step_name="plan")]


# --- beginning and ending --------------------------------------------------------------------------------------------


async def test_what_ended_ends_once_and_does_not_begin_again() -> None:
    producer, session = await running()
    message = session.message("m")
    with pytest.raises(Conflict, match="not started"):
        await message.end()
    await message.start()
    await message.end()
    await message.end()
    with pytest.raises(Conflict, match="started already"):
        await message.start()
    assert producer.types == ["TEXT_MESSAGE_START", "TEXT_MESSAGE_END"]


class Broken(Exception):
    pass


async def test_a_body_that_raises_ends_what_it_began() -> None:
    producer, session = await running()

    async def break_off() -> None:
        async with session.step("s"), await session.start_thinking() as step, step.message():
            async with session.message("m"), session.tool_call("f"):
                raise Broken

    with pytest.raises(Broken):
        await break_off()
    assert session.open == ()
    await session.run_error("broken")
    verify([e.RunStarted(thread_id=session.thread_id, run_id="r"), *producer.events])


async def test_the_bodys_own_error_is_told_where_the_end_cannot_be_sent() -> None:
    producer, session = await running()

    async def end_unheard(error: Exception | None) -> None:
        async with session.message():
            producer.fails = 1
            if error is not None:
                raise error

    with pytest.raises(Broken):
        await end_unheard(Broken())
    with pytest.raises(Gone):
        await end_unheard(None)


@pytest.mark.parametrize("ending", ["finish", "fail", "cancel"])
async def test_what_ended_with_its_run_is_let_be(ending: str) -> None:
    producer, session = await running()
    async with session.message("m") as message:
        match ending:
            case "finish":
                await session.finish_run(close=True)
            case "cancel":
                await session.cancel_run()
            case _:
                await session.run_error("x")
        with pytest.raises(IllegalStream):
            await message.content("too late")
    assert not message.is_open
    ended = ["RUN_ERROR"] if ending == "fail" else ["TEXT_MESSAGE_END", "RUN_FINISHED"]
    assert producer.types == ["TEXT_MESSAGE_START", *ended]


# --- subagents -------------------------------------------------------------------------------------------------------


async def test_what_a_subagent_says_bears_its_id() -> None:
    producer, session = await running()
    async with session.subagent("researcher", "s1", description="Looks things up", parent_tool_call_id="c") as one:
        await one.say("Found it.", "m")
        async with one.step("read"), one.tool_call("f", "c1") as call, await one.start_thinking():
            await call.result("text", "r")
        await one.custom("mine", 1)
        await one.raw({"native": True}, "x")
        async with one.subagent("reader", "s2") as two:
            await two.say("Read.", "n")
    await session.finish_run()
    owners = {event.subagent_run_id for event in producer.events if isinstance(event, e.Attributable)}
    assert owners == {"s1", "s2"}
    assert producer.events[0] == e.SubagentStarted(
        subagent_run_id="s1", name="researcher", description="Looks things up", parent_tool_call_id="c"
    )
    assert e.TextMessageContent(message_id="m", delta="Found it.", subagent_run_id="s1") in producer.events
    started = [event for event in producer.events if isinstance(event, e.SubagentStarted)]
    assert started[1].parent_subagent_run_id == "s1"
    verify([e.RunStarted(thread_id=session.thread_id, run_id=_run_of(producer)), *producer.events])


def _run_of(producer: Recorded) -> str:
    finished = producer.events[-1]
    assert isinstance(finished, e.RunFinished)
    return finished.run_id


async def test_a_subagent_whose_body_raises_has_failed() -> None:
    producer, session = await running()

    async def work() -> None:
        async with session.subagent("worker", "s1"):
            raise Broken("out of paper")

    with pytest.raises(Broken):
        await work()
    assert producer.events[-1] == e.SubagentError(subagent_run_id="s1", message="out of paper")
    async with session.subagent("worker", "s2") as worker:
        await worker.fail("no luck", "e1")
    assert producer.events[-1] == e.SubagentError(subagent_run_id="s2", message="no luck", code="e1")
    await session.finish_run()  # the run went on


async def test_a_subagent_ends_with_a_result_or_is_suspended() -> None:
    producer = Recorded()
    worker = await Subagent(producer, "worker", "s1").start()
    await worker.end({"found": 3})
    other = await Subagent(producer, "worker").start()
    await other.suspend(["i"])
    assert producer.events[1] == e.SubagentFinished(subagent_run_id="s1", result={"found": 3})
    assert other.id != "s1"
    assert producer.events[3] == e.SubagentFinished(
        subagent_run_id=other.id, outcome=e.SubagentSuspended(interrupt_ids=["i"])
    )


# --- activities and events of one's own ------------------------------------------------------------------------------


async def test_an_activity_is_shown_whole_and_changed_by_patches() -> None:
    producer = Recorded()
    activity = Activity(producer, "plan", "a")
    content: dict[str, Any] = {"steps": [{"name": "read", "done": False}]}
    await activity.show(content)
    await activity.show(content)  # nothing has changed
    content["steps"][0]["done"] = True
    producer.fails = 1
    with pytest.raises(Gone):
        await activity.show(content)
    await activity.show(content)
    assert [msgspec.to_builtins(event) for event in producer.events] == [
        {
            "type": "ACTIVITY_SNAPSHOT",
            "messageId": "a",
            "activityType": "plan",
            "content": {"steps": [{"name": "read", "done": False}]},
        },
        {
            "type": "ACTIVITY_DELTA",
            "messageId": "a",
            "activityType": "plan",
            "patch": [{"op": "replace", "path": "/steps/0/done", "value": True}],
        },
    ]


async def test_messages_and_events_of_ones_own() -> None:
    producer, session = await running()
    await session.messages([{"id": "m", "role": "user", "content": "Hi"}])
    await session.custom("mine", None)
    await session.raw([1])
    assert [msgspec.json.decode(e.encode(event)) for event in producer.events] == [
        {"type": "MESSAGES_SNAPSHOT", "messages": [{"id": "m", "role": "user", "content": "Hi"}]},
        {"type": "CUSTOM", "name": "mine", "value": None},
        {"type": "RAW", "event": [1]},
    ]
    with pytest.raises(IllegalStream):
        await session.messages([{"id": "m", "role": "nobody"}])
