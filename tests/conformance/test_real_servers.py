"""The reference servers of the protocol, over stdio, as tools of a session; `scripts/conformance` installs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.conformance import suite
from tests.engine.conftest import MODEL, Bench, bench

from godwit import Agent, McpServer
from godwit.core.messages import Image
from godwit.engine.session import Session

__all__ = ["bench"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(suite.absent() is not None, reason=suite.absent() or ""),
]


async def session_of(bench: Bench, package: str, *args: str, **more: Any) -> tuple[Session, int]:
    folder = suite.PACKAGES / "@modelcontextprotocol" / f"server-{package}"
    about = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    (script,) = about["bin"].values()
    server = McpServer("real", command=str(suite.node()), args=(str(folder / script), *args), **more)
    runtime = await bench.runtime([])
    session = await runtime.start_session(Agent("tester", model=MODEL))
    return session, await session.add_mcp_server(server)


async def test_everything(bench: Bench) -> None:
    session, count = await session_of(bench, "everything")
    assert count >= 8
    echo = await session.tool("mcp__real__echo", {"message": "hello"})
    assert (echo.status, echo.output) == ("ok", "Echo: hello")
    image = await session.tool("mcp__real__get-tiny-image", {})
    assert any(isinstance(block, Image) for block in image.content)
    structured = await session.tool("mcp__real__get-structured-content", {"location": "New York"})
    assert set(structured.metadata["structured"]) == {"temperature", "conditions", "humidity"}


async def test_filesystem(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("in the file")
    session, _ = await session_of(bench, "filesystem", str(tmp_path))
    read = await session.tool("mcp__real__read_text_file", {"path": str(tmp_path / "a.txt")})
    assert (read.status, "in the file" in read.output) == ("ok", True)
    outside = await session.tool("mcp__real__read_text_file", {"path": "/etc/hostname"})
    assert outside.status == "error"


async def test_memory(bench: Bench, tmp_path: Path) -> None:
    session, _ = await session_of(bench, "memory", env={"MEMORY_FILE_PATH": str(tmp_path / "graph.jsonl")})
    entity = {"name": "godwit", "entityType": "bird", "observations": ["wades"]}
    assert (await session.tool("mcp__real__create_entities", {"entities": [entity]})).status == "ok"
    graph = await session.tool("mcp__real__read_graph", {})
    assert "wades" in graph.output


async def test_sequential_thinking(bench: Bench) -> None:
    session, count = await session_of(bench, "sequential-thinking")
    assert count == 1
    thought = {"thought": "First.", "nextThoughtNeeded": False, "thoughtNumber": 1, "totalThoughts": 1}
    result = await session.tool("mcp__real__sequentialthinking", thought)
    assert (result.status, '"thoughtNumber": 1' in result.output) == ("ok", True)
