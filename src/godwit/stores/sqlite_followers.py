"""How a SQLite store reads, and looks for what others have written. A part of `SqliteStore`.

Rule: nothing here waits: a look at the file costs less than to go elsewhere for it.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from ..core.errors import SessionNotFound, StoreClosed, StoreError
from ..core.ids import Seq, SessionId
from .batch import FEED
from .followers import FollowersPart
from .hub import Hub
from .part import no_session
from .readers import Readers
from .sql import query


class SqliteFollowers(FollowersPart):
    """What `SqliteStore` does for who waits."""

    _readers: Readers
    _look_db: sqlite3.Connection | None
    _look_version: int

    async def _select(self, name: str, parameters: Any = ()) -> list[Any]:
        """All rows of a named query. StoreClosed."""
        return self._rows_of(name, parameters)

    def _rows_of(self, name: str, parameters: Any = ()) -> list[Any]:
        if self._closed:
            raise StoreClosed()
        return self._readers.select(name, parameters)

    async def _refresh(self, hub: Hub, session: SessionId) -> None:
        """Tell the hub the head as the database has it. SessionNotFound."""
        self._compare(hub, session)

    def _compare(self, hub: Hub, session: SessionId) -> None:
        try:
            hub.committed(session, self._head(session), ())
        except SessionNotFound:
            hub.committed(session, 0, ())
            raise

    def _head(self, session: SessionId) -> Seq:
        """SessionNotFound."""
        if session == FEED:
            return int(self._rows_of("feed_head")[0][0]) + 1
        found = self._rows_of("head", (session,))
        if not found:
            raise no_session(session)
        return Seq(found[0][1])

    def look(self, *, sure: bool) -> None:
        try:
            if self._look_db is None:
                self._look_db = self._readers.connect()
            version = self._look_db.execute("PRAGMA data_version").fetchone()[0]
            if version == self._look_version and not sure:
                return
            for hub in list(self._hubs.values()):
                # Its loop goes on meanwhile, and may do so within `list(items)`: each pair made there may collect garbage.
                for session, topic in hub.topics.copy().items():
                    if session == FEED:
                        head = self._look_db.execute(query("feed_head")).fetchone()[0] + 1
                    else:
                        found = self._look_db.execute(query("head"), (session,)).fetchone()
                        head = 0 if found is None else found[1]
                    if head != topic.head:
                        self._call(hub, hub.committed, session, head, ())
            self._look_version = version
        except (sqlite3.Error, StoreError):
            # The next look tries again; readers meet the fault themselves.
            if self._look_db is not None:
                self._readers.disconnect(self._look_db)
            self._look_db, self._look_version = None, -1


__all__ = ["SqliteFollowers"]
