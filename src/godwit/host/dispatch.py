"""EmbeddedDispatcher: drives sessions on this process's event loop, one task per session that has something to do.

It may be woken twice, late, or for nothing: a drive begins from the log and ends with its run. It drives only sessions of
which a driving handle is open here, since their function tools live in this process; while one rests it listens to the log,
so that an answer or a resume from another process wakes it too. Rules: whatever fails is tried again only after a pause, and
nothing of one run (its token, its context) reaches the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from ..core.errors import GodwitError, NotFound, SessionClosed, SessionOwned, StaleEpoch
from ..core.ids import RunId, Seq, SessionId
from ..core.state import State
from ..engine.approvals import next_expiry_s
from ..engine.cancel import Cancel
from ..engine.driver import Driver, Parts, time_left_s
from ..engine.log import Log
from ..engine.loop import drive
from ..engine.receiver import either

logger = logging.getLogger("godwit")

WARM_LOGS = 64
"""Folded logs of resting sessions kept for their next run; a colder one is read again from the store."""
RETRY_S = 1.0
"""How often a session that another process drives is looked at again."""
FAILURE_RETRY_S = 5.0
"""How long after a drive broke off (a full disk, say) it is tried again by itself."""
ANY_RUN = RunId("*")
CONTEXTS = 64
"""Values given with prompts that are kept for runs that have not begun."""


class _Hosted:
    """A session of which at least one driving handle is open here."""

    __slots__ = (
        "again",
        "alarm",
        "context",
        "contexts",
        "cut",
        "driver",
        "due",
        "ear",
        "failure",
        "force",
        "handles",
        "over",
        "task",
        "woken",
    )

    def __init__(self) -> None:
        self.handles: dict[Cancel, Callable[[], None]] = {}
        self.context: Any = None
        self.contexts: dict[RunId, Any] = {}
        self.task: asyncio.Task[None] | None = None
        self.ear: asyncio.Task[None] | None = None
        self.driver: Driver | None = None
        self.over: asyncio.Future[None] | None = None  # made by who waits for the end of what `driver` does
        self.failure: BaseException | None = None
        self.again = False
        self.force = False
        self.cut: RunId | None = None
        self.alarm: asyncio.TimerHandle | None = None
        self.due = False
        self.woken: asyncio.Event | None = None  # made when there is something to wait for: idle sessions have none


class EmbeddedDispatcher:
    """Implements `godwit.contracts.Dispatcher` for one process."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._hosted: dict[SessionId, _Hosted] = {}
        self._logs: OrderedDict[SessionId, Log] = OrderedDict()
        self._listeners: dict[SessionId, list[Callable[[], None]]] = {}
        self._closing: asyncio.Future[None] | None = None

    def open(self, session: SessionId, handle: Cancel, context: Any = None) -> None:
        """Drive this session from now on whenever it has something to do; `handle` is the token of the handle."""
        hosted = self._hosted.setdefault(session, _Hosted())
        if context is not None:
            hosted.context = context

        def cut() -> None:
            # A drive may be past its last look, and a parked or paused run has none: so the next look is told as well.
            driver = hosted.driver
            if driver is None:
                hosted.cut = ANY_RUN
            elif driver.state.run is not None:
                hosted.cut = driver.state.run.id
                driver.token.cancel()
            self.wake(session)

        hosted.handles[handle] = handle.on_cancel(cut)
        if hosted.task is None and hosted.ear is None and self._closing is None:
            hosted.ear = asyncio.create_task(self._listen(session, hosted, False), name=f"listen {session}")

    def leave(self, session: SessionId, handle: Cancel) -> None:
        """That handle was closed; with the last one, this process drives the session no more.

        A drive that is under way ends first: a second one beside it would take the lease from it, and it from the second.
        """
        hosted = self._hosted.get(session)
        if hosted is None:
            return
        take_back = hosted.handles.pop(handle, None)
        if take_back is not None:
            take_back()
        if not hosted.handles and hosted.driver is None:
            self._drop(session, hosted)

    def hosts(self, session: SessionId) -> bool:
        """True while a driving handle of this session is open here."""
        hosted = self._hosted.get(session)
        return hosted is not None and bool(hosted.handles)

    def works(self, session: SessionId) -> bool:
        """True while a drive of this session is under way here, or about to be."""
        hosted = self._hosted.get(session)
        return hosted is not None and hosted.task is not None

    def drives(self, session: SessionId) -> bool:
        """True while a drive of this session is under way here."""
        hosted = self._hosted.get(session)
        return hosted is not None and hosted.driver is not None and hosted.driver.log.lease is not None

    def wake(self, session: SessionId) -> None:
        hosted = self._hosted.get(session)
        if hosted is None or self._closing is not None:
            return
        hosted.failure = None
        if hosted.task is not None:
            hosted.again = True
            if hosted.woken is not None:
                hosted.woken.set()
            return
        if hosted.ear is not None:
            hosted.ear.cancel()
            hosted.ear = None
        hosted.task = asyncio.create_task(self._drive(session, hosted), name=f"drive {session}")

    def give_context(self, session: SessionId, run: RunId, context: Any) -> None:
        """The value for function tools of that run."""
        hosted = self._hosted.get(session)
        if hosted is not None:
            hosted.contexts[run] = context
            while len(hosted.contexts) > CONTEXTS:
                del hosted.contexts[next(iter(hosted.contexts))]

    def failure(self, session: SessionId) -> BaseException | None:
        if self._closing is not None:
            return SessionClosed("the runtime was closed: the run goes on where the session is opened next", session=session)
        hosted = self._hosted.get(session)
        return hosted.failure if hosted is not None else None

    def on_failure(self, session: SessionId, call: Callable[[], None]) -> Callable[[], None]:
        """Call it when a drive of this session breaks off; returns the function that takes it back."""
        self._listeners.setdefault(session, []).append(call)

        def take_back() -> None:
            calls = self._listeners.get(session, [])
            if call in calls:
                calls.remove(call)
            if not calls:
                self._listeners.pop(session, None)

        return take_back

    async def settle(self, session: SessionId, *, force: bool = False, run: RunId | None = None) -> None:
        """Return when no drive of this session is under way here; with `force`, take the session over first. `run`: when
        none of that run is, whatever has begun since."""
        hosted = self._hosted.get(session)
        if hosted is None:
            return
        if run is not None:
            while (driver := hosted.driver) is not None and (driver.state.run is None or driver.state.run.id == run):
                hosted.over = hosted.over or asyncio.get_running_loop().create_future()
                await asyncio.shield(hosted.over)
            return
        if force and not self.drives(session):
            hosted.force = True  # also while a driver is claiming it: without force, that may be in vain
            self.wake(session)
        while (task := hosted.task) is not None:
            await asyncio.wait([task])

    async def do_once(self, session: SessionId, *, force: bool = False) -> None:
        """End an interrupted run that nobody drives, put files back, without driving the session from then on."""
        if session in self._hosted:
            if force:
                await self.settle(session, force=True)
            else:
                self.wake(session)
            return
        once = _Hosted()
        once.force = force
        with contextlib.suppress(SessionOwned, StaleEpoch):
            await self._drive_once(session, once)

    async def close(self, grace_s: float) -> None:
        """Let every drive yield at its next checkpoint, then cut off what has not. Safe to repeat."""
        if self._closing is not None:
            await asyncio.shield(self._closing)
            return
        self._closing = asyncio.get_running_loop().create_future()
        try:
            await self._close(grace_s)
        finally:
            self._closing.set_result(None)

    async def _close(self, grace_s: float) -> None:
        for session in list(self._listeners):
            self._tell(session)
        ears = [h.ear for h in self._hosted.values() if h.ear is not None]
        tasks = [h.task for h in self._hosted.values() if h.task is not None]
        for ear in ears:
            ear.cancel()
        for hosted in self._hosted.values():
            if hosted.alarm is not None:
                hosted.alarm.cancel()
            if hosted.driver is not None:
                hosted.driver.stop()
            elif hosted.task is not None:
                hosted.task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        for hosted in self._hosted.values():
            if hosted.driver is not None:
                hosted.driver.token.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s + 2.0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *ears, return_exceptions=True)
        self._hosted.clear()
        self._logs.clear()

    # --- driving -----------------------------------------------------------------------------------------------

    async def _drive(self, session: SessionId, hosted: _Hosted) -> None:
        try:
            while self._closing is None:
                hosted.again = False
                owned_elsewhere, more = await self._drive_once(session, hosted)
                if not (hosted.handles or hosted.again):
                    break
                if owned_elsewhere and not hosted.force:
                    # A living process drives it: this one takes over should that one die.
                    hosted.woken = asyncio.Event()
                    head = (await self._parts.store.session(session)).head
                    await either(self._parts.store.wait(session, head, RETRY_S), hosted.woken.wait())
                elif not (more or hosted.again):
                    break
        except NotFound as error:
            hosted.failure = error
            if hosted is self._hosted.get(session) and not await self._exists(session):
                self._hosted.pop(session, None)
            self._tell(session)
        except Exception as error:
            if not isinstance(error, GodwitError):
                logger.exception("driving session %s failed", session)
            # Who has woken it since (a next prompt, once the run had ended) waits for another drive than this one.
            if not hosted.again:
                hosted.failure = error
                self._tell(session)
        finally:
            hosted.task = None
            if self._hosted.get(session) is hosted and self._closing is None and not hosted.handles:
                self._drop(session, hosted)
            elif self._hosted.get(session) is hosted and self._closing is None:
                listening = self._listen(session, hosted, hosted.failure is not None)
                hosted.ear = asyncio.create_task(listening, name=f"listen {session}")

    async def _drive_once(self, session: SessionId, hosted: _Hosted) -> tuple[bool, bool]:
        """Drive one run as far as it goes. Returns whether another process has it, and whether there is more to do."""
        store = self._parts.store
        log = self._logs.pop(session, None) or await Log.open(store, session, self._parts.clock)
        await log.sync()
        gate, run = log.state.gate, log.state.run
        due, hosted.due = hosted.due, False
        cut, hosted.cut = hosted.cut, None
        is_cut = run is not None and cut in (run.id, ANY_RUN)
        if gate.archived or (not gate.drivable and gate.opened and not due and not is_cut):
            hosted.force = False
            self._keep(session, log)
            if gate.phase == "waiting":
                await self._set_alarm(session, hosted, log.state)
            return False, False
        if self._closing is not None:
            return False, False
        force, hosted.force = hosted.force, False
        context = hosted.contexts.pop(run.id, hosted.context) if run is not None else None
        driver = Driver(self._parts, log, context=context, force=force)
        hosted.driver = driver
        if is_cut:
            driver.token.cancel()
        try:
            async with driver:
                hosted.force = False  # asked for while this was claiming: it has it now
                await drive(driver)
        except SessionOwned:
            self._keep(session, log)
            return True, False
        except StaleEpoch:
            return True, False
        finally:
            hosted.driver = None
            if hosted.over is not None:
                hosted.over.set_result(None)
                hosted.over = None
            if run is not None and log.state.run is not None and log.state.run.id == run.id and context is not None:
                hosted.contexts[run.id] = context  # parked, paused or broken off: the same run goes on with it
        self._keep(session, log)
        if log.state.gate.phase == "waiting":
            await self._set_alarm(session, hosted, log.state)
        return False, log.state.gate.drivable

    async def _set_alarm(self, session: SessionId, hosted: _Hosted, state: State) -> None:
        """A parked run's time runs on: this is what ends it, or answers for it, when no answer comes."""
        assert state.agent is not None
        _, spec = await self._parts.store.get_agent(state.agent.name, state.agent.version)
        clock = self._parts.clock
        ends_s = [time_left_s(state, spec.limits, clock), next_expiry_s(state, clock.now_ms())]
        left_s = min((s for s in ends_s if s is not None), default=None)
        if left_s is not None and self._hosted.get(session) is hosted:
            if hosted.alarm is not None:
                hosted.alarm.cancel()
            hosted.alarm = asyncio.get_running_loop().call_later(left_s, self._ring, session, hosted)

    def _ring(self, session: SessionId, hosted: _Hosted) -> None:
        hosted.alarm = None
        hosted.due = True
        self.wake(session)

    def _keep(self, session: SessionId, log: Log) -> None:
        if session in self._hosted:
            self._logs[session] = log
            while len(self._logs) > WARM_LOGS:
                self._logs.popitem(last=False)

    def _drop(self, session: SessionId, hosted: _Hosted) -> None:
        self._hosted.pop(session, None)
        self._logs.pop(session, None)
        if hosted.alarm is not None:
            hosted.alarm.cancel()
        if hosted.ear is not None:
            hosted.ear.cancel()
        if hosted.task is not None and hosted.driver is None:
            hosted.task.cancel()

    def _tell(self, session: SessionId) -> None:
        for call in list(self._listeners.get(session, ())):
            call()

    async def _exists(self, session: SessionId) -> bool:
        try:
            await self._parts.store.session(session)
        except NotFound:
            return False
        except GodwitError:
            return True
        return True

    async def _look(self, session: SessionId) -> tuple[Seq, bool, bool]:
        """The head, whether there is something to drive, and whether a run is open. No more than that is kept meanwhile."""
        row = await self._parts.store.session(session)
        has_run = row.run is not None
        return row.head, has_run and row.status in ("queued", "running", "retrying"), has_run

    async def _listen(self, session: SessionId, hosted: _Hosted, failed: bool) -> None:
        """While the session rests: wake it when something arrived that makes it drivable.

        After a failure it looks again at whatever arrives, and by itself after a while: a disk may have room again.
        """
        store = self._parts.store
        while True:
            try:
                head, drivable, _ = await self._look(session)
                if drivable and not failed:
                    break
                now = await store.wait(session, head, FAILURE_RETRY_S if failed else None)
                if failed:
                    _, _, has_run = await self._look(session)
                    if now == head or has_run:
                        break
                    failed = False
            except NotFound:
                self._drop(session, hosted)
                return
            except GodwitError:
                await asyncio.sleep(FAILURE_RETRY_S)
        hosted.ear = None
        self.wake(session)
