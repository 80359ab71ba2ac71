"""What the entries of foreign session files say, in words common to all formats: each is translated into these, and a log is
made of them (`builder`). Data only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from ...core.agent import ThinkingLevel
from ...core.messages import AgentBlock, ResultBlock, StopReason, Usage, UserBlock
from .lines import Lines, Source


@dataclass
class Said:
    """Something the model was given as a user's message. `sender`: who it came from, None for the person."""

    content: tuple[UserBlock, ...]
    sender: str | None = None


@dataclass
class Answered:
    """An answer of the model, or a part of it: parts of one answer share their `group`.

    `calls`: the ids that its calls had there, by the ids they have in `content`. `began_ms`: when it was asked for.
    """

    content: tuple[AgentBlock, ...]
    model: str
    stop: StopReason = "end_turn"
    complete: bool = True
    usage: Usage = field(default_factory=Usage)
    response_id: str | None = None
    error: str | None = None
    group: str | None = None
    calls: dict[str, str] = field(default_factory=dict)
    began_ms: int | None = None


@dataclass
class Returned:
    """The result of a call. `agent`: the child that did it, if it is known there."""

    call: str
    name: str
    content: tuple[ResultBlock, ...]
    is_error: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)
    agent: str | None = None


@dataclass
class Charged:
    """What an answer has cost, told after it."""

    cost_usd: float


@dataclass
class Summed:
    """A summary that stands for what was before. `kept`: the entry from which on messages stay; None: none of them."""

    summary: str
    kept: str | None = None
    tokens_before: int = 0
    tokens_after: int = 0
    files_read: tuple[str, ...] = ()
    files_changed: tuple[str, ...] = ()


@dataclass
class Changed:
    """Settings from here on; None: as before."""

    model: str | None = None
    thinking: ThinkingLevel | None = None
    name: str | None = None


@dataclass
class Labelled:
    """The entry `target` is known by this name from here on; None takes the name away. `data`: all that stood there."""

    target: str
    label: str | None
    data: Any


@dataclass
class Ran:
    """A tool that the person used, with what the model was told of it (`shown`), if anything."""

    name: str
    arguments: dict[str, Any]
    content: tuple[ResultBlock, ...]
    is_error: bool
    metadata: dict[str, Any]
    shown: tuple[UserBlock, ...] = ()


@dataclass
class Left:
    """What has no counterpart here, kept as it is."""

    kind: str
    data: Any


Item = Said | Answered | Returned | Charged | Summed | Changed | Labelled | Ran | Left


@dataclass
class Entry:
    """One entry of a file. `id` None: it has no place in the tree, and stands where it is. `lane`: of which of several
    conversations in the file it is part, None for the main one."""

    items: list[Item]
    id: str | None = None
    parent: str | None = None
    at_ms: int | None = None
    lane: str | None = None


@dataclass
class Sketch:
    """What is known of a file after it was looked through once.

    `needed`: the entries to which something refers that does not follow them. `lanes`: the conversations beside the
    main one, each with what it was asked; `main`: the one of them that is the main one all the same. `model`: the
    last that answered.
    """

    origin: str
    digest: str
    cwd: str | None = None
    began_ms: int | None = None
    needed: set[str] = field(default_factory=set)
    parent: str | None = None
    model: str | None = None
    name: str | None = None
    main: str | None = None
    lanes: dict[str, str] = field(default_factory=dict)


@dataclass
class Companion:
    """A file of a conversation that worked for this one. `id`: what it is called there. `agent`: what did it. `call`: the
    call that it was for, if that is told."""

    id: str
    source: Source
    agent: str = ""
    call: str | None = None


class Format(Protocol):
    """One format of session files. `loose`: an entry may refer to any part of an answer and mean the whole."""

    name: str
    loose: bool

    def recognises(self, first: dict[str, Any]) -> bool:
        """Whether a file that begins with these lines may be of this format."""
        ...

    def sketch(self, source: Source) -> Sketch:
        """Look through it once."""
        ...

    def entries(self, lines: Lines, sketch: Sketch) -> Iterator[Entry]:
        """What the file says, in its order."""
        ...

    def companions(self, source: Source, sketch: Sketch) -> list[Companion]:
        """The files of other conversations that belong to this one."""
        ...


def ordered_levels() -> frozenset[str]:
    """The thinking levels that there are here."""
    return frozenset(("off", "minimal", "low", "medium", "high", "xhigh"))
