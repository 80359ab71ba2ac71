"""Running checks on a session by its own tool path, and reporting what came of them.

Leaves out what statuses mean (`core/verification`), which commands fit a project (`core/presets`), and when a run is held to
checks (`verification`). Rules a change must keep: a check's evidence can be followed, to the event of its call and to the
whole output; presets are found through the `Workspace` contract, and what cannot be read gives fewer of them and no error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from ..contracts import Verified, Workspace
from ..core.errors import GodwitError
from ..core.events import EventData, HookBlocked, VerificationReported
from ..core.hooks import INTERRUPTED, HookResult
from ..core.ids import CallId, Clock, RunId, Seq
from ..core.verification import (
    WORKSPACE,
    Check,
    VerificationCommand,
    VerificationPolicy,
    VerificationPreset,
    VerificationReport,
)
from .cancel import Cancel
from .direct import DirectCalls
from .hooks import Hooks

TOOL = "bash"
"""What runs the commands."""
CUT_OFF = "[interrupted]"
"""What a tool is told whose checks were ended from outside."""


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


async def asked_for(
    verifier: Verifier,
    commands: Sequence[VerificationCommand],
    record: Callable[[Sequence[EventData]], Awaitable[Seq]],
    may: Callable[[VerificationCommand], Awaitable[bool]] | None = None,
) -> Verified | None:
    made = await verifier.report(WORKSPACE, commands, source="tool", record=record, may=may)
    if made is not None:
        await verifier.told(made.report, await record([VerificationReported(made.report)]))
    return made
