"""The official client as godwit opens it: over a way of its own (`way.py`), with bounds, and with nothing of a server's
run here.

Leaves out when that is and what is asked (`connection.py`). Loads the client's package when it is used, not before.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from .traffic import bounded

if TYPE_CHECKING:
    from mcp import Client
    from mcp.client._transport import TransportStreams
    from mcp_types import CallToolResult, Tool as ListedTool

logger = logging.getLogger("godwit")

PAGES = 100
"""Pages of tools that are read."""
READ_S = 600.0
"""How long a server may be silent in a response; what limits a call is its tool's own time."""


_loaded = False


async def load() -> None:
    """Load the client's package, beside the event loop: it takes a second."""
    global _loaded
    if not _loaded:
        await asyncio.to_thread(_load)
        _loaded = True


def _load() -> None:
    import mcp.client.streamable_http  # noqa: F401
    import mcp_types.methods  # noqa: F401

    from ...tools import mcp_transport  # noqa: F401


@contextlib.asynccontextmanager
async def connected(
    streams: AbstractAsyncContextManager[TransportStreams],
    changed: Callable[[], None],
    *,
    within_s: float,
    handshake: bool = False,
) -> AsyncIterator[Client]:
    """A client of the server at the other end of these streams. `changed`: is called when the server says that its tools
    have. `within_s`: for connecting alone. `handshake`: do not ask first whether it speaks the newer protocol. Whatever the
    library raises, and TimeoutError."""
    from mcp import Client
    from mcp_types import Implementation, ToolListChangedNotification

    async def heard(message: Any) -> None:
        if isinstance(getattr(message, "root", message), ToolListChangedNotification):
            changed()

    client = Client(
        _sifted(bounded(streams, within_s), lambda: client),
        client_info=Implementation(name="godwit", version="1"),
        message_handler=heard,
        mode="legacy" if handshake else "auto",
        cache=None,
    )
    # The library takes its own time: the deadline is for connecting alone.
    async with contextlib.AsyncExitStack() as stack:
        async with asyncio.timeout(within_s):
            await stack.enter_async_context(client)
        # Schemas of results are not run: a regular expression of a stranger's may take hours.
        client.session.validate_tool_result = _unchecked  # type: ignore[method-assign]
        yield client


@contextlib.asynccontextmanager
async def _sifted(
    transport: AbstractAsyncContextManager[TransportStreams], client: Callable[[], Client]
) -> AsyncIterator[TransportStreams]:
    """The transport, in whose lists of tools nothing stands that is no tool: the library would refuse the whole list."""
    from mcp.shared.message import SessionMessage
    from mcp_types import JSONRPCResponse

    async with transport as (read, write):
        inner: Any = read

        class Sifted:
            last_context: Any = None

            async def receive(self) -> SessionMessage | Exception:
                item: SessionMessage | Exception = await inner.receive()
                self.last_context = getattr(inner, "last_context", None)
                if isinstance(item, SessionMessage) and isinstance(item.message, JSONRPCResponse):
                    result = item.message.result
                    if isinstance(listed := result.get("tools"), list):
                        result["tools"] = [one for one in listed if _is_tool(one, client().protocol_version)]
                return item

            async def aclose(self) -> None:
                await inner.aclose()

            def __aiter__(self) -> Sifted:
                return self

            async def __anext__(self) -> SessionMessage | Exception:
                import anyio

                try:
                    return await self.receive()
                except anyio.EndOfStream:
                    raise StopAsyncIteration from None

            async def __aenter__(self) -> Sifted:
                return self

            async def __aexit__(self, *_: object) -> None:
                await self.aclose()

        yield Sifted(), write


def _is_tool(listed: Any, version: str) -> bool:
    from mcp_types import Tool
    from mcp_types.methods import validate_server_result
    from pydantic import ValidationError

    try:
        Tool.model_validate(listed, by_name=False)
        with contextlib.suppress(KeyError):  # a version it has no rules for
            validate_server_result("tools/list", version, {"tools": [listed], **_CACHING})
    except (ValidationError, RecursionError) as error:
        name = listed.get("name") if isinstance(listed, dict) else listed
        logger.warning("an MCP server: its tool %.100r is left out: %d things are wrong with it", name, _number(error))
        return False
    return True


_CACHING = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
"""What newer versions want of every list."""


def _number(error: Exception) -> int:
    count = getattr(error, "error_count", None)
    return 1 if count is None else int(count())


async def all_tools(client: Client) -> list[ListedTool]:
    """All pages, as far as there is an end to them."""
    from ...tools.mcp import MOST_TOOLS

    found: list[ListedTool] = []
    seen: set[str] = set()
    cursor: str | None = None
    for _ in range(PAGES):
        page = await client.list_tools(cursor=cursor)
        found += page.tools
        cursor = page.next_cursor
        if cursor is None or cursor in seen or len(found) > MOST_TOOLS:
            break
        seen.add(cursor)
    if cursor is not None or len(found) > MOST_TOOLS:
        logger.warning("an MCP server has more than %d tools, or no end of them: the first are taken", MOST_TOOLS)
    return found[:MOST_TOOLS]


async def _unchecked(name: str, result: CallToolResult) -> None:
    """Takes the place of the library's check of results."""
