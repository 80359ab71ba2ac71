"""Answers: what is told of an answer while it comes, when it is stored, and when it will not be.

What was shown while it came is not said again. Rule: whatever begins here ends here, or is told by `reopened` and ended by
`closed`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

import msgspec

from ...core.events import Delta
from ...core.messages import Assistant, Thinking, ToolCall
from . import events as e
from .conversation import arguments_text, reasoning_id
from .parts import Answer, LiveCall, Part


class Answers:
    """`known`: ids of messages that whoever follows has; those told here are added. `stale`: something was shown that is no
    part of the conversation."""

    def __init__(self, known: set[str]) -> None:
        self.known = known
        self.stale = False

    def stored(self, part: Part, message: Assistant) -> Iterator[e.AnyEvent]:
        """An answer is stored: what of it was not shown, and the ends."""
        live = part.answer
        if live is None or live.id != message.id:
            live = Answer(message.id, message.model)
        part.answer = None
        tag, name = part.tag, message.id
        yield from stop_thinking(part, live)
        for place, block in enumerate(message.content):
            if isinstance(block, Thinking) and block.text and live.thoughts.get(place, 0) < len(block.text):
                yield from self._think(part, live, place, block.text[live.thoughts.get(place, 0) :])
                yield from stop_thinking(part, live)
        rest = message.text[sum(live.text.values()) :]
        if rest:
            yield from self._text(part, live, rest)
        if live.text_open:
            yield e.TextMessageEnd(message_id=name, subagent_run_id=tag)
        if not _in_order(live, message):
            self.stale = True
        part.callers = {}
        for place, block in enumerate(message.content):
            if isinstance(block, ToolCall) and message.complete:
                part.callers[block.id] = name
                yield from self._call(part, live, place, block, name)
        for begun in live.calls.values():  # what was shown of calls that are none
            yield e.ToolCallEnd(tool_call_id=part.wire(begun.call), subagent_run_id=tag)
            self.stale = True

    def _call(self, part: Part, live: Answer, place: int, call: ToolCall, message: str) -> Iterator[e.AnyEvent]:
        begun, text = live.calls.pop(place, None), arguments_text(call)
        wire, tag = part.wire(call.id), part.tag
        if begun is not None and begun.call != call.id:
            yield e.ToolCallEnd(tool_call_id=part.wire(begun.call), subagent_run_id=tag)
            self.stale, begun = True, None
        if begun is None:
            yield e.ToolCallStart(
                tool_call_id=wire, tool_call_name=call.name, parent_message_id=message, subagent_run_id=tag
            )
            yield e.ToolCallArgs(tool_call_id=wire, delta=text, subagent_run_id=tag)
        else:
            shown = "".join(begun.texts)
            if begun.before:
                self.stale = True  # how they were spelled is not known any more
            elif text.startswith(shown):
                if text != shown:
                    yield e.ToolCallArgs(tool_call_id=wire, delta=text[len(shown) :], subagent_run_id=tag)
            elif not _same(shown, call):
                self.stale = True
        yield e.ToolCallEnd(tool_call_id=wire, subagent_run_id=tag)

    def _text(self, part: Part, live: Answer, text: str) -> Iterator[e.AnyEvent]:
        yield from stop_thinking(part, live)
        if not live.text_open:
            live.text_open = True
            self.known.add(live.id)
            yield e.TextMessageStart(message_id=live.id, subagent_run_id=part.tag)
        yield e.TextMessageContent(message_id=live.id, delta=text, subagent_run_id=part.tag)

    def _think(self, part: Part, live: Answer, block: int, text: str) -> Iterator[e.AnyEvent]:
        name, tag = reasoning_id(live.id, block), part.tag
        if live.thinking != block:
            yield from stop_thinking(part, live)
            live.thinking = block
            yield e.ReasoningStart(message_id=name, subagent_run_id=tag)
            yield e.ReasoningMessageStart(message_id=name, subagent_run_id=tag)
        yield e.ReasoningMessageContent(message_id=name, delta=text, subagent_run_id=tag)

    def given_up(self, part: Part) -> Iterator[e.AnyEvent]:
        """What was shown of an answer that will not be."""
        live, part.answer = part.answer, None
        if live is None:
            return
        yield from stop_thinking(part, live)
        if live.text_open:
            yield e.TextMessageEnd(message_id=live.id, subagent_run_id=part.tag)
        for begun in live.calls.values():
            yield e.ToolCallEnd(tool_call_id=part.wire(begun.call), subagent_run_id=part.tag)
        self.stale = self.stale or live.shown

    def growing(self, part: Part, delta: Delta) -> Iterator[e.AnyEvent]:
        live = part.answer
        match delta.kind:
            case "discard":
                if live is not None and live.id == delta.id:
                    yield from self.given_up(part)
                    part.answer = Answer(live.id, live.model, lossy=True)
            case "text":
                text = None if live is None or live.id != delta.id else _new(live, live.text, delta)
                if text and live is not None:
                    yield from self._text(part, live, text)
            case "thinking":
                text = None if live is None or live.id != delta.id else _new(live, live.thoughts, delta)
                if text and live is not None:
                    yield from self._think(part, live, delta.block, text)
            case "tool_arguments":
                if live is not None and live.id == delta.id and not live.lossy:
                    yield from self._arguments(part, live, delta)
            case "tool_output" | "progress":
                pass
            case _:
                assert_never(delta.kind)

    def _arguments(self, part: Part, live: Answer, delta: Delta) -> Iterator[e.AnyEvent]:
        begun = live.calls.get(delta.block)
        if begun is None:
            if delta.offset > 0 or delta.call is None or delta.name is None:
                return  # it is told as a whole
            if any(one.call == delta.call for one in live.calls.values()):
                return
            yield from stop_thinking(part, live)
            begun = live.calls[delta.block] = LiveCall(delta.call, delta.name)
            self.known.add(live.id)
            yield e.ToolCallStart(
                tool_call_id=part.wire(begun.call),
                tool_call_name=delta.name,
                parent_message_id=live.id,
                subagent_run_id=part.tag,
            )
        shown = begun.shown
        if delta.offset > shown:
            live.lossy = True
            return
        text = delta.text[shown - delta.offset :]
        if text:
            begun.texts.append(text)
            yield e.ToolCallArgs(tool_call_id=part.wire(begun.call), delta=text, subagent_run_id=part.tag)


def reopened(part: Part, live: Answer) -> Iterator[e.AnyEvent]:
    """The beginnings of what was shown of an answer that is still coming."""
    tag = part.tag
    if live.thinking is not None:
        name = reasoning_id(live.id, live.thinking)
        yield e.ReasoningStart(message_id=name, subagent_run_id=tag)
        yield e.ReasoningMessageStart(message_id=name, subagent_run_id=tag)
    if live.text_open:
        yield e.TextMessageStart(message_id=live.id, subagent_run_id=tag)
    for begun in live.calls.values():
        yield e.ToolCallStart(
            tool_call_id=part.wire(begun.call), tool_call_name=begun.name, parent_message_id=live.id, subagent_run_id=tag
        )


def _new(live: Answer, shown: dict[int, int], delta: Delta) -> str | None:
    """What of a delta was not shown yet; None when some before it was missed, and from then on."""
    have = shown.get(delta.block, 0)
    if live.lossy or delta.offset > have:
        live.lossy = True
        return None
    text = delta.text[have - delta.offset :]
    if text:
        shown[delta.block] = have + len(text)
    return text


def _in_order(live: Answer, message: Assistant) -> bool:
    """Whether the calls that were shown are the first ones of the answer: of others something was missed."""
    shown = [one.call for one in live.calls.values()]
    return shown == [call.id for call in message.calls][: len(shown)]


def stop_thinking(part: Part, live: Answer) -> Iterator[e.AnyEvent]:
    if live.thinking is None:
        return
    name, live.thinking = reasoning_id(live.id, live.thinking), None
    yield e.ReasoningMessageEnd(message_id=name, subagent_run_id=part.tag)
    yield e.ReasoningEnd(message_id=name, subagent_run_id=part.tag)


def closed(part: Part, live: Answer) -> Iterator[e.AnyEvent]:
    """The ends of what was shown of it, for one whose run ends here; nothing more is shown before it is stored."""
    yield from stop_thinking(part, live)
    if live.text_open:
        live.text_open = False
        yield e.TextMessageEnd(message_id=live.id, subagent_run_id=part.tag)
    for begun in live.calls.values():
        yield e.ToolCallEnd(tool_call_id=part.wire(begun.call), subagent_run_id=part.tag)
    live.calls, live.lossy = {}, True


def _same(text: str, call: ToolCall) -> bool:
    """Whether the arguments are these, however they are spelled."""
    try:
        return bool(msgspec.json.decode(text or "{}") == call.arguments) and call.malformed is None
    except msgspec.DecodeError:
        return False


__all__ = ["Answers", "closed", "reopened"]
