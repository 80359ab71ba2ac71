"""The official clients of OpenAI's Agents API against a real server; the installed one is driven in tests/surfaces."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from godwit.models.script import ScriptedModel, call, say
from godwit.surfaces.server import ServerSettings

from ..surfaces.server.running import running
from .test_managed_agents import CLIENTS, HERE, walk

VERSIONS = sorted(p.stem.removeprefix("openai-") for p in HERE.glob("openai-*.txt"))
TURN = [call("weather", place="Oslo"), say("It rains in Oslo.")]
ITEMS = ["message", "function_call", "function_call_output", "message"]


def check(out: dict[str, Any]) -> None:
    assert out["said"] == ["It rains in Oslo."] * 2
    assert out["asked"] == [{"place": "Oslo"}] * 2
    assert (out["status"], out["gone"]) == ("idle", True)
    assert (out["items"], out["turns"]) == (ITEMS * 2, ["completed"] * 2)
    if "servers" in out:  # the Python client asks for it
        assert (out["hidden"], out["vaults"], len(out["servers"])) == (True, True, 1)
        assert out["servers"][0]["transport"] == {"type": "http", "server_url": "https://mcp.example.com/"}
    ids = [i for i, _ in out["streamed"]]
    assert len(set(ids)) == len(ids)
    assert [t for _, t in out["streamed"]][-2:] == ["agent.session.turn.completed", "agent.session.idle"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_python_client_of_any_version(tmp_path: Path, version: str) -> None:
    client = CLIENTS / f"openai-{version}"
    if not (client / ".made").exists():
        pytest.skip("scripts/clients has not made this client")
    models = {"scripted:test": ScriptedModel(TURN * 2, "scripted:test")}
    with running(tmp_path / "g.db", models=models, settings=ServerSettings(models={"*": "scripted:test"})) as server:
        out = walk([sys.executable, os.fspath(HERE / "walk_openai.py"), server.url], client)
    assert out["version"] == version
    check(out)


def test_the_typescript_client(tmp_path: Path) -> None:
    node = CLIENTS / "node"
    if shutil.which("node") is None or not (node / ".made").exists():
        pytest.skip("there is no node, or scripts/clients has not made its clients")
    shutil.copy(HERE / "walk_openai.mjs", node / "walk_openai.mjs")
    models = {"scripted:test": ScriptedModel(TURN * 2, "scripted:test")}
    with running(tmp_path / "g.db", models=models, settings=ServerSettings(models={"*": "scripted:test"})) as server:
        out = walk(["node", "walk_openai.mjs", server.url], node, node)
    check(out)
