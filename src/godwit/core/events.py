"""The closed union of what can happen to a session, and the envelope each event travels in.

Names: `user.noun` is an input from outside, `domain.past_participle` a fact. Match on the class and leave no default
branch; `Unknown` stands for types written by a newer godwit, which are kept byte for byte and passed over.

One event is one JSON object, encoded once: `encode(data)` gives the stored body, and `Event.frame()` puts the envelope
(`seq`, `at`, `session`, `run`) in front of the same bytes. A field, once released, keeps its name and meaning.

Deltas are not events: they show what is on its way (`Delta`), carry no seq and are never stored.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from .agent import AgentRef, SteerMode, ThinkingLevel
from .budget import Budget
from .checkpoint import CheckpointRef, LeftAlone
from .errors import ConfigurationError, Fault
from .goal import Goal
from .hooks import HookPoint
from .ids import ActionId, AgentName, ArtifactRef, CallId, InputId, MessageId, RunId, Seq, SessionId, TaskId
from .lanes import LaneHandler
from .mcp import Trouble
from .memory import MemoryKind, MemoryScope
from .messages import Assistant, Message, ResultBlock, ToolStatus, Usage, UserBlock
from .model_info import Adjustment
from .nudges import NudgeReason
from .output import OutputSpec
from .rules import ApprovalPolicy, Permissions
from .tasks import TaskEnd
from .todos import Todo
from .verification import VerificationReport

Delivery = Literal["prompt", "steer", "follow_up"]
Decision = Literal["approve", "deny", "result"]
ActionKind = Literal["approval", "question", "external", "task"]
"""A `task` waits for children of the session and is answered by nobody else."""
RunOutcome = Literal["done", "interrupted", "failed", "limited"]
Origin = Literal["model", "direct", "verification"]
"""Who asked for a call: the model in its turn, the host on the session, or a verification. Only the first makes messages."""
Remember = Literal["session", "always"]
"""How far an answer to an approval goes beyond its call."""


class Labels(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Opaque strings of the host, carried and never interpreted (seed 001)."""

    tenant: str | None = None
    principal: str | None = None
    agent_template: str | None = None
    correlation: str | None = None


class Data(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="type"):
    """Base of all events' own content."""


# --- inputs ---------------------------------------------------------------------------------------------------------


class UserMessage(Data, frozen=True, tag="user.message"):
    """A message was accepted. It enters the transcript when `input.delivered` names it."""

    id: InputId
    content: tuple[UserBlock, ...]
    delivery: Delivery = "prompt"
    mode: SteerMode = "skip"
    sender: str | None = None


class UserInterrupt(Data, frozen=True, tag="user.interrupt"):
    """A person ends the open run at once. `force` gives running tools no grace."""

    run: RunId
    force: bool = False
    reason: str | None = None


class UserAnswer(Data, frozen=True, tag="user.answer"):
    """Answers a pending action. `arguments` replace the call's whole arguments on approval.

    `remember`: the same holds from now on for every call that `rule` matches, in this session (`always`: the rule was
    saved for others as well). `metadata` of a result (exit code and the like) is for people, not for the model.
    """

    action: ActionId
    decision: Decision
    reason: str | None = None
    arguments: dict[str, Any] | None = None
    content: tuple[ResultBlock, ...] = ()
    is_error: bool = False
    sender: str | None = None
    remember: Remember | None = None
    rule: str | None = None
    metadata: dict[str, Any] = {}


class InputDelivered(Data, frozen=True, tag="input.delivered"):
    """A queued input was placed in the transcript; as `content`, where a hook has changed what was said."""

    id: InputId
    content: tuple[UserBlock, ...] | None = None


class ContextLoaded(Data, frozen=True, tag="context.loaded"):
    """The model reads what files say to it: instructions of the folder and of the person, and which skills there are.

    `text`: what it reads, in place of what an earlier one said. `digest`: of what the files say. `files`, `skills`: what the
    text is made of. `problems`: what is wrong with files, each beginning with the file and, where known, the line.
    """

    text: str
    digest: str
    files: tuple[str, ...] = ()
    skills: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class InputWithdrawn(Data, frozen=True, tag="input.withdrawn"):
    """A queued input will not be delivered: a person took it back, a hook kept it out, or its run ended first."""

    id: InputId
    reason: Literal["user", "run_finished", "hook"] = "user"


class InputReordered(Data, frozen=True, tag="input.reordered"):
    """The follow-ups wait in this order now; every queued one is named."""

    order: tuple[InputId, ...]


# --- session --------------------------------------------------------------------------------------------------------


class SessionCreated(Data, frozen=True, tag="session.created"):
    """Always seq 1. `workspace` is the absolute folder, `environment` variables for its commands.

    `parent`: the session that this one works for, and `root` the first in that line; both None for one of its own. `depth`:
    how many stand before it in that line. `task`: the one that it was made for, if any. `vaults`:
    whose credentials its MCP servers may be given.
    """

    agent: AgentRef
    workspace: str | None = None
    environment: dict[str, str] = {}
    labels: Labels = Labels()
    name: str | None = None
    metadata: dict[str, str] = {}
    parent: SessionId | None = None
    root: SessionId | None = None
    depth: int = 0
    task: TaskId | None = None
    vaults: tuple[str, ...] = ()


class SessionOpened(Data, frozen=True, tag="session.opened"):
    """A host has opened the new session for the first time: it reads as idle from here on, no more as queued."""

    host: str = ""


class SessionConfigured(Data, frozen=True, tag="session.configured"):
    """Settings for runs that start after it; a field that is None stays as it was. `thinking` "default" clears.

    `permissions`: the session's own rules, beside the agent's, in force at once; `approvals` likewise. `budgets` take the
    place of the agent's for the scopes they name; `raised_by`: they are those before, raised by this answer, and in force
    at once. `metadata`: all of it, in place of what there was.
    `lanes`: who does the calls of these lanes, from the next call on. `mode`: what it may do, by its name, likewise.
    """

    model: str | None = None
    thinking: ThinkingLevel | Literal["default"] | None = None
    steer_mode: SteerMode | None = None
    name: str | None = None
    agent: AgentRef | None = None
    permissions: Permissions | None = None
    approvals: ApprovalPolicy | None = None
    budgets: tuple[Budget, ...] | None = None
    raised_by: ActionId | None = None
    metadata: dict[str, str] | None = None
    lanes: dict[str, LaneHandler] | None = None
    mode: str | None = None


class SessionPaused(Data, frozen=True, tag="session.paused"):
    """No step is taken from here on; inputs are accepted and wait."""

    reason: str | None = None


class SessionResumed(Data, frozen=True, tag="session.resumed"):
    """The session goes on."""


class SessionRewound(Data, frozen=True, tag="session.rewound"):
    """The transcript's head goes back to where it stood at `to`, a seq between turns. The log stays.

    A `to` that was still to come changes nothing. `files`: the folder becomes what this checkpoint says; until
    `workspace.restored` says that it has, nothing else is driven. `undo`: the files as they were. `keep`: paths that a
    person had changed meanwhile and that stay so. `redoes`: the rewind that this one takes back. `summary`: what the model
    is told of the messages that were left behind. `todos`, `goal`: as they are from here on, which is as they were at `to`.
    """

    to: Seq
    files: CheckpointRef | None = None
    keep: tuple[str, ...] = ()
    undo: CheckpointRef | None = None
    redoes: Seq | None = None
    summary: str | None = None
    todos: tuple[Todo, ...] = ()
    goal: Goal | None = None


class SessionForked(Data, frozen=True, tag="session.forked"):
    """The log begins as another's did: all before this event is that of `origin`, and nothing after it is.

    What was open there is not open here: its run, its turn, its queue, its actions, its tasks. Nothing is spent yet. The
    rest is as for `session.created`, and takes its place: a fork works for the `parent` that its origin works for. `files`:
    the folder becomes what this checkpoint says, `undo` as it was; until `workspace.restored` says that it has, nothing else
    is driven.
    """

    origin: SessionId
    agent: AgentRef
    workspace: str | None = None
    environment: dict[str, str] = {}
    labels: Labels = Labels()
    name: str | None = None
    metadata: dict[str, str] = {}
    vaults: tuple[str, ...] = ()
    files: CheckpointRef | None = None
    undo: CheckpointRef | None = None
    parent: SessionId | None = None
    root: SessionId | None = None
    depth: int = 0


class SessionLabelled(Data, frozen=True, tag="session.labelled"):
    """The event `target` is known by this name from here on; None takes the name away."""

    target: Seq
    label: str | None = None


CompactionTrigger = Literal["manual", "threshold", "overflow"]
"""Why a conversation was compacted: somebody asked, it filled the model's window, or a provider refused it as too long."""


class SessionCompacted(Data, frozen=True, tag="session.compacted"):
    """In what the model sees, `summary` stands for the messages before `kept_from`, and for an earlier summary.

    Recorded while a run is open, it takes effect where the run ends; with `at_once`, which is its driver's, between two
    turns where it stands, in place of one that waits. A rewind to before it takes it back. `files_read` and
    `files_changed`: what tools have worked on so far, earlier compactions included. `focus`: what was to be kept above all.
    `model`: who wrote it, empty when a hook did. `todos`, `goal`: those that were open, which the model reads beside the
    summary, word for word. The numbers are of what the model sees, before and after; tokens are
    estimated.
    """

    summary: str
    kept_from: Seq
    focus: str | None = None
    model: str = ""
    files_read: tuple[str, ...] = ()
    files_changed: tuple[str, ...] = ()
    messages_before: int = 0
    messages_after: int = 0
    tokens_before: int = 0
    tokens_after: int = 0
    trigger: CompactionTrigger = "manual"
    at_once: bool = False
    todos: tuple[Todo, ...] = ()
    goal: Goal | None = None


class SessionPruned(Data, frozen=True, tag="session.pruned"):
    """In what the model sees, a note stands for each result of a tool from before `before` that is longer than `longer_than`
    characters. Its driver records it between two turns; a rewind to before it takes it back. The numbers are of what the
    model sees, tokens are estimated."""

    before: Seq
    longer_than: int
    results: int = 0
    tokens_before: int = 0
    tokens_after: int = 0


class CompactionFailed(Data, frozen=True, tag="compaction.failed"):
    """The conversation should have been compacted, and was not: the run goes on with it as it is, or ends for that."""

    trigger: CompactionTrigger
    error: Fault


class SessionArchived(Data, frozen=True, tag="session.archived"):
    """The session is final. Its log stays readable."""


# --- run and turn ---------------------------------------------------------------------------------------------------


class RunStarted(Data, frozen=True, tag="run.started"):
    """`history`: the run works on these messages and leaves the session's transcript as it was.

    `resumes`: the run whose last checkpoint this one continues, with its `usage`, `turns` and `tool_calls` so far.
    `unattended`: nobody can be asked, so a call that needs an approval is denied. `model`: the one for this run alone.
    `output`: the form of its last answer, in place of the agent's.
    """

    run: RunId
    input: InputId | None = None
    history: tuple[Message, ...] | None = None
    resumes: RunId | None = None
    usage: Usage = Usage()
    turns: int = 0
    tool_calls: int = 0
    unattended: bool = False
    model: str | None = None
    output: OutputSpec | None = None


class RunClaimed(Data, frozen=True, tag="run.claimed"):
    """A driver has taken the run. `attempt` grows only when the driver before it died."""

    run: RunId
    attempt: int
    worker: str = ""


class RunParked(Data, frozen=True, tag="run.parked"):
    """Only answers from outside are missing: the run waits and needs no process. `children`: they are all to come from
    children of the session or from workers, and no person is asked for one here."""

    run: RunId
    actions: tuple[ActionId, ...]
    children: bool = False


class RunUnparked(Data, frozen=True, tag="run.unparked"):
    """An answer, an interrupt or a skipping steer has come: the run may go on."""

    run: RunId


class RunYielded(Data, frozen=True, tag="run.yielded"):
    """The driver let the run go at a checkpoint; another may claim it."""

    run: RunId
    reason: Literal["paused", "shutdown"] = "paused"


class RunRetrying(Data, frozen=True, tag="run.retrying"):
    """The model step failed before anything of it was seen; it is asked again after `delay_ms`, of `model`."""

    run: RunId
    error: Fault
    retry: int
    delay_ms: int
    model: str


class RunFinished(Data, frozen=True, tag="run.finished"):
    """The run is over. `error`: why it failed, or which limit it met. `verification`: the seq of the last report on it.
    `output`: the seq of the `output.checked` with its answer as data, where one was asked for and it fits."""

    run: RunId
    outcome: RunOutcome
    error: Fault | None = None
    usage: Usage = Usage()
    turns: int = 0
    tool_calls: int = 0
    verification: Seq | None = None
    output: Seq | None = None


class OutputChecked(Data, frozen=True, tag="output.checked"):
    """The run's last answer was held to the form that was asked for. `value`: the answer as data; or `problem`: why it does
    not fit, which the model is told while it may try again. `attempt`: counts the answers that did not fit, from 1."""

    run: RunId
    attempt: int = 1
    value: Any = None
    problem: str | None = None


class RunNudged(Data, frozen=True, tag="run.nudged"):
    """The model has stopped in the middle of its work and is told to go on, by the message `input`. `attempt`: counts those
    with no progress in between, from 1."""

    run: RunId
    reasons: tuple[NudgeReason, ...]
    input: InputId
    attempt: int = 1


class TodosUpdated(Data, frozen=True, tag="todos.updated"):
    """The session's list of todos, as a whole. `call`: of the tool that wrote it; None: its host did."""

    todos: tuple[Todo, ...]
    call: CallId | None = None


class GoalUpdated(Data, frozen=True, tag="goal.updated"):
    """The session's goal: it was set, met, found to be blocked, or taken back. `call`: of the tool that ended it."""

    goal: Goal
    call: CallId | None = None


class TurnStarted(Data, frozen=True, tag="turn.started"):
    """A turn begins; `index` counts the session's turns from 1."""

    index: int


class TurnFinished(Data, frozen=True, tag="turn.finished"):
    """Each call of the turn has its result; the turn enters the transcript as a whole."""

    index: int


class ModelStarted(Data, frozen=True, tag="model.started"):
    """A model is being asked; its answer will be `message`. Asked again, the answer gets another id. `adjusted`: what of the
    request it cannot take, and what is sent instead."""

    message: MessageId
    model: str
    adjusted: tuple[Adjustment, ...] = ()


class AgentMessage(Data, frozen=True, tag="agent.message"):
    """What the model answered, whole, or as far as it had come when it was cut."""

    message: Assistant


class UsageRecorded(Data, frozen=True, tag="usage.recorded"):
    """A model was asked for something beside the conversation (`purpose`), and this is what it used."""

    purpose: str
    model: str
    usage: Usage


class ToolStarted(Data, frozen=True, tag="tool.started"):
    """The effect begins now. `key` is the same when a repeatable call is run again after a crash.

    A call whose `origin` is not the model belongs to no turn; `owner` is the process that runs it.
    """

    call: CallId
    name: str
    arguments: dict[str, Any]
    key: str
    edited: bool = False
    origin: Origin = "model"
    owner: str = ""


class ToolFinished(Data, frozen=True, tag="tool.finished"):
    """The one result of a call. `metadata` (exit code, diff, bytes ...) is for people and followers, not for the model."""

    call: CallId
    name: str
    status: ToolStatus
    content: tuple[ResultBlock, ...] = ()
    metadata: dict[str, Any] = {}
    duration_ms: int | None = None
    origin: Origin = "model"


class ActionOpened(Data, frozen=True, tag="action.opened"):
    """The session waits for an answer: to approve this call, to a question, or for an external call's result.

    Without a `call` the run itself asks (a budget for more, a hook for a person): `name` says who, and it is answered with
    approve or deny. `arguments`: the call's as they will be run. `rules`: what may be remembered with the answer.
    `expires_ms`: the wall time at which, if nobody has answered, the answer is `on_timeout`. `lane`: workers do the call,
    which has a body here as well.
    """

    action: ActionId
    kind: ActionKind
    call: CallId | None
    name: str
    arguments: dict[str, Any] = {}
    message: str | None = None
    schema: dict[str, Any] | None = None
    rules: tuple[str, ...] = ()
    expires_ms: int | None = None
    on_timeout: Literal["deny", "approve"] = "deny"
    lane: str | None = None


class ActionClosed(Data, frozen=True, tag="action.closed"):
    """The action needs no answer any more, and why."""

    action: ActionId
    reason: Literal["answered", "skipped", "interrupted", "cancelled"] = "answered"


class ArtifactStored(Data, frozen=True, tag="artifact.stored"):
    """A large output is kept by reference. `size` in bytes."""

    ref: ArtifactRef
    size: int
    media_type: str = "text/plain; charset=utf-8"
    call: CallId | None = None


class BudgetWarned(Data, frozen=True, tag="budget.warned"):
    """A soft limit was met; the work goes on. `consumed` and `limit` in the resource's own unit."""

    resource: str
    consumed: float
    limit: float
    scope: str = "session"
    reason: str = ""


class BudgetExceeded(Data, frozen=True, tag="budget.exceeded"):
    """A hard limit was met, or a guard said no: the step that was due is not taken."""

    resource: str
    consumed: float
    limit: float
    scope: str = "session"
    reason: str = ""


class HookBlocked(Data, frozen=True, tag="hook.blocked"):
    """A hook kept a step from being taken, or failed where its failure counts as that (`failed`)."""

    hook: str
    point: HookPoint
    reason: str
    call: CallId | None = None
    failed: bool = False


class HookReported(Data, frozen=True, tag="hook.reported"):
    """A hook has something to say to people, or failed where a failure is passed over (`failed`)."""

    hook: str
    point: HookPoint
    text: str
    failed: bool = False


class McpUnavailable(Data, frozen=True, tag="mcp.unavailable"):
    """The run goes on without the tools of this MCP server. `retrying`: it is still tried, and they may come later."""

    server: str
    trouble: Trouble
    message: str
    retrying: bool = False


class RecalledMemory(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A memory as it was when it was recalled."""

    id: str
    scope: MemoryScope
    updated_ms: int
    kind: MemoryKind
    score: float = 0.0


class MemoryRecalled(Data, frozen=True, tag="memory.recalled"):
    """Memories fit the message `input`: the model reads `text`, about `tokens` long, before it, once that is delivered."""

    input: InputId
    memories: tuple[RecalledMemory, ...]
    text: str
    tokens: int = 0


class MemoryFailed(Data, frozen=True, tag="memory.failed"):
    """The run goes on without memory (`recall`), or leaves none (`record`)."""

    what: Literal["recall", "record"]
    error: Fault


class WorkspaceCheckpointed(Data, frozen=True, tag="workspace.checkpointed"):
    """The files are kept as they are now: before or after calls of `turn` that may change some, or because someone asked.

    A turn whose calls wait for a person in between has several pairs. Without a `ref` the files could not be kept, and
    `error` says why.
    """

    ref: CheckpointRef | None
    when: Literal["before", "after", "manual"] = "manual"
    turn: int | None = None
    error: str | None = None


class WorkspaceRestored(Data, frozen=True, tag="workspace.restored"):
    """The files are what `ref` says, but for those in `left`, which somebody changed meanwhile or which could not be put
    back; `result` is what they are now. `error`: why they are not, as a whole.
    """

    ref: CheckpointRef
    result: CheckpointRef | None = None
    left: tuple[LeftAlone, ...] = ()
    error: str | None = None


class VerificationReported(Data, frozen=True, tag="verification.reported"):
    """What was found out about some work. A report whose source is `run` decides whether the open run is done."""

    report: VerificationReport


class CommandExecuted(Data, frozen=True, tag="command.executed"):
    """A slash command was given and answered; no model saw either. `starts`: the run it became, if it is a prompt."""

    id: str
    name: str
    arguments: str = ""
    text: str = ""
    is_error: bool = False
    starts: RunId | None = None


class SubagentStarted(Data, frozen=True, tag="subagent.started"):
    """A task was given to a child, the session `child`, which is made for it unless it is there already (`reused`).

    `call` and `action`: the call that asked for it, and what the run waits for with it; without an action it is in the
    background, and its end is told by a message. `depth`: of the child, from 0 at the first of the line. `reused`: how often
    the same child has worked before. `external`: the host runs the child its own way. `max_turns`, `output_schema`: see
    `core.tasks.TaskRequest`.
    """

    task: TaskId
    child: SessionId
    agent: AgentName
    prompt: str
    depth: int
    call: CallId | None = None
    action: ActionId | None = None
    description: str = ""
    reused: int = 0
    max_turns: int | None = None
    output_schema: dict[str, Any] | None = None
    external: bool = False


class SubagentProgressed(Data, frozen=True, tag="subagent.progressed"):
    """A child that the host runs its own way has done a step; of others, their own logs tell."""

    task: TaskId
    status: str
    metadata: dict[str, Any] = {}


class SubagentAsked(Data, frozen=True, tag="subagent.asked"):
    """Somebody below waits for an answer: `action` is open in `asked_by`. `path`: the agents that lead there, from the child
    of this session on. It can be answered on any session above as well."""

    task: TaskId
    asked_by: SessionId
    action: ActionId
    kind: ActionKind
    path: tuple[AgentName, ...]
    name: str
    arguments: dict[str, Any] = {}
    message: str | None = None


class SubagentFinished(Data, frozen=True, tag="subagent.finished"):
    """A task has ended, and stays so. `output`: the child's answer as its parent reads it, `artifact` the whole of a long
    one, `structured` it as data. `up_to`: where the child's log stood then. `usage`, `turns`: of the child's run.

    `notice`: what the model is told of it with what is said to it next, since nothing wakes it: of a task in the background
    that was cancelled.
    """

    task: TaskId
    child: SessionId
    status: TaskEnd
    output: str = ""
    artifact: ArtifactRef | None = None
    structured: Any = None
    error: Fault | None = None
    up_to: Seq = 0
    usage: Usage = Usage()
    turns: int = 0
    notice: str = ""


class SessionImported(Data, frozen=True, tag="session.imported"):
    """What stands before this was brought from elsewhere, and happened there. Only an import writes it.

    `format`: in which it came. `origin`: what it was called there, `digest`: of its content; together with the format they
    tell whether something was brought before. `source`: the name of the file. `counts`: what it had, by kind. `kept`: what
    has no counterpart here and is there as `entry.kept`. `adapted`: what had to be said in another way, by reason.
    `skipped`: lines that were none, by kind.
    """

    format: str
    origin: str
    digest: str
    source: str = ""
    imported_ms: int = 0
    counts: dict[str, int] = {}
    kept: dict[str, int] = {}
    adapted: dict[str, int] = {}
    skipped: dict[str, int] = {}


class EntryKept(Data, frozen=True, tag="entry.kept"):
    """Something of an imported session that has no counterpart here, as it was. `id`: its own there."""

    kind: str
    data: Any
    id: str | None = None


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
    | TurnStarted
    | TurnFinished
    | ModelStarted
    | AgentMessage
    | ToolStarted
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
    BudgetWarned,
    BudgetExceeded,
    WorkspaceCheckpointed,
    VerificationReported,
    TodosUpdated,
    GoalUpdated,
    CommandExecuted,
    SubagentStarted,
    SubagentProgressed,
    SubagentAsked,
    SubagentFinished,
)
"""What may be appended without being the driver, but for a model's own call, a report that decides on a run and a compaction
within one. All else needs the driver's epoch, and `session.forked` is appended by a fork alone."""

IMPORT_TYPES = (SessionImported, EntryKept)
"""What only an import writes."""

# Their own `run` is the envelope's: in a frame it stands once.
_NAME_THEIR_RUN = frozenset(name for name, cls in EVENT_TYPES.items() if "run" in cls.__struct_fields__)


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


_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[KnownData] = msgspec.json.Decoder(KnownData)


class _TypeOnly(msgspec.Struct):
    type: str


_type_decoder = msgspec.json.Decoder(_TypeOnly)


def encode(data: EventData) -> bytes:
    """The event's body: one JSON object beginning with its type."""
    return data.body if isinstance(data, Unknown) else _encoder.encode(data)


def decode(body: bytes) -> EventData:
    """The body as its class; an unknown type or an unreadable shape gives `Unknown` with the same bytes."""
    try:
        return _decoder.decode(body)
    except (msgspec.ValidationError, ConfigurationError):
        return Unknown(_type_decoder.decode(body).type, bytes(body))


def type_of(data: EventData) -> str:
    return data.type if isinstance(data, Unknown) else str(data.__struct_config__.tag)


class _Head(msgspec.Struct):
    seq: Seq
    at: int
    session: SessionId
    run: RunId | None = None


class _HeadRun(msgspec.Struct):
    run: RunId | None = None


_head_decoder = msgspec.json.Decoder(_Head)
_head_run_decoder = msgspec.json.Decoder(_HeadRun)


class Draft:
    """An event that has no seq yet: what `append` takes. `data` is encoded once, here."""

    __slots__ = ("at_ms", "body", "data", "run", "type")

    def __init__(self, data: EventData, *, at_ms: int, run: RunId | None = None) -> None:
        self.data = data
        self.type = type_of(data)
        self.body = encode(data)
        self.at_ms = at_ms
        self.run = run

    def __repr__(self) -> str:
        return f"Draft({self.type}, run={self.run})"


class Event:
    """A stored event. `at_ms`: wall time in ms; `run`: the run it belongs to, if any; `data` is decoded on first use.

    `labels`: the session's, when it was read through a handle; not part of what is stored.
    """

    __slots__ = ("_data", "at_ms", "body", "labels", "run", "seq", "session", "type")

    def __init__(
        self,
        session: SessionId,
        seq: Seq,
        at_ms: int,
        run: RunId | None,
        type: str,  # noqa: A002 - the field's name on the wire
        body: bytes,
        data: EventData | None = None,
    ) -> None:
        self.session = session
        self.seq = seq
        self.at_ms = at_ms
        self.run = run
        self.type = type
        self.body = body
        self._data = data
        self.labels: Labels | None = None

    @property
    def data(self) -> EventData:
        if self._data is None:
            self._data = decode(self.body)
        return self._data

    def frame(self) -> bytes:
        """One JSON object: the envelope, then the stored bytes."""
        head = {"seq": self.seq, "at": self.at_ms, "session": self.session}
        if self.run is not None and self.type not in _NAME_THEIR_RUN:
            head["run"] = self.run
        if self.labels is not None and self.labels.correlation is not None:
            head["correlation"] = self.labels.correlation
        return _encoder.encode(head)[:-1] + b"," + self.body[1:]

    @classmethod
    def of_frame(cls, frame: bytes) -> Event:
        """The event of such an object, its body byte for byte. msgspec.DecodeError; ValueError when it is no frame."""
        # No text before the type can hold these characters: quotes within a text are escaped.
        at = frame.index(b',"type":')
        head = _head_decoder.decode(frame[:at] + b"}")
        body = b"{" + frame[at + 1 :]
        kind = _type_decoder.decode(body).type
        run = head.run
        if run is None and kind in _NAME_THEIR_RUN:
            run = _head_run_decoder.decode(body).run
        return cls(head.session, head.seq, head.at, run, kind, body)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and (self.session, self.seq, self.run, self.body) == (
            other.session,
            other.seq,
            other.run,
            other.body,
        )

    def __hash__(self) -> int:
        return hash((self.session, self.seq))

    def __repr__(self) -> str:
        return f"Event({self.seq}, {self.type})"


DeltaKind = Literal["text", "thinking", "tool_arguments", "tool_output", "discard", "progress"]


class Delta(msgspec.Struct, frozen=True, omit_defaults=True, tag="delta", tag_field="type"):
    """A fragment shown live. `id`: the message or call it grows; `offset`: characters before it.

    A reader that knows less than `offset` characters of `id` has missed some and waits for the stored event.
    `block` tells content blocks of one message apart. `discard`: what was shown of message `id` is void.
    `after`: the log's head when it was shown, so that a reader can put it between the right events.
    """

    session: SessionId
    kind: DeltaKind
    id: str
    offset: int = 0
    text: str = ""
    block: int = 0
    name: str | None = None
    after: Seq = 0
