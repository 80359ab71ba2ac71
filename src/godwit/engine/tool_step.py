"""The tool step: review, start event, effect, end event, for all calls of a turn side by side.

Order of things for one call: its review (`review.py`), a person if it says so, `tool.started`, the local lease check, the
effect, `tool.finished`. A call that never reaches its effect finishes without having started.

A call found started by a process that died is in doubt: a repeatable one runs again under its key, any other is reported
to the model as of unknown outcome and not touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
from dataclasses import dataclass
from typing import Any, Literal, assert_never

import msgspec

from ..contracts import ToolOutput
from ..core.errors import ActionNotFound, AlreadyAnswered, HeadMoved
from ..core.events import ActionClosed, ActionOpened, EventData, SubagentFinished, ToolAsked, ToolFinished, ToolStarted
from ..core.ids import CallId
from ..core.messages import ResultBlock, Text, ToolStatus
from ..core.state import Call
from .approvals import expired_actions, next_expiry_s, policy_answer
from .aside import Asides
from .budget import new
from .cancel import WITHIN, Cancel
from .checkpoints import before_changes
from .context import models_of
from .delegation import Delegates
from .driver import Driver
from .lanes import HELD, Ticket
from .outside import hand_out
from .questions import abandon, is_asking, let_go, problem_of
from .recall import memories_of
from .results import as_json, cut_off, files_of, keep_files, look_at, modified, outcome, shorten, told, written_by
from .review import Answered, Asks, Ready, Refused, Review, Reviewer, Waits
from .shared_state import CallState, tells
from .tasks import SessionTasks
from .tool_context import Context
from .verification import verify_for_model

ABANDON_S = 1.0
"""How long a call that was cut off may ignore it before it is left to itself."""


async def run_tools(driver: Driver) -> None:
    """Work on the open turn's calls until each has its result or waits for an answer from outside.

    Returns early, with no call under way, when the run was interrupted, paused, or the host shuts down.
    """
    running: dict[asyncio.Task[ToolOutput], _Running] = {}
    tickets: dict[CallId, Ticket] = {}  # of calls that are due and have not begun
    reviewer = await Reviewer.open(driver)
    try:
        while True:
            driver.changed.clear()
            held_up = await _start_ready(driver, reviewer, running, tickets)
            if not running and (_stops(driver) or not (tickets or held_up)):
                return
            changed = asyncio.ensure_future(driver.changes())
            expiry_s = next_expiry_s(driver.state, driver.clock.now_ms())
            await asyncio.wait([*running, changed], timeout=expiry_s, return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
            expired = expired_actions(driver.state, driver.clock.now_ms())
            if expired:
                with contextlib.suppress(AlreadyAnswered, ActionNotFound):  # somebody did, at the last moment
                    await driver.log.commit(*(policy_answer(a) for a in expired))
            for task in [t for t in running if t.done() or running[t].abandoned]:
                await _record(driver, running.pop(task), task, last=not running)
            if driver.token.cancelled:
                await _stop(driver, running)
                return
            turn = driver.state.turn
            if not running and (turn is None or not turn.unfinished):
                return
    finally:
        for ticket in tickets.values():
            ticket.end("cancelled")
        if running:
            await _stop(driver, running, record=False)


@dataclass
class _Running:
    ready: Ready
    token: Cancel
    started: float
    timeout_s: float | None
    ticket: Ticket
    timer: asyncio.TimerHandle | None = None
    timed_out: bool = False
    abandoned: bool = False


async def _start_ready(
    driver: Driver,
    reviewer: Reviewer,
    running: dict[asyncio.Task[ToolOutput], _Running],
    tickets: dict[CallId, Ticket],
) -> bool:
    """Settle what needs no effect, open what needs a person, and begin what may run now and has room in its lane. True when
    a call has to wait for one that a worker does."""
    log, limits = driver.log, driver.spec.limits
    busy = {r.ready.call.id for r in running.values()}
    unkept: str | None = None
    later = set[CallId]()
    if not _stops(driver):
        # A call that will be skipped is not looked at; one that a driver before this had begun is not skipped.
        skip = _skips(driver)
        waiting = [c for c in _unfinished(driver) if c.id not in busy and not (skip and _skippable(c))]
        await reviewer.look_at(waiting)
        due = [r for c in waiting if isinstance(r := reviewer.known(c), Ready)]
        if due and not _stops(driver):
            later = await hand_out(driver, reviewer, due, [r.ready for r in running.values()], tickets)
        if any(_may_change(r) for r in map(reviewer.known, waiting)):
            unkept = await before_changes(driver)
    stop, skip = _stops(driver), _skips(driver)
    outside = reviewer.pending_outside()
    ahead = [r.ready for r in running.values()]
    held_up = False
    begin: list[tuple[Ready, str, Ticket]] = []
    handed = False
    handed_out: list[ActionOpened] = []
    for call in _unfinished(driver):
        if call.id in busy:
            continue
        if skip and _skippable(call):
            skipped = Refused("skipped", "Skipped: the user sent a new message.", "skipped")
            log.stage(*_closing(driver, call, _as_left(driver, call, skipped)))
            continue
        review = reviewer.known(call)
        if stop or review is None:
            continue
        match review:
            case Ready(opens=ActionOpened() as opened):
                log.stage(*new(log.state, review.events), *_answered(driver, call), opened)
                outside.append(review)
                handed_out.append(opened)
            case Ready() if unkept is not None and not review.tool.traits.read_only:
                log.stage(*review.events, *_closing(driver, call, Refused("error", unkept)))
            case Ready() if call.id in later:
                ahead.append(review)
            case Ready() if any(review.clashes(o) for o in outside):
                ahead.append(review)
                held_up = True
            case Ready():
                free = len(running) + len(begin) < limits.max_parallel_tools
                ticket = _ticket(driver, review, tickets) if free and not any(review.clashes(o) for o in ahead) else None
                if ticket is not None and ticket.active:
                    key = call.key or f"{driver.session}/{call.id}"
                    log.stage(*new(log.state, review.events), *_answered(driver, call))
                    goes_on = review.resumed is not None and call.phase == "asking"
                    log.stage(ToolStarted(call.id, call.name, review.arguments, key, review.edited, resumed=goes_on))
                    begin.append((review, key, ticket))
                ahead.append(review)
            case Refused():
                log.stage(*new(log.state, review.events), *_closing(driver, call, review))
            case Answered(status, content, metadata, events):
                said = content or (Text("(no output)"),)
                log.stage(*_answered(driver, call), *events)
                log.stage(ToolFinished(call.id, call.name, status, said, as_json(metadata)))
            case Delegates() if unkept is not None:
                log.stage(*review.before, *_closing(driver, call, Refused("error", unkept)))
            case Delegates():
                log.stage(*new(log.state, review.before), *_answered(driver, call), *review.events)
                handed = True
            case Asks(opened, events):
                log.stage(*events, *_answered(driver, call), opened)
            case Waits(events):
                log.stage(*new(log.state, events))
            case _:
                assert_never(review)
    left = {c.id for c in _unfinished(driver)}
    for gone in [call for call in tickets if call not in left]:
        tickets.pop(gone).end("cancelled")
    await log.commit()
    if handed and driver.parts.subagents is not None:
        driver.parts.subagents.look(driver.session)
    for opened in handed_out:
        assert opened.lane is not None
        driver.parts.lanes.handed_out(opened.action, opened.lane)
    if handed_out and driver.parts.task_queue is not None:
        driver.parts.task_queue.offered()
    for ready, key, ticket in begin:
        driver.guard()
        token = driver.token.child()
        own = ready.tool.traits.timeout_s
        limit_s = own if own is not None else limits.tool_timeout_s
        record = _Running(ready, token, driver.clock.monotonic(), limit_s, ticket)
        inside = contextvars.copy_context()
        inside.run(WITHIN.set, driver.session)
        inside.run(HELD.set, tickets.pop(ready.call.id))
        task = asyncio.create_task(_run(ready, _context(driver, ready, key, token)), context=inside)
        task.add_done_callback(look_at)
        task.add_done_callback(functools.partial(_give_back, ticket))
        if record.timeout_s is not None:
            record.timer = asyncio.get_running_loop().call_later(record.timeout_s, _time_out, record, task, driver)
        running[task] = record
    return held_up


def _ticket(driver: Driver, ready: Ready, tickets: dict[CallId, Ticket]) -> Ticket:
    """The call's place in its lane; it may have to wait for room."""
    found = tickets.get(ready.call.id)
    if found is None:
        lanes, tenant = driver.parts.lanes, driver.state.labels.tenant
        lane = lanes.lane_of(ready.tool)
        found = lanes.ask(lane, session=driver.session, tenant=tenant, on_granted=driver.changed.set)
        tickets[ready.call.id] = found
    return found


def _give_back(ticket: Ticket, task: asyncio.Task[ToolOutput]) -> None:
    """The call has ended, however it did: the next one of its lane may begin."""
    if task.cancelled():
        ticket.end("cancelled")
    else:
        ticket.end("completed" if task.exception() is None and not task.result().is_error else "failed")


def _unfinished(driver: Driver) -> tuple[Call, ...]:
    turn = driver.state.turn
    return turn.unfinished if turn is not None else ()


def _stops(driver: Driver) -> bool:
    """Nothing more is begun: the session was paused or interrupted, the host shuts down, or the run asks something."""
    state = driver.state
    question = None if state.run is None else state.run.question
    asks = question is not None and question.answer is None
    return state.gate.paused or driver.shutdown or driver.token.cancelled or asks


def _may_change(review: Review | None) -> bool:
    """Whether files may be changed by what comes of it; children work in the same folder."""
    return isinstance(review, Delegates) or (
        isinstance(review, Ready) and review.opens is None and not review.tool.traits.read_only
    )


def _skippable(call: Call) -> bool:
    """Whether a message that skips what has not begun skips this."""
    return call.phase == "requested" and call.tasks is None


def _skips(driver: Driver) -> bool:
    return any(q.delivery == "steer" and q.mode == "skip" for q in driver.state.gate.queue)


def _context(driver: Driver, ready: Ready, key: str, token: Cancel) -> Context:
    run = driver.state.run
    assert run is not None
    asides = Asides(
        driver.parts,
        driver.session,
        driver.budget,
        token,
        run=run.id,
        model=models_of(driver.spec, run.model)[0],
        retries=driver.spec.limits.max_model_retries,
        tenant=driver.state.labels.tenant,
        recorded=driver.log.sync,
    )
    return Context(
        driver.parts.store,
        session=driver.session,
        run=run.id,
        call=ready.call.id,
        key=key,
        token=token,
        workspace=driver.workspace,
        labels=driver.state.labels,
        context=driver.context,
        grace_s=driver.grace_s,
        after=driver.log.seq,
        verify=lambda: verify_for_model(driver, token, ready.asks.extend),
        asides=asides,
        tasks=SessionTasks(driver.parts, driver.session, for_model=True),
        memory=memories_of(driver),
        verdict=lambda arguments: driver.judge(ready.tool, arguments).verdict,
        conversation=lambda: driver.log.transcript.from_outside,
        state=lambda: driver.state,
        resumed=ready.resumed,
        shared=CallState(
            driver.parts.store,
            driver.session,
            driver.clock,
            ready.call.id,
            tell=lambda: tells(driver.tools) or driver.state.shared_told,
            seen=driver.log.sync,
            epoch=lambda: None if driver.log.lease is None else driver.log.lease.epoch,
        ),
    )


async def _run(ready: Ready, context: Context) -> ToolOutput:
    """The call's effect; whatever the tool raises, and whenever, is raised within its own task."""
    return await ready.tool.run(ready.arguments, context)


def _time_out(record: _Running, task: asyncio.Task[ToolOutput], driver: Driver) -> None:
    """Tell the call to end; cut it off when the grace is over; then leave it to itself."""
    loop = asyncio.get_running_loop()

    def cut_off() -> None:
        task.cancel()
        record.timer = loop.call_later(ABANDON_S, leave)

    def leave() -> None:
        record.abandoned = True
        record.ticket.end("timed_out")
        driver.changed.set()

    record.timed_out = True
    record.token.cancel()
    record.timer = loop.call_later(driver.parts.grace_s + 1.0, cut_off)


def _as_left(driver: Driver, call: Call, refused: Refused) -> Refused:
    """The same for a call that nobody goes on with; whether a worker that was given it has begun is not known here."""
    action = next((a for a in driver.state.gate.actions if a.id == call.action), None)
    if action is None or action.kind != "external" or action.lane is None:
        return refused
    driver.parts.lanes.came_back(action.id, "cancelled")
    why = refused.text.removeprefix("Not run: ").removesuffix(".")
    text = f"{why[0].upper()}{why[1:]}. A worker had been given this call: it may or may not have taken effect."
    return Refused("error", text, refused.reason)


def _answered(driver: Driver, call: Call) -> list[EventData]:
    """Close the call's action, if one is open."""
    if call.action is not None and any(a.id == call.action for a in driver.state.gate.actions):
        return [ActionClosed(call.action, "skipped" if call.phase == "asking" and call.answer is None else "answered")]
    return []


def _closing(driver: Driver, call: Call, refused: Refused) -> list[EventData]:
    """The call's result without an effect, and the end of its action."""
    events: list[EventData] = []
    if call.action is not None and any(a.id == call.action for a in driver.state.gate.actions):
        events.append(ActionClosed(call.action, refused.reason))
    events.append(ToolFinished(call.id, call.name, refused.status, (Text(refused.text),)))
    return events


async def _record(driver: Driver, done: _Running, task: asyncio.Task[ToolOutput], *, last: bool = False) -> None:
    """Log a call's result. The turn's last one travels with what follows it, which is decided without waiting."""
    if done.timer is not None:
        done.timer.cancel()
    ready, call = done.ready, done.ready.call
    took = round((driver.clock.monotonic() - done.started) * 1000)
    if not done.timed_out and _asks(task):
        output, current = task.result(), next((c for c in _unfinished(driver) if c.id == call.id), call)
        problem = problem_of(current, output)
        if problem is None:
            driver.log.stage(ToolAsked(call.id, call.name, output.questions, output.state))
            await driver.log.commit()
            return
        await let_go(ready.tool, output.state)
        task = asyncio.ensure_future(_failed(f"The tool asks what cannot be asked: {problem}."))
        await asyncio.wait([task])
    status, content, metadata = outcome(task, timed_out_s=done.timeout_s if done.timed_out else None)
    notes = []
    if ready.edited or ready.changed_by is not None:
        shown = msgspec.json.encode(ready.arguments).decode()
        if ready.edited:
            notes.append(f"[The user changed the arguments before approving. The call was run with: {shown}]")
        else:
            notes.append(f"[{ready.changed_by} changed the arguments. The call was run with: {shown}]")
    if call.repeat == driver.spec.limits.max_repeated_calls and call.repeat > 1:
        notes.append(f"[Warning: this is call {call.repeat} in a row with the same arguments. The next will be blocked.]")
    notes += ready.notes
    # Before the result is stored: a hook may take out of it what must not be kept.
    content, said = await _after_tool(driver, ready, status, content, metadata, took)
    notes += said
    kept, content = await keep_files(driver.parts.blobs, driver.session, call.id, content, files_of(task))
    artifact, content = await shorten(driver.parts.blobs, driver.session, call.id, content)
    if notes:
        content = (Text("\n".join(notes) + "\n"), *content)
    if not content:
        content = (Text("(no output)"),)
    events: list[EventData] = [*kept, *([artifact] if artifact is not None else [])]
    if artifact is not None:
        metadata = {**metadata, "artifact": artifact.ref}
    finished = ToolFinished(call.id, call.name, status, content, as_json(metadata), took)
    if status == "ok" and task.result().goal is not None:
        await _record_goal(driver, events, task.result(), finished)
    else:
        if status == "ok":
            events += written_by(driver.state, task.result(), call.id)
        driver.log.stage(*events, finished)
    if not _stops(driver):
        driver.log.stage(*new(driver.state, ready.asks))
    turn = driver.state.turn
    if not last or turn is None or turn.unfinished:
        await driver.log.commit()


def _asks(task: asyncio.Task[ToolOutput]) -> bool:
    """Whether the call has stopped to ask."""
    return task.done() and not task.cancelled() and task.exception() is None and is_asking(task.result())


async def _failed(text: str) -> ToolOutput:
    return ToolOutput((Text(text),), is_error=True)


async def _record_goal(driver: Driver, events: list[EventData], output: ToolOutput, finished: ToolFinished) -> None:
    """Log a call that ends the goal, for the log as it was read: a person may take it back or set another at the same time,
    and what is said of a goal holds for that one only."""
    await driver.log.commit()
    while True:
        seen = driver.state.seq
        try:
            await driver.log.commit(*events, *written_by(driver.state, output, finished.call), finished, seen=seen)
        except HeadMoved:
            await driver.log.sync()
        else:
            return


async def _after_tool(
    driver: Driver,
    ready: Ready,
    status: ToolStatus,
    content: tuple[ResultBlock, ...],
    metadata: dict[str, Any],
    duration_ms: int,
) -> tuple[tuple[ResultBlock, ...], list[str]]:
    """What the hooks make of a result: its text in place of the call's, and notes for the model."""

    if not driver.hooks.wants("after_tool"):
        return content, []
    call = ready.call
    payload = told(call.name, call.id, ready.arguments, status, content, metadata, duration_ms, "model")
    result = await driver.ask_hooks("after_tool", lambda: payload)
    return modified(content, payload, result.modified), [result.note] if result.note else []


async def _stop(driver: Driver, running: dict[asyncio.Task[ToolOutput], _Running], *, record: bool = True) -> None:
    """End the calls under way: their tokens first, the tasks themselves when the grace is over.

    An interrupt by force that comes during the grace ends it.
    """
    for done in running.values():
        done.token.cancel()
        if done.timer is not None:
            done.timer.cancel()
    started = driver.clock.monotonic()
    while any(not t.done() for t in running):
        left_s = started + driver.grace_s() - driver.clock.monotonic()
        if left_s <= 0:
            break
        driver.changed.clear()
        changed = asyncio.ensure_future(driver.changes())
        await asyncio.wait([*running, changed], timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        changed.cancel()
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(list(running), timeout=ABANDON_S)
    if record:
        for task, done in running.items():
            call = done.ready.call
            if _asks(task):
                await let_go(done.ready.tool, task.result().state)
            if task.done():
                driver.log.stage(ToolFinished(call.id, call.name, "error", cut_off(task), {"interrupted": True}))
            else:
                text = "[interrupted, but it did not stop: its outcome is unknown]"
                driver.log.stage(ToolFinished(call.id, call.name, "unknown", (Text(text),), {"interrupted": True}))
    running.clear()


async def close_calls(driver: Driver, why: Literal["interrupted", "ended"]) -> None:
    """Give every call of the open turn that has none a result, and close its action: the run ends."""
    turn = driver.state.turn
    if turn is None:
        return
    for task in driver.state.gate.tasks:
        if task.action is not None:
            driver.log.stage(SubagentFinished(task.id, task.session, "cancelled"))
    for call in turn.unfinished:
        if call.tasks is not None:
            stopped = Refused("error", "[interrupted: its subagents were stopped]", "interrupted")
            driver.log.stage(*_closing(driver, call, stopped))
        elif call.phase == "asking":
            await abandon(driver, call, driver.tool_at_hand(call.name))
            stopped = Refused("error", "[interrupted while it waited for an answer]", "interrupted")
            driver.log.stage(*_closing(driver, call, stopped))
        elif call.phase == "started":
            text = "The process died while this call was under way. Its outcome is unknown."
            driver.log.stage(*_closing(driver, call, Refused("unknown", text, "interrupted")))
        else:
            text = "Not run: the user interrupted." if why == "interrupted" else "Not run: the run ended."
            driver.log.stage(*_closing(driver, call, _as_left(driver, call, Refused("skipped", text, "interrupted"))))
