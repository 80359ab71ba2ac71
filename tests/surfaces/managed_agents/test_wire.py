"""What holds for every route: who is asked, errors, bodies, addresses, pages."""

from __future__ import annotations

import base64
import json
from typing import Any

import anthropic
import httpx2
import pytest

from godwit import Runtime
from godwit.host.api_keys import ApiKeys
from godwit.surfaces.server import ServerSettings
from tests.surfaces.server.running import RunningServer

from .conftest import Start, client_of


def test_both_ways_to_say_who_asks(shared: RunningServer) -> None:
    for headers in ({"x-api-key": "any"}, {"authorization": "Bearer any"}, {}):
        answer = httpx2.get(f"{shared.url}/v1/agents?beta=true", headers=headers)
        assert (answer.status_code, answer.json()) == (200, {"data": [], "next_page": None})


def test_a_key_is_taken_in_both_ways(start: Start) -> None:
    server = start(settings=ServerSettings(port=0, keys=True))
    for headers in ({"x-api-key": server.key or ""}, {"authorization": f"Bearer {server.key}"}):
        assert httpx2.get(f"{server.url}/v1/agents", headers=headers).status_code == 200


def test_what_a_key_may_not_do(start: Start) -> None:
    keys: list[str] = []

    async def prepare(runtime: Runtime) -> None:
        made = ApiKeys(runtime.store, runtime.clock, runtime.ids)
        keys.append((await made.create("reader", tenant=None, scopes=["read"]))[0])

    server = start(settings=ServerSettings(port=0, keys=True), prepare=prepare)
    with client_of(server, api_key=keys[0]) as client:
        assert list(client.beta.agents.list()) == []
        with pytest.raises(anthropic.PermissionDeniedError) as refused:
            client.beta.agents.create(name="Bird", model="m")
    assert refused.value.type == "permission_error"


def test_without_a_key_where_one_is_needed(start: Start) -> None:
    with client_of(start(settings=ServerSettings(port=0, keys=True)), api_key="wrong") as client:
        with pytest.raises(anthropic.AuthenticationError) as refused:
            client.beta.agents.list()
    assert refused.value.type == "authentication_error"


def test_requests_of_the_other_protocol_are_left_alone(shared: RunningServer) -> None:
    answer = httpx2.get(f"{shared.url}/v1/agents", headers={"openai-beta": "agents=v1"})
    assert "request_id" not in answer.text


def test_an_error_names_its_request(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as refused:
        client.beta.agents.retrieve("agent_none")
    body: Any = refused.value.body
    assert body["type"] == "error"
    assert body["request_id"] == refused.value.request_id == refused.value.response.headers["request-id"]


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/v1/nothing", 404, "not_found_error"),
        ("GET", "/v1/agents/", 404, "not_found_error"),
        ("PUT", "/v1/agents", 405, "invalid_request_error"),
        ("GET", "/v1/skills", 501, "api_error"),
        ("POST", "/v1/memory_stores/x/memories", 501, "api_error"),
        ("GET", "/v1/deployments/x", 501, "api_error"),
        ("GET", "/v1/agents?limit=0", 400, "invalid_request_error"),
        ("GET", "/v1/agents?limit=ten", 400, "invalid_request_error"),
        ("GET", "/v1/agents?include_archived=perhaps", 400, "invalid_request_error"),
        ("GET", "/v1/agents?created_at[gte]=yesterday", 400, "invalid_request_error"),
        ("GET", "/v1/agents?page=nonsense", 400, "invalid_request_error"),
    ],
)
def test_every_answer_has_the_protocols_shape(shared: RunningServer, method: str, path: str, status: int, kind: str) -> None:
    answer = httpx2.request(method, f"{shared.url}{path}")
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)
    assert answer.headers.get("allow") == ("GET, POST" if status == 405 else None)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xff\xfe",
        b'{"name": NaN}',
        b'{"name": "\\ud800", "model": "m"}',
        b'{"name": "x", "model": "m", "tools": ' + b"[" * 100_000,
        b'{"name": "x", "model": "m", "tools": [{"type": "custom", "name": "t", "description": "", '
        b'"input_schema": {"type": "object", "properties": {"a": ' + b"9" * 400 + b"}}}]}",
    ],
)
def test_bodies_that_are_none(shared: RunningServer, raw: bytes) -> None:
    answer = httpx2.post(f"{shared.url}/v1/agents", content=raw, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_a_body_that_is_too_large(start: Start) -> None:
    server = start(settings=ServerSettings(port=0, max_body=1000))
    answer = httpx2.post(f"{server.url}/v1/agents", content=b" " * 1001)
    assert (answer.status_code, answer.json()["type"]) == (413, "error")


def test_pages_show_everything_once(client: anthropic.Anthropic) -> None:
    made = [client.beta.agents.create(name=str(n), model="m").id for n in range(5)]
    first = client.beta.agents.list(limit=2)
    assert first.next_page is not None
    client.beta.agents.create(name="new", model="m")
    client.beta.agents.archive(first.data[0].id)
    rest = [a.id for page in first.iter_pages() for a in page.data]
    assert sorted(rest) == sorted(made)


def test_a_cursor_is_good_for_its_list_alone(client: anthropic.Anthropic) -> None:
    for number in range(2):
        client.beta.agents.create(name=str(number), model="m")
    cursor = client.beta.agents.list(limit=1).next_page
    assert cursor is not None
    with pytest.raises(anthropic.BadRequestError, match="invalid page cursor"):
        client.beta.environments.list(page=cursor)
    read = base64.urlsafe_b64decode(cursor.removeprefix("page_") + "==")
    others: Any = ([], {}, [*json.loads(read), 1], ["agents", "desc", [-1, "x"]], ["agents", "asc", [1, "x"]])
    for changed in others:
        forged = base64.urlsafe_b64encode(json.dumps(changed).encode()).decode().rstrip("=")
        with pytest.raises(anthropic.BadRequestError, match="invalid page cursor"):
            client.beta.agents.list(page=forged)


def test_what_is_asked_twice_is_made_once(start: Start) -> None:
    server = start()
    with client_of(server) as client:
        beta = client.beta
        keyed: Any = {"extra_headers": {"idempotency-key": "one"}}
        agents = [beta.agents.create(name="Bird", model="m", **keyed) for _ in range(2)]
        assert agents[0] == agents[1]
        keyed = {"extra_headers": {"idempotency-key": "two"}}
        environments = [beta.environments.create(name="field", **keyed) for _ in range(2)]
        assert environments[0] == environments[1]
        keyed = {"extra_headers": {"idempotency-key": "three"}}
        sessions = [beta.sessions.create(agent=agents[0].id, environment_id=environments[0].id, **keyed) for _ in range(2)]
        assert sessions[0].id == sessions[1].id
        assert [len(list(page)) for page in (beta.agents.list(), beta.environments.list(), beta.sessions.list())] == [1] * 3

        # As after a crash between what was done and the answer: the record of the answer has gone, what was made has not.
        async def forget() -> None:
            store = server.runtime.store
            for reply in await store.documents("reply", tenant=None):
                body = {**reply.data(), "status": None, "owner": store.owner}
                await store.put_documents([reply.changed(body)])

        server.call(forget)
        again = beta.sessions.create(agent=agents[0].id, environment_id=environments[0].id, **keyed)
        assert again.id == sessions[0].id
        keyed = {"extra_headers": {"idempotency-key": "one"}}
        assert beta.agents.create(name="Bird", model="m", **keyed) == agents[0]
        keyed = {"extra_headers": {"idempotency-key": "two"}}
        assert beta.environments.create(name="field", **keyed) == environments[0]
        assert [len(list(page)) for page in (beta.agents.list(), beta.environments.list(), beta.sessions.list())] == [1] * 3
