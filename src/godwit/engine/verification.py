"""Verification: runs checks by the session's own tool path, reports what came of them, and holds a run to them.

Leaves out what statuses mean (`core/verification.py`) and which commands fit a project (`core/presets.py`). Rules a change
must keep: a check's evidence can be followed, to the event of its call and to the whole output; a command that was completed
for a report is not run again for it, one that was cut off is (its call keeps its id); what holds a run is decided from the
log alone; presets are found through the `Workspace` contract, and what cannot be read gives fewer of them and no error.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from ..contracts import EventStore, Verified, Workspace
from ..core.budget import BudgetDecision
from ..core.errors import BudgetExhausted, GodwitError, InvalidArgument, SessionClosed, ToolFailed
from ..core.events import (
    EventData,
    HookBlocked,
    SessionRewound,
    ToolFinished,
    UserMessage,
    VerificationReported,
    from_outside,
)
from ..core.gate import INBOX_LIMIT
from ..core.hooks import INTERRUPTED, HookResult
from ..core.ids import CallId, Clock, InputId, RunId, Seq, SessionId, derived_id
from ..core.messages import Text, text_of
from ..core.state import Run
from ..core.verification import (
    WORKSPACE,
    Check,
    VerificationCommand,
    VerificationPolicy,
    VerificationPreset,
    VerificationReport,
    VerificationSummary,
    check_report,
    commands_of,
    failures_text,
    from_elsewhere,
    latest,
    summarize,
    summary_text,
)
from .budget import new, refusal
from .cancel import Cancel
from .direct import DirectCalls
from .driver import Driver
from .hooks import Hooks
from .log import append_outside

TOOL = "bash"
"""What runs the commands."""
SENDER = "verification"
"""Who sends the model what did not pass."""
_CUT_OFF = "[interrupted]"


@dataclass(frozen=True)
class Ran:
    """What a command came to, now or as the log has it. `seq`: its `tool.finished`; None when nothing was recorded."""

    status: str
    text: str
    metadata: Mapping[str, Any]
    seq: Seq | None = None

    @property
    def cut(self) -> bool:
        """It was ended from outside, so that it says nothing."""
        return self.status == "unknown" or bool(self.metadata.get("cancelled") or self.metadata.get("interrupted"))


class Verifier:
    """Runs checks on one session. `run`: the open run they belong to, if any. `cancel`: ends them."""

    def __init__(self, calls: DirectCalls, hooks: Hooks, clock: Clock, *, run: RunId | None, cancel: Cancel) -> None:
        self._calls = calls
        self._hooks = hooks
        self._clock = clock
        self._run = run
        self._cancel = cancel

    async def report(
        self,
        subject: str,
        commands: Sequence[VerificationCommand],
        *,
        source: str,
        record: Callable[[Sequence[EventData]], Awaitable[object]],
        ids: Callable[[VerificationCommand], CallId] | None = None,
        done: Mapping[CallId, Ran] | None = None,
        may: Callable[[VerificationCommand], Awaitable[bool]] | None = None,
    ) -> Verified | None:
        """Run them one after the other and return the report, not stored yet, and their outputs. None when it was cut off,
        or `may` says no before one of them; it has asked the budget then.

        `ids`: the call of each; with `done` for those that need not run again.
        """
        payload = {
            "subject": subject,
            "source": source,
            "commands": [{"id": c.id, "command": c.command, "required": c.required} for c in commands],
        }
        asked = await self._fire("before_verification", payload)
        if asked is INTERRUPTED:
            return None
        if asked.action == "skip":
            return Verified(VerificationReport(subject, at_ms=self._clock.now_ms(), source=source), {})
        if asked.action == "block":
            reason = asked.reason or "Blocked"
            await record([HookBlocked(asked.hook or "hook", "before_verification", reason, failed=asked.failed)])
            risk = f"a hook blocked the verification: {reason}"
            kept = tuple(msgspec.structs.replace(_open(c), status="skipped", residual_risk=risk) for c in commands)
            risks = () if kept else (risk,)
            return Verified(VerificationReport(subject, kept, risks, self._clock.now_ms(), source), {})
        outputs: dict[str, str] = {}
        checks: list[Check] = []
        for command in commands:
            if self._cancel.cancelled:
                return None
            call = ids(command) if ids is not None else None
            ran = (done or {}).get(call) if call is not None else None
            if ran is None:
                if may is not None and not await may(command):
                    return None
                ran = await self._ran(command, call, paid=may is not None)
                if self._cancel.cancelled and ran.cut:
                    return None
            outputs[command.id] = ran.text
            checks.append(judged(command, ran))
        return Verified(VerificationReport(subject, tuple(checks), at_ms=self._clock.now_ms(), source=source), outputs)

    async def told(self, report: VerificationReport, seq: Seq | None) -> None:
        """Let those know who want to, once it is stored."""
        checks = [{"id": c.id, "status": c.status, "required": c.required} for c in report.checks]
        payload = {"subject": report.subject, "source": report.source, "status": report.status, "checks": checks, "seq": seq}
        await self._fire("after_verification", payload)

    async def _ran(self, command: VerificationCommand, call: CallId | None, *, paid: bool) -> Ran:
        arguments: dict[str, Any] = {"command": command.command}
        if command.timeout_s is not None:
            arguments["timeout"] = max(1, round(command.timeout_s * 1000))
        result = await self._calls.run(
            TOOL, arguments, origin="verification", cancel=self._cancel, run=self._run, call=call, paid=paid
        )
        return Ran(result.status, result.output, result.metadata, result.seq or None)

    async def _fire(
        self, point: Literal["before_verification", "after_verification"], payload: dict[str, Any]
    ) -> HookResult:
        return await self._hooks.fire(point, payload, run=self._run, cancel=self._cancel)


def _open(command: VerificationCommand) -> Check:
    """The command's check before anything is known."""
    return Check(
        command.id,
        command.kind,
        command.description or command.command,
        required=command.required,
        suggested_tools=(TOOL,),
    )


def judged(command: VerificationCommand, ran: Ran) -> Check:
    """What came of it as a check: exit code 0 passes, all else fails and says why."""
    evidence = (f"seq:{ran.seq}",) if ran.seq is not None else ()
    artifact = ran.metadata.get("artifact")
    if isinstance(artifact, str):
        evidence = (*evidence, artifact)
    risk = _risk(command, ran)
    status = "passed" if risk is None else "failed"
    return msgspec.structs.replace(_open(command), status=status, evidence=evidence, residual_risk=risk)


def _risk(command: VerificationCommand, ran: Ran) -> str | None:
    code, shown = ran.metadata.get("exit_code"), command.command
    if ran.metadata.get("timed_out"):
        after = "" if command.timeout_s is None else f" after {command.timeout_s:g} s"
        return f"verification command timed out{after}: {shown}"
    if isinstance(code, int):
        # The command's own word: what hooks made of its output changes nothing about it.
        return None if code == 0 and ran.status == "ok" else f"verification command exited with code {code}: {shown}"
    if "exit_code" in ran.metadata and not ran.cut:
        return f"verification command was killed: {shown}"
    return f"verification command could not run: {ran.text.strip()[-500:] or ran.status}"


# --- where commands come from ---------------------------------------------------------------------------------------


async def commands_for(policy: VerificationPolicy | None, workspace: Workspace | None) -> tuple[VerificationCommand, ...]:
    """What the policy has run here; without one, what the workspace's files ask for."""
    policy = policy or VerificationPolicy(presets=True)
    return policy.chosen(await find_presets(workspace) if policy.presets and workspace is not None else ())


async def find_presets(workspace: Workspace) -> tuple[VerificationPreset, ...]:
    """The presets that fit the workspace's root folder; none when it cannot be looked at."""
    # Imported here, since few sessions ask: it brings readers of file formats.
    from ..core.presets import LARGEST_BYTES, PROGRAMS_FOLDER, Project, presets_of, to_read

    try:
        entries = await workspace.listdir()
    except (GodwitError, OSError):
        return ()
    files = {e.path for e in entries if e.kind in ("file", "symlink")}
    texts: dict[str, str] = {}
    for name in to_read(files):
        try:
            info = await workspace.info(name)
            if info is not None and info.kind == "file" and info.size <= LARGEST_BYTES:
                texts[name] = (await workspace.read(name)).decode()
        except (GodwitError, OSError, UnicodeDecodeError):
            continue
    try:
        programs = await workspace.listdir(PROGRAMS_FOLDER)
    except (GodwitError, OSError):
        programs = []
    return presets_of(
        Project(
            files=frozenset(files),
            folders=frozenset(e.path for e in entries if e.kind in ("directory", "symlink")),
            texts=texts,
            programs=frozenset(p.path.rpartition("/")[2] for p in programs),
        )
    )


# --- in a run -------------------------------------------------------------------------------------------------------


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
    made = await _asked_for(_verifier_of(driver, token), commands, record, may)
    if made is None:
        raise unpaid[0] if unpaid else ToolFailed(_CUT_OFF)
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


async def _asked_for(
    verifier: Verifier,
    commands: Sequence[VerificationCommand],
    record: Callable[[Sequence[EventData]], Awaitable[Seq]],
    may: Callable[[VerificationCommand], Awaitable[bool]] | None = None,
) -> Verified | None:
    made = await verifier.report(WORKSPACE, commands, source="tool", record=record, may=may)
    if made is not None:
        await verifier.told(made.report, await record([VerificationReported(made.report)]))
    return made


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
    return [UserMessage(input_id, (Text(text),), "steer", "batch", SENDER)]


# --- on a session ---------------------------------------------------------------------------------------------------


class HostVerification(ABC):
    """The part of a session's handle that verifies: runs checks, finds them, and adds up what was reported."""

    checks: Verifications

    @abstractmethod
    def _check_open(self) -> None:
        """Raise SessionClosed when the handle is."""

    async def verify_commands(self, subject: str, commands: Sequence[VerificationCommand | str]) -> VerificationReport:
        """Run these commands one after the other, as the session's tool `bash` would, and record what came of them about
        `subject`. A text is a command that is its own id.

        Exit code 0 passes; another one, a timeout, and a command that could not run fail the check, which says why and
        names its evidence. The host is trusted: permissions do not apply; hooks, budgets and the sandbox do.
        Raises SessionClosed, SessionArchived, InvalidArgument; a command that fails is no error.
        """
        self._check_open()
        return await self.checks.verify(subject, commands)

    async def verification_presets(self) -> list[VerificationPreset]:
        """Commands that fit the workspace, by its files; none without a workspace."""
        return await self.checks.presets()

    async def verification_reports(self) -> list[VerificationReport]:
        """Every report recorded for the session, oldest first."""
        return await self.checks.all()

    async def verification_summary(self) -> VerificationSummary:
        """What holds now: of each subject the newest report counts, unless the files were taken back behind it."""
        return await self.checks.summary()

    async def verification_summary_text(self) -> str:
        """The same in one line."""
        return summary_text(await self.checks.summary())

    async def record_verification_reports(self, reports: Sequence[VerificationReport]) -> None:
        """Add reports that were made elsewhere, all of them or none. Their source is what they say, or `external`.

        Raises InvalidArgument for one that cannot be used, SessionClosed, SessionArchived.
        """
        self._check_open()
        await self.checks.record(reports)


class Verifications:
    """The reports of one session, and making more of them."""

    def __init__(
        self,
        store: EventStore,
        session: SessionId,
        clock: Clock,
        *,
        calls: DirectCalls,
        hooks: Hooks,
        workspace: Callable[[], Workspace | None],
        policy: VerificationPolicy | None,
        token: Cancel,
    ) -> None:
        self._store = store
        self._session = session
        self._clock = clock
        self._calls = calls
        self._hooks = hooks
        self._workspace = workspace
        self._policy = policy
        self._token = token

    async def verify(self, subject: str, given: Sequence[VerificationCommand | str]) -> VerificationReport:
        """See `HostVerification.verify_commands`."""
        commands = commands_of(given)
        if not subject.strip():
            raise InvalidArgument("a verification needs a subject")
        verifier = self._verifier(self._token)
        made = await verifier.report(subject, commands, source="commands", record=self._append)
        if made is None:
            raise SessionClosed(session=self._session)
        await verifier.told(made.report, await self._append([VerificationReported(made.report)]))
        return made.report

    async def for_tool(self, token: Cancel) -> Verified:
        """The session's checks, because a tool that the host called asks for them."""
        commands = await commands_for(self._policy, self._workspace())
        made = await _asked_for(self._verifier(token), commands, self._append)
        if made is None:
            raise ToolFailed(_CUT_OFF)
        return made

    async def presets(self) -> list[VerificationPreset]:
        workspace = self._workspace()
        return [] if workspace is None else list(await find_presets(workspace))

    async def all(self) -> list[VerificationReport]:
        events = await self._store.read(self._session, types=("verification.reported",))
        return [e.data.report for e in events if isinstance(e.data, VerificationReported)]

    async def summary(self) -> VerificationSummary:
        events = await self._store.read(self._session, types=("verification.reported", "session.rewound"))
        held: list[tuple[Seq, VerificationReport]] = []
        for event in events:
            match event.data:
                case VerificationReported(report=report):
                    held.append((event.seq, report))
                case SessionRewound(to=to, files=files) if files is not None:
                    # What was found out about files that are not there any more holds no longer.
                    held = [(seq, report) for seq, report in held if seq <= to]
                case _:
                    pass
        return summarize(latest([report for _, report in held]))

    async def record(self, reports: Sequence[VerificationReport]) -> None:
        head = (await self._store.session(self._session)).head
        now_ms = self._clock.now_ms()
        for report in reports:
            check_report(report, head)
        if reports:
            await self._append([VerificationReported(from_elsewhere(r, now_ms)) for r in reports])

    def _verifier(self, token: Cancel) -> Verifier:
        return Verifier(self._calls, self._hooks, self._clock, run=None, cancel=token)

    async def _append(self, events: Sequence[EventData]) -> Seq:
        return (await append_outside(self._store, self._session, events, self._clock)).last
