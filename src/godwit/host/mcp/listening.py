"""Listening: what is said to a server so that it tells of changes, for as long as one connection is.

On servers of 2026-07-28 one stream (`subscriptions/listen`) for changed lists and all resources that are wanted, opened
again when it is lost; on older ones, which tell of changed lists by themselves, a request for each resource. Leaves out
what becomes of what they tell (`connection.py`).

Rules: a server is listened to for what it says it can tell; nothing here runs while nothing changes; a server that ends its
streams at once is asked again after waits that double up to a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ...core.errors import ToolFailed

if TYPE_CHECKING:
    from mcp import Client

logger = logging.getLogger("godwit")

WAIT_S = (1.0, 60.0)
"""Before a lost stream is opened again: the first wait and the longest."""
STEADY_S = 30.0
"""A stream that was open for so long and is lost is opened again after the first wait."""
ANSWER_S = 30.0
"""How long a server may take to say that it will tell."""


class Listening:
    """`uris`: the resources that are wanted now. `missed`: is called when something may have changed unheard."""

    def __init__(self, uris: Callable[[], Sequence[str]], missed: Callable[[], None]) -> None:
        self._uris = uris
        self._missed = missed
        self._changed = asyncio.Event()
        self._heard: frozenset[str] = frozenset()  # resources that the server tells of
        self._asked: dict[str, list[asyncio.Future[None]]] = {}
        self._deaf = ""  # why the server cannot be listened to
        self._before = False  # whether something was listened to on a connection before this one

    def changed(self) -> None:
        """Other resources are wanted."""
        self._changed.set()

    async def hears(self, uri: str) -> None:
        """Return when the server tells of this resource, which is wanted. ToolFailed when it will not."""
        if uri in self._heard:
            return
        if self._deaf:
            raise ToolFailed(self._deaf)
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.setdefault(uri, []).append(answer)
        self._changed.set()
        try:
            async with asyncio.timeout(ANSWER_S):
                await answer
        except TimeoutError:
            raise ToolFailed("the MCP server does not answer whether it will tell of the resource") from None
        finally:
            with contextlib.suppress(KeyError, ValueError):
                self._asked[uri].remove(answer)

    async def run(self, client: Client) -> None:
        """Listen on this connection until cancelled."""
        if self._before and self._uris():
            self._missed()
        self._before, self._deaf = True, ""
        self._changed.set()
        try:
            if client.session.initialize_result is None:
                await self._on_stream(client)
            else:
                await self._one_by_one(client)
        finally:
            self._heard = frozenset()
            for uri in list(self._asked):
                self._answer(uri, "the connection to the MCP server was lost")

    # --- servers of 2026-07-28 ---------------------------------------------------------------------------------------

    async def _on_stream(self, client: Client) -> None:
        shortest, longest = WAIT_S
        wait_s = shortest
        stream: _Stream | None = None
        try:
            while True:
                self._changed.clear()
                began = _now()
                if not (wanted := self._wanted(client)):
                    await _closed(stream)
                    stream = None
                    self._took(())
                    await self._changed.wait()
                    continue
                try:
                    new = await _Stream.opened(client, wanted)
                except Exception as error:
                    why = str(error) or type(error).__name__
                    if _will_not(error):
                        self._deaf = "the MCP server has no stream of changes"
                        self._took(())
                        logger.info("an MCP server has no stream of changes, though it says so: %.200s", why)
                        return
                else:
                    # The one before is left behind it, so that nothing is missed in between.
                    await _closed(stream)
                    stream = new
                    self._took(stream.uris)
                    if await stream.outlasts(self._changed):
                        continue
                    why = "it has ended its stream of changes"
                if _now() >= began + STEADY_S:
                    wait_s = shortest
                self._heard = frozenset()
                logger.debug("an MCP server is not listened to, and will be again in %g s: %.200s", wait_s, why)
                await asyncio.sleep(wait_s)
                wait_s = min(longest, wait_s * 2)
                self._missed()
        finally:
            await _closed(stream)

    def _wanted(self, client: Client) -> dict[str, Any]:
        """What this server is asked to tell, as the library takes it; nothing when it can tell nothing that is wanted."""
        can = client.server_capabilities
        wanted: dict[str, Any] = {
            "tools_list_changed": can.tools is not None and can.tools.list_changed is True,
            "prompts_list_changed": can.prompts is not None and can.prompts.list_changed is True,
            "resources_list_changed": can.resources is not None and can.resources.list_changed is True,
            "resource_subscriptions": list(self._uris()) if tells_of_resources(client) else [],
        }
        return {key: value for key, value in wanted.items() if value}

    def _took(self, uris: Sequence[str]) -> None:
        self._heard = frozenset(uris)
        for uri in list(self._asked):
            self._answer(uri, None if uri in self._heard else self._deaf or "the MCP server does not tell of this resource")

    def _answer(self, uri: str, why: str | None) -> None:
        for answer in self._asked.pop(uri, ()):
            if not answer.done():
                if why is None:
                    answer.set_result(None)
                else:
                    answer.set_exception(ToolFailed(why))

    # --- older ones --------------------------------------------------------------------------------------------------

    async def _one_by_one(self, client: Client) -> None:
        from mcp_types import (
            EmptyResult,
            SubscribeRequest,
            SubscribeRequestParams,
            UnsubscribeRequest,
            UnsubscribeRequestParams,
        )

        refused: set[str] = set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            wanted = set(self._uris())
            refused &= wanted - set(self._asked)
            for uri in wanted - self._heard - refused:
                try:
                    async with asyncio.timeout(ANSWER_S):
                        request = SubscribeRequest(params=SubscribeRequestParams(uri=uri))
                        await client.session.send_request(request, EmptyResult)
                except Exception as error:
                    refused.add(uri)
                    self._answer(uri, f"the MCP server does not tell of this resource: {str(error)[:500]}")
                else:
                    self._heard |= {uri}
                    self._answer(uri, None)
            for uri in self._heard - wanted:
                self._heard -= {uri}
                with contextlib.suppress(Exception):
                    async with asyncio.timeout(ANSWER_S):
                        unwanted = UnsubscribeRequest(params=UnsubscribeRequestParams(uri=uri))
                        await client.session.send_request(unwanted, EmptyResult)


def tells_of_resources(client: Client) -> bool:
    """Whether the server says that it tells of changed resources."""
    can = client.server_capabilities.resources
    return can is not None and can.subscribe is True


class _Stream:
    """A stream of changes that is open. What it brings is heard where all notifications are."""

    def __init__(self, stack: contextlib.AsyncExitStack, opened: Any) -> None:
        self.uris: Sequence[str] = opened.honored.resource_subscriptions or ()
        self._stack = stack
        self._ended = asyncio.create_task(_drained(opened))

    @classmethod
    async def opened(cls, client: Client, wanted: dict[str, Any]) -> _Stream:
        """Whatever the library raises, and TimeoutError."""
        async with contextlib.AsyncExitStack() as stack, asyncio.timeout(ANSWER_S):
            opened = await stack.enter_async_context(client.listen(**wanted))
            return cls(stack.pop_all(), opened)

    async def outlasts(self, changed: asyncio.Event) -> bool:
        """Wait until it ends or something else is wanted; whether it is still open then."""
        change = asyncio.create_task(changed.wait())
        try:
            await asyncio.wait([self._ended, change], return_when=asyncio.FIRST_COMPLETED)
        finally:
            change.cancel()
        return not self._ended.done()

    async def close(self) -> None:
        self._ended.cancel()
        await self._stack.aclose()


async def _closed(stream: _Stream | None) -> None:
    if stream is not None:
        await stream.close()


async def _drained(opened: Any) -> None:
    from mcp.client.subscriptions import SubscriptionLost

    with contextlib.suppress(SubscriptionLost):
        async for _ in opened:
            pass


def _will_not(error: Exception) -> bool:
    from mcp import MCPError
    from mcp_types import METHOD_NOT_FOUND

    return isinstance(error, MCPError) and error.code == METHOD_NOT_FOUND


def _now() -> float:
    return asyncio.get_running_loop().time()
