"""What chunk events stand for: starts, contents and ends, as a client makes them of it.

A chunk leaves out what has not changed since the one before, so what it means depends on what is open in its line. There is
one line per subagent and one for the agent itself (None), and each has one item at most that chunks are building. Nearly
every other event in a line ends that item. `expand` follows the client of version 1.0 here, event for event.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from ...core.errors import IllegalStream
from .events import (
    ActivityDelta,
    ActivitySnapshot,
    AnyEvent,
    Event,
    MessagesSnapshot,
    Raw,
    ReasoningEncryptedValue,
    ReasoningMessageChunk,
    ReasoningMessageContent,
    ReasoningMessageEnd,
    ReasoningMessageStart,
    RunError,
    RunFinished,
    RunStarted,
    SubagentError,
    SubagentFinished,
    SubagentStarted,
    TextMessageChunk,
    TextMessageContent,
    TextMessageEnd,
    TextMessageStart,
    ToolCallArgs,
    ToolCallChunk,
    ToolCallEnd,
    ToolCallStart,
)
from .open_items import named

Chunk = TextMessageChunk | ToolCallChunk | ReasoningMessageChunk
_OF_THE_RUN = RunStarted | RunFinished | RunError | MessagesSnapshot
_PASSING = Raw | ActivitySnapshot | ActivityDelta | ReasoningEncryptedValue | SubagentStarted


class Building(NamedTuple):
    """What the chunks of one line build: its `start`, as it was made of the first of them."""

    start: TextMessageStart | ToolCallStart | ReasoningMessageStart

    @property
    def id(self) -> str:
        return self.start.tool_call_id if isinstance(self.start, ToolCallStart) else self.start.message_id

    @property
    def end(self) -> AnyEvent:
        match self.start:
            case TextMessageStart(message_id=id, subagent_run_id=owner):
                return TextMessageEnd(message_id=id, subagent_run_id=owner)
            case ToolCallStart(tool_call_id=id, subagent_run_id=owner):
                return ToolCallEnd(tool_call_id=id, subagent_run_id=owner)
            case ReasoningMessageStart(message_id=id, subagent_run_id=owner):
                return ReasoningMessageEnd(message_id=id, subagent_run_id=owner)


Lines: TypeAlias = Mapping[str | None, Building]
_STARTS: dict[type[Event], type[Event]] = {
    TextMessageChunk: TextMessageStart,
    ToolCallChunk: ToolCallStart,
    ReasoningMessageChunk: ReasoningMessageStart,
}


def expand(lines: Lines, event: AnyEvent) -> tuple[list[AnyEvent], Lines]:
    """The events that this one stands for, and what is being built after it. Changes nothing. IllegalStream."""
    if isinstance(event, Chunk):
        return _chunk(lines, event)
    if not lines or isinstance(event, _PASSING):
        return [event], lines
    if isinstance(event, _OF_THE_RUN):
        return [*(line.end for line in lines.values()), event], {}
    owner = event.subagent_run_id
    if owner is None and isinstance(event, SubagentFinished | SubagentError):
        return [event], lines
    ended, lines = _end(lines, owner)
    return [*ended, event], lines


def _end(lines: Lines, owner: str | None) -> tuple[list[AnyEvent], Lines]:
    if owner not in lines:
        return [], lines
    return [lines[owner].end], {one: line for one, line in lines.items() if one != owner}


def _chunk(lines: Lines, chunk: Chunk) -> tuple[list[AnyEvent], Lines]:
    owner = _line_of(lines, chunk)
    given = chunk.tool_call_id if isinstance(chunk, ToolCallChunk) else chunk.message_id
    line = lines.get(owner)
    if line is not None and type(line.start) is _STARTS[type(chunk)] and given in (None, line.id):
        _agrees(line, chunk)
        return _content(line, chunk), lines
    ended, lines = _end(lines, owner)
    line = Building(_start(chunk))
    return [*ended, line.start, *_content(line, chunk, first=True)], {**lines, owner: line}


def _line_of(lines: Lines, chunk: Chunk) -> str | None:
    """The line that the chunk belongs to: that of its id where that is being built, else that of its tag; a chunk without
    either goes on with the agent's own item, or else with the only one of its kind."""
    kind: type[Event] = _STARTS[type(chunk)]
    given = chunk.tool_call_id if isinstance(chunk, ToolCallChunk) else chunk.message_id
    tag = chunk.subagent_run_id
    same = [owner for owner, line in lines.items() if type(line.start) is kind]
    if given is not None:
        holder = next((owner for owner in same if lines[owner].id == given), tag)
        if tag is not None and holder != tag:
            raise refused(chunk, given, "owner", f"{given!r} belongs to {named(holder)}, and not to {named(tag)}")
        return holder
    if tag is not None or None in same or not same:
        return tag
    if len(same) > 1:
        raise refused(chunk, None, "chunk", "it has neither an id nor a subagentRunId, and several items are being built")
    return same[0]


def _agrees(line: Building, chunk: Chunk) -> None:
    """A field that is said again says the same."""
    for name in ("role", "name", "tool_call_name", "parent_message_id"):
        said = getattr(chunk, name, None)
        if said is not None and said != getattr(line.start, name):
            raise refused(chunk, line.id, "chunk", f"{name} was {getattr(line.start, name)!r} and is {said!r} now")


def _start(chunk: Chunk) -> TextMessageStart | ToolCallStart | ReasoningMessageStart:
    common: dict[str, Any] = {"subagent_run_id": chunk.subagent_run_id, "metadata": chunk.metadata}
    match chunk:
        case TextMessageChunk(message_id=str(id)):
            return TextMessageStart(message_id=id, role=chunk.role or "assistant", name=chunk.name, **common)
        case ToolCallChunk(tool_call_id=str(id), tool_call_name=str(name)):
            return ToolCallStart(tool_call_id=id, tool_call_name=name, parent_message_id=chunk.parent_message_id, **common)
        case ReasoningMessageChunk(message_id=str(id)):
            return ReasoningMessageStart(message_id=id, **common)
        case _:
            needs = "a toolCallId and a toolCallName" if isinstance(chunk, ToolCallChunk) else "a messageId"
            raise refused(chunk, None, "chunk", f"it begins an item, and needs {needs}")


def _content(line: Building, chunk: Chunk, *, first: bool = False) -> list[AnyEvent]:
    if chunk.delta is None and chunk.raw_event is None and (first or chunk.metadata is None):
        return []
    common: dict[str, Any] = {
        "delta": chunk.delta or "",
        "subagent_run_id": chunk.subagent_run_id or line.start.subagent_run_id,
        "metadata": chunk.metadata,
        "raw_event": chunk.raw_event,
    }
    match line.start:
        case TextMessageStart(message_id=id):
            return [TextMessageContent(message_id=id, **common)]
        case ToolCallStart(tool_call_id=id):
            return [ToolCallArgs(tool_call_id=id, **common)]
        case ReasoningMessageStart(message_id=id):
            return [ReasoningMessageContent(message_id=id, **common)]


def refused(event: Event, name: str | None, rule: str, why: str) -> IllegalStream:
    """The error that says that `event` breaks `rule`; `name`: the id it is about."""
    return IllegalStream(f"{event.type} may not come here: {why}", event=event.type, id=name, rule=rule)
