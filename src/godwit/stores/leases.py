"""Leases in SQLite: who drives a session, and whether they are still alive. A part of `SqliteStore`.

Rule: a lease runs out by the clock of the store that looks at it; that an owner has died is seen at once (`owners`).
"""

from __future__ import annotations

import asyncio
import contextlib

from ..contracts import Lease
from ..core.ids import SessionId
from .batch import Unit
from .owners import Owners
from .part import StorePart, no_session
from .requests import Call


class SqliteLeases(StorePart):
    """What `SqliteStore` does with leases."""

    _owners: Owners

    def _driver(self, owner: str, until_ms: int, dead: dict[str, bool]) -> str | None:
        if until_ms <= self._clock.now_ms():
            return None
        if owner not in dead:
            dead[owner] = self._owners.dead(owner)
        return None if dead[owner] else owner

    async def _other_driver(self, transaction: Unit, session: SessionId) -> str | None:
        _, _, owner, until = await _lease_of(transaction, session)
        if owner is None or owner == self._owners.name or until <= self._clock.now_ms() or self._owners.dead(owner):
            return None
        return owner

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

        async def apply(transaction: Unit) -> Lease | None:
            key, epoch, holder, until = await _lease_of(transaction, session)
            now = self._clock.now_ms()
            if not force and holder not in (None, owner) and until > now and not self._owners.dead(str(holder)):
                return None
            await transaction.do("claim", {"key": key, "epoch": epoch + 1, "owner": owner, "until": now + int(ttl_s * 1000)})
            transaction.forget(session)
            return Lease(session, epoch + 1, owner, ttl_s)

        return await self._writer.do(Call(apply))

    async def renew(self, lease: Lease) -> bool:
        """Extend the lease by its `ttl_s`. False when it was lost."""

        async def apply(transaction: Unit) -> bool:
            until = self._clock.now_ms() + int(lease.ttl_s * 1000)
            parameters = {"id": lease.session, "epoch": lease.epoch, "owner": lease.owner, "until": until}
            return (await transaction.do("renew", parameters)) == 1

        return await self._writer.do(Call(apply))

    async def release(self, lease: Lease) -> None:
        """Let go; no error when it was lost already."""

        async def apply(transaction: Unit) -> None:
            await transaction.do("release", {"id": lease.session, "epoch": lease.epoch, "owner": lease.owner})

        await self._writer.do(Call(apply))


async def _lease_of(transaction: Unit, session: SessionId) -> tuple[int, int, str | None, int]:
    """The session's key and epoch, and who holds its lease until when. SessionNotFound."""
    found: tuple[int, int, str | None, int] | None = await transaction.one("lease", (session,))
    if found is None:
        raise no_session(session)
    return found


__all__ = ["SqliteLeases"]
