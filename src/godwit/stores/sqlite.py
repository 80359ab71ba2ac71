"""The default store: one SQLite file, or `:memory:`. Implements `EventStore`, `BlobStore`, `DocumentStore`, `Feed`
and `MemoryStore`.

This module opens and closes it, and puts its parts together, a module for each subject: `logs`, `session_index`, `leases`,
`agents`, `saved_rules`, `artifacts`, `documents`, `feed`, `search`, `loading` (what imports bring), `memories`, and
`followers`, who wait for what comes. Below them, `database` opens the file, `readers` read, `writer` commits, `hub` wakes
waiters in this process, `bus` those in others, `owners` tells who is alive. Several processes may use one file at the same
time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from ..core.ids import Clock, SystemClock
from .agents import AgentsPart
from .artifacts import ArtifactsPart
from .bus import Bus, socket_folder
from .database import Database, Durability
from .documents import DocumentsPart
from .feed import FeedPart
from .hub import Underway
from .leases import SqliteLeases
from .loading import LoadsPart
from .owners import Owners
from .readers import Readers
from .saved_rules import RulesPart
from .session_index import SessionsPart
from .sqlite_logs import SqliteLogs
from .sqlite_words import SqliteWords
from .writer import Writer


class SqliteStore(
    SqliteLogs,
    SessionsPart,
    SqliteLeases,
    AgentsPart,
    RulesPart,
    ArtifactsPart,
    DocumentsPart,
    FeedPart,
    LoadsPart,
    SqliteWords,
):
    """A store in one SQLite database. Make it with `open`, end it with `close` (or `async with`).

    It may be used from any number of event loops and threads; each gets its own waiters.
    """

    _writer: Writer
    _bus: Bus | None

    def __init__(self, database: Database, *, clock: Clock | None = None, poll_s: float | None = 1.0) -> None:
        self._database = database
        self._clock = clock or SystemClock()
        db = database.open()
        self._writer = Writer(database, db, self._committed)
        self._readers = Readers(database, self._writer)
        self._closed = False
        self._hubs = {}
        self._underway = Underway()
        self._hubs_lock = threading.Lock()
        self._look_db = None
        self._look_version = -1

        file = database.file
        beside = None if file is None or database.read_only else Path(f"{file}.d")
        self._folder = beside
        self._owners = Owners(beside)
        self._bus = None
        if file is not None:
            sockets = None if database.read_only else socket_folder(file, self._owners.token)
            self._bus = Bus(sockets, self._owners.token, self, poll_s=poll_s)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "disk",
        wait_s: float = 10.0,
        clock: Clock | None = None,
        poll_s: float | None = 1.0,
    ) -> Self:
        """Open or make a store. Not async: it takes a few milliseconds, more only while another process migrates it.

        `path`: a file in an existing folder, `:memory:`, or a `file:` URI (`?mode=ro` reads only).
        `durability`: what an acknowledged append survives; `disk` power loss, `process` SIGKILL, `memory` neither.
        `wait_s`: how long to wait for another process's write lock before StoreLocked. `clock`: for leases.
        `poll_s`: seconds between two looks for commits of others whose hint was lost, while somebody waits; None: never.

        Raises StoreTooNew, StoreCorrupt, StoreLocked, StoreReadOnly, StoreError (the folder does not exist).
        """
        return cls(Database(path, durability=durability, wait_s=wait_s), clock=clock, poll_s=poll_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"SqliteStore({str(self._database)!r}, durability={self.durability!r})"

    @property
    def file(self) -> str | None:
        """The database's file; None for one in memory."""
        return self._database.file

    @property
    def durability(self) -> Durability:
        """What an acknowledged append survives."""
        return self._database.durability

    async def close(self) -> None:
        """Finish what was asked before, wake every waiter with StoreClosed, and free all. Idempotent."""
        if self._closed:
            return
        self._closed = True
        await self._writer.close()
        for hub in list(self._hubs.values()):
            self._call(hub, hub.close)
        self._hubs.clear()
        if self._bus is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._bus.close)
        self._readers.close()
        self._owners.close()
        if self._folder is not None:
            with contextlib.suppress(OSError):  # others may still use it
                self._folder.rmdir()


__all__ = ["SqliteStore"]
