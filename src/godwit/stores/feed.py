"""The feed in SQLite: implements `Feed`, as a part of `SqliteStore`.

Entries are written in the transaction of what they tell, so there is none without the other; one process writes at a time,
so the order of positions is that of commits, and who has seen a position will meet no lower one. Waiting is `followers`',
on a topic like that of a session.
"""

from __future__ import annotations

from collections.abc import Collection

from ..core.errors import InvalidArgument
from ..core.feed import FeedEntry
from .batch import Unit
from .part import StorePart
from .requests import FEEDS, Call


class FeedPart(StorePart):
    """What `SqliteStore` does with the feed."""

    async def set_feed_types(self, types: Collection[str]) -> None:
        """See `Feed.set_feed_types`."""
        wanted = frozenset(types)

        async def apply(transaction: Unit) -> None:
            if wanted == transaction.fed:
                return
            await transaction.do("delete_feed_types")
            for one in sorted(wanted):
                await transaction.do("insert_feed_type", (one,))
            transaction.fed = wanted

        await self._writer.do(Call(apply, about=FEEDS))

    async def feed(self, after: int = 0, *, limit: int = 256) -> list[FeedEntry]:
        """See `Feed.feed`."""
        if limit < 0:
            raise InvalidArgument(f"limit {limit} is negative", limit=limit)
        return [FeedEntry(*row) for row in await self._select("read_feed", {"after": after, "limit": limit})]

    async def trim_feed(self, to: int) -> None:
        """See `Feed.trim_feed`."""

        async def apply(transaction: Unit) -> None:
            await transaction.do("trim_feed", (to,))

        await self._writer.do(Call(apply))


__all__ = ["FeedPart"]
