"""The gate: the small part of a session's state that outsiders touch as well, and what it admits.

It holds the run's phase, the flags paused and archived, the queue of inputs and the open actions. It is kept with the
session, so the store checks it in the very transaction of each append, whoever appends. `admit` returns the next gate or
raises a `Conflict` and changes nothing. Rules a change must keep: the table below is the only way the phase moves; an input
from outside that was once admitted never makes a later fold fail.
"""

from __future__ import annotations

from typing import Literal, assert_never

import msgspec

from .agent import SteerMode
from .errors import (
    ActionNotFound,
    AlreadyAnswered,
    IllegalEvent,
    InboxFull,
    InputNotFound,
    NoOpenRun,
    SessionArchived as SessionArchivedError,
    SessionBusy,
    SessionPaused as SessionPausedError,
    TaskNotFound,
)
from .events import (
    ActionClosed,
    ActionKind,
    ActionOpened,
    AgentMessage,
    ArtifactStored,
    BudgetExceeded,
    BudgetWarned,
    CommandExecuted,
    CompactionFailed,
    ContextLoaded,
    Delivery,
    EntryKept,
    EventData,
    GoalUpdated,
    HookBlocked,
    HookReported,
    InputDelivered,
    InputReordered,
    InputWithdrawn,
    McpResourceUpdated,
    McpUnavailable,
    MemoryFailed,
    MemoryRecalled,
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
    StateUpdated,
    SubagentAsked,
    SubagentFinished,
    SubagentProgressed,
    SubagentStarted,
    TasksCancelled,
    TodosUpdated,
    ToolAsked,
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
from .ids import ActionId, InputId, RunId, derived_id
from .rules import Permissions
from .tasks import OpenTask
from .transcript import problems

Phase = Literal["none", "queued", "running", "waiting", "retrying"]
Status = Literal["queued", "idle", "running", "waiting", "retrying", "paused", "archived"]

# phase -> event -> next phase. `diagram()` draws it; nothing else moves the phase.
RUN_TABLE: dict[Phase, dict[type, Phase]] = {
    "none": {RunStarted: "queued"},
    "queued": {RunClaimed: "running", RunFinished: "none"},
    "running": {
        RunParked: "waiting",
        RunRetrying: "retrying",
        RunYielded: "queued",
        RunClaimed: "running",
        RunFinished: "none",
    },
    "waiting": {RunUnparked: "queued", RunFinished: "none"},
    "retrying": {RunClaimed: "running", RunFinished: "none"},
}

INBOX_LIMIT = 256
"""How many inputs of one kind (steers, follow-ups) may wait in one session."""


class QueuedInput(msgspec.Struct, frozen=True, omit_defaults=True):
    id: InputId
    delivery: Delivery
    mode: SteerMode = "skip"


class OpenAction(msgspec.Struct, frozen=True, omit_defaults=True):
    id: ActionId
    kind: ActionKind
    answered: bool = False
    expires_ms: int | None = None
    on_timeout: Literal["deny", "approve"] = "deny"
    lane: str | None = None

    @property
    def asks(self) -> bool:
        """Somebody outside is to answer it: neither children nor workers see to it."""
        return not self.answered and self.kind != "task" and self.lane is None


class Gate(msgspec.Struct, frozen=True, omit_defaults=True):
    """What every append is checked against."""

    phase: Phase = "none"
    created: bool = False
    paused: bool = False
    archived: bool = False
    opened: bool = False
    run: RunId | None = None
    attempt: int = 0
    claimed: bool = False
    interrupted: bool = False
    queue: tuple[QueuedInput, ...] = ()
    actions: tuple[OpenAction, ...] = ()
    restoring: bool = False
    tasks: tuple[OpenTask, ...] = ()

    @property
    def status(self) -> Status:
        if self.archived:
            return "archived"
        if self.paused:
            return "paused"
        if self.phase == "none":
            return "idle" if self.opened else "queued"
        return self.phase

    @property
    def drivable(self) -> bool:
        """True when a driver would find something to do."""
        if self.archived:
            return False
        if self.restoring:
            return True
        if self.paused and not self.interrupted:
            return False
        return self.phase in ("queued", "running", "retrying")


def admit(gate: Gate, data: EventData, *, inbox_limit: int = INBOX_LIMIT) -> Gate:
    """The gate after `data`.

    Raises SessionArchived, SessionBusy, SessionPaused, NoOpenRun, InboxFull, InputNotFound, ActionNotFound,
    AlreadyAnswered or IllegalEvent, all of them conflicts or not-founds that leave everything as it was.
    """
    if isinstance(data, SessionForked):
        # Nothing that was open in what the log begins with is open here.
        return Gate(created=True, restoring=data.files is not None)
    if gate.archived:
        raise SessionArchivedError()
    if gate.created == isinstance(data, SessionCreated):
        raise IllegalEvent(f"{type_of(data)} cannot happen here: a log begins with session.created, once")
    replace = msgspec.structs.replace
    match data:
        case UserMessage():
            # Each kind has its own room: a program's queue of follow-ups must not keep a person from steering.
            if sum(q.delivery == data.delivery for q in gate.queue) >= inbox_limit:
                raise InboxFull(limit=inbox_limit)
            if data.delivery == "prompt" and gate.phase != "none":
                raise SessionBusy(run=gate.run)
            if data.delivery == "steer" and gate.phase == "none":
                raise NoOpenRun("no run is open to steer: send a prompt instead")
            if any(q.id == data.id for q in gate.queue):
                raise IllegalEvent(f"input id {data.id!r} is queued already", input=data.id)
            return replace(gate, queue=(*gate.queue, QueuedInput(data.id, data.delivery, data.mode)))
        case UserInterrupt():
            if gate.run is None or gate.run != data.run:
                raise NoOpenRun(f"run {data.run!r} is not open", run=data.run, open=gate.run)
            return replace(gate, interrupted=True)
        case UserAnswer():
            found = next((a for a in gate.actions if a.id == data.action), None)
            if found is None:
                raise ActionNotFound(f"action {data.action!r} is not pending", action=data.action)
            if found.answered:
                raise AlreadyAnswered(action=data.action)
            if data.decision == "result" and found.kind == "approval":
                raise IllegalEvent("an approval is answered with approve or deny", action=data.action)
            if data.remember is not None and (data.rule is None or found.kind != "approval"):
                raise IllegalEvent("only an approval's answer is remembered, and with a rule", action=data.action)
            if data.rule is not None:
                Permissions(deny=(data.rule,))  # a rule that cannot be read is refused before it is stored
            if found.kind == "task":
                raise IllegalEvent("what waits for a task is answered by its end: cancel it instead", action=data.action)
            if data.decision == "approve" and found.kind != "approval":
                raise IllegalEvent(f"a pending {found.kind} is answered with a result", action=data.action)
            return replace(
                gate, actions=tuple(replace(a, answered=True) if a.id == data.action else a for a in gate.actions)
            )
        case MemoryRecalled():
            need_phase(gate, data, "running")
            _without(gate, data.input)
            return gate
        case InputDelivered():
            need_phase(gate, data, "running")
            return replace(gate, queue=_without(gate, data.id))
        case ContextLoaded():
            need_phase(gate, data, "running")
            if not data.text.strip():
                raise IllegalEvent("a context that says nothing cannot be read")
            return gate
        case InputWithdrawn():
            return replace(gate, queue=_without(gate, data.id))
        case InputReordered():
            waiting = {q.id: q for q in gate.queue if q.delivery == "follow_up"}
            if sorted(waiting) != sorted(data.order):
                raise InputNotFound(
                    "the new order must name every queued follow-up once", queued=list(waiting), order=list(data.order)
                )
            rest = tuple(q for q in gate.queue if q.delivery != "follow_up")
            return replace(gate, queue=(*rest, *(waiting[i] for i in data.order)))
        case SessionPaused():
            if gate.paused:
                raise SessionPausedError("the session is paused already")
            return replace(gate, paused=True)
        case SessionResumed():
            if not gate.paused:
                raise IllegalEvent("the session is not paused")
            return replace(gate, paused=False)
        case SessionOpened():
            return replace(gate, opened=True)
        case SessionRewound():
            if gate.phase != "none":
                raise SessionBusy("a rewind needs a session without an open run", run=gate.run)
            if data.to < 1:
                raise IllegalEvent(f"there is no event {data.to} to rewind to", to=data.to)
            _need_files(gate, "rewound")
            return replace(gate, restoring=data.files is not None)
        case SessionLabelled():
            if data.target < 1:
                raise IllegalEvent(f"there is no event {data.target} to label", target=data.target)
            return gate
        case SessionCompacted():
            if data.kept_from < 1:
                raise IllegalEvent(f"there is no event {data.kept_from} to keep messages from", kept_from=data.kept_from)
            if not data.summary.strip():
                raise IllegalEvent("a summary that says nothing cannot stand for messages")
            if data.at_once:
                need_phase(gate, data, "running")
            return gate
        case SessionPruned():
            need_phase(gate, data, "running")
            if data.before < 1 or data.longer_than < 0:
                raise IllegalEvent(
                    f"results before {data.before} longer than {data.longer_than} are none", before=data.before
                )
            return gate
        case SessionArchived():
            if gate.phase != "none":
                raise SessionBusy("an open run must end before the session can be archived", run=gate.run)
            _need_files(gate, "archived")
            return replace(gate, archived=True)
        case RunStarted():
            if gate.phase != "none":
                raise SessionBusy(run=gate.run)
            for problem in problems(data.history or ()):
                raise IllegalEvent(f"this history cannot be sent to a model: {problem}", run=data.run)
            return replace(gate, phase=_move(gate, data), run=data.run, attempt=0, claimed=False, interrupted=False)
        case RunClaimed():
            if gate.paused and not gate.interrupted:
                raise SessionPausedError()
            _need_files(gate, "worked on")
            _same_run(gate, data.run)
            phase = _move(gate, data)
            attempt = gate.attempt + 1 if gate.claimed or gate.attempt == 0 else gate.attempt
            if data.attempt != attempt:
                raise IllegalEvent(f"attempt {data.attempt} should be {attempt}", run=data.run)
            return replace(gate, phase=phase, attempt=attempt, claimed=True, opened=True)
        case RunParked():
            _same_run(gate, data.run)
            if not any(not a.answered for a in gate.actions):
                raise IllegalEvent("a run is parked only while an action waits for its answer", run=data.run)
            return replace(gate, phase=_move(gate, data), claimed=False)
        case RunNudged():
            need_phase(gate, data, "running")
            _same_run(gate, data.run)
            return gate
        case RunUnparked() | RunYielded() | RunRetrying():
            _same_run(gate, data.run)
            return replace(gate, phase=_move(gate, data), claimed=False)
        case RunFinished():
            _same_run(gate, data.run)
            if gate.actions:
                raise IllegalEvent("a run ends only after its actions are closed", actions=[a.id for a in gate.actions])
            if any(q.delivery != "follow_up" for q in gate.queue):
                raise IllegalEvent("a run ends only after its steers are delivered or withdrawn", run=data.run)
            return replace(gate, phase=_move(gate, data), run=None, attempt=0, claimed=False, interrupted=False)
        case ActionOpened():
            need_phase(gate, data, "running")
            if any(a.id == data.action for a in gate.actions):
                raise IllegalEvent(f"action id {data.action!r} is open already", action=data.action)
            opened = OpenAction(
                data.action, data.kind, expires_ms=data.expires_ms, on_timeout=data.on_timeout, lane=data.lane
            )
            return replace(gate, actions=(*gate.actions, opened))
        case ToolAsked():
            need_phase(gate, data, "running")
            keys = [question.key for question in data.questions]
            if not keys or len(set(keys)) != len(keys):
                raise IllegalEvent("a call asks something, and each question under a key of its own", call=data.call)
            return gate
        case SubagentStarted():
            if any(t.id == data.task for t in gate.tasks):
                raise IllegalEvent(f"task {data.task!r} has begun already", task=data.task)
            if any(t.session == data.child for t in gate.tasks):
                raise SessionBusy(f"session {data.child!r} works on a task already", session=data.child)
            if data.action is not None and not any(a.id == data.action and a.kind == "task" for a in gate.actions):
                raise IllegalEvent(f"action {data.action!r} waits for no task", action=data.action)
            return replace(gate, tasks=(*gate.tasks, OpenTask(data.task, data.child, data.action, data.external)))
        case SubagentProgressed():
            if not any(t.id == data.task for t in gate.tasks):
                raise TaskNotFound(f"task {data.task!r} is not open: it has ended already, or never began", task=data.task)
            return gate
        case TasksCancelled():
            return gate
        case SubagentFinished():
            ended = next((t for t in gate.tasks if t.id == data.task), None)
            if ended is None:
                raise TaskNotFound(f"task {data.task!r} is not open: it has ended already, or never began", task=data.task)
            tasks = tuple(t for t in gate.tasks if t.id != data.task)
            if ended.action is None or any(t.action == ended.action for t in tasks):
                return replace(gate, tasks=tasks)
            actions = tuple(replace(a, answered=True) if a.id == ended.action else a for a in gate.actions)
            return replace(gate, tasks=tasks, actions=actions)
        case ActionClosed() if any(t.action == data.action for t in gate.tasks):
            raise IllegalEvent("an action is closed only after its tasks have ended", action=data.action)
        case ActionClosed():
            if not any(a.id == data.action for a in gate.actions):
                raise IllegalEvent(f"action {data.action!r} is not open", action=data.action)
            return replace(gate, actions=tuple(a for a in gate.actions if a.id != data.action))
        case SessionCreated():
            return replace(gate, created=True)
        case ToolStarted() if data.origin != "model":
            _need_files(gate, "worked on")
            return gate
        case WorkspaceRestored():
            return replace(gate, restoring=False)
        case (
            SessionConfigured()
            | TurnStarted()
            | TurnFinished()
            | ModelStarted()
            | AgentMessage()
            | ToolStarted()
            | ToolFinished()
            | ArtifactStored()
            | UsageRecorded()
            | BudgetWarned()
            | BudgetExceeded()
            | HookBlocked()
            | HookReported()
            | McpResourceUpdated()
            | McpUnavailable()
            | MemoryFailed()
            | WorkspaceCheckpointed()
            | VerificationReported()
            | CommandExecuted()
            | SubagentAsked()
            | SessionImported()
            | EntryKept()
            | CompactionFailed()
            | OutputChecked()
            | TodosUpdated()
            | GoalUpdated()
            | StateUpdated()
            | Unknown()
        ):
            return gate
        case _:
            assert_never(data)


def consequence(gate: Gate, data: EventData) -> EventData | None:
    """What follows from an admitted input at once, in the same append.

    `gate` is the gate after `data`. A parked run wakes up with an answer, an interrupt or a skipping steer; what may wait
    does not wake it. A follow-up starts a run when none is open: then nothing else is left to do.
    """
    match data:
        case UserMessage(delivery="follow_up") if gate.phase == "none":
            return RunStarted(RunId(derived_id("run", data.id)), data.id)
        case UserAnswer() | UserInterrupt() if gate.phase == "waiting" and gate.run is not None:
            return RunUnparked(gate.run)
        case SubagentFinished() if gate.phase == "waiting" and gate.run is not None:
            # What was the last of its action has answered it. Should others be missing still, the run parks again.
            answered = any(a.kind == "task" and a.answered for a in gate.actions)
            return RunUnparked(gate.run) if answered else None
        case UserMessage(delivery="steer", mode="skip") if gate.phase == "waiting" and gate.run is not None:
            return RunUnparked(gate.run)
        case _:
            return None


def _move(gate: Gate, data: EventData) -> Phase:
    try:
        return RUN_TABLE[gate.phase][type(data)]
    except KeyError:
        raise IllegalEvent(
            f"{type_of(data)} cannot happen while the run is {gate.phase}", phase=gate.phase, type=type_of(data)
        ) from None


def _same_run(gate: Gate, run: RunId) -> None:
    if gate.run != run:
        raise IllegalEvent(f"run {run!r} is not the open run", run=run, open=gate.run)


def _need_files(gate: Gate, what: str) -> None:
    if gate.restoring:
        raise SessionBusy(
            f"the session's files are being put back: it can be {what} when they are; opening it goes on with that"
        )


def need_phase(gate: Gate, data: EventData, phase: Phase) -> None:
    if gate.phase != phase:
        raise IllegalEvent(
            f"{type_of(data)} cannot happen while the run is {gate.phase}", phase=gate.phase, type=type_of(data)
        )


def _without(gate: Gate, input_id: InputId) -> tuple[QueuedInput, ...]:
    if not any(q.id == input_id for q in gate.queue):
        raise InputNotFound(f"input {input_id!r} is not queued", input=input_id)
    return tuple(q for q in gate.queue if q.id != input_id)


_gate_decoder = msgspec.msgpack.Decoder(Gate)
_packer = msgspec.msgpack.Encoder()


def encode_gate(gate: Gate) -> bytes:
    return _packer.encode(gate)


def decode_gate(packed: bytes) -> Gate:
    return _gate_decoder.decode(packed)


class _OpenRun(msgspec.Struct, frozen=True):
    run: RunId | None = None


_run_decoder = msgspec.msgpack.Decoder(_OpenRun)


def run_of_gate(packed: bytes) -> RunId | None:
    """The open run of an encoded gate; of nothing else anything is made, as lists of sessions ask for it."""
    return _run_decoder.decode(packed).run
