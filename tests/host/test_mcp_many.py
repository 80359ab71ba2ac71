"""Many MCP servers at once: they are connected side by side, and one that is dead or mute holds up no other."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.engine.conftest import Bench, data, within
from tests.parts import mcp_gate
from tests.parts.raw_mcp_site import RawMcpSite, Writer, answer, raw_mcp_site
from tests.patience import PATIENCE_S

from godwit import McpServer, McpSettings
from godwit.core.events import McpUnavailable
from godwit.engine.session import Session
from godwit.models.script import say

MANY = 20


class Gate:
    """Opens once as many have come to it as are expected. `port`: where programs of their own come to it."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.came = 0
        self.opened = asyncio.Event()
        self.port = 0

    async def arrive(self) -> None:
        self.came += 1
        if self.came == self.expected:
            self.opened.set()
        await self.opened.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        await reader.readexactly(1)
        await self.arrive()
        writer.write(b"!")
        await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def gate_of(expected: int) -> AsyncIterator[Gate]:
    gate = Gate(expected)
    server = await asyncio.start_server(gate.serve, "127.0.0.1", 0)
    gate.port = server.sockets[0].getsockname()[1]
    try:
        yield gate
    finally:
        gate.opened.set()
        server.close()


@contextlib.asynccontextmanager
async def sites(count: int, gate: Gate) -> AsyncIterator[list[RawMcpSite]]:
    """Servers of their own, each on its port, that say what their tools are once the gate is open."""
    async with contextlib.AsyncExitStack() as stack:
        made = [await stack.enter_async_context(raw_mcp_site()) for _ in range(count)]
        for site in made:

            async def listed(message: dict[str, Any], writer: Writer, site: RawMcpSite = site) -> None:
                await gate.arrive()
                writer.write(answer(message, {"tools": site.tools}))

            site.on["tools/list"] = listed
        yield made


def programs(count: int, gate: Gate) -> list[McpServer]:
    # With an argument of its own each, since servers that are reached in the same way are one.
    arguments = ("-IS", mcp_gate.__file__, str(gate.port))
    return [McpServer(f"program{n}", command=sys.executable, args=(*arguments, str(n))) for n in range(count)]


async def session_of(bench: Bench, servers: list[McpServer], here: list[RawMcpSite]) -> Session:
    settings = McpSettings(reach=tuple(site.here for site in here), wait_s=PATIENCE_S, connect_s=PATIENCE_S)
    runtime = await bench.runtime([say("Done.")], mcp=settings)
    return await bench.start([], runtime=runtime, mcp_servers=servers)


async def connected(session: Session) -> set[str]:
    return {name for name, status in (await session.mcp_status()).items() if status.connected}


@pytest.mark.parametrize("way", ["http", "stdio"])
async def test_all_are_connected_at_the_same_time(bench: Bench, way: str) -> None:
    """Each waits until all of them have been asked."""
    async with gate_of(MANY) as gate, sites(MANY if way == "http" else 0, gate) as here:
        servers = [McpServer(f"site{n}", site.url) for n, site in enumerate(here)] or programs(MANY, gate)
        session = await session_of(bench, servers, here)
        await within(session.prompt_and_wait("Go."))
        assert gate.came == MANY
        assert await connected(session) == {server.name for server in servers}
        assert await data(session, McpUnavailable) == []


async def test_a_dead_and_a_mute_one_hold_up_no_other(bench: Bench) -> None:
    others = MANY - 2
    async with gate_of(others) as gate, sites(others // 2, gate) as here, gate_of(2) as never:
        dead = McpServer("dead", command=sys.executable, args=("-c", "raise SystemExit(3)"))
        (mute,) = (McpServer("mute", command=one.command, args=one.args) for one in programs(1, never))
        well = [*(McpServer(f"site{n}", site.url) for n, site in enumerate(here)), *programs(others - others // 2, gate)]
        session = await session_of(bench, [dead, mute, *well], here)
        running = asyncio.ensure_future(session.prompt_and_wait("Go."))

        async def until_there() -> None:
            while len(await connected(session)) < others:  # noqa: ASYNC110 - of other processes
                await asyncio.sleep(0.01)

        await within(until_there())
        status = await session.mcp_status()
        assert (status["mute"].health, running.done()) == ("connecting", False)
        await never.arrive()
        await within(running)
        assert await connected(session) == {"mute", *(server.name for server in well)}
        assert [one.server for one in await data(session, McpUnavailable)] == ["dead"]
