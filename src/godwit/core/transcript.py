"""The messages a model sees: a fold over the few event types that make them, valid for a provider at every seq.

Valid means: each tool call of an assistant message is followed by exactly one result, in call order, before anything
else. It holds by construction, because a turn enters as a whole when it ends: until then its answer and its results wait
outside. An answer that was cut enters with its text alone, since its calls never ran and its thinking has no signature.

An `Entry` is one message plus a drawer for what model adapters made of it. The message never changes, so neither does
its encoding: an adapter that keeps the bytes for its wire format in `Entry.encoded` pays for new messages only, and the
prefix it sends stays the same to the byte. Drawers are never stored.

The entries form a tree (a rewind leaves a branch behind); `messages` is the path to the head. A compaction leaves one
behind as well: on the new one a summary stands for the older messages, and the rest is as it was but for its thinking, which
providers take back only after exactly what it was thought after. While a run is open nothing moves under it: a compaction
that is recorded then takes effect where the run ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from .events import (
    AgentMessage,
    ContextLoaded,
    Event,
    GoalUpdated,
    InputDelivered,
    InputWithdrawn,
    MemoryRecalled,
    RunStarted,
    SessionCompacted,
    SessionPruned,
    SessionRewound,
    StateUpdated,
    SubagentFinished,
    TodosUpdated,
    ToolFinished,
    UserMessage,
)
from .goal import Goal, goal_ended, goal_set
from .ids import CallId, InputId, Seq
from .messages import AgentBlock, Assistant, Message, Text, Thinking, ToolCall, ToolResult, User
from .senders import is_written_here
from .shared_state import NOTHING, STATE_TOOL, Digest, digest_of, folded, state_told
from .todos import Todo, is_lost, todos_changed, todos_replaced, todos_text
from .tool_search import FOUND, TOOL_SEARCH

FILE_CHARACTERS = 6000
"""What an image or a document in a result counts as."""


class Entry:
    """A message on the transcript. `seq`: the event that placed it; `encoded`: adapters' drawers by wire format. `own`: it
    is a message to the model that the engine has written itself, whose words may be a model's. `memories`: which stand in
    it, as scope, id and when each was changed. `found`: the tools that a search, whose result it is, has found."""

    __slots__ = ("encoded", "found", "memories", "message", "own", "seq")

    def __init__(
        self,
        message: Message,
        seq: Seq = 0,
        own: bool = False,
        memories: tuple[tuple[str, str, int], ...] = (),
        found: tuple[str, ...] = (),
    ) -> None:
        self.memories = memories
        self.found = found
        self.message = message
        self.seq = seq
        self.own = own
        self.encoded: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"Entry({self.seq}, {self.message.__class__.__name__})"


class _Known(NamedTuple):
    """What a model has been told: the id of an open goal, the list of what is to be done, and which shared state."""

    goal: str | None = None
    todos: tuple[Todo, ...] = ()
    shared: Digest = NOTHING


class _Branch:
    """A path through the tree. `summary`: what stands first, in place of the messages `behind`, oldest first; `older`: how
    many entries, from the first, stood in another context when they came. `known`: what its model knows of what is
    to be done and of the shared state."""

    __slots__ = ("behind", "entries", "known", "older", "summary")

    def __init__(
        self,
        entries: list[Entry] | None = None,
        summary: SessionCompacted | None = None,
        behind: tuple[Entry, ...] = (),
        older: int = 0,
    ) -> None:
        self.entries: list[Entry] = [] if entries is None else entries
        self.summary = summary
        self.behind = behind
        self.older = older
        self.known = _Known()


class Transcript:
    """Folds events with `apply`; `entries` is the current branch, oldest first, and must not be changed by readers."""

    __slots__ = (
        "_answer",
        "_branch",
        "_contexts",
        "_due",
        "_entries",
        "_goal",
        "_known",
        "_left",
        "_notices",
        "_recalled",
        "_replaced",
        "_results",
        "_running",
        "_shared",
        "_shared_by",
        "_shared_digest",
        "_tells_shared",
        "_todos",
        "_unheard",
        "_waiting",
        "_written",
        "seq",
    )

    def __init__(self) -> None:
        self.seq: Seq = 0
        self._branch = _Branch()
        # Where messages are added: the branch's, or those of a run with a history of its own.
        self._entries = self._branch.entries
        # Each branch that was left, by the seq at which it was. Needed to rewind onto one of them.
        self._left: list[tuple[Seq, _Branch]] = []
        self._running = False
        self._due: SessionCompacted | None = None
        self._waiting: dict[InputId, UserMessage] = {}
        self._recalled: dict[InputId, MemoryRecalled] = {}
        self._answer: Assistant | None = None
        self._results: dict[CallId, ToolFinished] = {}
        # What the model is told with the next thing that comes to it.
        self._notices: list[str] = []
        self._contexts: dict[Seq, ContextLoaded] = {}
        # What is to be done, what the model itself has written of it in the open turn, and where on which branch what of it
        # was known.
        self._goal: Goal | None = None
        self._todos: tuple[Todo, ...] = ()
        self._written: tuple[Todo, ...] | None = None
        self._known: dict[Seq, _Known] = {}
        # A list that its host has written and its model does not know of yet; one whose place the model's has taken since.
        self._unheard: tuple[Todo, ...] | None = None
        self._replaced: tuple[Todo, ...] | None = None
        # The shared state, whether the model is told of it, and what it was after each call of the open turn that changed
        # it.
        self._shared: Any = None
        self._shared_digest: Digest | None = NOTHING
        self._tells_shared = False
        self._shared_by: dict[CallId, Any] = {}

    @property
    def entries(self) -> Sequence[Entry]:
        return self._entries

    @property
    def messages(self) -> tuple[Message, ...]:
        return tuple(e.message for e in self._entries)

    @property
    def from_outside(self) -> tuple[Message, ...]:
        """The messages but for what the engine has written itself: a summary of older ones, what checks and hooks say, the
        end of a task."""
        return tuple(e.message for e in self._entries[1 if self.older else 0 :] if not e.own)

    @property
    def own_entries(self) -> Sequence[Entry]:
        """The session's entries, also while a run works on a history of its own."""
        return self._branch.entries

    @property
    def own_messages(self) -> tuple[Message, ...]:
        """The session's messages, also while a run works on a history of its own."""
        return tuple(e.message for e in self._branch.entries)

    @property
    def summary(self) -> SessionCompacted | None:
        """The compaction whose summary stands first on the session's branch."""
        return self._branch.summary

    @property
    def answer(self) -> Assistant | None:
        """What the model has said in the turn that is open."""
        return self._answer

    @property
    def due(self) -> SessionCompacted | None:
        """A compaction that waits for the end of the open run."""
        return self._due

    @property
    def older(self) -> int:
        """How many of `entries`, from the first, stood in another context when they came: what providers counted for
        their answers says nothing of this one."""
        branch = self._branch
        return branch.older if self._entries is branch.entries else 0

    @property
    def behind(self) -> Sequence[Entry]:
        """The entries that the summary stands for, oldest first; no earlier summary is among them."""
        return self._branch.behind

    @property
    def context(self) -> ContextLoaded | None:
        """The newest of what files say to the model that it still reads: none once a summary stands in its place, or the
        conversation went back to before it."""
        return next((self._contexts[e.seq] for e in reversed(self._entries) if e.seq in self._contexts), None)

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
            self._recalled.pop(data.id, None)

    def _deliver(self, event: Event) -> None:
        data = event.data
        if isinstance(data, InputDelivered):
            said = self._waiting.pop(data.id, None)
            content = data.content if data.content is not None else () if said is None else said.content
            self._tell(event.seq)
            recalled = self._recalled.pop(data.id, None)
            if recalled is not None:
                named = tuple((m.scope, m.id, m.updated_ms) for m in recalled.memories)
                self._entries.append(Entry(User((Text(recalled.text),)), event.seq, own=True, memories=named))
            self._entries.append(Entry(User(content), event.seq, said is not None and is_written_here(said)))

    def _load_context(self, event: Event) -> None:
        data = event.data
        # A run with a history of its own is told what that history holds.
        if isinstance(data, ContextLoaded) and self._entries is self._branch.entries:
            self._contexts[event.seq] = data
            self._entries.append(Entry(User((Text(data.text),)), event.seq))

    def _recall(self, event: Event) -> None:
        data = event.data
        if isinstance(data, MemoryRecalled):
            self._recalled[data.input] = data

    def _notice(self, event: Event) -> None:
        data = event.data
        if isinstance(data, SubagentFinished) and data.notice:
            self._notices.append(data.notice)

    def _write_todos(self, event: Event) -> None:
        data = event.data
        if isinstance(data, TodosUpdated):
            self._todos = data.todos
            if data.call is None:
                self._unheard, self._replaced = data.todos, None
                return
            self._written = data.todos
            unheard, self._unheard = self._unheard, None
            if unheard is not None and is_lost(self._branch.known.todos, unheard, data.todos):
                self._replaced = unheard

    def _set_goal(self, event: Event) -> None:
        data = event.data
        if isinstance(data, GoalUpdated):
            self._goal = data.goal

    def _share(self, event: Event) -> None:
        data = event.data
        if isinstance(data, StateUpdated):
            self._set_shared(folded(self._shared, data.patch, data.value))
            self._tells_shared = data.tell
            if data.call is not None:
                self._shared_by[data.call] = self._shared

    def _set_shared(self, value: Any) -> None:
        self._shared, self._shared_digest = value, None

    def _digest(self) -> Digest:
        if self._shared_digest is None:
            self._shared_digest = digest_of(self._shared)
        return self._shared_digest

    def _tell_shared(self, seq: Seq, known: _Known) -> _Known:
        """What the model knows once it has been told of the shared state, which is done unless it knows."""
        if not self._tells_shared or known.shared == self._digest():
            return known
        self._entries.append(Entry(User((Text(state_told(self._shared)),)), seq, own=True))
        return known._replace(shared=self._digest())

    def _know(self, seq: Seq, known: _Known) -> None:
        """The model knows this from here on."""
        if known != self._branch.known:
            self._branch.known = self._known[seq] = known

    def _tell(self, seq: Seq) -> None:
        # A run with a history of its own is not what these are for.
        if self._entries is not self._branch.entries:
            return
        if self._notices:
            self._entries.append(Entry(User((Text("\n\n".join(self._notices)),)), seq))
            self._notices = []
        known, goal = self._branch.known, self._goal
        if goal is not None and goal.open and known.goal != goal.id:
            known = known._replace(goal=goal.id)
            self._entries.append(Entry(User((Text(goal_set(goal)),)), seq))
        elif known.goal is not None and (goal is None or not goal.open):
            known = known._replace(goal=None)
            if goal is None or goal.by == "host":  # one that the model has ended it knows of
                self._entries.append(Entry(User((Text(goal_ended(goal)),)), seq, own=True))
        if self._replaced is not None:
            self._entries.append(Entry(User((Text(todos_replaced(self._replaced)),)), seq, own=True))
        self._unheard = self._replaced = None
        if self._todos != known.todos:
            known = known._replace(todos=self._todos)
            self._entries.append(Entry(User((Text(todos_changed(self._todos)),)), seq, own=True))
        self._know(seq, self._tell_shared(seq, known))

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
        if isinstance(data, RunStarted):
            self._running = True
            if data.history is not None:
                self._entries = [Entry(m, event.seq) for m in data.history]

    def _end_run(self, event: Event) -> None:
        self._running = False
        self._entries = self._branch.entries
        if self._due is not None:
            due, self._due = self._due, None
            self._sum_up(event.seq, due)

    def _compact(self, event: Event) -> None:
        data = event.data
        if isinstance(data, SessionCompacted):
            if self._running and not data.at_once:
                self._due = data
            else:
                self._due = None
                self._sum_up(event.seq, data)

    def _prune(self, event: Event) -> None:
        data = event.data
        if isinstance(data, SessionPruned):
            branch = self._branch
            # What is thought in the open run was thought after what is now cut.
            cut = [entry for e in branch.entries if (entry := _without_thinking(_pruned(e, data))) is not None]
            self._leave(event.seq, _Branch(cut, branch.summary, branch.behind, len(cut)))

    def _leave(self, seq: Seq, branch: _Branch) -> None:
        """Go on with another branch; a run with a history of its own goes on with that."""
        detached = self._entries is not self._branch.entries
        self._left.append((seq, self._branch))
        self._branch = branch
        if self._known:
            known = (self._known[e.seq] for e in reversed(branch.entries) if e.seq in self._known)
            branch.known = next(known, _Known())
        if not detached:
            self._entries = branch.entries

    def _sum_up(self, seq: Seq, data: SessionCompacted) -> None:
        branch = self._branch
        # The summary's own seq is later than those of what follows it.
        first = 0 if branch.summary is None else 1
        cut = next((n for n, e in enumerate(branch.entries) if n >= first and e.seq >= data.kept_from), len(branch.entries))
        kept = [entry for e in branch.entries[cut:] if (entry := _without_thinking(e)) is not None]
        summed_up = (*branch.behind, *branch.entries[first:cut])
        known = _Known(data.goal.id if data.goal is not None else None, data.todos or branch.known.todos)
        if known != _Known():
            self._known[seq] = known
        self._leave(seq, _Branch([Entry(summary_message(data), seq), *kept], data, summed_up, 1 + len(kept)))
        if data.at_once and self._entries is self._branch.entries:  # the model is asked next, before anything is said
            self._know(seq, self._tell_shared(seq, self._branch.known))

    def _go_back(self, event: Event) -> None:
        data = event.data
        if isinstance(data, SessionRewound):
            self._rewind(event.seq, data.to)
            self._goal, self._todos = data.goal, data.todos
            self._set_shared(data.shared)
            self._unheard = self._replaced = None
            if data.summary is not None:
                self._branch.entries.append(Entry(branch_message(data.summary), event.seq))

    def _fork(self, event: Event) -> None:
        # What was under way there is not here: its turn, its queue, and a history of its own.
        self._answer, self._results, self._waiting, self._recalled, self._written = None, {}, {}, {}, None
        self._shared_by = {}
        self._end_run(event)

    def _close_turn(self, event: Event) -> None:
        seq = event.seq
        answer, results, written, shared = self._answer, self._results, self._written, self._shared_by
        self._answer, self._results, self._written, self._shared_by = None, {}, None, {}
        if answer is None:
            return
        kept = as_sent(answer)
        if kept is None:
            return
        self._entries.append(Entry(kept, seq))
        for call in kept.calls:
            done = results[call.id]
            result = ToolResult(call.id, call.name, done.content, done.status)
            self._entries.append(Entry(result, seq, found=_found_by(done)))
        if written is not None and self._entries is self._branch.entries:
            self._know(seq, self._branch.known._replace(todos=written))
        if shared and self._entries is self._branch.entries:
            # Results of that tool show the value, and results of others need not.
            shown = [c.id for c in kept.calls if c.name == STATE_TOOL and c.id in shared and results[c.id].status == "ok"]
            if shown:
                self._know(seq, self._branch.known._replace(shared=digest_of(shared[shown[-1]])))
        if kept.calls:  # else nothing is asked of the model behind it
            self._tell(seq)

    def _rewind(self, seq: Seq, to: Seq) -> None:
        # The head stood on a branch until that was left; so `to` lies on the first one left after it.
        stood_on = next((branch for left, branch in self._left if to < left), self._branch)
        entries = [e for e in stood_on.entries if e.seq <= to]
        self._leave(seq, _Branch(entries, stood_on.summary, stood_on.behind, min(stood_on.older, len(entries))))


# By the name of the type, so that the many events whose content is not needed here are never decoded.
_TAKE: dict[str, Callable[[Transcript, Event], None]] = {
    "user.message": Transcript._accept,
    "input.withdrawn": Transcript._withdraw,
    "memory.recalled": Transcript._recall,
    "input.delivered": Transcript._deliver,
    "context.loaded": Transcript._load_context,
    "agent.message": Transcript._answered,
    "tool.finished": Transcript._take_result,
    "turn.finished": Transcript._close_turn,
    "run.started": Transcript._begin_run,
    "run.finished": Transcript._end_run,
    "session.rewound": Transcript._go_back,
    "session.forked": Transcript._fork,
    "session.compacted": Transcript._compact,
    "session.pruned": Transcript._prune,
    "subagent.finished": Transcript._notice,
    "goal.updated": Transcript._set_goal,
    "todos.updated": Transcript._write_todos,
    "state.updated": Transcript._share,
}
TRANSCRIPT_TYPES: tuple[str, ...] = tuple(_TAKE)
"""The event types the fold looks at; a reader may leave out all others."""


def _found_by(done: ToolFinished) -> tuple[str, ...]:
    """The tools that a search has found."""
    found = done.metadata.get(FOUND) if done.name == TOOL_SEARCH and done.status == "ok" else None
    return tuple(map(str, found)) if isinstance(found, list) else ()


def as_sent(answer: Assistant) -> Assistant | None:
    """The answer as it may be sent back to a provider, or None when nothing of it can."""
    if not answer.complete:
        texts = tuple(b for b in answer.content if isinstance(b, Text) and b.text)
        return msgspec.structs.replace(answer, content=texts) if texts else None
    return answer if answer.content else None


def summary_message(data: SessionCompacted) -> User:
    """A compaction's summary as the model reads it."""
    parts = [
        "The conversation before this point was summarised, to make room. The summary:",
        f"<summary>\n{data.summary.strip()}\n</summary>",
    ]
    for tag, paths in (("files-read", data.files_read), ("files-changed", data.files_changed)):
        if paths:
            parts.append(f"<{tag}>\n" + "\n".join(paths) + f"\n</{tag}>")
    if data.goal is not None:
        parts.append(goal_set(data.goal))
    if data.todos:
        parts.append(f"The list of todos, as it is:\n<todos>\n{todos_text(data.todos)}\n</todos>")
    return User((Text("\n\n".join(parts)),))


def branch_message(summary: str) -> User:
    """What the model is told of messages that were left behind by going back."""
    return User(
        (
            Text(
                "The conversation went on from here in another way, and came back. A summary of what was done there:\n\n"
                f"<summary>\n{summary.strip()}\n</summary>"
            ),
        )
    )


def _without_thinking(entry: Entry) -> Entry | None:
    message = entry.message
    if not isinstance(message, Assistant) or not any(isinstance(b, Thinking) for b in message.content):
        return entry
    # A provider that numbers its items wants none of an answer by its number without the thinking it came with.
    rest = tuple(_without_number(b) for b in message.content if not isinstance(b, Thinking))
    return Entry(msgspec.structs.replace(message, content=rest), entry.seq) if rest else None


def _pruned(entry: Entry, data: SessionPruned) -> Entry:
    message = entry.message
    if not isinstance(message, ToolResult) or entry.seq >= data.before or size_of(message) <= data.longer_than:
        return entry
    cut = msgspec.structs.replace(message, content=(Text(pruned_note(message)),))
    return Entry(cut, entry.seq, found=entry.found)


def size_of(result: ToolResult) -> int:
    """Characters of a result; a file in it counts as `FILE_CHARACTERS`."""
    return sum(len(b.text) if isinstance(b, Text) else FILE_CHARACTERS for b in result.content)


def pruned_note(result: ToolResult) -> str:
    """What stands for a result that was cut."""
    return f"[{size_of(result):,} characters of this result were left out to make room: call {result.name} again if needed]"


def _without_number(block: AgentBlock) -> AgentBlock:
    if not isinstance(block, Text | ToolCall) or block.opaque is None or block.opaque.id is None:
        return block
    return msgspec.structs.replace(block, opaque=msgspec.structs.replace(block.opaque, id=None))


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
