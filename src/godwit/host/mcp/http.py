"""HttpWay: an MCP server that is reached over HTTP, streamable or by the older stream of events, with a token where it asks
for one.

Leaves out addresses and sizes (`tools/guarded.py`), and that a failed request costs no other one (`tools/mcp_transport.py`).
Rule: a token goes to the very address it is for, is asked for anew with each request, and stands in nothing that is told.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ...core.errors import GodwitError
from ...core.mcp import Link
from .client import READ_S, Ears, connected, load
from .eras import Eras
from .owner import Owner
from .sse import sse
from .values import McpValues
from .way import Failure, reason_of

if TYPE_CHECKING:
    from mcp import Client

    from ...tools.fetch import Fetcher
    from ...tools.guarded import GuardedTransport, Seen
    from ...tools.mcp_transport import Challenge, McpTransport

RENEW_S = 30.0
"""Between two tokens that a server is given because it refused one that should hold."""


class Tokens(Protocol):
    """The tokens for a server: of a login of this owner, else from these vaults of the owner's tenant."""

    def token(self, link: Link, vaults: Sequence[str], owner: Owner, /) -> Awaitable[str | None]:
        """None without one. GodwitError when there is one that has ended and cannot be renewed."""
        ...

    def renewed(self, link: Link, vaults: Sequence[str], owner: Owner, refused: str, /) -> Awaitable[str | None]:
        """Another one than the one that was refused; None when there is none. GodwitError when it cannot be renewed."""
        ...

    def challenged(self, link: Link, owner: Owner, challenge: Challenge, /) -> Awaitable[str | None]:
        """The server has refused a request, or wants more than its token allows. Another token; None where only a person's
        login gives one. GodwitError when there is none."""
        ...


class HttpWay:
    """Is `way.McpWay`. `owner` and `vaults`: whose credentials it may be given."""

    def __init__(
        self,
        link: Link,
        fetcher: Callable[[], Fetcher],
        tokens: Tokens,
        values: McpValues,
        eras: Eras,
        *,
        owner: Owner,
        vaults: tuple[str, ...],
        within_s: float,
    ) -> None:
        self._link = link
        self._fetcher = fetcher
        self._tokens = tokens
        self._values = values
        self._eras = eras
        self._owner = owner
        self.within_s = within_s
        self._vaults = vaults
        self._no_token = ""
        self._scope: str | None = None  # what the server wants beside what the login before allows
        self._granted: str | None = None  # the token that came for a challenge, and was not taken yet
        self._wanted = 0  # the status with which it asked for a credential, since it took one
        self._sent = False  # whether the last request had a token
        self._renewed: str | None = None  # the token that came in place of a refused one, and was not taken yet
        self._renew_at = 0.0
        self._transport: McpTransport | None = None
        self._guarded: GuardedTransport | None = None

    @property
    def stateful(self) -> bool:
        return self._link.transport == "sse" or (self._guarded is not None and self._guarded.stateful)

    @property
    def failure(self) -> str:
        return "" if self._guarded is None else self._guarded.last.failure

    @contextlib.asynccontextmanager
    async def open(self, ears: Ears, broken: Callable[[], None]) -> AsyncIterator[Client]:
        await load()
        import httpx2
        from mcp.client.streamable_http import streamable_http_client

        from ...tools.guarded import MOST_BYTES, GuardedTransport
        from ...tools.mcp_transport import BearerAuthorization, McpTransport
        from ...tools.url import parse

        link, self._wanted = self._link, 0
        headers, secrets = await self._values.of(link.headers, tenant=self._owner.tenant)
        guarded = self._guarded = GuardedTransport(self._fetcher(), parse(link.url))
        self._transport = McpTransport(guarded, secrets)
        async with httpx2.AsyncClient(
            transport=self._transport,
            auth=BearerAuthorization(self._token, self._another_token, self._challenged),
            headers=headers,
            timeout=httpx2.Timeout(self.within_s, read=READ_S),
            trust_env=False,
        ) as http:

            def opening(old: bool) -> contextlib.AbstractAsyncContextManager[Client]:
                streams: Any
                if link.transport == "sse":
                    old, streams = True, sse(link.url, http, broken, within_s=self.within_s)
                else:
                    streams = streamable_http_client(link.url, http_client=http, max_sse_event_size=MOST_BYTES)
                return connected(streams, ears, within_s=self.within_s, handshake=old)

            async with contextlib.AsyncExitStack() as stack:
                yield await self._eras.entered(stack, link, opening)

    def hidden(self, text: str) -> str:
        return text if self._transport is None else self._transport.hidden(text)

    def refused(self, seen: Seen) -> str | None:
        if seen.status in (401, 403):
            return self._no_token or self._said_of_status(seen.status)
        return self._no_token or None

    def taken(self) -> None:
        self._renewed, self._granted, self._wanted = None, None, 0

    def reason(self, error: BaseException) -> Failure:
        from ...tools.guarded import Seen

        last = Seen() if self._guarded is None else self._guarded.last
        if self._no_token:
            return "authentication", self._no_token
        # The library may have tried another way after that was said.
        if (status := last.status if last.status in (401, 403) else self._wanted) != 0:
            return "authentication", self._said_of_status(status)
        trouble, why = reason_of(error, self.within_s)
        if why.startswith("timed out") or not (last.failure or last.status >= 400):
            return trouble, why
        return "connection", last.failure or f"it answers {last.status}"

    def _said_of_status(self, status: int) -> str:
        if self._scope is not None and status == 403:
            return f"it wants more than the login allows (403): the scope {self._scope!r}"
        if self._sent:
            return f"it refuses the credential ({status})"
        return f"it asks for a credential ({status}), and the session has none for its address"

    async def _token(self) -> str | None:
        """The token for the next request."""
        self._no_token = ""
        try:
            token = await self._tokens.token(self._link, self._vaults, self._owner)
        except GodwitError as error:
            self._no_token = error.message
            raise
        self._sent = token is not None or any(name.lower() == "authorization" for name, _ in self._link.headers)
        return token

    async def _another_token(self, refused: str) -> str | None:
        """One in place of that which the server refused, although it should hold; once, until the server takes one."""
        link, vaults, owner, tokens = self._link, self._vaults, self._owner, self._tokens
        if refused == self._renewed:
            return None
        try:
            if _now() < self._renew_at:  # but another call may have got one since this one was sent
                return await tokens.token(link, vaults, owner)
            new = await tokens.renewed(link, vaults, owner, refused)
        except GodwitError as error:
            self._no_token = error.message
            return None
        self._renewed, self._renew_at = new, _now() + RENEW_S
        return new

    async def _challenged(self, challenge: Challenge, token: str | None) -> str | None:
        """Note what it wants, and give it what can be had without a person; once, until the server takes it."""
        self._scope, self._wanted = (challenge.scope or "") if challenge.insufficient else None, challenge.status
        if any(name.lower() == "authorization" for name, _ in self._link.headers):
            return None
        try:
            new = await self._tokens.challenged(self._link, self._owner, challenge)
        except GodwitError as error:
            self._no_token = error.message
            return None
        if new is None or (token is not None and token == self._granted):
            return None
        self._granted, self._sent, self._wanted = new, True, 0
        return new


def _now() -> float:
    return asyncio.get_running_loop().time()
