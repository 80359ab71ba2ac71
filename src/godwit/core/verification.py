"""Verification: checks, reports, and what they add up to. The status rules are those of seed 001.

Data and arithmetic. Leaves out running anything (`engine/checks.py`) and finding commands (`presets.py`). Rules a
change must keep: a status is computed from checks and never stored beside them, so that the two cannot disagree; what was
not looked at is never counted as passed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import msgspec

from .errors import ConfigurationError, InvalidArgument

VerificationStatus = Literal["passed", "failed", "needs_review", "skipped"]

LONGEST_S = 600.0
"""The longest a verification command may take: the bash tool, which runs it, takes no longer timeout."""
WORKSPACE = "workspace"
"""The subject of the session's own checks: those at a run's end, of the tool `verify`, and of who asks for them as a whole.
So a later report on them takes the place of an earlier one."""
TAIL_BYTES = 4 * 1024
"""How much of the end of a command's output is shown with a check that failed."""
SHOWN_CHECKS = 5
"""Of how many checks; the others are named."""
OWN_SOURCES = ("commands", "run", "tool")
"""What `VerificationReport.source` says of reports that were made here; one from outside cannot carry these."""


class VerificationCommand(msgspec.Struct, frozen=True, omit_defaults=True):
    """A command whose exit code says whether a claim holds: 0 passes, all else fails.

    `required`: whether a claim stands only with it; presets mark what a project merely has as not required. `timeout_s`: at
    most 600; None takes the tool's default (120).
    """

    id: str
    command: str
    kind: str = "command"
    description: str = ""
    required: bool = True
    timeout_s: float | None = None

    def __post_init__(self) -> None:
        if not self.id.strip() or not self.command.strip():
            raise ConfigurationError(f"a verification command needs an id and a command: {self!r}")
        if "\0" in self.command:
            raise ConfigurationError(f"verification command {self.id!r} holds a NUL character", id=self.id)
        if self.timeout_s is not None and not 0 < self.timeout_s <= LONGEST_S:
            raise ConfigurationError(
                f"verification command {self.id!r}: timeout_s={self.timeout_s!r} must be more than 0 and at most"
                f" {LONGEST_S:g}",
                value=self.timeout_s,
            )


def commands_of(given: Sequence[VerificationCommand | str]) -> tuple[VerificationCommand, ...]:
    """Commands as their structs: a text is a command that is its own id. ConfigurationError when two share an id."""
    if isinstance(given, str):
        raise ConfigurationError(f"verification commands are a list, and {given!r} is a text", commands=given)
    made = tuple(VerificationCommand(g, g) if isinstance(g, str) else g for g in given)
    check_ids("verification commands", [c.id for c in made])
    return made


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was looked at. `evidence`: artifact refs and log seqs (`seq:12`) that show it; reports from outside may
    name anything. `residual_risk`: what may still be wrong."""

    id: str
    kind: str = "command"
    description: str = ""
    status: VerificationStatus = "needs_review"
    required: bool = True
    suggested_tools: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    residual_risk: str | None = None

    @property
    def pending(self) -> bool:
        """True when it is required and nobody has decided it yet."""
        return self.required and self.status in ("needs_review", "skipped")


class VerificationReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was found out about `subject`. `at_ms`: wall time. `source`: `commands`, `run` (at a run's end), `tool` (the
    model asked), or who reported from outside."""

    subject: str
    checks: tuple[Check, ...] = ()
    residual_risks: tuple[str, ...] = ()
    at_ms: int = 0
    source: str = "commands"

    @property
    def status(self) -> VerificationStatus:
        """Any failed check fails it; else a required check that is open, or a residual risk, needs review; else no checks is
        skipped; else it passed."""
        if any(c.status == "failed" for c in self.checks):
            return "failed"
        if any(c.pending for c in self.checks) or self.risks:
            return "needs_review"
        return "passed" if self.checks else "skipped"

    @property
    def is_complete(self) -> bool:
        """False while somebody has to look at it."""
        return self.status != "needs_review"

    @property
    def risks(self) -> tuple[str, ...]:
        """Its residual risks and those of its checks."""
        return (*self.residual_risks, *(c.residual_risk for c in self.checks if c.residual_risk))


class VerificationPreset(msgspec.Struct, frozen=True, omit_defaults=True):
    """Commands that fit a kind of project. `found`: the files that say so."""

    name: str
    description: str
    commands: tuple[VerificationCommand, ...]
    found: tuple[str, ...] = ()


class VerificationPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a run may call itself done: only after all these commands passed (an agent option).

    `commands`: what to run; `presets`: also the required commands of those found from the workspace's files, unless one of
    `commands` has the same id. `max_attempts`: how often they may fail in one run; all failures but the last are given back
    to the model, the last ends the run as failed. `only_if_changed`: skip them in runs in which no tool was called that may
    change files.
    """

    commands: tuple[VerificationCommand, ...] = ()
    presets: bool = False
    max_attempts: int = 3
    only_if_changed: bool = True

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ConfigurationError(
                f"verification max_attempts={self.max_attempts!r} must be at least 1", value=self.max_attempts
            )
        if not self.commands and not self.presets:
            raise ConfigurationError("a verification policy needs commands, or presets=True")
        for command in self.commands:
            if not command.required:
                raise ConfigurationError(
                    f"verification command {command.id!r} is not required, but a run is done only once all of a policy's"
                    " commands pass: leave it out here, and run it with session.verify_commands",
                    id=command.id,
                )
        check_ids("verification commands", [c.id for c in self.commands])

    def chosen(self, presets: Sequence[VerificationPreset]) -> tuple[VerificationCommand, ...]:
        """What to run where these presets were found."""
        own = {c.id for c in self.commands}
        found = presets if self.presets else ()
        return (*self.commands, *(c for p in found for c in p.commands if c.required and c.id not in own))


class VerificationSummary(msgspec.Struct, frozen=True, omit_defaults=True):
    """What reports add up to: the worst of their statuses, in the order failed, needs_review, skipped, passed; skipped when
    there are none. `failed_check_count` counts checks that are not required too. Subjects are sorted, each once."""

    status: VerificationStatus = "skipped"
    report_count: int = 0
    required_check_count: int = 0
    pending_required_check_count: int = 0
    failed_check_count: int = 0
    residual_risk_count: int = 0
    pending_subjects: tuple[str, ...] = ()
    failed_subjects: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """False while somebody has to look at a report."""
        return self.status != "needs_review"


_WORST_FIRST: tuple[VerificationStatus, ...] = ("failed", "needs_review", "skipped", "passed")


def summarize(reports: Sequence[VerificationReport]) -> VerificationSummary:
    """All of these together."""
    statuses = [r.status for r in reports]
    checks = [c for r in reports for c in r.checks]
    return VerificationSummary(
        status=next((s for s in _WORST_FIRST if s in statuses), "skipped"),
        report_count=len(reports),
        required_check_count=sum(c.required for c in checks),
        pending_required_check_count=sum(c.pending for c in checks),
        failed_check_count=sum(c.status == "failed" for c in checks),
        residual_risk_count=sum(len(r.risks) for r in reports),
        pending_subjects=_subjects(reports, "needs_review"),
        failed_subjects=_subjects(reports, "failed"),
    )


def latest(reports: Sequence[VerificationReport]) -> list[VerificationReport]:
    """The newest report of each subject, in the order they came: what holds now."""
    newest = {r.subject: number for number, r in enumerate(reports)}
    return [r for number, r in enumerate(reports) if newest[r.subject] == number]


def summary_text(summary: VerificationSummary) -> str:
    """One line for a person."""
    counts = f"{_counted(summary.report_count, 'report')}, {_counted(summary.required_check_count, 'required check')}"
    failed = _counted(summary.failed_check_count, "failed check")
    pending = _counted(summary.pending_required_check_count, "pending required check")
    match summary.status:
        case "failed":
            open_too = f"; {pending}" if summary.pending_required_check_count else ""
            text = f"Verification failed: {failed} in {', '.join(summary.failed_subjects)}{open_too} ({counts})."
        case "needs_review":
            text = f"Verification needs review: {pending} in {', '.join(summary.pending_subjects)} ({counts})."
        case "skipped" if summary.report_count == 0:
            text = "Verification skipped: no reports."
        case "skipped":
            text = f"Verification skipped: a report without checks ({counts})."
        case "passed":
            text = f"Verification passed ({counts})."
    return f"{text} Residual risks: {summary.residual_risk_count}." if summary.residual_risk_count else text


def failures_text(report: VerificationReport, outputs: Mapping[str, str]) -> str:
    """One paragraph per check that failed, for the model: what happened, and the end of its output (`outputs`, by check)."""
    failed = [c for c in report.checks if c.status == "failed"]
    texts = []
    for check in failed[:SHOWN_CHECKS]:
        output = _tail(outputs.get(check.id, ""))
        texts.append(f"{check.id}: {check.residual_risk or 'failed'}" + (f"\n{output}" if output else ""))
    if rest := failed[SHOWN_CHECKS:]:
        texts.append(f"Likewise: {', '.join(c.id for c in rest)}")
    return "\n\n".join(texts)


def _tail(text: str) -> str:
    raw = text.strip("\n").encode()
    if len(raw) <= TAIL_BYTES:
        return text.strip("\n")
    return f"[... {len(raw) - TAIL_BYTES} bytes left out ...]\n{raw[-TAIL_BYTES:].decode(errors='ignore')}"


def check_ids(what: str, ids: Sequence[str]) -> None:
    """ConfigurationError when two are the same."""
    if len(set(ids)) != len(ids):
        twice = sorted({i for i in ids if ids.count(i) > 1})
        raise ConfigurationError(f"two {what} share an id: {', '.join(map(repr, twice))}", ids=list(ids))


def check_report(report: VerificationReport, head: int) -> None:
    """Refuse a report that cannot be used: InvalidArgument. `head`: the log's newest seq, which evidence may name."""
    try:
        # A struct's fields are not checked when it is made; what is stored must be readable again.
        msgspec.convert(msgspec.to_builtins(report), VerificationReport)
    except (msgspec.ValidationError, TypeError) as error:
        raise InvalidArgument(f"a verification report cannot be used: {error}") from None
    if not report.subject.strip():
        raise InvalidArgument("a verification report needs a subject")
    ids = [c.id for c in report.checks]
    if any(not i.strip() for i in ids):
        raise InvalidArgument(f"verification report {report.subject!r}: a check needs an id", subject=report.subject)
    if len(set(ids)) != len(ids):
        raise InvalidArgument(f"verification report {report.subject!r}: two checks share an id: {ids}", ids=ids)
    for check in report.checks:
        if check.status not in get_args(VerificationStatus):
            raise InvalidArgument(
                f"verification report {report.subject!r}: status {check.status!r} of check {check.id!r} is none of"
                f" {', '.join(get_args(VerificationStatus))}",
                status=check.status,
            )
        for shown in check.evidence:
            kind, _, number = shown.partition(":")
            if kind == "seq" and not (number.isascii() and number.isdigit() and 1 <= int(number[:20]) <= head):
                raise InvalidArgument(
                    f"verification report {report.subject!r}: evidence {shown!r} names no event of this session",
                    evidence=shown,
                )


def from_elsewhere(report: VerificationReport, now_ms: int) -> VerificationReport:
    """The report as one that was not made here."""
    source = "external" if report.source in OWN_SOURCES else report.source
    return msgspec.structs.replace(report, source=source, at_ms=report.at_ms or now_ms)


def _subjects(reports: Sequence[VerificationReport], status: VerificationStatus) -> tuple[str, ...]:
    return tuple(sorted({r.subject for r in reports if r.status == status}))


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
