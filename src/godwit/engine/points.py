"""The points of a run at which its hooks are asked, but for those of a call: what they are told, and what their answers do.

The loop asks here directly before it does something, and tells here once it is done. Nothing is decided by what only this
process knows: a block, a question and its answer, and what a prompt was changed into stand in the log. Rules a change must
keep: where no hook is registered, nothing is stored, built or waited for; after a wait the state may be another, so what was
to be done is then done or looked at anew, never both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from ..core.errors import Fault
from ..core.events import (
    ActionClosed,
    ActionOpened,
    HookBlocked,
    InputDelivered,
    InputWithdrawn,
    RunFinished,
    UserMessage,
)
from ..core.hooks import CONTINUE, INTERRUPTED, HookPoint, HookResult
from ..core.ids import ActionId, InputId
from ..core.messages import Assistant, Text, UserBlock, text_of
from ..core.senders import BY_HOOK
from ..core.state import Run, Turn
from .cancel import Cancel
from .driver import Driver, mode_of
from .output import with_form
from .recall import recall

BLOCKED = "hook_blocked"
"""The code of the fault a run ends with when a hook has kept it from going on."""
HELD_LONGEST = 3
"""How often hooks may send a run back to work that was about to end, with no word from a person in between."""

Payload = Callable[[], dict[str, Any]]


async def pass_gate(
    driver: Driver, point: HookPoint, subject: str, payload: Payload, *, prepare: Callable[[], None] = lambda: None
) -> HookResult | Fault | None:
    """Ask the hooks of a gating point before something is done: what to go on with; the fault that ends the run, with its
    `hook.blocked` staged; or None when something has changed or a person has to decide first: then look at the state anew.

    `subject`: what is about to be done, so that a person's word for it is not taken for another. `prepare`: staged before
    a question is opened.
    """
    approved = _approved(driver, point, subject)
    if approved is not None:
        return approved
    if not driver.hooks.wants(point):
        return CONTINUE
    result = await driver.ask_hooks(point, payload)
    if result is INTERRUPTED or driver.token.cancelled:
        return None
    if result.action == "escalate":
        return _ask(driver, point, subject, result, prepare)
    if result.action != "block":
        return result
    return _blocked(driver, point, result)


def _blocked(driver: Driver, point: HookPoint, result: HookResult) -> Fault:
    hook, reason = result.hook or "hook", result.reason or "Blocked"
    driver.log.stage(HookBlocked(hook, point, reason, failed=result.failed))
    details = {"hook": hook, "point": point, "failed": result.failed}
    return Fault(BLOCKED, f"hook {hook!r} blocked at {point}: {reason}", details)


def _ask(driver: Driver, point: HookPoint, subject: str, result: HookResult, prepare: Callable[[], None]) -> Fault | None:
    """Open a question of the run, for a person to decide; when none can be asked, that is a block."""
    state, hook = driver.state, result.hook or "hook"
    run = state.run
    assert run is not None
    if run.unattended:
        reason = f"A person has to decide, and nobody can be asked in this run: {result.reason or 'no reason given'}"
        return _blocked(driver, point, msgspec.structs.replace(result, reason=reason))
    prepare()
    if run.question is not None:
        driver.log.stage(ActionClosed(run.question.action, "cancelled"))
    arguments: dict[str, Any] = {"point": point, "subject": subject}
    arguments |= {"modified": result.modified} if result.modified is not None else {}
    arguments |= {"note": result.note} if result.note is not None else {}
    policy = state.approvals or driver.spec.approvals
    expires_ms = None if policy.timeout_s is None else driver.clock.now_ms() + round(policy.timeout_s * 1000)
    driver.log.stage(
        ActionOpened(
            ActionId(driver.ids.new("act")),
            "approval",
            None,
            f"{BY_HOOK}{hook}",
            arguments,
            result.reason or f"May the run go on at {point}?",
            expires_ms=expires_ms,
            on_timeout=policy.on_timeout,
        )
    )
    return None


def _approved(driver: Driver, point: HookPoint, subject: str) -> HookResult | None:
    """What to go on with when a person has let this pass; the question is closed with what is done then."""
    run = driver.state.run
    question = run.question if run is not None else None
    if question is None or question.answer is None or question.answer.decision != "approve":
        return None
    asked = question.arguments
    if not question.name.startswith(BY_HOOK) or (asked.get("point"), asked.get("subject")) != (point, subject):
        return None
    driver.log.stage(ActionClosed(question.action))
    return HookResult(modified=asked.get("modified"), note=asked.get("note"))


# --- run and prompt -------------------------------------------------------------------------------------------------------


async def before_run(driver: Driver, run: Run, claim: Callable[[], None]) -> HookResult | Fault | None:
    """Before a run is claimed for the first time."""

    def payload() -> dict[str, Any]:
        return {"resumes": run.resumes, "detached": run.detached}

    return await pass_gate(driver, "before_run", run.id, payload, prepare=claim)


def let_pass(driver: Driver, run: Run) -> None:
    """A person has let the run begin: that was all that was asked."""
    _approved(driver, "before_run", run.id)


async def deliver(driver: Driver, inputs: tuple[InputId, ...]) -> Fault | None:
    """Place these inputs in the transcript, or as many of them as can be before the state has to be looked at anew.

    Returns why the run must fail: its own prompt was blocked.
    """
    log, hooks = driver.log, driver.hooks
    mode = mode_of(driver.state, driver.spec)
    told = "" if mode is None else mode.note
    if not told and not hooks.wants("before_prompt") and not hooks.wants("after_prompt") and hooks.note is None:
        for waits in (log.transcript.waiting(i) for i in inputs):
            assert waits is not None
            await recall(driver, waits, waits.content)
            read = with_form(driver.state.run, waits.content, waits.delivery)
            log.stage(InputDelivered(waits.id, None if read is waits.content else read))
        return None
    message, run = log.transcript.waiting(inputs[0]), driver.state.run
    assert message is not None
    assert run is not None

    def payload() -> dict[str, Any]:
        return {
            "prompt": text_of(message.content),
            "content": msgspec.to_builtins(list(message.content)),
            "input": message.id,
            "delivery": message.delivery,
            "sender": message.sender,
        }

    result = await pass_gate(driver, "before_prompt", message.id, payload)
    if result is None:
        return None
    if isinstance(result, Fault):
        log.stage(InputWithdrawn(message.id, "hook"))
        # What was said to a run that has begun is left out, and the run goes on without it.
        return None if run.owes_answer or run.turns > run.turns_before else result
    if result.action == "skip":
        log.stage(InputWithdrawn(message.id, "hook"))
        return None
    content = message.content
    if result.modified is not None:
        content = msgspec.convert(result.modified["content"], tuple[UserBlock, ...])
    await recall(driver, message, content)
    notes = [note for note in (hooks.note, result.note) if note]
    content = with_form(run, content, message.delivery)
    content += tuple(Text(f"\n[Added by a hook]\n{note}") for note in notes)
    if told and mode is not None:
        content += (Text(f"\n[Mode {mode.name}]\n{told}"),)
    hooks.note = None
    log.stage(InputDelivered(message.id, None if content == message.content else content))
    if hooks.wants("after_prompt"):
        delivered = {**payload(), "prompt": text_of(content), "content": msgspec.to_builtins(list(content))}
        await driver.ask_hooks("after_prompt", lambda: delivered)
    return None


# --- turn and model -------------------------------------------------------------------------------------------------------


async def before_turn(driver: Driver, run: Run) -> HookResult | Fault | None:
    index = driver.state.turns + 1

    def payload() -> dict[str, Any]:
        return {"turn": index, "turns": run.turns}

    return await pass_gate(driver, "before_turn", str(index), payload)


async def after_turn(driver: Driver, turn: Turn) -> None:
    def payload() -> dict[str, Any]:
        return {"turn": turn.index, "calls": [{"call": c.id, "tool": c.name, "status": c.status} for c in turn.calls]}

    await driver.ask_hooks("after_turn", payload)


async def before_model(driver: Driver, run: Run, turn: Turn, model: str) -> HookResult | Fault | None:
    def payload() -> dict[str, Any]:
        return {"turn": turn.index, "model": model, "retry": run.retries, "messages": len(driver.log.transcript)}

    return await pass_gate(driver, "before_model", f"{turn.index} {model}", payload)


async def after_model(driver: Driver, turn: Turn, message: Assistant) -> None:
    def payload() -> dict[str, Any]:
        return {
            "turn": turn.index,
            "model": message.model,
            "message": message.id,
            "text": text_of(message.content),
            "calls": [{"call": c.id, "tool": c.name, "arguments": c.arguments} for c in message.calls],
            "stop": message.stop,
            "usage": msgspec.to_builtins(message.usage),
        }

    await driver.ask_hooks("after_model", payload)


async def model_failed(driver: Driver, error: Fault, *, model: str, rate_limited: bool, retry_in_ms: int | None) -> None:
    """A model could not answer. `retry_in_ms`: when it, or another, is asked next; None: no more."""

    def payload() -> dict[str, Any]:
        told = {"code": error.code, "message": error.message, "model": model, "will_retry": retry_in_ms is not None}
        return {**told, "delay_ms": retry_in_ms} if rate_limited else {**told, "where": "model"}

    if rate_limited:
        await driver.ask_hooks("on_rate_limit", payload)
    elif retry_in_ms is not None:  # else the run's own end tells of it
        await driver.ask_hooks("on_error", payload)


# --- the end --------------------------------------------------------------------------------------------------------------


async def before_finish(driver: Driver, run: Run) -> HookResult | Fault | None:
    """Before a run ends as done. A block sends it back to work with the reason as a message, `HELD_LONGEST` times; a hook
    that failed has nothing to say to a model, so the run fails."""

    def payload() -> dict[str, Any]:
        return {"text": _last_text(driver), "stop_hook_active": run.held > 0, "held": run.held}

    result = await pass_gate(driver, "before_finish", f"{run.turns} {run.held}", payload)
    if not isinstance(result, Fault) or result.details["failed"] or run.held >= HELD_LONGEST:
        return result
    blocked = driver.log.staged(HookBlocked)
    assert blocked is not None
    message = UserMessage(
        InputId(driver.ids.new("in")), (Text(blocked.reason),), "steer", "batch", sender=f"{BY_HOOK}{blocked.hook}"
    )
    driver.log.stage(message, InputDelivered(message.id))
    return None


async def ended(driver: Driver, finished: RunFinished) -> None:
    """Tell of the end of a run, once it is stored.

    An interrupt of the next run cuts the hooks off. Where the run itself was cut off, they have the grace that tools have.
    """
    error = finished.error
    cancel, timer = driver.token, None
    if cancel.cancelled or finished.outcome == "interrupted":
        cancel = Cancel()
        timer = asyncio.get_running_loop().call_later(driver.grace_s(), cancel.cancel)

    def payload() -> dict[str, Any]:
        return {
            "outcome": finished.outcome,
            "error": None if error is None else msgspec.to_builtins(error),
            "usage": msgspec.to_builtins(finished.usage),
            "turns": finished.turns,
            "tool_calls": finished.tool_calls,
            "text": _last_text(driver),
        }

    def failure() -> dict[str, Any]:
        assert error is not None
        return {"code": error.code, "message": error.message, "model": None, "will_retry": False, "where": "run"}

    try:
        if finished.outcome == "failed" and error is not None:
            await driver.ask_hooks("on_error", failure, ended=finished.run, cancel=cancel)
        if finished.outcome == "done":
            await driver.ask_hooks("after_finish", payload, ended=finished.run, cancel=cancel)
        await driver.ask_hooks("after_run", payload, ended=finished.run, cancel=cancel)
    finally:
        if timer is not None:
            timer.cancel()


def _last_text(driver: Driver) -> str:
    """The text of the newest answer, if any."""
    for entry in reversed(driver.log.transcript.entries):
        if isinstance(entry.message, Assistant):
            return text_of(entry.message.content)
    return ""
