"""The messages a model sees: a fold over the few event types that make them, valid for a provider at every seq.

Valid means: each tool call of an assistant message is followed by exactly one result, in call order, before anything
else. It holds by construction, because a turn enters as a whole when it ends: until then its answer and its results wait
outside. An answer that was cut enters with its text alone, since its calls never ran and its thinking has no signature.

An `Entry` is one message plus a drawer for what model adapters made of it. The message never changes, so neither does
its encoding: an adapter that keeps the bytes for its wire format in `Entry.encoded` pays for new messages only, and the
prefix it sends stays the same to the byte. Drawers are never stored.

The entries form a tree (a rewind leaves a branch behind); `messages` is the path to the head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from .events import (
    AgentMessage,
    Event,
    InputDelivered,
    InputWithdrawn,
    RunStarted,
    SessionRewound,
    ToolFinished,
    UserMessage,
)
from .ids import CallId, InputId, Seq
from .messages import Assistant, Message, Text, ToolResult, User


class Entry:
    """A message on the transcript. `seq`: the event that placed it; `encoded`: adapters' drawers by wire format."""

    __slots__ = ("encoded", "message", "seq")

    def __init__(self, message: Message, seq: Seq = 0) -> None:
        self.message = message
        self.seq = seq
        self.encoded: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"Entry({self.seq}, {self.message.__class__.__name__})"


class Transcript:
    """Folds events with `apply`; `entries` is the current branch, oldest first, and must not be changed by readers."""

    __slots__ = ("_answer", "_branches", "_entries", "_own", "_results", "_waiting", "seq")

    def __init__(self) -> None:
        self.seq: Seq = 0
        self._entries: list[Entry] = []
        # Each branch that was left, by the seq of the rewind that left it. Needed to rewind onto one of them.
        self._branches: list[tuple[Seq, list[Entry]]] = []
        self._own: list[Entry] | None = None
        self._waiting: dict[InputId, UserMessage] = {}
        self._answer: Assistant | None = None
        self._results: dict[CallId, ToolFinished] = {}

    @property
    def entries(self) -> Sequence[Entry]:
        return self._entries

    @property
    def messages(self) -> tuple[Message, ...]:
        return tuple(e.message for e in self._entries)

    @property
    def own_messages(self) -> tuple[Message, ...]:
        """The session's messages, also while a run works on a history of its own."""
        return tuple(e.message for e in (self._entries if self._own is None else self._own))

    def __len__(self) -> int:
        return len(self._entries)

    def waiting(self, input_id: InputId) -> UserMessage | None:
        """The queued message of this id, if it is stored."""
        return self._waiting.get(input_id)

    def apply(self, event: Event) -> None:
        """Take one event in, in log order."""
        self.seq = event.seq
        take = _TAKE.get(event.type)
        if take is not None:
            take(self, event)

    def _accept(self, event: Event) -> None:
        data = event.data
        if isinstance(data, UserMessage):
            self._waiting[data.id] = data

    def _withdraw(self, event: Event) -> None:
        data = event.data
        if isinstance(data, InputWithdrawn):
            self._waiting.pop(data.id, None)

    def _deliver(self, event: Event) -> None:
        data = event.data
        if isinstance(data, InputDelivered):
            said = self._waiting.pop(data.id, None)
            content = data.content if data.content is not None else () if said is None else said.content
            self._entries.append(Entry(User(content), event.seq))

    def _answered(self, event: Event) -> None:
        data = event.data
        if isinstance(data, AgentMessage):
            self._answer, self._results = data.message, {}

    def _take_result(self, event: Event) -> None:
        data = event.data
        if not isinstance(data, ToolFinished) or data.origin != "model":
            return
        if self._answer is not None and data.call not in self._results:
            self._results[data.call] = data

    def _begin_run(self, event: Event) -> None:
        data = event.data
        if isinstance(data, RunStarted) and data.history is not None:
            self._own = self._entries
            self._entries = [Entry(m, event.seq) for m in data.history]

    def _end_run(self, event: Event) -> None:
        if self._own is not None:
            self._entries, self._own = self._own, None

    def _go_back(self, event: Event) -> None:
        data = event.data
        if isinstance(data, SessionRewound):
            self._rewind(event.seq, data.to)

    def _close_turn(self, event: Event) -> None:
        seq = event.seq
        answer, results = self._answer, self._results
        self._answer, self._results = None, {}
        if answer is None:
            return
        kept = as_sent(answer)
        if kept is None:
            return
        self._entries.append(Entry(kept, seq))
        for call in kept.calls:
            done = results[call.id]
            self._entries.append(Entry(ToolResult(call.id, call.name, done.content, done.status), seq))

    def _rewind(self, seq: Seq, to: Seq) -> None:
        # The head stood on a branch until the rewind that left it; so `to` lies on the first one left after it.
        stood_on = next((entries for left, entries in self._branches if to < left), self._entries)
        self._branches.append((seq, self._entries))
        self._entries = [e for e in stood_on if e.seq <= to]


# By the name of the type, so that the many events whose content is not needed here are never decoded.
_TAKE: dict[str, Callable[[Transcript, Event], None]] = {
    "user.message": Transcript._accept,
    "input.withdrawn": Transcript._withdraw,
    "input.delivered": Transcript._deliver,
    "agent.message": Transcript._answered,
    "tool.finished": Transcript._take_result,
    "turn.finished": Transcript._close_turn,
    "run.started": Transcript._begin_run,
    "run.finished": Transcript._end_run,
    "session.rewound": Transcript._go_back,
}
TRANSCRIPT_TYPES: tuple[str, ...] = tuple(_TAKE)
"""The event types the fold looks at; a reader may leave out all others."""


def as_sent(answer: Assistant) -> Assistant | None:
    """The answer as it may be sent back to a provider, or None when nothing of it can."""
    if not answer.complete:
        texts = tuple(b for b in answer.content if isinstance(b, Text) and b.text)
        return msgspec.structs.replace(answer, content=texts) if texts else None
    return answer if answer.content else None


def transcript_of(events: Iterable[Event]) -> Transcript:
    """Fold from the beginning of a log; other event types may be left out."""
    transcript = Transcript()
    for event in events:
        transcript.apply(event)
    return transcript


def problems(messages: Sequence[Message]) -> Iterator[str]:
    """What a provider would reject in these messages; nothing when they are valid."""
    due: list[CallId] = []
    for place, message in enumerate(messages):
        match message:
            case ToolResult():
                if not due or due[0] != message.call_id:
                    yield f"message {place}: result for {message.call_id!r}, expected {due[:1]}"
                else:
                    due.pop(0)
            case User() | Assistant():
                if due:
                    yield f"message {place}: calls {due} have no result"
                    due = []
                if isinstance(message, Assistant):
                    if not message.content:
                        yield f"message {place}: an assistant message without content"
                    due = [c.id for c in message.calls]
    if due:
        yield f"end: calls {due} have no result"
