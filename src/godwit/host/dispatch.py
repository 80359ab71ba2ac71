"""EmbeddedDispatcher: drives sessions on this process's event loop, one task per session that has something to do.

It may be woken twice, late, or for nothing: a drive begins from the log and ends when nothing is left. It drives only
sessions opened here, since their function tools live in this process; while one rests it listens to the log, so that an
answer or a resume from another process wakes it too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from ..core.errors import GodwitError, SessionNotFound, SessionOwned, StaleEpoch
from ..core.ids import SessionId
from ..engine.cancel import Cancel
from ..engine.driver import Driver, Parts
from ..engine.log import Log
from ..engine.loop import drive

logger = logging.getLogger("godwit")

WARM_LOGS = 64
"""Folded logs of resting sessions kept for their next run; a colder one is read again from the store."""
RETRY_S = 1.0
"""How often a session that another process drives is looked at again."""
FAILURE_RETRY_S = 5.0
"""How long after a drive broke off (a full disk, say) it is tried again by itself."""


class _Opened:
    """A session this process drives."""

    def __init__(self, token: Cancel) -> None:
        self.token = token
        self.context: Any = None
        self.task: asyncio.Task[None] | None = None
        self.again = False
        self.force = False
        self.driver: Driver | None = None
        self.failure: BaseException | None = None
        self.listeners: list[Callable[[], None]] = []
        self.ear: asyncio.Task[None] | None = None


class EmbeddedDispatcher:
    """Implements `godwit.contracts.Dispatcher` for one process."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._opened: dict[SessionId, _Opened] = {}
        self._logs: OrderedDict[SessionId, Log] = OrderedDict()
        self._closing = False

    def open(self, session: SessionId, token: Cancel) -> None:
        """Drive this session from now on whenever it has something to do."""
        self._opened[session] = _Opened(token)

    def wake(self, session: SessionId) -> None:
        opened = self._opened.get(session)
        if opened is None or self._closing:
            return
        opened.failure = None
        if opened.task is not None and not opened.task.done():
            opened.again = True
            return
        if opened.ear is not None:
            opened.ear.cancel()
            opened.ear = None
        opened.task = asyncio.create_task(self._drive(session, opened), name=f"drive {session}")

    def give_context(self, session: SessionId, context: Any) -> None:
        opened = self._opened.get(session)
        if opened is not None:
            opened.context = context

    def failure(self, session: SessionId) -> BaseException | None:
        opened = self._opened.get(session)
        return opened.failure if opened is not None else None

    def on_failure(self, session: SessionId, call: Callable[[], None]) -> Callable[[], None]:
        opened = self._opened.get(session)
        if opened is None:
            return lambda: None
        opened.listeners.append(call)
        return lambda: opened.listeners.remove(call)

    async def settle(self, session: SessionId, *, force: bool = False) -> None:
        opened = self._opened.get(session)
        if opened is None:
            return
        if force and (opened.task is None or opened.task.done() or opened.driver is None):
            opened.force = True
            self.wake(session)
        while (task := opened.task) is not None and not task.done():
            await asyncio.wait([task])

    async def end_interrupted(self, session: SessionId) -> None:
        """Bring an interrupted run that nobody drives to its end, without driving the session from then on."""
        if session in self._opened:
            self.wake(session)
            return
        with contextlib.suppress(SessionOwned, StaleEpoch):
            await self._drive_once(session, _Opened(Cancel()))

    async def forget(self, session: SessionId) -> None:
        """Drive this session no more; a drive under way goes on to its end."""
        opened = self._opened.pop(session, None)
        self._logs.pop(session, None)
        if opened is not None and opened.ear is not None:
            opened.ear.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await opened.ear

    async def close(self, grace_s: float) -> None:
        """Let every drive yield at its next checkpoint, then cut off what has not."""
        self._closing = True
        tasks = []
        for opened in self._opened.values():
            if opened.ear is not None:
                opened.ear.cancel()
                tasks.append(opened.ear)
            if opened.driver is not None:
                opened.driver.shutdown = True
                opened.driver.changed.set()
            if opened.task is not None and not opened.task.done():
                tasks.append(opened.task)
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        for opened in self._opened.values():
            if opened.driver is not None:
                opened.driver.token.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s + 2.0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._opened.clear()
        self._logs.clear()

    async def _drive(self, session: SessionId, opened: _Opened) -> None:
        try:
            while not self._closing:
                opened.again = False
                waiting = await self._drive_once(session, opened)
                if opened.again:
                    continue
                if waiting:
                    # Another live process drives it: this one takes over should that one die.
                    head = (await self._parts.store.session(session)).head
                    await self._parts.store.wait(session, head, RETRY_S)
                    continue
                break
        except Exception as error:
            self._logs.pop(session, None)
            if isinstance(error, SessionNotFound):
                return
            if not isinstance(error, GodwitError):
                logger.exception("driving session %s failed", session)
            opened.failure = error
            for call in list(opened.listeners):
                call()
        finally:
            opened.driver = opened.task = None
            if not self._closing and self._opened.get(session) is opened:
                listening = self._listen(session, opened.failure is not None)
                opened.ear = asyncio.create_task(listening, name=f"listen {session}")

    async def _drive_once(self, session: SessionId, opened: _Opened) -> bool:
        """Drive as far as it goes. True when another process has it."""
        store = self._parts.store
        log = self._logs.pop(session, None) or await Log.open(store, session, self._parts.clock)
        await log.sync()
        if not log.state.gate.drivable and log.state.gate.opened:
            self._keep(session, log)
            return False
        force, opened.force = opened.force, False
        driver = Driver(self._parts, log, token=opened.token, context=opened.context, force=force)
        try:
            async with driver:
                opened.driver = driver
                await drive(driver)
        except SessionOwned:
            return log.state.gate.drivable
        except StaleEpoch:
            return True
        finally:
            opened.driver = None
        self._keep(session, log)
        return log.state.gate.drivable and not self._closing

    def _keep(self, session: SessionId, log: Log) -> None:
        if session in self._opened:
            self._logs[session] = log
            while len(self._logs) > WARM_LOGS:
                self._logs.popitem(last=False)

    async def _listen(self, session: SessionId, failed: bool) -> None:
        """While the session rests: wake it when something arrived that makes it drivable.

        After a failure it looks again at whatever arrives, and by itself after a while: a disk may have room again.
        """
        store = self._parts.store
        with contextlib.suppress(GodwitError):
            row = await store.session(session)
            while failed or row.status not in ("queued", "running", "retrying") or row.run is None:
                await store.wait(session, row.head, FAILURE_RETRY_S if failed else None)
                row, failed = await store.session(session), False
        opened = self._opened.get(session)
        if opened is not None:
            opened.ear = None
            self.wake(session)
