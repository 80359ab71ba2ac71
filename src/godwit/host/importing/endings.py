"""What ends a log that was cut off where it came from: nothing of it may go on here by itself, neither a call that was under
way nor an input that waits.
"""

from __future__ import annotations

from ...core.errors import Fault
from ...core.events import (
    ActionClosed,
    EventData,
    InputWithdrawn,
    RunClaimed,
    RunFinished,
    SessionConfigured,
    SessionResumed,
    SubagentFinished,
    ToolFinished,
    TurnFinished,
    WorkspaceRestored,
)
from ...core.lanes import LaneHandler
from ...core.messages import Text
from ...core.rules import ApprovalPolicy, Permissions
from ...core.state import State

_WHY = Fault("interrupted", "The session was imported while this was under way.")
_SAID = (Text(_WHY.message),)


def next_ending(state: State) -> EventData | None:
    """The next event that something open here needs for its end; None when nothing is open. Fold it and ask again."""
    gate, run, turn = state.gate, state.run, state.turn
    if gate.archived:
        return None
    if state.restoring is not None:
        return WorkspaceRestored(state.restoring.files, error="The files did not come with the session.")
    for task in gate.tasks:
        return SubagentFinished(task.id, task.session, "cancelled", error=_WHY)
    for own in state.own_calls:
        return ToolFinished(own.id, own.name, "unknown", _SAID, origin=own.origin)
    for action in gate.actions:
        return ActionClosed(action.id, "cancelled")
    if turn is not None:
        for call in turn.unfinished:
            # What has begun may have had its effect.
            return ToolFinished(call.id, call.name, "skipped" if call.phase == "requested" else "unknown", _SAID)
        return TurnFinished(turn.index)
    for queued in gate.queue:
        return InputWithdrawn(queued.id, "run_finished")
    if run is not None and gate.phase == "retrying":
        if gate.paused and not gate.interrupted:
            return SessionResumed()
        return RunClaimed(run.id, gate.attempt + 1 if gate.claimed or gate.attempt == 0 else gate.attempt, "import")
    if run is not None:
        return RunFinished(run.id, "interrupted", _WHY, run.usage, run.turns, run.tool_calls)
    return None


def given_back(state: State) -> SessionConfigured | None:
    """What takes back the rights that the session had where it came from: here it has those of its agent."""
    permissions = None if state.permissions in (None, Permissions()) else Permissions()
    approvals = None if state.approvals in (None, ApprovalPolicy()) else ApprovalPolicy()
    lanes = {lane: LaneHandler() for lane, handler in state.lanes.items() if handler != LaneHandler()} or None
    if permissions is None and approvals is None and lanes is None:
        return None
    return SessionConfigured(permissions=permissions, approvals=approvals, lanes=lanes)
