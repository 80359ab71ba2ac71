"""GuardedTransport: the way of an HTTP client of somebody else's to one server, judged as the fetcher judges (`fetch.py`).

Owns that each request connects to an address that was judged for its name, and that what comes back is bounded. Leaves out
what is asked. Rules: the certificate is checked for the name; nothing packed is taken, so what is received is what it costs;
no proxy and no setting of the environment; requests to any other origin than the server's do not leave.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import httpx2

from ..core.addresses import Address
from ..core.errors import ToolFailed
from .fetch import Fetcher
from .url import Url, parse

if TYPE_CHECKING:
    from ssl import SSLContext

MOST_BYTES = 32 * 1024 * 1024
"""Of one response, but of a stream of events that was asked for by itself, which has no end."""


class Seen:
    """What came of requests: the `status` of the last response, or why there was none or not all of it (`failure`, for
    people). `streams`: how many were asked for, but while it is `held`, since its server waits for people."""

    def __init__(self) -> None:
        self.status = 0
        self.failure = ""
        self.streams = 0
        self.held = False


SEEN: ContextVar[Seen | None] = ContextVar("SEEN", default=None)
"""Where who makes a call wants to see what came of its requests; libraries hand the context on with what they send."""


class GuardedTransport(httpx2.AsyncBaseTransport):
    """For the server at `url`. `last`: what came of the last request that nobody else has an eye on (`SEEN`). `stateful`:
    the server keeps a session of its own for who asks."""

    def __init__(self, fetcher: Fetcher, url: Url) -> None:
        self._fetcher = fetcher
        self._url = url
        self._inner: httpx2.AsyncHTTPTransport | None = None
        self.last = Seen()
        self.stateful = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        seen = SEEN.get() or self.last
        seen.status, seen.failure = 0, ""
        try:
            response = await self._sent(request)
        except ToolFailed as error:
            seen.failure = error.message
            raise httpx2.ConnectError(error.message, request=request) from None
        except httpx2.TransportError as error:
            seen.failure = f"{self._url.brief}: {failure_of(error)}"
            raise
        seen.status = response.status_code
        self.stateful = self.stateful or "mcp-session-id" in response.headers
        if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
            await response.aclose()
            seen.failure = f"{self._url.brief} packs what it sends, which was not asked for"
            raise httpx2.RemoteProtocolError(seen.failure, request=request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        if request.method != "GET" or not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            response.stream = _Bounded(response.stream, f"{self._url.brief} sends more than {MOST_BYTES} bytes")
        return response

    async def _sent(self, request: httpx2.Request) -> httpx2.Response:
        url = parse(str(request.url))
        if (url.scheme, url.host, url.port) != (self._url.scheme, self._url.host, self._url.port):
            raise ToolFailed(f"{self._url.brief} leads to {url.brief}, which is another server: not followed")
        addresses = await self._fetcher.reachable(url)
        request.headers["accept-encoding"] = "identity"
        request.headers["host"] = url.authority
        for at, address in enumerate(addresses):
            try:
                return await self._transport(self._fetcher.tls()).handle_async_request(_led(request, url, address))
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                if at + 1 == len(addresses):
                    raise
        raise ToolFailed(f"{url.host} has no address")

    def _transport(self, tls: SSLContext) -> httpx2.AsyncHTTPTransport:
        if self._inner is None:
            self._inner = httpx2.AsyncHTTPTransport(verify=tls, trust_env=False, http2=False)
        return self._inner

    async def aclose(self) -> None:
        if self._inner is not None:
            await self._inner.aclose()


def _led(request: httpx2.Request, url: Url, address: Address) -> httpx2.Request:
    """The request, to this address."""
    extensions: dict[str, Any] = {**request.extensions, "sni_hostname": url.host}
    return httpx2.Request(
        request.method,
        request.url.copy_with(host=str(address)),
        headers=request.headers,
        stream=request.stream,
        extensions=extensions,
    )


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, why: str) -> None:
        self._inner = inner
        self._why = why

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received = 0
        async for piece in self._inner:
            received += len(piece)
            if received > MOST_BYTES:
                raise httpx2.ReadError(self._why)
            yield piece

    async def aclose(self) -> None:
        await self._inner.aclose()


def failure_of(error: httpx2.TransportError) -> str:
    """Why, for people."""
    said = str(error)
    if isinstance(error, httpx2.TimeoutException):
        return "it does not answer in time"
    # What a library quotes may be words of whoever answered.
    return said if said and len(said) <= 200 and "b'" not in said and '"' not in said else type(error).__name__
