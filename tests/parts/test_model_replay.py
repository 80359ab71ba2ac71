"""Recorded models: what is recorded, which answer is served, and what a replay says when it differs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from tests.parts.model_requests import BASH, answer_of, ask, chunks_of, result, said, text_of, user

from godwit.contracts import Model, ModelAnswer, ModelChunk, ModelRequest, TextDelta
from godwit.core.agent import ModelSettings
from godwit.core.errors import (
    ConfigurationError,
    ContextTooLong,
    ModelError,
    RateLimited,
    ReplayMismatch,
    StreamBroken,
)
from godwit.core.ids import CallId, ManualClock, MessageId
from godwit.core.messages import Assistant, Image, Message, Text, ToolCall, Usage, User
from godwit.models.replay import RecordedModel, Recorder
from godwit.models.script import Script, ScriptedModel, call, fail, hold, say, think, tries

CONVERSATION: Script = [
    think("Look first.", signature="s1g") + say("I will look.") + call("bash", command="pytest -q"),
    say("All is well."),
]


async def converse(model: Model, outputs: Sequence[str] = ("1 passed in 0.31s",), *, session: str = "s-1") -> list[Message]:
    """What an engine does, in short: ask, run the calls, ask again until there are none."""
    messages: list[Message] = [user("fix the test")]
    for turn, output in enumerate([*outputs, ""], 1):
        answer = await answer_of(model, ask(*messages, turn=turn, session=session))
        messages.append(said(answer, f"{session}-{turn}"))
        if not said(answer).calls:
            break
        messages.extend(result(output, id=c.id) for c in said(answer).calls)
    return messages


async def record(path: Path, script: Script = CONVERSATION, **options: Any) -> list[Message]:
    recorder = Recorder(ScriptedModel(script, "scripted:demo"), path, **options)
    messages = await converse(recorder)
    await recorder.close()
    return messages


def mismatch(found: pytest.ExceptionInfo[ReplayMismatch]) -> str:
    return found.value.message


async def test_a_replay_streams_what_was_recorded(tmp_path: Path) -> None:
    path = tmp_path / "demo.jsonl"
    live = ScriptedModel(CONVERSATION, "scripted:demo")
    recorder = Recorder(live, path, seed="demo-1", meta={"prompt": "fix the test"})
    assert (recorder.name, recorder.wire) == (live.name, live.wire)
    request = ask(user("fix the test"))
    passed = await chunks_of(recorder, request)
    await recorder.close()

    replay = RecordedModel(path)
    assert passed == await chunks_of(live, request) == await chunks_of(replay, request)
    assert (replay.name, replay.seed, replay.meta) == ("scripted:demo", "demo-1", {"prompt": "fix the test"})
    assert len(replay) == 1


async def test_a_new_process_replays_from_the_middle(tmp_path: Path) -> None:
    messages = await record(tmp_path / "demo.jsonl")
    middle = ask(*messages[:3], turn=2)
    assert await text_of(RecordedModel(tmp_path / "demo.jsonl"), middle) == "All is well."
    # Ids, usage and the model's name are ours; a replay draws them anew and they make no difference.
    renamed: list[Message] = [
        msgspec.structs.replace(m, id=MessageId("other"), usage=Usage(5), model="x") if isinstance(m, Assistant) else m
        for m in messages[:3]
    ]
    assert await text_of(RecordedModel(tmp_path / "demo.jsonl"), ask(*renamed, turn=2)) == "All is well."


async def test_a_request_changed_anywhere_is_refused_with_the_place(tmp_path: Path) -> None:
    path = tmp_path / "demo.jsonl"
    messages = await record(path)
    replay = RecordedModel(path)
    first, answer, output = messages[:3]
    assert isinstance(answer, Assistant)

    async def refused(*changed: Message, **changes: Any) -> str:
        with pytest.raises(ReplayMismatch) as found:
            await answer_of(replay, ask(*changed, turn=2, **changes))
        assert found.value.retryable is False
        return mismatch(found)

    assert "demo.jsonl, exchange 2 (answer 2): message 2 (tool 'bash').content[0].text, line 1: " in await refused(
        first, answer, result("1 passed in 0.32s")
    )
    assert "recorded '1 passed in 0.31s', got '1 passed in 0.32s'" in await refused(
        first, answer, result("1 passed in 0.32s")
    )
    assert "message 2 (tool 'bash').status" in await refused(first, answer, result("1 passed in 0.31s", status="error"))
    assert "message 0 (user).content[0].text" in await refused(user("fix the tests"), answer, output)
    assert "number of messages: recorded 3, got 4" in await refused(first, answer, output, user("and now?"))
    assert "instructions, line 1: recorded 'Be brief.', got 'Be long.'" in await refused(
        first, answer, output, instructions="Be long."
    )
    assert "tools[0].description" in await refused(
        first, answer, output, tools=(msgspec.structs.replace(BASH, description="Run it."),)
    )
    assert "settings.temperature: recorded 'None', got '0.5'" in await refused(
        first, answer, output, settings=ModelSettings(temperature=0.5)
    )
    edited = msgspec.structs.replace(answer, content=(*answer.content[:2], ToolCall(CallId("c"), "bash", {"command": "ls"})))
    assert "message 1 (assistant).content[2].arguments.command" in await refused(first, edited, output)
    unsigned = msgspec.structs.replace(answer, content=(think("Look first.").blocks[0], *answer.content[1:]))
    assert "message 1 (assistant).content[0].signature" in await refused(first, unsigned, output)


async def test_a_difference_late_in_a_long_text_is_shown_and_not_the_text(tmp_path: Path) -> None:
    path = tmp_path / "demo.jsonl"
    long = "x" * 5000 + "A" + "y" * 5000
    recorder = Recorder(ScriptedModel(["ok"]), path)
    await answer_of(recorder, ask(user("line one\n" + long)))
    await recorder.close()
    with pytest.raises(ReplayMismatch, match=r"message 0 \(user\).content\[0\].text, line 2: recorded '\.\.\.x") as found:
        await answer_of(RecordedModel(path), ask(user("line one\n" + long.replace("A", "B"))))
    assert "xAy" in mismatch(found)
    assert "xBy" in mismatch(found)
    assert len(mismatch(found)) < 400


async def test_results_may_vary_when_the_recording_says_so(tmp_path: Path) -> None:
    path = tmp_path / "demo.jsonl"
    messages = await record(path, match="results_vary")
    first, answer, _ = messages[:3]
    replay = RecordedModel(path)
    assert await text_of(replay, ask(first, answer, result("1 passed in 9.99s"), turn=2)) == "All is well."
    with pytest.raises(ReplayMismatch, match="status"):
        await answer_of(replay, ask(first, answer, result("1 passed in 9.99s", status="error"), turn=2))
    with pytest.raises(ReplayMismatch, match="message 0"):
        await answer_of(replay, ask(user("other"), answer, result("1 passed in 9.99s"), turn=2))
    with pytest.raises(ReplayMismatch, match="message 2"):
        await answer_of(RecordedModel(path, match="exact"), ask(first, answer, result("1 passed in 9.99s"), turn=2))


async def test_a_replay_beyond_the_end_says_so(tmp_path: Path) -> None:
    messages = await record(tmp_path / "demo.jsonl")
    with pytest.raises(ReplayMismatch, match=r"demo\.jsonl ends after 2 answers and was asked for number 3"):
        await answer_of(RecordedModel(tmp_path / "demo.jsonl"), ask(*messages, user("more"), turn=3))


async def test_errors_are_replayed_before_the_answer_that_followed(tmp_path: Path) -> None:
    path = tmp_path / "demo.jsonl"
    limited = RateLimited("slow down", retry_after_s=2.5, limit=30)
    recorder = Recorder(ScriptedModel([tries(limited, say("half of") + fail(StreamBroken()), "done")]), path)
    request = ask(user("x"))
    for expected in (RateLimited, StreamBroken):
        with pytest.raises(expected):
            await answer_of(recorder, request)
    assert await text_of(recorder, request) == "done"
    await recorder.close()

    replay = RecordedModel(path)
    with pytest.raises(RateLimited, match="slow down") as found:
        await answer_of(replay, request)
    assert (found.value.retryable, found.value.retry_after_s, found.value.details) == (True, 2.5, {"limit": 30})
    got: list[ModelChunk] = []

    async def read() -> None:
        async for chunk in replay.stream(request):
            got.append(chunk)

    with pytest.raises(StreamBroken):
        await read()
    assert got == [TextDelta(0, "half "), TextDelta(0, "of")]
    assert [await text_of(replay, request) for _ in range(2)] == ["done", "done"]


async def test_every_model_error_comes_back_as_its_own_kind(tmp_path: Path) -> None:
    path = tmp_path / "demo.jsonl"
    kinds: list[type[ModelError]] = [*ModelError.__subclasses__(), ModelError]
    recorder = Recorder(ScriptedModel([tries(*(kind("because") for kind in kinds))]), path)
    for kind in kinds:
        with pytest.raises(kind):
            await answer_of(recorder, ask(user("x")))
    await recorder.close()
    replay = RecordedModel(path)
    for kind in kinds:
        with pytest.raises(ModelError) as found:
            await answer_of(replay, ask(user("x")))
        assert type(found.value) is kind
        assert found.value.retryable is kind.retryable_by_default


async def test_a_cut_stream_is_recorded_and_waits_to_be_cut_again(tmp_path: Path) -> None:
    path = tmp_path / "demo.jsonl"
    waiting, reached = asyncio.Event(), asyncio.Event()
    recorder = Recorder(ScriptedModel([say("a b c") + hold(waiting, after=2, reached=reached)]), path)
    reading = asyncio.create_task(chunks_of(recorder, ask(user("x"))))
    await reached.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await recorder.close()

    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    got: list[ModelChunk] = []

    async def read() -> None:
        async for chunk in RecordedModel(path, sleep=sleep, patience_s=7).stream(ask(user("x"))):
            got.append(chunk)

    with pytest.raises(ReplayMismatch, match="was cut here in the recording"):
        await read()
    assert got == [TextDelta(0, "a "), TextDelta(0, "b ")]
    assert slept == [0, 0, 7]


async def test_a_closed_stream_is_recorded_as_cut_and_closes_the_models_own(tmp_path: Path) -> None:
    path = tmp_path / "demo.jsonl"
    live = ScriptedModel(["a b c"])
    recorder = Recorder(live, path)
    async with aclosing(cast(Any, recorder.stream(ask(user("x"))))) as stream:
        async for _ in stream:
            break
    await recorder.close()
    assert live.cut == ["m-1"]
    assert json.loads(path.read_text().splitlines()[1])["cut"] is True


async def test_an_answer_lost_in_a_crash_is_not_replayed(tmp_path: Path) -> None:
    """The recording process died after the exchange was recorded and before its answer was stored; then asked again."""
    path = tmp_path / "demo.jsonl"
    for text in ("lost", "kept"):
        recorder = Recorder(ScriptedModel([text]), path)
        await answer_of(recorder, ask(user("x")))
        await recorder.close()
    replay = RecordedModel(path)
    assert len(replay) == 1
    assert await text_of(replay, ask(user("x"))) == "kept"


async def test_equal_requests_of_other_turns_and_sessions_get_their_own_answers(tmp_path: Path) -> None:
    """A rewind asks the same again in a later turn; two sessions may begin alike."""
    path = tmp_path / "demo.jsonl"
    recorder = Recorder(ScriptedModel([lambda request: f"{request.session} {request.turn}"]), path)
    asked = [(session, turn) for session in ("s-1", "s-2") for turn in (1, 2)]
    for session, turn in asked:
        await answer_of(recorder, ask(user("x"), session=session, turn=turn))
    await recorder.close()
    for session, turn in reversed(asked):
        assert await text_of(RecordedModel(path), ask(user("x"), session=session, turn=turn)) == f"{session} {turn}"
    assert await text_of(RecordedModel(path), ask(user("x"), session="unknown", turn=2)) == "s-1 2"


async def test_a_killed_recording_is_good_up_to_there_and_can_go_on(tmp_path: Path) -> None:
    path = tmp_path / "demo.jsonl"
    messages = await record(path)
    whole = path.read_bytes()
    begin = whole.rfind(b"\n", 0, -1) + 1
    for size in (begin, begin + 1, len(whole) - 40, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert said(await answer_of(RecordedModel(path), ask(messages[0]))).calls
        with pytest.raises(ReplayMismatch, match="ends after 1 answers"):
            await answer_of(RecordedModel(path), ask(*messages[:3], turn=2))
        recorder = Recorder(ScriptedModel(CONVERSATION, "scripted:demo"), path)
        assert await text_of(recorder, ask(*messages[:3], turn=2)) == "All is well."
        await recorder.close()
        assert await text_of(RecordedModel(path), ask(*messages[:3], turn=2)) == "All is well."


async def test_a_recording_grows_with_the_conversation_and_not_with_its_square(tmp_path: Path) -> None:
    path = tmp_path / "demo.jsonl"
    turns = 60
    script: Script = [call("bash", command=f"step {n}") for n in range(turns)] + [say("done")]
    recorder = Recorder(ScriptedModel(script, "scripted:demo"), path)
    marker = "a result of some length, " * 20
    await converse(recorder, [f"{n} {marker}" for n in range(turns)])
    await recorder.close()
    assert path.read_text().count(marker) == turns


async def test_a_recording_of_another_model_is_not_gone_on_with(tmp_path: Path) -> None:
    await record(tmp_path / "demo.jsonl")
    with pytest.raises(ConfigurationError, match="is a recording of 'scripted:demo', not of 'scripted:test'"):
        Recorder(ScriptedModel([]), tmp_path / "demo.jsonl")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no header"),
        ("no json\n", "line 1"),
        ('{"type":"exchange","position":0}\n', "line 1"),
        ('{"type":"recording","godwit":"9","format":99,"model":"m"}\n', "recorded by godwit 9 in format 99"),
    ],
)
def test_a_file_that_is_no_recording_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "demo.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=says):
        RecordedModel(path)


def test_a_missing_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no recording at"):
        RecordedModel(tmp_path / "none.jsonl")


async def test_pace_gives_back_the_recorded_pauses(tmp_path: Path) -> None:
    path = tmp_path / "demo.jsonl"
    clock = ManualClock()

    class Slow:
        name, wire = "slow:model", "slow"

        async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
            for seconds, word in ((0.5, "a "), (0.25, "b")):
                clock.advance(seconds)
                yield TextDelta(0, word)
            yield ModelAnswer((Text("a b"),), "end_turn", Usage(), "slow:model")

    recorder = Recorder(Slow(), path, clock=clock)
    await answer_of(recorder, ask(user("x")))
    await recorder.close()

    async def slept(**options: Any) -> list[float]:
        pauses: list[float] = []

        async def sleep(seconds: float) -> None:
            pauses.append(seconds)

        await answer_of(RecordedModel(path, sleep=sleep, **options), ask(user("x")))
        return pauses

    assert await slept() == [0, 0, 0]
    assert await slept(pace=2) == [1.0, 0.5, 0]
    assert await slept(pace=1, interval_s=0.03) == [0.03, 0.03, 0.03]


async def test_images_stand_in_a_recording_by_their_hash(tmp_path: Path) -> None:
    path = tmp_path / "demo.jsonl"
    picture: Callable[[bytes], User] = lambda data: User((Text("what is it?"), Image("image/png", data)))  # noqa: E731
    recorder = Recorder(ScriptedModel(["a bird"]), path)
    await answer_of(recorder, ask(picture(b"\x00" * 30_000)))
    await recorder.close()
    assert path.stat().st_size < 3000
    assert await text_of(RecordedModel(path), ask(picture(b"\x00" * 30_000))) == "a bird"
    with pytest.raises(ReplayMismatch, match=r"content\[1\]\.data"):
        await answer_of(RecordedModel(path), ask(picture(b"\x01" * 30_000)))


async def test_a_whole_conversation_replays_to_the_same_messages(tmp_path: Path) -> None:
    messages = await record(tmp_path / "demo.jsonl")
    assert await converse(RecordedModel(tmp_path / "demo.jsonl")) == messages
    with pytest.raises(ModelError):
        await converse(RecordedModel(tmp_path / "demo.jsonl"), ["another output"])


async def test_details_json_cannot_say_do_not_lose_the_error(tmp_path: Path) -> None:
    path = tmp_path / "demo.jsonl"
    recorder = Recorder(ScriptedModel([fail(ContextTooLong("too long", where=Path("a/b")))]), path)
    with pytest.raises(ContextTooLong):
        await answer_of(recorder, ask(user("x")))
    await recorder.close()
    with pytest.raises(ContextTooLong) as found:
        await answer_of(RecordedModel(path), ask(user("x")))
    assert found.value.details == {"where": "a/b"}
