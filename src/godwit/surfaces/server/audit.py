"""Audit: who did what, when, from where, and with which result. No bodies and no secrets; the path says what it was done to.

Entries are documents of the caller's tenant that expire. That a request is let in is put ahead of whatever it does, and the
store commits both together: so there is no change without its entry, whenever the process is killed, and it costs no commit
of its own. What is under way and has changed nothing yet has its entry within `FLUSH_S`. The result is stored within that
time as well, many at once; what is killed before has no result.
A request that was refused changes nothing, and its entry is stored within `FLUSH_S` as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from typing import NamedTuple

import msgspec

from ...contracts import Store
from ...core.document import Document
from ...core.errors import DocumentExists, DocumentNotFound, GodwitError, RevisionConflict
from .exchange import Exchange
from .service import Service

logger = logging.getLogger("godwit.server")

KIND = "audit"
FLUSH_S = 1.0
MAX_WAITING = 20_000
"""Entries that wait for a store that takes none; beyond, the oldest are given up, and that is logged."""
_BATCH = 500


class AuditEntry(msgspec.Struct, frozen=True):
    """`at_ms`: when it began. `status`: None while it is not answered, and when its process was killed before. `request`:
    its id. `peer`: the address it came from."""

    id: str
    at_ms: int
    principal: str
    tenant: str | None
    action: str
    path: str
    status: int | None
    request: str
    dialect: str
    peer: str | None = None
    error: str | None = None


class _Begun(NamedTuple):
    """`id`: of the entry. `making`: it is being stored without its result."""

    id: str
    making: asyncio.Future[list[Document]]


class Audit:
    """The audit log of one server."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._store: Store = service.store
        self._kept_ms = int(service.settings.audit_days * 86_400_000)
        self._begun: dict[str, _Begun] = {}
        self._waiting: deque[tuple[AuditEntry, _Begun | None]] = deque()
        # Entries of one commit have one time, and ids of one millisecond no order: so ours are numbered.
        self._series = service.new_id("aud")
        self._number = 0
        self._lock = asyncio.Lock()

    async def begin(self, exchange: Exchange, at_ms: int) -> None:
        """Take down that it is let in; whatever the store is asked for from now on is committed behind this, or with it."""
        entry = self._entry(exchange, at_ms, None)
        if entry is None:
            return
        self._begun[exchange.id] = _Begun(
            entry.id, asyncio.ensure_future(self._store.put_documents([self._document(entry)], ahead=True))
        )
        await asyncio.sleep(0)  # it is there now, in front of what comes

    def note(self, exchange: Exchange, at_ms: int, error: str | None) -> None:
        """Take down how it ended, to be stored soon."""
        begun = self._begun.pop(exchange.id, None)
        entry = self._entry(exchange, at_ms, exchange.status, error, None if begun is None else begun.id)
        if entry is None:
            return
        self._waiting.append((entry, begun))
        if len(self._waiting) > MAX_WAITING:
            self._waiting.popleft()
            logger.error("the audit log is behind: an entry was given up")

    async def flush(self) -> None:
        """Store what waits; on a failing store it goes on waiting."""
        async with self._lock:
            begun = [*self._begun.values(), *(one for _, one in self._waiting if one is not None)]
            if not all(one.making.done() for one in begun):  # nothing came behind it
                with contextlib.suppress(GodwitError):  # each of them is told
                    await self._store.flush()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
                made = [await self._made(begun) for _, begun in batch]
                documents = [self._document(entry, before) for (entry, _), before in zip(batch, made, strict=True)]
                try:
                    await self._put(documents)
                except BaseException as error:
                    self._waiting.extendleft(reversed(batch))
                    if not isinstance(error, GodwitError):
                        raise
                    logger.error("the audit log cannot be stored: %s", error.message)
                    return

    async def _made(self, begun: _Begun | None) -> Document | None:
        """What was stored when it began; None when there is nothing."""
        if begun is None:
            return None
        if not begun.making.done():
            with contextlib.suppress(GodwitError):
                await self._store.flush()
        await asyncio.wait([begun.making])
        return None if begun.making.cancelled() or begun.making.exception() is not None else begun.making.result()[0]

    async def _put(self, documents: list[Document]) -> None:
        try:
            await self._store.put_documents(documents)
        except (DocumentExists, DocumentNotFound, RevisionConflict):
            # One that cannot be stored, since somebody has removed it, holds up no other.
            for document in documents:
                try:
                    await self._store.put_documents([document])
                except (DocumentExists, DocumentNotFound, RevisionConflict) as error:
                    logger.error("an entry of the audit log is given up: %s", error.message)

    def _entry(
        self, exchange: Exchange, at_ms: int, status: int | None, error: str | None = None, id_: str | None = None
    ) -> AuditEntry | None:
        who = exchange.principal
        if who is None:
            return None
        if id_ is None:
            self._number += 1
            id_ = f"{self._series}-{self._number:09d}"
        return AuditEntry(
            id_,
            at_ms,
            who.id,
            who.tenant,
            f"{exchange.method} {exchange.route}",
            exchange.path[:500],
            status,
            exchange.id,
            exchange.dialect,
            exchange.peer,
            error,
        )

    def _document(self, entry: AuditEntry, before: Document | None = None) -> Document:
        document = before or Document(KIND, entry.id, b"", entry.tenant)
        return msgspec.structs.replace(
            document,
            body=msgspec.json.encode(entry),
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
