"""The few connections on which a PostgreSQL store reads, and does what is no append.

Rule: a read that met a lost connection is tried again until the server is back, or `wait_s` is over.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg  # type: ignore[import-untyped]

from ...core.errors import StoreClosed
from .database import Database, lost
from .sql import bound, query

_NAP_S = 0.05
_LONGEST_NAP_S = 1.0


class Connections:
    """At most `most` of them, made when they are needed."""

    def __init__(self, database: Database, most: int) -> None:
        self._database = database
        self._most = most
        self._pool: asyncpg.Pool[Any] | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def _open(self) -> asyncpg.Pool[Any]:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._database.address, min_size=0, max_size=self._most, **self._database.options()
                )
        return self._pool

    @contextlib.asynccontextmanager
    async def taken(self) -> AsyncIterator[Any]:
        """One of them, for as long as it is needed. StoreClosed."""
        if self._closed:
            raise StoreClosed()
        pool = self._pool or await self._open()
        try:
            db = await pool.acquire()
        except asyncpg.InterfaceError as error:
            if self._closed:
                raise StoreClosed() from error
            raise
        try:
            yield db
        finally:
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await pool.release(db)

    async def select(self, name: str, parameters: Any = ()) -> Sequence[Any]:
        """All rows of a named query. StoreError's leaves."""
        text, values = query(name), bound(name, parameters)
        patience = Patience(self._database)
        while True:
            try:
                async with self.taken() as db:
                    return await db.fetch(text, *values)  # type: ignore[no-any-return]
            except Exception as error:
                if self._closed:
                    raise StoreClosed() from error
                if not lost(error) or not await patience.nap():
                    raise self._database.translate(error) from error

    async def close(self) -> None:
        self._closed = True
        if self._pool is not None:
            try:
                await asyncio.wait_for(self._pool.close(), self._database.wait_s)
            except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                self._pool.terminate()


class Patience:
    """Naps between tries, each twice as long, until the time of the database is over."""

    def __init__(self, database: Database) -> None:
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + database.wait_s
        self._next = _NAP_S

    async def nap(self) -> bool:
        """False when the time is over."""
        left = self._deadline - self._loop.time()
        if left <= 0:
            return False
        await asyncio.sleep(min(self._next, left))
        self._next = min(self._next * 2, _LONGEST_NAP_S)
        return True


__all__ = ["Connections", "Patience"]
