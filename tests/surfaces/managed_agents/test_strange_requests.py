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

from godwit.models.script import ScriptedModel
from godwit.surfaces.server import ServerSettings
from tests.surfaces.server.running import RunningServer, running

COLLECTIONS = ("agents", "environments", "sessions", "vaults", "vaults/{vault}/credentials")
TYPES = {
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "not_found_error",
    "conflict_error",
    "rate_limit_error",
    "api_error",
}

texts = st.text(max_size=12)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)
FIELDS = (
    "name", "model", "tools", "metadata", "system", "config", "agent", "environment_id", "title", "budget", "version",
    "description", "mcp_servers", "skills", "multiagent", "resources", "vault_ids", "initial_events", "scope",
    "display_name", "auth",
)  # fmt: skip
KNOWN: dict[str, list[Any]] = {
    "name": ["x"],
    "model": ["m", {"id": "m", "effort": "low"}],
    "tools": [[], [{"type": "agent_toolset_20260401"}], [{"type": "custom", "name": "t"}], [{"type": None}], [[]]],
    "metadata": [{}, {"a": "b"}, {"a": None}],
    "config": [
        {"type": "cloud"},
        {"type": "self_hosted"},
        {"type": []},
        {"type": "cloud", "networking": {"type": "limited"}},
    ],
    "display_name": ["x"],
    "auth": [
        {"type": "static_bearer", "token": "t", "mcp_server_url": "https://m.example/"},
        {"type": "mcp_oauth", "access_token": "t", "mcp_server_url": "x", "expires_at": "9999-12-31T23:59:59-23:00"},
        {"type": "environment_variable"},
        {"type": []},
    ],
    "agent": ["agent_x", {"type": "agent", "id": "x"}, {"type": {}}],
    "budget": [{"type": "limit", "max_list_cost": {"amount": "1", "currency": "USD"}}],
}
fields = st.sampled_from(FIELDS).flatmap(
    lambda name: st.tuples(st.just(name), values | st.sampled_from(KNOWN.get(name, [None])))
)
bodies = (
    st.lists(fields, max_size=6).map(dict).map(lambda data: json.dumps(data).encode())
    | values.map(lambda data: json.dumps(data).encode())
    | st.binary(max_size=40)
)
QUERIES = ("limit", "page", "order", "statuses[]", "statuses", "created_at[gte]", "created_at[lt]", "include_archived",
           "version", "agent_id", "agent_version", "deployment_id", "beta")  # fmt: skip
queries = st.lists(
    st.tuples(
        st.sampled_from(QUERIES) | texts,
        texts
        | st.integers().map(str)
        | st.sampled_from(["asc", "desc", "true", "idle", "2026-01-01", "9999-12-31T23:59:59Z"]),
    ),
    max_size=4,
)
header_texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
headers = st.dictionaries(
    st.sampled_from(
        ["anthropic-version", "anthropic-beta", "idempotency-key", "content-type", "authorization", "x-api-key"]
    ),
    header_texts.map(str.strip),
    max_size=3,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder: Path = tmp_path_factory.mktemp("strange")
    chosen = ServerSettings(port=0, models={"*": "scripted:any"})
    with running(folder / "g.db", models={"scripted:any": ScriptedModel([])}, settings=chosen) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.url) as client:
        yield client


@pytest.fixture(scope="module")
def ids(client: httpx2.Client) -> dict[str, str]:
    """Some things that are there."""

    def post(path: str, data: dict[str, Any]) -> str:
        return str(client.post(f"/v1/{path}", json=data).json()["id"])

    agent = post("agents", {"name": "x", "model": "m"})
    environment = post("environments", {"name": "there"})
    session = post("sessions", {"agent": agent, "environment_id": environment})
    vault = post("vaults", {"display_name": "there"})
    auth = {"type": "static_bearer", "token": "t", "mcp_server_url": "https://m.example/"}
    credential = post(f"vaults/{vault}/credentials", {"auth": auth})
    made = [agent, environment, session, vault, credential]
    return dict(zip(COLLECTIONS, made, strict=True))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_every_request_has_its_answer(client: httpx2.Client, ids: dict[str, str], data: st.DataObject) -> None:
    ask(client, ids, data)


def test_an_empty_header_of_another_protocol_says_nothing(client: httpx2.Client) -> None:
    told = client.get("/v1/agents/none", headers={"OpenAI-Beta": ""})
    assert (told.status_code, told.json()["error"]["type"]) == (404, "not_found_error")


@pytest.mark.slow
@settings(max_examples=3000, deadline=None)
@given(data=st.data())
def test_every_request_of_many_has_its_answer(client: httpx2.Client, ids: dict[str, str], data: st.DataObject) -> None:
    ask(client, ids, data)


def ask(client: httpx2.Client, ids: dict[str, str], data: st.DataObject) -> None:
    collection = data.draw(st.sampled_from(COLLECTIONS))
    some_id = data.draw(st.just(ids[collection]) | st.sampled_from(list(ids.values())) | texts.filter(bool))
    path = data.draw(st.sampled_from(["", "/{}", "/{}/archive", "/{}/versions", "/{}/work/poll", "/{}/resources", "//{}"]))
    method = data.draw(st.sampled_from(["GET", "POST", "POST", "PUT", "PATCH", "DELETE"]))
    if method == "DELETE" and some_id in ids.values():
        method = "GET"
    place = collection.format(vault=ids["vaults"])
    url = f"/v1/{place}{path.format(quote(some_id, safe=''))}"
    content = data.draw(bodies) if method in ("POST", "PUT", "PATCH") and not path.endswith("archive") else None
    query: Any = data.draw(queries)
    answer = client.request(method, url, params=query, content=content, headers=data.draw(headers))
    assert answer.status_code < 500 or answer.status_code == 501, answer.text
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    if answer.status_code >= 400:
        assert told["type"] == "error"
        assert told["error"]["type"] in TYPES
        assert isinstance(told["error"]["message"], str)
        if "idempotent-replayed" not in answer.headers:
            assert told["request_id"] == answer.headers["request-id"]
