"""Stdio: one client, over the standard streams of this process, until it closes them or the process is told to end.

The streams are read and written by threads of their own that are not waited for, since neither can be interrupted: a client
that neither reads nor writes must not keep the process alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
from collections.abc import AsyncIterator

import anyio
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.context import ServerRequestContext
from mcp.shared.message import SessionMessage

from ...core.principal import Principal
from ..server.caller import Caller
from ..server.roster import Roster
from ..server.service import Service
from .prompts import Written
from .protocol import served
from .wire import Wire

PERSON = Principal("mcp", None, frozenset({"admin"}))
"""Whoever has started this process."""
MAX_LINE = 32 * 1024 * 1024
"""Bytes of one message."""
_READ = 64 * 1024

Incoming = SessionMessage | Exception


async def serve(service: Service, roster: Roster, written: Written | None, wire: Wire, ending: asyncio.Event) -> None:
    """Until the client has closed its end, does not read any more, or `ending` is set."""
    made = await served(service, roster, lambda _: _caller(service, _), written)
    try:
        async with _streams(wire) as (incoming, outgoing):
            options = made.server.create_initialization_options()
            work = asyncio.ensure_future(made.server.run(incoming, outgoing, options))
            told = asyncio.ensure_future(ending.wait())
            await asyncio.wait([work, told], return_when=asyncio.FIRST_COMPLETED)
            told.cancel()
            service.tenants.end_streams()
            if not work.done():
                work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
    finally:
        await made.close()


def _caller(service: Service, _: ServerRequestContext[object, object]) -> Caller:
    return Caller(service, PERSON)


@contextlib.asynccontextmanager
async def _streams(
    wire: Wire,
) -> AsyncIterator[tuple[MemoryObjectReceiveStream[Incoming], MemoryObjectSendStream[SessionMessage]]]:
    """As the SDK wants them."""
    give, incoming = anyio.create_memory_object_stream[Incoming](0)
    outgoing, take = anyio.create_memory_object_stream[SessionMessage](0)
    reading = asyncio.ensure_future(_read(wire.reads, give))
    writing = asyncio.ensure_future(_write(wire.writes, take, give))
    try:
        yield incoming, outgoing
    finally:
        # What was said last still goes out, if anybody takes it.
        outgoing.close()
        await asyncio.wait([writing], timeout=2.0)
        for task in (reading, writing):
            task.cancel()
        await asyncio.gather(reading, writing, return_exceptions=True)
        for stream in (give, incoming, take):
            stream.close()


async def _read(descriptor: int, give: MemoryObjectSendStream[Incoming]) -> None:
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes | None] = asyncio.Queue()
    room = threading.Semaphore(16)

    def read() -> None:
        rest = b""
        with contextlib.suppress(OSError, RuntimeError):
            while data := os.read(descriptor, _READ):
                *whole, rest = (rest + data).split(b"\n")
                if len(rest) > MAX_LINE:
                    break
                for line in whole:
                    room.acquire()
                    loop.call_soon_threadsafe(lines.put_nowait, line)
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, name="mcp stdin", daemon=True).start()
    with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        while (line := await lines.get()) is not None:
            room.release()
            if not line.strip():
                continue
            message: Incoming
            try:
                message = SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
            except ValueError as error:
                message = error
            await give.send(message)
    give.close()


async def _write(
    descriptor: int, take: MemoryObjectReceiveStream[SessionMessage], give: MemoryObjectSendStream[Incoming]
) -> None:
    loop = asyncio.get_running_loop()
    waiting: queue.SimpleQueue[tuple[bytes, asyncio.Future[bool]]] = queue.SimpleQueue()

    def write() -> None:
        while True:
            data, done = waiting.get()
            ok = True
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
            except OSError:
                ok = False
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_settle, done, ok)

    threading.Thread(target=write, name="mcp stdout", daemon=True).start()
    async for message in take:
        data = message.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
        done: asyncio.Future[bool] = loop.create_future()
        waiting.put((data, done))
        if not await done:
            give.close()  # nobody reads: as if they had said that they are done
            return


def _settle(done: asyncio.Future[bool], ok: bool) -> None:
    if not done.done():
        done.set_result(ok)
