"""Connection: uvicorn's HTTP/1.1 protocol, with a time limit for headers, and with what is known of each connection for the
requests that come over it.

What is added stands in `scope["state"][STATE]`. It uses h11, the parser in Python: another one counts requests and bodies as
well, but h11 is strict and is there anyway.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import socket
import struct
import sys
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

STATE = "godwit.connection"
_TIOCOUTQ = 0x5411
"""Linux `SIOCOUTQ`, tcp(7): bytes in the send queue that the other side has not acknowledged."""


class Wire:
    """One connection from a client. `requests`: how many came over it. `closed_s`: when it ended, by the loop's clock; None
    while it is open. `closed_here`: it was at rest, and this side ended it. `undelivered`: the client ended it
    while bytes that were written had not reached the other side; over TLS that is not known when it has ended."""

    __slots__ = ("_below", "_loop", "_transport", "closed_here", "closed_s", "requests", "undelivered")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.requests = 0
        self.closed_s: float | None = None
        self.closed_here = False
        self.undelivered = False
        self._transport = transport
        # Over TLS a transport hands all it has to the one below, which says how much of that is left; nobody else does.
        self._below: asyncio.Transport | None = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
        self._loop = loop

    @property
    def unacknowledged(self) -> bool:
        """Whether something was written that the other side's kernel has not acknowledged, as far as this system tells."""
        if self.closed_s is not None:
            return self.undelivered
        return self.waiting > 0 or _send_queue(self._transport) > 0

    @property
    def waiting(self) -> int:
        """Bytes that were written and not yet handed over to the system."""
        return self._transport.get_write_buffer_size() + (0 if self._below is None else self._below.get_write_buffer_size())

    @property
    def flowing(self) -> bool:
        """Whether all that was written has been handed over to the system: more can be written without waiting."""
        return self.waiting == 0

    def ended(self, *, by_client: bool) -> None:
        # When this side ends it, what was just written is still on its way, which says nothing.
        self.undelivered = by_client and self.unacknowledged
        self.closed_s = self._loop.time()

    def abort(self) -> None:
        """End it now; what was not taken is thrown away."""
        _reset(self._transport)


def _send_queue(transport: asyncio.Transport) -> int:
    if sys.platform != "linux":
        return 0
    found = transport.get_extra_info("socket")
    if found is None:
        return 0
    size = array.array("i", [0])
    try:
        fcntl.ioctl(found.fileno(), _TIOCOUTQ, size)
    except (OSError, ValueError):
        return 0
    return size[0]


def _reset(transport: asyncio.Transport) -> None:
    """Without the linger the kernel would keep what was written for as long as the client takes nothing."""
    found = transport.get_extra_info("socket")
    if found is not None:
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class Connection(H11Protocol):
    """`header_s`: seconds until the headers of a request are there. `send_s`: seconds in which a client takes something of
    an answer that was handed over whole. Set them on a subclass."""

    header_s = 15.0
    send_s = 60.0

    _wire: Wire | None = None
    _waiting: asyncio.TimerHandle | None = None
    _taking: asyncio.TimerHandle | None = None
    _left = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wire = Wire(transport, self.loop)
        self.app_state = {**self.app_state, STATE: self._wire}
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle: Any = self.cycle  # None before the first request, though not by its type
        if cycle is not None and not cycle.response_complete:
            self._stop_waiting()
        else:
            self._await_headers()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        left = 0 if self._wire is None else self._wire.waiting
        if left and self._taking is None:
            self._taking = self.loop.call_later(self.send_s, self._still_taking, left)

    def _still_taking(self, before: int) -> None:
        self._taking = None
        left = 0 if self._wire is None else self._wire.waiting
        if left >= before:
            _reset(self.transport)
        elif left:
            self._taking = self.loop.call_later(self.send_s, self._still_taking, left)

    def send_400_response(self, msg: str) -> None:
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete:
            super().send_400_response(msg)
            return
        # What is wrong came behind the headers: the request is being answered, and nobody is there for it any more.
        if cycle.response_started:
            self.transport.close()
        else:
            super().send_400_response(msg)
        cycle.disconnected = True
        cycle.message_event.set()

    def timeout_keep_alive_handler(self) -> None:
        self._closing_here()
        super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        self._closing_here()
        super().shutdown()

    def eof_received(self) -> None:
        self._left = True
        super().eof_received()

    def _closing_here(self) -> None:
        cycle: Any = self.cycle
        if self._wire is not None and (cycle is None or cycle.response_complete):
            self._wire.closed_here = True

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        if self._taking is not None:
            self._taking.cancel()
        if self._wire is not None:
            self._wire.ended(by_client=exc is not None or self._left)
        super().connection_lost(exc)

    def _await_headers(self) -> None:
        if self._waiting is None and not self.transport.is_closing():
            self._waiting = self.loop.call_later(self.header_s, self._too_late)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _too_late(self) -> None:
        self._waiting = None
        if not self.transport.is_closing():
            self.transport.close()


def connection_class(header_s: float, send_s: float) -> type[Any]:
    return type("Connection", (Connection,), {"header_s": header_s, "send_s": send_s})
