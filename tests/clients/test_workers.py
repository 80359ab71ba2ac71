"""The official workers of self-hosted environments, in the versions that people have, against a real server.

Versions 0.92 and 0.100 of the Python client have no worker. The newest one is held to more in
`tests/surfaces/managed_agents/test_worker.py`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import anthropic
import pytest

from godwit.models.script import ScriptedModel, call, say
from godwit.surfaces.server import ServerSettings
from tests.patience import PATIENCE_S

from ..surfaces.server.running import RunningServer, running
from .test_managed_agents import CLIENTS, HERE, VERSIONS

SCRIPT = [
    call("write", file_path="nest/egg.txt", content="blue\n"),
    call("bash", command="cat nest/egg.txt") + call("glob", pattern="**/*.txt") + call("grep", pattern="bl.e"),
    call("edit", file_path="nest/egg.txt", old_string="blue", new_string="white"),
    call("read", file_path="nest/egg.txt"),
    say("A white egg."),
]
WITHOUT = ("0.92.0", "0.100.0")


def check(server: RunningServer, command: list[str], folder: Path, *, globs: bool = True, **options: Any) -> None:
    """Let this worker do what the script asks for; the client looks on. `globs`: it can look for files by a pattern."""
    there = folder / "there"
    there.mkdir()
    key: Any = {"api_key": "any", "_strict_response_validation": True}
    with anthropic.Anthropic(base_url=server.url, timeout=PATIENCE_S, **key) as client:
        agent = client.beta.agents.create(name="far", model="m", tools=[{"type": "agent_toolset_20260401"}])
        environment = client.beta.environments.create(name="there", config={"type": "self_hosted"})
        session = client.beta.sessions.create(agent=agent.id, environment_id=environment.id)
        worker = subprocess.Popen([*command, server.url, environment.id, os.fspath(there)], **options)
        try:
            with client.beta.sessions.events.stream(session.id) as stream:
                said: Any = {"type": "user.message", "content": [{"type": "text", "text": "Build a nest."}]}
                client.beta.sessions.events.send(session.id, events=[said])
                for event in stream:
                    if event.type == "session.status_idle" and event.stop_reason.type == "end_turn":
                        break
            events: list[Any] = [*client.beta.sessions.events.list(session.id)]
            results = [event for event in events if event.type == "user.tool_result"]
            assert [one.is_error for one in results] == [False, False, not globs, False, False, False], results
            told = ["".join(block.text for block in one.content) for one in results]
            assert "blue" in told[1]
            assert ("egg.txt" in told[2]) is globs
            assert "blue" in told[3]
            assert "white" in told[5]
            assert (there / "nest/egg.txt").read_text() == "white\n"
        finally:
            worker.terminate()
            worker.wait(PATIENCE_S)


@pytest.fixture
def server(tmp_path: Path) -> Any:
    models = {"scripted:test": ScriptedModel(SCRIPT, "scripted:test")}
    with running(tmp_path / "g.db", models=models, settings=ServerSettings(models={"*": "scripted:test"})) as server:
        yield server


OLDEST, *NEWER = (one for one in VERSIONS if one not in WITHOUT)


@pytest.mark.parametrize("version", [OLDEST, *(pytest.param(one, marks=pytest.mark.slow) for one in NEWER)])
def test_the_worker_of_a_python_client_of_any_version(server: RunningServer, tmp_path: Path, version: str) -> None:
    client = CLIENTS / f"anthropic-{version}"
    if not (client / ".made").exists():
        pytest.skip("scripts/clients has not made this client")
    environment = {**os.environ, "PYTHONPATH": os.fspath(client), "NO_PROXY": "127.0.0.1"}
    check(server, [sys.executable, os.fspath(HERE / "work.py")], tmp_path, env=environment)


def test_the_worker_of_the_typescript_client(server: RunningServer, tmp_path: Path) -> None:
    node = CLIENTS / "node"
    if shutil.which("node") is None or not (node / ".made").exists():
        pytest.skip("there is no node, or scripts/clients has not made its clients")
    shutil.copy(HERE / "work.mjs", node / "work.mjs")
    number = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    globs = int(number.removeprefix("v").partition(".")[0]) >= 22  # it looks for files by a function of that version
    environment = {**os.environ, "NO_PROXY": "127.0.0.1"}
    check(server, ["node", "work.mjs"], tmp_path, globs=globs, cwd=node, env=environment)
