"""McpTokens: the tokens that MCP servers are given: of the session's vaults, else the program's own.

Is `http.Tokens`. Leaves out where credentials are and how they are renewed (`vaults.py`). Rule: the program's own
go to no tenant's server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..vaults import Vaults


class McpTokens:
    """`vaults`: is asked for when a session has some. `own`: tokens by addresses."""

    def __init__(self, vaults: Callable[[], Vaults], own: Mapping[str, str]) -> None:
        self._vaults = vaults
        self._own = own

    async def token(self, url: str, vaults: Sequence[str], /, *, tenant: str | None) -> str | None:
        found = await self._vaults().bearer_for(url, vaults, tenant=tenant) if vaults else None
        return found if found is not None or tenant is not None else self._own.get(url)

    async def renewed(self, url: str, vaults: Sequence[str], refused: str, /, *, tenant: str | None) -> str | None:
        return await self._vaults().bearer_after(url, vaults, refused, tenant=tenant) if vaults else None
