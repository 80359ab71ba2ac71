"""The loop: run, turn, step. It always begins from the folded log, so a start, a crash, a pause and a moved worker are the
same code path: `decide` looks at the state alone, `drive` does what it says and looks again.

A change must keep: no decision depends on anything that dies with the process, except the cancel token and the clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from ..core.agent import AgentSpec, Limits
from ..core.budget import ALLOWED
from ..core.errors import Conflict, Fault, HeadMoved, InputNotFound, StaleEpoch, StoreError
from ..core.events import (
    ActionClosed,
    InputWithdrawn,
    RunClaimed,
    RunFinished,
    RunOutcome,
    RunParked,
    RunYielded,
    SessionOpened,
    TurnFinished,
    TurnStarted,
    UserInterrupt,
)
from ..core.gate import OpenAction
from ..core.ids import InputId, RunId, Seq
from ..core.nudges import NudgeReason
from ..core.output import MISFIT
from ..core.state import Run, State
from ..core.verification import VerificationPolicy
from .approvals import expired_actions, policy_answer
from .budget import QUESTION, exhausted, new
from .checkpoints import after_changes, files_changed, finish_restoring, retain
from .context import models_of
from .direct import close_lost_calls
from .driver import Driver
from .folder_context import tell_before_prompt, tell_before_turn
from .model_step import ask_model, estimated_request, wait_for_retry
from .nudge import nudge, nudge_reasons
from .output import check_output, output_of
from .points import after_turn, before_finish, before_run, before_turn, deliver, ended, let_pass
from .recall import remember_run
from .room import Room
from .tool_step import close_calls, run_tools
from .verification import verify_run


@dataclass(frozen=True)
class Rest:
    """Nothing to do."""


@dataclass(frozen=True)
class Claim:
    """Take the run."""


@dataclass(frozen=True)
class Yield:
    """Let the run go, to be claimed later."""


@dataclass(frozen=True)
class Retry:
    """Wait until the model may be asked again."""


@dataclass(frozen=True)
class Deliver:
    """Place these inputs in the transcript."""

    inputs: tuple[InputId, ...]


@dataclass(frozen=True)
class OpenTurn:
    pass


@dataclass(frozen=True)
class AskModel:
    pass


@dataclass(frozen=True)
class RunTools:
    pass


@dataclass(frozen=True)
class Park:
    """Only answers from outside are missing."""


@dataclass(frozen=True)
class Expire:
    """Nobody has answered these in time: they are answered as their policy says."""

    actions: tuple[OpenAction, ...]


@dataclass(frozen=True)
class Settle:
    """The question that the run asked was answered."""


@dataclass(frozen=True)
class CloseTurn:
    pass


@dataclass(frozen=True)
class Verify:
    """The run would end as done: find out whether it is."""


@dataclass(frozen=True)
class Nudge:
    """The model has stopped in the middle of its work: it is told to go on."""

    reasons: tuple[NudgeReason, ...]


@dataclass(frozen=True)
class CheckOutput:
    """The run would end as done: find out whether its last answer has the form that was asked for."""


@dataclass(frozen=True)
class End:
    outcome: RunOutcome
    error: Fault | None = None


@dataclass(frozen=True)
class KeepFiles:
    """Before a turn is left whose calls may have changed files: keep these as they are now."""


Decision = (
    Rest
    | Claim
    | Yield
    | Retry
    | Deliver
    | OpenTurn
    | AskModel
    | RunTools
    | Park
    | Expire
    | Settle
    | CloseTurn
    | Nudge
    | CheckOutput
    | Verify
    | End
)


def decide(
    state: State,
    spec: AgentSpec,
    *,
    now_ms: int,
    stopping: bool = False,
    out_of_time: bool = False,
    read_only: frozenset[str] = frozenset(),
) -> Decision:
    """What comes next. `stopping`: the host shuts down. `out_of_time`: the run's wall time is over. `read_only`: the tools
    that change nothing, so that what only they did needs no verification."""
    run, turn, gate, limits = state.run, state.turn, state.gate, spec.limits
    if run is None:
        return Rest()
    expired = expired_actions(state, now_ms)
    if expired and not gate.paused and not stopping and run.interrupt is None:
        return Expire(expired)
    if gate.phase == "waiting":
        return _out_of_time(limits) if out_of_time and not gate.paused else Rest()
    if gate.phase == "queued" or (gate.phase == "retrying" and run.interrupt is not None):
        return Rest() if (gate.paused and run.interrupt is None) or stopping else Claim()
    if run.interrupt is not None:
        return End("interrupted")
    if gate.phase == "retrying":
        return Rest() if gate.paused or stopping else Retry()
    if gate.paused or stopping:
        return Yield()
    if out_of_time:
        return _out_of_time(limits)
    if run.takeovers > limits.max_takeovers:
        return End("failed", Fault("too_many_takeovers", f"{run.takeovers} drivers died without finishing a step"))
    if run.exceeded is not None:
        return End("limited", exhausted(run.exceeded))
    question = run.question
    if question is not None and question.answer is not None and question.name == QUESTION:
        return Settle()
    if question is not None and question.answer is not None and question.answer.decision == "deny":
        why = f": {question.answer.reason}" if question.answer.reason else ""
        return End("limited", Fault("denied", f"{question.name} asked, and was denied{why}", {"asked": question.name}))
    if question is not None and question.answer is None and not (turn and any(c.phase == "started" for c in turn.calls)):
        return Park()
    if turn is not None:
        if turn.message_seq is None:
            return AskModel()
        if turn.unfinished:
            skips = _skips(state) and any(
                c.phase == "asking" or (c.phase == "requested" and c.tasks is None) for c in turn.unfinished
            )
            return Park() if all(_waits(state, c.action) for c in turn.unfinished) and not skips else RunTools()
        return CloseTurn()
    due = tuple(q.id for q in gate.queue if q.delivery != "follow_up")
    if due:
        return Deliver(due)
    if run.owes_answer:
        if run.invalid_turns > limits.max_invalid_turns:
            return End(
                "failed",
                Fault("invalid_tool_arguments", f"the model sent unusable arguments {run.invalid_turns} times in a row"),
            )
        if run.turns - run.turns_before >= limits.max_turns:
            return End("limited", Fault("max_turns", f"the run reached its limit of {limits.max_turns} turns"))
        return OpenTurn()
    reasons = nudge_reasons(state, spec)
    if reasons:
        return Nudge(reasons)
    output = output_of(run, spec)
    if output is not None and run.fits is None:
        if run.misfits > output.retries:
            tries = f"{run.misfits} tr{'y' if run.misfits == 1 else 'ies'}"
            why = f"after {tries} the answer does not fit: {run.misfit}"
            return End("failed", Fault(MISFIT, why, {"attempts": run.misfits, "problem": run.misfit}))
        return CheckOutput()
    if spec.verification is not None:
        unverified = _verification(run, spec.verification, read_only)
        if unverified is not None:
            return unverified
    if gate.queue:
        return Deliver((gate.queue[0].id,))
    return End("done")


def _verification(run: Run, policy: VerificationPolicy, read_only: frozenset[str]) -> Verify | End | None:
    """What must come before the run may end as done, or before a follow-up, which waits for just that. None: nothing."""
    match run.verdict:
        case None:
            # What a run that this one continues has changed is not known here.
            idle = run.resumes is None and read_only.issuperset(run.touched)
            return None if idle and policy.only_if_changed else Verify()
        case "failed" if run.failures < policy.max_attempts:
            return Verify()  # what was to be told to the model has been withdrawn
        case "failed" | "needs_review":
            return End("failed", _unverified(run))
        case "passed" | "skipped":
            return None


def _unverified(run: Run) -> Fault:
    checks = ", ".join(run.unverified) or "a person has to look at it"
    details = {"report": run.report, "attempts": run.reports, "checks": list(run.unverified)}
    return Fault(
        "unverified",
        f"the run is not done: after {run.reports} verification{'s' * (run.reports != 1)} these checks do not pass: {checks}"
        f" (event {run.report} is the report)",
        details,
    )


def _out_of_time(limits: Limits) -> End:
    return End("limited", Fault("max_duration", f"the run took longer than {limits.max_duration_s} s"))


def _waits(state: State, action: str | None) -> bool:
    return any(a.id == action and not a.answered for a in state.gate.actions)


def _skips(state: State) -> bool:
    return any(q.delivery == "steer" and q.mode == "skip" for q in state.gate.queue)


async def drive(driver: Driver) -> None:
    """Take the session as far as it goes now: until it rests, parks, yields, or its run ends and nothing follows. Files that
    a rewind has named are put back first, and by themselves.

    What nobody foresaw ends the run as failed, so that the session stays usable, and is raised again. A lost lease or a
    store that fails is raised as it is: the log says where to go on.
    """
    if driver.state.restoring is not None:
        # A drive of its own: it was begun without tools. What has arrived meanwhile is the next one's.
        await finish_restoring(driver)
        return
    driver.room = Room(driver)
    try:
        await _arrive(driver)
        while await _advance(driver):
            pass
    except (StaleEpoch, StoreError):
        raise
    except Exception as error:
        driver.log.drop_staged()
        await driver.log.sync()
        if driver.state.gate.phase == "running":
            await _end(driver, "failed", Fault("internal", f"{type(error).__name__}: {error}"), driver.log.seq)
        raise


async def _advance(driver: Driver) -> bool:
    """Do the next thing. False when the drive is over."""
    log = driver.log
    log.accept_losses()
    run, seen = log.state.run, log.seq
    driver.guard()
    cut_off = driver.token.cancelled and not driver.shutdown and not driver.out_of_time()
    if cut_off and run is not None and run.interrupt is None:
        # The session's token was cancelled directly: the run is recorded as interrupted (seed 001).
        await log.commit(UserInterrupt(run.id, reason="the session's cancel token was cancelled"))
    decision: Decision | KeepFiles = _decide(driver)
    # What children do in the folder is the turn's own work, so while it waits for them it goes on.
    works = isinstance(decision, Park) and bool(log.state.gate.tasks)
    if isinstance(decision, Park | Yield | CloseTurn | End) and not works and files_changed(log.state, driver.spec):
        decision = KeepFiles()
    try:
        match decision:
            case Rest():
                await log.commit()
                return False
            case Claim():
                fault = await _begin(driver)
                if fault is not None:
                    await _end(driver, "failed", fault, log.seq)
                    return False
            case Yield():
                await _yield(driver)
                return False
            case Retry():
                await wait_for_retry(driver)
            case Settle():
                # What follows from an answer may have to be written to another session first.
                await log.commit()
                log.stage(*await driver.budget.settle())
                await log.commit()
            case Deliver() | OpenTurn() | AskModel() | RunTools() if not await driver.connect_servers():
                pass
            case OpenTurn() if driver.room is not None and await driver.room.before_turn():
                pass
            case Deliver() | OpenTurn() | AskModel() if not await _paid(driver, decision):
                pass
            case Deliver(inputs):
                await tell_before_prompt(driver)
                fault = await deliver(driver, inputs)
                if fault is not None:
                    await _end(driver, "failed", fault, log.seq)
                    return False
            case OpenTurn():
                assert run is not None
                passed = await before_turn(driver, run)
                if isinstance(passed, Fault):
                    await _end(driver, "failed", passed, log.seq)
                    return False
                if passed is not None:
                    await tell_before_turn(driver)
                    log.stage(TurnStarted(log.state.turns + 1))
            case AskModel():
                fault = await ask_model(driver)
                if fault is not None:
                    await _end(driver, "failed", fault, log.seq)
                    return False
            case RunTools():
                await run_tools(driver)
            case Park():
                waits = [a for a in log.state.gate.actions if not a.answered]
                children = not any(a.asks for a in waits)
                await log.commit(RunParked(_run(driver), tuple(a.id for a in waits), children), seen=seen)
                return False
            case Expire(expired):
                log.stage(*(policy_answer(a) for a in expired))
                await log.commit()
            case Nudge(reasons):
                await nudge(driver, reasons, seen)
            case CheckOutput():
                await check_output(driver)
            case Verify():
                await verify_run(driver)
            case KeepFiles():
                await after_changes(driver)
            case CloseTurn():
                turn = log.state.turn
                assert turn is not None
                log.stage(TurnFinished(turn.index))
                await after_turn(driver, turn)
            case End("done"):
                assert run is not None
                passed = await before_finish(driver, run)
                if isinstance(passed, Fault):
                    await _end(driver, "failed" if passed.details["failed"] else "limited", passed, log.seq)
                    return False
                if passed is not None and _decide(driver) == decision:
                    await _end(driver, "done", None, log.seq)
                    await retain(driver)
                    return False
            case End(outcome, error):
                # The drive ends with its run: the next one gets a token and a context of its own.
                await _end(driver, outcome, error, seen)
                await retain(driver)
                return False
            case _:
                assert_never(decision)
    except (Conflict, InputNotFound) as moved:
        # Something arrived between the look and the append (a steer, a pause, a withdrawal): fold it and look again.
        arrived = await log.sync() or log.seq != seen
        if isinstance(moved, StaleEpoch) or not (arrived or isinstance(moved, HeadMoved)):
            raise
    return True


def _decide(driver: Driver) -> Decision:
    return decide(
        driver.state,
        driver.spec,
        now_ms=driver.clock.now_ms(),
        stopping=driver.shutdown,
        out_of_time=driver.out_of_time(),
        read_only=driver.read_only(),
    )


async def _paid(driver: Driver, due: Deliver | OpenTurn | AskModel) -> bool:
    """Whether the model step that begins with this may be paid for. False: look at the state again, which says what has
    come of it.

    It is asked before anything of the step is done, so that a prompt nobody pays for is not in the transcript; once for each
    time a model is asked.
    """
    budget, log = driver.budget, driver.log
    if budget.granted or budget.idle:
        return True
    waits = budget.waits or isinstance(due, Deliver)
    if waits:
        await log.commit()
    run = driver.state.run
    assert run is not None
    model = run.retry_model or models_of(driver.spec, run.model)[0]
    estimate = await estimated_request(driver, due.inputs if isinstance(due, Deliver) else ())
    decision = await budget.before_model(estimate, model)
    run = driver.state.run
    if driver.token.cancelled or run is None:
        return False
    question = run.question
    if question is not None and decision.verdict == "ask":
        # A hook asked about this step, and a person has let it pass: that answers a guard as well, but raises no limit.
        if decision.scope == "guard":
            decision = ALLOWED
        else:
            log.stage(ActionClosed(question.action, "cancelled"))
    budget.granted = decision.verdict in ("allow", "warn")
    log.stage(*new(driver.state, budget.recorded(decision)))
    if not budget.granted:
        await log.commit()
    return budget.granted and not waits


def _run(driver: Driver) -> RunId:
    run = driver.state.run
    assert run is not None
    return run.id


async def _arrive(driver: Driver) -> None:
    """Begin a drive: mark the session as opened, and take over a run whose driver died."""
    log, state = driver.log, driver.state
    if state.own_calls:
        await close_lost_calls(driver.parts.store, driver.session, state, driver.clock, driver.parts.owner)
        await log.sync()
        state = driver.state
    if not state.gate.opened:
        log.stage(SessionOpened(driver.parts.owner))
    if state.gate.phase == "running":
        if state.gate.paused and not state.gate.interrupted:
            await _yield(driver)
        else:
            await driver.place_trace()
            _claim(driver)
    driver.arm_deadline()


async def _begin(driver: Driver) -> Fault | None:
    """Claim the run, after the hooks have let it begin where it was never claimed before."""
    run, gate = driver.state.run, driver.state.gate
    assert run is not None
    await driver.place_trace()
    if gate.attempt > 0 or run.interrupt is not None:
        _claim(driver)
        let_pass(driver, run)
        return None
    if driver.agent_is_old:
        await driver.log.commit()
        await driver.load_agent()
    passed = await before_run(driver, run, lambda: _claim(driver))
    if isinstance(passed, Fault):
        return passed
    if passed is not None:
        _claim(driver)
    return None


def _claim(driver: Driver) -> None:
    gate, run = driver.state.gate, driver.state.run
    assert run is not None
    attempt = gate.attempt + 1 if gate.claimed or gate.attempt == 0 else gate.attempt
    now_ms = driver.clock.now_ms()
    trace = driver.begin_trace(attempt, now_ms)
    driver.log.stage(RunClaimed(run.id, attempt, driver.parts.owner, trace), at_ms=now_ms)
    driver.arm_deadline()


async def _yield(driver: Driver) -> None:
    await driver.log.commit(RunYielded(_run(driver), "shutdown" if driver.shutdown else "paused"))
    await driver.log.snapshot()


async def _end(driver: Driver, outcome: RunOutcome, error: Fault | None, seen: Seq) -> None:
    """Finish the run: give every open call its result, close the turn, withdraw what can no longer be delivered.

    A run that is done is so only as of `seen`: HeadMoved when something came that must be decided anew.
    """
    log = driver.log
    await remember_run(driver, outcome, error)
    while True:
        await close_calls(driver, "interrupted" if outcome == "interrupted" else "ended")
        question = log.state.run.question if log.state.run is not None else None
        if question is not None:
            answered = question.answer is not None
            log.stage(ActionClosed(question.action, "answered" if answered else "interrupted"))
        state = log.state
        run = state.run
        if run is None:
            return
        events: list[TurnFinished | InputWithdrawn | RunFinished] = []
        if state.turn is not None:
            events.append(TurnFinished(state.turn.index))
        events += [InputWithdrawn(q.id, "run_finished") for q in state.gate.queue if q.delivery != "follow_up"]
        finished = RunFinished(run.id, outcome, error, run.usage, run.turns, run.tool_calls, run.report, run.fits)
        events.append(finished)
        try:
            await log.commit(*events, seen=seen)
        except HeadMoved:
            if outcome == "done":
                raise
            seen = log.seq
            continue
        await ended(driver, finished)
        return
