"""The connections on which a SQLite store reads.

Reads run on the caller's loop thread: an indexed read of a few rows costs less than a thread hop, and a long read on another
thread would fight the loop for the interpreter lock with every row. Rule: an error of sqlite3 costs the connection it came
from.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from typing import Any

from .database import Database
from .sql import query
from .writer import Writer


class Readers:
    """The connections on which a store reads, one for each thread. In memory there is but one: the writer's."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer
        self._own = threading.local()
        self._lock = threading.Lock()
        self._connections: list[sqlite3.Connection] = []

    def select(self, name: str, parameters: Any = ()) -> list[Any]:
        """All rows of a named query, on this thread's own connection."""
        db: sqlite3.Connection | None = None
        try:
            if self._database.memory:
                with self._writer.lock:
                    return self._writer.connection.execute(query(name), parameters).fetchall()
            db = getattr(self._own, "db", None)
            if db is None:
                db = self._own.db = self.connect()
            return db.execute(query(name), parameters).fetchall()
        except sqlite3.Error as error:
            if db is not None:
                # What it has cached may be part of the fault.
                self._own.db = None
                self.disconnect(db)
            raise self._database.translate(error) from error

    def connect(self) -> sqlite3.Connection:
        """One more connection, closed with the others or by `disconnect`."""
        db = self._database.connect()
        with self._lock:
            self._connections.append(db)
        return db

    def disconnect(self, db: sqlite3.Connection) -> None:
        with self._lock:
            if db in self._connections:
                self._connections.remove(db)
        with contextlib.suppress(sqlite3.Error):
            db.close()

    def close(self) -> None:
        with self._lock:
            for db in self._connections:
                with contextlib.suppress(sqlite3.Error):
                    db.close()
            self._connections.clear()


__all__ = ["Readers"]
