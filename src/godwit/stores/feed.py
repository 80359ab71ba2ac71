"""The feed in SQLite: implements `Feed`, as a part of `SqliteStore`.

Entries are written in the transaction of what they tell, so there is none without the other; one process writes at a time,
so the order of positions is that of commits, and who has seen a position will meet no lower one. Waiting is `followers`',
on a topic like that of a session.
"""

from __future__ import annotations

from collections.abc import Collection

from ..core.errors import InvalidArgument
from ..core.feed import FeedEntry
from .part import SqlitePart
from .requests import Call
from .transaction import Transaction


class SqliteFeed(SqlitePart):
    """What `SqliteStore` does with the feed."""

    async def set_feed_types(self, types: Collection[str]) -> None:
        """See `Feed.set_feed_types`."""
        wanted = frozenset(types)

        def apply(transaction: Transaction) -> None:
            if wanted == transaction.fed:
                return
            transaction.execute("delete_feed_types")
            for one in sorted(wanted):
                transaction.execute("insert_feed_type", (one,))
            transaction.fed = wanted

        await self._writer.do(Call(apply))

    async def feed(self, after: int = 0, *, limit: int = 256) -> list[FeedEntry]:
        """See `Feed.feed`."""
        if limit < 0:
            raise InvalidArgument(f"limit {limit} is negative", limit=limit)
        return [FeedEntry(*row) for row in self._select("read_feed", {"after": after, "limit": limit})]

    async def trim_feed(self, to: int) -> None:
        """See `Feed.trim_feed`."""

        def apply(transaction: Transaction) -> None:
            transaction.execute("trim_feed", (to,))

        await self._writer.do(Call(apply))


__all__ = ["SqliteFeed"]
