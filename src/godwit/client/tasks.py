"""Where a worker's tasks come from: a database on this machine, or a server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from ..core.errors import ConfigurationError
from ..core.events import Delta
from ..core.ids import RandomIds, SystemClock
from ..core.messages import ResultBlock
from ..host.lane_tasks import LaneTasks, Leased
from .connection import Connection, segment
from .shapes import Changed

T = TypeVar("T")


class Kept(msgspec.Struct, frozen=True):
    """Until when a lease lasts."""

    lease_ms: int


class Given(msgspec.Struct, frozen=True):
    """What a server hands out."""

    leased: Leased | None


class TaskSource(Protocol):
    """What a worker asks; see `host.lane_tasks.LaneTasks`."""

    @property
    def file(self) -> str | None:
        """The database, if it is one here: nothing that a task runs may touch it."""
        ...

    async def lease(
        self,
        lanes: Sequence[str],
        *,
        worker: str,
        labels: Mapping[str, str],
        tools: Sequence[str],
        wait_s: float,
        stop: asyncio.Event | None = None,
    ) -> Leased | None:
        """None when there was none within `wait_s`, or when `stop` was set before there was one."""
        ...

    async def heartbeat(self, task: str, token: str) -> int: ...
    async def complete(
        self, task: str, token: str, content: tuple[ResultBlock, ...], *, is_error: bool, metadata: dict[str, Any]
    ) -> bool: ...
    async def fail(self, task: str, token: str, error: str) -> bool: ...
    async def give_back(self, task: str, token: str) -> bool: ...
    def publish(self, delta: Delta) -> None:
        """Show what is on its way, if that is possible."""
        ...

    async def close(self) -> None: ...


class DatabaseTasks:
    """Tasks of a tenant, from the SQLite database at `path`, which other processes have open."""

    def __init__(self, path: str | os.PathLike[str], *, tenant: str | None = None) -> None:
        from ..stores.opening import is_address
        from ..stores.sqlite import SqliteStore

        if is_address(path):
            raise ConfigurationError("workers share a SQLite file; with PostgreSQL, let them work for a server")
        clock = SystemClock()
        self.file: str | None = os.fspath(path)
        self._tenant = tenant
        self._store = SqliteStore.open(os.fspath(path), clock=clock)
        self._tasks = LaneTasks(self._store, RandomIds(), clock)

    async def lease(
        self,
        lanes: Sequence[str],
        *,
        worker: str,
        labels: Mapping[str, str],
        tools: Sequence[str],
        wait_s: float,
        stop: asyncio.Event | None = None,
    ) -> Leased | None:
        return await self._tasks.lease(
            lanes, tenant=self._tenant, worker=worker, labels=labels, tools=tools, wait_s=wait_s, stop=stop
        )

    async def heartbeat(self, task: str, token: str) -> int:
        return await self._tasks.heartbeat(task, token, tenant=self._tenant)

    async def complete(
        self, task: str, token: str, content: tuple[ResultBlock, ...], *, is_error: bool, metadata: dict[str, Any]
    ) -> bool:
        return await self._tasks.complete(task, token, content, tenant=self._tenant, is_error=is_error, metadata=metadata)

    async def fail(self, task: str, token: str, error: str) -> bool:
        return await self._tasks.fail(task, token, error, tenant=self._tenant)

    async def give_back(self, task: str, token: str) -> bool:
        return await self._tasks.give_back(task, token, tenant=self._tenant)

    def publish(self, delta: Delta) -> None:
        self._store.publish(delta)

    async def close(self) -> None:
        await self._tasks.close()
        await self._store.close()


class ServerTasks:
    """Tasks of the tenant of a key, from a server. What is on its way is not shown there."""

    file: str | None = None

    def __init__(self, url: str, key: str | None = None) -> None:
        self._connection = Connection(url, key)

    async def lease(
        self,
        lanes: Sequence[str],
        *,
        worker: str,
        labels: Mapping[str, str],
        tools: Sequence[str],
        wait_s: float,
        stop: asyncio.Event | None = None,
    ) -> Leased | None:
        body = {
            "lanes": list(lanes),
            "worker": worker,
            "labels": dict(labels),
            "tools": list(tools),
            "wait_s": wait_s,
        }
        asked = asyncio.create_task(
            self._connection.call("POST", "/external_tasks/lease", Given, body, wait_s=wait_s), name=f"lease of {worker}"
        )
        stopped = asyncio.create_task((stop or asyncio.Event()).wait())
        try:
            await asyncio.wait([asked, stopped], return_when=asyncio.FIRST_COMPLETED)
            # The server may hand out a task to who has gone: it is free again when no heartbeat comes.
            return asked.result().leased if asked.done() else None
        finally:
            asked.cancel()
            stopped.cancel()
            await asyncio.gather(asked, stopped, return_exceptions=True)

    async def heartbeat(self, task: str, token: str) -> int:
        return (await self._call(task, "heartbeat", Kept, {"token": token})).lease_ms

    async def complete(
        self, task: str, token: str, content: tuple[ResultBlock, ...], *, is_error: bool, metadata: dict[str, Any]
    ) -> bool:
        body = {"token": token, "content": content, "is_error": is_error, "metadata": metadata}
        return (await self._call(task, "complete", Changed, body)).changed

    async def fail(self, task: str, token: str, error: str) -> bool:
        return (await self._call(task, "fail", Changed, {"token": token, "error": error})).changed

    async def give_back(self, task: str, token: str) -> bool:
        return (await self._call(task, "give_back", Changed, {"token": token})).changed

    async def _call(self, task: str, what: str, gives: type[T], body: object) -> T:
        return await self._connection.call("POST", f"/external_tasks/{segment(task)}/{what}", gives, body)

    def publish(self, delta: Delta) -> None:
        return None

    async def close(self) -> None:
        await self._connection.close()
