"""Traffic: the messages between the official client and a server, as they pass: with a bound on what the server may ask at
once, and with an end to the wait for an answer to the client's first question.

Leaves out what is in them (`client.py`). Rules a change must keep: nothing waits here; what is dropped was asked by the
server, and costs no call of ours.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from .streams import Reader, Writer

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams
    from mcp.shared.message import SessionMessage

logger = logging.getLogger("godwit")

MOST_ASKED = 100
"""Requests of a server that are under way at once; further ones are passed over until some have been answered, as is one
whose id another has that is."""
PROBE_S = 10.0
"""How long a server may take at most to say whether it speaks the newer protocol; a third of the time for connecting where
that is less. One that has said nothing by then is spoken to as of old."""
_PROBE = "server/discover"


@contextlib.asynccontextmanager
async def bounded(
    transport: AbstractAsyncContextManager[TransportStreams], within_s: float
) -> AsyncIterator[TransportStreams]:
    """The transport, with bounds. `within_s`: the time for connecting."""
    async with transport as (read, write):
        traffic = _Traffic(min(PROBE_S, within_s / 3))
        yield _Reading(read, traffic), _Writing(write, traffic)


class _Traffic:
    def __init__(self, probe_s: float) -> None:
        self._probe_s = probe_s
        self._probe: Any = None  # the id of the question that is open
        self._until = float("inf")
        self._probed = False
        self._scope: Any = None  # of who reads
        self._asked: set[Any] = set()
        self._told = False

    def sent(self, message: Any) -> None:
        """The client says this."""
        import anyio
        from mcp_types import JSONRPCNotification, JSONRPCRequest

        if isinstance(message, JSONRPCRequest):
            if message.method == _PROBE and not self._probed:
                # Only the first time: a later one is for a server that has said which versions it knows.
                self._probe, self._probed = message.id, True
                self._until = anyio.current_time() + self._probe_s
                if self._scope is not None:
                    self._scope.deadline = self._until
        elif not isinstance(message, JSONRPCNotification):
            self._asked.discard(message.id)

    def takes(self, message: Any) -> bool:
        """Whether the client is given what the server says."""
        from mcp_types import JSONRPCNotification, JSONRPCRequest

        if isinstance(message, JSONRPCNotification):
            return True
        if not isinstance(message, JSONRPCRequest):
            if message.id == self._probe:
                self._until = float("inf")
            return True
        if len(self._asked) >= MOST_ASKED or message.id in self._asked:
            if not self._told:
                logger.warning("an MCP server asks more than %d things at once: some are passed over", MOST_ASKED)
            self._told = True
            return False
        self._asked.add(message.id)
        return True

    async def next(self, read: Callable[[], Awaitable[SessionMessage | Exception]]) -> SessionMessage | Exception:
        """What the server says next; that it has not answered, once it has had its time."""
        import anyio
        from mcp.shared.message import SessionMessage
        from mcp_types import REQUEST_TIMEOUT, ErrorData, JSONRPCError

        with anyio.CancelScope(deadline=self._until) as scope:
            self._scope = scope
            return await read()
        self._until = float("inf")
        error = ErrorData(code=REQUEST_TIMEOUT, message=f"no answer within {self._probe_s:g} s")
        return SessionMessage(JSONRPCError(jsonrpc="2.0", id=self._probe, error=error))


class _Reading(Reader):
    def __init__(self, inner: Any, traffic: _Traffic) -> None:
        super().__init__(inner)
        self._traffic = traffic

    async def receive(self) -> SessionMessage | Exception:
        while True:
            item = await self._traffic.next(self._next)
            if isinstance(item, Exception) or self._traffic.takes(item.message):
                return item


class _Writing(Writer):
    def __init__(self, inner: Any, traffic: _Traffic) -> None:
        self._inner = inner
        self._traffic = traffic

    async def send(self, item: SessionMessage, /) -> None:
        await self._inner.send(item)
        self._traffic.sent(item.message)

    async def aclose(self) -> None:
        await self._inner.aclose()
