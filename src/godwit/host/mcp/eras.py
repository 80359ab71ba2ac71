"""Eras: which servers speak the older protocol alone, as far as that was seen: asking a server first takes a while where it
does not answer what it does not know.

Leaves out how that is found out (`client.py`). Rule: nothing hangs on it but time; what is remembered wrongly is put right
by the next attempt.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING

from ...core.mcp import Link
from .way import first_of

if TYPE_CHECKING:
    from mcp import Client

MOST = 1000
"""Servers that are remembered."""


class Eras:
    def __init__(self) -> None:
        self._old: dict[Link, None] = {}  # the one that was seen last stands last

    def is_old(self, link: Link) -> bool:
        """Whether this server was last seen to speak the older protocol alone."""
        return link in self._old

    def note(self, link: Link, *, old: bool) -> None:
        self._old.pop(link, None)
        if old:
            self._old[link] = None
            if len(self._old) > MOST:
                del self._old[next(iter(self._old))]

    async def entered(
        self,
        stack: AsyncExitStack,
        link: Link,
        opening: Callable[[bool], AbstractAsyncContextManager[Client]],
        again: Callable[[], bool] = lambda: False,
    ) -> Client:
        """Open a connection, as of old (`opening(True)`) where this server is known for it, and else by asking first.

        Where it is known wrongly, it is asked after all; where `again` says that it failed because it was asked, it is
        spoken to as of old. What opening raises."""
        from mcp import MCPError

        old = self.is_old(link)
        self.note(link, old=False)
        try:
            client = await stack.enter_async_context(opening(old))
        except Exception as error:
            if (not isinstance(first_of(error), MCPError) or again()) if old else not again():
                raise
            client = await stack.enter_async_context(opening(not old))
        self.note(link, old=client.session.initialize_result is not None)
        return client
