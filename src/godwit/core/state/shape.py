"""State: what is known of a session while it is read from its log, and what it is made of. It decides nothing."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ..agent import AgentRef, SteerMode, ThinkingLevel
from ..budget import Budget, Spent, Warned
from ..checkpoint import CheckpointRef
from ..events import BudgetExceeded, Labels, Origin, RunOutcome, UserAnswer, UserInterrupt
from ..gate import Gate, Status
from ..goal import Goal
from ..ids import ActionId, CallId, MessageId, RunId, Seq, SessionId
from ..lanes import LaneHandler
from ..messages import ToolStatus, Usage
from ..meter import Meter
from ..nudges import NudgeReason
from ..output import OutputSpec
from ..rules import ApprovalPolicy, Permissions
from ..todos import Todo
from ..verification import VerificationStatus

CallPhase = Literal["requested", "started", "asking", "finished"]


class Call(msgspec.Struct, frozen=True, omit_defaults=True):
    """One call of the open turn. `answer` is what came from outside for it, `key` its idempotency key once started, `tasks`
    what has become of those that it gave to children. `asked`: its last `tool.asked`, and `left` how many questions of it
    are still to be put; `rounds`: how often it has asked."""

    id: CallId
    name: str
    phase: CallPhase = "requested"
    status: ToolStatus | None = None
    key: str | None = None
    action: ActionId | None = None
    answer: UserAnswer | None = None
    repeat: int = 1
    tasks: Literal["open", "done"] | None = None
    asked: Seq = 0
    left: int = 0
    rounds: int = 0


class Turn(msgspec.Struct, frozen=True, omit_defaults=True):
    """The open turn. `asked` is the id of the answer awaited; `message_seq` where it stands once it came.

    `made_room`: older messages were summed up because the provider refused the question as too long. `files`: the moment at
    which they were last kept, None before its first call that may change some; `failed` when they could not be kept before
    it.
    """

    index: int
    asked: MessageId | None = None
    model: str | None = None
    message_seq: Seq | None = None
    calls: tuple[Call, ...] = ()
    stop: str | None = None
    files: Literal["before", "after", "failed"] | None = None
    made_room: bool = False

    @property
    def unfinished(self) -> tuple[Call, ...]:
        return tuple(c for c in self.calls if c.phase != "finished")


class Question(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the run itself asks, beside its calls: a budget for more, a hook for a person. `answer`: what came for it."""

    action: ActionId
    name: str
    arguments: dict[str, Any] = {}
    answer: UserAnswer | None = None


class OwnCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call that no model asked for and that has not ended. `owner`: the process that runs it."""

    id: CallId
    name: str
    origin: Origin
    owner: str
    at_ms: int


class Restoring(msgspec.Struct, frozen=True, omit_defaults=True):
    """Files that were as `undo` says and are to become what `files` says: a rewind was stored and is not yet done."""

    seq: Seq
    files: CheckpointRef
    undo: CheckpointRef | None = None


class Run(msgspec.Struct, frozen=True, omit_defaults=True):
    """The open run and all that its decisions need. `owes_answer`: the model must still reply to what was said last.

    `touched`: the tools that did something since the run was last verified. `verdict`: what a verification said of the work
    as it stands, None once work went on. `unverified`: its checks that did not pass; `failures`: how often there were some;
    `report`, `reports`: the last report on the run, and how many there are.
    `budgets`: those of the session when it began, with what has been allowed since; `exceeded`: the one that ends it.
    `output`: the form of its last answer, where one was asked for with it; `fits`: the event that found its last answer to
    be of it, or of the agent's; `misfits`: how many in a row were not, `misfit`: why the last one was not.
    `held`: how often hooks have sent it back to work since a person last said something. `nudges`: how often its model was
    told to go on since it last came on; `stopped`: what of its last answer says that it was not an end.
    """

    id: RunId
    started_ms: int
    seq: Seq
    detached: bool = False
    resumes: RunId | None = None
    owes_answer: bool = False
    model: str | None = None
    thinking: ThinkingLevel | None = None
    interrupt: UserInterrupt | None = None
    turns: int = 0
    turns_before: int = 0
    tool_calls: int = 0
    usage: Usage = Usage()
    retries: int = 0
    retry_model: str | None = None
    retry_at_ms: int | None = None
    invalid_turns: int = 0
    last_call: str | None = None
    repeats: int = 0
    takeovers: int = 0
    checkpoint: Seq = 0
    unattended: bool = False
    question: Question | None = None
    held: int = 0
    touched: tuple[str, ...] = ()
    verdict: VerificationStatus | None = None
    unverified: tuple[str, ...] = ()
    failures: int = 0
    report: Seq | None = None
    reports: int = 0
    budgets: tuple[Budget, ...] | None = None
    exceeded: BudgetExceeded | None = None
    output: OutputSpec | None = None
    fits: Seq | None = None
    misfits: int = 0
    misfit: str | None = None
    nudges: int = 0
    stopped: NudgeReason | None = None


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """A session as its log up to `seq` makes it. `shared`: its shared state, None while there is none; `shared_told`: its
    model is told of what becomes of that."""

    seq: Seq = 0
    gate: Gate = Gate()
    created_ms: int = 0
    updated_ms: int = 0
    agent: AgentRef | None = None
    workspace: str | None = None
    environment: dict[str, str] = {}
    labels: Labels = Labels()
    name: str | None = None
    metadata: dict[str, str] = {}
    vaults: tuple[str, ...] = ()
    model: str | None = None
    thinking: ThinkingLevel | None = None
    steer_mode: SteerMode = "skip"
    run: Run | None = None
    turn: Turn | None = None
    runs: int = 0
    turns: int = 0
    tool_calls: int = 0
    usage: Usage = Usage()
    last_run: RunId | None = None
    last_outcome: RunOutcome | None = None
    permissions: Permissions | None = None
    approvals: ApprovalPolicy | None = None
    budgets: tuple[Budget, ...] | None = None
    budgets_set: tuple[Budget, ...] | None = None
    own_calls: tuple[OwnCall, ...] = ()
    restoring: Restoring | None = None
    parent: SessionId | None = None
    root: SessionId | None = None
    depth: int = 0
    meter: Meter = Meter()
    warned: tuple[Warned, ...] = ()
    lanes: dict[str, LaneHandler] = {}
    mode: str | None = None
    origin: SessionId | None = None
    forked_at: Seq = 0
    event_labels: dict[Seq, str] = {}
    todos: tuple[Todo, ...] = ()
    goal: Goal | None = None
    shared: Any = None
    shared_told: bool = False

    @property
    def status(self) -> Status:
        return self.gate.status

    def spent(self, now_ms: int | None = None) -> Spent:
        """What the session has used up; the time of an open run counts up to `now_ms`, else up to its last event."""
        return self.meter.spent(now_ms)
