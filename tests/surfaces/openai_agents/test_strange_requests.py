"""Requests that nobody would send: each is answered, in the protocol's shape, and never as a fault of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from hypothesis import given, settings, strategies as st

from godwit.models.script import ScriptedModel, say
from godwit.surfaces.openai_agents.errors import TYPES
from tests.surfaces.server.running import RunningServer, running

from .conftest import ANY, HOSTED, NONE, WEATHER

texts = st.text(max_size=12)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)
SAID = {"type": "agent.session.input.message", "input": [{"role": "user", "content": [{"type": "input_text", "text": "x"}]}]}
RESULT = {"type": "agent.session.input.tool_result", "call_id": "c", "turn_id": "t", "success": True}
KNOWN: dict[str, list[Any]] = {
    "model": ["m", "", 1],
    "name": ["x", None, ""],
    "instructions": ["Be brief.", None],
    "tools": [[], None, [WEATHER], [{"type": "function"}], [{"type": []}], [[]], [{"type": "web_search", "mode": "live"}]],
    "metadata": [{}, None, {"a": "b"}, {"a": None}, {"": "x"}],
    "reasoning": [None, {"effort": "max"}, {"effort": "most"}, {"summary": "auto"}],
    "text": [None, {"verbosity": "low"}, {"format": {"type": "json_schema"}}, {"format": {"type": []}}],
    "multi_agent": [None, {"enabled": False}, {"enabled": None}],
    "environment": [NONE, HOSTED, {"type": {}}, {**HOSTED, "files": [{"type": "inline", "path": "/", "data": "x"}]}],
    "agent": [{"model": "m"}, {}, None, {"model": "m", "tools": [WEATHER]}],
    "agent_id": ["agent_x", ""],
    "input": ["hi", "", [], [{}], [{"role": "user", "content": [{"type": "input_image", "image_url": "data:"}]}]],
    "stream_options": [{"include_obfuscation": False}],
    "vault_ids": [[], ["v"]],
    "review": ["none", "auto_review"],
    "events": [[], [SAID], [RESULT], [{}], [{"type": "agent.session.input.cancel"}], [{**SAID, "input": []}]],
}
fields = st.sampled_from(sorted(KNOWN)).flatmap(
    lambda name: st.tuples(st.just(name), values | st.sampled_from(KNOWN[name]) | st.sampled_from(KNOWN[name]))
)
bodies = (
    st.lists(fields, max_size=6).map(dict).map(lambda data: json.dumps(data).encode())
    | values.map(lambda data: json.dumps(data).encode())
    | st.binary(max_size=40)
)
QUERIES = (
    "limit",
    "after",
    "order",
    "agent_id",
    "metadata",
    "metadata[a]",
    "metadata[",
    "environment_id",
    "include_obfuscation",
)
queries = st.lists(
    st.tuples(
        st.sampled_from(QUERIES) | texts, texts | st.integers().map(str) | st.sampled_from(["asc", "desc", "agent_x"])
    ),
    max_size=3,
)
header_texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20).map(str.strip)
headers = st.dictionaries(
    st.sampled_from(["idempotency-key", "content-type", "authorization", "last-event-id"]), header_texts, max_size=3
)
PATHS = (
    "agents",
    "agents/{agent}",
    "agents/sessions",
    "agents/sessions/{session}",
    "agents/sessions/{session}/events",
    "agents/sessions/{session}/items",
    "agents/sessions/{session}/turns",
    "agents/sessions/{session}/turns/{turn}",
    "agents/sessions/{session}/turns/{turn}/items",
    "agents/sessions/{session}/artifacts",
    "agents/sessions/{session}/artifacts/{other}/content",
    "agents/sessions/{session}/subagents/{other}/items",
    "agents/sessions/{session}/traces",
    "agents/environments/{other}",
    "agents/automations",
    "vaults/{other}/credentials",
    "files",
    "files/{other}",
    "files/{other}/content",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder: Path = tmp_path_factory.mktemp("strange")
    model = ScriptedModel([lambda _: say("x")], select=lambda _: 0)
    with running(folder / "g.db", models={"scripted:any": model}, settings=ANY) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=f"{server.url}/v1/", headers={"openai-beta": "agents=v1"}) as client:
        yield client


@pytest.fixture(scope="module")
def ids(client: httpx2.Client) -> dict[str, str]:
    """Some things that are there."""

    def post(path: str, data: dict[str, Any]) -> str:
        return str(client.post(path, json=data).json()["id"])

    agent = post("agents", {"model": "m"})
    session = post("agents/sessions", {"agent_id": agent, "environment": NONE, "input": "go"})
    turn = client.get(f"agents/sessions/{session}/turns").json()["data"][0]["id"]
    return {"agent": agent, "session": session, "turn": turn}


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_every_request_has_its_answer(client: httpx2.Client, ids: dict[str, str], data: st.DataObject) -> None:
    ask(client, ids, data)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None)
@given(data=st.data())
def test_every_request_of_many_has_its_answer(client: httpx2.Client, ids: dict[str, str], data: st.DataObject) -> None:
    ask(client, ids, data)


def ask(client: httpx2.Client, ids: dict[str, str], data: st.DataObject) -> None:
    template = data.draw(st.sampled_from(PATHS))
    some = st.sampled_from(sorted(ids.values())) | texts.filter(bool)
    named = {name: data.draw(st.just(there) | some) for name, there in ids.items()}
    named["other"] = data.draw(some)
    path = template.format(**{name: quote(value, safe="") for name, value in named.items()})
    method = data.draw(st.sampled_from(["GET", "POST", "POST", "PUT", "DELETE"]))
    if method == "DELETE":
        path = path.replace(ids["agent"], "agent_none").replace(ids["session"], "ses_none")
    query: Any = data.draw(queries)
    given_headers = data.draw(headers)
    if path.endswith("/events") and method == "GET":
        query = [*query, ("from_seq", "no place")]  # else it is a stream that does not end
        given_headers.pop("last-event-id", None)
    answer = client.request(
        method, path, params=query, headers=given_headers, content=data.draw(bodies) if method != "GET" else None
    )
    assert answer.status_code < 500 or answer.status_code == 501, (answer.status_code, answer.text)
    assert answer.headers["request-id"].startswith("req_")
    if answer.status_code >= 400:
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "code", "param"}
        assert error["type"] == TYPES.get(answer.status_code, "invalid_request_error")
        assert error["message"]
