"""The tree of a conversation, as data: every message there ever was, what came before each, and where the head stands.

A fold over the events that place messages and those that move the head. It keeps the beginning of each text and no message;
what the model sees on a branch is the transcript's business (`transcript`). Rule: a node has the seq of the event that
placed it, which is where the transcript has it too.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from .errors import InvalidArgument
from .events import (
    AgentMessage,
    ContextLoaded,
    Event,
    InputDelivered,
    InputWithdrawn,
    RunStarted,
    SessionCompacted,
    SessionForked,
    SessionLabelled,
    SessionRewound,
    UserMessage,
)
from .ids import InputId, Seq, SessionId
from .messages import Assistant, UserBlock, text_of
from .transcript import as_sent

_LABEL = "label:"

NodeKind = Literal["user", "agent", "compaction", "branch_summary", "context"]
SHOWN = 200
"""Characters of a node's text."""


class TreeNode(msgspec.Struct, frozen=True, omit_defaults=True):
    """One place in the tree. `parent`: the node before it, None for a first one. `text`: how it begins; `tools`: the names
    of the tools that an answer called. `current`: whether it lies on the way to the head."""

    seq: Seq
    kind: NodeKind
    parent: Seq | None = None
    at_ms: int = 0
    text: str = ""
    tools: tuple[str, ...] = ()
    label: str | None = None
    current: bool = False


class SessionTree(msgspec.Struct, frozen=True, omit_defaults=True):
    """The whole tree, in the order in which its nodes came. `head`: the node that the next message will come after;
    `origin`: the session that this one was forked from, behind the event `forked_at`."""

    nodes: tuple[TreeNode, ...] = ()
    head: Seq | None = None
    origin: SessionId | None = None
    forked_at: Seq = 0

    def children(self, seq: Seq | None) -> list[TreeNode]:
        """The nodes that come right after this one; the first ones for None."""
        return [node for node in self.nodes if node.parent == seq]

    def path(self) -> list[TreeNode]:
        """The nodes on the way to the head, the first one first."""
        return [node for node in self.nodes if node.current]

    def find(self, to: Seq | str) -> TreeNode:
        """The node of this seq, or that is labelled so. InvalidArgument when there is none, or several have the label."""
        if isinstance(to, str):
            found = [node for node in self.nodes if node.label == to]
            if len(found) != 1:
                what = "no event is" if not found else f"{len(found)} events are"
                raise InvalidArgument(f"{what} labelled {to!r}: name one by its seq", to=to)
            return found[0]
        place = bisect.bisect_left(self.nodes, to, key=lambda node: node.seq)
        if place == len(self.nodes) or self.nodes[place].seq != to:
            near = [node.seq for node in self.nodes[max(0, place - 1) : place + 1]]
            raise InvalidArgument(
                f"event {to} is no message: take {' or '.join(map(str, near)) or 'another'}", to=to, near=near
            )
        return self.nodes[place]


class Branches:
    """Folds events with `apply`, in log order."""

    def __init__(self) -> None:
        self._nodes: list[TreeNode] = []
        self._head: Seq | None = None
        # Where the head stood from each seq on.
        self._moves: list[tuple[Seq, Seq | None]] = [(0, None)]
        self._waiting: dict[InputId, tuple[UserBlock, ...]] = {}
        self._answer: Assistant | None = None
        self._running = False
        self._detached = False
        self._due: SessionCompacted | None = None
        self._labels: dict[Seq, str] = {}
        self._origin: SessionId | None = None
        self._forked_at: Seq = 0

    def apply(self, event: Event) -> None:
        """Take one event in."""
        take = _TAKE.get(event.type)
        if take is not None:
            take(self, event)

    def tree(self) -> SessionTree:
        """What has been taken in so far."""
        parents = {node.seq: node.parent for node in self._nodes}
        current: set[Seq] = set()
        at = self._head
        while at is not None:
            current.add(at)
            at = parents[at]
        nodes = tuple(
            msgspec.structs.replace(node, label=self._labels.get(node.seq), current=node.seq in current)
            for node in self._nodes
        )
        return SessionTree(nodes, self._head, self._origin, self._forked_at)

    def _place(self, event: Event, kind: NodeKind, text: str, tools: tuple[str, ...] = ()) -> None:
        shown = " ".join(text[: SHOWN * 2].split())[:SHOWN]
        self._nodes.append(TreeNode(event.seq, kind, self._head, event.at_ms, shown, tools))
        self._move(event.seq, event.seq)

    def _move(self, seq: Seq, head: Seq | None) -> None:
        self._head = head
        self._moves.append((seq, head))

    def _accept(self, event: Event) -> None:
        data = event.data
        if isinstance(data, UserMessage):
            self._waiting[data.id] = data.content

    def _withdraw(self, event: Event) -> None:
        data = event.data
        if isinstance(data, InputWithdrawn):
            self._waiting.pop(data.id, None)

    def _deliver(self, event: Event) -> None:
        data = event.data
        if isinstance(data, InputDelivered):
            said = self._waiting.pop(data.id, ())
            if not self._detached:
                self._place(event, "user", text_of(said if data.content is None else data.content))

    def _load_context(self, event: Event) -> None:
        data = event.data
        if isinstance(data, ContextLoaded) and not self._detached:
            self._place(event, "context", ", ".join((*data.files, *data.skills)) or data.text)

    def _answered(self, event: Event) -> None:
        data = event.data
        if isinstance(data, AgentMessage):
            self._answer = data.message

    def _close_turn(self, event: Event) -> None:
        answer, self._answer = self._answer, None
        kept = None if answer is None else as_sent(answer)
        if kept is not None and not self._detached:
            self._place(event, "agent", text_of(kept.content), tuple(call.name for call in kept.calls))

    def _begin_run(self, event: Event) -> None:
        data = event.data
        if isinstance(data, RunStarted):
            self._running, self._detached = True, data.history is not None

    def _end_run(self, event: Event) -> None:
        self._running = self._detached = False
        if self._due is not None:
            due, self._due = self._due, None
            self._place(event, "compaction", due.summary)

    def _compact(self, event: Event) -> None:
        data = event.data
        if isinstance(data, SessionCompacted):
            if self._running and not data.at_once:
                self._due = data
            else:
                self._due = None
                self._place(event, "compaction", data.summary)

    def _go_back(self, event: Event) -> None:
        data = event.data
        if isinstance(data, SessionRewound):
            known = bisect.bisect_right(self._moves, data.to, key=lambda move: move[0])
            self._move(event.seq, self._moves[known - 1][1])
            if data.summary is not None:
                self._place(event, "branch_summary", data.summary)

    def _fork(self, event: Event) -> None:
        data = event.data
        if isinstance(data, SessionForked):
            self._waiting, self._answer = {}, None
            self._end_run(event)
            self._origin, self._forked_at = data.origin, event.seq - 1

    def _label(self, event: Event) -> None:
        data = event.data
        if isinstance(data, SessionLabelled):
            if data.label is None:
                self._labels.pop(data.target, None)
            else:
                self._labels[data.target] = data.label


_TAKE: dict[str, Callable[[Branches, Event], None]] = {
    "user.message": Branches._accept,
    "input.withdrawn": Branches._withdraw,
    "input.delivered": Branches._deliver,
    "context.loaded": Branches._load_context,
    "agent.message": Branches._answered,
    "turn.finished": Branches._close_turn,
    "run.started": Branches._begin_run,
    "run.finished": Branches._end_run,
    "session.rewound": Branches._go_back,
    "session.compacted": Branches._compact,
    "session.forked": Branches._fork,
    "session.labelled": Branches._label,
}
BRANCH_TYPES: tuple[str, ...] = tuple(_TAKE)
"""The event types the fold looks at."""


def tree_of(events: Iterable[Event]) -> SessionTree:
    """The tree of a log; other event types may be left out."""
    branches = Branches()
    for event in events:
        branches.apply(event)
    return branches.tree()


def place_typed(text: str) -> Seq | str:
    """A place as a person types it: a seq, or else a label. Behind `label:` it is a label whatever it looks like, as those
    that imports have brought may be numbers."""
    if text.startswith(_LABEL):
        return text.removeprefix(_LABEL)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else text
