"""The streams of messages that ways of our own hand to the official client, and those that look at what passes.

Leaves out how a server is reached (`way.py`), and what is looked at (`sifting.py`, `traffic.py`).
"""

from __future__ import annotations

import codecs
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from mcp.shared.message import SessionMessage


class Reader(ABC):
    """What another stream gives, looked at. `last_context`: in which the other one's last message came."""

    last_context: Any = None

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    @abstractmethod
    async def receive(self) -> SessionMessage | Exception:
        """The next message. What the other one raises at its end."""

    async def _next(self) -> SessionMessage | Exception:
        """The other one's next message, as it is."""
        item: SessionMessage | Exception = await self._inner.receive()
        self.last_context = getattr(self._inner, "last_context", None)
        return item

    async def aclose(self) -> None:
        await self._inner.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        import anyio

        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class Writer(ABC):
    """What the client says. `send` is awaited in the task of who says it."""

    @abstractmethod
    async def send(self, item: SessionMessage, /) -> None: ...

    async def aclose(self) -> None:
        return

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class Incoming:
    """What the server has said, for the client to read."""

    def __init__(self) -> None:
        import anyio

        pair: tuple[
            MemoryObjectSendStream[SessionMessage | Exception], MemoryObjectReceiveStream[SessionMessage | Exception]
        ]
        pair = anyio.create_memory_object_stream[Any](0)
        self._into, self.stream = pair

    async def put(self, message: Any) -> None:
        """Hand on a message, as soon as the client takes it; nothing once the client has gone."""
        import anyio
        from mcp.shared.message import SessionMessage

        try:
            await self._into.send(SessionMessage(message))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return

    def end(self) -> None:
        """Nothing comes any more: requests that are still open fail."""
        self._into.close()

    def close(self) -> None:
        """Nobody reads it any more."""
        self.end()
        self.stream.close()


class Outgoing(Writer):
    """Hands on each message to `send`."""

    def __init__(self, send: Callable[[SessionMessage], Any]) -> None:
        self._send = send

    async def send(self, item: SessionMessage, /) -> None:
        await self._send(item)


def message_of(text: str | bytes) -> Any | None:
    """A JSON-RPC message; None for what is none. One whose text is not quite text is taken with replacement characters:
    servers cut texts in the middle of a character, and a call would wait in vain."""
    import mcp_types

    try:
        return mcp_types.jsonrpc_message_adapter.validate_json(text, by_name=False)
    except (ValueError, RecursionError):
        pass
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    data = data.removeprefix(codecs.BOM_UTF8).lstrip()
    if not data.startswith(b"{"):
        return None
    try:
        again = json.dumps(json.loads(data.decode(errors="replace")), ensure_ascii=False).encode("utf-8", "replace")
        return mcp_types.jsonrpc_message_adapter.validate_json(again, by_name=False)
    except (ValueError, RecursionError):
        return None


__all__ = ["Incoming", "Outgoing", "Reader", "Writer", "message_of"]
