"""Retries: requests that an official SDK repeats because their answer was lost, told from messages that are meant twice.

The SDKs (Stainless') repeat a request that failed on its way, with `x-stainless-retry-count: 1` and more, the same body, and
no key. Each first attempt that changes something is recorded; a repetition is answered from the record of the newest equal
request, if that may be the one. It may not when its answer has surely arrived:

- another request came over its connection: the client had read the answer before;
- its connection is open `SETTLED_S` later or when the repetition comes, and the client's system has acknowledged every byte:
  whoever loses an answer gives its connection up;
- it was acknowledged and this side ended the connection, for the client left it at rest.

None of that counts where a proxy stands between, since it is the proxy's connection then.

Nor when its answer may have arrived and it is older than `UNSURE_S`: a client asks again within seconds of seeing that an
answer is lost. One that surely has not arrived counts for `LOST_S`, longer than a client waits by default.
The answer stays in memory until it is known to have arrived, or was stored because it may have been lost; what dies before
has left the record, and the engine does nothing twice under the key in it. What may go wrong:
docs/decisions/0022-asked-again.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from typing import Any

import msgspec
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from ...core.document import Document
from ...core.errors import Conflict, DocumentNotFound, GodwitError, RevisionConflict
from ...core.ids import Clock
from .connection import Wire
from .exchange import Exchange
from .replies import KIND, Caught, KeptAnswer, Replies, Reply, Run, replay
from .service import Service

logger = logging.getLogger("godwit.server")

COUNT = "x-stainless-retry-count"
UNSURE_S = 60.0
LOST_S = 15 * 60.0
SETTLED_S = 2.0
"""How long after its last byte an answer is looked at."""
_PROXIES = ("via", "forwarded", "x-forwarded-for")


class _Attempt:
    """A recorded request of this process. `at`: how many requests its connection had seen then. `stored`: its answer
    was given to the store; `released`: it is there, and its body no longer here."""

    __slots__ = ("answered_s", "at", "direct", "document", "done", "kept", "lost", "released", "stored", "wire")

    def __init__(self, document: Document, wire: Wire | None, direct: bool) -> None:
        self.document = document
        self.wire = wire
        self.at = 0 if wire is None else wire.requests
        self.direct = direct
        self.done = asyncio.Event()
        self.kept: KeptAnswer | None = None
        self.stored = False
        self.released = False
        self.answered_s: float | None = None
        self.lost = False

    def arrived(self) -> bool | None:
        """Whether the answer has arrived; None when that cannot be told."""
        wire = self.wire
        if wire is None or self.answered_s is None:
            return None
        if self.lost or (wire.closed_s is not None and wire.undelivered):
            return False
        if not self.direct:
            return None
        if wire.requests > self.at:
            return True
        if wire.closed_s is None:
            return None if wire.unacknowledged else True
        return True if wire.closed_here else None


class Retries:
    """The attempts of one server."""

    def __init__(self, service: Service, replies: Replies) -> None:
        self._store = service.store
        self._service = service
        self._clock: Clock = service.runtime.clock
        self._replies = replies
        self._attempts: dict[str, _Attempt] = {}

    @staticmethod
    def count(request: HTTPConnection) -> int | None:
        """How often this request was sent before; None when its client does not say."""
        given = request.headers.get(COUNT, "")
        return int(given) if given.isascii() and given.isdigit() and len(given) < 4 else None

    async def told(
        self, count: int, digest: str, exchange: Exchange, run: Run, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer a request that was sent `count` times before."""
        assert exchange.principal is not None
        tenant = exchange.principal.tenant
        again = f"{exchange.principal.id}\0{digest}"
        if count > 0:
            found = await self._before(again, tenant)
            if isinstance(found, KeptAnswer):
                exchange.replayed = True
                await replay(found, send)
                return
            if found is not None:
                await self._do(found, exchange, run, scope, receive, send)
                return
        record = Reply(again, self._store.owner, self._service.new_id("try"))
        document = Document(
            *(KIND, self._service.new_id("reply"), msgspec.json.encode(record), tenant),
            expires_ms=self._service.now_ms() + int(LOST_S * 1000),
            keys={"request": digest},
        )
        # It is put ahead of whatever this request does, and the store commits both together: so when that is there after a
        # crash, this is. Waiting here would cost each request a commit of its own.
        making = asyncio.ensure_future(self._store.put_documents([document], ahead=True))
        await asyncio.sleep(0)
        try:
            await self._do(msgspec.structs.replace(document, revision=1), exchange, run, scope, receive, send, making)
        finally:
            await self._flushed(making)

    async def _do(
        self,
        document: Document,
        exchange: Exchange,
        run: Run,
        scope: Scope,
        receive: Receive,
        send: Send,
        making: asyncio.Future[list[Document]] | None = None,
    ) -> None:
        headers = HTTPConnection(scope).headers
        direct = not any(name in headers for name in _PROXIES)
        attempt = _Attempt(document, exchange.wire, direct)
        self._attempts[document.id] = attempt
        exchange.key = msgspec.json.decode(document.body, type=Reply).key
        caught = Caught(scope, send, attempt.done.set)
        try:
            await run(scope, receive, caught.send)
            if making is not None:
                await self._flushed(making)
                making.result()
            attempt.kept = caught.kept
            await caught.release()
        finally:
            attempt.answered_s = self._clock.monotonic()
            attempt.lost = attempt.wire is not None and attempt.wire.closed_s is not None
            attempt.done.set()
            if attempt.kept is None:
                self._attempts.pop(document.id, None)

    async def _flushed(self, making: asyncio.Future[list[Document]]) -> None:
        """Return when the record is stored, or is not: a request that has changed nothing has not taken it along."""
        if not making.done():
            with contextlib.suppress(GodwitError):  # that it failed is told by the record as well
                await self._store.flush()
            await asyncio.wait([making])

    async def _before(self, again: str, tenant: str | None) -> KeptAnswer | Document | None:
        """The newest equal request that this one may repeat: its answer, or its record when it has none."""
        digest = again.rpartition("\0")[2]
        found = await self._store.documents(KIND, tenant=tenant, keys={"request": digest}, limit=8)
        equal = next((d for d in found if msgspec.json.decode(d.body, type=Reply).digest == again), None)
        if equal is None:
            return None
        attempt = self._attempts.get(equal.id)
        if attempt is not None:
            await attempt.done.wait()
            if attempt.kept is not None and attempt.answered_s is not None:
                arrived = attempt.arrived()
                age_s = self._clock.monotonic() - attempt.answered_s
                if arrived or age_s > (UNSURE_S if arrived is None else LOST_S):
                    return None
                if not attempt.released:
                    return attempt.kept
        try:
            equal = await self._store.get_document(KIND, equal.id, tenant=tenant)
            record = msgspec.json.decode(equal.body, type=Reply)
            if attempt is not None and attempt.released:
                return await self._replies.kept(equal, record)
            age_s = (self._service.now_ms() - equal.updated_ms) / 1000
            if self._replies.under_way_elsewhere(record):
                raise Conflict("this request is under way already: ask again in a moment", again=True)
            if record.status is None and record.owner != self._store.owner and age_s > UNSURE_S:
                return None  # its process was killed, and may have answered before
            if record.status is None:
                # Never answered, or with an error, or with a stream: the engine does nothing twice under its key.
                taken = msgspec.structs.replace(record, owner=self._store.owner)
                (equal,) = await self._store.put_documents([equal.changed(msgspec.to_builtins(taken))])
                return equal
            # Of a connection that another process had nothing is known.
            return None if age_s > UNSURE_S else await self._replies.kept(equal, record)
        except (RevisionConflict, DocumentNotFound):
            return None

    async def settle(self, *, ending: bool = False) -> None:
        """Forget what has surely arrived, and what nobody may ask for any more; store the answers that may have been lost.
        `ending`: at once, for this process ends."""
        now = self._clock.monotonic()
        work: list[Coroutine[Any, Any, None]] = []
        for name, attempt in list(self._attempts.items()):
            if attempt.answered_s is None or attempt.kept is None:
                continue
            arrived, age_s = attempt.arrived(), now - attempt.answered_s
            if (arrived and (ending or age_s >= SETTLED_S)) or age_s > (LOST_S if arrived is False else UNSURE_S):
                del self._attempts[name]
                work.append(self._forget(attempt))
            elif not arrived and not attempt.stored:
                attempt.stored = True
                work.append(self._keep(attempt, attempt.kept))
        for failed in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(failed, GodwitError):
                logger.warning("a reply is not kept: %s", failed.message)
            elif failed is not None:
                raise failed

    async def _keep(self, attempt: _Attempt, kept: KeptAnswer) -> None:
        await self._replies.keep(attempt.document, kept)
        attempt.kept, attempt.released = msgspec.structs.replace(kept, body=b""), True

    async def _forget(self, attempt: _Attempt) -> None:
        await self._store.delete_document(KIND, attempt.document.id, tenant=attempt.document.tenant)
