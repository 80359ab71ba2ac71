"""The official clients of Managed Agents, in the versions that people have, against a real server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from godwit.models.script import ScriptedModel, call, say
from godwit.surfaces.server import ServerSettings
from tests.patience import PATIENCE_S

from ..surfaces.server.running import running

HERE = Path(__file__).parent
CLIENTS = HERE.parents[1] / ".clients"
VERSIONS = sorted(p.stem.removeprefix("anthropic-") for p in HERE.glob("anthropic-*.txt"))
SCRIPT = [call("weather", place="Oslo"), say("It rains in Oslo.")]


def walk(command: list[str], path: Path, cwd: Path | None = None) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": os.fspath(path), "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    out: dict[str, Any] = json.loads(done.stdout)
    return out


def check(out: dict[str, Any]) -> None:
    assert out["said"] == ["It rains in Oslo."]
    assert out["asked"] == [{"place": "Oslo"}]
    assert (out["status"], out["gone"]) == ("idle", True)
    assert out["vaults"]
    assert [one["auth"] for one in out["kept"]] == [{"type": "static_bearer", "mcp_server_url": "https://mcp.example.com/"}]
    if "web" in out:  # the Python clients ask for it
        assert (out["web"]["allowed_domains"], out["web"]["max_content_tokens"]) == (["example.com"], 1000)
        every = {"type": "all"}
        sources = {"user_input": {"type": "none"}, "server_tool_results": every, "client_tool_results": every}
        assert out["web"]["url_sources"] == sources
    ids = [i for i, _ in out["listed"]]
    assert len(set(ids)) == len(ids)
    # What was streamed stands in the list, in the same order under the same ids; a queued message may show twice.
    streamed = list(dict.fromkeys(map(tuple, out["streamed"])))
    assert streamed == [one for one in map(tuple, out["listed"]) if one in streamed]
    assert {t for _, t in streamed} >= {"session.status_running", "agent.message", "session.status_idle"}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_python_client_of_any_version(tmp_path: Path, version: str) -> None:
    client = CLIENTS / f"anthropic-{version}"
    if not (client / ".made").exists():
        pytest.skip("scripts/clients has not made this client")
    models = {"scripted:test": ScriptedModel(SCRIPT, "scripted:test")}
    with running(tmp_path / "g.db", models=models, settings=ServerSettings(models={"*": "scripted:test"})) as server:
        out = walk([sys.executable, os.fspath(HERE / "walk.py"), server.url], client)
    assert out["version"] == version
    check(out)


def test_the_typescript_client(tmp_path: Path) -> None:
    node = CLIENTS / "node"
    if shutil.which("node") is None or not (node / ".made").exists():
        pytest.skip("there is no node, or scripts/clients has not made its clients")
    shutil.copy(HERE / "walk.mjs", node / "walk.mjs")
    models = {"scripted:test": ScriptedModel(SCRIPT, "scripted:test")}
    with running(tmp_path / "g.db", models=models, settings=ServerSettings(models={"*": "scripted:test"})) as server:
        out = walk(["node", "walk.mjs", server.url], node, node)
    check(out)
