"""The store in PostgreSQL: many processes on many machines over one database. Implements `Store` and `MemoryStore`.

This module opens and closes it, and puts its parts together: those that it shares with the SQLite store (`stores.part`),
and its own: `logs`, `leases` and `words`. Below them, `database` reaches the server, `connections` read, `writer` commits
what a `transaction` decides, `bus` tells the other processes and hears from them, `presence` tells who is alive. SQL stands
in `sql/`.
"""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Self

from ...core.errors import InvalidArgument
from ...core.ids import Clock, SystemClock
from ..agents import AgentsPart
from ..artifacts import ArtifactsPart
from ..documents import DocumentsPart
from ..feed import FeedPart
from ..hub import Underway
from ..loading import LoadsPart
from ..saved_rules import RulesPart
from ..session_index import SessionsPart
from .bus import Bus
from .connections import Connections
from .database import Database
from .heads import Heads
from .leases import PostgresLeases
from .logs import PostgresLogs
from .presence import Presence
from .words import PostgresWords
from .writer import Writer

CONNECTIONS = 4
OWN_CONNECTIONS = 4
"""Beside those: the writer's, the listener's, the notifier's, and that of the signs of life."""


class PostgresStore(
    PostgresLogs,
    SessionsPart,
    PostgresLeases,
    AgentsPart,
    RulesPart,
    ArtifactsPart,
    DocumentsPart,
    FeedPart,
    LoadsPart,
    PostgresWords,
):
    """A store in one schema of a PostgreSQL database. Make it with `open`, end it with `close` (or `async with`).

    It belongs to the event loop that opened it.
    """

    _bus: Bus
    file: str | None = None
    """None: nothing lies beside it. Whoever keeps something beside a store's file has to be told where."""
    shared = True
    """Others open it elsewhere, so what this process alone knows is no use."""

    def __init__(self, database: Database, *, clock: Clock | None, poll_s: float | None, connections: int) -> None:
        self._database = database
        self._clock = clock or SystemClock()
        self._connections = Connections(database, connections)
        self._heads = Heads(self._connections)
        self._reading = {}
        self._closed = False
        self._hubs = {}
        self._underway = Underway()
        self._hubs_lock = threading.Lock()
        self._owners = Presence(database)
        self._writer = Writer(database, self._connections, self._owners.token, self._committed)
        self._bus = Bus(database, self._owners.token, self, poll_s=poll_s)

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        wait_s: float = 10.0,
        clock: Clock | None = None,
        poll_s: float | None = 1.0,
        connections: int = CONNECTIONS,
    ) -> Self:
        """Open a store, and make or migrate its schema.

        `url`: `postgresql://user:password@host:port/name`, with `?schema=` for another schema than `godwit`; what else
        stands behind `?` is asyncpg's, as `sslmode`. `wait_s`: how long to wait for a server that is away, and for what
        others hold. `clock`: for the times of what is kept; leases go by the server's. `poll_s`: seconds between two looks
        for commits of others whose hint was lost, while somebody waits; None: never. `connections`: at most so many for
        reads and what is no append, beside four more.

        Raises StoreTooNew, StoreUnreachable, StoreError, ConfigurationError (no such address).
        """
        if connections < 1:
            raise InvalidArgument(f"a store needs 1 or more connections, not {connections}", connections=connections)
        database = Database(url, wait_s=wait_s)
        await database.migrate()
        return cls(database, clock=clock, poll_s=poll_s, connections=connections)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"PostgresStore({str(self._database)!r})"

    async def listening(self) -> None:
        """Return once hints of other processes arrive."""
        self._bus.start()
        await self._bus.listening.wait()

    async def close(self) -> None:
        """Finish what was asked before, wake every waiter with StoreClosed, and free all. Idempotent."""
        if self._closed:
            return
        self._closed = True
        await self._writer.close()
        for hub in list(self._hubs.values()):
            self._call(hub, hub.close)
        self._hubs.clear()
        await self._bus.close()
        await self._connections.close()
        await asyncio.to_thread(self._owners.close)


__all__ = ["CONNECTIONS", "OWN_CONNECTIONS", "PostgresStore"]
