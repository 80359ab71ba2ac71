"""What is to be sent to webhooks, as data: notices, their deliveries, and the documents that hold those.

Neutral: what a notice is called and what its body is, a `Source` says, one for each protocol that has webhooks. Rules: a
delivery is stored before it is sent, with the very bytes that are sent on every try, and under an id that follows from the
notice and the endpoint, so that making it twice makes one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from ..core.document import Document
from ..core.feed import FeedEntry
from ..core.ids import derived_id

DELIVERY = "webhook.delivery"
"""Kind of documents. Their keys: `endpoint`, and `state`."""

State = Literal["pending", "delivered", "failed"]


class Notice(msgspec.Struct, frozen=True):
    """`id`: the same whenever the notice is made; `notice_id` gives one. `body`: JSON, as it is sent."""

    id: str
    type: str
    body: str


class Source(msgspec.Struct, frozen=True):
    """What one protocol tells its webhooks. `types`: of all its notices. `feeds`: the types of feed entries it looks at.
    `notices`: what an entry comes to; the same each time."""

    types: frozenset[str]
    feeds: frozenset[str]
    notices: Callable[[FeedEntry], Iterable[Notice]]


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One try. `at_ms`: when it began. `status`: of the answer; None when there was none, and `error` says why. Anything but
    a status from 200 to 299 is a failure. `retry_after_s`: how long the other side asked to wait."""

    at_ms: int
    duration_ms: int
    status: int | None = None
    error: str | None = None
    retry_after_s: float | None = None

    @property
    def succeeded(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class DeliveryBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """A delivery's document. `due_ms`: when it is tried next. `attempts`: all of them, the first one first."""

    endpoint: str
    notice: str
    type: str
    body: str
    due_ms: int
    attempts: tuple[Attempt, ...] = ()


class Delivery(msgspec.Struct, frozen=True):
    """One notice on its way to one endpoint. `notice`: its id, which is sent as `webhook-id`. `due_ms`: the next try, of one
    that is pending. Times in ms."""

    id: str
    endpoint: str
    notice: str
    type: str
    body: str
    state: State
    created_ms: int
    due_ms: int | None
    attempts: tuple[Attempt, ...]


def notice_id(entry: FeedEntry, type_: str) -> str:
    """The id of the notice of this type for this entry."""
    return derived_id("evt", type_, entry.tenant or "", entry.subject, str(entry.seq), str(entry.at_ms))


def delivery_document(notice: Notice, endpoint: str, tenant: str | None, now_ms: int, keep_ms: int) -> Document:
    """A new delivery, due at once."""
    body = DeliveryBody(endpoint, notice.id, notice.type, notice.body, now_ms)
    name = derived_id("whd", endpoint, notice.id)
    keys = {"endpoint": endpoint, "state": "pending"}
    return Document(DELIVERY, name, msgspec.json.encode(body), tenant, expires_ms=now_ms + keep_ms, keys=keys)


def body_of(document: Document) -> DeliveryBody:
    return _decoder.decode(document.body)


def with_body(document: Document, body: DeliveryBody, state: State) -> Document:
    """The same delivery in another state."""
    keys = {"endpoint": body.endpoint, "state": state}
    return msgspec.structs.replace(document, body=msgspec.json.encode(body), keys=keys)


def delivery_of(document: Document) -> Delivery:
    body = body_of(document)
    state: State = document.keys["state"]  # type: ignore[assignment]
    return Delivery(
        document.id,
        body.endpoint,
        body.notice,
        body.type,
        body.body,
        state,
        document.created_ms,
        body.due_ms if state == "pending" else None,
        body.attempts,
    )


_decoder = msgspec.json.Decoder(DeliveryBody)
