"""Principal: who asks, for which tenant, and what they may do. Data only; who somebody is gets found out in a surface."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from .errors import PermissionDenied

Scope = Literal["read", "answer", "operate", "admin"]
"""`read`: look at everything of the tenant. `answer`: answer pending actions. `operate`: make, send to, control and delete.
`admin`: also keys, webhooks and the audit log. `admin` implies `operate`, that implies `answer`, that implies `read`."""

SCOPES: tuple[Scope, ...] = get_args(Scope)
NAME_LENGTH = 200


class Principal(msgspec.Struct, frozen=True):
    """`id`: stable, for the audit log and `Labels.principal`. `tenant`: None for what belongs to none."""

    id: str
    tenant: str | None = None
    scopes: frozenset[Scope] = frozenset()

    def may(self, scope: Scope) -> bool:
        """Whether this scope, or one that implies it, was given."""
        return any(SCOPES.index(one) >= SCOPES.index(scope) for one in self.scopes)

    def require(self, scope: Scope) -> None:
        """Raises PermissionDenied unless `may(scope)`."""
        if not self.may(scope):
            given = ", ".join(sorted(self.scopes)) or "none"
            raise PermissionDenied(f"this needs the scope {scope!r}; the key has {given}", scope=scope)


def names_somebody(text: str) -> bool:
    """Whether this can be a tenant or a principal: 1 to `NAME_LENGTH` characters to be printed, not all spaces."""
    return 0 < len(text) <= NAME_LENGTH and text.isprintable() and not text.isspace()


LOCAL = Principal("local", None, frozenset({"admin"}))
"""Whoever can reach a server on loopback that asks for no key."""
