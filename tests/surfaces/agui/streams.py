"""Random streams of events: mostly legal, with few ids that meet again and again, and faults where they are asked for."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from godwit.core.errors import IllegalStream
from godwit.surfaces.agui import events as e
from godwit.surfaces.agui.events import AnyEvent
from godwit.surfaces.agui.verifier import Verifier

THREAD = "thread"
IDS = st.sampled_from(["a", "b", "c"])
RUNS = st.sampled_from(["run-1", "run-2"])
TAGS = st.sampled_from([None, None, None, "s1", "s2"])
SUBAGENTS = st.sampled_from(["s1", "s2", "s3"])
TEXT = st.sampled_from(["", "word"])
ANYTHING = st.sampled_from([None, 1, "x", [1], {"a": None}])
METADATA = st.sampled_from([None, None, {"key": None}])
RAW = st.sampled_from([None, None, None, {"native": 1}])
SOURCES = st.sampled_from(
    [
        {"type": "url", "value": "https://example.com/a.png"},
        {"type": "data", "value": "AAAA", "mimeType": "image/png"},
        {"type": "file", "value": "file_1", "provider": "openai"},
    ]
)
PARTS = st.lists(
    st.one_of(
        st.just({"type": "text", "text": "words", "id": "p1"}),
        st.builds(
            lambda kind, source: {"type": kind, "source": source},
            st.sampled_from(["image", "audio", "video", "document"]),
            SOURCES,
        ),
    ),
    max_size=2,
)
PATCH = st.sampled_from(
    [
        [],
        [{"op": "add", "path": "/a", "value": None}, {"op": "test", "path": "", "value": 1}],
        [{"op": "move", "from": "/a", "path": "/b~1c"}, {"op": "remove", "path": "/x", "value": 2}],
    ]
)
USAGE = st.sampled_from([None, [e.TokenUsage(provider="p", input_tokens=3, cache_write_input_tokens=0)]])


def _message(role: str, owner: str | None, name: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    message: dict[str, Any] = {"id": name, "role": role}
    if owner is not None:
        message["subagentRunId"] = owner
    match role:
        case "assistant":
            message["toolCalls"] = [{"id": name, "type": "function", "function": {"name": "f", "arguments": "{}"}}]
        case "activity":
            message |= {"activityType": "plan", "content": {}}
        case "tool":
            message |= {"toolCallId": name, "content": content or "done"}
        case "user":
            message |= {"content": content}
        case _:
            message |= {"content": "words"}
    return message


ROLES = st.sampled_from(["developer", "system", "assistant", "user", "tool", "activity", "reasoning"])
MESSAGES = st.lists(st.builds(_message, ROLES, TAGS, IDS, PARTS), max_size=3)


@st.composite
def _inputs(draw: st.DrawFn) -> dict[str, Any] | None:
    if draw(st.booleans()):
        return None
    given: dict[str, Any] = {"threadId": THREAD, "runId": "run-1", "messages": draw(MESSAGES)}
    if draw(st.booleans()):
        given |= {"tools": [{"name": "t", "description": "d"}], "context": [{"description": "d", "value": "v"}]}
        given |= {"resume": [{"interruptId": "i", "status": "resolved", "payload": {"ok": True}}], "state": None}
    return given


INTERRUPTS = st.lists(
    st.builds(lambda name, tag: e.Interrupt(id=name, reason="confirmation", subagent_run_id=tag), IDS, TAGS),
    min_size=1,
    max_size=2,
    unique_by=lambda one: one.id,
)
OUTCOMES = st.one_of(
    st.none(),
    st.builds(e.Success, pending_tool_call_ids=st.sampled_from([None, [], ["a"]])),
    st.builds(e.Interrupted, interrupts=INTERRUPTS),
    st.just(e.Cancelled()),
)
SUBAGENT_OUTCOMES = st.sampled_from([None, e.SubagentSuccess(), e.SubagentSuspended(interrupt_ids=["i"])])
KINDS: list[st.SearchStrategy[AnyEvent]] = [
    st.builds(e.RunStarted, thread_id=st.just(THREAD), run_id=RUNS, input=_inputs(), protocol_version=st.just("1.0")),
    st.builds(e.RunFinished, thread_id=st.just(THREAD), run_id=RUNS, outcome=OUTCOMES, usage=USAGE),
    st.builds(e.RunError, message=TEXT, usage=USAGE),
    st.builds(e.StepStarted, step_name=IDS, subagent_run_id=TAGS),
    st.builds(e.StepFinished, step_name=IDS, subagent_run_id=TAGS),
    st.builds(e.TextMessageStart, message_id=IDS, subagent_run_id=TAGS, metadata=METADATA),
    st.builds(e.TextMessageContent, message_id=IDS, delta=TEXT, subagent_run_id=TAGS),
    st.builds(e.TextMessageEnd, message_id=IDS, subagent_run_id=TAGS),
    st.builds(
        e.TextMessageChunk,
        message_id=st.one_of(st.none(), IDS),
        role=st.sampled_from([None, None, "assistant", "user"]),
        name=st.sampled_from([None, None, "n"]),
        delta=st.one_of(st.none(), TEXT),
        subagent_run_id=TAGS,
        metadata=METADATA,
        raw_event=RAW,
    ),
    st.builds(
        e.ToolCallStart,
        tool_call_id=IDS,
        tool_call_name=TEXT,
        parent_message_id=st.one_of(st.none(), IDS),
        subagent_run_id=TAGS,
    ),
    st.builds(e.ToolCallArgs, tool_call_id=IDS, delta=TEXT, subagent_run_id=TAGS),
    st.builds(e.ToolCallEnd, tool_call_id=IDS, subagent_run_id=TAGS),
    st.builds(
        e.ToolCallChunk,
        tool_call_id=st.one_of(st.none(), IDS),
        tool_call_name=st.sampled_from([None, "f", "g"]),
        parent_message_id=st.one_of(st.none(), st.none(), IDS),
        delta=st.one_of(st.none(), TEXT),
        subagent_run_id=TAGS,
        metadata=METADATA,
        raw_event=RAW,
    ),
    st.builds(e.ToolCallResult, message_id=IDS, tool_call_id=IDS, content=st.one_of(TEXT, PARTS), subagent_run_id=TAGS),
    st.builds(e.StateSnapshot, snapshot=ANYTHING, subagent_run_id=TAGS),
    st.builds(e.StateDelta, delta=PATCH, subagent_run_id=TAGS),
    st.builds(e.MessagesSnapshot, messages=MESSAGES),
    st.builds(
        e.ActivitySnapshot,
        message_id=IDS,
        activity_type=TEXT,
        content=st.just({"a": 1}),
        replace=st.sampled_from([None, True, False]),
        subagent_run_id=TAGS,
    ),
    st.builds(e.ActivityDelta, message_id=IDS, activity_type=TEXT, patch=PATCH, subagent_run_id=TAGS),
    st.builds(e.ReasoningStart, message_id=IDS, subagent_run_id=TAGS),
    st.builds(e.ReasoningEnd, message_id=IDS, subagent_run_id=TAGS),
    st.builds(e.ReasoningMessageStart, message_id=IDS, subagent_run_id=TAGS),
    st.builds(e.ReasoningMessageContent, message_id=IDS, delta=TEXT, subagent_run_id=TAGS),
    st.builds(e.ReasoningMessageEnd, message_id=IDS, subagent_run_id=TAGS),
    st.builds(
        e.ReasoningMessageChunk,
        message_id=st.one_of(st.none(), IDS),
        delta=st.one_of(st.none(), TEXT),
        subagent_run_id=TAGS,
        metadata=METADATA,
        raw_event=RAW,
    ),
    st.builds(
        e.ReasoningEncryptedValue,
        subtype=st.sampled_from(["tool-call", "message"]),
        entity_id=IDS,
        encrypted_value=TEXT,
        subagent_run_id=TAGS,
    ),
    st.builds(
        e.SubagentStarted,
        subagent_run_id=SUBAGENTS,
        name=TEXT,
        parent_subagent_run_id=st.one_of(st.none(), SUBAGENTS),
        parent_tool_call_id=st.one_of(st.none(), IDS),
    ),
    st.builds(e.SubagentFinished, subagent_run_id=SUBAGENTS, outcome=SUBAGENT_OUTCOMES, result=ANYTHING),
    st.builds(e.SubagentError, subagent_run_id=SUBAGENTS, message=TEXT),
    st.builds(e.Raw, event=ANYTHING, source=st.sampled_from([None, "x"]), subagent_run_id=TAGS),
    st.builds(e.Custom, name=TEXT, value=ANYTHING, subagent_run_id=TAGS),
]
ANY_EVENT: st.SearchStrategy[AnyEvent] = st.one_of(KINDS)


@st.composite
def streams(draw: st.DrawFn, *, legal: bool = False, length: int = 24) -> list[AnyEvent]:
    """Events of which most follow the rules, or all with `legal`; then the stream is complete too."""
    verifier = Verifier()
    stream: list[AnyEvent] = [e.RunStarted(thread_id=THREAD, run_id="run-1")]
    if legal or draw(st.integers(0, 9)):
        verifier.apply(stream[0])
    else:
        stream.clear()
    for event in draw(st.lists(ANY_EVENT, max_size=length)):
        try:
            verifier.apply(event)
        except IllegalStream:
            if legal or draw(st.integers(0, 7)):
                continue
        stream.append(event)
    if verifier.running and (legal or draw(st.booleans())):
        ending = verifier.closing()
        ending.append(e.RunFinished(thread_id=THREAD, run_id=verifier.run_id or "run-1", outcome=draw(OUTCOMES)))
        for event in ending:
            verifier.apply(event)
        stream += ending
    return stream


@st.composite
def on_the_wire(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Such a stream as JSON objects, now and then with one of them damaged."""
    sent = [msgspec.json.decode(e.encode(event)) for event in draw(streams())]
    if sent and not draw(st.integers(0, 2)):
        _damage(draw, draw(st.sampled_from(sent)))
    return sent


def _damage(draw: st.DrawFn, event: dict[str, Any]) -> None:
    inner = [event]
    for value in event.values():
        parts = value if isinstance(value, list) else [value]
        inner += [part for part in parts if isinstance(part, dict) and part]
    part = draw(st.sampled_from(inner))
    where = draw(
        st.sampled_from(
            [*sorted(part), "timestamp", "rawEvent", "metadata", "subagentRunId", "outcome", "parentMessageId", "name"]
        )
    )
    match draw(st.sampled_from(["null", "gone", "number", "unknown", "list", "pointer"])):
        case "null":
            part[where] = None
        case "gone":
            part.pop(where, None)
        case "number":
            part[where] = -5
        case "list":
            part[where] = []
        case "pointer":
            part["path"] = draw(st.sampled_from(["no", "/a~", "/~2", "/~0~1/", "//", "/\n"]))
        case _:
            part["unknownMember"] = 1
