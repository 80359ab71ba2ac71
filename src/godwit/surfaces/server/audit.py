"""Audit: who did what, when, from where, and with which result. No bodies and no secrets; the path says what it was done to.

Entries are documents of the caller's tenant that expire. They are stored within `FLUSH_S`, many in one commit, so as not to
hold up the answer: that much is lost when the process is killed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

import msgspec

from ...contracts import Store
from ...core.document import Document
from ...core.errors import GodwitError
from .exchange import Exchange
from .service import Service

logger = logging.getLogger("godwit.server")

KIND = "audit"
FLUSH_S = 1.0
MAX_WAITING = 20_000
"""Entries that wait for a store that takes none; beyond, the oldest are given up, and that is logged."""
_BATCH = 500


class AuditEntry(msgspec.Struct, frozen=True):
    """`at_ms`: when it began. `request`: the id of the request. `peer`: the address it came from."""

    id: str
    at_ms: int
    principal: str
    tenant: str | None
    action: str
    path: str
    status: int
    request: str
    dialect: str
    peer: str | None = None
    error: str | None = None


class Audit:
    """The audit log of one server."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._store: Store = service.store
        self._kept_ms = int(service.settings.audit_days * 86_400_000)
        self._waiting: deque[AuditEntry] = deque()
        # Entries of one commit have one time, and ids of one millisecond no order: so ours are numbered.
        self._series = service.new_id("aud")
        self._number = 0
        self._lock = asyncio.Lock()

    def note(self, exchange: Exchange, at_ms: int, error: str | None) -> None:
        """Take it down, to be stored soon."""
        who = exchange.principal
        if who is None:
            return
        self._number += 1
        self._waiting.append(
            AuditEntry(
                f"{self._series}-{self._number:09d}",
                at_ms,
                who.id,
                who.tenant,
                f"{exchange.method} {exchange.route}",
                exchange.path[:500],
                exchange.status,
                exchange.id,
                exchange.dialect,
                exchange.peer,
                error,
            )
        )
        if len(self._waiting) > MAX_WAITING:
            self._waiting.popleft()
            logger.error("the audit log is behind: an entry was given up")

    async def flush(self) -> None:
        """Store what waits; on a failing store it goes on waiting."""
        async with self._lock:
            while self._waiting:
                batch = [self._waiting[n] for n in range(min(_BATCH, len(self._waiting)))]
                try:
                    await self._store.put_documents([self._document(entry) for entry in batch])
                except GodwitError as error:
                    logger.error("the audit log cannot be stored: %s", error.message)
                    return
                for _ in batch:
                    self._waiting.popleft()

    def _document(self, entry: AuditEntry) -> Document:
        return Document(
            *(KIND, entry.id, msgspec.json.encode(entry), entry.tenant),
            expires_ms=entry.at_ms + self._kept_ms,
            keys={"principal": entry.principal},
        )

    async def entries(
        self,
        tenant: str | None,
        *,
        principal: str | None = None,
        limit: int = 100,
        after: tuple[int, str] | None = None,
        from_ms: int | None = None,
        to_ms: int | None = None,
    ) -> tuple[list[AuditEntry], tuple[int, str] | None]:
        """The newest first, and where the next page begins."""
        await self.flush()
        found = await self._store.documents(
            KIND,
            tenant=tenant,
            keys=None if principal is None else {"principal": principal},
            limit=limit + 1,
            after=after,
            created_from_ms=from_ms,
            created_to_ms=to_ms,
        )
        entries = [msgspec.json.decode(document.body, type=AuditEntry) for document in found[:limit]]
        last = found[limit - 1] if len(found) > limit else None
        return entries, None if last is None else (last.created_ms, last.id)
