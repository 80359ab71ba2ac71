"""What a server lists, without what is no such thing: the official client would refuse the whole list for one wrong entry.

Rules: an entry that cannot be used is left out with a warning, and the others stay; of one page no more is looked at than a
list may have.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from .streams import Reader

if TYPE_CHECKING:
    from mcp import Client
    from mcp.client._transport import TransportStreams
    from mcp.shared.message import SessionMessage

logger = logging.getLogger("godwit")

MOST_LISTED = 1000
"""Entries of one page that are looked at."""

_LISTS = frozenset(("tools", "resources", "resourceTemplates", "prompts"))
_CACHING = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
"""What newer versions want of every list."""


@contextlib.asynccontextmanager
async def sifted(
    transport: AbstractAsyncContextManager[TransportStreams], client: Callable[[], Client]
) -> AsyncIterator[TransportStreams]:
    """The transport, in whose lists nothing stands that does not belong there."""
    async with transport as (read, write):
        yield _Sifted(read, client), write


class _Sifted(Reader):
    def __init__(self, inner: Any, client: Callable[[], Client]) -> None:
        super().__init__(inner)
        self._client = client

    async def receive(self) -> SessionMessage | Exception:
        from mcp.shared.message import SessionMessage
        from mcp_types import JSONRPCResponse

        item = await self._next()
        if isinstance(item, SessionMessage) and isinstance(item.message, JSONRPCResponse):
            sift(item.message.result, self._client)
        return item


def sift(result: dict[str, Any], client: Callable[[], Client]) -> None:
    """Leave out of the lists in this result what does not belong there."""
    if _LISTS.isdisjoint(result):
        return
    import mcp_types

    try:
        version = client().protocol_version
    except RuntimeError:  # it is not connected yet, and nothing has been asked for that is a list
        version = None

    kinds: tuple[tuple[str, str, str, Any], ...] = (
        ("tools", "tools/list", "tool", mcp_types.Tool),
        ("resources", "resources/list", "resource", mcp_types.Resource),
        ("resourceTemplates", "resources/templates/list", "resource template", mcp_types.ResourceTemplate),
        ("prompts", "prompts/list", "prompt", mcp_types.Prompt),
    )
    for key, method, what, kind in kinds:
        if isinstance(listed := result.get(key), list):
            result[key] = [one for one in listed[:MOST_LISTED] if _fits(one, key, method, what, kind, version)]


def _fits(listed: Any, key: str, method: str, what: str, kind: Any, version: str | None) -> bool:
    from mcp_types.methods import validate_server_result
    from pydantic import ValidationError

    try:
        kind.model_validate(listed, by_name=False)
        if version is not None:
            with contextlib.suppress(KeyError):  # a version it has no rules for
                validate_server_result(method, version, {key: [listed], **_CACHING})
    except (ValidationError, RecursionError) as error:
        name = listed.get("name") if isinstance(listed, dict) else listed
        logger.warning("an MCP server: its %s %.100r is left out: %d things are wrong with it", what, name, _number(error))
        return False
    return True


def _number(error: Exception) -> int:
    count = getattr(error, "error_count", None)
    return 1 if count is None else int(count())
