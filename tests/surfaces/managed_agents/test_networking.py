"""The network and the packages of an environment, in force for the sessions in it."""

from __future__ import annotations

import http.server
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anthropic
import pytest

from godwit.core.packages import registries
from godwit.core.sandbox import SandboxPolicy
from godwit.host.config import Config
from godwit.models.script import call
from godwit.surfaces.server import ServerSettings
from godwit.workspaces.sandboxes.bubblewrap import Bubblewrap

from .conftest import Start, client_of
from .test_sessions import TOOLSET, Field

confined = pytest.mark.skipif(Bubblewrap().problem() is not None, reason="no sandbox here can hold a list of hosts")


def cloud(**config: Any) -> Any:
    return {"type": "cloud", **config}


def limited(*hosts: str, **networking: Any) -> Any:
    return cloud(networking={"type": "limited", "allowed_hosts": list(hosts), **networking})


@pytest.fixture
def served(tmp_path: Path) -> Iterator[int]:
    """The port at the loopback where a file `nest` is served."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "nest").write_text("an egg")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@confined
def test_commands_reach_the_hosts_of_a_limited_network_and_no_others(start: Start, served: int) -> None:
    looks = (
        f"curl -sS http://localhost:{served}/nest; curl -sS https://evil.example/; curl -sS http://127.0.0.1:{served}/nest"
    )
    settings = ServerSettings(port=0, models={"*": "scripted:any"}, reach=(f"localhost:{served}",))
    server = start(call("bash", command=looks), "Looked.", settings=settings)
    with client_of(server) as client:
        field = Field(server, client, config=limited(f"localhost:{served}"), tools=[TOOLSET])
        session = field.session()
        field.wait(session.id, field.prompt(session.id))
        said = field.results(session.id)
        assert said.count("an egg") == 1
        for refused in ("evil.example", "127.0.0.1"):
            assert f"{refused} is not in the sandbox's allowed_hosts, which is localhost:{served}" in said


@confined
def test_what_the_servers_own_files_open_is_not_added_to_a_limited_network(start: Start, served: int) -> None:
    opened = Config(user_sandbox=SandboxPolicy(allowed_hosts=(f"localhost:{served}",)))
    script = [call("bash", command=f"curl -sS http://localhost:{served}/nest; true"), "Looked."]
    server = start(*script, *script, config=opened)
    with client_of(server) as client:
        field = Field(server, client, config=limited("example.com"), tools=[TOOLSET])
        whole = client.beta.environments.create(name="whole", config=cloud())
        for environment, count in ((field.environment, 0), (whole, 1)):
            session = field.session(environment_id=environment.id)
            field.wait(session.id, field.prompt(session.id))
            assert field.results(session.id).count("an egg") == count


@confined
def test_what_a_limited_network_allows(start: Start) -> None:
    server = start()
    with client_of(server) as client:
        servers: Any = [{"type": "url", "name": "docs", "url": "https://mcp.example/v1"}]
        servers.append({"type": "url", "name": "own", "url": "http://127.0.0.1:9000/mcp"})
        tools: Any = [TOOLSET, *({"type": "mcp_toolset", "mcp_server_name": one} for one in ("docs", "own"))]
        config = limited("https://a.example", "b.example", allow_package_managers=True, allow_mcp_servers=True)
        field = Field(server, client, config=config, tools=tools, mcp_servers=servers)
        sandbox = field.spec(field.session().id).sandbox
        assert sandbox.allowed_hosts == ("a.example:443", "b.example", *registries(), "mcp.example:443")
        assert (sandbox.network, sandbox.require) == (False, ("network_limited",))
        none = client.beta.environments.create(name="none", config=limited())
        bare = client.beta.agents.create(name="Bird", model="claude-opus-5", tools=[TOOLSET])
        sandbox = field.spec(field.session(agent=bare.id, environment_id=none.id).id).sandbox
        assert (sandbox.allowed_hosts, sandbox.require) == ((), ("network_off",))


def test_where_no_sandbox_can_hold_the_list_the_session_is_refused(start: Start) -> None:
    """Also where who runs the server says how commands are confined."""
    server = start(sandbox=SandboxPolicy(backend="none"))
    with client_of(server) as client:
        field = Field(server, client, config=limited("a.example"), tools=[TOOLSET])
        with pytest.raises(anthropic.BadRequestError, match="network_limited, and here none does not"):
            field.session()
        assert list(field.sessions.list()) == []


@pytest.mark.parametrize(
    ("packages", "match"),
    [
        ({"apt": ["dpkg", "no-such-package"]}, "system packages that are not on this machine: no-such-package"),
        (
            {"cargo": ["ripgrep"], "gem": ["rails"], "go": ["golang.org/x/tools/cmd/goimports"]},
            "there is no (cargo|gem|go) on",
        ),
    ],
)
def test_packages_that_cannot_be_had_are_told_when_the_session_is_made(start: Start, packages: Any, match: str) -> None:
    if "go" in packages and all(map(shutil.which, ("cargo", "gem", "go"))):
        pytest.skip("all of these are here")
    server = start()
    with client_of(server) as client:
        field = Field(server, client, config=cloud(packages=packages), tools=[TOOLSET])
        with pytest.raises(anthropic.BadRequestError, match=match):
            field.session()
        assert list(field.sessions.list()) == []


@confined
def test_packages_that_fail_to_install_are_told_instead_of_the_command(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registry cannot be reached: the model and the client read why."""
    if shutil.which("npm") is None:
        pytest.skip("there is no npm here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    sandbox = SandboxPolicy(environment=("PATH", "npm_config_registry", "npm_config_fetch_retries"))
    server = start(call("bash", command="echo it ran"), "Looked.", config=_config(sandbox))
    with client_of(server) as client:
        field = Field(server, client, config=cloud(packages={"npm": ["kitten@1.2.3"]}), tools=[TOOLSET])
        session = field.session()
        assert field.spec(session.id).sandbox.packages == ("npm:kitten@1.2.3",)
        field.wait(session.id, field.prompt(session.id))
        events: Any = list(client.beta.sessions.events.list(session.id))
        (result,) = [event for event in events if event.type == "agent.tool_result"]
        assert result.is_error
        assert "the packages of npm (kitten@1.2.3) could not be installed" in result.content[0].text
        assert "it ran" not in field.results(session.id)


def _config(sandbox: SandboxPolicy) -> Any:
    from godwit.host.config import Config

    return Config(user_sandbox=sandbox)
