"""A server as a process of its own: `python -m bench.served godwit|floor FOLDER`.

It prints its address as a line of JSON, then answers each line of its standard input with one: what it weighs, events to be
stored at a pace, sessions to be waited for. Its models answer within the process, each as the last message tells it: `200 at
50` streams so many chunks, so many a second; `hold` stands still; anything else gets a word. It is killed at the end, since
runs that stand still would have to end first.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from .floor_server import TOGETHER, FloorServer
from .measure import resident_kb
from .pace import Pace, told, when


class Served(Protocol):
    url: str

    async def store(self, session: str, pace: Pace) -> None: ...
    async def settle(self, sessions: list[str]) -> None: ...
    async def seed(self, session: str, bodies: list[Any]) -> None: ...
    def served(self) -> contextlib.AbstractAsyncContextManager[None]: ...


class GodwitServer:
    """What `godwit serve` runs, its log included, on a durable file. `url`: its address, while it is `served`."""

    url: str

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        import godwit
        from godwit.surfaces.server import ServerSettings, serving
        from godwit.surfaces.server.access import log_as_json
        from godwit.surfaces.server.listening import freeze

        log_as_json()
        settings = ServerSettings(port=0, folder=str(self._folder / "workspaces"))
        async with await godwit.Runtime.open(self._folder / "served.db", models={PacedModel.name: PacedModel()}) as runtime:
            self._runtime = runtime
            async with serving(runtime, settings) as server:
                self.url = server.url
                freeze()
                yield

    async def store(self, session: str, pace: Pace) -> None:
        """So many events, each of which becomes one frame. Without a pause, several are under way at once."""
        handle = await self._runtime.desk.session(session)
        if pace.per_s:
            async for due in when(pace, session):
                await handle.configure(name=told(due))
            return
        left = pace.count
        while left > 0:
            many, left = min(left, TOGETHER), left - TOGETHER
            await asyncio.gather(*(handle.configure(name=told(time.monotonic_ns())) for _ in range(many)))

    async def settle(self, sessions: list[str]) -> None:
        """Until these sessions rest."""
        for session in sessions:
            handle = await self._runtime.desk.session(session)
            run = (await self._runtime.store.session(handle.id)).run
            if run is not None:
                await handle.wait(run)
            await self._runtime.settle(handle.id)

    async def seed(self, session: str, bodies: list[Any]) -> None:
        raise NotImplementedError("a session's events are made by its runs")


class PacedModel:
    """Implements `godwit.contracts.Model`."""

    name = "scripted:paced"
    wire = "scripted"

    def cost_usd(self, usage: Any) -> float | None:
        return None

    async def stream(self, request: Any) -> AsyncIterator[Any]:
        from godwit.contracts import ModelAnswer, TextDelta
        from godwit.core.messages import Text, Usage, User, text_of

        last = next(e.message for e in reversed(request.entries) if isinstance(e.message, User))
        prompt = text_of(last.content)
        if prompt == "hold":
            await asyncio.Event().wait()
        pace = Pace.of(prompt)
        pieces = ["Yes."]
        if pace is None:
            yield TextDelta(0, "Yes.")
        else:
            pieces = []
            async for due in when(pace, request.session):
                pieces.append(told(due))
                yield TextDelta(0, pieces[-1])
        yield ModelAnswer((Text("".join(pieces)),), "end_turn", Usage(10, len(pieces), requests=1), self.name)


async def _obey(server: Served, command: dict[str, Any]) -> dict[str, Any]:
    match command["do"]:
        case "weigh":
            if command["memory"]:
                gc.collect()
            return {"cpu_s": time.process_time(), "kb": resident_kb() if command["memory"] else None}
        case "store":
            await server.store(command["session"], Pace(command["count"], command["per_s"]))
        case "settle":
            await server.settle(command["sessions"])
        case "seed":
            await server.seed(command["session"], command["bodies"])
    return {}


async def main(kind: str, folder: str) -> None:
    server: Served = FloorServer(Path(folder) / "floor.db") if kind == "floor" else GodwitServer(Path(folder))
    commands = asyncio.StreamReader(limit=1 << 26)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    async with server.served():
        print(json.dumps({"url": server.url}), flush=True)
        while line := await commands.readline():
            print(json.dumps(await _obey(server, json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
