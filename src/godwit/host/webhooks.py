"""Webhooks: the endpoints of a tenant that are told what happens, and what became of each delivery.

Owns who is told what and whether an endpoint is enabled; `webhook_delivery.py` does the telling, in whichever process it
runs. Leaves out what a wire calls all this, and the words of notices (`webhook_queue.Source`). Rules: the secret is given
out when it is made and never again; while there is an endpoint the store's feed has what the sources look at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from ..contracts import SecretStore, Store
from ..core.document import Document
from ..core.errors import Conflict, DocumentExists, DocumentNotFound, InvalidArgument, KeyReused, NotFound, RevisionConflict
from ..core.feed import DOCUMENT
from ..core.ids import Clock, IdSource, derived_id
from .slots import SLOT, free_slot
from .webhook_queue import DELIVERY, Attempt, Delivery, Source, State, body_of, delivery_of, with_body
from .webhook_sending import Sender, SigningSecrets, new_secret

ENDPOINT = "webhook"
"""Kind of documents. Their key `all` finds those of every tenant."""
MOST = 50
"""Endpoints of a tenant."""
KEEP_PREVIOUS_S = 86_400.0
_TRIES = 20
_AGAIN_MS = 86_400_000
"""So long a request is taken for the one before under its idempotency key."""

Status = Literal["enabled", "disabled", "failing"]
"""`failing`: the last delivery failed, and it is still tried."""


class EndpointBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """An endpoint's document. `after`: the feed's position when it was made. `failing_ms`: since when nothing was delivered
    that was tried. `why`: it is disabled. `nudges`: how often its deliveries were changed by hand."""

    url: str
    types: tuple[str, ...] = ()
    description: str = ""
    enabled: bool = True
    failing_ms: int | None = None
    why: str = ""
    delivered_ms: int | None = None
    after: int = 0
    nudges: int = 0


class Endpoint(msgspec.Struct, frozen=True):
    """`types`: of what it is told; none: of all there are. `why`: it is disabled. `failing_ms`: since when deliveries fail;
    `delivered_ms`: when the first one succeeded since they last failed. Times in ms. `after`, `nudges`: see `EndpointBody`.
    """

    id: str
    url: str
    types: tuple[str, ...]
    description: str
    enabled: bool
    why: str
    failing_ms: int | None
    delivered_ms: int | None
    created_ms: int
    updated_ms: int
    after: int
    nudges: int

    @property
    def status(self) -> Status:
        return "disabled" if not self.enabled else "enabled" if self.failing_ms is None else "failing"


class Webhooks:
    """A tenant sees its own endpoints alone: for all others NotFound, in the words for what is not there."""

    def __init__(
        self,
        store: Store,
        secrets: SecretStore,
        sender: Sender,
        sources: Sequence[Source],
        ids: IdSource,
        clock: Clock,
    ) -> None:
        self._store = store
        self._secrets = secrets
        self._sender = sender
        self._ids = ids
        self._clock = clock
        self.types = frozenset(one for source in sources for one in source.types)
        self.feeds = frozenset(one for source in sources for one in source.feeds) | {DOCUMENT + ENDPOINT}

    async def add(
        self, url: str, types: Iterable[str] = (), *, tenant: str | None, description: str = "", key: str | None = None
    ) -> tuple[Endpoint, str]:
        """A new endpoint, and the secret that signs what it is sent: `whsec_...`.

        `key`: an idempotency key; asked for again under it, it is the same endpoint, with another secret, since nobody has
        been told the one before. InvalidArgument for an address that cannot be used, or a type there is none of; Conflict
        for one endpoint too many; KeyReused.
        """
        after = await self._store.wait_feed(0, 0)
        body = EndpointBody(self._sender.check(url), self._checked(types), description, after=after)
        secret = new_secret()
        endpoint = self._ids.new("wh") if key is None else derived_id("wh", tenant or "", key)
        sealed = await self._seal(endpoint, SigningSecrets(secret), tenant)
        # What happens from here on is fed, so nothing falls between the two.
        await self._store.set_feed_types(self.feeds)
        try:
            made = await self._take_slot(endpoint, body, sealed, tenant)
        except DocumentExists:
            made = await self._document(endpoint, tenant)
            old = _decoder.decode(made.body)
            late = made.created_ms < self._clock.now_ms() - _AGAIN_MS
            if late or (old.url, old.types, old.description) != (body.url, body.types, body.description):
                raise KeyReused(f"idempotency key {key!r} was used before: take a new one", key=key) from None
            await self._secrets.put(ENDPOINT, endpoint, msgspec.json.encode(SigningSecrets(secret)), tenant=tenant)
        # Somebody may have removed the last other endpoint meanwhile, and the feed with it.
        await self._store.set_feed_types(self.feeds)
        return endpoint_of(made), secret

    async def _take_slot(self, endpoint: str, body: EndpointBody, sealed: Document, tenant: str | None) -> Document:
        """Store a new endpoint in one of as many slots as a tenant may have of them: of two that want the last one, one gets
        it. Conflict without a free one, DocumentExists when it is there."""
        while True:
            taken = await self._store.documents(ENDPOINT, tenant=tenant, limit=MOST)
            slot = free_slot(taken, MOST)
            if any(one.id == endpoint for one in taken):
                raise DocumentExists(f"there is a webhook {endpoint!r} already", kind=ENDPOINT, id=endpoint)
            if slot is None:
                raise Conflict(f"there are {MOST} endpoints, and no more fit: remove one")
            new = Document(ENDPOINT, endpoint, _encode(body), tenant, keys={"all": "1"}, unique={SLOT: slot})
            try:
                return (await self._store.put_documents([new, sealed]))[0]
            except DocumentExists as error:
                if error.details.get("key") != SLOT:
                    raise

    async def get(self, endpoint: str, *, tenant: str | None) -> Endpoint:
        """NotFound."""
        return endpoint_of(await self._document(endpoint, tenant))

    async def page(
        self,
        *,
        tenant: str | None,
        limit: int = 50,
        after: tuple[int, str] | None = None,
        ascending: bool = False,
    ) -> list[Endpoint]:
        found = await self._store.documents(ENDPOINT, tenant=tenant, limit=limit, after=after, ascending=ascending)
        return [endpoint_of(one) for one in found]

    async def update(
        self,
        endpoint: str,
        *,
        tenant: str | None,
        url: str | None = None,
        types: Iterable[str] | None = None,
        description: str | None = None,
        enabled: bool | None = None,
    ) -> Endpoint:
        """Change what is given. Enabled anew, it gets what is still pending. NotFound, InvalidArgument."""
        changes: dict[str, Any] = {} if url is None else {"url": self._sender.check(url), "failing_ms": None}
        if types is not None:
            changes["types"] = self._checked(types)
        if description is not None:
            changes["description"] = description
        if enabled is not None:
            changes.update(enabled=enabled, why="" if enabled else "by a person", failing_ms=None)
        return endpoint_of(await self._change(endpoint, tenant, **changes))

    async def remove(self, endpoint: str, *, tenant: str | None) -> None:
        """With its secret and its deliveries. NotFound."""
        await self._document(endpoint, tenant)
        await self._store.delete_document(ENDPOINT, endpoint, tenant=tenant)
        await self._secrets.delete(ENDPOINT, endpoint, tenant=tenant)
        while found := await self._store.documents(DELIVERY, tenant=tenant, keys={"endpoint": endpoint}, limit=200):
            for one in found:
                await self._store.delete_document(DELIVERY, one.id, tenant=tenant)
        if await self._store.find_document(ENDPOINT, "all", "1") is None:
            await self._store.set_feed_types(())
            if await self._store.find_document(ENDPOINT, "all", "1") is not None:
                await self._store.set_feed_types(self.feeds)

    async def rotate(
        self, endpoint: str, *, tenant: str | None, keep_s: float = KEEP_PREVIOUS_S, key: str | None = None
    ) -> str:
        """A new secret. For `keep_s` seconds what is sent is signed with the one before as well. `key`: as for `add`.
        NotFound."""
        await self._document(endpoint, tenant)
        secret, now = new_secret(), self._clock.now_ms()
        before = await self.secrets_of(endpoint, tenant=tenant)
        both = SigningSecrets(secret, before.current, now + int(keep_s * 1000), key)
        if key is not None and before.key == key:
            both = msgspec.structs.replace(before, current=secret)
        await self._secrets.put(ENDPOINT, endpoint, msgspec.json.encode(both), tenant=tenant)
        return secret

    async def test(self, endpoint: str, *, tenant: str | None) -> Attempt:
        """Send `{"type": "webhook.test", ...}` now, once, enabled or not. NotFound."""
        found = await self.get(endpoint, tenant=tenant)
        now, notice = self._clock.now_ms(), self._ids.new("evt")
        body = {"type": "webhook.test", "id": notice, "created_ms": now, "data": {"endpoint": endpoint}}
        secrets = await self.secrets_of(endpoint, tenant=tenant)
        return await self._sender.send(found.url, secrets.at(now), notice, msgspec.json.encode(body).decode())

    async def deliveries(
        self,
        endpoint: str,
        *,
        tenant: str | None,
        state: State | None = None,
        limit: int = 50,
        after: tuple[int, str] | None = None,
    ) -> list[Delivery]:
        """What was and is to be sent, the newest first. NotFound."""
        await self._document(endpoint, tenant)
        keys = {"endpoint": endpoint, **({} if state is None else {"state": state})}
        found = await self._store.documents(DELIVERY, tenant=tenant, keys=keys, limit=limit, after=after)
        return [delivery_of(one) for one in found]

    async def send_again(self, endpoint: str, delivery: str, *, tenant: str | None) -> Delivery:
        """Try it anew, and as often as a new one, under the same `webhook-id`. NotFound."""
        await self._document(endpoint, tenant)
        for _ in range(_TRIES):
            try:
                found = await self._store.get_document(DELIVERY, delivery, tenant=tenant)
            except DocumentNotFound:
                found = None
            if found is None or found.keys["endpoint"] != endpoint:
                raise NotFound(f"there is no delivery {delivery!r}", delivery=delivery)
            body = msgspec.structs.replace(body_of(found), due_ms=self._clock.now_ms(), attempts=())
            try:
                (stored,) = await self._store.put_documents([with_body(found, body, "pending")])
            except RevisionConflict:
                continue
            await self._change(endpoint, tenant, nudge=True)
            return delivery_of(stored)
        raise RevisionConflict(f"delivery {delivery!r} is being changed all the time", delivery=delivery)

    async def secrets_of(self, endpoint: str, *, tenant: str | None) -> SigningSecrets:
        """What signs, for who sends. DocumentNotFound, SecretUnreadable."""
        packed = await self._secrets.get(ENDPOINT, endpoint, tenant=tenant)
        return msgspec.json.decode(packed, type=SigningSecrets)

    # --- what became of a try (for `webhook_delivery.py`) ---

    async def note(self, endpoint: str, attempt: Attempt, disable_ms: int, *, tenant: str | None) -> None:
        """Remember that deliveries fail, or that one succeeded again; disable what has failed for `disable_ms`, and what is
        gone for good (410)."""
        try:
            body = _decoder.decode((await self._document(endpoint, tenant)).body)
            if attempt.succeeded:
                if body.failing_ms is not None or body.delivered_ms is None:
                    await self._change(endpoint, tenant, failing_ms=None, delivered_ms=self._clock.now_ms())
                return
            since = attempt.at_ms if body.failing_ms is None else body.failing_ms
            why = ""
            if attempt.status == 410:
                why = "it answered 410: it is gone"
            elif self._clock.now_ms() - since >= disable_ms:
                told = attempt.error or f"it answered {attempt.status}"
                why = f"deliveries have failed for {disable_ms / 3_600_000:g} h; at last: {told}"
            if why and body.enabled:
                await self._change(endpoint, tenant, failing_ms=since, enabled=False, why=why)
            elif body.failing_ms is None:
                await self._change(endpoint, tenant, failing_ms=since)
        except NotFound:
            pass

    # --- within ---

    def _checked(self, types: Iterable[str]) -> tuple[str, ...]:
        found = tuple(dict.fromkeys(types))
        wrong = [one for one in found if one not in self.types]
        if wrong:
            raise InvalidArgument(
                f"types: there is no {wrong[0]!r}; there are {', '.join(sorted(self.types))}", type=wrong[0]
            )
        return found

    async def _seal(self, endpoint: str, secrets: SigningSecrets, tenant: str | None) -> Document:
        return await self._secrets.seal(ENDPOINT, endpoint, msgspec.json.encode(secrets), tenant=tenant)

    async def _change(self, endpoint: str, tenant: str | None, *, nudge: bool = False, **changes: Any) -> Document:
        for _ in range(_TRIES):
            document = await self._document(endpoint, tenant)
            old = _decoder.decode(document.body)
            body = msgspec.structs.replace(old, nudges=old.nudges + nudge, **changes)
            if body == old:
                return document
            try:
                return (await self._store.put_documents([msgspec.structs.replace(document, body=_encode(body))]))[0]
            except RevisionConflict:
                continue
        raise RevisionConflict(f"webhook {endpoint!r} is being changed by others all the time", endpoint=endpoint)

    async def _document(self, endpoint: str, tenant: str | None) -> Document:
        try:
            return await self._store.get_document(ENDPOINT, endpoint, tenant=tenant)
        except DocumentNotFound:
            raise NotFound(f"there is no webhook {endpoint!r}", endpoint=endpoint) from None


_decoder = msgspec.json.Decoder(EndpointBody)
_encode = msgspec.json.encode


def endpoint_of(document: Document) -> Endpoint:
    body = _decoder.decode(document.body)
    return Endpoint(
        document.id,
        body.url,
        body.types,
        body.description,
        body.enabled,
        body.why,
        body.failing_ms,
        body.delivered_ms,
        document.created_ms,
        document.updated_ms,
        body.after,
        body.nudges,
    )
