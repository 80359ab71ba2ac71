"""Inputs: what a front end sends to have an agent run (`RunAgentInput`), read as strictly as the protocol asks.

A member that the protocol does not know is passed over; one that it knows and that is of another type is an error, and
nothing is done. Clients before 1.0 send the same but for `protocolVersion`, and files in a shape of their own.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from ...core.errors import InvalidArgument
from .content import Content
from .events import Shape

LONGEST_ID: Final = 512
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_ID)]
Delivery = Literal["steer", "follow_up", "refuse"]
OnDisconnect = Literal["continue", "stop"]


class FunctionCall(Shape, frozen=True, kw_only=True):
    name: str
    arguments: str


class Call(Shape, frozen=True, kw_only=True):
    id: Id
    function: FunctionCall


class Message(Shape, frozen=True, kw_only=True, tag_field="role"):
    """Base of all messages. Those that are not for the thread are read and left. `subagent_run_id`: the work of a subagent
    that it belongs to."""

    id: Id
    subagent_run_id: str | None = None


class DeveloperMessage(Message, frozen=True, kw_only=True, tag="developer"):
    content: str


class SystemMessage(Message, frozen=True, kw_only=True, tag="system"):
    content: str


class AssistantMessage(Message, frozen=True, kw_only=True, tag="assistant"):
    content: str | None = None
    tool_calls: list[Call] | None = None


class UserMessage(Message, frozen=True, kw_only=True, tag="user"):
    content: Content
    name: str | None = None


class ToolMessage(Message, frozen=True, kw_only=True, tag="tool"):
    content: Content
    tool_call_id: Id
    error: str | None = None


class ActivityMessage(Message, frozen=True, kw_only=True, tag="activity"):
    content: Any = None


class ReasoningMessage(Message, frozen=True, kw_only=True, tag="reasoning"):
    content: str = ""


AnyMessage = (
    DeveloperMessage | SystemMessage | AssistantMessage | UserMessage | ToolMessage | ActivityMessage | ReasoningMessage
)


class Tool(Shape, frozen=True, kw_only=True):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    description: str
    parameters: Any = None


class Context(Shape, frozen=True, kw_only=True):
    description: str
    value: str


class ResumeEntry(Shape, frozen=True, kw_only=True):
    interrupt_id: str
    status: Literal["resolved", "cancelled"]
    payload: Any = None


class RunAgentInput(Shape, frozen=True, kw_only=True):
    """What a run begins with. `messages`: all there are, each time."""

    thread_id: Id
    run_id: Id
    messages: list[AnyMessage]
    protocol_version: str | None = None
    parent_run_id: str | None = None
    state: Any = None
    tools: list[Tool] | None = None
    context: list[Context] | None = None
    forwarded_props: Any = None
    resume: list[ResumeEntry] | None = None


class Options(Shape, frozen=True, kw_only=True):
    """What a front end may say to godwit, in `forwardedProps.godwit`.

    `delivery`: what becomes of a message while a run is under way: it corrects that (the default), waits for its end, or is
    refused. `on_disconnect`: whether the run goes on when the stream is left. `cursor`: where to go on, an `id` of the
    stream. `regenerate`: the last message is answered once more, in place of all that was said after it.
    """

    delivery: Delivery = "steer"
    on_disconnect: OnDisconnect | None = None
    cursor: str | None = None
    regenerate: bool = False


_decoder = msgspec.json.Decoder(RunAgentInput)


def read(body: bytes) -> RunAgentInput:
    """The input. InvalidArgument, naming what does not fit."""
    try:
        given = _decoder.decode(body)
        # What is to be written again has to be text.
        msgspec.json.encode(given.forwarded_props)
        msgspec.json.encode(given.state)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise InvalidArgument(f"this is no input of AG-UI: {error}", param="body") from None
    return given


def options_in(given: RunAgentInput) -> Options:
    """What is said to godwit. InvalidArgument."""
    props = given.forwarded_props
    found = props.get("godwit") if isinstance(props, dict) else None
    if found is None:
        return Options()
    try:
        return msgspec.convert(found, Options)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"forwardedProps.godwit: {error}", param="forwardedProps.godwit") from None


__all__ = [
    "ActivityMessage",
    "AnyMessage",
    "AssistantMessage",
    "Context",
    "DeveloperMessage",
    "OnDisconnect",
    "Options",
    "ReasoningMessage",
    "ResumeEntry",
    "RunAgentInput",
    "SystemMessage",
    "Tool",
    "ToolMessage",
    "UserMessage",
    "options_in",
    "read",
]
