"""A proxy that cuts connections at points which a seed decides: between any two bytes, in either direction."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class Proxy:
    """`cuts`: how many connections it has cut; it cuts no more than `most`, so that what is done through it can end."""

    def __init__(self, target: str, seed: int, most: int, longest: int = 4000) -> None:
        self.cuts = 0
        self._target = urlsplit(target)
        self._random = random.Random(seed)
        self._most = most
        self._longest = longest
        self._tasks: set[asyncio.Task[None]] = set()

    def to(self, target: str) -> None:
        """Lead to another server from now on."""
        self._target = urlsplit(target)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._relay(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._target.hostname, self._target.port)
        left = self._random.randint(0, self._longest)

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            nonlocal left
            while data := await source.read(1 << 16):
                if self.cuts < self._most and len(data) > left:
                    # The last piece may be on its way already when the connection goes.
                    sink.write(data[:left])
                    with contextlib.suppress(OSError):
                        await sink.drain()
                    self.cuts += 1
                    return
                left -= len(data)
                sink.write(data)
                await sink.drain()

        ways = [asyncio.ensure_future(copy(reader, back)), asyncio.ensure_future(copy(there, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            back.transport.abort()

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def cutting(target: str, seed: int, most: int = 40, longest: int = 4000) -> AsyncIterator[tuple[str, Proxy]]:
    """The proxy's address, and the proxy."""
    proxy = Proxy(target, seed, most, longest)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", proxy
    finally:
        server.close()
        await proxy.close()
