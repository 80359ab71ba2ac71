"""Outside: calls of a lane that workers do in place of this process: which those are, and how they are handed out. What
comes back is `returns.py`'s.

A call goes out once it may run: after its hooks, the rules, the person's approval and the budget. Then the session waits for
it as for any external call. Rules a change must keep: a task is offered before its action is stored (`TaskQueue`); calls
that write the same are done one after the other, in the order of the turn, wherever they are done; a call that was begun
here is never handed out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container

from ..contracts import EventStore
from ..core.errors import SessionNotFound
from ..core.events import ActionOpened
from ..core.ids import ActionId, CallId
from ..core.lanes import ExternalTask, LaneHandler, TaskOffer
from ..core.state import State
from .driver import Driver, Parts
from .lanes import Lanes
from .log import load_state
from .review import Ready, Reviewer


async def handler_of(store: EventStore, lanes: Lanes, state: State, lane: str) -> LaneHandler:
    """Who does this session's calls of the lane: as was said of it, else of a session that it works for, the nearest first,
    since both work on the same files; else as this process has it. LaneNotFound."""
    config = lanes.config(lane)
    while True:
        own = state.lanes.get(lane)
        if own is not None:
            return own
        if state.parent is None:
            break
        try:
            state = await load_state(store, state.parent)
        except SessionNotFound:
            break
    return LaneHandler(config.mode) if config.timeout_s is None else LaneHandler(config.mode, config.timeout_s)


async def hand_out(
    driver: Driver, reviewer: Reviewer, calls: list[Ready], running: list[Ready], kept: Container[CallId]
) -> set[CallId]:
    """Offer those of the calls to workers that workers do, and note it with them (`Ready.opens`). Returns which are left for
    later, since one that is done here has to end before: one that is `running`, one `kept` here, or one that stays.

    `calls`: those that may begin, in their order. Nothing may be staged when this is called.
    """
    offers: list[tuple[Ready, TaskOffer]] = []
    here, later = list(running), set[CallId]()
    staying: Counter[str] = Counter()  # how many calls of a lane stay and have not asked for room yet
    for ready in calls:
        if ready.opens is not None:
            continue
        lane = driver.parts.lanes.lane_of(ready.tool)
        handler = None if ready.call.id in kept else await _outside(driver.parts, driver.state, ready, lane, staying[lane])
        if handler is None or any(ready.clashes(other) for other in here):
            here.append(ready)
            if handler is not None:
                later.add(ready.call.id)
            elif ready.call.id not in kept:
                staying[lane] += 1
            continue
        now = driver.clock.now_ms()
        action = ActionId(driver.ids.new("act"))
        task = ExternalTask(
            action,
            driver.session,
            ready.call.id,
            lane,
            ready.call.name,
            ready.arguments,
            handler.labels,
            repeatable=ready.tool.traits.repeatable,
            created_ms=now,
            expires_ms=now + round(handler.timeout_s * 1000),
        )
        after = tuple(other for before, other in reviewer.outside if before.clashes(ready))
        offer = TaskOffer(task, handler.lease_s, driver.parts.lanes.config(lane).retry, after)
        reviewer.outside.append((ready, action))
        offers.append((ready, offer))
    if not offers:
        return later
    assert driver.parts.task_queue is not None
    await driver.parts.task_queue.offer([offer for _, offer in offers], tenant=driver.state.labels.tenant)
    for ready, offer in offers:
        task = offer.task
        ready.opens = ActionOpened(
            task.id, "external", task.call, task.command_type, task.payload, expires_ms=task.expires_ms, lane=task.lane
        )
    return later


async def _outside(parts: Parts, state: State, ready: Ready, lane: str, staying: int) -> LaneHandler | None:
    """The lane's handler, if workers are to do this call; `staying` others take of the lane's room before it."""
    traits = ready.tool.traits
    if parts.task_queue is None or ready.call.phase != "requested" or traits.bound or traits.held:
        return None
    handler, tenant = await handler_of(parts.store, parts.lanes, state, lane), state.labels.tenant
    match handler.mode:
        case "inside":
            return None
        case "outside":
            return handler
        case "both":
            if parts.lanes.has_room(lane, tenant=tenant, steps=staying + 1):
                return None
            wanted = parts.task_queue.wanted(lane, tool=ready.call.name, labels=handler.labels, tenant=tenant)
            return handler if wanted else None
