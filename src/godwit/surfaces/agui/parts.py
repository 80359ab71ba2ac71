"""Parts: what is known of each session of a tree while its events are told: whose they are, and what of an answer that is
not stored yet was shown already."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...core.events import ActionOpened, UserMessage
from ...core.ids import ActionId, CallId, InputId, MessageId, RunId, Seq, SessionId


@dataclass
class LiveCall:
    """A call whose arguments are coming. `before`: characters of them that were shown by another stream."""

    call: CallId
    name: str
    texts: list[str] = field(default_factory=list)
    before: int = 0

    @property
    def shown(self) -> int:
        return self.before + sum(map(len, self.texts))


@dataclass
class Answer:
    """An answer that is on its way. `text`, `thoughts`: characters that were shown, by block. `lossy`: some were missed, so
    nothing more is shown until all of it is stored. `thinking`: the block whose reasoning is open."""

    id: MessageId
    model: str
    text: dict[int, int] = field(default_factory=dict)
    thoughts: dict[int, int] = field(default_factory=dict)
    calls: dict[int, LiveCall] = field(default_factory=dict)
    thinking: int | None = None
    text_open: bool = False
    lossy: bool = False

    @property
    def shown(self) -> bool:
        return bool(self.text or self.thoughts or self.calls)


@dataclass
class Part:
    """One session. `tag`: the work of a subagent that it does now; None for the first session. `run`: the one that is open,
    `parked` when it waits, `by_children` when only children or workers are waited for, `aside` when it works on messages of
    its own, which are none of the conversation's. `asks`, `front`: what waits for a person, and for the front end's own
    tools. `answered`: calls of these that it has answered."""

    session: SessionId
    tag: str | None = None
    name: str = ""
    above: SessionId | None = None
    call: str | None = None
    message: str | None = None
    description: str = ""
    background: bool = False
    seq: Seq = 0
    run: RunId | None = None
    parked: bool = False
    aside: bool = False
    by_children: bool = False
    step: str | None = None
    model: str = ""
    answer: Answer | None = None
    waiting: dict[InputId, UserMessage] = field(default_factory=dict)
    asks: dict[ActionId, ActionOpened] = field(default_factory=dict)
    front: dict[ActionId, ActionOpened] = field(default_factory=dict)
    answered: set[CallId] = field(default_factory=set)
    callers: dict[CallId, str] = field(default_factory=dict)
    """The messages of the last answer's calls."""

    def wire(self, call: str) -> str:
        """A call's id on the wire: those of different sessions may be the same."""
        return call if self.tag is None else f"{self.tag}/{call}"


__all__ = ["Answer", "LiveCall", "Part"]
