"""Each rule of the verifier by an example that breaks it, that nothing refused changes it, and what it tells of a stream."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from ag_ui.core import RunFinishedEvent, RunStartedEvent
from hypothesis import given, settings

from godwit.core.errors import IllegalStream
from godwit.surfaces.agui import Verifier, events as e, verified, verifier as verifier_module, verify
from godwit.surfaces.agui.events import AnyEvent
from godwit.surfaces.agui.fields import from_wire

from .streams import ANY_EVENT, on_the_wire, streams

RUN = {"threadId": "t", "runId": "r"}
START = {"type": "RUN_STARTED", **RUN}
FINISH = {"type": "RUN_FINISHED", **RUN}


def typed(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **fields}


def text(*ids: str, **more: Any) -> list[dict[str, Any]]:
    return [typed(f"TEXT_MESSAGE_{part}", messageId=one, **more) for one in ids for part in ("START", "END")]


USER = {"id": "m", "role": "user", "content": "Hi"}

LEGAL: dict[str, list[dict[str, Any]]] = {
    "a run": [START, FINISH],
    "a failure alone": [typed("RUN_ERROR", message="x")],
    "a run that failed with all open": [START, typed("TEXT_MESSAGE_START", messageId="m"), typed("RUN_ERROR", message="x")],
    "a failure after the end": [START, FINISH, typed("RUN_ERROR", message="x")],
    "runs of a replayed thread": [START, FINISH, START, typed("RUN_ERROR", message="x"), START, FINISH],
    "one id for a text, a call, a span, a thought and a step": [
        START,
        typed("TEXT_MESSAGE_START", messageId="x"),
        typed("TOOL_CALL_START", toolCallId="x", toolCallName="f"),
        typed("REASONING_START", messageId="x"),
        typed("REASONING_MESSAGE_START", messageId="x", role="reasoning"),
        typed("STEP_STARTED", stepName="x"),
        typed("REASONING_END", messageId="x"),
        typed("STEP_FINISHED", stepName="x"),
        typed("TOOL_CALL_END", toolCallId="x"),
        typed("TEXT_MESSAGE_CONTENT", messageId="x", delta=""),
        typed("TEXT_MESSAGE_END", messageId="x"),
        typed("REASONING_MESSAGE_END", messageId="x"),
        FINISH,
    ],
    "a message that is gone on with": [START, *text("m"), *text("m"), FINISH],
    "a step of each owner": [
        START,
        typed("STEP_STARTED", stepName="s"),
        typed("STEP_STARTED", stepName="s", subagentRunId="a"),
        typed("STEP_FINISHED", stepName="s"),
        typed("STEP_FINISHED", stepName="s", subagentRunId="a"),
        FINISH,
    ],
    "subagents within subagents": [
        START,
        typed("SUBAGENT_STARTED", subagentRunId="a", name="n"),
        typed("SUBAGENT_STARTED", subagentRunId="b", name="n", parentSubagentRunId="a"),
        typed("SUBAGENT_ERROR", subagentRunId="b", message="x"),
        typed("SUBAGENT_FINISHED", subagentRunId="a", outcome={"type": "suspended"}),
        typed("SUBAGENT_STARTED", subagentRunId="c", name="n", parentSubagentRunId="a"),
        typed("SUBAGENT_FINISHED", subagentRunId="c", result=1),
        FINISH,
    ],
    "continuations without a tag": [
        START,
        typed("TEXT_MESSAGE_START", messageId="m", subagentRunId="a"),
        typed("TEXT_MESSAGE_CONTENT", messageId="m", delta="x"),
        typed("TEXT_MESSAGE_END", messageId="m"),
        FINISH,
    ],
    "a call that belongs to whom its message does": [
        START,
        *text("m", subagentRunId="a"),
        typed("TOOL_CALL_START", toolCallId="c", toolCallName="f", parentMessageId="m"),
        typed("TOOL_CALL_END", toolCallId="c", subagentRunId="a"),
        typed("REASONING_ENCRYPTED_VALUE", subtype="tool-call", entityId="c", encryptedValue="", subagentRunId="a"),
        FINISH,
    ],
    "a state that is changed from what the front end has": [
        START,
        typed("STATE_DELTA", delta=[{"op": "add", "path": "/a~1b", "value": None}]),
        FINISH,
    ],
    "an activity of an earlier run": [
        START,
        typed("ACTIVITY_SNAPSHOT", messageId="a", activityType="x", content={}),
        FINISH,
        START,
        typed("ACTIVITY_DELTA", messageId="a", activityType="x", patch=[]),
        FINISH,
    ],
    "an activity of the messages": [
        START,
        typed("MESSAGES_SNAPSHOT", messages=[{"id": "a", "role": "activity", "activityType": "x", "content": {}}]),
        typed("ACTIVITY_DELTA", messageId="a", activityType="x", patch=[]),
        FINISH,
    ],
    "chunks": [
        START,
        typed("TEXT_MESSAGE_CHUNK", messageId="m", delta="a"),
        typed("TEXT_MESSAGE_CHUNK", delta="b"),
        typed("TOOL_CALL_CHUNK", toolCallId="c", toolCallName="f"),
        typed("TOOL_CALL_CHUNK", toolCallId="c", delta="{}"),
        typed("REASONING_MESSAGE_CHUNK", messageId="m", delta="a"),
        FINISH,
    ],
    "a chunk without id and tag, which goes on with the only one there is": [
        START,
        typed("TEXT_MESSAGE_CHUNK", messageId="m", subagentRunId="a"),
        typed("TOOL_CALL_CHUNK", toolCallId="c", toolCallName="f"),
        typed("TEXT_MESSAGE_CHUNK", delta="x"),
        FINISH,
    ],
    "of a message that an input has twice the first says whose it is": [
        {**START, "input": {**RUN, "messages": [{**USER, "subagentRunId": one} for one in "ab"]}},
        *text("m", subagentRunId="a"),
        FINISH,
    ],
    "chunks of two subagents at once": [
        START,
        typed("TEXT_MESSAGE_CHUNK", messageId="m", delta="a", subagentRunId="a"),
        typed("TEXT_MESSAGE_CHUNK", messageId="n", delta="a", subagentRunId="b"),
        typed("TEXT_MESSAGE_CHUNK", messageId="m", delta="b"),
        typed("TEXT_MESSAGE_CHUNK", delta="b", subagentRunId="b"),
        FINISH,
    ],
}


@pytest.mark.parametrize("stream", LEGAL.values(), ids=LEGAL.keys())
def test_a_stream_that_is_allowed(stream: list[dict[str, Any]]) -> None:
    verify(stream)


def interrupts(*ids: str) -> dict[str, Any]:
    return {"type": "interrupt", "interrupts": [{"id": one, "reason": "confirmation"} for one in ids]}


SUBAGENT = typed("SUBAGENT_STARTED", subagentRunId="a", name="n")
OPENED = typed("TEXT_MESSAGE_START", messageId="m")

ILLEGAL: list[tuple[str, str | None, list[dict[str, Any]]]] = [
    # rule, the id that is named, the stream: its last event is refused
    ("first", None, [OPENED]),
    ("first", None, [FINISH]),
    ("running", "r2", [START, {**START, "runId": "r2"}]),
    ("over", "r", [START, FINISH, OPENED]),
    ("over", "r", [START, FINISH, FINISH]),
    ("over", "r", [START, typed("RUN_ERROR", message="x"), typed("RUN_ERROR", message="x")]),
    ("over", "r", [START, FINISH, typed("RUN_ERROR", message="x"), typed("CUSTOM", name="n", value=1)]),
    ("open", "m", [START, OPENED, OPENED]),
    ("open", "c", [START, *[typed("TOOL_CALL_START", toolCallId="c", toolCallName="f")] * 2]),
    ("open", "m", [START, *[typed("REASONING_START", messageId="m")] * 2]),
    ("open", "m", [START, *[typed("REASONING_MESSAGE_START", messageId="m", role="reasoning")] * 2]),
    ("open", "s", [START, *[typed("STEP_STARTED", stepName="s")] * 2]),
    ("closed", "m", [START, typed("TEXT_MESSAGE_CONTENT", messageId="m", delta="x")]),
    ("closed", "m", [START, *text("m"), typed("TEXT_MESSAGE_CONTENT", messageId="m", delta="x")]),
    ("closed", "m", [START, typed("TEXT_MESSAGE_END", messageId="m")]),
    ("closed", "c", [START, typed("TOOL_CALL_ARGS", toolCallId="c", delta="x")]),
    ("closed", "c", [START, typed("TOOL_CALL_END", toolCallId="c")]),
    ("closed", "m", [START, typed("REASONING_END", messageId="m")]),
    ("closed", "m", [START, typed("REASONING_START", messageId="m"), typed("REASONING_MESSAGE_END", messageId="m")]),
    ("closed", "m", [START, OPENED, typed("REASONING_MESSAGE_CONTENT", messageId="m", delta="x")]),
    ("closed", "s", [START, typed("STEP_FINISHED", stepName="s")]),
    (
        "closed",
        "s",
        [START, typed("STEP_STARTED", stepName="s"), typed("STEP_FINISHED", stepName="s", subagentRunId="a")],
    ),
    ("closed", "a", [START, typed("SUBAGENT_FINISHED", subagentRunId="a")]),
    ("closed", "a", [START, typed("SUBAGENT_ERROR", subagentRunId="a", message="x")]),
    ("owner", "m", [START, OPENED, typed("TEXT_MESSAGE_CONTENT", messageId="m", delta="", subagentRunId="a")]),
    ("owner", "m", [START, *text("m", subagentRunId="a"), typed("TEXT_MESSAGE_START", messageId="m", subagentRunId="b")]),
    (
        "owner",
        "c",
        [
            START,
            *text("m", subagentRunId="a"),
            typed("TOOL_CALL_START", toolCallId="c", toolCallName="f", parentMessageId="m", subagentRunId="b"),
        ],
    ),
    (
        "owner",
        "c",
        [
            START,
            *text("m", subagentRunId="a"),
            typed("TOOL_CALL_START", toolCallId="c", toolCallName="f", subagentRunId="b"),
            typed("TOOL_CALL_END", toolCallId="c"),
            typed("TOOL_CALL_START", toolCallId="c", toolCallName="f", parentMessageId="m"),
        ],
    ),
    (
        "owner",
        "m",
        [
            START,
            typed("REASONING_START", messageId="m", subagentRunId="a"),
            typed("REASONING_MESSAGE_START", messageId="m", role="reasoning", subagentRunId="b"),
        ],
    ),
    (
        "owner",
        "m",
        [
            START,
            *text("m"),
            typed("REASONING_ENCRYPTED_VALUE", subtype="message", entityId="m", encryptedValue="", subagentRunId="a"),
        ],
    ),
    (
        "owner",
        "x",
        [
            START,
            typed("ACTIVITY_SNAPSHOT", messageId="x", activityType="x", content={}),
            typed("ACTIVITY_DELTA", messageId="x", activityType="x", patch=[], subagentRunId="a"),
        ],
    ),
    (
        "owner",
        "m",
        [
            START,
            typed("MESSAGES_SNAPSHOT", messages=[{**USER, "subagentRunId": "a"}]),
            {**OPENED, "subagentRunId": "b"},
        ],
    ),
    ("owner", "m", [{**START, "input": {**RUN, "messages": [USER]}}, {**OPENED, "subagentRunId": "b"}]),
    ("left_open", "m", [START, OPENED, FINISH]),
    ("left_open", "c", [START, typed("TOOL_CALL_START", toolCallId="c", toolCallName="f"), FINISH]),
    ("left_open", "m", [START, typed("REASONING_START", messageId="m"), FINISH]),
    ("left_open", "m", [START, typed("REASONING_MESSAGE_START", messageId="m", role="reasoning"), FINISH]),
    ("left_open", "s", [START, typed("STEP_STARTED", stepName="s"), FINISH]),
    ("left_open", "a", [START, SUBAGENT, FINISH]),
    ("run", "other", [START, {**FINISH, "runId": "other"}]),
    ("run", "r", [START, {**FINISH, "threadId": "other"}]),
    ("subagent", "a", [START, SUBAGENT, SUBAGENT]),
    ("subagent", "a", [START, SUBAGENT, typed("SUBAGENT_FINISHED", subagentRunId="a"), SUBAGENT]),
    ("subagent", "a", [START, {**SUBAGENT, "parentSubagentRunId": "b"}]),
    ("activity", "x", [START, typed("ACTIVITY_DELTA", messageId="x", activityType="x", patch=[])]),
    ("chunk", None, [START, typed("TEXT_MESSAGE_CHUNK", delta="x")]),
    ("chunk", None, [START, typed("TOOL_CALL_CHUNK", toolCallId="c")]),
    ("chunk", None, [START, typed("REASONING_MESSAGE_CHUNK", delta="x")]),
    ("chunk", "m", [START, *[typed("TEXT_MESSAGE_CHUNK", messageId="m", name=one) for one in "ab"]]),
    ("chunk", "c", [START, *[typed("TOOL_CALL_CHUNK", toolCallId="c", toolCallName=one) for one in "ab"]]),
    (
        "chunk",
        None,
        [
            START,
            *[typed("TEXT_MESSAGE_CHUNK", messageId=one, subagentRunId=one) for one in "ab"],
            typed("TEXT_MESSAGE_CHUNK", delta="x"),
        ],
    ),
    ("owner", "m", [START, *[typed("TEXT_MESSAGE_CHUNK", messageId="m", subagentRunId=one) for one in "ab"]]),
    (
        "built",
        "m",
        [
            START,
            typed("TEXT_MESSAGE_CHUNK", messageId="m", subagentRunId="a"),
            typed("TEXT_MESSAGE_END", messageId="m"),
        ],
    ),
    # one event in itself
    ("shape", None, [START, typed("THINKING_START")]),
    ("shape", None, [START, typed("TEXT_MESSAGE_START")]),
    ("shape", None, [START, typed("TEXT_MESSAGE_START", messageId=1)]),
    ("shape", None, [START, typed("REASONING_MESSAGE_START", messageId="m")]),
    ("shape", None, [START, {**FINISH, "outcome": {"type": "paused"}}]),
    ("shape", None, [START, {**FINISH, "outcome": "INTERRUPT"}]),
    ("shape", "m", [START, {**OPENED, "timestamp": 2**53}]),
    ("shape", "r", [START, {**FINISH, "usage": [{"inputTokens": -1}]}]),
    ("shape", None, [START, typed("MESSAGES_SNAPSHOT", messages=[{"id": "m", "role": "user"}])]),
    ("shape", None, [START, typed("MESSAGES_SNAPSHOT", messages=[{**USER, "name": None}])]),
    ("shape", None, [START, typed("MESSAGES_SNAPSHOT", messages=[{**USER, "subagentRunId": None}])]),
    ("shape", "m", [START, typed("TOOL_CALL_RESULT", messageId="m", toolCallId="c", content=[{"type": "image"}])]),
    ("shape", "r", [{**START, "input": {**RUN, "messages": [], "forwardedProps": None}}]),
    ("null", None, [{**START, "parentRunId": None}]),
    ("null", None, [START, {**OPENED, "subagentRunId": None}]),
    ("null", None, [START, {**OPENED, "metadata": None}]),
    ("null", None, [START, {**OPENED, "rawEvent": None}]),
    ("null", None, [START, {**FINISH, "result": None}]),
    ("null", None, [START, {**FINISH, "outcome": None}]),
    ("null", None, [START, {**FINISH, "outcome": {"type": "success", "pendingToolCallIds": None}}]),
    (
        "null",
        None,
        [START, {**FINISH, "outcome": {"type": "interrupt", "interrupts": [{"id": "i", "reason": "x", "message": None}]}}],
    ),
    ("null", None, [START, {**FINISH, "usage": [{"model": None}]}]),
    (
        "null",
        None,
        [
            START,
            SUBAGENT,
            typed("SUBAGENT_FINISHED", subagentRunId="a", outcome={"type": "suspended", "interruptIds": None}),
        ],
    ),
    ("id", "", [{**START, "runId": ""}]),
    ("id", "", [START, {**OPENED, "messageId": ""}]),
    ("id", "m", [START, {**OPENED, "subagentRunId": ""}]),
    ("id", "r", [START, {**FINISH, "outcome": interrupts("")}]),
    ("interrupts", "r", [START, {**FINISH, "outcome": interrupts()}]),
    ("interrupts", "r", [START, {**FINISH, "outcome": interrupts("i", "j", "i")}]),
    ("patch", None, [START, typed("STATE_DELTA", delta=[{"op": "add", "path": "a", "value": 1}])]),
    ("patch", None, [START, typed("STATE_DELTA", delta=[{"op": "remove", "path": "/a~2"}])]),
    ("patch", None, [START, typed("STATE_DELTA", delta=[{"op": "add", "path": "/a"}])]),
    ("patch", None, [START, typed("STATE_DELTA", delta=[{"op": "multiply", "path": "/a"}])]),
    ("patch", None, [START, typed("STATE_DELTA", delta=[{"op": "move", "from": "/a", "path": "/a/b"}])]),
]


@pytest.mark.parametrize(("rule", "name", "stream"), ILLEGAL, ids=[f"{rule}-{n}" for n, (rule, *_) in enumerate(ILLEGAL)])
def test_a_stream_that_is_not_allowed(rule: str, name: str | None, stream: list[dict[str, Any]]) -> None:
    *before, last = stream
    verify(before, complete=False)
    with pytest.raises(IllegalStream) as refused:
        verify(stream, complete=False)
    assert (refused.value.details["rule"], refused.value.details["id"]) == (rule, name)
    assert refused.value.details["event"] == last["type"]
    assert last["type"] in refused.value.message


def test_every_rule_is_told_and_tried() -> None:
    told = verifier_module.__doc__ or ""
    rules = set(re.findall(r"^    (\w+)  ", told, re.MULTILINE)) | {"shape", "null", "id", "patch", "interrupts"}
    assert rules == {rule for rule, *_ in ILLEGAL} | {"truncated"}


@pytest.mark.parametrize("stream", [[], [START], [START, FINISH, START]])
def test_a_stream_that_breaks_off(stream: list[dict[str, Any]]) -> None:
    verify(stream, complete=False)
    with pytest.raises(IllegalStream) as refused:
        verify(stream)
    assert refused.value.details["rule"] == "truncated"


@pytest.mark.parametrize(
    "event",
    [
        e.TextMessageContent(message_id="m", delta=5),  # type: ignore[arg-type]
        e.TextMessageStart(message_id=None),  # type: ignore[arg-type]
        e.TextMessageStart(message_id="m", role="tool"),  # type: ignore[arg-type]
        e.TextMessageStart(message_id="m", metadata=[]),  # type: ignore[arg-type]
        e.TextMessageStart(message_id="m", timestamp=1.5),  # type: ignore[arg-type]
        e.ActivitySnapshot(message_id="m", activity_type="x", content=[]),  # type: ignore[arg-type]
        e.StateDelta(delta={}),  # type: ignore[arg-type]
        e.RunFinished(thread_id="t", run_id="r", outcome=e.Success(pending_tool_call_ids=[1])),  # type: ignore[list-item]
        e.RunFinished(thread_id="t", run_id="r", outcome="success"),  # type: ignore[arg-type]
        e.RunFinished(thread_id="t", run_id="r", outcome=e.Interrupted(interrupts=5)),  # type: ignore[arg-type]
        e.RunFinished(thread_id="t", run_id="r", outcome=e.Interrupted(interrupts=["i"])),  # type: ignore[list-item]
        e.RunFinished(thread_id="t", run_id="r", usage=[5]),  # type: ignore[list-item]
        e.RunError(message="x", usage=5),  # type: ignore[arg-type]
        e.RunError(message="x", usage=[e.TokenUsage(input_tokens=1.5)]),  # type: ignore[arg-type]
        e.SubagentFinished(subagent_run_id="a", outcome="success"),  # type: ignore[arg-type]
        e.SubagentFinished(
            subagent_run_id="a",
            outcome=e.SubagentSuspended(interrupt_ids=[1]),  # type: ignore[list-item]
        ),
        e.MessagesSnapshot(messages=None),  # type: ignore[arg-type]
        e.ToolCallResult(message_id="m", tool_call_id="c", content=5),  # type: ignore[arg-type]
        e.ActivitySnapshot(message_id="m", activity_type="x", content={}, replace="no"),  # type: ignore[arg-type]
        e.Event(),
        "RUN_FINISHED",
    ],
)
def test_an_event_made_of_the_wrong_things_is_refused(event: Any) -> None:
    verifier = Verifier()
    verifier.apply(e.RunStarted(thread_id="t", run_id="r"))
    verifier.apply(e.SubagentStarted(subagent_run_id="a", name="n"))
    with pytest.raises(IllegalStream) as refused:
        verifier.apply(event)
    assert refused.value.details["rule"] == ("patch" if isinstance(event, e.StateDelta) else "shape")
    assert [item.id for item in verifier.open] == ["a"]


# --- nothing refused changes it --------------------------------------------------------------------------------------


def seen(verifier: Verifier) -> Any:
    run = verifier._run
    return (
        verifier._phase,
        verifier.open,
        dict(run.owners),
        dict(run.subagents),
        dict(run.lines),
        set(verifier._activities),
        (verifier.run_id, verifier.thread_id),
    )


@settings(max_examples=200, deadline=None)
@given(stream=streams(), event=ANY_EVENT)
def test_a_check_changes_nothing_and_tells_what_apply_would_do(stream: list[AnyEvent], event: AnyEvent) -> None:
    verifier = Verifier()
    for one in stream:
        try:
            verifier.apply(one)
        except IllegalStream:
            break
    before = seen(verifier)
    try:
        verifier.check(event)
        allowed = True
    except IllegalStream:
        allowed = False
    assert seen(verifier) == before
    try:
        verifier.apply(event)
    except IllegalStream:
        assert not allowed
        assert seen(verifier) == before
    else:
        assert allowed


@settings(max_examples=200, deadline=None)
@given(stream=streams(legal=True))
def test_whatever_is_open_can_be_ended(stream: list[AnyEvent]) -> None:
    """At each place of a stream; also what one subagent has, with all below it."""
    verifier = Verifier()
    for event in stream:
        verifier.apply(event)
        if not verifier.running:
            continue
        for owner in (None, "s1", "s2", "s3"):
            copy = _copied(verifier)
            ends = copy.closing(owner)
            for one in ends:
                copy.apply(one)
            left = [item for item in copy.open if owner in (None, item.owner) or item.id == owner]
            building = {line.id for line in copy._run.lines.values()}
            assert [item for item in left if item.id not in building and item.kind != "subagent"] == []
            if owner is None:
                copy.apply(e.RunFinished(thread_id=copy.thread_id or "", run_id=copy.run_id or ""))


def _copied(verifier: Verifier) -> Verifier:
    copy = Verifier()
    copy._phase, copy._count = verifier._phase, verifier._count
    copy._activities = dict(verifier._activities)
    run = verifier._run
    copy._run = msgspec.structs.replace(
        run, open=dict(run.open), owners=dict(run.owners), subagents=dict(run.subagents), lines=dict(run.lines)
    )
    return copy


@settings(max_examples=200, deadline=None)
@given(events=on_the_wire())
def test_nothing_but_its_own_error_comes_of_any_stream(events: list[dict[str, Any]]) -> None:
    try:
        verify(events)
    except IllegalStream:
        pass


# --- what it tells ---------------------------------------------------------------------------------------------------


def test_it_tells_where_a_stream_stands() -> None:
    verifier = Verifier()
    assert (verifier.running, verifier.finished, verifier.run_id, verifier.open) == (False, False, None, ())
    verifier.apply(e.RunStarted(thread_id="t", run_id="r"))
    verifier.apply(e.SubagentStarted(subagent_run_id="a", name="n"))
    verifier.apply(e.TextMessageStart(message_id="m", subagent_run_id="a"))
    verifier.apply(e.StepStarted(step_name="s"))
    assert (verifier.running, verifier.finished, verifier.run_id, verifier.thread_id) == (True, False, "r", "t")
    assert [str(item) for item in verifier.open] == ["subagent 'a'", "text message 'm' of subagent 'a'", "step 's'"]
    assert verifier.closing("a", outcome=e.SubagentSuspended()) == [
        e.TextMessageEnd(message_id="m", subagent_run_id="a"),
        e.SubagentFinished(subagent_run_id="a", outcome=e.SubagentSuspended()),
    ]
    verifier.apply(e.RunError(message="x"))
    assert (verifier.running, verifier.finished, verifier.open) == (False, True, ())
    verifier.end()


def test_what_chunks_build_ends_by_itself() -> None:
    verifier = Verifier()
    verifier.apply(e.RunStarted(thread_id="t", run_id="r"))
    verifier.apply(e.TextMessageChunk(message_id="m", delta="a"))
    assert [item.id for item in verifier.open] == ["m"]
    assert verifier.closing() == []
    verifier.apply(e.RunFinished(thread_id="t", run_id="r"))


def test_an_owner_that_a_snapshot_says_anew_is_the_one_that_ends() -> None:
    verifier = Verifier()
    verifier.apply(e.RunStarted(thread_id="t", run_id="r"))
    verifier.apply(e.TextMessageStart(message_id="m", subagent_run_id="a"))
    verifier.apply(e.MessagesSnapshot(messages=[{"id": "m", "role": "assistant", "subagentRunId": "b"}]))
    (end,) = verifier.closing()
    assert end == e.TextMessageEnd(message_id="m", subagent_run_id="b")
    verifier.apply(end)


async def test_a_stream_is_verified_as_it_goes() -> None:
    taken: list[str] = []

    async def source() -> AsyncIterator[dict[str, Any]]:
        for event in (START, OPENED, FINISH):
            yield event

    async def follow() -> None:
        async for event in verified(source()):
            taken.append(event.type)

    with pytest.raises(IllegalStream) as refused:
        await follow()
    assert refused.value.details["rule"] == "left_open"
    assert taken == ["RUN_STARTED", "TEXT_MESSAGE_START"]


async def test_a_verified_stream_that_breaks_off() -> None:
    async def source() -> AsyncIterator[dict[str, Any]]:
        yield START

    assert [event.type async for event in verified(source(), complete=False)] == ["RUN_STARTED"]
    with pytest.raises(IllegalStream, match="has not ended"):
        assert [event async for event in verified(source())]


def test_models_of_the_official_package_are_taken() -> None:
    verify([RunStartedEvent(thread_id="t", run_id="r"), RunFinishedEvent(thread_id="t", run_id="r")])
    assert from_wire(RunStartedEvent(thread_id="t", run_id="r")) == e.RunStarted(thread_id="t", run_id="r")
