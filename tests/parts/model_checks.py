"""What holds for the answer of any model, shared by the tests of the live adapter."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec

from godwit.contracts import Model, ModelAnswer, ModelChunk, ModelRequest, TextDelta, ThinkingDelta, ToolCallDelta
from godwit.core.agent import ModelSettings, ToolDefinition
from godwit.core.ids import MessageId, SessionId
from godwit.core.messages import AgentBlock, Assistant, Message, Text, Thinking, ToolCall
from godwit.core.transcript import Entry


def request(
    messages: Sequence[Message],
    tools: tuple[ToolDefinition, ...] = (),
    settings: ModelSettings | None = None,
    instructions: str = "",
) -> ModelRequest:
    return ModelRequest(
        [Entry(m) for m in messages], instructions, tools, settings or ModelSettings(), SessionId("ses"), MessageId("msg")
    )


async def ask(model: Model, asked: ModelRequest) -> tuple[list[ModelChunk], ModelAnswer]:
    chunks = [c async for c in model.stream(asked)]
    assert isinstance(chunks[-1], ModelAnswer)
    assert not any(isinstance(c, ModelAnswer) for c in chunks[:-1])
    return chunks[:-1], chunks[-1]


def joined(deltas: Sequence[ModelChunk]) -> dict[int, tuple[str, str, str | None, str | None]]:
    """What a follower has who saw only the deltas: block -> kind, text, call id, tool name."""
    shown: dict[int, tuple[str, str, str | None, str | None]] = {}
    for d in deltas:
        assert isinstance(d, TextDelta | ThinkingDelta | ToolCallDelta)
        kind, text, call, name = shown.get(d.block, (type(d).__name__, "", None, None))
        assert kind == type(d).__name__
        if isinstance(d, ToolCallDelta):
            if d.block not in shown:
                assert d.id
                assert d.name
            call, name = call or d.id, name or d.name
        shown[d.block] = (kind, text + d.text, call, name)
    return shown


def check_shown(deltas: Sequence[ModelChunk], content: Sequence[AgentBlock]) -> None:
    shown = joined(deltas)
    for place, block in enumerate(content):
        kind, text, call, name = shown.get(place, ("", "", None, None))
        match block:
            case Text() | Thinking():
                assert text == block.text
                assert not text or kind == type(block).__name__ + "Delta"
            case ToolCall():
                assert (call, name) == (block.id, block.name)
                if block.malformed is None:
                    assert (json.loads(text) if text.strip() else {}) == block.arguments
                else:
                    assert text == block.malformed
            case _:
                assert place not in shown
    assert all(place < len(content) for place in shown)


def stored(answer: ModelAnswer) -> Assistant:
    """The answer as it comes out of the log."""
    made = Assistant(
        MessageId("m"), answer.content, answer.model, answer.stop, usage=answer.usage, response_id=answer.response_id
    )
    return msgspec.json.decode(msgspec.json.encode(made), type=Assistant)
