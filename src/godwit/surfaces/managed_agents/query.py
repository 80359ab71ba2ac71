"""Query: the parameters in a request's address, in every style official clients write them.

Lists come repeated (`a=1&a=2`), with brackets (`a[]=1`) or joined by commas (`a=1,2`); what is not known is passed over,
such as the `beta=true` of older clients.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, cast

from starlette.requests import Request

from ...core.errors import InvalidArgument

Order = Literal["asc", "desc"]
LATEST_MS = 253_402_300_799_999
"""The last moment of the year 9999."""
_ZONE_LOST_ITS_PLUS = re.compile(r" (\d\d:\d\d)$")


class Query:
    """Each method raises InvalidArgument, naming the parameter and its value, when that cannot be used."""

    def __init__(self, request: Request) -> None:
        self._items = request.query_params.multi_items()

    def text(self, name: str) -> str | None:
        """The last one of this name; None when there is none, or an empty one."""
        return next((value for key, value in reversed(self._items) if key == name), None) or None

    def texts(self, name: str, known: Sequence[str] | None = None) -> list[str] | None:
        """All of a list, each once; None when there is none. `known`: what may be in it."""
        style = re.compile(rf"{re.escape(name)}(\[\d*\])?")
        given = [part for key, value in self._items if style.fullmatch(key) for part in value.split(",")]
        found = list(dict.fromkeys(part.strip() for part in given if part.strip()))
        wrong = [one for one in found if known is not None and one not in known]
        if wrong:
            raise InvalidArgument(f"{name}: {wrong[0]!r} is none of {', '.join(known or ())}", value=wrong[0])
        return found or None

    def flag(self, name: str) -> bool:
        value = self.text(name)
        if value is None or value.lower() in ("false", "0"):
            return False
        if value.lower() in ("true", "1"):
            return True
        raise InvalidArgument(f"{name}: {value!r} is neither true nor false", value=value)

    def number(self, name: str, *, least: int = 1, most: int = (1 << 31) - 1) -> int | None:
        value = self.text(name)
        if value is None:
            return None
        if not re.fullmatch(r"[0-9]{1,12}", value) or not least <= int(value) <= most:
            raise InvalidArgument(f"{name}: {value!r} is no whole number from {least} to {most}", value=value)
        return int(value)

    def order(self, default: Order) -> Order:
        value = self.text("order")
        if value is None:
            return default
        if value not in ("asc", "desc"):
            raise InvalidArgument(f"order: {value!r} is neither asc nor desc", value=value)
        return cast("Order", value)

    def moments(self, name: str) -> tuple[int | None, int | None]:
        """The first and the last millisecond that `name[gt]`, `[gte]`, `[lt]` and `[lte]` leave, both inclusive."""
        first = [self._moment(f"{name}[gte]", up=True), self._after(f"{name}[gt]", 1)]
        last = [self._moment(f"{name}[lte]", up=False), self._after(f"{name}[lt]", -1)]
        return max((m for m in first if m is not None), default=None), min((m for m in last if m is not None), default=None)

    def _after(self, name: str, step: int) -> int | None:
        moment = self._moment(name, up=step < 0)
        return None if moment is None else moment + step

    def _moment(self, name: str, *, up: bool) -> int | None:
        value = self.text(name)
        if value is None:
            return None
        # A `+` that was not escaped arrives as a blank.
        text = _ZONE_LOST_ITS_PLUS.sub(r"+\1", value)
        try:
            read = datetime.fromisoformat(text)
            aware = read if read.tzinfo is not None else read.replace(tzinfo=UTC)
            since = aware - datetime(1970, 1, 1, tzinfo=UTC)
        except (ValueError, OverflowError):
            raise InvalidArgument(
                f"{name}: {value!r} is no RFC 3339 time such as 2026-01-31T12:00:00Z", value=value
            ) from None
        micros = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
        whole = -(-micros // 1000) if up else micros // 1000
        return min(max(whole, 0), LATEST_MS)


def moment(ms: int) -> str:
    """A time as this protocol writes it: RFC 3339, UTC, with milliseconds."""
    return f"{_second(ms // 1000)}.{ms % 1000:03d}Z"


@lru_cache(maxsize=1024)
def _second(s: int) -> str:
    # What stands together in a page or a stream happened within few seconds.
    return datetime.fromtimestamp(s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def moment_or_none(ms: int | None) -> str | None:
    return None if ms is None else moment(ms)
