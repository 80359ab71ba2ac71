"""The official client against a server of ours: what tests of both generations of the protocol have in common."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import httpx2
import mcp
import mcp_types as types
import msgspec
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

import godwit
from godwit.host.agent_registry import AgentRegistry
from tests.patience import PATIENCE_S
from tests.surfaces.terminal import environment

Mode = Literal["auto", "legacy"]
MODES: list[Mode] = ["auto", "legacy"]
"""Both generations: `auto` takes the newer one from a server that has it."""
MODEL = "scripted:any"

Answers = Callable[[types.ElicitRequestFormParams], Awaitable[types.ElicitResult] | types.ElicitResult]


def approving(**more: Any) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"decision": "approve", **more})


def asked_by(answers: Answers | None) -> Any:
    """An elicitation callback."""
    if answers is None:
        return None

    async def callback(_: Any, params: Any) -> types.ElicitResult:
        found = answers(params)
        return found if isinstance(found, types.ElicitResult) else await found

    return callback


@asynccontextmanager
async def over_http(
    url: str, mode: Mode = "auto", *, key: str | None = None, answers: Answers | None = None, **options: Any
) -> AsyncIterator[mcp.Client]:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(headers=headers, timeout=PATIENCE_S) as http:
        transport = streamable_http_client(f"{url}/mcp", http_client=http)
        async with mcp.Client(transport, mode=mode, elicitation_callback=asked_by(answers), **options) as client:
            yield client


def stdio_parameters(folder: Path, *flags: str) -> StdioServerParameters:
    """`godwit mcp serve` for this folder, as a client would start it: from anywhere."""
    words = ["-m", "godwit", "mcp", "serve", "-w", os.fspath(folder), "-m", MODEL, *flags]
    return StdioServerParameters(command=sys.executable, args=words, env=environment(), cwd="/")


@asynccontextmanager
async def over_stdio(
    folder: Path, mode: Mode = "auto", *flags: str, answers: Answers | None = None, **options: Any
) -> AsyncIterator[mcp.Client]:
    transport = stdio_client(stdio_parameters(folder, *flags))
    async with mcp.Client(transport, mode=mode, elicitation_callback=asked_by(answers), **options) as client:
        yield client


async def put(runtime: godwit.Runtime, *agents: godwit.Agent, tenant: str | None = None, about: str = "Codes.") -> None:
    """Store agents as a protocol would."""
    registry = AgentRegistry(runtime.store, ids=runtime.ids, clock=runtime.clock)
    for agent in agents:
        spec = agent.spec
        await registry.create(msgspec.structs.replace(spec, title=str(spec.name), description=about), tenant=tenant)


def text_of(result: types.CallToolResult) -> str:
    return "".join(block.text for block in result.content if isinstance(block, types.TextContent))


def structured(result: types.CallToolResult) -> dict[str, Any]:
    assert isinstance(result.structured_content, dict), text_of(result)
    return result.structured_content
