"""EmbeddedDispatcher: drives sessions on this process's event loop, one task per session that has something to do.

It may be woken twice, late, or for nothing: a drive begins from the log and ends with its run. It drives only sessions of
which a driving handle is open here, since their function tools live in this process; while one rests it listens to the log,
so that an answer or a resume from another process wakes it too. A run that finds no place among those that are driven at
once waits for one like a session that rests. Rules: whatever fails is tried again only after a pause; nothing of one run
(its token, its context) reaches the next; a run that only has to end needs no place.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

from ..core.errors import (
    ConfigurationError,
    GodwitError,
    NotFound,
    SessionClosed,
    SessionNotFound,
    SessionOwned,
    StaleEpoch,
    ToolNotFound,
)
from ..core.gate import Gate
from ..core.ids import RunId, Seq, SessionId
from ..core.state import State
from ..engine.approvals import next_expiry_s
from ..engine.cancel import Cancel
from ..engine.driver import Driver, Parts, time_left_s
from ..engine.log import Log, load_state
from ..engine.loop import drive
from ..engine.receiver import either
from .run_limit import RunLimit, checked

logger = logging.getLogger("godwit")

WARM_LOGS = 64
"""Folded logs of resting sessions kept for their next run; a colder one is read again from the store."""
RETRY_S = 1.0
"""How often a session that another process drives is looked at again."""
FAILURE_RETRY_S = 5.0
"""How long after a drive broke off (a full disk, say) it is tried again by itself."""
RECOVERED = 64
"""How many runs that were gone on with after a restart are driven at once, where no limit is set for all runs."""
STARTS = 8
"""Drives that begin at the same time. A drive's beginning is work without a pause; when many begin at once, the others wait
here, and what streams is not held up by all of them together."""
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
        "line_s",
        "nested",
        "over",
        "run",
        "task",
        "woken",
    )

    def __init__(self) -> None:
        self.handles: dict[Cancel, Callable[[], None]] = {}
        self.context: Any = None
        self.contexts: dict[RunId, Any] | None = None  # made with the first one
        self.task: asyncio.Task[None] | None = None
        self.ear: asyncio.Task[None] | None = None
        self.driver: Driver | None = None
        self.over: asyncio.Future[None] | None = None  # made by who waits for the end of what `driver` does
        self.failure: BaseException | None = None
        self.again = False
        self.force = False
        self.run: RunId | None = None  # the open run, as far as this process has heard
        self.cut: RunId | None = None
        self.line_s: float | None = None  # the run waits for a place, for so long at most
        self.nested = False  # asked for by a tool of a run that has a place
        self.alarm: asyncio.TimerHandle | None = None
        self.due = False
        self.woken: asyncio.Event | None = None  # made when there is something to wait for: idle sessions have none


class EmbeddedDispatcher:
    """Implements `godwit.contracts.Dispatcher` for one process.

    `max_runs`: how many runs are driven at once; None for as many as there are, save that of those a restart has left behind
    `RECOVERED` are. The others wait, the one that was started first comes next.
    """

    def __init__(
        self,
        parts: Parts,
        max_runs: int | None = None,
        rested: Callable[[SessionId, Gate, State], None] = lambda _session, _before, _state: None,
    ) -> None:
        """`rested`: told of the end of each drive, with what it found and what it left."""
        self._parts = parts
        self._rested = rested
        self._limits_all = max_runs is not None
        self._limit = RunLimit(RECOVERED if max_runs is None else checked(max_runs), self._call)
        self._recovered: dict[SessionId, RunId] = {}
        self._hosted: dict[SessionId, _Hosted] = {}
        self._logs: OrderedDict[SessionId, Log] = OrderedDict()
        self._listeners: dict[SessionId, list[Callable[[], None]]] = {}
        self._closing: asyncio.Future[None] | None = None
        self._starting = asyncio.Semaphore(STARTS)

    def open(self, session: SessionId, handle: Cancel, context: Any = None, run: RunId | None = None) -> None:
        """Drive this session from now on whenever it has something to do; `handle` is the token of the handle. `run`: the
        open one, as the handle has found it."""
        hosted = self._hosted.get(session)
        if hosted is None:
            hosted = self._hosted[session] = _Hosted()
            hosted.run = run
        if context is not None:
            hosted.context = context
        # Bound to the session's id and not to what is hosted now: a handle may outlive that.
        hosted.handles[handle] = handle.on_cancel(partial(self._cut_known, session))
        if hosted.task is None and hosted.ear is None and self._closing is None:
            hosted.ear = asyncio.create_task(self._listen(session, hosted, False), name=f"listen {session}")

    def _cut_known(self, session: SessionId) -> None:
        hosted = self._hosted.get(session)
        if hosted is not None and hosted.run is not None:
            self.cut(session, hosted.run)

    def cut(self, session: SessionId, run: RunId) -> None:
        """End that run, and no other one: whoever wants it ended may be late, and the next one be somebody else's."""
        hosted = self._hosted.get(session)
        if hosted is None:
            return
        # A drive may be past its last look, or not have claimed yet, and a parked or paused run has none: the next look is
        # told as well.
        hosted.cut = run
        driver = hosted.driver
        if driver is not None and driver.log.lease is not None and _runs(driver.state, run):
            driver.token.cancel()
        self.wake(session)

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

    def recover(self, session: SessionId, run: RunId) -> None:
        """This run was left behind by a process that has ended: it is gone on with when it finds a place."""
        self._recovered[session] = run

    def wake(self, session: SessionId, *, nested: bool = False) -> None:
        """`nested`: a tool has asked for the work, and may be waiting for it; its own run has a place for both."""
        hosted = self._hosted.get(session)
        if hosted is None or self._closing is not None:
            return
        hosted.nested = hosted.nested or nested
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

    def limit_runs(self, most: int | None) -> None:
        """Drive no more runs at once from now on; those under way go on. InvalidArgument."""
        if most is None:
            self._limits_all, most = False, RECOVERED
        else:
            self._limits_all, most = True, checked(most)
        self._limit.resize(most)

    @property
    def waiting(self) -> tuple[SessionId, ...]:
        """The sessions whose runs wait for a place, the next one first."""
        return self._limit.waiting

    @property
    def driven(self) -> int:
        """How many runs are driven here now."""
        return sum(self.drives(session) for session in self._hosted)

    def started(self, session: SessionId, run: RunId, context: Any = None) -> None:
        """A handle here has started that run. `context`: the value for its function tools."""
        hosted = self._hosted.get(session)
        if hosted is None:
            return
        hosted.run = run
        if context is not None:
            hosted.contexts = {} if hosted.contexts is None else hosted.contexts
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
            try:
                await self._drive_once(session, once)
            except (ToolNotFound, ConfigurationError):
                # A run that is to end needs neither; what else there is to drive is not ours to do.
                state = await load_state(self._parts.store, session)
                if state.run is not None and state.run.interrupt is not None:
                    raise

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
                self._recovered.pop(session, None)
                self._limit.quit(session)
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
            self._limit.leave(session)  # called, and then not able to make use of its place
            if self._hosted.get(session) is hosted and self._closing is None and not hosted.handles:
                self._drop(session, hosted)
            elif self._hosted.get(session) is hosted and self._closing is None:
                listening = self._listen(session, hosted, hosted.failure is not None, hosted.line_s)
                hosted.ear = asyncio.create_task(listening, name=f"listen {session}")

    async def _drive_once(self, session: SessionId, hosted: _Hosted) -> tuple[bool, bool]:
        """Drive one run as far as it goes. Returns whether another process has it, and whether there is more to do."""
        store = self._parts.store
        log = self._logs.pop(session, None) or await Log.open(store, session, self._parts.clock)
        await log.sync()
        hosted.line_s = None
        gate, run = log.state.gate, log.state.run
        hosted.run = None if run is None else run.id
        due, hosted.due = hosted.due, False
        cut, hosted.cut = hosted.cut, None
        is_cut = cut is not None and _runs(log.state, cut)
        if gate.archived or (not gate.drivable and gate.opened and not due and not is_cut):
            hosted.force = False
            self._limit.quit(session)
            self._keep(session, log)
            if gate.phase == "waiting":
                await self._set_alarm(session, hosted, log.state)
            return False, False
        if self._closing is not None:
            return False, False
        if not await self._has_place(session, hosted, log.state, ends=is_cut or hosted.force, due=due):
            hosted.due = due
            self._keep(session, log)
            return False, False
        before = gate
        force, hosted.force = hosted.force, False
        context = None
        driver = Driver(self._parts, log, force=force)
        hosted.driver = driver
        try:
            async with contextlib.AsyncExitStack() as claimed:
                async with self._starting:
                    await claimed.enter_async_context(driver)
                # Only now is it known which run this is: it may have ended, and another one begun, before the claim.
                if any(c is not None and _runs(log.state, c) for c in (cut, hosted.cut)):
                    driver.token.cancel()
                hosted.run = None if log.state.run is None else log.state.run.id
                if hosted.run is not None:
                    # Nor may its value for tools have been given before: whoever starts a run hears first that it is stored.
                    run = log.state.run
                    driver.context = context = (hosted.contexts or {}).pop(hosted.run, hosted.context)
                force, hosted.force = force or hosted.force, False  # asked for while this was claiming: it has it now
                ends = driver.token.cancelled or force
                if not await self._has_place(session, hosted, log.state, ends=ends, due=due):
                    return False, False
                gate = log.state.gate
                if self._limits_all and not (gate.drivable or due or ends):
                    driver.stop()  # it is opened, no more: a run that is started meanwhile has no place yet
                await drive(driver)
        except SessionOwned:
            self._keep(session, log)
            return True, False
        except StaleEpoch:
            return True, False
        finally:
            hosted.driver = None
            hosted.run = None if log.state.run is None else log.state.run.id
            if run is not None and not _runs(log.state, run.id):
                hosted.nested = False
                self._recovered.pop(session, None)
            self._limit.leave(session)
            if hosted.over is not None:
                hosted.over.set_result(None)
                hosted.over = None
            if run is not None and log.state.run is not None and log.state.run.id == run.id and context is not None:
                # Parked, paused or broken off: the same run goes on with it.
                hosted.contexts = {run.id: context, **(hosted.contexts or {})}
        self._keep(session, log)
        self._rested(session, before, log.state)
        if log.state.gate.phase == "waiting":
            await self._set_alarm(session, hosted, log.state)
        return False, log.state.gate.drivable

    async def _has_place(self, session: SessionId, hosted: _Hosted, state: State, *, ends: bool, due: bool) -> bool:
        """Whether the open run may be driven now; if not, it stands in line, and `hosted.line_s` says for how long at most.
        `ends`: it only has to end. `due`: its time, or that of a question, is over."""
        run, gate = state.run, state.gate
        works = run is not None and run.interrupt is None and (gate.drivable or due) and not (gate.restoring or ends)
        if run is None or not works or not (self._limits_all or self._recovered.get(session) == run.id):
            self._limit.quit(session)
            return True
        if hosted.nested or await self._above_drives(state):
            self._limit.quit(session)
            return True
        if self._limit.enter(session, run.started_ms):
            return True
        assert state.agent is not None
        _, spec = await self._parts.store.get_agent(state.agent.name, state.agent.version)
        left_s = time_left_s(state, spec.limits, self._parts.clock)
        if left_s == 0.0:
            self._limit.quit(session)
            return True  # to be ended
        if self._limit.enter(session, run.started_ms):  # called meanwhile
            return True
        hosted.line_s = math.inf if left_s is None else left_s
        return False

    async def _above_drives(self, state: State) -> bool:
        """Whether a session that this one works for is driven here, and may wait for it: its place is for both."""
        while (above := state.parent) is not None:
            if self.drives(above):
                return True
            try:
                state = await load_state(self._parts.store, above)
            except SessionNotFound:
                return False
        return False

    def _call(self, session: SessionId) -> bool:
        """A run that waited has a place; False when it needs none any more."""
        self.wake(session)
        return session in self._hosted and self._closing is None

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
        self._recovered.pop(session, None)
        self._limit.quit(session)
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

    async def _look(self, session: SessionId, hosted: _Hosted) -> tuple[Seq, bool, bool]:
        """The head, whether there is something to drive, and whether somebody drives it. No more than that is kept
        meanwhile, beside which run is open."""
        row = await self._parts.store.session(session)
        hosted.run = row.run
        return row.head, row.run is not None and row.status in ("queued", "running", "retrying"), row.owner is not None

    async def _listen(self, session: SessionId, hosted: _Hosted, failed: bool, line_s: float | None = None) -> None:
        """While the session rests: wake it when something arrived that makes it drivable.

        After a failure it looks again at whatever arrives, and by itself after a while: a disk may have room again. So it
        does while the run waits for a place, for `line_s` seconds at most, unless another process drives it meanwhile.
        """
        store = self._parts.store
        until_s = asyncio.get_running_loop().time() + (math.inf if line_s is None else line_s)
        while True:
            try:
                head, drivable, owned = await self._look(session, hosted)
                if line_s is not None and hosted.run is None:
                    break  # it ended elsewhere; that its driver lets go of it then would be told by no event
                waits = line_s is not None and (drivable or owned)
                if drivable and not failed and not waits:
                    break
                left_s = max(0.0, until_s - asyncio.get_running_loop().time()) if waits and until_s != math.inf else None
                now = await store.wait(session, head, FAILURE_RETRY_S if failed else left_s)
                if failed:
                    await self._look(session, hosted)
                    if now == head or hosted.run is not None:
                        break
                    failed = False
                elif waits:
                    _, _, owned = await self._look(session, hosted)
                    if not owned or hosted.run is None or now == head:
                        break
            except NotFound:
                self._drop(session, hosted)
                return
            except GodwitError:
                await asyncio.sleep(FAILURE_RETRY_S)
        hosted.ear = None
        self.wake(session)


def _runs(state: State, run: RunId) -> bool:
    """Whether that run is open."""
    return state.run is not None and state.run.id == run
