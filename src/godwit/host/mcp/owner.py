"""Owner: whose a login to an MCP server is. Data only."""

from __future__ import annotations

from typing import NamedTuple


class Owner(NamedTuple):
    """Whose a login is: a user's of a tenant; without a tenant the person's whose machine this is."""

    tenant: str | None = None
    user: str | None = None


def owner_of(tenant: str | None, user: str | None) -> Owner:
    """Sessions of no tenant are all of one person."""
    return Owner() if tenant is None else Owner(tenant, user)


__all__ = ["Owner", "owner_of"]
