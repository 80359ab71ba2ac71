"""Routes of webhooks. All of them are the admin's: a webhook sees what happens in every session of its tenant."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from ...host.webhook_queue import State
from ..server.service import key_of, tells_secret
from .agents import read_place, write_place
from .calls import Host, KeyHeader, Who
from .operations import PREFIX, operation
from .shapes.webhooks import (
    WebhookBody,
    WebhookChange,
    WebhookDeliveries,
    WebhookDelivery,
    WebhookList,
    WebhookMade,
    WebhookRotation,
    WebhookSecret,
    WebhookTest,
    WebhookTypes,
    WebhookView,
    delivery_view,
    view,
)
from .wire import answer, body, nothing

router = APIRouter(prefix=f"{PREFIX}/webhooks", tags=["webhooks"])

WebhookPath = Annotated[str, Path(alias="webhook", description="The webhook's id.")]
Limit = Annotated[int, Query(ge=1, le=1000)]
After = Annotated[str | None, Query(description="`next` of the page before.")]


@router.post("")
@operation(takes=WebhookBody, gives=WebhookMade, scope="admin")
async def add_webhook(
    request: Request, sent: Annotated[WebhookBody, Depends(body(WebhookBody))], service: Host, who: Who, _: KeyHeader
) -> Response:
    """Tell this address what happens from now on. The secret that signs is told this once.

    Sent again under its idempotency key it is the same webhook, with another secret.
    """
    tells_secret(request)
    made, secret = await service.webhooks.add(
        sent.url, sent.types, tenant=who.tenant, description=sent.description, key=key_of(request)
    )
    return answer(WebhookMade(view(made), secret))


@router.get("")
@operation(gives=WebhookList, scope="admin")
async def list_webhooks(service: Host, who: Who, limit: Limit = 50, after: After = None) -> Response:
    """Those made last first."""
    place = None if after is None else read_place(after)
    page = await service.webhooks.page(tenant=who.tenant, limit=limit + 1, after=place)
    more = write_place(page[limit - 1].created_ms, page[limit - 1].id) if len(page) > limit else None
    return answer(WebhookList([view(one) for one in page[:limit]], more))


@router.get("/types")
@operation(gives=WebhookTypes, scope="admin")
async def webhook_types(service: Host) -> Response:
    """What a webhook can be told of."""
    return answer(WebhookTypes(sorted(service.webhooks.types)))


@router.get("/{webhook}")
@operation(gives=WebhookView, scope="admin")
async def get_webhook(webhook: WebhookPath, service: Host, who: Who) -> Response:
    """Where it leads, and whether it works."""
    return answer(view(await service.webhooks.get(webhook, tenant=who.tenant)))


@router.patch("/{webhook}")
@operation(takes=WebhookChange, gives=WebhookView, scope="admin")
async def change_webhook(
    webhook: WebhookPath, sent: Annotated[WebhookChange, Depends(body(WebhookChange))], service: Host, who: Who
) -> Response:
    """Change it, disable it, or enable it again."""
    changed = await service.webhooks.update(
        webhook, tenant=who.tenant, url=sent.url, types=sent.types, description=sent.description, enabled=sent.enabled
    )
    return answer(view(changed))


@router.delete("/{webhook}")
@operation(scope="admin")
async def remove_webhook(webhook: WebhookPath, service: Host, who: Who) -> Response:
    """Forget it, and what was to be sent to it."""
    await service.webhooks.remove(webhook, tenant=who.tenant)
    return nothing()


@router.post("/{webhook}/rotate")
@operation(takes=WebhookRotation, gives=WebhookSecret, scope="admin")
async def rotate_webhook(
    request: Request,
    webhook: WebhookPath,
    sent: Annotated[WebhookRotation, Depends(body(WebhookRotation))],
    service: Host,
    who: Who,
    _: KeyHeader,
) -> Response:
    """A new secret, told this once. For a while the one before signs as well."""
    tells_secret(request)
    return answer(
        WebhookSecret(await service.webhooks.rotate(webhook, tenant=who.tenant, keep_s=sent.keep_s, key=key_of(request)))
    )


@router.post("/{webhook}/test")
@operation(gives=WebhookTest, scope="admin")
async def test_webhook(webhook: WebhookPath, service: Host, who: Who) -> Response:
    """Send `webhook.test` to it, now and once, and say what came of it."""
    attempt = await service.webhooks.test(webhook, tenant=who.tenant)
    return answer(WebhookTest(attempt.succeeded, attempt))


@router.get("/{webhook}/deliveries")
@operation(gives=WebhookDeliveries, scope="admin")
async def list_deliveries(
    webhook: WebhookPath,
    service: Host,
    who: Who,
    state: Annotated[State | None, Query(description="Only those in this state.")] = None,
    limit: Limit = 50,
    after: After = None,
) -> Response:
    """What was and is to be sent to it, with every try; the newest first."""
    place = None if after is None else read_place(after)
    page = await service.webhooks.deliveries(webhook, tenant=who.tenant, state=state, limit=limit + 1, after=place)
    more = write_place(page[limit - 1].created_ms, page[limit - 1].id) if len(page) > limit else None
    return answer(WebhookDeliveries([delivery_view(one) for one in page[:limit]], more))


@router.post("/{webhook}/deliveries/{delivery}/retry")
@operation(gives=WebhookDelivery, scope="admin")
async def retry_delivery(
    webhook: WebhookPath,
    delivery: Annotated[str, Path(description="The delivery's id.")],
    service: Host,
    who: Who,
) -> Response:
    """Send it anew, under the same `webhook-id`."""
    return answer(delivery_view(await service.webhooks.send_again(webhook, delivery, tenant=who.tenant)))
