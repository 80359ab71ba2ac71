"""The story of a log: what a person wants to read of it, in the order in which it happened, one passage at a time.

Owns what belongs together (an answer and the results of its calls) and what was left behind by a rewind. Leaves out how it
looks. The log is read in pages; of it only the open turn is held.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from ...contracts import EventStore
from ...core.events import (
    ActionOpened,
    AgentMessage,
    BudgetExceeded,
    CommandExecuted,
    ContextLoaded,
    EntryKept,
    Event,
    GoalUpdated,
    HookBlocked,
    InputDelivered,
    MemoryRecalled,
    ModelStarted,
    RunFinished,
    RunStarted,
    SessionCompacted,
    SessionConfigured,
    SessionCreated,
    SessionForked,
    SessionImported,
    SessionLabelled,
    SessionRewound,
    SubagentFinished,
    SubagentStarted,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    UsageRecorded,
    UserAnswer,
    UserMessage,
    VerificationReported,
)
from ...core.ids import CallId, InputId, Seq, SessionId
from ...core.messages import Assistant, ToolCall, Usage, UserBlock
from ...core.nudges import NUDGE

PAGE = 500


@dataclass
class Put:
    """A question that a call has asked, and what was answered, if anything was."""

    asked: ActionOpened
    answer: UserAnswer | None = None


@dataclass
class Call:
    """A call with what became of it. `child`: the session that did it. `questions`: what it has asked, in order."""

    call: ToolCall
    started: ToolStarted | None = None
    result: ToolFinished | None = None
    child: SessionId | None = None
    asked: ActionOpened | None = None
    answer: UserAnswer | None = None
    questions: list[Put] = field(default_factory=list)


@dataclass
class Passage:
    """One piece of the story. `seq`: the event that completes it. `left`: a rewind has left it behind."""

    seq: Seq
    at_ms: int
    left: bool


@dataclass
class Said(Passage):
    content: tuple[UserBlock, ...] = ()
    sender: str | None = None
    id: InputId | None = None


@dataclass
class Answered(Passage):
    """`open`: its turn had not ended. `duration_ms`: from the question to the answer."""

    message: Assistant = field(default_factory=lambda: Assistant(id="", content=()))  # type: ignore[arg-type]
    calls: list[Call] = field(default_factory=list)
    open: bool = False
    duration_ms: int = 0


@dataclass
class Direct(Passage):
    """A call that no model asked for."""

    call: Call = field(default_factory=lambda: Call(ToolCall(CallId(""), "")))


@dataclass
class Told(Passage):
    """Anything else worth a line: `data` is the event's. A message is one by which the model was told to go on."""

    data: (
        SessionCompacted
        | SessionConfigured
        | SessionRewound
        | SessionImported
        | SessionForked
        | SessionLabelled
        | RunFinished
        | CommandExecuted
        | VerificationReported
        | HookBlocked
        | BudgetExceeded
        | GoalUpdated
        | ContextLoaded
        | MemoryRecalled
        | UserMessage
        | EntryKept
        | None
    ) = None


@dataclass
class Total:
    """What a log came to. `models`: how often each answered."""

    usage: Usage = field(default_factory=Usage)
    messages: int = 0
    answers: int = 0
    calls: int = 0
    models: dict[str, int] = field(default_factory=dict)
    first_ms: int = 0
    last_ms: int = 0


async def left_behind(store: EventStore, session: SessionId, head: Seq) -> list[tuple[Seq, Seq]]:
    """The spans of the log, first and last seq, that the conversation has left behind."""
    path: list[tuple[Seq, Seq]] = []
    since = 1
    left: list[tuple[Seq, list[tuple[Seq, Seq]]]] = []
    for event in await store.read(session, types=("session.rewound",), to_seq=head):
        data = event.data
        if not isinstance(data, SessionRewound):
            continue
        path = [*path, (since, event.seq - 1)]
        left.append((event.seq, path))
        stood_on = next(way for until, way in left if data.to < until)
        path = [(first, min(last, data.to)) for first, last in stood_on if first <= data.to]
        since = event.seq
    path = [*path, (since, head)]
    gaps, at = [], 1
    for first, last in sorted(path):
        if first > at:
            gaps.append((at, first - 1))
        at = max(at, last + 1)
    return gaps


class Story:
    """Iterate `passages` once; `total` and `created` are known behind it."""

    def __init__(self, store: EventStore, session: SessionId, head: Seq) -> None:
        self.session = session
        self.head = head
        self.total = Total()
        self.created: SessionCreated | None = None
        self.children: list[SessionId] = []
        self.name: str | None = None
        self._store = store
        self._queued: dict[InputId, UserMessage] = {}
        self._calls: dict[CallId, Call] = {}
        self._direct: dict[CallId, Call] = {}
        self._answer: Answered | None = None
        self._asked_ms = 0

    async def passages(self) -> AsyncIterator[Passage]:
        gaps = await left_behind(self._store, self.session, self.head)
        seq = 0
        while seq < self.head:
            page = await self._store.read(self.session, seq, limit=PAGE, to_seq=self.head)
            if not page:
                break
            for event in page:
                self.total.first_ms = self.total.first_ms or event.at_ms
                self.total.last_ms = event.at_ms
                while gaps and gaps[0][1] < event.seq:
                    gaps.pop(0)
                passage = self._take(event, bool(gaps) and gaps[0][0] <= event.seq)
                if passage is not None:
                    yield passage
            seq = page[-1].seq
        if self._answer is not None:
            self._answer.open = True
            yield self._answer

    def _take(self, event: Event, left: bool) -> Passage | None:
        data, at = event.data, (event.seq, event.at_ms, left)
        match data:
            case SessionCreated():
                self.created, self.name = data, data.name
            case UserMessage():
                self._queued[data.id] = data
            case InputDelivered():
                said = self._queued.pop(data.id, None)
                content = data.content if data.content is not None else () if said is None else said.content
                self.total.messages += 1
                if said is not None and said.sender == NUDGE:
                    return Told(*at, said)
                return Said(*at, content, None if said is None else said.sender, data.id)
            case ModelStarted():
                self._asked_ms = event.at_ms
            case AgentMessage():
                self._begin(event, data.message, left)
            case ToolStarted() if data.origin != "model":
                call = Call(ToolCall(data.call, data.name, data.arguments), data)
                self._direct[data.call] = call
            case ToolFinished() if data.origin != "model":
                own = self._direct.pop(data.call, None) or Call(ToolCall(data.call, data.name))
                own.result = data
                return Direct(*at, own)
            case ToolStarted() | ToolFinished() | ActionOpened() | UserAnswer() | SubagentStarted() | SubagentFinished():
                self._on_call(data)
            case TurnFinished():
                answer, self._answer, self._calls = self._answer, None, {}
                if answer is not None:
                    answer.seq, answer.left = event.seq, left
                return answer
            case UsageRecorded():
                self.total.usage += data.usage
            case SessionConfigured():
                self.name = data.name or self.name
                shown = data.model is not None or data.thinking is not None or data.agent is not None
                return Told(*at, data) if shown else None
            case RunFinished():
                return Told(*at, data) if data.outcome != "done" else None
            case (
                SessionCompacted()
                | SessionRewound()
                | SessionImported()
                | GoalUpdated()
                | ContextLoaded()
                | MemoryRecalled()
                | SessionForked()
                | SessionLabelled()
                | CommandExecuted()
                | VerificationReported()
                | HookBlocked()
                | BudgetExceeded()
                | EntryKept()
            ):
                return Told(*at, data)
            case RunStarted() if data.history:
                self.total.messages += len(data.history)
            case _:
                pass
        return None

    def _begin(self, event: Event, message: Assistant, left: bool) -> None:
        calls = [Call(call) for call in message.calls]
        self._calls = {call.call.id: call for call in calls}
        total = self.total
        total.usage += message.usage
        total.answers += 1
        total.calls += len(calls)
        total.models[message.model] = total.models.get(message.model, 0) + 1
        took = max(0, event.at_ms - self._asked_ms)
        self._answer = Answered(event.seq, event.at_ms, left, message, calls, duration_ms=took)

    def _on_call(
        self, data: ToolStarted | ToolFinished | ActionOpened | UserAnswer | SubagentStarted | SubagentFinished
    ) -> None:
        match data:
            case UserAnswer():
                for call in self._calls.values():
                    if call.asked is not None and call.asked.action == data.action:
                        call.answer = data
                    for put in call.questions:
                        if put.asked.action == data.action:
                            put.answer = data
            case SubagentFinished():
                pass
            case ToolStarted() | ToolFinished() | ActionOpened() | SubagentStarted():
                if isinstance(data, SubagentStarted) and data.child not in self.children:
                    self.children.append(data.child)
                call_ = None if data.call is None else self._calls.get(data.call)
                if call_ is None:
                    return
                if isinstance(data, ToolStarted):
                    call_.started = call_.started if data.resumed else data
                elif isinstance(data, ToolFinished):
                    call_.result = data
                elif isinstance(data, ActionOpened) and data.asking:
                    call_.questions.append(Put(data))
                elif isinstance(data, ActionOpened):
                    call_.asked = data
                else:
                    call_.child = data.child
