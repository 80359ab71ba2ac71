"""The live adapter on each wire format, with streams written here by hand: what every provider's answer must become."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from tests.loopback import Loopback, Reply
from tests.parts.model_checks import ask, check_shown, request, stored
from tests.patience import PATIENCE_S

from godwit.contracts import ModelAnswer, ModelChunk, TextDelta
from godwit.core.agent import ModelSettings, ThinkingLevel, ToolDefinition
from godwit.core.ids import CallId, MessageId
from godwit.core.mcp import provider_name
from godwit.core.messages import (
    Assistant,
    Document,
    Image,
    Message,
    Opaque,
    ProviderBlock,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    User,
)
from godwit.core.transcript import Entry
from godwit.models.live import LiveModel
from godwit.models.providers import Connection, Provider, ProviderKind
from godwit.models.registry import Registry

SIGNATURE = base64.b64encode(b"proof that it is mine").decode()
WEATHER = ToolDefinition(
    "weather",
    "The weather of a city",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False},
)
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


@dataclass
class Said:
    """What a provider says, in no provider's words. `stop`: end, tools, length, refusal.

    `tokens`: in (cached ones included), out (thinking included), cache read, cache written, thinking.
    """

    thinking: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    calls: list[tuple[str, str, list[str]]] = field(default_factory=list)
    stop: str = "end"
    tokens: tuple[int, int, int, int, int] = (100, 20, 0, 0, 0)


def anthropic(said: Said) -> Reply:
    n_in, n_out, read, write, _ = said.tokens
    counted = {"input_tokens": n_in - read - write, "cache_read_input_tokens": read, "cache_creation_input_tokens": write}
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-4-6", "content": []}
    events: list[dict[str, Any]] = [
        {
            "type": "message_start",
            "message": {**head, "stop_reason": None, "stop_sequence": None, "usage": {**counted, "output_tokens": 1}},
        },
        {"type": "ping"},
    ]
    index = 0

    def block(start: dict[str, Any], deltas: list[dict[str, Any]]) -> None:
        nonlocal index
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        events.extend({"type": "content_block_delta", "index": index, "delta": d} for d in deltas)
        events.append({"type": "content_block_stop", "index": index})
        index += 1

    if said.thinking:
        block(
            {"type": "thinking", "thinking": "", "signature": ""},
            [
                *({"type": "thinking_delta", "thinking": t} for t in said.thinking),
                {"type": "signature_delta", "signature": SIGNATURE},
            ],
        )
    if said.text:
        block({"type": "text", "text": ""}, [{"type": "text_delta", "text": t} for t in said.text])
    for call, name, pieces in said.calls:
        block(
            {"type": "tool_use", "id": call, "name": name, "input": {}},
            [{"type": "input_json_delta", "partial_json": p} for p in pieces],
        )
    stop = {"end": "end_turn", "tools": "tool_use", "length": "max_tokens", "refusal": "refusal"}[said.stop]
    events += [
        {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": n_out}},
        {"type": "message_stop"},
    ]
    return Reply.sse(events, named=True)


def chat(said: Said) -> Reply:
    n_in, n_out, read, _, think = said.tokens
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": "gpt-4o-2024-08-06"}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    events = [chunk({"role": "assistant", "content": ""})]
    events += [chunk({"reasoning_content": t}) for t in said.thinking]
    events += [chunk({"refusal" if said.stop == "refusal" else "content": t}) for t in said.text]
    for place, (call, name, pieces) in enumerate(said.calls):
        function = {"name": name, "arguments": ""}
        events.append(chunk({"tool_calls": [{"index": place, "id": call, "type": "function", "function": function}]}))
        events += [chunk({"tool_calls": [{"index": place, "function": {"arguments": p}}]}) for p in pieces]
    finish = {"end": "stop", "tools": "tool_calls", "length": "length", "refusal": "stop"}[said.stop]
    events.append(chunk({}, finish))
    usage = {
        "prompt_tokens": n_in,
        "completion_tokens": n_out,
        "total_tokens": n_in + n_out,
        "prompt_tokens_details": {"cached_tokens": read},
        "completion_tokens_details": {"reasoning_tokens": think},
    }
    events.append({**head, "choices": [], "usage": usage})
    return Reply.sse(events, done=True)


def responses(said: Said) -> Reply:
    n_in, n_out, read, _, think = said.tokens
    events: list[dict[str, Any]] = []
    output: list[dict[str, Any]] = []
    usage = {
        "input_tokens": n_in,
        "output_tokens": n_out,
        "total_tokens": n_in + n_out,
        "input_tokens_details": {"cached_tokens": read},
        "output_tokens_details": {"reasoning_tokens": think},
    }

    def response(status: str) -> dict[str, Any]:
        head = {"id": "resp_1", "object": "response", "created_at": 1700000000, "model": "gpt-5", "status": status}
        rest = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None}
        why = {"reason": "max_output_tokens"} if status == "incomplete" else None
        return {
            **head,
            **rest,
            "incomplete_details": why,
            "output": output,
            "usage": None if status == "in_progress" else usage,
        }

    def item(started: dict[str, Any], done: dict[str, Any], between: list[dict[str, Any]]) -> None:
        place = len(output)
        at = {"output_index": place, "item_id": started["id"]}
        events.append({"type": "response.output_item.added", "output_index": place, "item": started})
        events.extend({**at, **b} for b in between)
        events.append({"type": "response.output_item.done", "output_index": place, "item": done})
        output.append(done)

    events.append({"type": "response.created", "response": response("in_progress")})
    if said.thinking:
        whole = {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "".join(said.thinking)}]}
        empty = {"type": "summary_text", "text": ""}
        deltas = [{"type": "response.reasoning_summary_text.delta", "summary_index": 0, "delta": t} for t in said.thinking]
        item(
            {"id": "rs_1", "type": "reasoning", "summary": []},
            {**whole, "encrypted_content": SIGNATURE},
            [{"type": "response.reasoning_summary_part.added", "summary_index": 0, "part": empty}, *deltas],
        )
    if said.text:
        refused = said.stop == "refusal"
        kind, key = ("refusal", "refusal") if refused else ("output_text", "text")
        part: dict[str, Any] = {"type": kind, key: "".join(said.text)} | ({} if refused else {"annotations": []})
        head = {"id": "msg_1", "type": "message", "role": "assistant"}
        item(
            {**head, "status": "in_progress", "content": []},
            {**head, "status": "completed", "content": [part]},
            [
                {"type": "response.content_part.added", "content_index": 0, "part": {**part, key: ""}},
                *({"type": f"response.{kind}.delta", "content_index": 0, "delta": t, "logprobs": []} for t in said.text),
                {"type": f"response.{kind}.done", "content_index": 0, key: "".join(said.text), "logprobs": []},
            ],
        )
    for place, (call, name, pieces) in enumerate(said.calls):
        head = {"id": f"fc_{place}", "type": "function_call", "call_id": call, "name": name}
        item(
            {**head, "status": "in_progress", "arguments": ""},
            {**head, "status": "completed", "arguments": "".join(pieces)},
            [
                *({"type": "response.function_call_arguments.delta", "delta": p} for p in pieces),
                {"type": "response.function_call_arguments.done", "arguments": "".join(pieces)},
            ],
        )
    status = "incomplete" if said.stop == "length" else "completed"
    events.append({"type": f"response.{status}", "response": response(status)})
    return Reply.sse([{**e, "sequence_number": n} for n, e in enumerate(events)], named=True)


def google(said: Said) -> Reply:
    n_in, n_out, read, _, think = said.tokens
    events: list[dict[str, Any]] = []

    def chunk(parts: list[dict[str, Any]], finish: str | None = None) -> None:
        candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
        if finish:
            candidate["finishReason"] = finish
        usage = {
            "promptTokenCount": n_in,
            "candidatesTokenCount": n_out - think,
            "thoughtsTokenCount": think,
            "cachedContentTokenCount": read,
            "totalTokenCount": n_in + n_out,
        }
        events.append(
            {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-2.5-pro", "responseId": "resp-1"}
        )

    for t in said.thinking:
        chunk([{"text": t, "thought": True}])
    for place, t in enumerate(said.text):
        last = said.thinking and place == len(said.text) - 1
        chunk([{"text": t, **({"thoughtSignature": SIGNATURE} if last else {})}])
    for call, name, pieces in said.calls:
        chunk([{"functionCall": {"id": call, "name": name, "args": json.loads("".join(pieces) or "{}")}}])
    finish = {"end": "STOP", "tools": "STOP", "length": "MAX_TOKENS", "refusal": "SAFETY"}[said.stop]
    chunk([{"text": ""}], finish)
    return Reply.sse(events)


@dataclass(frozen=True)
class Wire:
    model: str
    say: Callable[[Said], Reply]
    path: str
    base: str = ""

    @property
    def provider(self) -> str:
        return self.model.partition(":")[0]


WIRES = {
    "anthropic": Wire("anthropic:claude-opus-4-6", anthropic, "/v1/messages"),
    "chat": Wire("openai-chat:gpt-4o", chat, "/v1/chat/completions", "/v1"),
    "responses": Wire("openai:gpt-5", responses, "/v1/responses", "/v1"),
    "google": Wire("google:gemini-2.5-pro", google, "/v1beta/models/gemini-2.5-pro:streamGenerateContent"),
}


@pytest.fixture(params=list(WIRES))
def wire(request: pytest.FixtureRequest) -> Wire:
    return WIRES[request.param]


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    made = Registry(environment={})
    yield made
    await made.close()


def model_at(registry: Registry, server: Loopback, wire: Wire) -> LiveModel:
    registry.register_provider(wire.provider, base_url=server.url + wire.base, api_key="test-key-123456")
    model = registry.resolve(wire.model)
    assert isinstance(model, LiveModel)
    return model


async def answer_to(registry: Registry, wire: Wire, said: Said, **kwargs: Any) -> ModelAnswer:
    async with Loopback([wire.say(said)]) as server:
        deltas, answer = await ask(
            model_at(registry, server, wire), request([User((Text("go"),))], (WEATHER,), instructions="Be kind.", **kwargs)
        )
        check_shown(deltas, answer.content)
        assert server.requests[0].path == wire.path
        assert stored(answer).content == answer.content
        return answer


async def test_text(registry: Registry, wire: Wire) -> None:
    answer = await answer_to(registry, wire, Said(text=["Hel", "lo ", "wörld ☀"]))
    (block,) = answer.content
    assert isinstance(block, Text)
    assert block.text == "Hello wörld ☀"
    assert answer.stop == "end_turn"
    assert answer.model.startswith(wire.provider + ":")
    assert answer.response_id
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.requests) == (100, 20, 1)
    assert answer.usage.cost_usd
    assert 0 < answer.usage.cost_usd < 0.1


async def test_deltas_come_while_the_answer_is_on_its_way(registry: Registry, wire: Wire) -> None:
    reply = wire.say(Said(text=["one ", "two ", "three"]))
    async with Loopback([reply.with_(stall_after=len(reply.pieces) - 1)]) as server:
        model = model_at(registry, server, wire)
        seen: list[ModelChunk] = []
        stream = model.stream(request([User((Text("go"),))]))
        while "three" not in "".join(c.text for c in seen if isinstance(c, TextDelta)):
            seen.append(await anext(stream))
        await server.wait_stalled()
        server.release()
        rest = [c async for c in stream]
        assert isinstance(rest[-1], ModelAnswer)


async def test_thinking_keeps_its_signature(registry: Registry, wire: Wire) -> None:
    answer = await answer_to(registry, wire, Said(["Let me ", "think."], ["Done."], tokens=(100, 50, 0, 0, 30)))
    thinking, text = answer.content
    assert isinstance(thinking, Thinking)
    assert isinstance(text, Text)
    assert (thinking.text, text.text) == ("Let me think.", "Done.")
    if wire.provider in ("anthropic", "openai"):
        assert thinking.signature == SIGNATURE
    if wire.provider == "google":
        assert text.opaque is not None
        assert text.opaque.details["part"] == {"thought_signature": SIGNATURE}
    if wire.provider != "anthropic":
        assert answer.usage.thinking_tokens == 30


async def test_two_calls_at_once(registry: Registry, wire: Wire) -> None:
    calls = [("call_1", "weather", ['{"city"', ': "Oslo"}']), ("call_2", "weather", ['{"city": "Rome"}'])]
    answer = await answer_to(registry, wire, Said(text=["I look."], calls=calls, stop="tools"))
    assert answer.stop == "tool_use"
    text, first, second = answer.content
    assert isinstance(text, Text)
    assert isinstance(first, ToolCall)
    assert isinstance(second, ToolCall)
    assert [(c.id, c.name, c.arguments, c.malformed) for c in (first, second)] == [
        ("call_1", "weather", {"city": "Oslo"}, None),
        ("call_2", "weather", {"city": "Rome"}, None),
    ]


async def test_names_that_providers_do_not_take_are_changed_in_the_request_alone(registry: Registry, wire: Wire) -> None:
    name, plain = "mcp__My%20docs__pages.get", ToolDefinition("weather", "", WEATHER.parameters)
    sent = provider_name(name)
    history: list[Message] = [
        User((Text("go"),)),
        Assistant(MessageId("m"), (ToolCall(CallId("call_0"), name, {"city": "Oslo"}),), stop="tool_use"),
        ToolResult(CallId("call_0"), name, (Text("rain"),)),
    ]
    calls = [("call_1", sent, ['{"city": "Oslo"}']), ("call_2", "weather", ['{"city": "Rome"}'])]
    async with Loopback([wire.say(Said(calls=calls, stop="tools"))]) as server:
        tool = ToolDefinition(name, "", WEATHER.parameters)
        deltas, answer = await ask(model_at(registry, server, wire), request(history, (tool, plain)))
        check_shown(deltas, answer.content)
        assert [call.name for call in answer.content if isinstance(call, ToolCall)] == [name, "weather"]
        body = json.dumps(server.requests[0].body)
    assert name not in body
    assert body.count(f'"{sent}"') == (3 if wire.provider == "google" else 2)


async def test_malformed_arguments_are_kept_as_they_came(registry: Registry, wire: Wire) -> None:
    if wire.provider == "google":
        pytest.skip("Google sends arguments parsed")
    for raw in ('{"city": "Os', '["Oslo"]', "Oslo", '{"city": NaN}'):
        answer = await answer_to(registry, wire, Said(calls=[("call_1", "weather", [raw[:4], raw[4:]])], stop="tools"))
        (call,) = answer.content
        assert isinstance(call, ToolCall)
        assert (call.arguments, call.malformed) == ({}, raw)


async def test_a_call_without_arguments(registry: Registry, wire: Wire) -> None:
    answer = await answer_to(registry, wire, Said(calls=[("call_1", "weather", [])], stop="tools"))
    (call,) = answer.content
    assert isinstance(call, ToolCall)
    assert (call.arguments, call.malformed) == ({}, None)


async def test_the_token_limit(registry: Registry, wire: Wire) -> None:
    answer = await answer_to(registry, wire, Said(text=["and so o"], stop="length"))
    assert answer.stop == "max_tokens"


async def test_a_refusal(registry: Registry, wire: Wire) -> None:
    answer = await answer_to(registry, wire, Said(text=["I cannot ", "do that."], stop="refusal"))
    assert answer.stop == "refusal"
    (block,) = answer.content
    assert isinstance(block, Text)
    assert block.text == "I cannot do that."


async def test_cached_tokens_are_counted(registry: Registry, wire: Wire) -> None:
    written = 10 if wire.provider == "anthropic" else 0
    answer = await answer_to(registry, wire, Said(text=["hi"], tokens=(1000, 5, 800, written, 0)))
    assert answer.usage.input_tokens == 1000
    assert answer.usage.cache_read_tokens == 800
    assert answer.usage.cache_write_tokens == written
    plain = await answer_to(registry, wire, Said(text=["hi"], tokens=(1000, 5, 0, 0, 0)))
    assert answer.usage.cost_usd is not None
    assert plain.usage.cost_usd is not None
    assert answer.usage.cost_usd < plain.usage.cost_usd


async def test_an_unknown_model_costs_nothing_known(registry: Registry) -> None:
    reply = chat(Said(text=["hi"]))
    async with Loopback([reply.with_(body=reply.body.replace(b"gpt-4o-2024-08-06", b"my-own-model"))]) as server:
        registry.register_provider("mine", base_url=server.url + "/v1")
        _, answer = await ask(registry.resolve("mine:my-own-model"), request([User((Text("go"),))]))
        assert answer.usage.cost_usd is None
        assert answer.model == "mine:my-own-model"
        assert answer.usage.input_tokens == 100


CONVERSATION: tuple[Message, ...] = (
    User((Text("What is the weather in Oslo and Rome?"),)),
    Assistant(
        MessageId("m1"),
        (
            Text("I look."),
            ToolCall(CallId("call_1"), "weather", {"city": "Oslo"}),
            ToolCall(CallId("call_2"), "weather", {"city": "Rome"}),
        ),
        stop="tool_use",
    ),
    ToolResult(CallId("call_1"), "weather", (Text("rain"),)),
    ToolResult(CallId("call_2"), "weather", (Text("no such city"),), "error"),
    User((Text("Look at this too."), Image("image/png", PIXEL), Document("application/pdf", b"%PDF-1.4 x", name="x.pdf"))),
)


async def test_the_conversation_is_sent(registry: Registry, wire: Wire) -> None:
    settings = ModelSettings(max_tokens=500, temperature=0.5, top_p=0.9)
    model_name = "openai:gpt-4o" if wire.provider == "openai" else wire.model
    async with Loopback([wire.say(Said(text=["ok"]))]) as server:
        model_at(registry, server, wire)
        await ask(registry.resolve(model_name), request(CONVERSATION, (WEATHER,), settings, "Be kind."))
        body = server.requests[0].body
    text = json.dumps(body)
    for word in ("Be kind.", "What is the weather", "I look.", "call_1", "rain", "no such city", "Look at this", "weather"):
        assert word in text, word
    assert base64.b64encode(PIXEL).decode() in text or base64.urlsafe_b64encode(PIXEL).decode() in text
    assert text.index("What is the weather") < text.index("I look.") < text.index("rain") < text.index("no such city")
    assert text.index("no such city") < text.index("Look at this")
    limit = body.get("max_tokens") or body.get("max_completion_tokens") or body.get("max_output_tokens")
    config = body.get("generationConfig", {})
    assert (limit or config["maxOutputTokens"]) == 500
    assert body.get("temperature", config.get("temperature")) == 0.5
    if wire.provider == "anthropic":
        roles = [m["role"] for m in body["messages"]]
        assert roles == ["user", "assistant", "user"]
        assert [c["type"] for c in body["messages"][2]["content"]][:2] == ["tool_result", "tool_result"]
        assert [c.get("is_error") for c in body["messages"][2]["content"]][:2] == [False, True]


async def test_anthropic_prompts_are_marked_for_the_cache() -> None:
    wire = WIRES["anthropic"]
    marked = {}
    for cache in (True, False):
        made = Registry(environment={}, cache=cache)
        async with Loopback([anthropic(Said(text=["ok"]))]) as server:
            await ask(model_at(made, server, wire), request(CONVERSATION, (WEATHER,), instructions="Be kind."))
            marked[cache] = server.requests[0].body
        await made.close()
    own = Registry(environment={})
    async with Loopback([anthropic(Said(text=["ok"]))]) as server:
        off = ModelSettings(extra={"cache": False})
        await ask(model_at(own, server, wire), request(CONVERSATION, (WEATHER,), off, "Be kind."))
        assert "cache_control" not in json.dumps(server.requests[0].body)
    await own.close()
    body = marked[True]
    assert body["system"][-1]["cache_control"]["type"] == "ephemeral"
    assert body["tools"][-1]["cache_control"]["type"] == "ephemeral"
    # Where this request ends and where the one before it did: from a mark 20 blocks are looked back at, no more.
    assert [["cache_control" in block for block in message["content"]] for message in body["messages"]] == [
        [True],
        [False] * len(body["messages"][1]["content"]),
        [*[False] * (len(body["messages"][2]["content"]) - 1), True],
    ]
    assert json.dumps(body).count("cache_control") == 4, "it takes no more than four"
    assert "cache_control" not in json.dumps(marked[False])
    # A limit is required there, so the adapter names one when the agent does not.
    assert body["max_tokens"] >= 4096


async def test_thinking_levels_reach_the_provider(registry: Registry, wire: Wire) -> None:
    name = {"openai-chat": "openai-chat:gpt-5", "google": "google:gemini-2.5-flash"}.get(wire.provider, wire.model)
    levels: tuple[ThinkingLevel, ...] = ("off", "minimal", "low", "medium", "high", "xhigh")
    async with Loopback(otherwise=lambda _: wire.say(Said(text=["ok"]))) as server:
        model_at(registry, server, wire)
        for level in levels:
            await ask(registry.resolve(name), request([User((Text("go"),))], settings=ModelSettings(thinking=level)))
    for level, seen in zip(levels, server.requests, strict=True):
        body = seen.body
        match wire.provider:
            case "anthropic":
                thinks = body.get("thinking", {}).get("type", "disabled") != "disabled"
            case "openai-chat":
                thinks = body["reasoning_effort"] not in ("none", "minimal") or level == "minimal"
            case "openai":
                thinks = body["reasoning"]["effort"] not in ("none", "minimal") or level == "minimal"
            case _:
                thinks = body["generationConfig"]["thinkingConfig"].get("thinking_budget") != 0
        assert thinks == (level != "off"), level


async def test_extra_settings_pass_through(registry: Registry) -> None:
    async with Loopback([chat(Said(text=["ok"]))]) as server:
        model = model_at(registry, server, WIRES["chat"])
        settings = ModelSettings(
            stop_sequences=("END",), extra={"seed": 7, "extra_body": {"mine": 1}, "extra_headers": {"x-mine": "yes"}}
        )
        await ask(model, request([User((Text("go"),))], settings=settings))
        seen = server.requests[0]
    assert (seen.body["seed"], seen.body["mine"], seen.body["stop"]) == (7, 1, ["END"])
    assert seen.headers["x-mine"] == "yes"


async def test_a_session_may_change_its_provider(registry: Registry, wire: Wire) -> None:
    """What another provider signed or alone understands is left out or told as text; calls and results stay."""
    said = Said(["secret thought"], ["I look."], [("call_1", "weather", ['{"city": "Oslo"}'])], "tools")
    async with Loopback([wire.say(said)]) as server:
        _, answer = await ask(model_at(registry, server, wire), request([User((Text("go"),))], (WEATHER,)))
    foreign = ProviderBlock(
        wire.model, "builtin-tool-call", {"part": {"part_kind": "builtin-tool-call", "tool_name": "theirs"}}
    )
    kept = stored(answer)
    kept = msgspec.structs.replace(kept, content=(*kept.content, foreign))
    history: list[Message] = [User((Text("go"),)), kept, ToolResult(CallId("call_1"), "weather", (Text("rain"),))]
    for target, to in WIRES.items():
        async with Loopback([to.say(Said(text=["ok"]))]) as server:
            await ask(model_at(registry, server, to), request(history, (WEATHER,)))
            sent = json.dumps(server.requests[0].body)
        assert "rain" in sent
        assert "Oslo" in sent
        assert "theirs" not in sent
        if WIRES[target].provider.split("-")[0] != wire.provider.split("-")[0]:
            assert SIGNATURE not in sent
            assert "rs_1" not in sent
            assert "fc_0" not in sent
        elif target != "chat" and wire.provider != "openai-chat":
            assert SIGNATURE in sent


async def test_an_entry_is_translated_once(registry: Registry, wire: Wire) -> None:
    entries = [Entry(m) for m in CONVERSATION]
    async with Loopback([wire.say(Said(text=["ok"])), wire.say(Said(text=["ok"]))]) as server:
        model = model_at(registry, server, wire)
        asked = msgspec.structs.replace(request((), (WEATHER,)), entries=entries)
        await ask(model, asked)
        kept = [e.encoded[model.wire] for e in entries]
        assert model.wire.startswith("pydantic-ai/")
        await ask(model, asked)
        assert all(a is b for a, b in zip(kept, (e.encoded[model.wire] for e in entries), strict=True))
        # The prefix is the same to the byte, which is what providers' caches look for.
        assert server.requests[0].raw == server.requests[1].raw


@pytest.mark.parametrize("name", ["chat", "responses", "google"])
async def test_the_shortcut_past_the_sdk_changes_no_byte(name: str) -> None:
    wire = WIRES[name]
    said = Said(
        ["hm ", "so"], ["I look."], [("call_7", "weather", ['{"city": "Oslo", "días": [1.5, null, {"a": "ß"}]}'])], "tools"
    )
    sent: dict[bool, list[bytes]] = {}
    for shortcut in (True, False):
        async with Loopback([wire.say(said), *[wire.say(Said(text=["ok"]))] * 3]) as server:
            kinds: dict[str, ProviderKind] = {"chat": "openai-chat", "responses": "openai-responses", "google": "google"}
            provider = Provider(wire.provider, kinds[name])
            connection = Connection(provider, api_key="k-1234567", base_url=server.url + wire.base, shortcut=shortcut)
            model = LiveModel(wire.model, connection)
            _, answer = await ask(model, request(CONVERSATION, (WEATHER,), instructions="Be kind."))
            entries = [*CONVERSATION, stored(answer), ToolResult(CallId("call_7"), "weather", (Image("image/png", PIXEL),))]
            await ask(model, request(entries, (WEATHER,), instructions="Be kind."))
            if name != "google":
                extra = ModelSettings(extra={"extra_body": {"mine": {"deep": [1]}}, "parallel_tool_calls": False})
                await ask(model, request(entries, (WEATHER,), extra))
            # Without the picture in the tool result, which Google's shortcut leaves to the SDK.
            plain = [*entries[:-1], ToolResult(CallId("call_7"), "weather", (Text("rain"),), "error"), User((Text("so?"),))]
            await ask(model, request(plain, (WEATHER,), instructions="Be kind."))
            sent[shortcut] = [r.raw for r in server.requests]
            await connection.close()
    assert sent[True] == sent[False]


async def test_a_cut_answer_goes_back_as_text(registry: Registry, wire: Wire) -> None:
    cut = Assistant(MessageId("m"), (Text("I was going to"),), complete=False, stop="interrupted")
    history: list[Message] = [User((Text("go"),)), cut, User((Text("go on"),))]
    async with Loopback([wire.say(Said(text=["ok"]))]) as server:
        await ask(model_at(registry, server, wire), request(history))
        sent = json.dumps(server.requests[0].body)
    assert sent.index("I was going to") < sent.index("go on")


async def test_an_opaque_of_nobody_does_no_harm(registry: Registry, wire: Wire) -> None:
    odd = Assistant(
        MessageId("m"), (Text("hello", Opaque("elsewhere", "id-1", {"part": {"x": 1}, "answer": {"url": "u"}})),)
    )
    async with Loopback([wire.say(Said(text=["ok"]))]) as server:
        await ask(model_at(registry, server, wire), request([User((Text("a"),)), odd, User((Text("b"),))]))
        sent = json.dumps(server.requests[0].body)
    assert "hello" in sent
    assert "id-1" not in sent


async def test_the_connection_is_kept_for_the_next_request(registry: Registry, wire: Wire) -> None:
    async with Loopback(otherwise=lambda _: wire.say(Said(text=["ok"]))) as server:
        model = model_at(registry, server, wire)
        for _ in range(4):
            await ask(model, request([User((Text("go"),))]))
        assert (len(server.requests), server.connections) == (4, 1)


async def test_many_sessions_share_one_model(registry: Registry, wire: Wire) -> None:
    async with Loopback(otherwise=lambda seen: wire.say(Said(text=[json.dumps(seen.body).count("go").__str__()]))) as server:
        model = model_at(registry, server, wire)
        answers = await asyncio.gather(*(ask(model, request([User((Text("go"),))])) for _ in range(20)))
        assert {a.stop for _, a in answers} == {"end_turn"}
        assert len(server.requests) == 20


def test_importing_the_adapter_imports_no_provider() -> None:
    code = (
        "import sys, godwit.models.live, godwit.models.registry as r; r.Registry(environment={'OPENAI_API_KEY': 'k'})"
        ".resolve('openai:gpt-5'); print([m for m in sys.modules if m.split('.')[0] in "
        "('pydantic_ai', 'openai', 'anthropic', 'google', 'httpx2', 'httpx', 'pydantic', 'genai_prices')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    assert done.stdout.strip() == "[]"
