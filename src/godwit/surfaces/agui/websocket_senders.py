"""Events over a WebSocket: a JSON text per event. What comes in is read and not looked at.

The handler serves a `WebSocket` of Starlette or FastAPI, or a connection of the package `websockets`; both are known by what
they can do, and neither is imported.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final, Protocol

from .channel import Line, Sender
from .events import Event
from .profiles import Profile

PING_S: Final = 30.0


class WebSocketSender(Sender):
    """Sends events to a `WebSocketHandler`."""


class _Connection(Protocol):
    """What both kinds of connection come to."""

    async def open(self) -> None: ...

    async def send(self, text: str) -> None: ...

    async def ping(self) -> None: ...

    async def drain(self) -> None:
        """Reads until the other side is gone."""

    async def close(self) -> None: ...


class WebSocketHandler:
    """`ping_s`: seconds between pings, for which the connection must have them; a server that speaks ASGI sends its own.
    None sends none."""

    def __init__(self, line: Line, ping_s: float | None) -> None:
        self._line = line
        self._ping_s = ping_s

    def __del__(self) -> None:
        self._line.abandon()

    async def serve(self, socket: Any) -> None:
        """Sends what there is until the sender is closed, which closes the connection, or until the other side is gone,
        which closes the sender."""
        connection: _Connection = _Asgi(socket) if hasattr(socket, "send_text") else _Plain(socket)
        try:
            await connection.open()
            async with asyncio.TaskGroup() as tasks:
                beside = [tasks.create_task(self._listen(connection)), tasks.create_task(self._ping(connection))]
                await self._write(connection)
                for task in beside:
                    task.cancel()
        finally:
            self._line.abandon()

    async def _write(self, connection: _Connection) -> None:
        while (frame := await self._line.take()) is not None:
            try:
                await connection.send(frame.decode())
            except Exception:  # of which kind it is when the other side is gone depends on the library
                self._line.abandon()
                return
        if not self._line.abandoned:
            with contextlib.suppress(Exception):
                await connection.close()

    async def _listen(self, connection: _Connection) -> None:
        with contextlib.suppress(Exception):
            await connection.drain()
        self._line.abandon()

    async def _ping(self, connection: _Connection) -> None:
        while self._ping_s is not None:
            await asyncio.sleep(self._ping_s)
            with contextlib.suppress(Exception):
                await connection.ping()


class _Asgi:
    """A WebSocket of Starlette's."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket

    async def open(self) -> None:
        if self._socket.client_state.name == "CONNECTING":
            await self._socket.accept()

    async def send(self, text: str) -> None:
        await self._socket.send_text(text)

    async def ping(self) -> None:
        pass  # ASGI has none

    async def drain(self) -> None:
        while (await self._socket.receive())["type"] != "websocket.disconnect":
            pass

    async def close(self) -> None:
        await self._socket.close()


class _Plain:
    """A connection of the package `websockets`."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket

    async def open(self) -> None:
        pass

    async def send(self, text: str) -> None:
        await self._socket.send(text)

    async def ping(self) -> None:
        await self._socket.ping()

    async def drain(self) -> None:
        async for _ in self._socket:
            pass

    async def close(self) -> None:
        await self._socket.close()


def websocket_channel(
    buffer: int, *, profile: Profile = "1.0", ping_s: float | None = PING_S
) -> tuple[WebSocketSender, WebSocketHandler]:
    """Both ends of a stream that holds `buffer` events at most."""
    line = Line(buffer)
    return WebSocketSender(line, profile, _frame), WebSocketHandler(line, ping_s)


def _frame(_: Event, body: bytes) -> bytes:
    return body
