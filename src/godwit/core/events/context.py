"""What a model is told beside the conversation: instructions, memories, and summaries in place of older messages."""

from __future__ import annotations

from typing import Literal

import msgspec

from ..errors import Fault
from ..goal import Goal
from ..ids import InputId, Seq
from ..memory import MemoryKind, MemoryScope
from ..todos import Todo
from .data import Data


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
