"""Retention: which sessions go because they are old, or because there is too much of them; and how they are found before.

A part of `Runtime`. Leaves out the deleting itself, which the runtime does as for any session, and how words are found (the
store). Rules: a session that works, waits for somebody or is paused stays, whatever its age, and so does one for which such
a one works; one that works for another goes with that.
"""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Final

from ..contracts import FoundText, SessionRow, Store
from ..core.errors import InvalidArgument, SessionNotFound, SessionOwned
from ..core.gate import Status
from ..core.ids import Clock
from .workspaces import existing_folder

AT_REST: Final[tuple[Status, ...]] = ("idle", "queued", "archived")
PAGE: Final = 200


class Retention(ABC):
    """What a runtime does with all its sessions: finds what was said in them, and lets old ones go."""

    store: Store
    clock: Clock

    @abstractmethod
    async def delete_session(self, session: str) -> None:
        """Archive it, then remove its log and all that only it used."""

    async def search(
        self,
        query: str,
        *,
        tenant: str | None = None,
        workspace: str | os.PathLike[str] | None = None,
        per_session: int = 3,
        limit: int = 20,
    ) -> list[FoundText]:
        """Places where these words were said, in all sessions or in those of one tenant or folder, the best first, at most
        `per_session` of one session. InvalidArgument for a query without words."""
        return await self.store.search(
            query,
            tenant=tenant,
            every_tenant=tenant is None,
            workspace=None if workspace is None else existing_folder(workspace),
            per_session=per_session,
            limit=limit,
        )

    async def prune_sessions(
        self,
        *,
        older_than_s: float | None = None,
        max_bytes: int | None = None,
        archived_only: bool = False,
        tenant: str | None = None,
        dry_run: bool = False,
    ) -> list[SessionRow]:
        """Delete sessions at rest, those first that did something longest ago: all that have done nothing for `older_than_s`
        seconds, and more until the logs (of the tenant, or of those without one) have at most `max_bytes`. Returns them.

        What works for a session goes with it; what a fork of it begins with stays. `dry_run`: delete nothing; then
        `max_bytes` cannot be given, since only deleting tells what it frees. InvalidArgument.
        """
        _check(older_than_s, max_bytes)
        if dry_run and max_bytes is not None:
            raise InvalidArgument("dry_run cannot tell what deleting would free: leave max_bytes out", dry_run=True)
        now = self.clock.now_ms()
        gone: list[SessionRow] = []
        if older_than_s is not None:
            before = now - int(older_than_s * 1000)
            async for row in _old_sessions(self.store, before_ms=before, archived_only=archived_only, tenant=tenant):
                gone += await self._prune(row, dry_run=dry_run)
        if max_bytes is not None and await self.store.log_bytes(tenant) > max_bytes:
            async for row in _old_sessions(self.store, before_ms=None, archived_only=archived_only, tenant=tenant):
                gone += await self._prune(row)
                if await self.store.log_bytes(tenant) <= max_bytes:
                    break
        return gone

    async def _prune(self, row: SessionRow, *, dry_run: bool = False) -> list[SessionRow]:
        """The row, once it is deleted with all that work for it; nothing when one of them works or waits, or when it has
        begun to work meanwhile."""
        try:
            below = await self.store.descendants(row.id)
            for child in below:
                if (await self.store.session(child)).status not in AT_REST:
                    return []
            if dry_run:
                return [row]
            now = await self.store.session(row.id)
            if now.head != row.head:
                return []
            for child in reversed(below):
                await self.delete_session(child)
            await self.delete_session(row.id)
        except (SessionNotFound, SessionOwned):
            return []
        return [row]


async def _old_sessions(
    store: Store, *, before_ms: int | None, archived_only: bool, tenant: str | None
) -> AsyncIterator[SessionRow]:
    """Sessions at rest that work for no other, the one that did something longest ago first; those alone that have done
    nothing since `before_ms`, unless that is None."""
    statuses: tuple[Status, ...] = ("archived",) if archived_only else AT_REST
    rows: list[SessionRow] = []
    before = None
    while True:
        page = await store.sessions(limit=PAGE, before=before, statuses=statuses, tenant=tenant, top_level=True)
        rows += [row for row in page if before_ms is None or row.updated_ms < before_ms]
        if len(page) < PAGE:
            break
        before = (page[-1].updated_ms, page[-1].id)
    for row in reversed(rows):
        yield row


def _check(older_than_s: float | None, max_bytes: int | None) -> None:
    """InvalidArgument for limits that say nothing, or cannot be."""
    if older_than_s is None and max_bytes is None:
        raise InvalidArgument("say how old sessions may become (older_than_s), or how much there may be of them (max_bytes)")
    if older_than_s is not None and not 0 <= older_than_s < math.inf:
        raise InvalidArgument(
            f"older_than_s={older_than_s!r} must be 0 or more, and finite", older_than_s=repr(older_than_s)
        )
    if max_bytes is not None and max_bytes < 0:
        raise InvalidArgument(f"max_bytes={max_bytes!r} must be 0 or more", max_bytes=max_bytes)
