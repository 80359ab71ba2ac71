"""Leases in PostgreSQL: who drives a session, and whether they are still alive. A part of `PostgresStore`.

Rule: a lease runs out by the server's clock, and no other; that a process has ended is seen before that (`presence`).
"""

from __future__ import annotations

import contextlib

from ...contracts import Lease
from ...core.errors import StoreError
from ...core.ids import SessionId
from ..batch import Unit
from ..part import StorePart, no_session
from ..requests import Call
from .presence import Presence


class PostgresLeases(StorePart):
    """What `PostgresStore` does with leases."""

    _owners: Presence

    def _driver(self, owner: str, until_ms: int, dead: dict[str, bool]) -> str | None:
        return owner  # the server has left out those that have ended

    async def _other_driver(self, transaction: Unit, session: SessionId) -> str | None:
        _, _, owner, alive = await _lease_of(transaction, session)
        return owner if alive and owner != self._owners.name else None

    @property
    def owner(self) -> str:
        """This store's name for `claim`; from now on others see when its process has ended."""
        with contextlib.suppress(StoreError):  # unseen, only the lease's time tells
            self._owners.hold()
        return self._owners.name

    async def alive(self, owner: str) -> bool:
        if owner == self._owners.name:
            return True
        return not (await self._select("owner_gone", {"owner": owner}))[0][0]

    def has_ended(self, owner: str) -> bool:
        """See `EventStore.has_ended`."""
        return self._owners.dead(owner)

    async def others(self) -> frozenset[str]:
        """See `EventStore.others`."""
        return frozenset(token for (token,) in await self._select("other_processes", {"token": self._owners.token}))

    async def claim(self, session: SessionId, owner: str, ttl_s: float, *, force: bool = False) -> Lease | None:
        """A lease with a new epoch, or None while another live owner holds one; `force` takes it anyway.

        An owner is dead when its lease ran out by the server's clock, or before that when it was another store's `owner` and
        has surely ended. Whoever holds the lease already gets it anew.
        """

        async def apply(transaction: Unit) -> Lease | None:
            key, epoch, holder, alive = await _lease_of(transaction, session)
            if not force and alive and holder != owner:
                return None
            await transaction.do("claim", {"key": key, "epoch": epoch + 1, "owner": owner, "ttl_s": ttl_s})
            return Lease(session, epoch + 1, owner, ttl_s)

        return await self._writer.do(Call(apply))

    async def renew(self, lease: Lease) -> bool:
        """Extend the lease by its `ttl_s`. False when it was lost."""
        parameters = {"id": lease.session, "epoch": lease.epoch, "owner": lease.owner, "ttl_s": lease.ttl_s}

        async def apply(transaction: Unit) -> bool:
            return await transaction.do("renew", parameters) == 1

        return await self._writer.do(Call(apply))

    async def release(self, lease: Lease) -> None:
        """Let go; no error when it was lost already."""

        async def apply(transaction: Unit) -> None:
            await transaction.do("release", {"id": lease.session, "epoch": lease.epoch, "owner": lease.owner})

        await self._writer.do(Call(apply))


async def _lease_of(transaction: Unit, session: SessionId) -> tuple[int, int, str | None, bool]:
    """The session's key and epoch, who has its lease, and whether they are alive and it has not run out; nobody else changes
    it until the end. SessionNotFound."""
    found: tuple[int, int, str | None, bool] | None = await transaction.one("lease", (session,))
    if found is None:
        raise no_session(session)
    return found


__all__ = ["PostgresLeases"]
