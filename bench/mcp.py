"""What MCP servers cost: connecting many against one, what they cost at rest, and hundreds of tools in each request.

The servers are small and in processes of their own, so what is counted is ours. At rest means: connected, and nobody calls.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

import godwit
from godwit.contracts import ModelRequest
from godwit.models.script import call

from .measure import Bench, Prepare, Work, resident_kb, take_turns

MODEL = "scripted:mcp"
PROGRAM = str(Path(__file__).with_name("mcp_servers.py"))
ONE, NONE, TOLD, SEARCHED = "1 server", "no servers", "told", "looked for"
CHARACTERS_PER_TOKEN = 4


def program(number: int, tools: int = 1) -> godwit.McpServer:
    return godwit.McpServer(f"p{number}", command=sys.executable, args=("-IS", PROGRAM, "stdio", str(tools), str(number)))


@asynccontextmanager
async def sites(count: int, tools: int = 1) -> AsyncIterator[list[godwit.McpServer]]:
    """As many servers over HTTP."""
    pipe = asyncio.subprocess.PIPE
    arguments = ("-IS", PROGRAM, "http", str(count), str(tools))
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=pipe, stdout=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        ports = (await process.stdout.readline()).decode().split()
        yield [godwit.McpServer(f"h{port}", f"http://127.0.0.1:{port}/mcp") for port in ports]
    finally:
        process.stdin.close()
        await process.wait()


async def opened(
    folder: Path, script: list[Any], number: int, servers: list[godwit.McpServer]
) -> tuple[godwit.Runtime, godwit.ScriptedModel]:
    model = godwit.ScriptedModel(script, MODEL)
    reach = tuple(urlsplit(server.url).netloc for server in servers if server.url)
    settings = godwit.McpSettings(reach=reach, wait_s=60, connect_s=60)
    return await godwit.Runtime.open(folder / f"{number}.db", models={MODEL: model}, mcp=settings), model


async def check(session: godwit.Session) -> None:
    """What is measured is what was meant."""
    missing = [name for name, status in (await session.mcp_status()).items() if not status.connected]
    if missing:
        raise RuntimeError(f"not connected: {missing}")


async def mcp(bench: Bench) -> None:
    folder = bench.folder / "mcp"
    folder.mkdir()
    numbers = itertools.count()
    async with sites(bench.sizes.servers) as over_http:
        programs = [program(n) for n in range(bench.sizes.servers)]
        for way, servers in (("stdio", programs), ("HTTP", over_http)):
            await _connecting(bench, folder, numbers, way, servers)
        await _at_rest(bench, folder, numbers, [*programs, *over_http])
    async with sites(1, bench.sizes.tools) as many:
        await _many_tools(bench, folder, numbers, many)


async def _connecting(bench: Bench, folder: Path, numbers: Any, way: str, servers: list[godwit.McpServer]) -> None:
    """A first run, which connects its servers: 1 of them, and all. What it does beside that is in both."""
    scenario = f"mcp: connecting, {way}"
    closing: list[godwit.Runtime] = []

    def preparing(chosen: list[godwit.McpServer]) -> Prepare:
        async def prepare() -> Work:
            while closing:
                await closing.pop().close()
            runtime, _ = await opened(folder, ["Done."], next(numbers), chosen)
            closing.append(runtime)
            session = await runtime.start_session(godwit.Agent("a", model=MODEL, mcp_servers=chosen), workspace=folder)

            async def work() -> None:
                await session.send("Go.")
                await check(session)

            return work

        return prepare

    contenders = {ONE: preparing(servers[:1]), f"{len(servers)} servers": preparing(servers)}
    samples = await take_turns(contenders, bench.sizes.repeats, max(1, bench.sizes.warm))
    while closing:
        await closing.pop().close()
    for name, taken in samples.items():
        bench.add(scenario, name, "wall", "ms", [s.wall_ms for s in taken], floor=ONE)
        bench.add(scenario, name, "CPU", "ms", [s.cpu_ms for s in taken], floor=ONE)


async def _at_rest(bench: Bench, folder: Path, numbers: Any, servers: list[godwit.McpServer]) -> None:
    """What a process uses in which nothing happens, without servers and with all of them connected; and what each weighs."""
    for name, chosen in ((NONE, []), (f"{len(servers)} servers", servers)):
        runtime, _ = await opened(folder, ["Done."], next(numbers), servers)
        async with runtime:
            # The libraries are loaded by whoever comes first, and a connection of each way is no news to them.
            warm = await runtime.start_session(
                godwit.Agent("w", model=MODEL, mcp_servers=[servers[0], servers[-1]]), workspace=folder
            )
            await warm.send("Go.")
            await warm.remove_mcp_server(servers[0].name)
            gc.collect()
            before = resident_kb()
            session = await runtime.start_session(godwit.Agent("a", model=MODEL, mcp_servers=chosen), workspace=folder)
            await session.send("Go.")
            await check(session)
            gc.collect()
            after = resident_kb()
            used = []
            for _ in range(bench.sizes.repeats):
                start, cpu = time.perf_counter(), time.process_time()
                await asyncio.sleep(bench.sizes.rest_s)
                used.append((time.process_time() - cpu) * 1000 / (time.perf_counter() - start))
            bench.add("mcp: at rest", name, "CPU, each second", "ms", used, floor=NONE)
            if chosen and before is not None and after is not None:
                bench.add("mcp: at rest", name, "memory, each", "KB", [(after - before) / len(chosen)], floor=None)


async def _many_tools(bench: Bench, folder: Path, numbers: Any, servers: list[godwit.McpServer]) -> None:
    """Runs of some steps, with all tools of a server told or looked for; the model answers within the process."""
    scenario, steps = f"mcp: {bench.sizes.tools} tools", bench.sizes.steps
    closing: list[godwit.Runtime] = []
    requests: dict[str, list[ModelRequest]] = {}

    def tick(count: int) -> int:
        """Count on."""
        return count + 1

    def preparing(name: str, chosen: list[godwit.McpServer], mode: str) -> Prepare:
        async def prepare() -> Work:
            while closing:
                await closing.pop().close()
            calls = [call("tick", count=n) for n in range(steps)]
            runtime, model = await opened(folder, ["Connected.", *calls, "Done."], next(numbers), chosen)
            closing.append(runtime)
            requests[name] = model.requests
            agent = godwit.Agent("a", model=MODEL, tools=[tick], mcp_servers=chosen, tool_search=mode)
            session = await runtime.start_session(agent)
            await session.send("Go.")
            return lambda: session.send("Count.")

        return prepare

    contenders = {
        NONE: preparing(NONE, [], "auto"),
        TOLD: preparing(TOLD, servers, "never"),
        SEARCHED: preparing(SEARCHED, servers, "always"),
    }
    samples = await take_turns(contenders, bench.sizes.repeats, bench.sizes.warm)
    while closing:
        await closing.pop().close()
    for name, taken in samples.items():
        bench.add(scenario, name, "CPU, each step", "ms", [s.cpu_ms / (steps + 1) for s in taken], floor=NONE)
        characters = len(msgspec.json.encode(requests[name][-1].tools))
        bench.add(scenario, name, "tokens of tools, about", "", [float(characters // CHARACTERS_PER_TOKEN)], floor=None)


__all__ = ["mcp"]
