"""Task reports: the words in which a model reads what became of the tasks that it gave.

Leaves out when it is told, and where that is recorded. Rule: they follow from the log alone, so that the prompt is the same
whenever it is made.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..core.events import SubagentFinished, SubagentStarted
from ..core.messages import Text


def answers_of(ended: Sequence[tuple[SubagentStarted, SubagentFinished]]) -> tuple[Text, ...]:
    """What a call's tasks came to, in this order: one text for several; of one the answer, and behind it which task it was.

    The task's id is there so that the model can read all of a long answer, or ask the same subagent again.
    """
    if len(ended) == 1:
        finished = ended[0][1]
        return Text(_said(finished)), Text(f"\n\n[{finished.task}]")
    told = [f"## {n}. {_who(s)}: {f.status} [{f.task}]\n\n{_said(f)}" for n, (s, f) in enumerate(ended, 1)]
    return (Text("\n\n".join(told)),)


def _said(finished: SubagentFinished) -> str:
    said = finished.output or "(no output)"
    if finished.structured is not None:
        said = msgspec.json.encode(finished.structured).decode()
    if finished.status != "completed":
        why = f": {finished.error.message}" if finished.error is not None else ""
        said = f"[{finished.status}{why}]" + (f"\n{finished.output}" if finished.output else "")
    return said


def _who(started: SubagentStarted) -> str:
    return f"{started.agent} ({started.description})" if started.description else started.agent


def notice_of(started: SubagentStarted, reason: str) -> str:
    """What the model is told of a task in the background that somebody else has cancelled."""
    why = f": {reason}" if reason else "."
    return f"The task {started.task} that you gave to {_who(started)} was cancelled{why}"


def report_of(started: SubagentStarted, finished: SubagentFinished) -> str:
    """The message that tells of the end of a task in the background."""
    return f"The task {finished.task} that you gave to {_who(started)} has ended: {finished.status}.\n\n{_said(finished)}"


__all__ = ["answers_of", "notice_of", "report_of"]
