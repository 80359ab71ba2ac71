"""McpTokens: the tokens that MCP servers are given: of the owner's login, of the session's vaults, else the program's own.

Is `http.Tokens`. Leaves out how one logs in (`logins.py`), and where credentials are and how they are renewed (`vaults.py`).
Rule: the program's own go to no tenant's server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ...core.errors import GodwitError
from ...core.mcp import Link
from .logins import McpLogins
from .owner import Owner

if TYPE_CHECKING:
    from ...tools.mcp_transport import Challenge
    from ..vaults import Vaults


class McpTokens:
    """`vaults`: is asked for when a session has some. `own`: tokens by addresses."""

    def __init__(self, logins: McpLogins, vaults: Callable[[], Vaults], own: Mapping[str, str]) -> None:
        self._logins = logins
        self._vaults = vaults
        self._own = own

    async def token(self, link: Link, vaults: Sequence[str], owner: Owner, /) -> str | None:
        url, tenant = link.url, owner.tenant
        ended: GodwitError | None = None
        try:
            found = await self._logins.kept(owner).token(owner, url)
        except GodwitError as error:
            if _is_program(link):
                return await self._logins.granted(link, owner)
            found, ended = None, error
        if found is None and vaults:
            found = await self._vaults().bearer_for(url, vaults, tenant=tenant)
        if found is None and tenant is None:
            found = self._own.get(url)
        if found is None and ended is not None:
            raise ended
        return found

    async def renewed(self, link: Link, vaults: Sequence[str], owner: Owner, refused: str, /) -> str | None:
        url = link.url
        kept = await self._logins.kept(owner).find(owner, url)
        if kept is not None:
            if _is_program(link):
                return kept.access_token if kept.access_token != refused else await self._logins.granted(link, owner)
            return await self._logins.kept(owner).token(owner, url, refused=refused)
        return await self._vaults().bearer_after(url, vaults, refused, tenant=owner.tenant) if vaults else None

    async def challenged(self, link: Link, owner: Owner, challenge: Challenge, /) -> str | None:
        self._logins.note(owner, link.url, challenge)
        return await self._logins.granted(link, owner) if _is_program(link) else None


def _is_program(link: Link) -> bool:
    """Whether its login is the program's, which needs nobody."""
    return link.oauth is not None and link.oauth.grant == "client_credentials"
