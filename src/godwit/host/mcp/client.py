"""The official client as godwit opens it: over a way of its own (`way.py`), with bounds, and with nothing of a server's
run here.

Leaves out when that is and what is asked (`connection.py`). Loads the client's package when it is used, not before.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ...core.mcp import LogLevel
from .sifting import sifted
from .traffic import bounded

if TYPE_CHECKING:
    from mcp import Client
    from mcp.client._transport import TransportStreams
    from mcp_types import CallToolResult, Root, Tool as ListedTool

logger = logging.getLogger("godwit")

T = TypeVar("T")

PAGES = 100
"""Pages of a list that are read."""
READ_S = 600.0
"""How long a server may be silent in a response; what limits a call is its tool's own time."""


class Ears(NamedTuple):
    """Who is told what a server says by itself, and what it is told when it asks. `heard`: is called with each notification;
    `logged`: with the level, the logger and the data of what it logs; `log_level`: what it is asked to log, None leaves it
    to the server. `roots`: the folders that it is to work in, see `roots.py`. `asked`: answers what it asks of people, and
    of the model where it may (`samples`), within a call; see `held.py`."""

    heard: Callable[[Any], None]
    logged: Callable[[LogLevel, str | None, Any], None]
    log_level: LogLevel | None = None
    roots: Callable[[], list[Root]] = list
    asked: Callable[[Any], Awaitable[Any]] | None = None
    samples: bool = False


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
    ears: Ears,
    *,
    within_s: float,
    handshake: bool = False,
) -> AsyncIterator[Client]:
    """A client of the server at the other end of these streams. `within_s`: for connecting alone. `handshake`: do not ask
    first whether it speaks the newer protocol. Whatever the library raises, and TimeoutError."""
    from mcp import Client
    from mcp_types import Implementation, ListRootsResult

    async def heard(message: Any) -> None:
        if not isinstance(message, Exception):
            ears.heard(message)

    async def logged(params: Any) -> None:
        ears.logged(params.level, params.logger, params.data)

    async def roots(context: Any) -> ListRootsResult:  # noqa: ARG001 - the name is the library's
        return ListRootsResult(roots=ears.roots())

    async def asked(context: Any, params: Any) -> Any:  # noqa: ARG001 - the name is the library's
        assert ears.asked is not None
        return await ears.asked(params)

    client = Client(
        sifted(bounded(streams, within_s), lambda: client),
        client_info=Implementation(name="godwit", version="1"),
        message_handler=heard,
        logging_callback=logged,
        log_level=ears.log_level,
        list_roots_callback=roots,
        elicitation_callback=None if ears.asked is None else asked,
        sampling_callback=asked if ears.asked is not None and ears.samples else None,
        mode="legacy" if handshake else "auto",
        cache=None,
    )
    # The library takes its own time: the deadline is for connecting alone.
    async with contextlib.AsyncExitStack() as stack:
        async with asyncio.timeout(within_s):
            await stack.enter_async_context(client)
            await _ask_to_log(client, ears.log_level)
        # Schemas of results are not run: a regular expression of a stranger's may take hours.
        client.session.validate_tool_result = _unchecked  # type: ignore[method-assign]
        yield client


async def _ask_to_log(client: Client, level: LogLevel | None) -> None:
    """Servers of the older protocol are told once; of the newer one with each request, which the library does."""
    from mcp import MCPError
    from mcp_types import EmptyResult, SetLevelRequest, SetLevelRequestParams

    if level is None or client.session.initialize_result is None or client.server_capabilities.logging is None:
        return
    with contextlib.suppress(MCPError):
        await client.session.send_request(SetLevelRequest(params=SetLevelRequestParams(level=level)), EmptyResult)


async def all_tools(client: Client) -> list[ListedTool]:
    """All pages, as far as there is an end to them; none of a server that has no tools at all."""
    from mcp import MCPError
    from mcp_types import METHOD_NOT_FOUND

    from ...tools.mcp import MOST_TOOLS

    async def page(cursor: str | None) -> tuple[list[ListedTool], str | None]:
        found = await client.list_tools(cursor=cursor)
        return found.tools, found.next_cursor

    try:
        return await all_pages(page, "tools", MOST_TOOLS)
    except MCPError as error:
        if error.code == METHOD_NOT_FOUND and client.server_capabilities.tools is None:
            return []
        raise


async def all_pages(
    page: Callable[[str | None], Awaitable[tuple[Sequence[T], str | None]]], what: str, most: int
) -> list[T]:
    """What is listed, at most so much of it, and as far as there is an end to its pages. `page`: the entries behind a
    cursor, and where the next ones are."""
    found: list[T] = []
    seen: set[str] = set()
    cursor: str | None = None
    for _ in range(PAGES):
        entries, cursor = await page(cursor)
        found += entries
        if cursor is None or cursor in seen or len(found) > most:
            break
        seen.add(cursor)
    if cursor is not None or len(found) > most:
        logger.warning("an MCP server has more than %d %s, or no end of them: the first are taken", most, what)
    return found[:most]


async def _unchecked(name: str, result: CallToolResult) -> None:
    """Takes the place of the library's check of results."""
