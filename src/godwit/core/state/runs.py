"""An open run: that there is one, and what of its past decides how it goes on."""

from __future__ import annotations

import msgspec

from ..errors import IllegalEvent
from ..events import EventData, ToolFinished, type_of
from ..ids import Seq
from ..messages import Assistant, Text, Thinking
from ..nudges import NudgeReason
from ..verification import VerificationReport
from .shape import Call, Run


def open_run(run: Run | None, data: EventData) -> Run:
    """IllegalEvent when none is open."""
    if run is None:
        raise IllegalEvent(f"{type_of(data)} needs an open run", type=type_of(data))
    return run


def touched(run: Run, call: Call, data: ToolFinished) -> tuple[str, ...]:
    """The tools that did something, with this call's if it did."""
    came_from_outside = call.answer is not None and call.answer.decision == "result"
    if data.name in run.touched or not (call.phase == "started" or came_from_outside or call.tasks is not None):
        return run.touched
    return (*run.touched, data.name)


def verified(run: Run, report: VerificationReport, seq: Seq) -> Run:
    """The run with what was found out about it. Only what passed counts as verified from here on."""
    verdict = report.status
    return msgspec.structs.replace(
        run,
        verdict=verdict,
        unverified=tuple(c.id for c in report.checks if c.required and c.status != "passed"),
        failures=run.failures + (verdict == "failed"),
        touched=() if verdict == "passed" else run.touched,
        report=seq,
        reports=run.reports + 1,
    )


def stopped(message: Assistant) -> NudgeReason | None:
    """What of an answer without calls says that it is not an end. Of one that was cut by a failure others decide."""
    if message.calls or not message.complete:
        return None
    if message.stop == "max_tokens":
        return "cut_off"
    if message.stop == "tool_use":
        return "no_call"
    said = any(b.text.strip() if isinstance(b, Text) else not isinstance(b, Thinking) for b in message.content)
    return "empty" if message.stop == "end_turn" and not said else None
