"""What older peers read: each type of event and each part that they do not take, tried with a real client before 1.0."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from godwit.surfaces.agui import adapt, events as e, profile_of, wire
from godwit.surfaces.agui.events import EVENT_TYPES, AnyEvent
from godwit.surfaces.agui.profiles import Profile

from .judge import Judge, judge
from .streams import ANY_EVENT, streams

__all__ = ["judge"]

IDS: dict[str, Any] = {"thread_id": "t", "run_id": "r"}
START = {"type": "RUN_STARTED", "threadId": "t", "runId": "r"}
IMAGE = {"type": "image", "source": {"type": "url", "value": "https://example.com/a.png", "mimeType": "image/png"}}
FILE = {"type": "document", "source": {"type": "file", "value": "file_1", "provider": "openai"}}
INLINE = {"type": "audio", "source": {"type": "data", "value": "AAAA", "mimeType": "audio/wav"}}


def sent(event: AnyEvent, profile: Profile) -> list[dict[str, Any]]:
    return [msgspec.json.decode(one) for one in wire(event, profile)]


@pytest.mark.parametrize(("version", "profile"), [(None, "0.x"), ("1.0", "1.0"), ("1.1", "1.0"), ("2.0", "1.0")])
def test_who_says_no_version_is_from_before_there_was_one(version: str | None, profile: Profile) -> None:
    assert profile_of(version) == profile


@settings(max_examples=100, deadline=None)
@given(event=ANY_EVENT)
def test_today_an_event_is_itself(event: AnyEvent) -> None:
    assert wire(event) == [e.encode(event)]
    assert adapt(event, "1.0") == [event]


# --- before 1.0 ------------------------------------------------------------------------------------------------------


def test_a_stopped_run_is_a_failure_that_says_so() -> None:
    event = e.RunFinished(**IDS, outcome=e.Cancelled(), usage=[e.TokenUsage(input_tokens=1)], timestamp=7)
    assert sent(event, "0.x") == [
        {
            "type": "RUN_ERROR",
            "message": "The run was cancelled.",
            "code": "cancelled",
            "usage": [{"inputTokens": 1}],
            "timestamp": 7,
        }
    ]


def test_calls_for_the_front_end_are_not_named() -> None:
    event = e.RunFinished(**IDS, outcome=e.Success(pending_tool_call_ids=["c"]), result=1)
    assert sent(event, "0.x") == [
        {"type": "RUN_FINISHED", "threadId": "t", "runId": "r", "outcome": {"type": "success"}, "result": 1}
    ]


def test_parts_of_a_result_are_text_with_notes_of_what_is_none() -> None:
    parts: list[dict[str, Any]] = [{"type": "text", "text": "Here:"}, IMAGE, FILE, INLINE]
    event = e.ToolCallResult(message_id="m", tool_call_id="c", content=parts)
    text = "Here:\n[image image/png https://example.com/a.png]\n[document]\n[audio audio/wav]"
    (one,) = sent(event, "0.x")
    assert one["content"] == text
    snapshot = e.MessagesSnapshot(messages=[{"id": "m", "role": "tool", "toolCallId": "c", "content": parts}])
    (one,) = sent(snapshot, "0.x")
    assert one["messages"][0]["content"] == text


def test_a_persons_message_keeps_its_parts_but_for_files_of_a_provider() -> None:
    message = {"id": "m", "role": "user", "content": [IMAGE, FILE]}
    wanted = {**message, "content": [IMAGE, {"type": "text", "text": "[document]"}]}
    (one,) = sent(e.MessagesSnapshot(messages=[message]), "0.x")
    assert one["messages"] == [wanted]
    given_input = {"threadId": "t", "runId": "r", "messages": [message], "protocolVersion": "1.0"}
    (one,) = sent(e.RunStarted(**IDS, input=given_input), "0.x")
    assert one["input"] == {**given_input, "messages": [wanted], "tools": [], "context": []}


REJECTED: list[AnyEvent] = [
    e.RunFinished(**IDS, outcome=e.Cancelled()),
    e.RunFinished(**IDS, outcome=e.Success(pending_tool_call_ids=["c"])),
    e.ToolCallResult(message_id="m", tool_call_id="c", content=[{"type": "text", "text": "x"}]),
    e.MessagesSnapshot(messages=[{"id": "m", "role": "tool", "toolCallId": "c", "content": [IMAGE]}]),
    e.MessagesSnapshot(messages=[{"id": "m", "role": "user", "content": [FILE]}]),
]


@pytest.mark.parametrize("event", REJECTED, ids=lambda one: one.type)
def test_an_old_client_rejects_it_as_it_is_and_takes_it_as_adapted(judge: Judge, event: AnyEvent) -> None:
    """Otherwise the adaption would be needless."""
    assert judge("new", [START, *sent(event, "1.0")]).at is None
    assert judge("old", [START, *sent(event, "1.0")]).at == 1
    assert judge("old", [START, *sent(event, "0.x")]).at is None


def test_an_old_client_rejects_an_input_without_tools(judge: Judge) -> None:
    event = e.RunStarted(**IDS, input={"threadId": "t", "runId": "r", "messages": []})
    assert judge("old", sent(event, "1.0")).at == 0
    assert judge("old", sent(event, "0.x")).at is None


def _full() -> list[AnyEvent]:
    """Each type with all of its fields, in an order that may be sent."""
    more: dict[str, Any] = {"timestamp": 1, "raw_event": {"n": 1}, "metadata": {"k": None}}
    owned = {**more, "subagent_run_id": "s"}
    counts: dict[str, Any] = {name: 1 for name in e.TokenUsage.__struct_fields__ if name.endswith("tokens")}
    usage = [e.TokenUsage(provider="p", model="m", **counts)]
    given_input: dict[str, Any] = {
        "threadId": "t",
        "runId": "r",
        "protocolVersion": "1.0",
        "parentRunId": "p",
        "state": {},
        "messages": [{"id": "u", "role": "user", "content": "Hi", "name": "Ann", "metadata": {}, "encryptedValue": "e"}],
        "tools": [{"name": "t", "description": "d", "parameters": {}, "metadata": {}}],
        "context": [{"description": "d", "value": "v"}],
        "forwardedProps": {},
        "resume": [{"interruptId": "i", "status": "resolved", "payload": 1, "metadata": {}}],
    }
    interrupt = e.Interrupt(
        id="i",
        reason="confirmation",
        message="m",
        tool_call_id="c",
        response_schema={},
        expires_at="2026-11-27T00:00:00Z",
        metadata={},
        subagent_run_id="s",
    )
    patch = [{"op": "replace", "path": "", "value": {}}]
    return [
        e.RunStarted(**IDS, **more, protocol_version="1.0", parent_run_id="p", input=given_input),
        e.SubagentStarted(
            subagent_run_id="s0", name="n", description="d", parent_tool_call_id="c", parent_message_id="m", **more
        ),
        e.SubagentStarted(subagent_run_id="s", name="n", parent_subagent_run_id="s0", **more),
        e.StepStarted(step_name="s", **owned),
        e.TextMessageStart(message_id="m", role="developer", name="n", **owned),
        e.TextMessageContent(message_id="m", delta="", **owned),
        e.TextMessageEnd(message_id="m", **owned),
        e.TextMessageChunk(message_id="m2", role="user", delta="x", name="n", **owned),
        e.ToolCallStart(tool_call_id="c", tool_call_name="f", parent_message_id="m", **owned),
        e.ToolCallArgs(tool_call_id="c", delta="", **owned),
        e.ToolCallEnd(tool_call_id="c", **owned),
        e.ToolCallChunk(tool_call_id="c2", tool_call_name="f", parent_message_id="m", delta="x", **owned),
        e.ToolCallResult(message_id="r", tool_call_id="c", content="x", **owned),
        e.StateSnapshot(snapshot=None, **owned),
        e.StateDelta(delta=patch, **owned),
        e.MessagesSnapshot(messages=given_input["messages"], **more),
        e.ActivitySnapshot(message_id="a", activity_type="t", content={}, replace=False, **owned),
        e.ActivityDelta(message_id="a", activity_type="t", patch=patch, **owned),
        e.ReasoningStart(message_id="m3", **owned),
        e.ReasoningMessageStart(message_id="m3", **owned),
        e.ReasoningMessageContent(message_id="m3", delta="", **owned),
        e.ReasoningMessageEnd(message_id="m3", **owned),
        e.ReasoningMessageChunk(message_id="m4", delta="x", **owned),
        e.ReasoningEnd(message_id="m3", **owned),
        e.ReasoningEncryptedValue(subtype="message", entity_id="m3", encrypted_value="e", **owned),
        e.Raw(event={}, source="x", **owned),
        e.Custom(name="n", value=None, **owned),
        e.StepFinished(step_name="s", **owned),
        e.SubagentFinished(subagent_run_id="s", result=1, outcome=e.SubagentSuspended(interrupt_ids=["i"]), **more),
        e.SubagentError(subagent_run_id="s0", message="m", code="c", **more),
        e.RunFinished(**IDS, **more, result=1, outcome=e.Interrupted(interrupts=[interrupt]), usage=usage),
        e.RunError(message="m", code="c", usage=usage, **more),
    ]


@pytest.mark.parametrize(("client", "profile"), [("new", "1.0"), ("old", "0.x")])
def test_every_type_with_all_of_its_fields_is_taken(judge: Judge, client: Any, profile: Profile) -> None:
    full = _full()
    assert {type(event) for event in full} == set(EVENT_TYPES.values())
    verdict = judge(client, [one for event in full for one in sent(event, profile)])
    assert verdict.at is None, verdict


# --- the seed --------------------------------------------------------------------------------------------------------

SEED_TYPES = {
    *(f"TEXT_MESSAGE_{part}" for part in ("START", "CONTENT", "END", "CHUNK")),
    *(f"THINKING_TEXT_MESSAGE_{part}" for part in ("START", "CONTENT", "END")),
    *("THINKING_START", "THINKING_END"),
    *(f"TOOL_CALL_{part}" for part in ("START", "ARGS", "END", "CHUNK", "RESULT")),
    *("STATE_SNAPSHOT", "STATE_DELTA", "MESSAGES_SNAPSHOT", "ACTIVITY_SNAPSHOT", "ACTIVITY_DELTA", "RAW", "CUSTOM"),
    *("RUN_STARTED", "RUN_FINISHED", "RUN_ERROR", "STEP_STARTED", "STEP_FINISHED"),
}


@settings(max_examples=200, deadline=None)
@given(stream=streams(legal=True))
def test_the_seed_gets_no_type_and_no_field_that_it_did_not_have(stream: list[AnyEvent]) -> None:
    assert len(SEED_TYPES) == 26
    for event in [*stream, *_full()]:
        for one in sent(event, "seed"):
            assert one["type"] in SEED_TYPES
            assert not {"subagentRunId", "metadata", "protocolVersion", "parentRunId", "input", "usage"} & set(one)
            assert one.get("outcome") in (None, "INTERRUPT")


def test_the_seeds_thoughts_have_a_title_and_no_ids() -> None:
    thoughts: list[AnyEvent] = [
        e.ReasoningStart(message_id="a", metadata={"title": "Planning"}),
        e.ReasoningMessageStart(message_id="b"),
        e.ReasoningMessageContent(message_id="b", delta=""),
        e.ReasoningMessageEnd(message_id="b"),
        e.ReasoningEnd(message_id="a"),
        e.ReasoningStart(message_id="a"),
        e.ReasoningMessageChunk(message_id="c", delta="x"),
        e.ReasoningMessageChunk(delta=""),
        e.ReasoningEncryptedValue(subtype="message", entity_id="b", encrypted_value="e"),
    ]
    assert [one for event in thoughts for one in sent(event, "seed")] == [
        {"type": "THINKING_START", "title": "Planning"},
        {"type": "THINKING_TEXT_MESSAGE_START"},
        {"type": "THINKING_TEXT_MESSAGE_CONTENT", "delta": ""},
        {"type": "THINKING_TEXT_MESSAGE_END"},
        {"type": "THINKING_END"},
        {"type": "THINKING_START"},
        {"type": "THINKING_TEXT_MESSAGE_START"},
        {"type": "THINKING_TEXT_MESSAGE_CONTENT", "delta": "x"},
        {"type": "THINKING_TEXT_MESSAGE_END"},
    ]


def test_the_seed_has_no_outcome_for_a_success_and_a_word_for_an_interrupt() -> None:
    done = {"type": "RUN_FINISHED", "threadId": "t", "runId": "r"}
    for outcome in (None, e.Success(), e.Success(pending_tool_call_ids=["c"])):
        assert sent(e.RunFinished(**IDS, outcome=outcome, result=1), "seed") == [{**done, "result": 1}]
    one = e.Interrupt(id="i", reason="why", metadata={"payload": {"a": 1}})
    assert sent(e.RunFinished(**IDS, outcome=e.Interrupted(interrupts=[one])), "seed") == [
        {**done, "outcome": "INTERRUPT", "interrupt": {"id": "i", "reason": "why", "payload": {"a": 1}}}
    ]
    said = e.Interrupt(id="i", reason="why", message="Send it?", response_schema={"type": "boolean"})
    (finished,) = sent(e.RunFinished(**IDS, outcome=e.Interrupted(interrupts=[said])), "seed")
    assert finished["interrupt"]["payload"] == {"message": "Send it?", "responseSchema": {"type": "boolean"}}
    assert sent(e.RunFinished(**IDS, outcome=e.Cancelled()), "seed") == [
        {"type": "RUN_ERROR", "message": "The run was cancelled.", "code": "cancelled"}
    ]


def test_of_several_interrupts_the_seed_gets_the_first_with_all_in_its_payload() -> None:
    both = [e.Interrupt(id="i", reason="x", metadata={"payload": 1}), e.Interrupt(id="j", reason="y")]
    (finished,) = sent(e.RunFinished(**IDS, outcome=e.Interrupted(interrupts=both)), "seed")
    assert finished["interrupt"] == {
        "id": "i",
        "reason": "x",
        "payload": {"interrupts": [{"id": "i", "reason": "x", "metadata": {"payload": 1}}, {"id": "j", "reason": "y"}]},
    }


def test_the_seeds_messages_have_no_owners_and_no_reasoning() -> None:
    messages: list[dict[str, Any]] = [
        {"id": "a", "role": "assistant", "content": "x", "subagentRunId": "s", "metadata": {}, "encryptedValue": "e"},
        {"id": "b", "role": "reasoning", "content": "x"},
    ]
    (one,) = sent(e.MessagesSnapshot(messages=messages), "seed")
    assert one["messages"] == [{"id": "a", "role": "assistant", "content": "x"}]


def test_comings_and_goings_of_subagents_are_not_told_to_the_seed() -> None:
    assert sent(e.SubagentStarted(subagent_run_id="s", name="n"), "seed") == []
    assert sent(e.SubagentFinished(subagent_run_id="s"), "seed") == []
    assert sent(e.SubagentError(subagent_run_id="s", message="m"), "seed") == []
    (one,) = sent(e.TextMessageEnd(message_id="m", subagent_run_id="s"), "seed")
    assert one == {"type": "TEXT_MESSAGE_END", "messageId": "m"}
