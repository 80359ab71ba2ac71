"""Shapes of what is sent and answered here, where a method's arguments or its result need a name. All else is the engine's
own types, as JSON.

Rules: an answer is always an object, so that it can grow; what may be left out of a body has the method's default.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ...contracts import FoundText, SessionRow
from ...core.agent import (
    AgentSpec,
    ContextPolicy,
    Limits,
    ModelSettings,
    SteerMode,
    ThinkingLevel,
    ToolDefinition,
)
from ...core.artifact import HeldArtifact
from ...core.attachments import WireAttachment
from ...core.budget import Budget, Spent
from ...core.checkpoint import Checkpoint, CheckpointPolicy, OnConflict, Turning
from ...core.events import Remember
from ...core.facts import KEEP_TOKENS, CommandResult, InputEntry, PendingAction, SessionConfig, SlashCommand, TraceEvent
from ...core.goal import GOAL_CHARACTERS, Goal, GoalEnd
from ...core.hooks import HookSpec
from ...core.lanes import DeadLetter, ExternalTask, ExternalTaskResult, MetricsSnapshot
from ...core.mcp import McpServer, McpStatus
from ...core.memory import FoundMemory, MemoryKind, MemoryPolicy, MemoryScope, MemoryStats, PrunePolicy
from ...core.messages import Message, ResultBlock, UserBlock
from ...core.model_info import ModelInfo
from ...core.modes import Mode
from ...core.nudges import NudgePolicy
from ...core.output import OutputSpec
from ...core.record import ActiveTool, RunSnapshot
from ...core.rules import ApprovalPolicy, ConfirmationInheritance, Permissions
from ...core.sandbox import SandboxPolicy
from ...core.tasks import TaskEnd, TaskRecord
from ...core.todos import TODOS, Todo
from ...core.verification import (
    VerificationCommand,
    VerificationPolicy,
    VerificationPreset,
    VerificationReport,
    VerificationSummary,
)
from ...core.web import WebPolicy
from ...host.lane_tasks import Leased

Place = Annotated[int, Meta(ge=-(1 << 53), le=1 << 53)]
"""A seq to go to; which there are is the session's to say."""
Frame = Annotated[msgspec.Raw, Meta(extra_json_schema={"$ref": "#/components/schemas/Event"})]
"""An event as `Event.frame()` gives it."""
Content = str | Annotated[list[UserBlock], Meta(min_length=1)]
"""What may be sent as a message: a text, or blocks. Only beside attachments may the text be empty."""
Attached = Annotated[list[WireAttachment], Meta(max_length=1000)]
"""Files in front of the words: images and documents, or links to be fetched. A path means nothing here."""
Key = Annotated[str, Meta(min_length=1, max_length=255)]


class Shape(msgspec.Struct, frozen=True):
    """Base of all shapes."""


# --- agents ---------------------------------------------------------------------------------------------------------


class AgentBody(Shape, frozen=True):
    """An agent as it is put: `AgentSpec` without the name, which the path gives."""

    models: Annotated[tuple[str, ...], Meta(min_length=1)]
    instructions: str = ""
    description: str = ""
    tools: tuple[str, ...] = ()
    external_tools: tuple[ToolDefinition, ...] = ()
    permissions: Permissions = Permissions()
    limits: Limits = Limits()
    settings: ModelSettings = ModelSettings()
    metadata: dict[str, str] = {}
    approvals: ApprovalPolicy = ApprovalPolicy()
    hooks: tuple[HookSpec, ...] = ()
    budgets: tuple[Budget, ...] = ()
    sandbox: SandboxPolicy = SandboxPolicy()
    checkpoints: CheckpointPolicy = CheckpointPolicy()
    verification: VerificationPolicy | None = None
    subagents: dict[str, str] = {}
    mcp_servers: tuple[McpServer, ...] = ()
    subagent_specs: dict[str, AgentSpec] = {}
    hidden: bool = False
    confirmation_inheritance: ConfirmationInheritance = "inherit_parent"
    web: WebPolicy | None = None
    context: ContextPolicy = ContextPolicy()
    context_files: bool = True
    skills: tuple[str, ...] = ("*",)
    modes: tuple[Mode, ...] = ()
    output: OutputSpec | None = None
    memory: MemoryPolicy | None = None
    nudges: NudgePolicy = NudgePolicy()


class AgentView(Shape, frozen=True):
    """One version of an agent. `id`: by which events and other protocols name it. `newest`: its newest version. `spec` has
    the name; times in ms."""

    name: str
    id: str
    version: int
    newest: int
    spec: AgentSpec
    created_ms: int
    updated_ms: int
    archived_ms: int | None = None


class ModelList(Shape, frozen=True):
    data: list[ModelInfo]


class AgentList(Shape, frozen=True):
    """`next`: for `after` in the request of the page behind this one; None when there is none."""

    data: list[AgentView]
    next: str | None = None


class RegisterBody(Shape, frozen=True):
    """Agents that a session is to know as subagents, whole."""

    agents: list[AgentSpec]


class McpServerBody(Shape, frozen=True):
    """An MCP server for a session. `connect`: before the answer; an error when it cannot be."""

    server: McpServer
    connect: bool = True


class McpServerCount(Shape, frozen=True):
    """`count`: of the server's tools that the session has."""

    count: int


class McpServerList(Shape, frozen=True):
    """In the order of the session's agent."""

    data: list[McpStatus]


class Subagents(Shape, frozen=True):
    """As the session knows them."""

    data: list[AgentSpec]


class NamedVersion(Shape, frozen=True):
    """An agent by its name or id, and one of its versions; None: the newest."""

    name: str
    version: Annotated[int, Meta(ge=1, le=1 << 31)] | None = None


# --- sessions -------------------------------------------------------------------------------------------------------


class GivenLabels(Shape, frozen=True):
    """The labels that a caller may choose; tenant and principal are those of the key."""

    agent_template: str | None = None
    correlation: str | None = None


class StartBody(Shape, frozen=True):
    """As for `Runtime.start_session`. `workspace`: a folder of the server's, for who may choose one (scope `admin`).
    `own_workspace`: an empty folder is made for the session."""

    agent: Annotated[str, Meta(min_length=1)] | NamedVersion
    workspace: str | None = None
    own_workspace: bool = False
    environment: dict[str, str] = {}
    labels: GivenLabels = GivenLabels()
    name: str | None = None
    metadata: dict[str, str] = {}
    session: str | None = None
    parent: str | None = None
    vaults: tuple[str, ...] = ()
    goal: str | None = None


class SessionView(Shape, frozen=True):
    """A session as a handle opens on it. `tools`: what the model is told of them."""

    session: SessionRow
    config: SessionConfig
    tools: list[ToolDefinition]
    metadata: dict[str, str]


class SessionList(Shape, frozen=True):
    """Newest activity first. `next`: for `after` in the request of the page behind this one; None when there is none."""

    data: list[SessionRow]
    next: str | None = None


class FoundList(Shape, frozen=True):
    data: list[FoundText]


class ConfigureBody(Shape, frozen=True):
    """As for `Session.configure`: None leaves a setting as it is."""

    model: str | None = None
    thinking: ThinkingLevel | None = None
    steer_mode: SteerMode | None = None
    name: str | None = None
    permissions: Permissions | None = None
    approvals: ApprovalPolicy | None = None
    mode: Annotated[str, Meta(max_length=50)] | None = None


# --- inputs and runs ------------------------------------------------------------------------------------------------


class PromptBody(Shape, frozen=True):
    """`key`: in place of the header Idempotency-Key, as the engine's own key of the prompt.
    `output`: the form of the answer.
    """

    prompt: Content
    history: list[Message] | None = None
    sender: str | None = None
    unattended: bool = False
    output: OutputSpec | None = None
    key: Key | None = None
    attachments: Attached = []


class SteerBody(Shape, frozen=True):
    message: Content
    mode: SteerMode | None = None
    sender: str | None = None
    key: Key | None = None
    attachments: Attached = []


class FollowUpBody(Shape, frozen=True):
    message: Content
    sender: str | None = None
    key: Key | None = None
    attachments: Attached = []


class CommandBody(Shape, frozen=True):
    text: str
    sender: str | None = None
    unattended: bool = False
    output: OutputSpec | None = None
    key: Key | None = None


class Started(Shape, frozen=True):
    """A run that was started, or joined under its key. `after`: its first event stands behind this seq."""

    run: str
    after: int


class Accepted(Shape, frozen=True):
    """`input`: its id, by which the queue and the events name it."""

    input: str


class Commanded(Shape, frozen=True):
    """`executed`: None when the text is a prompt, and then nothing was done."""

    executed: CommandResult | None


class CommandList(Shape, frozen=True):
    data: list[SlashCommand]


class RunList(Shape, frozen=True):
    """`count`: how many runs there have been, whatever limits leave out of `data`."""

    data: list[RunSnapshot]
    count: int


class PageOfRun(Shape, frozen=True):
    """See `core.record.RunPage`."""

    events: list[Frame]
    first_available_seq: int | None
    latest_seq: int
    next_after: int
    retention_gap: bool
    has_more: bool
    event_count: int


class NotYet(Shape, frozen=True):
    """The run has not ended: ask again."""

    run: str | None


class ToolList(Shape, frozen=True):
    data: list[ActiveTool]


class InterruptBody(Shape, frozen=True):
    run: str | None = None
    force: bool = False
    reason: str | None = None


class PauseBody(Shape, frozen=True):
    reason: str | None = None


class Nothing(Shape, frozen=True):
    """An empty object."""


class Deleted(Shape, frozen=True):
    """How many there were."""

    deleted: int


class MemoryList(Shape, frozen=True):
    """Scores are 0 where nothing was searched for."""

    data: list[FoundMemory]


class MemoryStatus(Shape, frozen=True):
    """`available`: whether there is memory; if not, `warning` may say why."""

    available: bool
    warning: str | None = None
    stats: MemoryStats = MemoryStats(0)


class RememberBody(Shape, frozen=True):
    content: str
    kind: MemoryKind = "episodic"
    scope: MemoryScope = "user"
    importance: float = 0.5
    tags: list[str] = []
    metadata: dict[str, Any] = {}
    id: str | None = None
    key: str | None = None


class OutcomeBody(Shape, frozen=True):
    outcome: Literal["success", "failure"]
    prompt: str
    tools: list[str] = []
    result: str = ""
    error: str = ""


class PruneMemoriesBody(Shape, frozen=True):
    policy: PrunePolicy | None = None
    scopes: list[MemoryScope] | None = None


class ClearMemoriesBody(Shape, frozen=True):
    scope: MemoryScope


class Changed(Shape, frozen=True):
    """`changed`: what the method of the same name returns; False when there was nothing to do."""

    changed: bool


# --- what is to be done ---------------------------------------------------------------------------------------------


class TodosView(Shape, frozen=True):
    todos: list[Todo]


class TodosBody(Shape, frozen=True):
    """The whole list."""

    todos: Annotated[list[Todo], Meta(max_length=TODOS)]


class GoalView(Shape, frozen=True):
    goal: Goal | None


class GoalBody(Shape, frozen=True):
    text: Annotated[str, Meta(min_length=1, max_length=GOAL_CHARACTERS)]


class EndGoalBody(Shape, frozen=True):
    reason: str = ""
    status: GoalEnd = "abandoned"


# --- events ---------------------------------------------------------------------------------------------------------


class EventList(Shape, frozen=True):
    """`head`: the session's newest seq when this was read."""

    data: list[Frame]
    head: int


class History(Shape, frozen=True):
    data: tuple[Message, ...]


class Trace(Shape, frozen=True):
    data: list[TraceEvent]


# --- answers and the queue ------------------------------------------------------------------------------------------


class ActionList(Shape, frozen=True):
    data: list[PendingAction]


class TaskList(Shape, frozen=True):
    data: list[ExternalTask]


class ResultBody(Shape, frozen=True):
    result: ExternalTaskResult
    sender: str | None = None


class MetricsView(Shape, frozen=True):
    metrics: MetricsSnapshot | None


class DeadLetterList(Shape, frozen=True):
    data: list[DeadLetter]


class LeaseBody(Shape, frozen=True):
    """`tools`: the ones the worker can run, null for any. `wait_s`: how long to wait for a task."""

    lanes: Annotated[list[str], Meta(min_length=1, max_length=64)]
    worker: Annotated[str, Meta(min_length=1, max_length=255)]
    labels: dict[str, str] = {}
    tools: list[str] | None = None
    wait_s: Annotated[float, Meta(ge=0, le=60)] = 0.0


class LeaseView(Shape, frozen=True):
    leased: Leased | None


class TokenBody(Shape, frozen=True):
    """`token`: of the lease."""

    token: str


class HeartbeatView(Shape, frozen=True):
    """`lease_ms`: the wall time until which the task is this worker's."""

    lease_ms: int


class CompleteBody(Shape, frozen=True):
    token: str
    content: list[ResultBlock] = []
    is_error: bool = False
    metadata: dict[str, Any] = {}


class FailBody(Shape, frozen=True):
    token: str
    error: str


class ApproveBody(Shape, frozen=True):
    arguments: dict[str, Any] | None = None
    remember: Remember | None = None
    rule: str | None = None
    sender: str | None = None


class DenyBody(Shape, frozen=True):
    reason: str | None = None
    remember: Remember | None = None
    rule: str | None = None
    sender: str | None = None


class AnswerBody(Shape, frozen=True):
    result: str | list[ResultBlock]
    is_error: bool = False
    sender: str | None = None


class QueueList(Shape, frozen=True):
    data: list[InputEntry]


class OrderBody(Shape, frozen=True):
    order: list[str]


# --- tasks ----------------------------------------------------------------------------------------------------------


class TaskRecordList(Shape, frozen=True):
    data: list[TaskRecord]


class StartTaskBody(Shape, frozen=True):
    """As for `tasks.start`. `key`: in place of the header Idempotency-Key."""

    agent: str
    prompt: str
    description: str = ""
    max_turns: Annotated[int, Meta(ge=1, le=1 << 31)] | None = None
    output_schema: dict[str, Any] | None = None
    continue_task: str | None = None
    key: Key | None = None


class CancelTaskBody(Shape, frozen=True):
    reason: str | None = None


class ReadTasksBody(Shape, frozen=True):
    tasks: list[str]


class Cancelled(Shape, frozen=True):
    """`count`: how many tasks there were to cancel."""

    count: int


class TaskOutput(Shape, frozen=True):
    output: str


class RecordTaskBody(Shape, frozen=True):
    """As for `tasks.record_start`. `session`: where the child has its log, if it has one."""

    agent: Annotated[str, Meta(min_length=1)]
    description: str = ""
    session: str | None = None
    prompt: str = ""


class ProgressBody(Shape, frozen=True):
    status: str
    metadata: dict[str, Any] = {}


class EndTaskBody(Shape, frozen=True):
    status: TaskEnd = "completed"
    output: str = ""


# --- budgets --------------------------------------------------------------------------------------------------------


class BudgetBody(Shape, frozen=True):
    """`budgets`: one of each scope; None: the agent's own again."""

    budgets: list[Budget] | None


class BudgetView(Shape, frozen=True):
    budget: Budget | None


class SpentView(Shape, frozen=True):
    spent: Spent


# --- files ----------------------------------------------------------------------------------------------------------


class RewindBody(Shape, frozen=True):
    seq: Place
    files: bool = False
    on_conflict: OnConflict = "refuse"


Where = Place | Annotated[str, Meta(min_length=1, max_length=200)]


class LabelBody(Shape, frozen=True):
    seq: Place
    label: Annotated[str, Meta(max_length=200)] | None


class NavigateBody(Shape, frozen=True):
    """`to`: a seq, or a label."""

    to: Where
    files: bool = False
    on_conflict: OnConflict = "refuse"
    summary: bool = False
    focus: Annotated[str, Meta(max_length=10_000)] | None = None


class ForkBody(Shape, frozen=True):
    """`at`: a seq or a label; None is now. `workspace`: an empty folder of the server's; `own_workspace`: a new one is made
    there, which is the default where the session has one of its own."""

    at: Where | None = None
    workspace: str | None = None
    own_workspace: bool | None = None
    name: str | None = None
    metadata: dict[str, str] | None = None
    session: str | None = None


class RedoBody(Shape, frozen=True):
    on_conflict: OnConflict = "refuse"


class CompactBody(Shape, frozen=True):
    focus: Annotated[str, Meta(max_length=10_000)] | None = None
    keep_tokens: Annotated[int, Meta(ge=0, le=100_000_000)] = KEEP_TOKENS


class TurningList(Shape, frozen=True):
    data: list[Turning]


class CheckpointList(Shape, frozen=True):
    data: list[Checkpoint]


# --- evidence, tools, artifacts -------------------------------------------------------------------------------------


class VerifyBody(Shape, frozen=True):
    """`commands`: a text is a command that is its own id."""

    subject: str
    commands: list[str | VerificationCommand]


class ReportsBody(Shape, frozen=True):
    reports: list[VerificationReport]


class VerificationView(Shape, frozen=True):
    """`text`: the summary in one line."""

    reports: list[VerificationReport]
    summary: VerificationSummary
    text: str


class PresetList(Shape, frozen=True):
    data: list[VerificationPreset]


class ToolBody(Shape, frozen=True):
    arguments: dict[str, Any] = {}
    timeout_s: Annotated[float, Meta(gt=0)] | None = None


class ArtifactList(Shape, frozen=True):
    data: list[HeldArtifact]


class FoundArtifact(Shape, frozen=True):
    ref: str


class ErrorDetail(Shape, frozen=True):
    """`code`: stable, see docs/errors.md. `details` by the names that the exception has."""

    code: str
    message: str
    details: dict[str, Any]


class ErrorBody(Shape, frozen=True):
    """What is answered whenever something is refused. `request_id`: also the header `request-id`."""

    error: ErrorDetail
    request_id: str
