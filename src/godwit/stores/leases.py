"""Leases in SQLite: who drives a session, and whether they are still alive. A part of `SqliteStore`.

Rule: a lease runs out by the clock of the store that looks at it; that an owner has died is seen at once (`owners`).
"""

from __future__ import annotations

import asyncio
import contextlib

from ..contracts import Lease
from ..core.ids import SessionId
from .part import SqlitePart, lease_of
from .requests import Call
from .transaction import Transaction


class SqliteLeases(SqlitePart):
    """What `SqliteStore` does with leases."""

    @property
    def owner(self) -> str:
        """This instance's name for `claim`: others see at once when its process has died."""
        with contextlib.suppress(OSError):  # without a lock file only the lease's time tells
            self._owners.hold()
        return self._owners.name

    async def alive(self, owner: str) -> bool:
        return not await asyncio.to_thread(self._owners.dead, owner)

    def has_ended(self, owner: str) -> bool:
        """See `EventStore.has_ended`."""
        return self._owners.dead(owner)

    async def others(self) -> frozenset[str]:
        """See `EventStore.others`."""
        return await asyncio.to_thread(self._owners.others)

    async def claim(self, session: SessionId, owner: str, ttl_s: float, *, force: bool = False) -> Lease | None:
        """A lease with a new epoch, or None while another live owner holds one; `force` takes it anyway.

        An owner is dead when its lease ran out by this store's clock, or at once when it was another instance's `owner`
        and that instance has closed or its process has died. Whoever holds the lease already gets it anew.
        """

        def apply(transaction: Transaction) -> Lease | None:
            key, epoch, holder, until = lease_of(transaction, session)
            now = self._clock.now_ms()
            if not force and holder not in (None, owner) and until > now and not self._owners.dead(str(holder)):
                return None
            transaction.execute("claim", {"key": key, "epoch": epoch + 1, "owner": owner, "until": now + int(ttl_s * 1000)})
            transaction.forget(session)
            return Lease(session, epoch + 1, owner, ttl_s)

        return await self._writer.do(Call(apply))

    async def renew(self, lease: Lease) -> bool:
        """Extend the lease by its `ttl_s`. False when it was lost."""

        def apply(transaction: Transaction) -> bool:
            until = self._clock.now_ms() + int(lease.ttl_s * 1000)
            parameters = {"id": lease.session, "epoch": lease.epoch, "owner": lease.owner, "until": until}
            return transaction.execute("renew", parameters).rowcount == 1

        return await self._writer.do(Call(apply))

    async def release(self, lease: Lease) -> None:
        """Let go; no error when it was lost already."""

        def apply(transaction: Transaction) -> None:
            transaction.execute("release", {"id": lease.session, "epoch": lease.epoch, "owner": lease.owner})

        await self._writer.do(Call(apply))


__all__ = ["SqliteLeases"]
