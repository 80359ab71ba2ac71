"""Logins to MCP servers, as they are kept: whose they are, what of them is kept, and what keeps them.

Leaves out how one logs in (`logins.py`). Rules: the expiry is a time, not a span, so it is the same after a restart; the
client of a login belongs to the issuer it was made at; nothing secret stands in a repr.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from ...core.errors import ToolFailed
from ..oauth import Client, RefreshFailed
from ..vaults import place_of
from .owner import Owner


class KeptLogin(msgspec.Struct, frozen=True):
    """`refresh_token`: None where it cannot be renewed. `client_secret`: of the client. `expires_ms`: when the access token
    ends; None when nobody has said."""

    client: Client
    access_token: str
    refresh_token: str | None = None
    client_secret: str | None = None
    expires_ms: int | None = None

    def __repr__(self) -> str:
        return f"KeptLogin({self.client.issuer!r}, ...)"


class KeptLogins(Protocol):
    """Logins by owners and the addresses of servers."""

    async def find(self, owner: Owner, url: str, /) -> KeptLogin | None: ...

    async def keep(self, owner: Owner, url: str, login: KeptLogin, /) -> None:
        """In place of the one there is. ConfigurationError where it cannot be kept."""
        ...

    async def forget(self, owner: Owner, url: str, /) -> bool:
        """False when there was none."""
        ...

    async def token(self, owner: Owner, url: str, /, *, refused: str | None = None) -> str | None:
        """The access token, renewed ahead of its end, and in place of one that was `refused`; None without a login, and when
        there is no other than the refused one. Once for all who ask, of all processes. ToolFailed when it has ended, or is
        refused, and cannot be renewed."""
        ...

    async def close(self) -> None:
        """Let renewals under way end."""
        ...


def login_place(url: str) -> str:
    """The address as it is compared. InvalidArgument."""
    return place_of(url)


def login_ended(url: str, failed: RefreshFailed | None, *, refused: bool) -> ToolFailed:
    """There is no good token any more."""
    from ..auth_store import error_code

    what = "is refused" if refused else "has ended"
    why = "" if failed is None else f", and cannot be renewed: {failed.message}{error_code(failed)}"
    return ToolFailed(f"the login to {url} {what}{why}")


def is_final(failed: RefreshFailed) -> bool:
    """Whether the refresh token is good for nothing any more."""
    from ..auth_store import error_code

    return error_code(failed, str) in ("invalid_grant", "invalid_client", "unauthorized_client")


__all__ = ["KeptLogin", "KeptLogins", "is_final", "login_ended", "login_place"]
