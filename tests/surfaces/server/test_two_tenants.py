"""Two tenants are driven through every route of every dialect, and find nothing of each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from godwit.models.script import ScriptedModel, call, say
from godwit.surfaces.server import ServerSettings

from .two_tenants import TwoTenants, filled, refused_without_a_key, routes_of, two_tenants, walk

MARK = "a mark of the first tenant"
HEADERS = {"openai_agents": {"openai-beta": "agents=v1"}}


def model() -> ScriptedModel:
    return ScriptedModel([call("look", where=MARK), say(MARK)])


def made(client: httpx2.Client, path: str, **body: Any) -> str:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["id"]
    return found


def fill(client: httpx2.Client) -> dict[str, str]:
    """One of everything; its ids by the places of paths."""
    custom = {"type": "custom", "name": "look", "description": "", "input_schema": {"type": "object", "properties": {}}}
    agent = made(client, "/v1/agents", name=MARK, model="claude-opus-5", tools=[custom])
    environment = made(client, "/v1/environments", name=MARK)
    vault = made(client, "/v1/vaults", display_name=MARK)
    session = made(client, "/v1/sessions", agent=agent, environment_id=environment, title=MARK, vault_ids=[vault])
    message = {"type": "user.message", "content": [{"type": "text", "text": MARK}]}
    sent = client.post(f"/v1/sessions/{session}/events", json={"events": [message]})
    assert sent.status_code == 200, sent.text
    return {
        "agent_id": agent,
        "environment_id": environment,
        "vault_id": vault,
        "session_id": session,
        "session": session,
        "agent": agent,
        "event_id": sent.json()["data"][0]["id"],
    }


def view(client: httpx2.Client, ids: dict[str, str]) -> list[Any]:
    """What a tenant sees of its own, but for what the time changes."""
    paths = (
        "/v1/agents",
        f"/v1/agents/{ids['agent_id']}/versions",
        "/v1/environments",
        "/v1/vaults",
        "/v1/sessions",
        f"/v1/sessions/{ids['session_id']}",
    )
    seen = []
    for path in paths:
        answer = client.get(path)
        assert answer.status_code == 200, answer.text
        seen.append(_timeless(answer.json()))
    return seen


def _timeless(found: Any) -> Any:
    if isinstance(found, list):
        return [_timeless(one) for one in found]
    if isinstance(found, dict):
        return {name: _timeless(value) for name, value in found.items() if name != "stats"}
    return found


@pytest.fixture
def tenants(tmp_path: Path) -> Any:
    with two_tenants(tmp_path / "g.db", models={"scripted:any": model()}) as found:
        yield found


def parked(client: httpx2.Client, session: str) -> None:
    """Until its run waits for the tool: nothing changes by itself from then on."""
    with client.stream("GET", f"/v1/sessions/{session}/events/stream?from_seq=0") as stream:
        for line in stream.iter_lines():
            if '"session.status_idle"' in line:
                return
    raise AssertionError


def bodies(ids: dict[str, str]) -> list[Any]:
    text = {"type": "text", "text": "from the second"}
    return [
        {"events": [{"type": "user.message", "content": [text]}]},
        {"events": [{"type": "user.interrupt"}]},
        {"prompt": "from the second", "message": "from the second", "text": "from the second"},
        {"name": "stolen"},
        {"title": "stolen"},
        {"agent": ids["agent_id"], "environment_id": ids["environment_id"]},
        {"agent": ids["agent_id"], "vault_ids": [ids["vault_id"]], "environment_id": ids["environment_id"]},
        {"agent_id": ids["agent_id"], "input": "from the second"},
        {"session": ids["session_id"]},
        {
            "threadId": ids["session_id"],
            "runId": "run_1",
            "messages": [{"id": "u1", "role": "user", "content": "from the second"}],
        },
    ]


@pytest.mark.parametrize("more", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["empty", "bodies"])
def test_nothing_of_one_tenant_is_found_by_another(tenants: TwoTenants, more: bool) -> None:
    ids = fill(tenants.one)
    parked(tenants.one, ids["session_id"])
    before = view(tenants.one, ids)
    assert MARK in str(before)
    walked = walk(tenants, ids, marks=[MARK], bodies=bodies(ids) if more else (), headers=HEADERS)
    assert {route.dialect for route in walked.statuses} == {"godwit", "mcp", "agui", "openai_agents", "managed_agents"}
    assert view(tenants.one, ids) == before
    with_id = [s for route, statuses in walked.statuses.items() if "{" in route.template for s in statuses]
    assert with_id.count(404) > len(with_id) / 4


def test_lists_of_each_tenant_hold_its_own(tenants: TwoTenants) -> None:
    first, second = fill(tenants.one), fill(tenants.two)
    for client, own, other in ((tenants.one, first, second), (tenants.two, second, first)):
        seen = str(view(client, own))
        assert own["session_id"] in seen
        assert not [name for name in other.values() if name in seen]


def test_no_route_answers_without_a_key(tenants: TwoTenants) -> None:
    assert len(routes_of(tenants.server)) > 50
    refused_without_a_key(tenants, HEADERS)


def test_a_key_that_may_read_changes_nothing(tmp_path: Path) -> None:
    settings = ServerSettings(keys=True, models={"*": "scripted:any"})
    with two_tenants(tmp_path / "g.db", models={"scripted:any": model()}, settings=settings) as tenants:
        ids = fill(tenants.one)
        parked(tenants.one, ids["session_id"])
        reader = tenants.one.post("/admin/keys", json={"name": "reader", "scopes": ["read"]}).json()["key"]
        before = view(tenants.one, ids)
        with httpx2.Client(base_url=tenants.server.url, headers={"x-api-key": reader}) as client:
            for route in routes_of(tenants.server):
                if route.method == "GET" or route.dialect in ("mcp", "agui"):
                    continue  # all that these do is posted: what of it changes nothing is their own tests' business
                path = filled(route.template, ids, ids["session_id"])
                answer = client.request(route.method, path, headers=HEADERS.get(route.dialect, {}), json={})
                assert answer.status_code in (403, 501), f"{route}: {answer.status_code} {answer.text[:300]}"
        assert view(tenants.one, ids) == before
