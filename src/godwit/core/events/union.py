"""The closed union of all events, and which of them may come from whom.

A new event is put into `KnownData`, and into `OUTSIDE_TYPES` if somebody else than the driver may append it.
"""

from __future__ import annotations

import msgspec

from .calls import (
    ActionClosed,
    ActionOpened,
    ArtifactStored,
    CommandExecuted,
    HookBlocked,
    HookReported,
    McpResourceUpdated,
    McpUnavailable,
    ToolAsked,
    ToolFinished,
    ToolStarted,
)
from .context import CompactionFailed, ContextLoaded, MemoryFailed, MemoryRecalled, SessionCompacted, SessionPruned
from .data import Data
from .files import WorkspaceCheckpointed, WorkspaceRestored
from .inputs import InputDelivered, InputReordered, InputWithdrawn, UserAnswer, UserInterrupt, UserMessage
from .run import (
    AgentMessage,
    BudgetExceeded,
    BudgetWarned,
    GoalUpdated,
    ModelStarted,
    OutputChecked,
    RunClaimed,
    RunFinished,
    RunNudged,
    RunParked,
    RunRetrying,
    RunStarted,
    RunUnparked,
    RunYielded,
    TodosUpdated,
    TurnFinished,
    TurnStarted,
    UsageRecorded,
    VerificationReported,
)
from .session import (
    EntryKept,
    SessionArchived,
    SessionConfigured,
    SessionCreated,
    SessionForked,
    SessionImported,
    SessionLabelled,
    SessionOpened,
    SessionPaused,
    SessionResumed,
    SessionRewound,
)
from .shared import StateUpdated
from .subagents import SubagentAsked, SubagentFinished, SubagentProgressed, SubagentStarted, TasksCancelled


class Unknown(msgspec.Struct, frozen=True):
    """An event of a type this version does not know, or whose shape it cannot read; `body` is untouched."""

    type: str
    body: bytes


KnownData = (
    UserMessage
    | UserInterrupt
    | UserAnswer
    | InputDelivered
    | ContextLoaded
    | InputWithdrawn
    | InputReordered
    | SessionCreated
    | SessionOpened
    | SessionConfigured
    | SessionPaused
    | SessionResumed
    | SessionRewound
    | SessionForked
    | SessionLabelled
    | SessionCompacted
    | SessionPruned
    | CompactionFailed
    | SessionArchived
    | RunStarted
    | RunClaimed
    | RunParked
    | RunUnparked
    | RunYielded
    | RunRetrying
    | RunFinished
    | RunNudged
    | TodosUpdated
    | GoalUpdated
    | StateUpdated
    | TurnStarted
    | TurnFinished
    | ModelStarted
    | AgentMessage
    | ToolStarted
    | ToolAsked
    | ToolFinished
    | ActionOpened
    | ActionClosed
    | ArtifactStored
    | UsageRecorded
    | BudgetWarned
    | BudgetExceeded
    | HookBlocked
    | HookReported
    | OutputChecked
    | McpResourceUpdated
    | McpUnavailable
    | MemoryRecalled
    | MemoryFailed
    | WorkspaceCheckpointed
    | WorkspaceRestored
    | VerificationReported
    | CommandExecuted
    | SubagentStarted
    | SubagentProgressed
    | SubagentAsked
    | SubagentFinished
    | TasksCancelled
    | SessionImported
    | EntryKept
)
EventData = KnownData | Unknown
EVENT_TYPES: dict[str, type[Data]] = {str(cls.__struct_config__.tag): cls for cls in KnownData.__args__}
"""Every event type by its name on the wire."""
OUTSIDE_TYPES = (
    UserMessage,
    UserInterrupt,
    UserAnswer,
    InputWithdrawn,
    InputReordered,
    SessionCreated,
    SessionConfigured,
    SessionPaused,
    SessionResumed,
    SessionRewound,
    SessionLabelled,
    SessionCompacted,
    SessionArchived,
    RunStarted,
    ToolStarted,
    ToolFinished,
    UsageRecorded,
    ArtifactStored,
    HookBlocked,
    HookReported,
    McpResourceUpdated,
    BudgetWarned,
    BudgetExceeded,
    WorkspaceCheckpointed,
    VerificationReported,
    TodosUpdated,
    GoalUpdated,
    StateUpdated,
    CommandExecuted,
    SubagentStarted,
    SubagentProgressed,
    SubagentAsked,
    SubagentFinished,
    TasksCancelled,
)
"""What may be appended without being the driver, but for a model's own call, a report that decides on a run and a compaction
within one. All else needs the driver's epoch, and `session.forked` is appended by a fork alone."""
IMPORT_TYPES = (SessionImported, EntryKept)
"""What only an import writes."""


def from_outside(data: EventData) -> bool:
    """Whether this may be appended without being the driver."""
    if isinstance(data, ToolStarted | ToolFinished):
        return data.origin != "model"
    if isinstance(data, VerificationReported):
        return data.report.source != "run"
    if isinstance(data, SubagentStarted):
        return data.action is None
    if isinstance(data, SessionCompacted):
        return not data.at_once
    return isinstance(data, OUTSIDE_TYPES)
