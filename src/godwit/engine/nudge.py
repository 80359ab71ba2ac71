"""Nudge: before a run ends as done, whether its model has stopped in the middle of its work; then it is told to go on.

Leaves out what an agent chooses and what is said (`core.nudges`). Rules a change must keep: what decides is in the folded
log, so whoever goes on after a crash decides the same; the event and its message are one append, so none is lost or said
twice; what a person has said comes first, and what others wait for (a pause, an answer, the end of a budget) as well.
"""

from __future__ import annotations

from ..core.agent import AgentSpec
from ..core.events import RunNudged, UserMessage
from ..core.ids import InputId, Seq, derived_id
from ..core.messages import Text
from ..core.nudges import NUDGE, NudgeReason, nudge_text
from ..core.state import State
from ..core.todos import open_todos
from .driver import Driver
from .output import output_of


def nudge_reasons(state: State, spec: AgentSpec) -> tuple[NudgeReason, ...]:
    """Why the run goes on in place of ending as done; empty when it may end."""
    run, policy = state.run, spec.nudges
    if run is None or run.nudges >= policy.max_nudges or state.gate.queue:
        return ()
    found: list[NudgeReason] = []
    # An answer that must have a form is held to that form, and a rest would not have it.
    if policy.answers and run.stopped is not None and output_of(run, spec) is None:
        found.append(run.stopped)
    # In a mode that takes something away it cannot do what is left; a history of its own knows nothing of it.
    if state.mode is None and not run.detached:
        if policy.todos and open_todos(state.todos):
            found.append("todos")
        if policy.goal and state.goal is not None and state.goal.open:
            found.append("goal")
    return tuple(found)


async def nudge(driver: Driver, reasons: tuple[NudgeReason, ...], seen: Seq) -> None:
    """Record it, unless something has come since `seen`: HeadMoved."""
    state = driver.state
    run = state.run
    assert run is not None
    attempt = run.nudges + 1
    input_id = InputId(derived_id("in", run.id, NUDGE, str(run.checkpoint), str(attempt)))
    text = nudge_text(reasons, state.todos, state.goal)
    message = UserMessage(input_id, (Text(text),), "steer", "batch", NUDGE)
    await driver.log.commit(RunNudged(run.id, reasons, input_id, attempt), message, seen=seen)


__all__ = ["nudge", "nudge_reasons"]
