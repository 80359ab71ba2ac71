"""The connections of a runtime to MCP servers, put together; and a login by who runs the program.

Owns which parts know each other; leaves out what each does (`connections.py`, `logins.py`, `login_waiting.py`).
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Protocol

from ...contracts import ServedSession
from ...core.ids import SessionId
from ...core.mcp import McpServer, McpStatus

if TYPE_CHECKING:
    from ...contracts import SecretStore, Store
    from ...core.ids import Clock
    from ...tools.fetch import Fetcher
    from ..auth_store import AuthStore
    from ..oauth_callback import Ask
    from ..vaults import Vaults
    from .connections import McpConnections
    from .login_words import KeptLogins
    from .settings import McpSettings

Show = Callable[[str], Awaitable[object] | object]
"""Is given the address that a person is to go to."""


class Home(Protocol):
    """What they need of a runtime."""

    auth: AuthStore
    clock: Clock
    store: Store

    @property
    def secrets(self) -> SecretStore: ...
    @property
    def fetcher(self) -> Fetcher: ...
    @property
    def vaults(self) -> Vaults: ...


def connections_of(runtime: Home, settings: McpSettings) -> McpConnections:
    """The connections of this runtime."""
    # All this is loaded for who opens a runtime, not for who looks at a name of the package.
    from .connections import McpConnections
    from .login_waiting import WaitingLogins
    from .logins import McpLogins
    from .own_logins import OwnLogins
    from .tokens import McpTokens
    from .values import McpValues

    def fetcher() -> Fetcher:
        return runtime.fetcher

    @cache
    def tenants() -> KeptLogins:
        from .tenant_logins import TenantLogins

        return TenantLogins(runtime.store, runtime.secrets, runtime.fetcher, runtime.clock)

    values = McpValues(settings.secrets, runtime.auth)
    own = OwnLogins(runtime.auth, fetcher, runtime.clock)
    logins = McpLogins(fetcher, own, tenants, values, runtime.clock)
    tokens = McpTokens(logins, lambda: runtime.vaults, settings.tokens)
    waiting = WaitingLogins(logins, runtime.store, runtime.secrets)
    connections = McpConnections(settings, fetcher, tokens, values, waiting)
    logins.done = connections.login_changed
    return connections


async def log_in(
    connections: McpConnections, server: McpServer, show: Show, *, ask: Ask | None, scopes: Sequence[str]
) -> McpStatus:
    """See `Runtime.mcp_login`."""
    of = ServedSession(SessionId("ses_login"))
    status = await connections.connect(server, of)
    if status.connected and not scopes and not connections.wants_login(server, of):
        return status
    login = await connections.login(server, of, scopes)
    over = connections.logins.over(login)
    pasted: asyncio.Future[None] | None = None
    try:
        shown = show(login.url)
        if inspect.isawaitable(shown):
            await shown
        if ask is not None:
            pasted = asyncio.ensure_future(_pasted(connections, server, of, ask))
            await asyncio.wait([over, pasted], return_when=asyncio.FIRST_COMPLETED)
            if pasted.done():
                pasted.result()
        await asyncio.shield(over)
    finally:
        if pasted is not None:
            pasted.cancel()
            await asyncio.gather(pasted, return_exceptions=True)
    return await connections.connect(server, of)


async def _pasted(connections: McpConnections, server: McpServer, of: ServedSession, ask: Ask) -> None:
    """Until a person has brought the address of this login."""
    while (line := await ask()) is not None:
        if line.strip():
            await connections.logged_in(server, of, line)
            return
    await asyncio.Event().wait()  # nobody brings one any more, and the browser may still come back
