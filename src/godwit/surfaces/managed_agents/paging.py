"""Pages of a list, by cursors that say which list, in which order, and where in it.

A cursor is a place behind (or before) something that was shown, not a number of things, so a page never shows one twice and
passes over none, whatever is made or goes meanwhile.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from ...core.errors import InvalidArgument
from .query import Order, Query

T = TypeVar("T")
LIMIT = 20
MOST = 1000


class Cursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`at`: time in ms (or another number) and id of what was shown last; `back`: the page before it is wanted."""

    listing: str
    order: Order
    at: tuple[int, str]
    back: bool = False

    def text(self) -> str:
        return "page_" + base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")


_decoder = msgspec.json.Decoder(Cursor)


def cursor_of(text: str, listing: str, order: Order) -> Cursor:
    """InvalidArgument for one that is none of ours, of another list, or of another order."""
    try:
        coded = text.removeprefix("page_").encode("ascii")
        cursor = _decoder.decode(base64.b64decode(coded + b"=" * (-len(coded) % 4), b"-_", validate=True))
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise InvalidArgument("page: invalid page cursor", value=text[:200]) from None
    if cursor.listing != listing or not 0 <= cursor.at[0] < 1 << 62:
        raise InvalidArgument("page: invalid page cursor: it is one of another list", value=text[:200])
    if cursor.order != order:
        raise InvalidArgument(
            f"page: invalid page cursor: it was made for order={cursor.order} and is used with order={order}", order=order
        )
    return cursor


class Paged(msgspec.Struct, Generic[T], frozen=True):
    """A page: its things in the list's order, and the cursors of those behind and before it."""

    rows: Sequence[T]
    next: str | None
    prev: str | None

    def body(self, data: Sequence[Any], *, both_ways: bool = False) -> dict[str, Any]:
        """The answer with the rendered rows. `both_ways`: for a list whose clients know `prev_page`."""
        made: dict[str, Any] = {"data": list(data), "next_page": self.next}
        if both_ways:
            made["prev_page"] = self.prev
        return made


Fetch = Callable[[int, tuple[int, str] | None, bool], Awaitable[Sequence[T]]]
"""Up to so many things behind that place (None: from the beginning), ascending or not."""


async def paged(
    query: Query,
    listing: str,
    fetch: Fetch[T],
    place: Callable[[T], tuple[int, str]],
    *,
    order: Order = "desc",
    limit: int = LIMIT,
    most: int = MOST,
) -> Paged[T]:
    """The page that the query asks for with `limit` and `page`. `order`: of the list; `listing`: its name in cursors."""
    count = min(query.number("limit", most=1 << 31) or limit, most)
    given = query.text("page")
    cursor = None if given is None else cursor_of(given, listing, order)
    back = cursor is not None and cursor.back
    at = None if cursor is None else cursor.at
    found = list(await fetch(count + 1, at, (order == "asc") != back))
    more, rows = len(found) > count, found[:count]
    if back:
        rows.reverse()
    has_next, has_prev = (True, more) if back else (more, cursor is not None)
    behind = Cursor(listing, order, place(rows[-1])).text() if rows and has_next else None
    before = Cursor(listing, order, place(rows[0]), True).text() if rows and has_prev else None
    return Paged(rows, behind, before)
