"""Two tenants at every route of this protocol: what is another's is answered in the words for what is not there.

The routes are the app's own, so that one that is added is asked as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from starlette.routing import Route

from godwit import Runtime
from godwit.host.api_keys import ApiKeys
from godwit.models.script import call
from godwit.surfaces.managed_agents import ManagedAgents
from godwit.surfaces.server import ServerSettings
from godwit.surfaces.server.service import Service
from tests.surfaces.server.running import RunningServer

from .conftest import Start

MESSAGE = {"type": "user.message", "content": [{"type": "text", "text": "Hello."}]}
NOBODYS = "nobodys"
BODIES: dict[str, Any] = {
    "/v1/vaults/{vault}": {"display_name": "mine now"},
    "/v1/vaults/{vault}/credentials": {
        "auth": {"type": "static_bearer", "token": "t", "mcp_server_url": "https://mcp.example.org"}
    },
    "/v1/sessions/{session}/events": {"events": [MESSAGE]},
    "/v1/sessions/{session}/resources": {"type": "file", "file_id": NOBODYS},
    "/v1/sessions/{session}/resources/{resource}": {"authorization_token": "t"},
    "/v1/environments/{environment}/work/{work}": {"metadata": {"a": "1"}},
    "/v1/sessions/{session}": {"title": "mine now"},
    "/v1/agents/{agent}": {"name": "mine now"},
    "/v1/environments/{environment}": {"name": "mine now"},
}
"""What is sent, else an empty object."""


class Tenant:
    """One of a server's tenants, with one of everything. `ids`: by the names of the parameters in paths."""

    def __init__(self, server: RunningServer, key: str) -> None:
        self.client = httpx2.Client(base_url=server.url, headers={"x-api-key": key})
        self.ids: dict[str, str] = {}

    def post(self, path: str, data: Any) -> Any:
        answer = self.client.post(path, json=data)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def settle(self) -> None:
        """Make one of everything."""
        ids = self.ids
        ids["agent"] = self.post(
            "/v1/agents", {"name": "Bird", "model": "m", "tools": [{"type": "agent_toolset_20260401"}]}
        )["id"]
        config = {"type": "self_hosted"}
        ids["environment"] = self.post("/v1/environments", {"name": "field", "config": config})["id"]
        ids["vault"] = self.post("/v1/vaults", {"display_name": "nest"})["id"]
        credentials = f"/v1/vaults/{ids['vault']}/credentials"
        ids["credential"] = self.post(credentials, BODIES["/v1/vaults/{vault}/credentials"])["id"]
        session = {"agent": ids["agent"], "environment_id": ids["environment"], "initial_events": [MESSAGE]}
        ids["session"] = self.post("/v1/sessions", session)["id"]
        ids["thread"] = self.client.get(f"/v1/sessions/{ids['session']}/threads").json()["data"][0]["id"]
        work = f"/v1/environments/{ids['environment']}/work"
        ids["file"] = self.client.post("/v1/files", files={"file": ("nest.txt", b"egg")}).json()["id"]
        ids["resource"] = NOBODYS  # a self-hosted session has none
        ids["work"] = self.client.get(f"{work}/poll?block_ms=900").json()["id"]
        with self.client.stream("GET", f"/v1/sessions/{ids['session']}/events/stream?from_seq=0") as stream:
            # Its run waits for the worker then, and nothing changes by itself.
            assert any('"session.status_idle"' in line for line in stream.iter_lines())

    def all(self) -> dict[str, Any]:
        """What there is, as its owner sees it."""
        ids = self.ids
        paths = [
            f"/v1/agents/{ids['agent']}",
            f"/v1/environments/{ids['environment']}",
            f"/v1/vaults/{ids['vault']}",
            f"/v1/vaults/{ids['vault']}/credentials",
            f"/v1/sessions/{ids['session']}/events",
            f"/v1/files/{ids['file']}",
            f"/v1/environments/{ids['environment']}/work/{ids['work']}",
        ]
        return {path: self.client.get(path).json() for path in paths}


@pytest.fixture
def tenants(start: Start) -> Iterator[tuple[RunningServer, Tenant, Tenant]]:
    keys: list[str] = []

    async def prepare(runtime: Runtime) -> None:
        made = ApiKeys(runtime.store, runtime.clock, runtime.ids)
        keys.extend([(await made.create(name, tenant=name, scopes=["admin"]))[0] for name in ("one", "two")])

    settings = ServerSettings(port=0, keys=True, models={"*": "scripted:any"})
    server = start(call("bash", command="ls"), "Done.", settings=settings, prepare=prepare)
    one, two = Tenant(server, keys[0]), Tenant(server, keys[1])
    one.settle()
    yield server, one, two
    one.client.close()
    two.client.close()


def routes(server: RunningServer) -> list[tuple[str, str]]:
    """Path and method of every route that is there."""

    async def walk() -> list[tuple[str, str]]:
        app: Any = ManagedAgents(Service(server.runtime, ServerSettings())).app
        found: list[tuple[str, str]] = []
        for outer in app.routes:
            for route in getattr(outer, "original_router", app).routes if not isinstance(outer, Route) else [outer]:
                if isinstance(route, Route) and ":path" not in route.path:
                    found += [(route.path, method) for method in sorted(route.methods or ()) if method != "HEAD"]
        return found

    return server.call(walk)


def test_no_route_shows_or_changes_what_is_anothers(tenants: tuple[RunningServer, Tenant, Tenant]) -> None:
    server, one, two = tenants
    before = one.all()
    asked = 0
    for path, method in routes(server):
        if "{" not in path:
            continue
        content = None if method == "GET" else BODIES.get(path, {})
        answers = []
        for ids in (one.ids, dict.fromkeys(one.ids, NOBODYS)):
            with two.client.stream(method, path.format(**ids), json=content) as answer:
                assert answer.status_code in (404, 501), f"{method} {path}: {answer.status_code}"
                message = str(answer.read() and answer.json()["error"]["message"])
            for name, own in ids.items():
                message = message.replace(own, NOBODYS).replace(f"{{{name}}}", NOBODYS)
            answers.append((answer.status_code, message))
        assert answers[0] == answers[1], f"{method} {path} tells what is there"
        asked += 1
    assert asked > 30
    assert one.all() == before


def test_nothing_is_made_of_what_is_anothers(tenants: tuple[RunningServer, Tenant, Tenant]) -> None:
    _, one, two = tenants
    two.settle()
    for anothers in ("agent", "environment", "vault"):
        ids = {**two.ids, anothers: one.ids[anothers]}
        given = {"agent": ids["agent"], "environment_id": ids["environment"], "vault_ids": [ids["vault"]]}
        answer = two.client.post("/v1/sessions", json=given)
        assert answer.status_code in (400, 404), answer.text
        assert one.ids[anothers] in answer.json()["error"]["message"]
    assert len(two.client.get("/v1/sessions").json()["data"]) == 1
