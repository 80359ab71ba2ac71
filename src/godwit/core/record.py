"""What a session's runs come to, how much of them is handed out, and a page of one run's events.

Data. The log keeps everything; these bound what somebody who lists runs or reads their events gets of it. Rule: counts are
of all that happened, whatever the limits are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from .errors import ConfigurationError, Fault
from .events import Event, RunOutcome
from .ids import CallId, RunId, Seq, SessionId
from .messages import Assistant, Usage
from .verification import VerificationReport, VerificationSummary, summarize


class RecordLimits(msgspec.Struct, frozen=True, omit_defaults=True):
    """`max_runs`: the newest so many runs of a session; `max_events_per_run`: the newest so many events of each. None:
    all. 0: none, while counting goes on."""

    max_runs: int | None = None
    max_events_per_run: int | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 0):
                raise ConfigurationError(f"record limit {name}={value!r} must be a number from 0, or None", value=value)


class RunPage(msgspec.Struct, frozen=True):
    """Some events of one run, in order, and where to go on.

    `first_available_seq`: the first event that can still be read, None when there is none. `latest_seq`: the run's newest
    event. `next_after`: what to ask for next. `retention_gap`: limits have taken events away that stand behind the cursor of
    this request. `has_more`: another page is there already. `event_count`: of the whole run so far.
    """

    events: tuple[Event, ...]
    first_available_seq: Seq | None
    latest_seq: Seq
    next_after: Seq
    retention_gap: bool
    has_more: bool
    event_count: int


RunStatus = RunOutcome | Literal["queued", "running", "waiting", "retrying"]


@dataclass(frozen=True)
class RunResult:
    """How a run ended. `text`: the last answer's text. `seq`: the event that ended it. `verification`: the last report on
    the run, when its agent is held to checks and they were run. `output`: the answer as data, of the type that was asked for
    where this process knows it; None when no form was asked for, or the answer has it not."""

    run: RunId
    outcome: RunOutcome
    text: str
    message: Assistant | None
    usage: Usage
    turns: int
    tool_calls: int
    error: Fault | None
    seq: Seq
    verification: VerificationReport | None = None
    output: Any = None

    @property
    def verified(self) -> bool | None:
        """Whether the checks passed; None when none were run."""
        report = self.verification
        return None if report is None or not report.checks else report.status == "passed"

    def has_pending_verification(self) -> bool:
        """True when somebody has to look at the report."""
        return self.verification is not None and not self.verification.is_complete

    def verification_summary(self) -> VerificationSummary:
        """What the report on this run comes to."""
        return summarize([] if self.verification is None else [self.verification])


@dataclass(frozen=True)
class RunSnapshot:
    """A run as its events tell it. `event_count` counts all its events, whatever limits there are for reading them."""

    id: RunId
    session: SessionId
    status: RunStatus
    prompt: str
    text: str
    error: Fault | None
    usage: Usage
    turns: int
    tool_calls: int
    attempt: int
    resumes: RunId | None
    created_ms: int
    updated_ms: int
    first_seq: Seq
    last_seq: Seq
    event_count: int


@dataclass(frozen=True)
class ActiveTool:
    """A call of the open run whose effect has begun and whose result is not there yet."""

    call: CallId
    name: str
    arguments: dict[str, Any]
    started_ms: int
