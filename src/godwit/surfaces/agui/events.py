"""Events of the AG-UI protocol, version 1.0: the 31 shapes that a producer sends, as data.

Owns their fields and how they are read and written as JSON. Leaves out in which order they may come (`verifier.py`) and what
older clients read instead (`profiles.py`). Names and fields are those of the protocol's schema
(https://ag-ui.com/spec/1.0/schema.json, read on 2026-11-27), in snake case here and in camel case on the wire. A field that
may be left out is None here and absent there, never null.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol, TypeAlias

import msgspec

from ...core.errors import InvalidArgument

PROTOCOL_VERSION: Final = "1.0"

TextRole = Literal["developer", "system", "assistant", "user"]
EncryptedSubtype = Literal["tool-call", "message"]


def _assistant() -> TextRole:
    return "assistant"


def _tool() -> Literal["tool"]:
    return "tool"


def _reasoning() -> Literal["reasoning"]:
    return "reasoning"


class Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of what is written in camel case, with absent fields left out."""


class Event(Shape, frozen=True, kw_only=True, tag_field="type"):
    """Base of all events. `timestamp`: in ms since 1970 UTC; `raw_event`: what it was translated from; `metadata`: whatever
    the producer wants to say with it, by key."""

    timestamp: int | None = None
    raw_event: Any = None
    metadata: dict[str, Any] | None = None

    @property
    def type(self) -> str:
        """Its type on the wire, `TEXT_MESSAGE_START` for instance."""
        return str(self.__struct_config__.tag)


class Attributable(Event, frozen=True, kw_only=True):
    """Base of events that may belong to a subagent's work; without `subagent_run_id` it is the agent's own."""

    subagent_run_id: str | None = None


# --- runs ----------------------------------------------------------------------------------------------------------------


class TokenUsage(Shape, frozen=True, kw_only=True):
    """Tokens of one model. `input_tokens` and `output_tokens` are totals; the others but for `total_tokens` are parts of
    these."""

    provider: str | None = None
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None


class Interrupt(Shape, frozen=True, kw_only=True):
    """What a run needs from outside before it can go on. `response_schema`: JSON schema of the answer; `expires_at`: when it
    can be answered no more, in ISO 8601."""

    id: str
    reason: str
    message: str | None = None
    tool_call_id: str | None = None
    response_schema: dict[str, Any] | None = None
    expires_at: str | None = None
    metadata: dict[str, Any] | None = None
    subagent_run_id: str | None = None


class Success(Shape, frozen=True, kw_only=True, tag="success", tag_field="type"):
    """The run is done. `pending_tool_call_ids`: calls of the front end's own tools that it is to answer, in order."""

    pending_tool_call_ids: list[str] | None = None


class Interrupted(Shape, frozen=True, kw_only=True, tag="interrupt", tag_field="type"):
    """The run waits for what these ask for: one at least."""

    interrupts: list[Interrupt]


class Cancelled(Shape, frozen=True, kw_only=True, tag="cancelled", tag_field="type"):
    """The run was stopped. It has no result, and nothing is waited for."""


Outcome = Success | Interrupted | Cancelled


class RunStarted(Event, frozen=True, kw_only=True, tag="RUN_STARTED"):
    """Opens a run. `input`: what it was asked with, as it came."""

    thread_id: str
    run_id: str
    protocol_version: str | None = None
    parent_run_id: str | None = None
    input: dict[str, Any] | None = None


class RunFinished(Event, frozen=True, kw_only=True, tag="RUN_FINISHED"):
    """Closes a run that has not failed. Without an `outcome` it is a success."""

    thread_id: str
    run_id: str
    result: Any = None
    outcome: Outcome | None = None
    usage: list[TokenUsage] | None = None

    @property
    def effective_outcome(self) -> Outcome:
        """Its outcome, said or not."""
        return self.outcome or Success()


class RunError(Event, frozen=True, kw_only=True, tag="RUN_ERROR"):
    """Ends a run that failed. `message`: for people; `code`: for programs."""

    message: str
    code: str | None = None
    usage: list[TokenUsage] | None = None


class StepStarted(Attributable, frozen=True, kw_only=True, tag="STEP_STARTED"):
    step_name: str


class StepFinished(Attributable, frozen=True, kw_only=True, tag="STEP_FINISHED"):
    step_name: str


# --- messages ------------------------------------------------------------------------------------------------------------


class TextMessageStart(Attributable, frozen=True, kw_only=True, tag="TEXT_MESSAGE_START"):
    message_id: str
    role: TextRole = msgspec.field(default_factory=_assistant)
    name: str | None = None


class TextMessageContent(Attributable, frozen=True, kw_only=True, tag="TEXT_MESSAGE_CONTENT"):
    message_id: str
    delta: str


class TextMessageEnd(Attributable, frozen=True, kw_only=True, tag="TEXT_MESSAGE_END"):
    message_id: str


class TextMessageChunk(Attributable, frozen=True, kw_only=True, tag="TEXT_MESSAGE_CHUNK"):
    """Start, content and end in one, for who cannot know where a message begins; what has not changed is left out."""

    message_id: str | None = None
    role: TextRole | None = None
    delta: str | None = None
    name: str | None = None


class MessagesSnapshot(Event, frozen=True, kw_only=True, tag="MESSAGES_SNAPSHOT"):
    """All messages that the producer has, in order, as the wire has them."""

    messages: list[dict[str, Any]]


# --- tool calls ----------------------------------------------------------------------------------------------------------


class ToolCallStart(Attributable, frozen=True, kw_only=True, tag="TOOL_CALL_START"):
    tool_call_id: str
    tool_call_name: str
    parent_message_id: str | None = None


class ToolCallArgs(Attributable, frozen=True, kw_only=True, tag="TOOL_CALL_ARGS"):
    tool_call_id: str
    delta: str


class ToolCallEnd(Attributable, frozen=True, kw_only=True, tag="TOOL_CALL_END"):
    tool_call_id: str


class ToolCallChunk(Attributable, frozen=True, kw_only=True, tag="TOOL_CALL_CHUNK"):
    tool_call_id: str | None = None
    tool_call_name: str | None = None
    parent_message_id: str | None = None
    delta: str | None = None


class ToolCallResult(Attributable, frozen=True, kw_only=True, tag="TOOL_CALL_RESULT"):
    """What a tool returned: text, or content parts. It becomes a message of its own, `message_id`."""

    message_id: str
    tool_call_id: str
    content: str | list[dict[str, Any]]
    role: Literal["tool"] = msgspec.field(default_factory=_tool)


# --- state and activities ------------------------------------------------------------------------------------------------


class StateSnapshot(Attributable, frozen=True, kw_only=True, tag="STATE_SNAPSHOT"):
    snapshot: Any


class StateDelta(Attributable, frozen=True, kw_only=True, tag="STATE_DELTA"):
    """`delta`: a JSON patch (RFC 6902) of the current state."""

    delta: list[dict[str, Any]]


class ActivitySnapshot(Attributable, frozen=True, kw_only=True, tag="ACTIVITY_SNAPSHOT"):
    """Progress that is no conversation. `replace` False leaves what is there already."""

    message_id: str
    activity_type: str
    content: dict[str, Any]
    replace: bool | None = None


class ActivityDelta(Attributable, frozen=True, kw_only=True, tag="ACTIVITY_DELTA"):
    """`patch`: a JSON patch (RFC 6902) of the activity's content."""

    message_id: str
    activity_type: str
    patch: list[dict[str, Any]]


# --- reasoning -----------------------------------------------------------------------------------------------------------


class ReasoningStart(Attributable, frozen=True, kw_only=True, tag="REASONING_START"):
    """Opens a span, which may hold several messages; its ids are apart from theirs."""

    message_id: str


class ReasoningMessageStart(Attributable, frozen=True, kw_only=True, tag="REASONING_MESSAGE_START"):
    message_id: str
    role: Literal["reasoning"] = msgspec.field(default_factory=_reasoning)


class ReasoningMessageContent(Attributable, frozen=True, kw_only=True, tag="REASONING_MESSAGE_CONTENT"):
    message_id: str
    delta: str


class ReasoningMessageEnd(Attributable, frozen=True, kw_only=True, tag="REASONING_MESSAGE_END"):
    message_id: str


class ReasoningMessageChunk(Attributable, frozen=True, kw_only=True, tag="REASONING_MESSAGE_CHUNK"):
    message_id: str | None = None
    delta: str | None = None


class ReasoningEnd(Attributable, frozen=True, kw_only=True, tag="REASONING_END"):
    message_id: str


class ReasoningEncryptedValue(Attributable, frozen=True, kw_only=True, tag="REASONING_ENCRYPTED_VALUE"):
    subtype: EncryptedSubtype
    entity_id: str
    encrypted_value: str


# --- subagents -----------------------------------------------------------------------------------------------------------


class SubagentStarted(Event, frozen=True, kw_only=True, tag="SUBAGENT_STARTED"):
    """A subagent begins to work; what it says carries `subagent_run_id`, which names this one piece of work."""

    subagent_run_id: str
    name: str
    description: str | None = None
    parent_subagent_run_id: str | None = None
    parent_tool_call_id: str | None = None
    parent_message_id: str | None = None


class SubagentSuccess(Shape, frozen=True, kw_only=True, tag="success", tag_field="type"):
    """It has done its work."""


class SubagentSuspended(Shape, frozen=True, kw_only=True, tag="suspended", tag_field="type"):
    """It goes on in a later run. `interrupt_ids`: what it waits for itself."""

    interrupt_ids: list[str] | None = None


class SubagentFinished(Event, frozen=True, kw_only=True, tag="SUBAGENT_FINISHED"):
    """A subagent's part of this run is over. Without an `outcome` it is a success."""

    subagent_run_id: str
    result: Any = None
    outcome: SubagentSuccess | SubagentSuspended | None = None


class SubagentError(Event, frozen=True, kw_only=True, tag="SUBAGENT_ERROR"):
    subagent_run_id: str
    message: str
    code: str | None = None


# --- all else ------------------------------------------------------------------------------------------------------------


class Raw(Attributable, frozen=True, kw_only=True, tag="RAW"):
    """A provider's own event, as it is."""

    event: Any
    source: str | None = None


class Custom(Attributable, frozen=True, kw_only=True, tag="CUSTOM"):
    """An event of the application's own."""

    name: str
    value: Any


AnyEvent = (
    RunStarted
    | RunFinished
    | RunError
    | StepStarted
    | StepFinished
    | TextMessageStart
    | TextMessageContent
    | TextMessageEnd
    | TextMessageChunk
    | MessagesSnapshot
    | ToolCallStart
    | ToolCallArgs
    | ToolCallEnd
    | ToolCallChunk
    | ToolCallResult
    | StateSnapshot
    | StateDelta
    | ActivitySnapshot
    | ActivityDelta
    | ReasoningStart
    | ReasoningMessageStart
    | ReasoningMessageContent
    | ReasoningMessageEnd
    | ReasoningMessageChunk
    | ReasoningEnd
    | ReasoningEncryptedValue
    | SubagentStarted
    | SubagentFinished
    | SubagentError
    | Raw
    | Custom
)
EVENT_TYPES: Final[dict[str, type[Event]]] = {str(cls.__struct_config__.tag): cls for cls in AnyEvent.__args__}
"""Each class by its type on the wire."""

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


def encode(event: Event) -> bytes:
    """The event as one JSON object without line breaks."""
    return _encoder.encode(event)


def decode(body: bytes | str) -> AnyEvent:
    """The event that this JSON is; members that the protocol does not know are left out. InvalidArgument."""
    try:
        return _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise InvalidArgument(f"this is no event of AG-UI {PROTOCOL_VERSION}: {error}") from None


class Model(Protocol):
    """A model of the package `ag-ui-protocol`, which is not needed for it."""

    def model_dump(self, *, mode: str = ..., by_alias: bool | None = ...) -> dict[str, Any]: ...


Given: TypeAlias = Event | Mapping[str, Any] | Model


def event_of(given: Given) -> AnyEvent:
    """The event that this is: one of ours, a mapping as the wire has it, or a model of the package `ag-ui-protocol`.
    InvalidArgument."""
    if isinstance(given, Event):
        return given  # type: ignore[return-value]
    data = dict(given) if isinstance(given, Mapping) else given.model_dump(by_alias=True, mode="json")
    try:
        return msgspec.convert(data, AnyEvent)  # type: ignore[no-any-return]
    except msgspec.MsgspecError as error:
        raise InvalidArgument(f"this is no event of AG-UI {PROTOCOL_VERSION}: {error}") from None
