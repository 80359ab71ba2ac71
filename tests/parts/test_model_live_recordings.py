"""The live adapter against real provider traffic, byte for byte, over HTTP: whole, cut everywhere, and answered back."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
import pytest
from tests.loopback import Exchange, Loopback, Recording, load_recording, recordings, sse_events
from tests.parts.model_checks import ask, check_shown, request, stored
from tests.strict_provider import unmarked

from godwit.contracts import ModelAnswer, ModelChunk
from godwit.core.agent import ModelSettings, ToolDefinition
from godwit.core.errors import ModelRefused, StreamBroken
from godwit.core.messages import AgentBlock, Assistant, ProviderBlock, Text, Thinking, ToolCall, ToolResult, User
from godwit.core.transcript import Entry
from godwit.models.live import LiveModel
from godwit.models.registry import Registry

FOLDER = recordings()
pytestmark = [
    pytest.mark.skipif(FOLDER is None, reason="no recordings: set GODWIT_RECORDINGS to a folder of them"),
    # SDKs announce the end of life of models that were recorded long ago.
    pytest.mark.filterwarnings("ignore:The model:DeprecationWarning"),
]

FILES = sorted(p for p in FOLDER.glob("*.json") if p.stem != "SOURCES") if FOLDER else []
RECORDINGS = [pytest.param(load_recording(p), id=p.stem) for p in FILES]
SEVERAL = [p for p in RECORDINGS if len(p.values[0].exchanges) > 1]  # type: ignore[union-attr]
ONE_PER_WIRE = [
    p
    for p in RECORDINGS
    if p.id
    in (
        "coding_read_file",
        "anthropic_model_thinking_part_stream",
        "openai_responses_stream",
        "google_streaming_tool_call_thought_signature",
    )
]
NATIVE = "anthropic_native_tool_search_streaming"


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    made = Registry(environment={})
    yield made
    await made.close()


def provider_of(exchange: Exchange) -> str:
    for word, name in (("/messages", "anthropic"), ("v1beta", "google"), ("/responses", "openai")):
        if word in exchange.path:
            return name
    return "openrouter" if exchange.path.startswith("/api/v1") else "openai-chat"


def base_of(url: str, exchange: Exchange) -> str:
    for end in ("/responses", "/chat/completions"):
        if exchange.path.endswith(end):
            return url + exchange.path.removesuffix(end)
    return url


_pointed: WeakKeyDictionary[Registry, set[tuple[str, str]]] = WeakKeyDictionary()


def model_of(registry: Registry, url: str, exchange: Exchange) -> LiveModel:
    provider = provider_of(exchange)
    if not any(provider == name and address == url for name, address in _pointed.get(registry, ())):
        registry.register_provider(provider, base_url=base_of(url, exchange), api_key="test-key-123456")
        _pointed.setdefault(registry, set()).add((provider, url))
    asked = (exchange.body or {}).get("model") or "gpt-4o"
    if provider == "google":
        asked = exchange.path.rpartition("/")[2].partition(":")[0]
    model = registry.resolve(f"{provider}:{asked}")
    assert isinstance(model, LiveModel)
    return model


def tools_of(body: Any) -> tuple[ToolDefinition, ...]:
    """The function tools a recorded request declares, whatever the wire."""
    found: list[ToolDefinition] = []
    for tool in (body or {}).get("tools") or ():
        for t in tool.get("functionDeclarations") or tool.get("function_declarations") or (tool.get("function", tool),):
            schema = (
                t.get("parameters")
                or t.get("input_schema")
                or t.get("parametersJsonSchema")
                or t.get("parameters_json_schema")
            )
            if t.get("name") and (schema is not None or "description" in t):
                found.append(
                    ToolDefinition(t["name"], t.get("description") or "", schema or {"type": "object", "properties": {}})
                )
    return tuple(found)


def roles_of(body: Any) -> list[str]:
    """The kinds of item in a request's history, in order, in words all wires share."""
    roles: list[str] = []
    for item in body.get("messages") or body.get("input") or body.get("contents") or ():
        role = item.get("role") or item.get("type")
        if role in ("function_call", "model", "reasoning"):
            role = "assistant"
        content = item.get("content") or item.get("parts") or ()
        first = content[0] if isinstance(content, list) and content else {}
        if role in ("tool", "function_call_output") or (
            isinstance(first, dict) and (first.get("type") == "tool_result" or "functionResponse" in first)
        ):
            role = "tool"
        if role not in ("system", "developer") and (not roles or roles[-1] != role):
            roles.append(role)
    return roles


def settings_of(recording: Recording) -> ModelSettings:
    return ModelSettings(max_tokens=4096, thinking="low" if "thinking" in recording.name else None)


@pytest.mark.parametrize("recording", RECORDINGS)
async def test_each_recorded_answer_is_read_whole(registry: Registry, recording: Recording) -> None:
    async with Loopback(recording.replies()) as server:
        for place, exchange in enumerate(recording.exchanges):
            model = model_of(registry, server.url, exchange)
            tools = tools_of(exchange.body)
            asked = request([User((Text("go"),))], tools, settings_of(recording), "Be brief.")
            if recording.name == "openrouter_stream_error":
                with pytest.raises(ModelRefused) as refused:
                    await ask(model, asked)
                assert "Token limit reached" in str(refused.value)
                assert refused.value.details["status"] == 400
                continue
            if recording.name == "tool_use_failed_error_streaming" and place == 0:
                with pytest.raises(ModelRefused) as refused:
                    await ask(model, asked)
                assert refused.value.details["code"] == "tool_use_failed"
                assert refused.value.retryable
                continue
            deltas, answer = await ask(model, asked)
            check_shown(deltas, answer.content)
            assert answer.content
            assert answer.usage.requests == 1
            assert answer.usage.input_tokens > 0
            assert answer.usage.output_tokens > 0
            assert answer.response_id
            calls = [b for b in answer.content if isinstance(b, ToolCall)]
            assert (answer.stop == "tool_use") == bool(calls)
            assert all(c.malformed is None for c in calls)
            assert stored(answer).content == answer.content
            assert len(server.requests) == place + 1


@pytest.mark.parametrize("recording", [p for p in RECORDINGS if p.values[0].exchanges[0].body])  # type: ignore[union-attr]
async def test_our_requests_say_what_was_recorded(registry: Registry, recording: Recording) -> None:
    async with Loopback(recording.replies()) as server:
        exchange = recording.exchanges[0]
        model = model_of(registry, server.url, exchange)
        tools = tools_of(exchange.body)
        try:
            await ask(model, request([User((Text("go"),))], tools, settings_of(recording)))
        except ModelRefused:
            assert "error" in recording.name
        (seen,) = server.requests
        assert (seen.method, seen.path) == (exchange.method, exchange.path)
        body, was = seen.body, exchange.body
        assert body.get("model") == was.get("model")
        assert body.get("stream") == was.get("stream")
        assert roles_of(body) == roles_of(was)
        assert [t.name for t in tools_of(body)] == [t.name for t in tools]
        for ours, theirs in zip(tools_of(body), tools, strict=True):
            assert set(ours.parameters.get("properties", {})) == set(theirs.parameters.get("properties", {}))


_GENERATED = re.compile(r"pyd_ai_[0-9a-f]{32}")


def without_generated_ids(body: Any) -> Any:
    """Ids that pydantic-ai makes up for providers that send none, numbered by appearance."""
    text, known = json.dumps(body), dict[str, str]()
    return json.loads(_GENERATED.sub(lambda m: known.setdefault(m[0], f"id{len(known)}"), text))


async def answered_by_pydantic(
    model: LiveModel, recording: Recording, tools: tuple[ToolDefinition, ...], settings: ModelSettings, skip: int
) -> None:
    """The same conversation with pydantic-ai's own messages."""
    from pydantic_ai import messages as pm
    from pydantic_ai.direct import model_request_stream

    history: list[pm.ModelMessage] = [pm.ModelRequest.user_text_prompt("go")]
    asked = request([], tools, settings, "Be brief.")
    for _ in recording.exchanges[skip:]:
        opening = model_request_stream(
            await model._load(),
            history,
            model_settings=model._settings(settings),
            model_request_parameters=model._parameters(asked),
            instrument=False,
        )
        async with opening as stream:
            async for _event in stream:
                pass
        answer = stream.get()
        history.append(answer)
        results: list[pm.ModelRequestPart] = [
            pm.ToolReturnPart(c.tool_name, f"result of {c.tool_name}", c.tool_call_id) for c in answer.tool_calls
        ]
        history.append(pm.ModelRequest(results or [pm.UserPromptPart("go on")]))


async def answered_by_us(
    model: LiveModel, recording: Recording, tools: tuple[ToolDefinition, ...], settings: ModelSettings, skip: int
) -> list[Assistant]:
    entries = [Entry(User((Text("go"),)))]
    answers: list[Assistant] = []
    for _ in recording.exchanges[skip:]:
        asked = msgspec.structs.replace(request([], tools, settings, "Be brief."), entries=entries)
        _, answer = await ask(model, asked)
        kept = stored(answer)
        answers.append(kept)
        entries.append(Entry(kept))
        entries += [Entry(ToolResult(c.id, c.name, (Text(f"result of {c.name}"),))) for c in kept.calls]
        if not kept.calls:
            entries.append(Entry(User((Text("go on"),))))
    return answers


@pytest.mark.parametrize("recording", SEVERAL)
async def test_stored_answers_go_back_exactly_as_pydantic_ai_sends_its_own(registry: Registry, recording: Recording) -> None:
    skip = 1 if recording.name == "tool_use_failed_error_streaming" else 0
    settings = settings_of(recording)
    if recording.name == NATIVE:
        settings = msgspec.structs.replace(settings, extra={"native_tools": [{"kind": "web_search"}]})
    tools = tools_of(recording.exchanges[0].body)
    replies = recording.replies()[skip:]
    async with Loopback([*replies, *replies]) as server:
        model = model_of(registry, server.url, recording.exchanges[0])
        await answered_by_us(model, recording, tools, settings, skip)
        await answered_by_pydantic(model, recording, tools, settings, skip)
        half = len(replies)
        for ours, theirs in zip(server.requests[:half], server.requests[half:], strict=True):
            # Marks for a cache are ours, and have a test of their own.
            assert without_generated_ids(unmarked(ours.body)) == without_generated_ids(unmarked(theirs.body))


async def test_signatures_and_provider_blocks_survive_storage(registry: Registry) -> None:
    assert FOLDER is not None
    for name, wanted in (
        ("anthropic_model_thinking_part_stream", "signature"),
        ("anthropic_model_thinking_part_redacted_stream", "redacted"),
        ("google_streaming_tool_call_thought_signature", "thought_signature"),
        (NATIVE, "provider"),
    ):
        recording = load_recording(FOLDER / f"{name}.json")
        async with Loopback(recording.replies()) as server:
            model = model_of(registry, server.url, recording.exchanges[0])
            tools = tools_of(recording.exchanges[0].body)
            _, answer = await ask(model, request([User((Text("go"),))], tools, settings_of(recording)))
            content = stored(answer).content
            if wanted == "signature":
                assert any(isinstance(b, Thinking) and b.signature and b.text and not b.redacted for b in content)
            elif wanted == "redacted":
                assert any(isinstance(b, Thinking) and b.signature and b.redacted for b in content)
            elif wanted == "provider":
                assert any(isinstance(b, ProviderBlock) and b.provider == "anthropic" for b in content)
            else:
                (call,) = [b for b in content if isinstance(b, ToolCall)]
                assert call.opaque is not None
                assert call.opaque.details["part"]["thought_signature"]


def cuts(recording: Recording) -> list[tuple[Exchange, int]]:
    return [(e, n) for e in recording.exchanges for n in range(len(sse_events(e.reply.body)))]


@pytest.mark.parametrize("recording", RECORDINGS)
async def test_a_stream_cut_anywhere_is_never_taken_for_an_answer(registry: Registry, recording: Recording) -> None:
    """At every event boundary. An answer is allowed only when nothing but the tail without content was lost."""
    places = cuts(recording)
    if len(places) > 60:
        # Long streams repeat themselves: their first and last events, and a sample between.
        places = [*places[:8], *places[8:-12:11], *places[-12:]]
    whole: dict[int, tuple[AgentBlock, ...] | None] = {}
    refused = 0
    async with Loopback() as server:
        for exchange, place in places:
            model = model_of(registry, server.url, exchange)
            asked = request([User((Text("go"),))], tools_of(exchange.body), settings_of(recording))
            if id(exchange) not in whole:
                server.add(exchange.reply)
                try:
                    _, answer = await ask(model, asked)
                    whole[id(exchange)] = comparable(answer.content)
                except ModelRefused:
                    whole[id(exchange)] = None
            server.add(exchange.reply.with_(send=place, ending=("end", "close")[place % 2]))
            try:
                _, answer = await ask(model, asked)
            except StreamBroken:
                continue
            except ModelRefused:
                refused += 1
                continue
            if whole[id(exchange)] is None:
                # The provider first says that the limit was reached, then that this is an error.
                assert answer.stop == "max_tokens"
                continue
            assert comparable(answer.content) == whole[id(exchange)]
            assert place >= len(sse_events(exchange.reply.body)) - 3
    assert not refused or None in whole.values()


def comparable(content: Sequence[AgentBlock]) -> tuple[AgentBlock, ...]:
    """Without made-up ids and the clock."""
    made = []
    for block in content:
        if isinstance(block, ToolCall):
            block = msgspec.structs.replace(block, id="x", opaque=None)
        elif isinstance(block, Text | Thinking):
            block = msgspec.structs.replace(block, opaque=None)
        elif isinstance(block, ProviderBlock):
            block = msgspec.structs.replace(block, data={})
        made.append(block)
    return tuple(made)


@pytest.mark.parametrize("recording", ONE_PER_WIRE)
@pytest.mark.parametrize("how", ["close", "cancel"])
async def test_leaving_closes_the_connection_at_once(registry: Registry, recording: Recording, how: str) -> None:
    exchange = recording.exchanges[-1]
    async with Loopback([exchange.reply.with_(stall_after=len(sse_events(exchange.reply.body)) - 1)]) as server:
        model = model_of(registry, server.url, exchange)
        asked = request([User((Text("go"),))], tools_of(exchange.body), settings_of(recording))
        seen: list[ModelChunk] = []

        async def read() -> None:
            async for chunk in model.stream(asked):
                seen.append(chunk)

        if how == "cancel":
            task = asyncio.create_task(read())
            await server.wait_stalled()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            stream = model.stream(asked)
            seen.append(await anext(stream))
            await stream.aclose()
        await server.wait_disconnects()
        assert not any(isinstance(c, ModelAnswer) for c in seen)


def test_the_recordings_are_all_read() -> None:
    names = {p.stem for p in FILES}
    assert {"complex_agent_run", "openai_responses_stream", "deepseek_responses-function_tool_stream"} <= names
