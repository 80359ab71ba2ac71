"""Upkeep: what a server does beside answering: it goes on with runs whose process has died, forgets what has expired or was
never made whole, stores its audit log, sends to webhooks. One task per job; what fails is logged and tried again at its next
turn."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from ...core.errors import GodwitError, SessionNotFound
from ...host.webhook_delivery import WebhookDelivery
from .audit import FLUSH_S
from .front import Front
from .service import Service

logger = logging.getLogger("godwit.server")

SETTLE_S = 1.0
OTHERS_S = 1.0
"""How often it is looked whether another process has ended."""
PURGE_S = 600.0
ARCHIVE_S = 3600.0
FIRST_S = 60.0
"""No job waits longer for its first turn: a server that is started anew each hour forgets as well."""
_PAGE = 200


class Upkeep:
    """The jobs of one server. `ready`: the first recovery is done."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._service = front.service
        self._tasks: list[asyncio.Task[None]] = []
        self._more: list[tuple[Callable[[], Awaitable[object]], float]] = []
        self.webhooks = _delivery(self._service)
        self.ready = False
        self._others: frozenset[str] = frozenset()
        self._recovering = asyncio.Lock()

    def also(self, job: Callable[[], object], seconds: float) -> None:
        """Do this every so often as well, on another thread, from `start` on."""
        self._more.append((partial(asyncio.to_thread, job), seconds))

    async def start(self) -> None:
        """Recover, then go on with all of them in the background. Errors of the store."""
        self._others = await self._service.store.others()
        await self.recover()
        await self._service.sweep()
        self.webhooks.start()
        self.ready = True
        settings = self._service.settings
        jobs: list[tuple[Callable[[], Awaitable[object]], float]] = [
            (self.recover, settings.recover_s),
            (self.take_over, OTHERS_S),
            (self._front.audit.flush, FLUSH_S),
            (self._front.retries.settle, SETTLE_S),
            (self._service.store.purge_documents, PURGE_S),
            (self._service.sweep, PURGE_S),
        ]
        if settings.archived_days is not None:
            jobs.append((self.delete_archived, ARCHIVE_S))
        jobs += self._more
        self._tasks = [asyncio.create_task(self._each(job, seconds)) for job, seconds in jobs]

    async def stop(self) -> None:
        self.ready = False
        await self.webhooks.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for last in (self._front.retries.settle(ending=True), self._front.audit.flush()):
            try:
                await last
            except GodwitError as error:
                logger.error("at the end: %s", error.message)
        await self._service.folders.close()

    async def recover(self) -> None:
        """Go on with each open run that no living process drives."""
        async with self._recovering:
            taken = await self._service.runtime.desk.recover()
        self._front.metrics.recovered(len(taken))
        if taken:
            logger.info("went on with %d run(s) of processes that have ended", len(taken))

    async def take_over(self) -> None:
        """The same at once, when a process that was there has ended."""
        others = await self._service.store.others()
        if self._others - others:
            await self.recover()  # when that fails, it is missing at the next turn as well
        self._others = others

    async def delete_archived(self) -> int:
        """Delete the sessions that nobody has touched for longer than archived ones are kept; returns how many."""
        days = self._service.settings.archived_days
        assert days is not None
        until = self._service.now_ms() - int(days * 86_400_000)
        deleted = 0
        before = None
        while True:
            rows = await self._service.store.sessions(limit=_PAGE, before=before, statuses=("archived",))
            for row in rows:
                if row.updated_ms <= until:
                    try:
                        await self._service.runtime.delete_session(row.id)
                        deleted += 1
                    except SessionNotFound:
                        pass
                    except GodwitError as error:
                        logger.warning("session %s cannot be deleted: %s", row.id, error.message)
            if len(rows) < _PAGE:
                return deleted
            before = (rows[-1].updated_ms, rows[-1].id)

    async def _each(self, job: Callable[[], Awaitable[object]], seconds: float) -> None:
        wait_s = min(seconds, FIRST_S)
        while True:
            await asyncio.sleep(wait_s)
            wait_s = seconds
            try:
                await job()
            except Exception as error:
                level = logging.WARNING if isinstance(error, GodwitError) else logging.ERROR
                logger.log(level, "upkeep: %s", error, exc_info=not isinstance(error, GodwitError))


def _delivery(service: Service) -> WebhookDelivery:
    settings, clock = service.settings.webhooks, service.runtime.clock
    return WebhookDelivery(service.store, service.webhooks, service.sender, service.sources, settings, clock)
