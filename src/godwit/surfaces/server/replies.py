"""Replies: answers that are kept for who asks again, so that what is asked twice is done once.

Two ways to be asked again ([decision 22](docs/decisions/0022-asked-again.md)): with an `Idempotency-Key`, which says so; and
by the official SDKs, which repeat a request whose answer was lost and say only how often (`retries`).

A record is made before anything is done, and the answer is put into it: with a key before the client is sent any of it.
What a crash leaves in between is a record without an answer, whose process has ended. Then the request is done again under
the same key for the engine (`Exchange.key`), which does nothing twice. Rule: an answer that says "not now" or "our fault" is
not kept, since asking again is right then; nor is a stream, which is done again under its key and so joins what it began;
nor one that tells a secret.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence

import msgspec
from starlette.types import Message, Receive, Scope, Send

from ...core.document import Document
from ...core.errors import Conflict, DocumentExists, DocumentNotFound, KeyReused, RevisionConflict
from .exchange import Exchange, exchange_of
from .service import Service

KIND = "reply"
HEADER = "idempotency-key"
MAX_KEY = 255
MAX_REPLY = 4 * 1024 * 1024
"""Bytes of an answer that is kept; a larger one is made again."""
_NOT_NOW = (408, 409, 425, 429)
_LEFT_OUT = (b"request-id", b"date", b"content-length", b"transfer-encoding", b"connection")


class Reply(msgspec.Struct, frozen=True):
    """`digest`: of the request. `owner`: the process that does it. `key`: what the engine is given, drawn for this record:
    the same idempotency key means something new when the record has expired. `status`: None until it was answered; the body
    is kept beside it."""

    digest: str
    owner: str
    key: str
    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()


class KeptAnswer(msgspec.Struct, frozen=True):
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


Run = Callable[[Scope, Receive, Send], Awaitable[None]]


class Replies:
    """What one server keeps; several may share a store."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._store = service.store
        self._kept_ms = int(service.settings.replies_h * 3_600_000)
        self._running: dict[str, asyncio.Future[None]] = {}

    async def keyed(
        self, given: str, digest: str, exchange: Exchange, run: Run, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer a request with this idempotency key. KeyReused for another request than the one before; Conflict while
        another process does it."""
        assert exchange.principal is not None
        tenant = exchange.principal.tenant
        name = hashlib.sha256(f"{exchange.dialect}\0{given}".encode()).hexdigest()
        place = f"{tenant or ''}\0{name}"  # no tenant is called nothing
        while True:
            running = self._running.get(place)
            if running is not None:
                await asyncio.wait([running])
            record = Reply(digest, self._store.owner, self._service.new_id("idem"))
            document = Document(
                KIND, name, msgspec.json.encode(record), tenant, expires_ms=self._service.now_ms() + self._kept_ms
            )
            if place in self._running:
                continue
            held = self._running[place] = asyncio.get_running_loop().create_future()

            def done(held: asyncio.Future[None] = held) -> None:
                if not held.done():
                    held.set_result(None)
                    del self._running[place]

            try:
                try:
                    (document,) = await self._store.put_documents([document])
                except DocumentExists:
                    found = await self._taken_over(document, record)
                    if found is None:
                        continue
                    if isinstance(found, KeptAnswer):
                        exchange.replayed = True
                        await replay(found, send)
                        return
                    document = found
                exchange.key = msgspec.json.decode(document.body, type=Reply).key
                await self._do(document, run, scope, receive, send, done)
                return
            finally:
                done()

    async def _taken_over(self, document: Document, record: Reply) -> Document | KeptAnswer | None:
        """Somebody has used the key: their answer, or the record when they died over it. None to look again."""
        try:
            found = await self._store.get_document(KIND, document.id, tenant=document.tenant)
            before = msgspec.json.decode(found.body, type=Reply)
            if before.digest != record.digest:
                raise KeyReused("this idempotency key was used for another request: take a new one")
            if before.status is not None:
                return await self.kept(found, before)
            if self.under_way_elsewhere(before):
                raise Conflict("a request with this idempotency key is under way: ask again in a moment", again=True)
            again = msgspec.structs.replace(before, owner=record.owner)
            (taken,) = await self._store.put_documents([found.changed(msgspec.to_builtins(again))])
            return taken
        except (DocumentNotFound, RevisionConflict):
            return None

    async def kept(self, document: Document, record: Reply) -> KeptAnswer:
        """The answer in a record that has one. DocumentNotFound when it has expired."""
        assert record.status is not None
        body = await self._store.document_content(KIND, document.id, tenant=document.tenant)
        headers = tuple((a.encode("latin-1"), b.encode("latin-1")) for a, b in record.headers)
        return KeptAnswer(record.status, headers, body)

    def under_way_elsewhere(self, record: Reply) -> bool:
        """Whether another living process may be doing this."""
        return record.status is None and record.owner != self._store.owner and not self._store.has_ended(record.owner)

    async def _do(
        self, document: Document, run: Run, scope: Scope, receive: Receive, send: Send, passing: Callable[[], None]
    ) -> None:
        """Do it, and keep the answer in this record before it is sent. When none is kept, the record stays without one, for
        the key in it. `passing`: called when the answer turns out to be a stream."""
        caught = Caught(scope, send, passing)
        await run(scope, receive, caught.send)
        kept = caught.kept
        if kept is not None:
            await self.keep(document, kept)
        await caught.release()

    async def keep(self, document: Document, kept: KeptAnswer) -> None:
        """Put the answer into its record."""
        record = msgspec.json.decode(document.body, type=Reply)
        headers = tuple((a.decode("latin-1"), b.decode("latin-1")) for a, b in kept.headers)
        record = msgspec.structs.replace(record, status=kept.status, headers=headers)
        answered = document.changed(msgspec.to_builtins(record))
        await self._store.put_documents([answered], contents={document.id: kept.body})


class Caught:
    """Holds an answer back until it is whole, unless it is a stream or too large: that is `passed` on as it comes."""

    def __init__(self, scope: Scope, send: Send, passing: Callable[[], None]) -> None:
        self._exchange = exchange_of(scope)
        self._send = send
        self._passing = passing
        self._held: list[Message] = []
        self._size = 0
        self._whole = False
        self.passed = False

    async def send(self, message: Message) -> None:
        if self.passed:
            await self._send(message)
            return
        self._held.append(message)
        if message["type"] == "http.response.start":
            kind = next((v for k, v in message.get("headers", ()) if k.lower() == b"content-type"), b"")
            if kind.startswith(b"text/event-stream"):
                await self._pass()
            return
        self._size += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._size > MAX_REPLY and not self._whole:
            await self._pass()

    async def _pass(self) -> None:
        if not self._whole:
            self._passing()
        self.passed = True
        for message in self._held:
            await self._send(message)
        self._held.clear()

    @property
    def kept(self) -> KeptAnswer | None:
        """The answer, if it is one to keep."""
        secret = self._exchange is not None and self._exchange.secret
        if secret or self.passed or not self._whole or self._size > MAX_REPLY:
            return None
        start, *rest = self._held
        if start["status"] >= 500 or start["status"] in _NOT_NOW:
            return None
        headers = tuple((k.lower(), v) for k, v in start.get("headers", ()) if k.lower() not in _LEFT_OUT)
        return KeptAnswer(start["status"], headers, b"".join(m.get("body", b"") for m in rest))

    async def release(self) -> None:
        if not self.passed:
            await self._pass()


async def replay(answer: KeptAnswer, send: Send) -> None:
    """Send a kept answer, byte for byte."""
    length = (b"content-length", str(len(answer.body)).encode())
    headers = [*answer.headers, length] if answer.status not in (204, 304) else list(answer.headers)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def digest_of(exchange: Exchange, query: bytes, content_type: str, parts: Sequence[bytes]) -> str:
    """What tells one request from another: its method, address and body."""
    hashed = hashlib.sha256()
    for part in (exchange.method.encode(), exchange.path.encode(), query, content_type.encode(), *parts):
        hashed.update(len(part).to_bytes(8, "big") + part)
    return hashed.hexdigest()
