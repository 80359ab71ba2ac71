"""Reading logs in PostgreSQL, and who waits for them: from the hot tail that followers share, else from the database, once
for all who miss the same. A part of `PostgresStore`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ...core.errors import InvalidArgument, SessionNotFound, StoreClosed
from ...core.events import Event
from ...core.ids import Seq, SessionId
from ..followers import FollowersPart
from ..hub import Hub, Topic
from ..logs import LogsPart
from .connections import Connections
from .heads import Heads
from .writer import Writer


class PostgresLogs(LogsPart, FollowersPart):
    """How `PostgresStore` reads logs."""

    _writer: Writer
    _connections: Connections
    _heads: Heads
    _reading: dict[SessionId, asyncio.Lock]

    async def _select(self, name: str, parameters: Any = ()) -> Sequence[Any]:
        """All rows of a named query. StoreClosed."""
        if self._closed:
            raise StoreClosed()
        return await self._connections.select(name, parameters)

    async def flush(self) -> None:
        await self._writer.flush()

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
        if topic is None:
            return await self._read_stored(session, from_seq, limit, types, to_seq, newest_first)
        if to_seq is None or not topic.tail or to_seq > topic.tail[-1].seq:
            await self._refresh(hub, session)
            to_seq = topic.head if to_seq is None else min(to_seq, topic.head)
        if to_seq <= from_seq:
            return []
        topic.used = hub.loop.time()
        return topic.slice(from_seq, to_seq) or await self._read_once(session, topic, from_seq, to_seq)

    async def _read_once(self, session: SessionId, topic: Topic, from_seq: Seq, to_seq: Seq) -> list[Event]:
        """Those who miss the same wait for the first of them."""
        lock = self._reading.setdefault(session, asyncio.Lock())
        try:
            async with lock:
                shared = topic.slice(from_seq, to_seq)
                if shared is not None:
                    return shared
                events = await self._read_stored(session, from_seq, None, None, to_seq, False)
                if not topic.gone and (not topic.tail or from_seq <= topic.tail[-1].seq):
                    topic.extend(events)
                return events
        finally:
            if not lock.locked():
                self._reading.pop(session, None)

    async def _refresh(self, hub: Hub, session: SessionId) -> None:
        """Tell the hub the head as the database has it. SessionNotFound."""
        if self._closed:
            raise StoreClosed()
        try:
            hub.committed(session, await self._heads.head(session), ())
        except SessionNotFound:
            hub.committed(session, 0, ())
            raise

    async def look(self) -> None:
        """Compare every head somebody waits for with the database."""
        for hub in list(self._hubs.values()):
            # Those whose head was not read yet are about to be.
            known = {session: topic for session, topic in hub.topics.items() if topic.head >= 0}
            if not known:
                continue
            found = await self._heads.of(known)
            for session, topic in known.items():
                head = found.get(session, 0)
                if hub.topics.get(session) is topic and (head == 0 or head > topic.head):
                    self._call(hub, hub.committed, session, head, ())


__all__ = ["PostgresLogs"]
