"""The feed of a store: what happens in all sessions and to documents, for one who follows everything."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from ..core.feed import FeedEntry


class Feed(Protocol):
    """What happens anywhere in the store, for who follows all of it: see `core.feed`.

    Only chosen types are fed, by default none. An entry is committed with what it tells, both or neither; positions grow in
    the order of commits, so who has seen one will meet no lower one. Entries stay until they are trimmed: one follower
    at a time reads the feed and takes away what it has done. Proven by `godwit.testing.StoreConformance`.
    """

    async def set_feed_types(self, types: Collection[str]) -> None:
        """Feed from now on the events of these types (`session.deleted` is one) and what becomes of documents of these
        kinds, as `document.<kind>`; by whatever process it is done."""
        ...

    async def feed(self, after: int = 0, *, limit: int = 256) -> list[FeedEntry]:
        """Entries with a greater position, in order. InvalidArgument."""
        ...

    async def wait_feed(self, after: int, timeout_s: float | None = None) -> int:
        """Return the last position as soon as it is greater than `after`, or when the time is over."""
        ...

    async def trim_feed(self, to: int) -> None:
        """Take away the entries up to this position."""
        ...
