"""Scripted models: which answer is served and what is streamed."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any, cast

import pytest
from tests.parts.model_requests import answer_of, ask, chunks_of, result, said, text_of, user

from godwit.contracts import ModelAnswer, ModelChunk, TextDelta, ThinkingDelta, ToolCallDelta
from godwit.core.errors import ModelRefused, RateLimited, StreamBroken
from godwit.core.ids import CallId, MessageId
from godwit.core.messages import Assistant, Message, Text, ToolCall, Usage
from godwit.core.transcript import Entry
from godwit.models.script import Reply, Script, ScriptedModel, call, end, fail, hold, malformed, say, think, tries


async def test_text_is_streamed_by_words_and_the_answer_comes_last() -> None:
    model = ScriptedModel(["one two  three"])
    chunks = await chunks_of(model, ask(user("go on")))
    assert chunks[:-1] == [TextDelta(0, "one "), TextDelta(0, "two  "), TextDelta(0, "three")]
    assert chunks[-1] == ModelAnswer((Text("one two  three"),), "end_turn", Usage(2, 3, requests=1), "scripted:test")


async def test_blocks_are_numbered_and_calls_get_the_same_ids_everywhere() -> None:
    script: Script = [think("hm", signature="sig") + say("Look.") + call("bash", command="ls") + call("bash", id="mine")]
    chunks = await chunks_of(ScriptedModel(script, chunk=9), ask(user("x")))
    assert chunks == await chunks_of(ScriptedModel(script, chunk=9), ask(user("x")))
    assert chunks[:-1] == [
        ThinkingDelta(0, "hm"),
        TextDelta(1, "Look."),
        ToolCallDelta(2, '{"command', "call_0_2", "bash"),
        ToolCallDelta(2, '":"ls"}'),
        ToolCallDelta(3, "{}", "mine", "bash"),
    ]
    answer = chunks[-1]
    assert isinstance(answer, ModelAnswer)
    assert answer.stop == "tool_use"
    assert answer.content[2] == ToolCall(CallId("call_0_2"), "bash", {"command": "ls"})


async def test_malformed_arguments_stop_reason_and_usage_are_as_scripted() -> None:
    model = ScriptedModel([malformed("bash", "{oops"), say("cut") + end("max_tokens", usage=Usage(7, 8))])
    chunks = await chunks_of(model, ask(user("x")))
    assert chunks[0] == ToolCallDelta(0, "{oops", "call_0_0", "bash")
    first = chunks[-1]
    assert isinstance(first, ModelAnswer)
    assert first.content == (ToolCall(CallId("call_0_0"), "bash", {}, malformed="{oops"),)
    second = await answer_of(model, ask(user("x"), said(first), result("no")))
    assert (second.stop, second.usage) == ("max_tokens", Usage(7, 8))


async def test_the_turn_follows_from_the_request_so_a_new_process_goes_on() -> None:
    script: Script = ["first", "second", lambda request: f"{len(request.entries)} messages"]
    history: list[Message] = [user("a"), Assistant(MessageId("m"), (Text("first"),)), user("b")]
    assert await text_of(ScriptedModel(script), ask(*history)) == "second"
    assert await text_of(ScriptedModel(script), ask(*history[:1])) == "first"
    longer = [*history, Assistant(MessageId("n"), (Text("second"),)), user("c")]
    assert await text_of(ScriptedModel(script), ask(*longer)) == "5 messages"
    assert await text_of(ScriptedModel(script, offset=1), ask(*history)) == "first"
    assert await text_of(ScriptedModel(script, select=lambda request: request.turn - 1), ask(user("a"), turn=2)) == "second"


async def test_a_script_at_its_end_refuses() -> None:
    model = ScriptedModel(["only"], "scripted:short")
    with pytest.raises(ModelRefused, match="'scripted:short' has 1 turns and was asked for number 1"):
        await answer_of(model, ask(user("a"), Assistant(MessageId("m"), (Text("only"),)), user("b")))
    with pytest.raises(ModelRefused, match="asked for number -1"):
        await answer_of(ScriptedModel(["only"], offset=1), ask(user("a")))


@pytest.mark.parametrize(
    ("reply", "seen"),
    [
        (fail(RateLimited()), 0),
        (fail(RateLimited(), after=0) + say("a b c"), 0),
        (say("a b c") + fail(RateLimited(), after=2), 2),
        (say("a b c") + fail(RateLimited()) + say("d"), 3),
        (say("a b c") + fail(RateLimited(), after=99), 3),
    ],
)
async def test_failing_before_amid_and_after(reply: Reply, seen: int) -> None:
    got: list[ModelChunk] = []

    async def read() -> None:
        async for chunk in ScriptedModel([reply]).stream(ask(user("x"))):
            got.append(chunk)

    with pytest.raises(RateLimited):
        await read()
    assert len(got) == seen


async def test_a_place_may_fail_some_times_before_it_answers() -> None:
    model = ScriptedModel([tries(RateLimited(), fail(StreamBroken()), "done")])
    for expected in (RateLimited, StreamBroken):
        with pytest.raises(expected):
            await answer_of(model, ask(user("x")))
    assert [await text_of(model, ask(user("x"))) for _ in range(2)] == ["done", "done"]
    with pytest.raises(RateLimited):
        await answer_of(model, ask(user("x"), session="another"))


async def test_a_held_stream_waits_until_the_test_lets_go() -> None:
    release, reached = asyncio.Event(), asyncio.Event()
    model = ScriptedModel([say("a b") + hold(release, reached=reached) + say("c")])
    got: list[ModelChunk] = []

    async def read() -> None:
        async for chunk in model.stream(ask(user("x"))):
            got.append(chunk)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(read())
        await reached.wait()
        assert got == [TextDelta(0, "a "), TextDelta(0, "b")]
        release.set()
    assert got[2] == TextDelta(1, "c")
    assert model.cut == []


async def test_a_closed_or_cancelled_stream_is_noted_as_cut() -> None:
    reached = asyncio.Event()
    model = ScriptedModel([say("a b c") + hold(asyncio.Event(), reached=reached)])
    async with aclosing(cast(Any, model.stream(ask(user("x"), turn=1)))) as stream:
        async for _ in stream:
            break
    reading = asyncio.create_task(chunks_of(model, ask(user("x"), turn=2)))
    await reached.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert model.cut == ["m-1", "m-2"]


async def test_what_was_asked_is_kept_as_it_was() -> None:
    model = ScriptedModel(["hello"])
    entries = [Entry(user("a"))]
    await answer_of(model, ask(entries=entries))
    entries.append(Entry(user("b")))
    assert [e.message for e in model.requests[0].entries] == [user("a")]
