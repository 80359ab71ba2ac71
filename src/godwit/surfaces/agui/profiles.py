"""What older peers read in place of an event of version 1.0.

`1.0`: what the protocol says. `0.x`: what clients before 1.0 take, tried with the last of them (0.0.59); they send no
`protocolVersion`, and one thing that they do not know ends their run. `seed`: the shapes of the crate `syncable-ag-ui` 0.2,
which was there before subagents, reasoning and outcomes. What cannot be said there is said as near to it as it can be, and
what cannot be said at all is left out: each function says what.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from .events import (
    AnyEvent,
    Attributable,
    Cancelled,
    Event,
    Interrupt,
    Interrupted,
    MessagesSnapshot,
    ReasoningEncryptedValue,
    ReasoningEnd,
    ReasoningMessageChunk,
    ReasoningMessageContent,
    ReasoningMessageEnd,
    ReasoningMessageStart,
    ReasoningStart,
    RunError,
    RunFinished,
    RunStarted,
    SubagentError,
    SubagentFinished,
    SubagentStarted,
    Success,
    ToolCallResult,
    encode,
)
from .seed_events import (
    SeedInterrupt,
    SeedRunFinished,
    ThinkingEnd,
    ThinkingStart,
    ThinkingTextMessageContent,
    ThinkingTextMessageEnd,
    ThinkingTextMessageStart,
)

Profile = Literal["1.0", "0.x", "seed"]

CANCELLED: Final = "cancelled"
"""Code of the RUN_ERROR by which a client before 1.0 learns that its run was stopped."""
TITLE: Final = "title"
"""Key of a reasoning span's metadata: what it is headed with. Version 1.0 has no field for that."""
PAYLOAD: Final = "payload"
"""Key of an interrupt's metadata: what its producer gave with it. Version 1.0 has no field for that."""


def profile_of(protocol_version: str | None) -> Profile:
    """What a client reads that has sent this `protocolVersion`; those before 1.0 send none."""
    return "0.x" if protocol_version is None else "1.0"


def wire(event: AnyEvent, profile: Profile = "1.0") -> list[bytes]:
    """What is sent for an event: JSON objects, mostly one."""
    return [encode(event)] if profile == "1.0" else [encode(one) for one in adapt(event, profile)]


def adapt(event: AnyEvent, profile: Profile) -> list[Event]:
    """The events that stand for this one in a profile; none where there is nothing to say it with."""
    match profile:
        case "1.0":
            return [event]
        case "0.x":
            return [_older(event)]
        case "seed":
            return [_bare(one) for one in _seed(event)]


# --- before 1.0 ----------------------------------------------------------------------------------------------------------


def _older(event: AnyEvent) -> AnyEvent:
    """A run that was stopped is a RUN_ERROR of code `cancelled`, for a success would not be true; after that it cannot fail
    late. Calls that wait for the front end are not named; such clients find them by themselves. Content parts of tools
    become text, and files that are only at their provider a note."""
    match event:
        case RunFinished(outcome=Cancelled()):
            return RunError(
                message="The run was cancelled.",
                code=CANCELLED,
                usage=event.usage,
                timestamp=event.timestamp,
                raw_event=event.raw_event,
                metadata=event.metadata,
            )
        case RunFinished(outcome=Success(pending_tool_call_ids=list())):
            return msgspec.structs.replace(event, outcome=Success())
        case ToolCallResult(content=list() as parts):
            return msgspec.structs.replace(event, content=text_of(parts))
        case MessagesSnapshot(messages=messages):
            return msgspec.structs.replace(event, messages=[_older_message(one) for one in messages])
        case RunStarted(input=dict() as given):
            return msgspec.structs.replace(event, input=_older_input(given))
        case _:
            return event


def _older_message(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if not isinstance(content, list):
        return message
    if message.get("role") == "tool":
        return {**message, "content": text_of(content)}
    return {**message, "content": [_older_part(part) for part in content]}


def _older_part(part: dict[str, Any]) -> dict[str, Any]:
    source = part.get("source")
    if isinstance(source, Mapping) and source.get("type") == "file":
        return {"type": "text", "text": text_of([part])}
    return part


def _older_input(given: dict[str, Any]) -> dict[str, Any]:
    """`tools` and `context` had to be there."""
    messages = [_older_message(one) for one in given.get("messages", ())]
    return {"tools": [], "context": [], **given, "messages": messages}


def text_of(parts: list[dict[str, Any]]) -> str:
    """Content parts as one text: what is no text as a note of what it was, so that nothing is lost unseen."""
    return "\n".join(part["text"] if part.get("type") == "text" else _note(part) for part in parts)


def _note(part: dict[str, Any]) -> str:
    source = part.get("source") or {}
    told = [str(part.get("type")), source.get("mimeType"), source.get("value") if source.get("type") == "url" else None]
    return f"[{' '.join(word for word in told if word)}]"


# --- the seed ------------------------------------------------------------------------------------------------------------


def _seed(event: AnyEvent) -> list[Event]:
    """Reasoning is thinking, without ids, and a span's title is in its metadata. A chunk of reasoning is a whole message
    of thinking. Encrypted reasoning and the comings and goings of subagents have no place; what these say is the agent's."""
    match event:
        case RunStarted():
            # Input has no shape there that ours is sure to have.
            return [msgspec.structs.replace(event, protocol_version=None, parent_run_id=None, input=None)]
        case RunFinished(outcome=Cancelled()):
            return [RunError(message="The run was cancelled.", code=CANCELLED, timestamp=event.timestamp)]
        case RunFinished():
            return [_seed_finished(event)]
        case RunError():
            return [msgspec.structs.replace(event, usage=None)]
        case ReasoningStart(metadata=metadata):
            title = (metadata or {}).get(TITLE)
            return [ThinkingStart(title=title if isinstance(title, str) else None, timestamp=event.timestamp)]
        case ReasoningEnd():
            return [ThinkingEnd(timestamp=event.timestamp)]
        case ReasoningMessageStart():
            return [ThinkingTextMessageStart(timestamp=event.timestamp)]
        case ReasoningMessageContent(delta=delta):
            return [ThinkingTextMessageContent(delta=delta, timestamp=event.timestamp)]
        case ReasoningMessageEnd():
            return [ThinkingTextMessageEnd(timestamp=event.timestamp)]
        case ReasoningMessageChunk(delta=delta):
            content = ThinkingTextMessageContent(delta=delta or "", timestamp=event.timestamp)
            return [ThinkingTextMessageStart(), content, ThinkingTextMessageEnd()] if delta else []
        case ReasoningEncryptedValue() | SubagentStarted() | SubagentFinished() | SubagentError():
            return []
        case MessagesSnapshot(messages=messages):
            kept = [_seed_message(one) for one in messages if one.get("role") != "reasoning"]
            return [msgspec.structs.replace(event, messages=kept)]
        case _:
            return [_older(event)]


def _bare(event: Event) -> Event:
    """Without what no event had there."""
    if isinstance(event, Attributable) and event.subagent_run_id is not None:
        event = msgspec.structs.replace(event, subagent_run_id=None)
    return event if event.metadata is None else msgspec.structs.replace(event, metadata=None)


def _seed_message(message: dict[str, Any]) -> dict[str, Any]:
    left_out = ("subagentRunId", "metadata", "encryptedValue")
    return {key: value for key, value in _older_message(message).items() if key not in left_out}


def _seed_finished(event: RunFinished) -> SeedRunFinished:
    interrupt = seed_interrupt(event.outcome.interrupts) if isinstance(event.outcome, Interrupted) else None
    return SeedRunFinished(
        thread_id=event.thread_id,
        run_id=event.run_id,
        result=event.result,
        outcome=None if interrupt is None else "INTERRUPT",
        interrupt=interrupt,
        timestamp=event.timestamp,
        raw_event=event.raw_event,
    )


def seed_interrupt(interrupts: list[Interrupt]) -> SeedInterrupt:
    """There is room for one: the first gives id and reason. Its payload is what its producer gave with it, or else what it
    says besides. Of several, the payload is `{"interrupts": [...]}` with all of them as version 1.0 writes them."""
    first = interrupts[0]
    payload: Any = (first.metadata or {}).get(PAYLOAD)
    if len(interrupts) > 1:
        payload = {"interrupts": msgspec.to_builtins(interrupts)}
    elif payload is None:
        said = msgspec.to_builtins(first)
        payload = {key: said[key] for key in ("message", "toolCallId", "responseSchema", "expiresAt") if key in said} or None
    return SeedInterrupt(id=first.id, reason=first.reason, payload=payload)
