"""Shapes of webhooks: what is sent and answered about them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from ....host.webhook_queue import Attempt, Delivery, State
from ....host.webhooks import Endpoint, Status
from .common import Shape

Url = Annotated[str, Meta(min_length=1, max_length=2048)]
Types = Annotated[tuple[str, ...], Meta(max_length=100)]
Description = Annotated[str, Meta(max_length=2048)]


class WebhookBody(Shape, frozen=True, forbid_unknown_fields=True):
    """`types`: of what it is told; none: of everything."""

    url: Url
    types: Types = ()
    description: Description = ""


class WebhookChange(Shape, frozen=True, forbid_unknown_fields=True):
    """What is left out stays as it is. `enabled`: what has failed for long is disabled; true tries it again, with all that
    waits."""

    url: Url | None = None
    types: Types | None = None
    description: Description | None = None
    enabled: bool | None = None


class WebhookRotation(Shape, frozen=True, forbid_unknown_fields=True):
    """`keep_s`: for how long the secret before signs as well."""

    keep_s: Annotated[float, Meta(ge=0, le=30 * 86_400)] = 86_400.0


class WebhookView(Shape, frozen=True):
    """`why`: it is disabled. `failing_ms`: since when deliveries fail. Times in ms."""

    id: str
    url: str
    types: tuple[str, ...]
    description: str
    status: Status
    why: str
    failing_ms: int | None
    created_ms: int
    updated_ms: int


class WebhookMade(Shape, frozen=True):
    """`secret`: what signs, told this once."""

    webhook: WebhookView
    secret: str


class WebhookSecret(Shape, frozen=True):
    """Told this once."""

    secret: str


class WebhookList(Shape, frozen=True):
    webhooks: list[WebhookView]
    next: str | None


class WebhookTypes(Shape, frozen=True):
    types: list[str]


class WebhookTest(Shape, frozen=True):
    """`succeeded`: it was answered with a status from 200 to 299."""

    succeeded: bool
    attempt: Attempt


class WebhookDelivery(Shape, frozen=True):
    """`notice`: sent as `webhook-id` on every try. `due_ms`: the next try of one that is pending."""

    id: str
    notice: str
    type: str
    state: State
    created_ms: int
    due_ms: int | None
    attempts: tuple[Attempt, ...]
    body: str


class WebhookDeliveries(Shape, frozen=True):
    deliveries: list[WebhookDelivery]
    next: str | None


def view(endpoint: Endpoint) -> WebhookView:
    return msgspec.convert(endpoint, WebhookView, from_attributes=True)


def delivery_view(delivery: Delivery) -> WebhookDelivery:
    return msgspec.convert(delivery, WebhookDelivery, from_attributes=True)
