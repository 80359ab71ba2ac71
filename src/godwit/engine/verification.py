"""Verification in a run: holds it to its checks before it may end, and runs them for the model when it asks.

Leaves out running the checks (`checks`) and what a host asks for (`session_verification`). Rules a change must keep: a
command that was completed for a report is not run again for it, one that was cut off is (its call keeps its id); what holds
a run is decided from the log alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..contracts import Verified
from ..core.budget import BudgetDecision
from ..core.errors import BudgetExhausted, ToolFailed
from ..core.events import EventData, ToolFinished, UserMessage, VerificationReported, from_outside
from ..core.gate import INBOX_LIMIT
from ..core.ids import CallId, InputId, Seq, derived_id
from ..core.messages import Text, text_of
from ..core.senders import VERIFICATION
from ..core.state import Run
from ..core.verification import WORKSPACE, VerificationCommand, VerificationPolicy, failures_text
from .budget import new, refusal
from .cancel import Cancel
from .checks import CUT_OFF, TOOL, Ran, Verifier, asked_for, commands_for
from .direct import DirectCalls
from .driver import Driver
from .log import append_outside


async def verify_run(driver: Driver) -> None:
    """Run the checks of the agent's policy at the end of the open run and record the report; when they fail and may fail
    again, a message with the failures goes to the model in the same append.

    Returns without a report when something else is due first: an interrupt, a pause, a message, the end of the time or of
    a budget.
    """
    log, policy = driver.log, driver.spec.verification
    await log.commit()
    run = driver.state.run
    assert run is not None
    assert policy is not None

    def call_of(command: VerificationCommand) -> CallId:
        # The same after a crash; another one once the run has gone on, or has been reported on.
        return CallId(derived_id("call", run.id, str(run.checkpoint), str(run.reports), command.id, command.command))

    async def may(_: VerificationCommand) -> bool:
        """Whether the next command may begin: nothing else is due, and it can be paid for."""
        await log.sync()
        gate = driver.state.gate
        skips = any(q.delivery == "steer" and q.mode == "skip" for q in gate.queue)
        if gate.paused or driver.shutdown or skips:
            return False
        decision = await driver.budget.before_tool(TOOL)
        if driver.token.cancelled:
            return False
        await log.commit(*new(driver.state, driver.budget.recorded(decision)))
        driver.guard()
        return decision.verdict in ("allow", "warn")

    async def record(events: Sequence[EventData]) -> None:
        await log.commit(*events)

    verifier = _verifier_of(driver, driver.token)
    made = await verifier.report(
        WORKSPACE,
        await commands_for(policy, driver.workspace),
        source="run",
        record=record,
        ids=call_of,
        done=await _completed(driver, run),
        may=may,
    )
    if made is None:
        return
    log.stage(VerificationReported(made.report))
    await log.commit(*_told(driver, run, policy, made))
    reported = driver.state.run.report if driver.state.run is not None else None
    await verifier.told(made.report, reported)


async def verify_for_model(driver: Driver, token: Cancel, ask: Callable[[Sequence[EventData]], None]) -> Verified:
    """The same checks because a tool of the open run asks for them; their report decides nothing.

    BudgetExhausted, and no report, when one of them cannot be paid for. `ask` is given the question for more, if there is
    one: a run is parked only when no call is under way, so it is for when this one has ended.
    """
    parts, run = driver.parts, driver.state.run
    run_id = run.id if run is not None else None
    unpaid: list[BudgetExhausted] = []

    async def record(events: Sequence[EventData]) -> Seq:
        epoch = _epoch_of(driver)
        return (await append_outside(parts.store, driver.session, events, parts.clock, run=run_id, epoch=epoch)).last

    async def may(command: VerificationCommand) -> bool:
        await driver.log.sync()
        decision = await driver.budget.before_tool(TOOL)
        if token.cancelled:
            return False
        events = new(driver.state, driver.budget.recorded(decision))
        told = [e for e in events if from_outside(e)]
        if told:
            await record(told)
        if decision.verdict in ("allow", "warn"):
            return True
        # A yes to a guard lets the run's next step pass, and this command is none: who asks for it again is asked again.
        asks = decision.verdict == "ask" and decision.scope != "guard"
        if asks:
            ask(events)
        unpaid.append(_unpaid(command, decision, asks=asks))
        return False

    commands = await commands_for(driver.spec.verification, driver.workspace)
    made = await asked_for(_verifier_of(driver, token), commands, record, may)
    if made is None:
        raise unpaid[0] if unpaid else ToolFailed(CUT_OFF)
    return made


def _unpaid(command: VerificationCommand, decision: BudgetDecision, *, asks: bool) -> BudgetExhausted:
    """What a tool is told whose checks end before this command."""
    then = "A person is asked for more: when you go on, it was given, so call verify again. " if asks else ""
    return BudgetExhausted(
        f"{refusal(decision)}. The verification ended before {command.id}, without a report. {then}".rstrip(),
        resource=decision.resource,
        consumed=decision.consumed,
        limit=decision.limit,
    )


def _verifier_of(driver: Driver, token: Cancel) -> Verifier:
    parts, run = driver.parts, driver.state.run
    calls = DirectCalls(
        parts,
        driver.session,
        tools=lambda: driver.tools,
        any_tool=parts.find_tool,
        workspace=lambda: driver.workspace,
        hooks=driver.hooks,
        budget=lambda _: driver.budget,
        model=lambda: driver.spec.models[0],
        retries=lambda: driver.spec.limits.max_model_retries,
        labels=driver.state.labels,
        token=driver.token,
        epoch=lambda: _epoch_of(driver),
    )
    return Verifier(calls, driver.hooks, parts.clock, run=run.id if run is not None else None, cancel=token)


def _epoch_of(driver: Driver) -> int | None:
    lease = driver.log.lease
    return lease.epoch if lease is not None else None


async def _completed(driver: Driver, run: Run) -> dict[CallId, Ran]:
    """The verification calls since the run's last step that came to their end, here or in a process that died."""
    events = await driver.parts.store.read(driver.session, run.checkpoint, types=("tool.finished",))
    found: dict[CallId, Ran] = {}
    for event in events:
        data = event.data
        if isinstance(data, ToolFinished) and data.origin == "verification":
            ran = Ran(data.status, text_of(data.content), data.metadata, event.seq)
            if not ran.cut:
                found[data.call] = ran
    return found


def _told(driver: Driver, run: Run, policy: VerificationPolicy, made: Verified) -> list[EventData]:
    """The message to the model, if the run goes on."""
    if made.report.status != "failed" or run.failures + 1 >= policy.max_attempts:
        return []
    if sum(q.delivery == "steer" for q in driver.state.gate.queue) >= INBOX_LIMIT:
        return []  # the run goes on with those, and is verified again at its end
    head = (
        f"You said that the work is done, but these checks do not pass (attempt {run.failures + 1} of"
        f" {policy.max_attempts}). Find out why, mend it, and finish again; the checks are run again then. What follows each"
        " check is the end of its output."
    )
    text = f"{head}\n\n{failures_text(made.report, made.outputs)}"
    input_id = InputId(derived_id("in", run.id, "verification", str(run.reports + 1)))
    return [UserMessage(input_id, (Text(text),), "steer", "batch", VERIFICATION)]
