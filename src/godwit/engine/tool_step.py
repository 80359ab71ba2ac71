"""The tool step: validate, ask for permission, start event, effect, end event, for all calls of a turn side by side.

Order of things for one call: arguments against the schema, rules, a person if the rules say so, `tool.started`, the local
lease check, the effect, `tool.finished`. A call that never reaches its effect finishes without having started.

A call found started by a process that died is in doubt: a repeatable one runs again under its key, any other is reported
to the model as of unknown outcome and not touched.
"""

from __future__ import annotations

import asyncio
import contextvars
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from ..contracts import Tool, ToolOutput, Workspace
from ..core.errors import GodwitError, InvalidToolArguments, ToolFailed
from ..core.events import (
    ActionClosed,
    ActionOpened,
    AgentMessage,
    ArtifactStored,
    Delta,
    EventData,
    Labels,
    ToolFinished,
    ToolStarted,
)
from ..core.ids import ActionId, CallId, RunId, SessionId
from ..core.messages import ResultBlock, Text, ToolCall, ToolStatus
from ..core.state import Call
from .cancel import WITHIN, Cancel
from .driver import Driver
from .permissions import verdict

OUTPUT_LIMIT = 100 * 1024
"""Bytes of text a result may hold; more becomes an artifact of which head and tail are shown."""
SHOWN_HEAD = 24 * 1024
SHOWN_TAIL = 8 * 1024
EXCLUSIVE = "*"
ABANDON_S = 1.0
"""How long a call that was cut off may ignore it before it is left to itself."""


@dataclass
class _Ready:
    """A call that may run: its tool, its final arguments and what it must not overlap with."""

    call: Call
    tool: Tool
    arguments: dict[str, Any]
    edited: bool
    locks: frozenset[str]

    def clashes(self, other: _Ready) -> bool:
        return EXCLUSIVE in self.locks or EXCLUSIVE in other.locks or bool(self.locks & other.locks)


class Context:
    """Implements `godwit.contracts.ToolContext` for one call."""

    def __init__(self, driver: Driver, ready: _Ready, key: str, token: Cancel) -> None:
        assert driver.state.run is not None
        self._driver = driver
        self._offset = 0
        self.session: SessionId = driver.session
        self.run: RunId = driver.state.run.id
        self.call: CallId = ready.call.id
        self.key = key
        self.cancel = token
        self._after = driver.log.seq

    @property
    def workspace(self) -> Workspace:
        if self._driver.workspace is None:
            raise ToolFailed("this session has no workspace")
        return self._driver.workspace

    @property
    def labels(self) -> Labels:
        return self._driver.state.labels

    @property
    def context(self) -> Any:
        return self._driver.context

    @property
    def grace_s(self) -> float:
        # A little less than the driver waits, so that what a command had said can still be recorded.
        return self._driver.grace_s() * 0.8

    def output(self, text: str) -> None:
        self._driver.show(Delta(self.session, "tool_output", self.call, self._offset, text, after=self._after))
        self._offset += len(text)

    def progress(self, text: str) -> None:
        self._driver.show(Delta(self.session, "progress", self.call, 0, text, after=self._after))


async def run_tools(driver: Driver) -> None:
    """Work on the open turn's calls until each has its result or waits for an answer from outside.

    Returns early, with no call under way, when the run was interrupted, paused, or the host shuts down.
    """
    running: dict[asyncio.Task[ToolOutput], _Running] = {}
    requests = await _requests(driver)
    try:
        while True:
            driver.changed.clear()
            await _start_ready(driver, requests, running)
            if not running:
                return
            changed = asyncio.ensure_future(driver.changes())
            await asyncio.wait([*running, changed], return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
            for task in [t for t in running if t.done() or running[t].abandoned]:
                await _record(driver, running.pop(task), task, last=not running)
            if driver.token.cancelled:
                await _stop(driver, running)
                return
            turn = driver.state.turn
            if not running and (turn is None or not turn.unfinished):
                return
    finally:
        if running:
            await _stop(driver, running, record=False)


@dataclass
class _Running:
    ready: _Ready
    token: Cancel
    started: float
    timeout_s: float | None
    timer: asyncio.TimerHandle | None = None
    timed_out: bool = False
    abandoned: bool = False


async def _requests(driver: Driver) -> dict[CallId, ToolCall]:
    """The turn's calls as the model asked for them: from what is staged or from the stored message."""
    turn = driver.state.turn
    assert turn is not None
    assert turn.message_seq is not None
    message = driver.log.staged(AgentMessage)
    if message is None:
        events = await driver.parts.store.read(driver.session, turn.message_seq - 1, limit=1)
        message = events[0].data if isinstance(events[0].data, AgentMessage) else None
    assert message is not None
    return {c.id: c for c in message.message.calls}


async def _start_ready(
    driver: Driver, requests: dict[CallId, ToolCall], running: dict[asyncio.Task[ToolOutput], _Running]
) -> None:
    """Settle what needs no effect, open what needs a person, and begin what may run now."""
    log, limits = driver.log, driver.spec.limits
    state = log.state
    assert state.turn is not None
    busy = {r.ready.call.id for r in running.values()}
    stop = state.gate.paused or driver.shutdown or driver.token.cancelled
    skip = any(q.delivery == "steer" and q.mode == "skip" for q in state.gate.queue)
    ahead = [r.ready for r in running.values()]
    begin: list[tuple[_Ready, str]] = []
    for call in state.turn.unfinished:
        if call.id in busy:
            continue
        if skip and call.phase == "requested":
            log.stage(*_closing(driver, call, "skipped", "Skipped: the user sent a new message.", "skipped"))
            continue
        if stop:
            continue
        settled = _settle(driver, call, requests[call.id])
        if isinstance(settled, _Ready):
            if not any(settled.clashes(other) for other in ahead) and len(running) + len(begin) < limits.max_parallel_tools:
                key = call.key or f"{driver.session}/{call.id}"
                log.stage(*_answered(driver, call))
                log.stage(ToolStarted(call.id, call.name, settled.arguments, key, settled.edited))
                begin.append((settled, key))
            ahead.append(settled)
        elif settled:
            log.stage(*settled)
    await log.commit()
    for ready, key in begin:
        driver.guard()
        token = driver.token.child()
        own = ready.tool.traits.timeout_s
        record = _Running(ready, token, driver.clock.monotonic(), own if own is not None else limits.tool_timeout_s)
        inside = contextvars.copy_context()
        inside.run(WITHIN.set, driver.session)
        working = _run(ready, Context(driver, ready, key, token))
        task = asyncio.create_task(working, context=inside)
        task.add_done_callback(_look_at)
        if record.timeout_s is not None:
            record.timer = asyncio.get_running_loop().call_later(record.timeout_s, _time_out, record, task, driver)
        running[task] = record


async def _run(ready: _Ready, context: Context) -> ToolOutput:
    """The call's effect; whatever the tool raises, and whenever, is raised within its own task."""
    return await ready.tool.run(ready.arguments, context)


def _time_out(record: _Running, task: asyncio.Task[ToolOutput], driver: Driver) -> None:
    """Tell the call to end; cut it off when the grace is over; then leave it to itself."""
    loop = asyncio.get_running_loop()

    def cut_off() -> None:
        task.cancel()
        record.timer = loop.call_later(ABANDON_S, abandon)

    def abandon() -> None:
        record.abandoned = True
        driver.changed.set()

    record.timed_out = True
    record.token.cancel()
    record.timer = loop.call_later(driver.parts.grace_s + 1.0, cut_off)


def _settle(driver: Driver, call: Call, request: ToolCall) -> _Ready | list[EventData]:
    """What becomes of a call: ready to run, or the events that settle or park it (none: it goes on waiting)."""
    limits = driver.spec.limits
    tool = driver.tool(call.name)
    arguments, edited = request.arguments, False
    if call.phase == "started" and (tool is None or not tool.traits.repeatable):
        return _closing(
            driver,
            call,
            "unknown",
            "The process died while this call was under way. Its outcome is unknown: it may or may not have taken effect."
            " Check before doing it again.",
            "answered",
        )
    if request.malformed is not None:
        return _closing(driver, call, "invalid", f"The arguments are not a JSON object: {request.malformed[:500]}", None)
    if tool is None:
        known = ", ".join(sorted(t.definition.name for t in driver.tools))
        return _closing(driver, call, "error", f"There is no tool named {call.name!r}. Tools: {known}", None)
    answer = call.answer
    if answer is not None and answer.arguments is not None:
        arguments, edited = answer.arguments, answer.arguments != request.arguments
    try:
        tool.validate(arguments)
    except InvalidToolArguments as error:
        if answer is not None and edited:
            # The person's own edit does not fit: it counts as a denial that says why, not as the model's mistake.
            return _closing(driver, call, "denied", f"The edited arguments do not fit the tool: {error.message}", "answered")
        return _closing(driver, call, "invalid", error.message, None)
    except Exception as error:
        return _closing(driver, call, "error", f"The tool cannot check its arguments: {_said(error)}", None)
    if call.repeat > limits.max_repeated_calls and call.phase == "requested" and answer is None:
        return _closing(
            driver,
            call,
            "denied",
            f"Blocked: this is call {call.repeat} in a row with the same arguments. Do something else.",
            None,
        )
    if answer is not None:
        if answer.decision == "deny":
            why = f": {answer.reason}" if answer.reason else "."
            return _closing(driver, call, "denied", f"The user denied this call{why}", "answered")
        if answer.decision == "result":
            content = answer.content or (Text("(no output)"),)
            status: ToolStatus = "error" if answer.is_error else "ok"
            return [*_answered(driver, call), ToolFinished(call.id, call.name, status, content)]
    elif call.action is not None:
        return []
    elif call.phase == "requested":
        said = verdict(driver.spec.permissions, call.name)
        if said == "deny":
            return _closing(driver, call, "denied", f"The tool {call.name!r} is not permitted.", None)
        if said == "ask" or tool.traits.external:
            kind: Literal["approval", "external"] = "approval" if said == "ask" else "external"
            return [_open_action(driver, call, kind, arguments)]
    if tool.traits.external:
        # Approved; now its result has to come from outside.
        return [*_answered(driver, call), _open_action(driver, call, "external", arguments)]
    try:
        locks = frozenset((EXCLUSIVE,)) if tool.traits.exclusive else tool.locks(arguments, driver.workspace)
    except Exception as error:
        return _closing(driver, call, "error", _said(error), None)
    return _Ready(call, tool, arguments, edited, locks)


def _open_action(
    driver: Driver, call: Call, kind: Literal["approval", "external"], arguments: dict[str, Any]
) -> ActionOpened:
    return ActionOpened(ActionId(driver.ids.new("act")), kind, call.id, call.name, arguments)


def _answered(driver: Driver, call: Call) -> list[EventData]:
    """Close the call's action, if one is open."""
    if call.action is not None and any(a.id == call.action for a in driver.state.gate.actions):
        return [ActionClosed(call.action)]
    return []


def _closing(
    driver: Driver,
    call: Call,
    status: ToolStatus,
    text: str,
    reason: Literal["answered", "skipped", "interrupted", "cancelled"] | None,
) -> list[EventData]:
    """The call's result without an effect, and the end of its action."""
    events: list[EventData] = []
    if call.action is not None and any(a.id == call.action for a in driver.state.gate.actions):
        events.append(ActionClosed(call.action, reason or "answered"))
    events.append(ToolFinished(call.id, call.name, status, (Text(text),)))
    return events


async def _record(driver: Driver, done: _Running, task: asyncio.Task[ToolOutput], *, last: bool = False) -> None:
    """Log a call's result. The turn's last one travels with what follows it, which is decided without waiting."""
    if done.timer is not None:
        done.timer.cancel()
    call = done.ready.call
    status, content, metadata = _outcome(done, task)
    notes = []
    if done.ready.edited:
        shown = msgspec.json.encode(done.ready.arguments).decode()
        notes.append(f"[The user changed the arguments before approving. The call was run with: {shown}]")
    if call.repeat == driver.spec.limits.max_repeated_calls and call.repeat > 1:
        notes.append(f"[Warning: this is call {call.repeat} in a row with the same arguments. The next will be blocked.]")
    artifact, content = await _shorten(driver, call.id, content)
    if notes:
        content = (Text("\n".join(notes) + "\n"), *content)
    if not content:
        content = (Text("(no output)"),)
    took = round((driver.clock.monotonic() - done.started) * 1000)
    events: list[EventData] = [artifact] if artifact is not None else []
    if artifact is not None:
        metadata = {**metadata, "artifact": artifact.ref}
    events.append(ToolFinished(call.id, call.name, status, content, _as_json(metadata), took))
    driver.log.stage(*events)
    turn = driver.state.turn
    if not last or turn is None or turn.unfinished:
        await driver.log.commit()


def _outcome(done: _Running, task: asyncio.Task[ToolOutput]) -> tuple[ToolStatus, tuple[ResultBlock, ...], dict[str, Any]]:
    """What the call came to: status, content and metadata, all of which can be stored."""
    if done.timed_out:
        late = (Text(f"[timed out after {done.timeout_s:g} s]"),)
        if not task.done() or task.cancelled() or task.exception() is not None:
            return "error", late, {"timed_out": True}
        content, metadata = _storable(task.result())
        return "error", (*content, *late), {**metadata, "timed_out": True}
    if task.cancelled():
        return "error", (Text("[cancelled]"),), {}
    error = task.exception()
    if isinstance(error, KeyboardInterrupt | SystemExit):
        raise error
    if error is not None:
        return "error", (Text(_clean(_said(error))),), {}
    output = task.result()
    if not _is_output(output):
        return "error", (Text(f"The tool returned {type(output).__name__}, which is no tool output."),), {}
    content, metadata = _storable(output)
    return "error" if output.is_error else "ok", content, metadata


def _is_output(output: object) -> bool:
    """A tool may be anybody's code: what it returned need not be what it promised."""
    return isinstance(output, ToolOutput) and isinstance(output.content, tuple)


def _storable(output: ToolOutput) -> tuple[tuple[ResultBlock, ...], dict[str, Any]]:
    """Content and metadata as JSON can hold them: text that is no Unicode is shown with replacement characters."""
    content = tuple(Text(_clean(b.text), b.opaque) if isinstance(b, Text) else b for b in output.content)
    return content, _as_json(output.metadata)


def _clean(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _said(error: BaseException) -> str:
    return error.message if isinstance(error, GodwitError) else f"{type(error).__name__}: {error}"


def _look_at(task: asyncio.Task[ToolOutput]) -> None:
    """Take note of how a call that was left to itself ended, so that nobody complains of it."""
    if not task.cancelled():
        task.exception()


async def _shorten(
    driver: Driver, call: CallId, content: tuple[ResultBlock, ...]
) -> tuple[ArtifactStored | None, tuple[ResultBlock, ...]]:
    """Keep a large text as an artifact and show its head and tail."""
    texts = [b for b in content if isinstance(b, Text)]
    size = sum(len(b.text.encode()) for b in texts)
    if size <= OUTPUT_LIMIT:
        return None, content
    whole = "".join(b.text for b in texts).encode()
    stored = await driver.parts.blobs.put_artifact(driver.session, whole, "text/plain; charset=utf-8")
    head = whole[:SHOWN_HEAD].decode(errors="ignore")
    tail = whole[-SHOWN_TAIL:].decode(errors="ignore")
    left_out = len(whole) - len(head.encode()) - len(tail.encode())
    text = f"{head}\n[... {left_out} of {len(whole)} bytes left out; the whole is artifact {stored.ref} ...]\n{tail}"
    rest = tuple(b for b in content if not isinstance(b, Text))
    return ArtifactStored(stored.ref, stored.size, stored.media_type, call), (Text(text), *rest)


def _as_json(metadata: dict[str, Any]) -> dict[str, Any]:
    """Metadata as plain JSON; what cannot be is shown as text."""
    try:
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(metadata, enc_hook=repr))
        return plain
    except (TypeError, ValueError):
        return {"repr": _clean(repr(metadata))}


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
            if task.done():
                driver.log.stage(ToolFinished(call.id, call.name, "error", _cut(task), {"interrupted": True}))
            else:
                text = "[interrupted, but it did not stop: its outcome is unknown]"
                driver.log.stage(ToolFinished(call.id, call.name, "unknown", (Text(text),), {"interrupted": True}))
    running.clear()


def _cut(task: asyncio.Task[ToolOutput]) -> tuple[ResultBlock, ...]:
    note = Text("[interrupted]")
    if task.cancelled() or task.exception() is not None:
        return (note,)
    output = task.result()
    blocks = output.content if _is_output(output) else ()
    whole = "".join(_clean(b.text) for b in blocks if isinstance(b, Text)).encode()
    if not whole:
        return (note,)
    return (Text(whole[:SHOWN_HEAD].decode(errors="ignore") + "\n"), note)


async def close_calls(driver: Driver, why: Literal["interrupted", "ended"]) -> None:
    """Give every call of the open turn that has none a result, and close its action: the run ends."""
    turn = driver.state.turn
    if turn is None:
        return
    for call in turn.unfinished:
        if call.phase == "started":
            text = "The process died while this call was under way. Its outcome is unknown."
            driver.log.stage(*_closing(driver, call, "unknown", text, "interrupted"))
        else:
            text = "Not run: the user interrupted." if why == "interrupted" else "Not run: the run ended."
            driver.log.stage(*_closing(driver, call, "skipped", text, "interrupted"))
