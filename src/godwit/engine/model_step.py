"""The model step: start event, the answer as it streams, end event; and what happens when the provider fails.

A failure before anything of the answer was seen is retried, then the next model is asked. Once something was seen, it is
kept and the run fails: asking again would show people an answer and take it back. The wait between two tries is an event,
so another process goes on where this one died.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence, Set
from itertools import count

import msgspec

from ..contracts import (
    Model,
    ModelAnswer,
    ModelRequest,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
)
from ..core.errors import ContextTooLong, Fault, GodwitError, ModelError, RateLimited, StreamBroken
from ..core.events import AgentMessage, Delta, DeltaKind, ModelStarted, RunClaimed, RunRetrying, UserMessage
from ..core.hooks import HookResult
from ..core.ids import CallId, InputId, MessageId
from ..core.messages import AgentBlock, Assistant, StopReason, Text, Thinking, ToolCall, Usage, UserBlock
from ..core.state import Run, Turn
from .budget import new
from .context import adjustments, build_request, info_of, models_of
from .driver import Driver
from .estimate import estimated_tokens
from .lanes import Ticket
from .points import after_model, before_model, model_failed

RETRY_FIRST_S = 1.0
RETRY_LONGEST_S = 30.0
RETRY_AFTER_LONGEST_S = 300.0
"""A provider that asks for a longer wait is given up for now: the next model is asked, or the run fails and says so."""
LOOKED_AT = 64
"""Inputs that are looked for in the log to estimate a request; what waits longer counts as nothing."""
CLOSING_S = 5.0
"""How long a stream that has given its answer may take to close."""


class _Partial:
    """The answer as far as it has come, block by block."""

    def __init__(self) -> None:
        self.blocks: dict[int, tuple[type[Text] | type[Thinking], list[str]]] = {}
        self.sizes: dict[tuple[str, int], int] = {}
        self.seen = False
        self.answer: ModelAnswer | None = None
        self.closed = False
        self.on_answer: Callable[[], None] = lambda: None

    def content(self) -> tuple[AgentBlock, ...]:
        """Text and thinking that arrived. Calls are left out: cut short, none of them may run."""
        return tuple(kind("".join(pieces)) for _, (kind, pieces) in sorted(self.blocks.items()) if any(pieces))

    def grow(self, kind: DeltaKind, block: int, text: str) -> int:
        """Note the piece; returns the characters before it."""
        offset = self.sizes.get((kind, block), 0)
        self.sizes[(kind, block)] = offset + len(text)
        if kind in ("text", "thinking"):
            self.blocks.setdefault(block, (Text if kind == "text" else Thinking, []))[1].append(text)
        return offset


async def ask_model(driver: Driver) -> Fault | None:
    """Ask for the open turn's answer and log it. Returns why the run must fail, or None.

    On cancellation what had arrived is logged as an incomplete answer; with nothing seen, nothing is.
    """
    log, state = driver.log, driver.state
    run, turn = state.run, state.turn
    assert run is not None
    assert turn is not None
    if turn.asked is not None:
        driver.show(Delta(driver.session, "discard", turn.asked, after=log.seq))
    candidates = models_of(driver.spec, run.model)
    name = run.retry_model or candidates[0]
    passed = await before_model(driver, run, turn, name)
    if not isinstance(passed, HookResult):
        return passed
    ticket = await _room(driver)
    if ticket is None:
        return None
    try:
        return await _ask(driver, run, turn, name, candidates, ticket)
    finally:
        ticket.end("cancelled")


async def _room(driver: Driver) -> Ticket | None:
    """Room in the lane of models. None when something arrived first that stops the work, which is then decided on."""
    lanes, tenant = driver.parts.lanes, driver.state.labels.tenant
    ticket = lanes.ask("generate", session=driver.session, tenant=tenant, on_granted=driver.changed.set)
    try:
        while ticket.waiting and not (driver.token.cancelled or driver.shutdown or driver.state.gate.paused):
            driver.changed.clear()
            await driver.changes()
    except BaseException:
        ticket.end("cancelled")
        raise
    if not ticket.active:
        ticket.end("cancelled")
        return None
    return ticket


async def _ask(driver: Driver, run: Run, turn: Turn, name: str, candidates: tuple[str, ...], ticket: Ticket) -> Fault | None:
    """Ask, now that there is room; give the room back as soon as the answer is there."""
    log = driver.log
    message_id = MessageId(driver.ids.new("msg"))
    info = await info_of(driver.parts.models, name)
    await log.commit(ModelStarted(message_id, name, adjustments(info, driver.spec, run, log.transcript)))
    driver.budget.granted = False
    partial = _Partial()
    error: GodwitError | None = None
    try:
        model = driver.parts.models.resolve(name)
        driver.deferral.telling(tools := driver.told_tools())
        request = build_request(
            spec=driver.spec,
            run=run,
            turn=turn,
            transcript=log.transcript,
            tools=tools,
            session=driver.session,
            message=message_id,
            info=info,
        )
        await _stream(driver, model, request, partial)
    except GodwitError as failure:
        error = failure
    except (KeyboardInterrupt, SystemExit):
        raise
    except asyncio.CancelledError:
        raise
    except BaseException as failure:
        # A model adapter may be anybody's code; whatever it raises ends this step and not the driver.
        error = ModelError(f"{type(failure).__name__}: {failure}")
    ticket.end("failed" if error is not None else "completed" if partial.answer is not None else "cancelled")
    answer = partial.answer
    if answer is not None:
        usage = driver.budget.counted(name, answer.usage, lambda: _estimate(driver, ()), answer.content)
        message = _complete(message_id, name, answer, usage, lambda: driver.call_ids.of(log.transcript.entries))
        log.stage(AgentMessage(message))
        await after_model(driver, turn, message)
        await _tell_guards(driver, message)
        return None
    cut: StopReason = "interrupted" if error is None else "error"
    if partial.seen and driver.shutdown and error is None:
        # The host stops, not the user: the answer is asked for again by whoever goes on.
        driver.show(Delta(driver.session, "discard", message_id, after=log.seq))
        return None
    if partial.seen:
        content = partial.content()
        usage = driver.budget.counted(name, Usage(requests=1), lambda: _estimate(driver, ()), content)
        log.stage(AgentMessage(Assistant(message_id, content, name, cut, complete=False, usage=usage)))
        return None if error is None else error.fault()
    if error is None:
        return None
    if isinstance(error, ContextTooLong) and not turn.made_room and driver.room and await driver.room.after_overflow():
        return None  # it is asked again, with less
    return await _retry(driver, error, name, candidates)


async def _tell_guards(driver: Driver, message: Assistant) -> None:
    """Whoever guards the budget counts the answer, once it is stored."""
    if not driver.budget.guarded:
        return
    await driver.log.commit()
    decision = await driver.budget.after_model(message.usage)
    if not driver.token.cancelled:
        driver.log.stage(*new(driver.state, driver.budget.recorded(decision)))


async def estimated_request(driver: Driver, inputs: tuple[InputId, ...]) -> int:
    """Tokens of the request that is due, roughly, once these queued inputs are delivered."""
    blocks: list[UserBlock] = []
    if inputs:
        events = await driver.parts.store.read(driver.session, types=("user.message",), newest_first=True, limit=LOOKED_AT)
        for event in events:
            if isinstance(event.data, UserMessage) and event.data.id in inputs:
                blocks += event.data.content
    return _estimate(driver, blocks)


def _estimate(driver: Driver, blocks: Sequence[UserBlock]) -> int:
    def fixed() -> int:
        tools = driver.told_tools()
        return len(driver.spec.instructions) + sum(len(msgspec.json.encode(t.definition)) for t in tools)

    transcript = driver.log.transcript
    return estimated_tokens([e.message for e in transcript.entries], blocks, fixed, transcript.older)


async def _stream(driver: Driver, model: Model, request: ModelRequest, partial: _Partial) -> None:
    """Consume the stream, showing deltas. Returns early when the driver's token is cancelled.

    A stream that does not heed its cancellation, or whose closing hangs, is left to itself after a while: what it still
    says reaches nobody.
    """
    task = asyncio.ensure_future(_consume(driver, model.stream(request), request.message, partial))
    task.add_done_callback(_look_at)
    moved = asyncio.get_running_loop().create_future()

    def move() -> None:
        if not moved.done():
            moved.set_result(None)

    partial.on_answer = move
    take_back = driver.token.on_cancel(move)
    try:
        await asyncio.wait([task, moved], return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and partial.answer is None:
            task.cancel()
        if not task.done():
            await asyncio.wait([task], timeout=driver.grace_s() if partial.answer is None else CLOSING_S)
        if not task.done() or partial.answer is not None:
            return
        if task.cancelled():
            if not driver.token.cancelled:
                raise ModelError(f"{model.name} cancelled itself", model=model.name)
            return
        task.result()
        raise StreamBroken(f"the stream of {model.name} ended without an answer", model=model.name)
    finally:
        take_back()
        partial.closed = True
        task.cancel()


def _look_at(task: asyncio.Future[None]) -> None:
    """Take note of how a stream that was left to itself ended, so that nobody complains of it."""
    if not task.cancelled():
        task.exception()


async def _consume(driver: Driver, stream: AsyncIterator[object], message: MessageId, partial: _Partial) -> None:
    session, after = driver.session, driver.log.seq
    show, grow = driver.show, partial.grow
    here: set[CallId] = set()
    try:
        async for chunk in stream:
            if partial.closed:
                return
            match chunk:
                case TextDelta(block, text):
                    partial.seen = partial.seen or bool(text)
                    show(Delta(session, "text", message, grow("text", block, text), text, block, after=after))
                case ThinkingDelta(block, text):
                    partial.seen = partial.seen or bool(text)
                    show(Delta(session, "thinking", message, grow("thinking", block, text), text, block, after=after))
                case ToolCallDelta(block, text, given, name):
                    partial.seen = True
                    call = None if given is None else _known_id(driver, given, here)
                    offset = grow("tool_arguments", block, text)
                    show(Delta(session, "tool_arguments", message, offset, text, block, name, after, call))
                case ModelAnswer():
                    partial.answer = chunk
                    partial.on_answer()
                    return
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()


def _known_id(driver: Driver, given: str, here: set[CallId]) -> CallId | None:
    """The id that a call will have, where that is the one its model gives it (see `_complete`)."""
    call = CallId(given)
    if not given or call in here or call in driver.call_ids.of(driver.log.transcript.entries):
        return None
    here.add(call)
    return call


def _complete(
    message_id: MessageId, name: str, answer: ModelAnswer, usage: Usage, known: Callable[[], Set[CallId]]
) -> Assistant:
    """The answer as a message. Calls whose ids are `known` or repeat within it get distinct ones: results go by id, and some
    providers begin to count anew with each answer while others refuse an id they have seen."""
    calls = any(isinstance(block, ToolCall) for block in answer.content)
    content: list[AgentBlock] = []
    before: Set[CallId] = known() if calls else frozenset()
    here: set[CallId] = set()
    for place, block in enumerate(answer.content):
        if isinstance(block, ToolCall):
            if not block.id or block.id in before or block.id in here:
                names = (CallId(f"{block.id or message_id}-{n}") for n in count(place))
                free = next(name for name in names if name not in before and name not in here)
                block = msgspec.structs.replace(block, id=free)
            here.add(block.id)
        content.append(block)
    return Assistant(
        message_id, tuple(content), answer.model or name, answer.stop, usage=usage, response_id=answer.response_id
    )


async def _retry(driver: Driver, error: GodwitError, name: str, candidates: tuple[str, ...]) -> Fault | None:
    """Plan the next try, or say that there is none."""
    run = driver.state.run
    assert run is not None
    asked_s = error.retry_after_s if isinstance(error, ModelError) else None
    retryable = isinstance(error, ModelError) and error.retryable and (asked_s or 0) <= RETRY_AFTER_LONGEST_S
    if retryable and run.retries < driver.spec.limits.max_model_retries:
        delay_s = min(RETRY_FIRST_S * 2**run.retries, RETRY_LONGEST_S) if asked_s is None else max(asked_s, 0.0)
        retrying = RunRetrying(run.id, error.fault(), run.retries + 1, round(delay_s * 1000), name)
        await driver.log.commit(retrying)
        await _told(driver, error, name, retrying.delay_ms)
        return None
    later = candidates[candidates.index(name) + 1 :] if name in candidates else ()
    if later:
        await driver.log.commit(RunRetrying(run.id, error.fault(), 0, 0, later[0]))
        await _told(driver, error, name, 0)
        return None
    await _told(driver, error, name, None)
    return error.fault()


async def _told(driver: Driver, error: GodwitError, model: str, retry_in_ms: int | None) -> None:
    limited = isinstance(error, RateLimited)
    await model_failed(driver, error.fault(), model=model, rate_limited=limited, retry_in_ms=retry_in_ms)


async def wait_for_retry(driver: Driver) -> None:
    """Sleep until the planned moment, then claim the run again. Returns early, claiming nothing, when something arrives
    that matters: an interrupt, a pause, the host's end."""
    run = driver.state.run
    assert run is not None
    while True:
        state = driver.state
        due = state.run.retry_at_ms if state.run is not None else None
        if due is None or state.gate.paused or driver.token.cancelled or driver.shutdown:
            break
        left_s = (due - driver.clock.now_ms()) / 1000
        if left_s <= 0:
            break
        driver.changed.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(driver.changes(), left_s)
    gate = driver.state.gate
    if gate.phase == "retrying" and not gate.paused and not driver.shutdown:
        await driver.log.commit(RunClaimed(run.id, gate.attempt, driver.parts.owner, driver.trace))
