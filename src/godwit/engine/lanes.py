"""Lanes: who waits for room, and who goes next. What lanes are, as data, stands in `core.lanes`.

Within a lane whoever came first goes first, whose tenant has room; between lanes that share room the lower priority, and
waiting makes it lower still. Nothing is looked at by the clock: room is given when it comes free, and one timer waits for
the next step that a rate allows. Rules a change must keep: when a call here has returned, nobody waits who could go; a step
asked for from within another never waits for room that what it is in could hold; a rate is only used up by a step that
begins; what waits to be tried again counts as work that is left.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..contracts import Tool
from ..core.errors import LaneNotFound, LanesClosed, TaskTimedOut
from ..core.ids import ActionId, SessionId
from ..core.lanes import (
    Lane,
    LaneConfig,
    LaneEvent,
    LaneSettings,
    MetricsSnapshot,
    QueueStats,
)
from ..core.mcp import rule_of, server_and_tool
from .lane_state import LaneState
from .ticket import HELD, Outcome, Ticket, holder, outcome_of

logger = logging.getLogger("godwit")

T = TypeVar("T")
Listener = Callable[[LaneEvent], None]
_MOST_OUTSIDE = 100_000


class Lanes:
    """The lanes of one process. Lives on one event loop. `clock`: seconds that only grow."""

    def __init__(self, settings: LaneSettings | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings or LaneSettings()
        self._clock = clock
        self._lanes = {config.name: LaneState(config, clock()) for config in self.settings.all()}
        self._by_tool = {tool: c.name for c in self.settings.lanes for tool in c.tools}
        self._highest = min(lane.priority for lane in self._lanes.values())
        self._room = self.settings.concurrency
        self._shared = 0  # steps that take of what all lanes share
        self._waiting = 0
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        self._closing = self._closed = False
        self._listeners: list[Listener] = []
        self._draining: list[asyncio.Future[None]] = []
        self._outside: dict[ActionId, tuple[LaneState, float]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._lanes)

    def config(self, lane: str) -> LaneConfig:
        """LaneNotFound."""
        return self._find(lane).config

    def lane_of(self, tool: Tool) -> str:
        """The lane of this tool's calls: the one that names it, `control` for one that works the engine (such as waiting for
        children, whose calls must not lack the room it would hold), else by the kind of work it is."""
        name = tool.definition.name
        of = server_and_tool(name)
        own = self._by_tool.get(name) or (None if of is None else self._by_tool.get(rule_of(of[0])))
        return own or ("control" if tool.traits.bound else lane_of(tool))

    # --- a step's way -----------------------------------------------------------------------------------------------

    def ask(
        self,
        lane: str,
        *,
        session: SessionId | None = None,
        tenant: str | None = None,
        on_granted: Callable[[], None] | None = None,
    ) -> Ticket:
        """Ask for room. The ticket has it at once, or waits; `on_granted` is called, and must be quick, when that changes.

        Within another step (`HELD`) a lane of lower or the same priority number is open whatever its limits, and one of a
        higher number is only held to its own: otherwise steps could wait for each other. LaneNotFound, LanesClosed.
        """
        found = self._open_lane(lane)
        found.submitted += 1
        return self._ask(found, session, tenant, on_granted)

    def _open_lane(self, lane: str) -> LaneState:
        """The lane, if it takes what is new; what is within a step belongs to what is there. LanesClosed, LaneNotFound."""
        if self._closed or (self._closing and holder() is None):
            raise LanesClosed()
        return self._find(lane)

    def _ask(
        self, found: LaneState, session: SessionId | None, tenant: str | None, on_granted: Callable[[], None] | None = None
    ) -> Ticket:
        if self._closed:
            raise LanesClosed()
        now_s = self._clock()
        held = holder()
        ticket = Ticket(found.config.name, next(self._order), session, tenant, held is None, now_s, self._end)
        if held is not None and found.priority <= self._lanes[held.lane].priority:
            self._grant(ticket, now_s)
            return ticket
        if not (found.waiting if held is None else found.within) and self._fits(found, ticket, now_s):
            self._grant(ticket, now_s)
            return ticket
        ticket.on_granted = on_granted
        found.put(ticket)
        self._waiting += 1
        self._give()
        # Whoever finds room at once is not called back.
        if ticket.state == "waiting" and self._listeners:
            self._tell_pressure(found)
        return ticket

    async def submit(
        self,
        lane: str,
        work: Callable[[], Awaitable[T]],
        *,
        session: SessionId | None = None,
        tenant: str | None = None,
        repeatable: bool = False,
        timeout_s: float | None = None,
    ) -> T:
        """Do `work` when it has room, and return what it returns. `timeout_s`: for each try, in place of the lane's.

        It is tried again, as the lane's retry policy says, only where it is `repeatable`. Raises what its last try raised;
        TaskTimedOut, LaneNotFound, LanesClosed.
        """
        found = self._open_lane(lane)
        found.submitted += 1
        limit_s = timeout_s if timeout_s is not None else found.config.timeout_s
        failures = 0
        while True:
            ticket = self._ask(found, session, tenant)
            if failures:
                found.retried += 1
            if not await ticket.granted():
                raise LanesClosed()
            outer = HELD.get()
            HELD.set(ticket)
            try:
                if limit_s is None:
                    result = await work()
                else:
                    result = await self._in_time(work, lane, limit_s)
            except Exception as error:
                failures += 1
                pause_ms = found.config.retry.pause_ms(failures, random.random()) if repeatable else None
                if pause_ms is None or self._closed:
                    ticket.end(outcome_of(error))
                    found.dead += 1
                    self._tell(LaneEvent("dead", lane, found.waiting, found.active, f"{type(error).__name__}: {error}"))
                    raise
                # It counts as left to do before it gives its room back: a drain must not end in between.
                found.retrying += 1
                ticket.end(outcome_of(error))
                try:
                    await asyncio.sleep(pause_ms / 1000)
                except BaseException:
                    found.retrying -= 1
                    self._tell_idle(found)
                    raise
                # It asks for room before anything else can happen, so a drain does not end in between.
                found.retrying -= 1
                if self._closed:
                    self._tell_idle(found)
                    raise LanesClosed() from error
            except BaseException:
                ticket.end("cancelled")
                raise
            else:
                ticket.end()
                return result
            finally:
                HELD.set(outer)

    async def _in_time(self, work: Callable[[], Awaitable[T]], lane: str, limit_s: float) -> T:
        try:
            async with asyncio.timeout(limit_s) as scope:
                return await work()
        except TimeoutError:
            if not scope.expired():
                raise
            raise TaskTimedOut(f"a task of lane {lane!r} took longer than {limit_s} s", lane=lane) from None

    # --- what is done outside -------------------------------------------------------------------------------------

    def handed_out(self, action: ActionId, lane: str) -> None:
        """A call of the lane is done outside: it counts as submitted until it comes back."""
        found = self._lanes.get(lane)
        if found is not None and action not in self._outside:
            found.submitted += 1
            self._outside[action] = (found, self._clock())
            if len(self._outside) > _MOST_OUTSIDE:  # those that other processes went on with are not heard of again
                del self._outside[next(iter(self._outside))]

    def came_back(self, action: ActionId, outcome: Outcome, *, retried: int = 0, dead: bool = False) -> None:
        """What became of one that this process has handed out; it counts once."""
        known = self._outside.pop(action, None)
        if known is not None:
            lane, since_s = known
            lane.count(outcome)
            lane.run.add(self._clock() - since_s)
            lane.retried += retried
            lane.dead += dead

    # --- what is known ----------------------------------------------------------------------------------------------

    def stats(self, session: SessionId | None = None) -> QueueStats:
        """How much waits and runs in each lane; of one session, where one is given."""
        return QueueStats.of(lane.stats(session) for lane in self._lanes.values())

    def metrics(self) -> MetricsSnapshot:
        return MetricsSnapshot({name: lane.metrics() for name, lane in self._lanes.items()})

    def has_room(self, lane: str, *, tenant: str | None = None, steps: int = 1) -> bool:
        """Whether so many steps would begin at once."""
        found, now_s = self._find(lane), self._clock()
        return not found.waiting and self._fits(found, Ticket(lane, 0, None, tenant, True, now_s, self._end), now_s, steps)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tell it of pressure, idleness and tasks that failed for good; returns what takes it back. It must be quick."""
        self._listeners.append(listener)

        def take_back() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return take_back

    @property
    def busy(self) -> int:
        """What waits, runs, or waits to be tried again."""
        return sum(lane.waiting + lane.active + lane.retrying for lane in self._lanes.values())

    # --- ending -----------------------------------------------------------------------------------------------------

    async def drain(self, timeout_s: float | None = None) -> bool:
        """Wait until nothing waits, runs, or waits to be tried again. False when that took longer."""
        until_s = None if timeout_s is None else self._clock() + timeout_s
        while self.busy:
            left_s = None if until_s is None else until_s - self._clock()
            if left_s is not None and left_s <= 0:
                return False
            drained: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._draining.append(drained)
            try:
                await asyncio.wait([drained], timeout=left_s)
            finally:
                self._draining.remove(drained)
        return True

    def close(self) -> None:
        """Take no further step. What waits is turned away (`granted` says False); what runs may end."""
        self._closing = self._closed = True
        for lane in self._lanes.values():
            for ticket in lane.all_waiting():
                on_granted = ticket.on_granted
                self._end(ticket, "cancelled")
                if on_granted is not None:
                    on_granted()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def shutdown(self, timeout_s: float | None = None) -> bool:
        """Refuse what is new, and wait for what is there, tries to come included. False when that took longer; what is left
        then is turned away."""
        self._closing = True
        drained = await self.drain(timeout_s)
        self.close()
        return drained

    # --- who goes next ----------------------------------------------------------------------------------------------

    def _find(self, lane: str) -> LaneState:
        try:
            return self._lanes[lane]
        except KeyError:
            known = ", ".join(self._lanes)
            raise LaneNotFound(f"there is no lane {lane!r}. Lanes: {known}", lane=lane) from None

    def _fits(self, lane: LaneState, ticket: Ticket, now_s: float, steps: int = 1) -> bool:
        """Whether it, or so many like it, may begin."""
        config = lane.config
        if config.concurrency is not None and lane.active + steps > config.concurrency:
            return False
        if ticket.shares and self._room is not None and self._shared + steps > self._room:
            return False
        if config.per_tenant is not None and lane.tenants.get(ticket.tenant, 0) + steps > config.per_tenant:
            return False
        return lane.bucket is None or lane.bucket.has(steps, now_s)

    def _grant(self, ticket: Ticket, now_s: float) -> None:
        lane = self._lanes[ticket.lane]
        ticket.state = "active"
        ticket.began_s = now_s
        lane.active += 1
        lane.running.add(ticket)
        if ticket.shares:
            self._shared += 1
        if lane.config.per_tenant is not None:
            lane.tenants[ticket.tenant] = lane.tenants.get(ticket.tenant, 0) + 1
        if lane.bucket is not None:
            lane.bucket.take(now_s)
        lane.wait.add(now_s - ticket.asked_s)

    def _give(self) -> None:
        """Give room to all who can have it, the first first."""
        while self._waiting:
            now_s = self._clock()
            best: Ticket | None = None
            best_key = (0, 0)
            soonest_s: float | None = None
            for lane in self._lanes.values():
                if not lane.waiting:
                    continue
                if lane.bucket is not None and not lane.bucket.has(1, now_s):
                    left_s = lane.bucket.left_s(now_s)
                    soonest_s = left_s if soonest_s is None else min(soonest_s, left_s)
                    continue
                ticket = None
                if lane.within:
                    ticket = next((t for t in lane.within if self._fits(lane, t, now_s)), None)
                if ticket is not None:
                    # Before all others: what it is within holds room that they may wait for.
                    key = (self._highest - 1, ticket.order)
                else:
                    ticket = lane.head()
                    if ticket is None or not self._fits(lane, ticket, now_s):
                        continue
                    key = (self._rank(ticket, now_s), ticket.order)
                if best is None or key < best_key:
                    best, best_key = ticket, key
            if best is None:
                if soonest_s is not None:
                    self._arm(soonest_s)
                return
            self._lanes[best.lane].drop(best)
            self._waiting -= 1
            self._grant(best, now_s)
            if best.on_granted is not None:
                best.on_granted()

    def _rank(self, ticket: Ticket, now_s: float) -> int:
        priority, ageing_s = self._lanes[ticket.lane].priority, self.settings.ageing_s
        if ageing_s is None:
            return priority
        return max(self._highest, priority - int((now_s - ticket.asked_s) / ageing_s))

    def _arm(self, left_s: float) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time() + left_s
        if self._timer is not None:
            if self._due_s <= due_s:
                return
            self._timer.cancel()
        self._due_s = due_s
        self._timer = loop.call_at(due_s, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._give()

    def _end(self, ticket: Ticket, outcome: Outcome) -> None:
        lane = self._lanes[ticket.lane]
        if ticket.state == "ended":
            return
        if ticket.state == "waiting":
            ticket.state = "ended"
            lane.drop(ticket)
            self._waiting -= 1
            lane.cancelled += 1
        else:
            ticket.state = "ended"
            lane.active -= 1
            lane.running.discard(ticket)
            if ticket.shares:
                self._shared -= 1
            if lane.config.per_tenant is not None:
                lane.freed(ticket.tenant)
            lane.run.add(self._clock() - ticket.began_s)
            lane.count(outcome)
        if self._waiting:
            self._give()
        self._tell_idle(lane)

    # --- telling ----------------------------------------------------------------------------------------------------

    def _tell_pressure(self, lane: LaneState) -> None:
        threshold = lane.config.pressure
        if threshold is not None and lane.waiting >= threshold and not lane.pressed:
            lane.pressed = True
            self._tell(LaneEvent("pressure", lane.config.name, lane.waiting, lane.active))

    def _tell_idle(self, lane: LaneState) -> None:
        """Something of the lane has ended: it may have been the last."""
        if self._listeners and not (lane.waiting or lane.active or lane.retrying):
            self._tell(LaneEvent("idle", lane.config.name))
        if self._draining:
            self._tell_drained()

    def _tell(self, event: LaneEvent) -> None:
        for listener in list(self._listeners):
            try:
                listener(event)
            except Exception:
                # It may be anybody's code, and whoever comes and goes here has nothing to do with it.
                logger.exception("a listener of lanes failed at %s of lane %s", event.kind, event.lane)

    def _tell_drained(self) -> None:
        if not self.busy:
            for drained in self._draining:
                if not drained.done():
                    drained.set_result(None)


def lane_of(tool: Tool) -> Lane:
    """The kind of work a call of this tool is: `query` when it only reads, else `execute` (seed 001)."""
    return "query" if tool.traits.read_only else "execute"


__all__ = ["HELD", "Lanes", "Listener", "Ticket", "lane_of"]
