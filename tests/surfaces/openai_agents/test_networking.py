"""The network and the packages of a hosted environment."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest

from godwit.core.agent import AgentSpec
from godwit.core.ids import SessionId
from godwit.core.sandbox import SandboxPolicy
from godwit.host.config import Config
from godwit.models.script import call
from godwit.surfaces.server import ServerSettings
from godwit.workspaces.sandboxes.bubblewrap import Bubblewrap
from tests.surfaces.server.running import RunningServer

from .conftest import HOSTED, Start, client_of

confined = pytest.mark.skipif(Bubblewrap().problem() is not None, reason="no sandbox here can hold a list of hosts")


def restricted(**network: Any) -> Any:
    return {**HOSTED, "network": {"access": "restricted", **network}}


def spec_of(server: RunningServer, session: str) -> AgentSpec:
    async def spec() -> AgentSpec:
        store = server.runtime.store
        agent = (await store.session(SessionId(session))).agent
        return (await store.get_agent(agent.name, agent.version))[1]

    return server.call(spec)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[int]:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "nest").write_text("an egg")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@confined
def test_commands_reach_the_allowed_domains_and_no_others(start: Start, served: int) -> None:
    looks = f"curl -sS http://localhost:{served}/nest; curl -sS https://evil.example/; true"
    settings = ServerSettings(port=0, models={"*": "scripted:any"}, reach=(f"localhost:{served}",))
    server = start(call("bash", command=looks), "Looked.", settings=settings)
    client = client_of(server)
    environment = restricted(allowed_domains=[f"localhost:{served}"])
    with client.beta.agents.sessions.create(
        agent={"model": "m"}, environment=environment, input="go", stream=True
    ) as events:
        done = [event.item for event in events if event.type == "agent.session.turn.item.done"]
    (command,) = [item for item in done if item.type == "command_execution"]
    assert "an egg" in (command.output or "")
    assert "evil.example is not in the sandbox's allowed_hosts" in (command.output or "")
    (session,) = client.beta.agents.sessions.list().data
    assert session.environment.type == "openai_hosted"
    assert session.environment.network.access == "restricted"
    assert session.environment.network.allowed_domains == [f"localhost:{served}"]


@confined
@pytest.mark.parametrize("opened", ["network", "allowed_hosts"])
def test_what_the_servers_own_files_open_is_not_added(start: Start, served: int, opened: str) -> None:
    sandbox = SandboxPolicy(network=True) if opened == "network" else SandboxPolicy(allowed_hosts=(f"localhost:{served}",))
    script = [call("bash", command=f"curl -sS http://localhost:{served}/nest; true"), "Looked."]
    server = start(*script * 3, config=Config(user_sandbox=sandbox))
    client = client_of(server)
    closed: Any = {**HOSTED, "network": {"access": "disabled"}}
    for environment, count in ((closed, 0), (restricted(allowed_domains=["example.com"]), 0), (HOSTED, 1)):
        with client.beta.agents.sessions.create(
            agent={"model": "m"}, environment=environment, input="go", stream=True
        ) as events:
            done = [event.item for event in events if event.type == "agent.session.turn.item.done"]
        (command,) = [item for item in done if item.type == "command_execution"]
        assert (command.output or "").count("an egg") == count


@confined
def test_blocked_domains_leave_all_others(start: Start) -> None:
    server = start()
    client = client_of(server)
    made = client.beta.agents.sessions.create(agent={"model": "m"}, environment=restricted(blocked_domains=["evil.example"]))
    sandbox = spec_of(server, made.id).sandbox
    assert (sandbox.network, sandbox.allowed_hosts, sandbox.denied_hosts) == (
        False,
        ("*",),
        ("evil.example", "*.evil.example"),
    )
    made = client.beta.agents.sessions.create(agent={"model": "m"}, environment=restricted())
    sandbox = spec_of(server, made.id).sandbox
    assert (sandbox.network, sandbox.allowed_hosts) == (False, ())


@confined
def test_packages_are_those_of_the_sandbox(start: Start) -> None:
    server = start()
    client = client_of(server)
    packages: Any = {"python": ["six==1.16.0"], "npm": ["is-odd"], "system": ["dpkg"]}
    environment: Any = {**HOSTED, "packages": packages}
    made = client.beta.agents.sessions.create(agent={"model": "m"}, environment=environment)
    assert made.environment.type == "openai_hosted"
    assert made.environment.packages.to_dict() == packages
    assert spec_of(server, made.id).sandbox.packages == ("apt:dpkg", "npm:is-odd", "pip:six==1.16.0")


@pytest.mark.parametrize(
    ("environment", "param"),
    [
        (restricted(allowed_domains=["http://x.org"]), "environment.network.allowed_domains.0"),
        (restricted(allowed_domains=["127.0.0.1"]), "environment.network.allowed_domains.0"),
        (restricted(blocked_domains=["*.x.org"]), "environment.network.blocked_domains"),
        (restricted(allowed_domains=["a.org"], blocked_domains=["x.org"]), "environment.network.blocked_domains"),
        ({**HOSTED, "network": {"access": "enabled", "allowed_domains": ["x.org"]}}, "environment.network.allowed_domains"),
        ({**HOSTED, "packages": {"python": ["ok", "--index-url=x"]}}, "environment.packages.python.1"),
        ({**HOSTED, "packages": {"system": ["no-such-package"]}}, None),
    ],
)
def test_what_does_not_fit_is_refused(start: Start, environment: Any, param: str | None) -> None:
    client = client_of(start())
    with pytest.raises(openai.BadRequestError) as caught:
        client.beta.agents.sessions.create(agent={"model": "m"}, environment=environment)
    assert caught.value.param == param
    assert client.beta.agents.sessions.list().data == []
