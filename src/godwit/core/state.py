"""What decides a session's status, folded from its whole log: the only such place.

Two small machines: the gate (`gate.py`), which outsiders touch as well, and `State`, the whole: the gate, and what only the
driver moves: the open turn, its model step and its calls. Both are frozen; `fold(state, event)` returns the next one or
raises a `Conflict` and changes nothing. Rules a change must keep: the tables are the only way a phase moves; a type that is
unknown changes nothing but the seq.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal, assert_never

import msgspec

from .agent import AgentRef, SteerMode, ThinkingLevel
from .budget import Budget, Spent, Warned
from .checkpoint import CheckpointRef
from .errors import (
    IllegalEvent,
)
from .events import (
    ActionClosed,
    ActionOpened,
    AgentMessage,
    ArtifactStored,
    BudgetExceeded,
    BudgetWarned,
    CommandExecuted,
    CompactionFailed,
    ContextLoaded,
    Data,
    EntryKept,
    Event,
    EventData,
    GoalUpdated,
    HookBlocked,
    HookReported,
    InputDelivered,
    InputReordered,
    InputWithdrawn,
    Labels,
    McpUnavailable,
    MemoryFailed,
    MemoryRecalled,
    ModelStarted,
    Origin,
    OutputChecked,
    RunClaimed,
    RunFinished,
    RunNudged,
    RunOutcome,
    RunParked,
    RunRetrying,
    RunStarted,
    RunUnparked,
    RunYielded,
    SessionArchived,
    SessionCompacted,
    SessionConfigured,
    SessionCreated,
    SessionForked,
    SessionImported,
    SessionLabelled,
    SessionOpened,
    SessionPaused,
    SessionPruned,
    SessionResumed,
    SessionRewound,
    SubagentAsked,
    SubagentFinished,
    SubagentProgressed,
    SubagentStarted,
    TodosUpdated,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    TurnStarted,
    Unknown,
    UsageRecorded,
    UserAnswer,
    UserInterrupt,
    UserMessage,
    VerificationReported,
    WorkspaceCheckpointed,
    WorkspaceRestored,
    type_of,
)
from .gate import (
    RUN_TABLE,
    Gate,
    Status,
    admit,
)
from .goal import GOAL_TOOL, Goal
from .ids import ActionId, CallId, MessageId, RunId, Seq, SessionId
from .lanes import LaneHandler
from .messages import Assistant, Text, Thinking, ToolStatus, Usage
from .meter import Meter, metered
from .modes import BUILD
from .nudges import NUDGE, NudgeReason
from .output import OutputSpec
from .rules import ApprovalPolicy, Permissions
from .todos import TODO_TOOL, Todo, finished_count
from .verification import VerificationReport, VerificationStatus

# A call's life within its turn, likewise.
CallPhase = Literal["requested", "started", "finished"]
CALL_TABLE: dict[CallPhase, dict[type, CallPhase]] = {
    "requested": {ToolStarted: "started", ToolFinished: "finished"},
    "started": {ToolStarted: "started", ToolFinished: "finished"},
    "finished": {},
}
_NEEDS_START: frozenset[ToolStatus] = frozenset(("ok", "unknown"))


# --- the whole state ------------------------------------------------------------------------------------------------


class Call(msgspec.Struct, frozen=True, omit_defaults=True):
    """One call of the open turn. `answer` is what came from outside for it, `key` its idempotency key once started, `tasks`
    what has become of those that it gave to children."""

    id: CallId
    name: str
    phase: CallPhase = "requested"
    status: ToolStatus | None = None
    key: str | None = None
    action: ActionId | None = None
    answer: UserAnswer | None = None
    repeat: int = 1
    tasks: Literal["open", "done"] | None = None


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
    """A session as its log up to `seq` makes it."""

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

    @property
    def status(self) -> Status:
        return self.gate.status

    def spent(self, now_ms: int | None = None) -> Spent:
        """What the session has used up; the time of an open run counts up to `now_ms`, else up to its last event."""
        return self.meter.spent(now_ms)


def fold(state: State, event: Event) -> State:
    """The state after `event`. Raises IllegalEvent or another Conflict and changes nothing when it may not happen."""
    data = event.data
    if event.seq != state.seq + 1:
        raise IllegalEvent(f"event {event.seq} does not follow {state.seq}", seq=event.seq, head=state.seq)
    # The inbox limit guards new inputs; a log written under a larger one stays readable.
    gate = admit(state.gate, data, inbox_limit=1 << 31)
    forked = isinstance(data, SessionForked)
    meter = Meter() if forked else metered(state.meter, state.gate.phase, gate.phase, data, event.at_ms)
    state = _fold_rest(state, data, event)
    return msgspec.structs.replace(state, seq=event.seq, gate=gate, updated_ms=event.at_ms, meter=meter)


def _fold_rest(state: State, data: EventData, event: Event) -> State:
    replace = msgspec.structs.replace
    run, turn = state.run, state.turn
    match data:
        case SessionCreated():
            return replace(
                state,
                created_ms=event.at_ms,
                agent=data.agent,
                workspace=data.workspace,
                environment=data.environment,
                labels=data.labels,
                name=data.name,
                metadata=data.metadata,
                vaults=data.vaults,
                parent=data.parent,
                root=data.root,
                depth=data.depth,
            )
        case SessionForked():
            return replace(
                state,
                created_ms=event.at_ms,
                agent=data.agent,
                workspace=data.workspace,
                environment=data.environment,
                labels=data.labels,
                name=data.name,
                metadata=data.metadata,
                vaults=data.vaults,
                parent=data.parent,
                root=data.root,
                depth=data.depth,
                run=None,
                turn=None,
                usage=Usage(),
                own_calls=(),
                restoring=None if data.files is None else Restoring(event.seq, data.files, data.undo),
                warned=(),
                origin=data.origin,
                forked_at=event.seq - 1,
            )
        case SessionLabelled():
            labels = {seq: label for seq, label in state.event_labels.items() if seq != data.target}
            if data.label is not None:
                labels[data.target] = data.label
            return replace(state, event_labels=labels)
        case SessionConfigured():
            budgets = state.budgets if data.budgets is None else data.budgets
            if data.budgets is not None and data.raised_by is None:
                state = replace(state, budgets_set=data.budgets)
            elif data.budgets is not None and run is not None:
                # What was set while the run was open stays for the next one.
                budgets = budgets if run.budgets == state.budgets else state.budgets
                run = replace(run, budgets=data.budgets)
            return replace(
                state,
                model=state.model if data.model is None else data.model,
                thinking=state.thinking
                if data.thinking is None
                else (None if data.thinking == "default" else data.thinking),
                steer_mode=state.steer_mode if data.steer_mode is None else data.steer_mode,
                name=state.name if data.name is None else data.name,
                agent=state.agent if data.agent is None else data.agent,
                metadata=state.metadata if data.metadata is None else data.metadata,
                mode=state.mode if data.mode is None else (None if data.mode == BUILD.name else data.mode),
                lanes=state.lanes if data.lanes is None else {**state.lanes, **data.lanes},
                permissions=state.permissions if data.permissions is None else data.permissions,
                approvals=state.approvals if data.approvals is None else data.approvals,
                budgets=budgets,
                run=run,
            )
        case RunStarted():
            opened = Run(
                id=data.run,
                started_ms=event.at_ms,
                seq=event.seq,
                detached=data.history is not None,
                resumes=data.resumes,
                owes_answer=data.resumes is not None,
                model=data.model or state.model,
                thinking=state.thinking,
                turns=data.turns,
                turns_before=data.turns,
                tool_calls=data.tool_calls,
                usage=data.usage,
                checkpoint=event.seq,
                unattended=data.unattended,
                output=data.output,
                budgets=state.budgets,
            )
            # What a guard has warned of it may warn of again in the next run; a limit of the session's is told once.
            warned = tuple(w for w in state.warned if w[0] != "guard")
            return replace(state, run=opened, runs=state.runs + 1, warned=warned)
        case UserMessage():
            if run is None or data.delivery == "prompt" or data.sender == NUDGE or (data.sender or "").startswith("hook "):
                return state
            return replace(state, run=replace(run, held=0, nudges=0))
        case UserInterrupt():
            return replace(state, run=replace(_open(run, data), interrupt=data))
        case UserAnswer():
            if data.remember is not None and data.rule is not None:
                state = replace(state, permissions=_with_rule(state.permissions, data.decision, data.rule))
            if run is not None and run.question is not None and run.question.action == data.action:
                return replace(state, run=replace(run, question=replace(run.question, answer=data)))
            if turn is None:
                raise IllegalEvent("an action is answered only within its turn", action=data.action)
            calls = tuple(replace(c, answer=data) if c.action == data.action else c for c in turn.calls)
            return replace(state, turn=replace(turn, calls=calls))
        case RunClaimed():
            run = _open(run, data)
            taken_over = state.gate.claimed
            return replace(
                state, run=replace(run, takeovers=run.takeovers + 1 if taken_over else run.takeovers, retry_at_ms=None)
            )
        case RunParked():
            if turn is None and (run is None or run.question is None):
                raise IllegalEvent("a run is parked only within a turn, or with a question of its own", run=data.run)
            if turn is not None and any(c.phase == "started" for c in turn.calls):
                raise IllegalEvent("a run is parked only with no call under way", run=data.run)
            return state
        case RunRetrying():
            run = _open(run, data)
            _need_turn(turn, data)
            return replace(
                state,
                run=replace(
                    run,
                    retries=data.retry,
                    retry_model=data.model,
                    retry_at_ms=event.at_ms + data.delay_ms,
                ),
            )
        case RunFinished():
            if turn is not None:
                raise IllegalEvent("a run ends only between turns", run=data.run, turn=turn.index)
            run = _open(run, data)
            return replace(state, run=None, last_run=run.id, last_outcome=data.outcome)
        case InputDelivered():
            run = _open(run, data)
            if turn is not None:
                raise IllegalEvent("an input is delivered only between turns", input=data.id)
            return replace(state, run=replace(run, owes_answer=True, checkpoint=event.seq, verdict=None, fits=None))
        case TurnStarted():
            run = _open(run, data)
            if state.gate.phase != "running" or turn is not None:
                raise IllegalEvent("a turn starts only in a running run, after the one before it ended")
            if data.index != state.turns + 1:
                raise IllegalEvent(f"turn {data.index} should be {state.turns + 1}", index=data.index)
            return replace(
                state,
                turn=Turn(data.index),
                turns=data.index,
                run=replace(run, turns=run.turns + 1, retries=0),
            )
        case ModelStarted():
            turn = _need_turn(turn, data)
            if state.gate.phase != "running" or turn.message_seq is not None:
                raise IllegalEvent("a model is asked only in a running run, once its turn has no answer yet")
            if data.message == turn.asked:
                raise IllegalEvent("a model that is asked again answers under another id", answer=data.message)
            return replace(state, turn=replace(turn, asked=data.message, model=data.model))
        case AgentMessage():
            run = _open(run, data)
            turn = _need_turn(turn, data)
            message = data.message
            if turn.message_seq is not None or turn.asked != message.id:
                raise IllegalEvent(f"message {message.id!r} is not the one asked for", asked=turn.asked)
            ids = [c.id for c in message.calls]
            if len(set(ids)) != len(ids):
                raise IllegalEvent("two calls of one message share an id", calls=ids)
            last, repeats = run.last_call, run.repeats
            asked: list[Call] = []
            for request in message.calls:
                signature = _signature(request.name, request.arguments, request.malformed)
                repeats = repeats + 1 if signature == last else 1
                last = signature
                asked.append(Call(request.id, request.name, repeat=repeats))
            return replace(
                state,
                turn=replace(turn, message_seq=event.seq, calls=tuple(asked), stop=message.stop),
                usage=state.usage + message.usage,
                tool_calls=state.tool_calls + len(asked),
                run=replace(
                    run,
                    usage=run.usage + message.usage,
                    tool_calls=run.tool_calls + len(asked),
                    last_call=last if asked else None,
                    repeats=repeats if asked else 0,
                    retries=0,
                    takeovers=0,
                    stopped=_stopped(message),
                ),
            )
        case ToolStarted() if data.origin != "model":
            own = OwnCall(data.call, data.name, data.origin, data.owner, event.at_ms)
            others = tuple(c for c in state.own_calls if c.id != data.call)
            return replace(state, own_calls=(*others, own), tool_calls=state.tool_calls + 1)
        case ToolFinished() if data.origin != "model":
            # Whoever may append from outside may say this twice, or of a call that is not there: the log must stay readable.
            others = tuple(c for c in state.own_calls if c.id != data.call)
            if run is not None and data.origin == "verification" and event.run == run.id:
                run = replace(run, takeovers=0)  # it came to its end, so the driver that made it did something
            return replace(state, own_calls=others, run=run)
        case ToolStarted():
            if state.gate.phase != "running":
                raise IllegalEvent(
                    f"a call starts only in a running run, not while it is {state.gate.phase}", call=data.call
                )
            return replace(state, turn=_with_call(turn, data, data.call, phase="started", key=data.key))
        case ToolFinished():
            call = _call(turn, data, data.call)
            if data.status in _NEEDS_START and call.phase != "started" and call.answer is None and call.tasks is None:
                raise IllegalEvent(f"a call that never started cannot end as {data.status}", call=data.call)
            run = _open(run, data)
            return replace(
                state,
                turn=_with_call(turn, data, data.call, phase="finished", status=data.status),
                run=replace(
                    run,
                    takeovers=0,
                    touched=_touched(run, call, data),
                    nudges=0 if data.status == "ok" and data.name not in (TODO_TOOL, GOAL_TOOL) else run.nudges,
                ),
            )
        case ActionOpened() if data.call is None:
            run = _open(run, data)
            if run.question is not None:
                raise IllegalEvent("the run has a question open already", action=run.question.action)
            return replace(state, run=replace(run, question=Question(data.action, data.name, data.arguments)))
        case ActionClosed():
            if run is None or run.question is None or run.question.action != data.action:
                return state
            return replace(state, run=replace(run, question=None))
        case ActionOpened():
            assert data.call is not None
            call = _call(turn, data, data.call)
            if call.phase == "finished":
                raise IllegalEvent("an action is opened only for a call without a result", call=data.call)
            if call.action is not None and any(a.id == call.action for a in state.gate.actions):
                raise IllegalEvent("the call has an open action already", call=data.call, action=call.action)
            return replace(state, turn=_replace_call(turn, replace(call, action=data.action, answer=None)))
        case SubagentStarted() if data.action is not None:
            call = _call_of(turn, data, data.action)
            return replace(state, turn=_replace_call(turn, replace(call, tasks="open")))
        case SubagentFinished():
            # The gate has taken it from the open tasks only afterwards: `state.gate` is the one before.
            ended = next((t for t in state.gate.tasks if t.id == data.task), None)
            if ended is None or ended.action is None or turn is None:
                return state
            if any(t.action == ended.action for t in state.gate.tasks if t.id != data.task):
                return state
            call = _call_of(turn, data, ended.action)
            return replace(state, turn=_replace_call(turn, replace(call, tasks="done")))
        case TurnFinished():
            run = _open(run, data)
            turn = _need_turn(turn, data)
            if turn.index != data.index or turn.unfinished or state.gate.actions:
                raise IllegalEvent(
                    "a turn ends only when each of its calls has its result and its actions are closed",
                    calls=[c.id for c in turn.unfinished],
                )
            invalid = any(c.status == "invalid" for c in turn.calls)
            owes = bool(turn.calls) or turn.stop == "pause" or (run.owes_answer and turn.message_seq is None)
            return replace(
                state,
                turn=None,
                run=replace(
                    run,
                    owes_answer=owes,
                    invalid_turns=run.invalid_turns + 1 if invalid else 0,
                    checkpoint=event.seq,
                ),
            )
        case OutputChecked():
            run = _open(run, data)
            if turn is not None:
                raise IllegalEvent("an answer is checked only between turns", run=data.run, turn=turn.index)
            if data.problem is None:
                return replace(state, run=replace(run, fits=event.seq, misfits=0, misfit=None))
            return replace(state, run=replace(run, fits=None, misfits=run.misfits + 1, misfit=data.problem))
        case RunNudged():
            run = _open(run, data)
            if turn is not None:
                raise IllegalEvent("a model is told to go on only between turns", run=data.run, turn=turn.index)
            return replace(state, run=replace(run, nudges=data.attempt))
        case TodosUpdated():
            if run is not None and finished_count(data.todos) > finished_count(state.todos):
                run = replace(run, nudges=0)
            return replace(state, todos=data.todos, run=run)
        case GoalUpdated():
            return replace(state, goal=data.goal, run=None if run is None else replace(run, nudges=0))
        case RunYielded() | RunUnparked():
            _open(run, data)
            return state
        case UsageRecorded():
            run = None if run is None else replace(run, usage=run.usage + data.usage)
            return replace(state, usage=state.usage + data.usage, run=run)
        case BudgetWarned():
            told = (data.scope, data.resource, data.limit)
            return state if told in state.warned else replace(state, warned=(*state.warned, told))
        case BudgetExceeded():
            # Recorded beside a run, by a call of the host's own, it ends nothing.
            if run is None or event.run != run.id or run.exceeded is not None:
                return state
            return replace(state, run=replace(run, exceeded=data))
        case SessionRewound():
            state = replace(state, todos=data.todos, goal=data.goal)
            if data.files is None:
                return state
            return replace(state, restoring=Restoring(event.seq, data.files, data.undo))
        case WorkspaceRestored():
            return replace(state, restoring=None)
        case HookBlocked():
            if run is None or data.point != "before_finish":
                return state
            return replace(state, run=replace(run, held=run.held + 1))
        case WorkspaceCheckpointed():
            if turn is None or data.turn != turn.index or data.when == "manual":
                return state
            files: Literal["before", "after", "failed"] = data.when
            if data.when == "before" and data.ref is None:
                files = "failed"
            return replace(state, turn=replace(turn, files=files))
        case SessionCompacted(at_once=False):
            return state
        case SessionCompacted() | SessionPruned():
            if turn is not None and turn.message_seq is not None:
                raise IllegalEvent("what the model sees changes only before it is asked, not between its calls")
            return state if turn is None else replace(state, turn=replace(turn, made_room=True))
        case VerificationReported():
            if run is None or data.report.source != "run":
                return state
            return replace(state, run=_verified(run, data.report, event.seq))
        case (
            InputWithdrawn()
            | ContextLoaded()
            | InputReordered()
            | SessionOpened()
            | SessionPaused()
            | SessionResumed()
            | SessionArchived()
            | CompactionFailed()
            | ArtifactStored()
            | HookReported()
            | McpUnavailable()
            | MemoryRecalled()
            | MemoryFailed()
            | CommandExecuted()
            | SubagentStarted()
            | SubagentProgressed()
            | SubagentAsked()
            | SessionImported()
            | EntryKept()
            | Unknown()
        ):
            return state
        case _:
            assert_never(data)


def _with_rule(permissions: Permissions | None, decision: str, rule: str) -> Permissions:
    """The session's own rules with what was answered for good."""
    own = permissions or Permissions()
    if decision == "approve":
        return own if rule in own.allow else msgspec.structs.replace(own, allow=(*own.allow, rule))
    return own if rule in own.deny else msgspec.structs.replace(own, deny=(*own.deny, rule))


def _touched(run: Run, call: Call, data: ToolFinished) -> tuple[str, ...]:
    """The tools that did something, with this call's if it did."""
    came_from_outside = call.answer is not None and call.answer.decision == "result"
    if data.name in run.touched or not (call.phase == "started" or came_from_outside or call.tasks is not None):
        return run.touched
    return (*run.touched, data.name)


def _verified(run: Run, report: VerificationReport, seq: Seq) -> Run:
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


def _stopped(message: Assistant) -> NudgeReason | None:
    """What of an answer without calls says that it is not an end. Of one that was cut by a failure others decide."""
    if message.calls or not message.complete:
        return None
    if message.stop == "max_tokens":
        return "cut_off"
    if message.stop == "tool_use":
        return "no_call"
    said = any(b.text.strip() if isinstance(b, Text) else not isinstance(b, Thinking) for b in message.content)
    return "empty" if message.stop == "end_turn" and not said else None


def _open(run: Run | None, data: EventData) -> Run:
    if run is None:
        raise IllegalEvent(f"{type_of(data)} needs an open run", type=type_of(data))
    return run


def _need_turn(turn: Turn | None, data: EventData) -> Turn:
    if turn is None:
        raise IllegalEvent(f"{type_of(data)} needs an open turn", type=type_of(data))
    return turn


def _call(turn: Turn | None, data: EventData, call_id: CallId) -> Call:
    for call in _need_turn(turn, data).calls:
        if call.id == call_id:
            return call
    raise IllegalEvent(f"{type_of(data)}: the open turn has no call {call_id!r}", call=call_id)


def _call_of(turn: Turn | None, data: EventData, action: ActionId) -> Call:
    for call in _need_turn(turn, data).calls:
        if call.action == action:
            return call
    raise IllegalEvent(f"{type_of(data)}: no call of the open turn has action {action!r}", action=action)


def _replace_call(turn: Turn | None, call: Call) -> Turn:
    assert turn is not None
    return msgspec.structs.replace(turn, calls=tuple(call if c.id == call.id else c for c in turn.calls))


def _with_call(turn: Turn | None, data: EventData, call_id: CallId, *, phase: CallPhase, **changes: Any) -> Turn:
    call = _call(turn, data, call_id)
    if CALL_TABLE[call.phase].get(type(data)) != phase:
        raise IllegalEvent(f"{type_of(data)} cannot happen to a call that is {call.phase}", call=call_id)
    return _replace_call(turn, msgspec.structs.replace(call, phase=phase, **changes))


def _signature(name: str, arguments: dict[str, Any], malformed: str | None) -> str:
    body = msgspec.json.encode([name, arguments, malformed], order="sorted")
    return hashlib.blake2b(body, digest_size=12).hexdigest()


# --- stored form and picture ----------------------------------------------------------------------------------------

_state_decoder = msgspec.json.Decoder(State)

SNAPSHOT_VERSION = 11
"""Grows whenever `State` changes its stored shape or its meaning; a snapshot of another version is rebuilt."""


def encode_state(state: State) -> bytes:
    # JSON, as the events it came from: a person's answer may hold numbers that msgpack has no room for.
    return msgspec.json.encode(state)


def decode_state(packed: bytes) -> State:
    """Raises msgspec.DecodeError when the bytes are no state of this version."""
    return _state_decoder.decode(packed)


def _tag(event: type) -> str:
    assert issubclass(event, Data)
    return str(event.__struct_config__.tag)


def diagram() -> str:
    """The two tables as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> none"]
    for phase, moves in RUN_TABLE.items():
        for event, after in moves.items():
            lines.append(f"    {phase} --> {after}: {_tag(event)}")
    lines += ["    state call {", "        [*] --> requested"]
    for call_phase, call_moves in CALL_TABLE.items():
        for event, call_after in call_moves.items():
            lines.append(f"        {call_phase} --> {call_after}: {_tag(event)}")
    lines += ["        finished --> [*]", "    }"]
    return "\n".join(lines) + "\n"


__all__ = [
    "CALL_TABLE",
    "SNAPSHOT_VERSION",
    "Call",
    "CallPhase",
    "OwnCall",
    "Question",
    "Restoring",
    "Run",
    "State",
    "Turn",
    "decode_state",
    "diagram",
    "encode_state",
    "fold",
]
