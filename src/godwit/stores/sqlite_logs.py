"""Reading logs in SQLite: from the hot tail that followers share, else from the file. A part of `SqliteStore`."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.errors import InvalidArgument
from ..core.events import Event
from ..core.ids import Seq, SessionId
from .hub import Hub, Topic
from .logs import LogsPart
from .sqlite_followers import SqliteFollowers


class SqliteLogs(LogsPart, SqliteFollowers):
    """How `SqliteStore` reads logs."""

    async def read(
        self,
        session: SessionId,
        from_seq: Seq = 0,
        *,
        limit: int | None = None,
        types: Sequence[str] | None = None,
        to_seq: Seq | None = None,
        newest_first: bool = False,
    ) -> list[Event]:
        """Events with `seq > from_seq` (and `<= to_seq`), in order, or the newest ones first. SessionNotFound."""
        if limit is not None and limit < 0:
            raise InvalidArgument(f"limit {limit} is negative", limit=limit)
        from_seq = max(from_seq, 0)
        if limit is not None and types is None and not newest_first:
            # Without gaps a limit is nothing but an end.
            to_seq, limit = from_seq + limit if to_seq is None else min(to_seq, from_seq + limit), None
        hub = self._hub()
        topic = None if types is not None or newest_first else hub.topics.get(session)
        if topic is not None:
            shared = self._from_tail(hub, session, topic, from_seq, to_seq)
            if shared is not None:
                return shared
        events = await self._read_stored(session, from_seq, limit, types, to_seq, newest_first)
        if topic is not None and not topic.gone and (not topic.tail or from_seq <= topic.tail[-1].seq):
            topic.extend(events)
        return events

    def _from_tail(
        self, hub: Hub, session: SessionId, topic: Topic, from_seq: Seq, to_seq: Seq | None
    ) -> list[Event] | None:
        """What is asked for, if the hot tail has all of it."""
        if to_seq is not None and topic.tail and to_seq <= topic.tail[-1].seq:
            # It ends where the tail is known to reach, so there is nothing newer to look for.
            head = to_seq
        else:
            if not topic.fresh:
                # Many followers woken together share one look at the head.
                self._compare(hub, session)
                hub.refreshed(topic)
            head = topic.head if to_seq is None else min(to_seq, topic.head)
        if head <= from_seq:
            return []
        topic.used = hub.loop.time()
        return topic.slice(from_seq, head)


__all__ = ["SqliteLogs"]
