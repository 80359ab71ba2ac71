"""What may be sent to a session, and how the rest is refused: with the reason, and with nothing half-done."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from godwit.core.events import Event, UserMessage
from godwit.core.ids import SessionId
from godwit.core.messages import Document, Image, Text
from godwit.core.principal import Principal
from godwit.host.api_keys import ApiKeys
from godwit.models.script import ScriptedModel, call, hold, say
from godwit.surfaces.managed_agents.inputs import KINDS, Inputs, read_inputs
from godwit.surfaces.server import ServerSettings
from tests.surfaces.managed_agents.test_projection import SESSION_OF_OTHERS
from tests.surfaces.server.running import running

from .conftest import Start, client_of
from .talk import ASKING, Talk, custom, said

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
PDF = base64.b64encode(b"%PDF-1.7").decode()


def message(*content: Any) -> Any:
    return {"type": "user.message", "content": list(content)}


def test_blocks_of_all_kinds_arrive_and_come_back_as_they_were(start: Start) -> None:
    content: list[Any] = [
        {"type": "text", "text": "Look:"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        {"type": "image", "source": {"type": "url", "url": "https://example.org/bird.jpeg"}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "tweet"}, "title": "Song"},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}},
        {"type": "document", "source": {"type": "url", "url": "https://example.org/bird.pdf"}},
    ]
    server = start("Nice.")
    with Talk(server) as talk:
        with talk.listen() as heard:
            (echo,) = talk.send(message(*content))
            heard.idle()
        assert [b.to_dict(exclude_unset=True) for b in echo.content] == content
        assert heard.some("user.message").content == echo.content

        async def stored() -> tuple[Any, ...]:
            events = await server.runtime.store.read(SessionId(talk.id), types=("user.message",))
            data = events[0].data
            assert isinstance(data, UserMessage)
            return data.content

        text, inline, linked, song, *_ = server.call(stored)
        assert text == Text("Look:")
        assert inline == Image("image/png", data=b"\x89PNG\r\n\x1a\n")
        assert linked == Image("image/jpeg", url="https://example.org/bird.jpeg")
        assert song == Document("text/plain", data=b"tweet", name="Song")


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talk]:
    """A session that waits for a confirmation of its first call and the result of its second."""
    model = ScriptedModel([call("bash", command="x") + call("look"), *["Well."] * 500])
    database = tmp_path_factory.mktemp("inputs") / "g.db"
    options = ServerSettings(port=0, models={"*": "scripted:any"})
    with (
        running(database, models={"scripted:any": model}, settings=options) as server,
        Talk(server, ASKING, custom("look")) as talk,
    ):
        with talk.listen() as heard:
            talk.say()
            heard.idle()
        yield talk


def uses(talk: Talk) -> tuple[str, str]:
    bash, look = (e.id for e in talk.list() if e.type in ("agent.tool_use", "agent.custom_tool_use"))
    return bash, look


BAD: list[tuple[Any, str]] = [
    ("x", "events.0: an object"),
    ({}, "events.0.type"),
    ({"type": "user.shout"}, "events.0.type"),
    ({"type": "agent.message"}, "events.0.type"),
    ({"type": "user.message"}, "events.0.content"),
    ({"type": "user.message", "content": []}, "events.0.content"),
    ({"type": "user.message", "content": "hi"}, "events.0.content"),
    (message({"type": "text"}), "events.0.content.0.text"),
    (message({"type": "text", "text": " "}), "events.0.content"),
    (message({"type": "text", "text": "a", "cache_control": {}}), "events.0.content.0.cache_control"),
    ({**said("a"), "role": "user"}, "events.0.role"),
    (message({"type": "redacted"}), "redacted"),
    (message({"type": "image", "source": {"type": "file", "file_id": "file_1"}}), "events.0.content.0.source.file_id: "),
    (message({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "?"}}), "base64"),
    (message({"type": "image", "source": {"type": "base64", "media_type": "text/html", "data": PNG}}), "no image"),
    (message({"type": "image", "source": {"type": "url", "url": "file:///etc/passwd"}}), "no http address"),
    (message({"type": "document", "source": {"type": "text", "media_type": "text/html", "data": "x"}}), "text/plain"),
    (message({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": 1}}), "a text is needed"),
    ({"type": "user.interrupt", "session_thread_id": "sthr_other"}, "no thread"),
    ({"type": "user.tool_confirmation", "tool_use_id": "sevt_x", "result": "allow"}, "no event"),
    ({"type": "user.tool_confirmation", "tool_use_id": "sevt_x", "result": "maybe"}, "neither allow nor deny"),
    ({"type": "user.tool_confirmation", "tool_use_id": "a", "result": "allow", "deny_message": "x"}, "deny_message"),
    ({"type": "user.tool_confirmation", "tool_use_id": "a", "result": "deny", "input": {}}, "input"),
    ({"type": "user.tool_confirmation", "tool_use_id": "a", "result": "allow", "input": []}, "input: an object"),
    ({"type": "user.custom_tool_result", "custom_tool_use_id": 1}, "custom_tool_use_id"),
    ({"type": "user.custom_tool_result", "custom_tool_use_id": "call_0_0"}, "no event"),
    ({"type": "user.tool_result", "tool_use_id": SESSION_OF_OTHERS}, "no event"),
]


@pytest.mark.parametrize(("bad", "why"), BAD)
def test_what_is_wrong_is_named_and_nothing_is_done(talk: Talk, bad: Any, why: str) -> None:
    before = talk.list()
    with pytest.raises(anthropic.BadRequestError, match=why):
        talk.send(bad)
    second = why.replace("events.0", "events.1")
    with pytest.raises(anthropic.BadRequestError, match=second):
        talk.send(said("first"), bad)
    assert talk.list() == before


def test_answers_fit_what_is_asked(talk: Talk) -> None:
    bash, look = uses(talk)
    span = next(e.id for e in talk.list() if e.type == "span.model_request_start")
    wrong: list[tuple[list[Any], str]] = [
        ([{"type": "user.tool_confirmation", "tool_use_id": look, "result": "allow"}], "send user.custom_tool_result"),
        ([{"type": "user.custom_tool_result", "custom_tool_use_id": bash}], "confirmed first"),
        ([{"type": "user.tool_result", "tool_use_id": look}], "send user.custom_tool_result"),
        ([{"type": "user.tool_confirmation", "tool_use_id": span, "result": "allow"}], "no call"),
        ([{"type": "user.custom_tool_result", "custom_tool_use_id": look}] * 2, "answered twice"),
        ([{"type": "user.custom_tool_result", "custom_tool_use_id": look, "session_thread_id": "sthr_x"}], "no thread"),
        (
            [{"type": "user.tool_confirmation", "tool_use_id": bash, "result": "allow", "session_thread_id": "sthr_x"}],
            "no thread",
        ),
        (
            [{"type": "user.interrupt"}, {"type": "user.custom_tool_result", "custom_tool_use_id": look}],
            "an interrupt before",
        ),
    ]
    before = talk.list()
    for events, why in wrong:
        with pytest.raises(anthropic.BadRequestError, match=why):
            talk.send(*events)
    with pytest.raises(anthropic.APIStatusError) as refused:
        talk.send({"type": "user.define_outcome"})
    assert refused.value.status_code == 501
    assert talk.list() == before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("type", "text", "content", "x")), inner),
    max_leaves=8,
)
FIELDS = ("content", "tool_use_id", "custom_tool_use_id", "result", "deny_message", "is_error", "input", "session_thread_id")
EVENT = st.builds(
    lambda kind, rest: {**rest, "type": kind},
    st.sampled_from([k for k in KINDS if k != "user.interrupt"]) | JSON,
    st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4),
)


@given(st.lists(EVENT, max_size=3) | JSON)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bodies_of_any_kind_are_taken_or_refused_as_the_protocol_does(talk: Talk, events: Any) -> None:
    url = f"{talk.server.url}/v1/sessions/{talk.id}/events"
    answer = httpx.post(url, json={"events": events}, headers={"x-api-key": "any"})
    assert answer.status_code in (200, 400, 501), answer.text
    if answer.status_code != 200:
        error = answer.json()
        assert error["type"] == "error"
        assert error["error"]["type"] in ("invalid_request_error", "api_error")
        assert error["request_id"] == answer.headers["request-id"]


@given(
    st.text(max_size=40),
    st.sampled_from(("page", "order", "limit", "types[]", "created_at[gt]", "from_seq", "event_deltas[]")),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_queries_of_any_kind_are_answered_or_refused(talk: Talk, value: str, name: str) -> None:
    url = f"{talk.server.url}/v1/sessions/{talk.id}/events"
    answer = httpx.get(url, params={name: value}, headers={"x-api-key": "any"})
    assert answer.status_code in (200, 400), answer.text
    if name in ("from_seq", "event_deltas[]"):
        with httpx.stream("GET", f"{url}/stream", params={name: value}, headers={"x-api-key": "any"}) as stream:
            assert stream.status_code in (200, 400)


@pytest.mark.parametrize("idle", [True, False])
def test_an_interrupt_that_is_done_again_does_not_end_the_run_that_it_made_room_for(start: Start, idle: bool) -> None:
    """As when the server was killed before its answer was, and the client asks the next one."""
    server = start(*([] if idle else [hold(asyncio.Event()) + say("Never.")]), hold(asyncio.Event()) + say("Never."))
    service = server.app.service
    with Talk(server) as talk, talk.listen() as heard:
        if not idle:
            talk.say("first")
            heard.some("span.model_request_start")

        async def redirect() -> list[Any]:
            inputs = read_inputs([{"type": "user.interrupt"}, said("anew")])
            return await Inputs(service).send(Principal("me", scopes=frozenset(["admin"])), talk.id, inputs, key="once")

        first = server.call(redirect)
        heard.some("span.model_request_start", 1 if idle else 2)
        again = server.call(redirect)
        assert first[1]["id"] == again[1]["id"]
        kinds = [e.type for e in talk.list()]
        assert kinds.count("user.interrupt") == (0 if idle else 1)
        assert kinds.count("user.message") == (1 if idle else 2)
        assert talk.status() == "running"
        talk.send({"type": "user.interrupt"})
        heard.idle(1 if idle else 2)


@pytest.mark.parametrize("name", ["nudge", "policy", "task t"])
def test_a_caller_who_is_called_as_one_of_the_engines_own_messages_is_heard_as_any(start: Start, name: str) -> None:
    keyed = ServerSettings(port=0, keys=True, models={"*": "scripted:any"})
    server = start(call("look"), say("Done."), settings=keyed)

    async def key() -> str:
        keys = ApiKeys(server.runtime.store, server.runtime.clock, server.runtime.ids)
        return (await keys.create(name, tenant=None, scopes=["operate"]))[0]

    with client_of(server, api_key=server.call(key)) as client, Talk(server, custom("look"), client=client) as talk:

        async def reached(kind: str) -> None:
            async for event in await server.runtime.stream_events(talk.id, 0):
                if isinstance(event, Event) and event.type == kind:
                    return

        talk.send(said("Look."))
        server.call(lambda: reached("run.parked"))
        use = next(e for e in talk.list() if e.type == "agent.custom_tool_use")
        talk.send({"type": "user.custom_tool_result", "custom_tool_use_id": use.id, "content": []})
        server.call(lambda: reached("run.finished"))
        kinds = [e.type for e in talk.list() if e.type.startswith(("user.", "agent."))]
        assert kinds == ["user.message", "agent.custom_tool_use", "user.custom_tool_result", "agent.message"]
