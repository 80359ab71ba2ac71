"""Pages: what a list is asked for (`after`, `limit`, `order`), and the page it answers with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

import msgspec
from starlette.requests import Request

from ...core.errors import InvalidArgument
from .body import metadata_of

LIMIT, MOST = 20, 100

Order = Literal["asc", "desc"]


class Asked(msgspec.Struct, frozen=True):
    """`after`: the id of the last one seen. `limit`: 1 to 100."""

    after: str | None
    limit: int
    order: Order

    @property
    def ascending(self) -> bool:
        return self.order == "asc"


def asked(request: Request, *others: str, most: int = MOST) -> Asked:
    """What a list is asked for. `others`: further parameters it knows; one that is given twice or unknown is refused.
    `most`: the largest page.

    InvalidArgument.
    """
    query = request.query_params
    for name, _ in query.multi_items():
        known = name in ("after", "limit", "order", *others) or name.partition("[")[0] in others
        if not known:
            raise InvalidArgument(f"unknown parameter {name!r}", param=name)
        if len(query.getlist(name)) > 1 and not name.endswith("[]"):
            raise InvalidArgument(f"parameter {name!r} is given {len(query.getlist(name))} times", param=name)
    limit, order = query.get("limit", str(LIMIT)), query.get("order", "desc")
    if not limit.isascii() or not limit.isdigit() or len(limit) > 6 or not 1 <= int(limit) <= most:
        raise InvalidArgument(f"limit {limit[:20]!r} is not a number from 1 to {most}", param="limit")
    if order not in ("asc", "desc"):
        raise InvalidArgument(f"order {order[:20]!r} is neither asc nor desc", param="order")
    after = query.get("after")
    if after == "":
        raise InvalidArgument("after is empty: leave it out", param="after")
    return Asked(after, int(limit), cast(Order, order))


def page(data: Sequence[dict[str, Any]], *, more: bool) -> dict[str, Any]:
    """A page with its rendered things, each of which has an `id`."""
    return {
        "object": "list",
        "data": list(data),
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": more,
    }


def pairs_asked(request: Request) -> dict[str, str]:
    """`metadata[key]=value` pairs. InvalidArgument."""
    pairs: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name.startswith("metadata"):
            if not name.startswith("metadata[") or not name.endswith("]"):
                raise InvalidArgument(f"parameter {name!r} is not of the form metadata[key]", param="metadata")
            pairs[name[len("metadata[") : -1]] = value
    return metadata_of(pairs)
