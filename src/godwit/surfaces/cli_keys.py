"""`godwit keys`: who may use a server."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from ..core.errors import DocumentNotFound
from ..core.ids import RandomIds, SystemClock
from .cli_exit import DONE, CliError
from .cli_place import Place
from .cli_view import write_json
from .cli_words import clean, date_of

if TYPE_CHECKING:
    from ..host.api_keys import ApiKey, ApiKeys

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


async def create_key(
    place: Place, name: str, *, tenant: str | None, scopes: Sequence[str], expires: str | None, as_json: bool
) -> int:
    """Show the new key, this once, alone on standard output."""
    clock = SystemClock()
    expires_ms = None if expires is None else clock.now_ms() + int(seconds(expires) * 1000)
    if not name.strip():
        raise CliError("a key needs a name, to tell it from others later", hint="--name laptop")
    async with _keys(place, make=True) as keys:
        key, made = await keys.create(name, tenant=tenant, scopes=scopes, expires_ms=expires_ms)
    if as_json:
        write_json({**_shown(made, clock.now_ms()), "key": key})
        return DONE
    print(key)
    print(f"{made.id}: this is the only time it is shown; only its hash is kept", file=sys.stderr)
    return DONE


async def list_keys(place: Place, *, tenant: str | None, as_json: bool) -> int:
    now = SystemClock().now_ms()
    async with _keys(place) as keys:
        found = await keys.list(tenants=None if tenant is None else [tenant])
    if as_json:
        for key in found:
            write_json(_shown(key, now))
        return DONE
    if not found:
        print("no keys; godwit keys create makes one", file=sys.stderr)
        return DONE
    rows = [("id", "state", "tenant", "scopes", "last used", "expires", "name")]
    for key in found:
        whose, used, ends = clean(key.tenant or "-"), date_of(key.last_used_ms), date_of(key.expires_ms)
        rows.append((key.id, key.state(now), whose, ",".join(key.scopes), used, ends, clean(key.name)))
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    return DONE


async def revoke_key(place: Place, typed: str, *, as_json: bool) -> int:
    """The id may be cut off where it is not ambiguous."""
    async with _keys(place) as keys:
        found = [key for key in await keys.list() if typed and key.id.startswith(typed)]
        if not found:
            raise DocumentNotFound(f"there is no key whose id begins with {typed!r}", id=typed)
        if len(found) > 1:
            raise CliError(f"{typed!r} begins the ids of {len(found)} keys", hint="type more of it", code="ambiguous")
        revoked = await keys.revoke(found[0].id)
    if as_json:
        write_json(_shown(revoked, SystemClock().now_ms()))
    else:
        print(f"{revoked.id}: revoked")
    return DONE


@asynccontextmanager
async def _keys(place: Place, *, make: bool = False) -> AsyncIterator[ApiKeys]:
    from ..host.api_keys import ApiKeys

    async with place.open_documents(make=make) as store:
        yield ApiKeys(store, SystemClock(), RandomIds())


def seconds(given: str) -> float:
    """A time as it is typed: `12h`, `90d`. CliError."""
    found = re.fullmatch(r"(\d{1,9})([smhdw])", given.strip())
    if found is None or int(found[1]) == 0:
        raise CliError(f"{given!r} is no time", hint="a number and s, m, h, d or w: 12h, 90d")
    return int(found[1]) * _UNITS_S[found[2]]


def _shown(key: ApiKey, now_ms: int) -> dict[str, Any]:
    return {**msgspec.to_builtins(key), "state": key.state(now_ms)}
