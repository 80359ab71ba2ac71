"""Asking a model without an engine, shared by the tests of scripted and of recorded models."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from godwit.contracts import Model, ModelAnswer, ModelChunk, ModelRequest
from godwit.core.agent import ModelSettings, ToolDefinition
from godwit.core.ids import CallId, MessageId, SessionId
from godwit.core.messages import Assistant, Message, Text, ToolResult, User
from godwit.core.transcript import Entry

BASH = ToolDefinition("bash", "Run a command.", {"type": "object", "properties": {"command": {"type": "string"}}})


def ask(*messages: Message, turn: int = 1, session: str = "s-1", **changes: Any) -> ModelRequest:
    request = ModelRequest(
        [Entry(m) for m in messages], "Be brief.", (BASH,), ModelSettings(), SessionId(session), MessageId(f"m-{turn}"), turn
    )
    return msgspec.structs.replace(request, **changes)


def user(text: str) -> User:
    return User((Text(text),))


def result(text: str, *, id: str = "call_0_0", status: str = "ok") -> ToolResult:  # noqa: A002
    return ToolResult(CallId(id), "bash", (Text(text),), cast(Any, status))


async def chunks_of(model: Model, request: ModelRequest) -> list[ModelChunk]:
    return [chunk async for chunk in model.stream(request)]


async def answer_of(model: Model, request: ModelRequest) -> ModelAnswer:
    last = (await chunks_of(model, request))[-1]
    assert isinstance(last, ModelAnswer)
    return last


def said(answer: ModelAnswer, id: str = "m") -> Assistant:  # noqa: A002
    return Assistant(MessageId(id), answer.content, answer.model, answer.stop)


async def text_of(model: Model, request: ModelRequest) -> str:
    return said(await answer_of(model, request)).text
