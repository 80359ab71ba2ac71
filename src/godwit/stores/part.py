"""What the parts of a SQLite store share: its writer, its readers, its clock, and how a session is found.

A part is one subject of the store's contracts, a module each; `sqlite` puts them together. Rules: no statement of SQL stands
in them (`sql/queries.sql`); nothing but the writer writes; times are wall time of the clock given to `SqliteStore.open`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ..core.errors import SessionNotFound, StoreClosed
from ..core.ids import Clock, Seq, SessionId
from .owners import Owners
from .readers import Readers
from .transaction import FEED, Transaction
from .writer import Writer

PORTION = 512
"""Rows read, or made into ours, between two turns of the loop."""


class SqlitePart:
    """What each part of `SqliteStore` works with; the store sets it."""

    _writer: Writer
    _readers: Readers
    _clock: Clock
    _owners: Owners
    _closed: bool

    def _select(self, name: str, parameters: Any = ()) -> list[Any]:
        """All rows of a named query. StoreClosed."""
        if self._closed:
            raise StoreClosed()
        return self._readers.select(name, parameters)

    def _find(self, session: SessionId) -> tuple[int, Seq]:
        """The session's key and its head. SessionNotFound."""
        if session == FEED:
            return 0, self._select("feed_head")[0][0] + 1
        found = self._select("head", (session,))
        if not found:
            raise no_session(session)
        key, head, _ = found[0]
        return key, head


def session_key(transaction: Transaction, session: SessionId) -> int:
    """SessionNotFound."""
    row = transaction.row(session)
    if row is None:
        raise no_session(session)
    return row.key


def lease_of(transaction: Transaction, session: SessionId) -> tuple[int, int, str | None, int]:
    """The session's key and epoch, and who holds its lease until when. SessionNotFound."""
    found: tuple[int, int, str | None, int] | None = transaction.execute("lease", (session,)).fetchone()
    if found is None:
        raise no_session(session)
    return found


def no_session(session: SessionId) -> SessionNotFound:
    return SessionNotFound(f"there is no session {session!r}", session=session)


def as_json(values: Sequence[str]) -> str:
    """For a query that compares with each of them."""
    return msgspec.json.encode(list(values)).decode()


__all__ = ["PORTION", "SqlitePart", "as_json", "lease_of", "no_session", "session_key"]
