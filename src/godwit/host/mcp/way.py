"""McpWay: how one MCP server is reached; and the streams of messages that ways of our own hand to the official client.

Leaves out when it is opened and what is asked (`connection.py`). Rule: a way belongs to one connection for as long as
that is; what it opens is entered and left by one task.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol

from ...core.errors import GodwitError
from ...core.mcp import Trouble

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from mcp import Client
    from mcp.shared.message import SessionMessage

    from ...tools.guarded import Seen
    from .client import Ears

Failure = tuple[Trouble, str]

LAST_ERROR = 500
"""Characters of what a library says of a failure that are passed on."""


class McpWay(Protocol):
    """`within_s`: how long connecting, and listing its tools, may take. `stateful`: the server keeps something for who asks,
    so a connection is one session's. `failure`: why it cannot be reached any more, or what came of the last request, for
    people; empty when nothing is known."""

    @property
    def within_s(self) -> float: ...
    @property
    def stateful(self) -> bool: ...
    @property
    def failure(self) -> str: ...

    def open(self, ears: Ears, broken: Callable[[], None]) -> AbstractAsyncContextManager[Client]:
        """Connect. `broken`: is called when the server is gone. Whatever the library raises, GodwitError, OSError, and
        TimeoutError."""
        ...

    def hidden(self, text: str) -> str:
        """The text without what it was given secretly."""
        ...

    def refused(self, seen: Seen) -> str | None:
        """Why it does not take the credential; None when it does, or has not said."""
        ...

    def taken(self) -> None:
        """It has answered as it should: it takes the credential."""
        ...

    def reason(self, error: BaseException) -> Failure:
        """Why connecting or staying failed."""
        ...


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


class Outgoing:
    """What the client says. `send`: is awaited in the task of who says it."""

    def __init__(self, send: Callable[[SessionMessage], Any]) -> None:
        self._send = send

    async def send(self, item: SessionMessage, /) -> None:
        await self._send(item)

    async def aclose(self) -> None:
        return

    async def __aenter__(self) -> Outgoing:
        return self

    async def __aexit__(self, *_: object) -> None:
        return


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


def reason_of(error: BaseException, within_s: float) -> Failure:
    """What an error means where nothing better is known."""
    first = first_of(error)
    if isinstance(first, TimeoutError):
        return "connection", f"timed out: it does not answer within {within_s:g} s"
    if isinstance(first, GodwitError):
        return "connection", first.message
    return "connection", f"it does not speak MCP as it should ({type(first).__name__})"


def first_of(error: BaseException) -> BaseException:
    """What a group of errors began with."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def hidden(text: str, secrets: tuple[str, ...]) -> str:
    """The text without these, but for those that are too short to be told from any other text."""
    for secret in secrets:
        if len(secret) >= SHORTEST:
            text = text.replace(secret, "[hidden]")
    return text


SHORTEST = 8
"""Characters of a secret that is looked for."""
