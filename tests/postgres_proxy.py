"""A socket between a store and its server that loses what a test says: connections break at the worst moment."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Literal

Fate = Literal["pass", "lose", "lose the answer"]
"""Of what the store sends: it arrives; the connection breaks before that; the connection breaks behind it."""


class Proxy:
    """`fate` is asked about each piece that the store sends."""

    def __init__(self, folder: Path, server: Path, fate: Callable[[bytes], Fate]) -> None:
        self.folder = folder
        self.port = 5432
        self._server = server
        self._fate = fate
        self._tasks: set[asyncio.Task[None]] = set()

    def url(self, schema: str) -> str:
        return f"postgresql://godwit@/postgres?host={self.folder}&port={self.port}&schema={schema}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        to_server = None
        try:
            from_server, to_server = await asyncio.open_unix_connection(str(self._server))
            back = asyncio.create_task(_copy(from_server, writer))
            while data := await reader.read(1 << 16):
                fate = self._fate(data)
                if fate == "lose":
                    break
                if fate == "lose the answer":
                    back.cancel()
                    to_server.write(data)
                    await to_server.drain()
                    # It has had its time to do it once it says so.
                    await from_server.read(1 << 16)
                    break
                to_server.write(data)
            back.cancel()
        except OSError:
            pass
        finally:
            for one in (writer, to_server):
                if one is not None:
                    one.close()
            self._tasks.discard(task)

    async def end(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
        writer.close()


@contextlib.asynccontextmanager
async def proxied(folder: Path, server: Path, fate: Callable[[bytes], Fate]) -> AsyncIterator[Proxy]:
    proxy = Proxy(folder, server, fate)
    listening = await asyncio.start_unix_server(proxy.serve, str(folder / f".s.PGSQL.{proxy.port}"))
    try:
        yield proxy
    finally:
        listening.close()
        await proxy.end()


__all__ = ["Fate", "Proxy", "proxied"]
