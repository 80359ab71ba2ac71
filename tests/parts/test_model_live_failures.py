"""What a provider can do wrong, and which of godwit's errors it becomes; never with the key in it, never retried."""

from __future__ import annotations

import asyncio
import json
import socket
import time
import traceback
from collections.abc import AsyncIterator, Sequence
from email.utils import formatdate
from itertools import product
from typing import Any

import pytest
from tests.loopback import Loopback, Reply, sse_events
from tests.parts.model_checks import ask, request
from tests.parts.test_model_live_wires import WIRES, Said, Wire, anthropic, chat, google, model_at, responses

from godwit.contracts import ModelAnswer, ModelChunk, TextDelta
from godwit.core.errors import (
    AuthenticationFailed,
    ContextTooLong,
    ModelError,
    ModelRefused,
    ModelUnavailable,
    RateLimited,
    StreamBroken,
)
from godwit.core.messages import Text, User
from godwit.models.registry import Registry

KEY = "sk-test-4f9c2d7e81b34ac6a0d5"
GO = request([User((Text("go"),))])


@pytest.fixture(params=list(WIRES))
def wire(request: pytest.FixtureRequest) -> Wire:
    return WIRES[request.param]


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    made = Registry(environment={})
    yield made
    await made.close()


def body_of(wire: Wire, message: str, kind: str = "some_error", code: Any = None, status: int = 400) -> Any:
    match wire.provider:
        case "anthropic":
            return {"type": "error", "error": {"type": kind, "message": message}}
        case "google":
            return {"error": {"code": status, "message": message, "status": kind}}
        case _:
            return {"error": {"message": message, "type": kind, "code": code, "param": None}}


async def failures(registry: Registry, wire: Wire, replies: Sequence[Reply]) -> list[ModelError]:
    """What each of the replies is raised as."""
    found: list[ModelError] = []
    async with Loopback() as server:
        model = model_at(registry, server, wire)
        for reply in replies:
            server.add(reply)
            with pytest.raises(ModelError) as raised:
                await ask(model, GO)
            found.append(raised.value)
            assert len(server.requests) == len(found), "the adapter must leave retries to the engine"
    return found


async def failure(registry: Registry, wire: Wire, reply: Reply) -> ModelError:
    (found,) = await failures(registry, wire, [reply])
    return found


STATUSES: list[tuple[int, type[ModelError], bool]] = [
    (400, ModelRefused, False),
    (401, AuthenticationFailed, False),
    (403, AuthenticationFailed, False),
    (404, ModelRefused, False),
    (408, ModelUnavailable, True),
    (409, ModelUnavailable, True),
    (413, ContextTooLong, False),
    (422, ModelRefused, False),
    (429, RateLimited, True),
    (500, ModelUnavailable, True),
    (502, ModelUnavailable, True),
    (503, ModelUnavailable, True),
    (504, ModelUnavailable, True),
    (529, ModelUnavailable, True),
]


async def test_each_status_has_its_error(registry: Registry, wire: Wire) -> None:
    replies = [Reply.json(body_of(wire, "the reason", status=status), status) for status, *_ in STATUSES]
    for error, (status, kind, retryable) in zip(await failures(registry, wire, replies), STATUSES, strict=True):
        assert (type(error), error.retryable, error.details["status"]) == (kind, retryable, status)
        assert "the reason" in str(error)
        assert wire.model in str(error)
        assert json.dumps(error.fault().details)


async def test_the_wait_a_provider_asks_for(registry: Registry, wire: Wire) -> None:
    waits: list[tuple[dict[str, str], float | None, float | None]] = [
        ({"retry_after": "7"}, 7, 7),
        ({"retry_after_ms": "1500"}, 1.5, 1.5),
        ({"retry_after": "in a while"}, None, None),
        ({}, None, None),
        ({"retry_after": formatdate(time.time() + 3600, usegmt=True)}, 3000, 3600),
    ]
    for status in (429, 503):
        replies = [Reply.json(body_of(wire, "slow down"), status, **headers) for headers, _, _ in waits]
        for error, (_, least, most) in zip(await failures(registry, wire, replies), waits, strict=True):
            if least is None or most is None:
                assert error.retry_after_s is None
            else:
                assert error.retry_after_s is not None
                assert least <= error.retry_after_s <= most


async def test_google_names_the_wait_in_the_body(registry: Registry) -> None:
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "14s"}
    body = {"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": [info]}}
    error = await failure(registry, WIRES["google"], Reply.json(body, 429))
    assert isinstance(error, RateLimited)
    assert error.retry_after_s == 14


async def test_a_full_context_window_is_recognised(registry: Registry) -> None:
    for name, message, kind, code in (
        ("anthropic", "prompt is too long: 210000 tokens > 200000 maximum", "invalid_request_error", None),
        ("chat", "This model's maximum context length is 128000 tokens.", "x", "context_length_exceeded"),
        ("responses", "Your input exceeds the context window of this model.", "x", "context_length_exceeded"),
        ("google", "The input token count (1200000) exceeds the maximum number of tokens.", "INVALID_ARGUMENT", None),
        # llama.cpp, vLLM, LM Studio
        ("chat", "the request exceeds the available context size", "exceed_context_size_error", 400),
        ("chat", "This model's maximum context length is 4096 tokens. You requested 5000", "BadRequestError", 400),
        ("chat", "Trying to keep the first 5000 tokens when the context length is only 4096", "error", None),
    ):
        error = await failure(registry, WIRES[name], Reply.json(body_of(WIRES[name], message, kind, code), 400))
        assert type(error) is ContextTooLong, message
        assert not error.retryable


async def test_a_used_up_quota_is_not_worth_a_retry(registry: Registry) -> None:
    body = body_of(WIRES["chat"], "You exceeded your current quota", "insufficient_quota", "insufficient_quota")
    error = await failure(registry, WIRES["chat"], Reply.json(body, 429))
    assert isinstance(error, RateLimited)
    assert not error.retryable


async def test_the_provider_may_say_whether_to_retry(registry: Registry) -> None:
    error = await failure(
        registry, WIRES["anthropic"], Reply.json({"error": {"message": "no"}}, 500, x_should_retry="false")
    )
    assert isinstance(error, ModelUnavailable)
    assert not error.retryable


@pytest.mark.parametrize(
    ("name", "event", "kind"),
    [
        ("anthropic", {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, ModelUnavailable),
        ("anthropic", {"type": "error", "error": {"type": "api_error", "message": "Internal"}}, ModelUnavailable),
        ("anthropic", {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow"}}, RateLimited),
        ("chat", {"error": {"message": "boom", "type": "server_error", "code": None}}, ModelUnavailable),
        ("chat", {"error": {"message": "slow", "type": "requests", "code": "rate_limit_exceeded"}}, RateLimited),
        ("responses", {"type": "error", "code": "server_error", "message": "boom", "param": None}, ModelUnavailable),
        ("responses", {"type": "error", "code": "rate_limit_exceeded", "message": "slow", "param": None}, RateLimited),
        ("google", {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}, ModelUnavailable),
    ],
)
async def test_an_error_inside_the_stream(
    registry: Registry, name: str, event: dict[str, Any], kind: type[ModelError]
) -> None:
    whole = WIRES[name].say(Said(text=["one ", "two ", "three "]))
    events = sse_events(whole.body)
    named = f"event: {event['type']}\n" if "type" in event else ""
    body = b"".join(events[:-3]) + f"{named}data: {json.dumps(event)}\n\n".encode()
    error = await failure(registry, WIRES[name], whole.with_(body=body))
    assert type(error) is kind
    assert error.retryable


async def test_a_failed_response_says_why(registry: Registry) -> None:
    whole = sse_events(responses(Said(text=["one"])).body)
    failed = {
        "type": "response.failed",
        "sequence_number": 99,
        "response": {
            "id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-5", "status": "failed", "output": [],
            "error": {"code": "server_error", "message": "the model crashed"}, "parallel_tool_calls": True,
            "tool_choice": "auto", "tools": [],
        },
    }  # fmt: skip
    body = b"".join(whole[:-1]) + f"event: response.failed\ndata: {json.dumps(failed)}\n\n".encode()
    error = await failure(registry, WIRES["responses"], Reply(body))
    assert isinstance(error, ModelUnavailable)
    assert "the model crashed" in str(error)


async def test_a_stream_cut_at_every_event(registry: Registry, wire: Wire) -> None:
    calls = [("call_1", "weather", ['{"city"', ': "Oslo"}']), ("call_2", "weather", ['{"city": "Rome"}'])]
    whole = wire.say(Said(["hm", "m"], ["I ", "look."], calls, "tools"))
    async with Loopback() as server:
        model = model_at(registry, server, wire)
        server.add(whole)
        _, right = await ask(model, GO)
        complete = []
        for place, ending in product(range(len(whole.pieces)), ("end", "close", "abort")):
            server.add(whole.with_(send=place, ending=ending))
            shown: list[ModelChunk] = []
            try:
                async for chunk in model.stream(GO):
                    shown.append(chunk)
            except StreamBroken:
                assert not any(isinstance(c, ModelAnswer) for c in shown)
            except ModelUnavailable:
                # Nothing of the answer had come: the connection was lost before it.
                assert ending == "abort"
                assert not shown
            else:
                assert isinstance(shown[-1], ModelAnswer)
                assert len(shown[-1].content) == len(right.content)
                complete.append((place, ending))
        # Only where the provider had said that this was all: before usage, [DONE] or message_stop.
        assert all(place >= len(whole.pieces) - 2 and ending == "end" for place, ending in complete), complete


async def test_nonsense_inside_the_stream(registry: Registry, wire: Wire) -> None:
    whole = wire.say(Said(text=["one ", "two "]))
    named = b"event: content_block_delta\n" if wire.provider == "anthropic" else b""
    for bad in (b'data: {"broken\n\n', b"data: <html>\n\n"):
        body = b"".join(whole.pieces[:-3]) + named + bad + b"".join(whole.pieces[-3:])
        error = await failure(registry, wire, whole.with_(body=body))
        assert isinstance(error, StreamBroken)


async def test_an_answer_that_is_no_stream(registry: Registry, wire: Wire) -> None:
    error = await failure(registry, wire, Reply(b"<html>a proxy says hello</html>", content_type="text/html", split="whole"))
    assert isinstance(error, ModelError)
    assert error.retryable


async def test_an_empty_answer_is_broken(registry: Registry, wire: Wire) -> None:
    error = await failure(registry, wire, Reply(b""))
    assert isinstance(error, StreamBroken)


async def test_nobody_is_listening(registry: Registry, wire: Wire) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}{wire.base}"
    registry.register_provider(wire.provider, base_url=url, api_key=KEY)
    with pytest.raises(ModelUnavailable) as raised:
        await ask(registry.resolve(wire.model), GO)
    assert raised.value.retryable


async def test_silence_ends_at_the_read_timeout(wire: Wire) -> None:
    registry = Registry(environment={}, read_timeout_s=0.2)
    whole = wire.say(Said(text=["one ", "two "]))
    async with Loopback([whole.with_(stall_after=len(whole.pieces) - 2)]) as server:
        with pytest.raises(ModelUnavailable) as raised:
            await ask(model_at(registry, server, wire), GO)
        assert raised.value.retryable
        await server.wait_disconnects()
    await registry.close()


@pytest.mark.parametrize("where", ["status", "stream"])
async def test_the_key_is_in_no_error(registry: Registry, wire: Wire, where: str) -> None:
    """The provider says it back, in the message, the code and a header."""
    said = f"Incorrect API key provided: {KEY}. Bearer {KEY} is not valid."
    body = body_of(wire, said, kind=f"bad {KEY}", code=f"key {KEY}", status=401)
    reply = Reply.json(body, 401, x_key=KEY)
    if where == "stream":
        whole = wire.say(Said(text=["one ", "two "]))
        reply = whole.with_(body=b"".join(whole.pieces[:-3]) + f"event: error\ndata: {json.dumps(body)}\n\n".encode())
    async with Loopback([reply]) as server:
        registry.register_provider(wire.provider, base_url=server.url + wire.base, api_key=KEY)
        with pytest.raises(ModelError) as raised:
            await ask(registry.resolve(wire.model), GO)
        assert KEY in json.dumps(server.requests[0].headers), "the key is sent, or this test proves nothing"
    error = raised.value
    seen = (
        "".join(traceback.format_exception(error)) + repr(error) + str(error.args) + repr(error.details) + repr(vars(error))
    )
    assert KEY not in seen
    assert KEY[8:] not in seen
    assert error.__cause__ is None
    assert error.__context__ is None
    if where == "status":
        assert isinstance(error, AuthenticationFailed)


@pytest.mark.parametrize("how", ["close", "cancel", "break"])
@pytest.mark.parametrize("moment", ["before", "within"])
async def test_leaving_closes_the_connection(registry: Registry, wire: Wire, how: str, moment: str) -> None:
    whole = wire.say(Said(text=["one ", "two ", "three ", "four "]))
    at = len(whole.pieces) - 2 if moment == "within" else 0
    async with Loopback([whole.with_(stall_after=at)]) as server:
        model = model_at(registry, server, wire)
        if how == "cancel" or moment == "before":
            task = asyncio.create_task(ask(model, GO))
            await server.wait_stalled()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            stream = model.stream(GO)
            async for chunk in stream:
                if isinstance(chunk, TextDelta) and "two" in chunk.text:
                    break
            await stream.aclose()
        await server.wait_disconnects()
        # The next request is not disturbed.
        server.release()
        server.add(wire.say(Said(text=["ok"])))
        _, answer = await ask(model, GO)
        assert answer.stop == "end_turn"


async def test_the_openers_are_what_the_wires_say() -> None:
    assert {anthropic, chat, responses, google} == {w.say for w in WIRES.values()}
