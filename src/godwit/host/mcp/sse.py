"""The older HTTP transport of MCP: one stream of events from the server, and a POST for each message to it.

Source: https://modelcontextprotocol.io/specification/2024-11-05/basic/transports. The official package has a client of its
own, which leaves a request without an answer when its POST fails. Rule: a message that could not be posted is an error of
its own request alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from ...core.errors import ToolFailed
from .streams import Incoming, Outgoing, message_of

if TYPE_CHECKING:
    import httpx2

_FAILED = -32603


@contextlib.asynccontextmanager
async def sse(
    url: str, http: httpx2.AsyncClient, broken: Callable[[], None], *, within_s: float
) -> AsyncIterator[tuple[Any, Outgoing]]:
    """Streams to and from the server. `broken`: is called when its stream ends."""
    import httpx2
    from httpx2 import EventSource
    from mcp_types import ErrorData, JSONRPCError, JSONRPCRequest

    from ...tools.guarded import MOST_BYTES, SEEN

    endpoint: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def listen(response: httpx2.Response, incoming: Incoming) -> None:
        try:
            async for event in EventSource(response, max_event_size=MOST_BYTES):
                if event.event == "endpoint" and not endpoint.done():
                    endpoint.set_result(urljoin(url, event.data))
                elif event.event == "message" and (message := message_of(event.data)) is not None:
                    await incoming.put(message)
        except (httpx2.TransportError, httpx2.SSEError):
            pass  # what was seen of it says why
        finally:
            if not endpoint.done():
                endpoint.set_exception(ToolFailed("it names no address for messages in its stream of events"))
            incoming.end()
            broken()

    async def send(item: Any, incoming: Incoming) -> None:
        message = item.message
        body = message.model_dump(by_alias=True, mode="json", exclude_unset=True)
        try:
            response = await http.post(await endpoint, json=body)
            if response.status_code < 400:
                return
            why = f"it answers {response.status_code}"
        except httpx2.TransportError as error:
            seen = SEEN.get()
            why = (seen.failure if seen is not None else "") or type(error).__name__
        if isinstance(message, JSONRPCRequest):
            await incoming.put(JSONRPCError(jsonrpc="2.0", id=message.id, error=ErrorData(code=_FAILED, message=why)))

    async with http.stream("GET", url, headers={"accept": "text/event-stream"}) as response:
        if response.status_code >= 400:
            raise ToolFailed(f"it answers {response.status_code}")
        incoming = Incoming()
        listening = asyncio.create_task(listen(response, incoming))
        try:
            async with asyncio.timeout(within_s):
                await asyncio.shield(endpoint)
            yield incoming.stream, Outgoing(lambda item: send(item, incoming))
        finally:
            listening.cancel()
            await asyncio.wait([listening])
            if endpoint.done() and not endpoint.cancelled():
                endpoint.exception()  # it may have been told to nobody
            endpoint.cancel()
            incoming.close()
