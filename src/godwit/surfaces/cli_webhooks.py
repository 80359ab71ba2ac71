"""`godwit webhooks` and `godwit secrets`: who is told what happens, and the keys that seal what is secret."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..core.errors import DocumentNotFound
from ..core.ids import RandomIds, SystemClock
from .cli_exit import DONE, FAILED, CliError
from .cli_place import Place
from .cli_view import write_json
from .cli_words import clean, date_of

if TYPE_CHECKING:
    from ..contracts import DocumentStore
    from ..host.secrets import Secrets
    from ..host.webhook_queue import Attempt
    from ..host.webhooks import Endpoint, Webhooks

MOST = 1000


async def add(place: Place, url: str, *, types: Sequence[str], tenant: str | None, description: str, as_json: bool) -> int:
    """Show the secret, this once, alone on standard output."""
    async with _webhooks(place, make=True) as webhooks:
        made, secret = await webhooks.add(url, types, tenant=tenant, description=description)
    if as_json:
        write_json({**_shown(made), "secret": secret})
        return DONE
    print(secret)
    print(f"{made.id}: this is the only time its secret is shown; it signs what is sent", file=sys.stderr)
    return DONE


async def show(place: Place, *, tenant: str | None, as_json: bool) -> int:
    async with _webhooks(place) as webhooks:
        found = await webhooks.page(tenant=tenant, limit=MOST)
    if as_json:
        for one in found:
            write_json(_shown(one))
        return DONE
    if not found:
        whose = f"tenant {tenant!r} has none" if tenant is not None else "none without a tenant (--tenant shows a tenant's)"
        print(f"no webhooks: {whose}; godwit webhooks add URL makes one", file=sys.stderr)
    for one in found:
        types = ", ".join(one.types) or "everything"
        print(f"{one.id}  {one.status}  {clean(one.url)}  {types}{f'  ({clean(one.why)})' if one.why else ''}")
    return DONE


async def test(place: Place, typed: str, *, tenant: str | None, as_json: bool) -> int:
    """Send a test now. It fails when the other side does not answer with success."""
    async with _webhooks(place) as webhooks:
        endpoint = await _found(webhooks, typed, tenant)
        attempt = await webhooks.test(endpoint.id, tenant=tenant)
    if as_json:
        write_json({"id": endpoint.id, "succeeded": attempt.succeeded, **msgspec.to_builtins(attempt)})
    else:
        print(f"{endpoint.id}: {_told(attempt)}")
    return DONE if attempt.succeeded else FAILED


async def log(place: Place, typed: str, *, tenant: str | None, as_json: bool) -> int:
    """The newest deliveries, the newest one last."""
    async with _webhooks(place) as webhooks:
        endpoint = await _found(webhooks, typed, tenant)
        found = await webhooks.deliveries(endpoint.id, tenant=tenant, limit=MOST if as_json else 50)
    for one in reversed(found):
        if as_json:
            write_json(msgspec.to_builtins(one))
            continue
        last = f", {_told(one.attempts[-1])}" if one.attempts else ""
        due = (
            f", next try {date_of(one.due_ms, seconds=True)}"
            if one.state == "pending" and one.attempts and one.due_ms
            else ""
        )
        print(f"{date_of(one.created_ms, seconds=True)}  {one.type}  {one.state} ({len(one.attempts)} tries{last}{due})")
    return DONE


async def change(place: Place, typed: str, *, enabled: bool, tenant: str | None, as_json: bool) -> int:
    async with _webhooks(place) as webhooks:
        endpoint = await _found(webhooks, typed, tenant)
        endpoint = await webhooks.update(endpoint.id, tenant=tenant, enabled=enabled)
    if as_json:
        write_json(_shown(endpoint))
    else:
        print(f"{endpoint.id}: {endpoint.status}")
    return DONE


async def rotate(place: Place, typed: str, *, tenant: str | None, as_json: bool) -> int:
    """Show the new secret, this once, alone on standard output."""
    async with _webhooks(place) as webhooks:
        endpoint = await _found(webhooks, typed, tenant)
        secret = await webhooks.rotate(endpoint.id, tenant=tenant)
    if as_json:
        write_json({"id": endpoint.id, "secret": secret})
        return DONE
    print(secret)
    print(f"{endpoint.id}: for a day the secret before signs as well", file=sys.stderr)
    return DONE


async def remove(place: Place, typed: str, *, tenant: str | None, as_json: bool) -> int:
    async with _webhooks(place) as webhooks:
        endpoint = await _found(webhooks, typed, tenant)
        await webhooks.remove(endpoint.id, tenant=tenant)
    if as_json:
        write_json({"id": endpoint.id, "removed": True})
    else:
        print(f"{endpoint.id}: removed")
    return DONE


async def rotate_secrets(place: Place, *, as_json: bool) -> int:
    """A new key, and everything sealed with it."""
    async with place.open_documents() as store:
        done = await _secrets(store).rotate()
    if as_json:
        write_json(msgspec.to_builtins(done))
    else:
        print(f"{done.sealed} secret(s) sealed with {done.key}")
    return DONE


async def _found(webhooks: Webhooks, typed: str, tenant: str | None) -> Endpoint:
    """The id may be cut off where it is not ambiguous."""
    found = [one for one in await webhooks.page(tenant=tenant, limit=MOST) if typed and one.id.startswith(typed)]
    if not found:
        raise DocumentNotFound(f"there is no webhook whose id begins with {typed!r}", id=typed)
    if len(found) > 1:
        raise CliError(f"{typed!r} begins the ids of {len(found)} webhooks", hint="type more of it", code="ambiguous")
    return found[0]


@asynccontextmanager
async def _webhooks(place: Place, *, make: bool = False) -> AsyncIterator[Webhooks]:
    from ..host.server_settings import ServerSettings
    from ..host.webhook_sending import Sender
    from ..host.webhooks import Webhooks
    from .cli_settings import load
    from .server.sources import webhook_sources

    settings, clock = load(Path.cwd()).server or ServerSettings(), SystemClock()
    async with place.open_documents(make=make) as store:
        sender = Sender(settings.reach, settings.webhooks, clock)
        yield Webhooks(store, _secrets(store), sender, webhook_sources(), RandomIds(), clock)


def _secrets(store: DocumentStore) -> Secrets:
    from ..host.secret_keys import keys_of
    from ..host.secrets import Secrets

    return Secrets(store, keys_of(store))


def _shown(endpoint: Endpoint) -> dict[str, Any]:
    shown = {**msgspec.to_builtins(endpoint), "status": endpoint.status}
    return {key: value for key, value in shown.items() if key not in ("after", "nudges", "enabled")}


def _told(attempt: Attempt) -> str:
    return f"answered {attempt.status} after {attempt.duration_ms} ms" if attempt.error is None else clean(attempt.error)
