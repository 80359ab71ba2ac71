"""Who is alive: a row and an advisory lock for each process that drives sessions, so that its end is seen before its leases
are over.

Signs of life come from a thread and a connection of their own, so that neither a busy loop nor a long read holds them up;
their time is the server's. The server sees the connection of a process that died close, and lets its lock go; one that is
stopped, or cut off from the network, keeps the lock, and only its leases' time tells. See `process_gone` in
`sql/schema.sql`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import re
import socket
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from ...core.errors import StoreClosed, StoreUnreachable
from .database import Database
from .sql import bound, query

T = TypeVar("T")

_OWNER = re.compile(r"^(?:[^/]*)-(\d+)-([0-9a-f]{12})$")
_SIGN_S = 1.0
_ASK_S = 5.0
_AGAIN_S = 0.2


class Presence:
    """This process, as others see it. What it offers without `async` waits for the server, a few milliseconds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.token = os.urandom(6).hex()
        self.name = f"{socket.gethostname().replace('/', '_')}-{os.getpid()}-{self.token}"
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._db: Any = None
        self._held = False
        self._ending: asyncio.Event | None = None
        self._closed = False

    def hold(self) -> None:
        """From now on others see this process alive. Idempotent. StoreError's leaves."""
        if not self._held:
            self._ask(self._hold())

    def dead(self, owner: str) -> bool:
        """True when `owner` was a process with this store and has surely ended."""
        if owner == self.name or _OWNER.match(owner) is None:
            return False
        try:
            return bool(self._ask(self._fetch("owner_gone", {"owner": owner})))
        except (StoreClosed, StoreUnreachable):
            return False

    def close(self) -> None:
        """Say that this process has ended."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            loop, ending, thread = self._loop, self._ending, self._thread
        if loop is not None and ending is not None and thread is not None:
            loop.call_soon_threadsafe(ending.set)
            thread.join()

    def _ask(self, work: Coroutine[Any, Any, T]) -> T:
        """What the thread finds out."""
        with self._lock:
            if self._closed:
                work.close()
                raise StoreClosed()
            if self._thread is None:
                self._begin()
            assert self._loop is not None
            asked = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return asked.result(_ASK_S)
        except concurrent.futures.TimeoutError as error:
            asked.cancel()
            raise StoreUnreachable(f"{self._database} does not answer", database=str(self._database)) from error

    def _begin(self) -> None:
        begun = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(begun,), name="godwit-presence", daemon=True)
        self._thread.start()
        begun.wait()

    def _run(self, begun: threading.Event) -> None:
        asyncio.run(self._live(begun))

    async def _live(self, begun: threading.Event) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        self._one = asyncio.Lock()
        begun.set()
        while not self._ending.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), _SIGN_S if self._db is not None or not self._held else _AGAIN_S)
            if self._held and not self._ending.is_set():
                with contextlib.suppress(Exception):
                    await self._fetch("sign_of_life", {"token": self.token})
        if self._held:
            with contextlib.suppress(Exception):
                await self._fetch("end_process", {"token": self.token})
        if self._db is not None:
            with contextlib.suppress(Exception):
                await self._db.close(timeout=1)

    async def _hold(self) -> None:
        self._held = True
        try:
            await self._fetch("sign_of_life", {"token": self.token})
            await self._fetch("hold_process", {"token": self.token})
            await self._fetch("end_processes", ())
        except BaseException:
            self._held = False
            raise

    async def _fetch(self, name: str, parameters: Any) -> Any:
        """The first value of a query. A new connection takes the process's lock at once."""
        async with self._one:
            try:
                if self._db is None or self._db.is_closed():
                    # A sign of life is worth no disk.
                    self._db = await self._database.connect(application_name="godwit presence", synchronous_commit="off")
                    if self._held:
                        await self._db.fetchval(query("hold_process"), *bound("hold_process", {"token": self.token}))
                return await self._db.fetchval(query(name), *bound(name, parameters))
            except Exception as error:
                if self._db is not None:
                    self._db.terminate()
                self._db = None
                raise self._database.translate(error) from error

    _one: asyncio.Lock


__all__ = ["Presence"]
