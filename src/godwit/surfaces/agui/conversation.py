"""Conversation: the messages of a session as AG-UI has them, a fold over its log.

Whoever follows the session in this protocol has the same messages with the same ids: those of a front end keep the ids that
it gave them, all others get ids that follow from the log. What the engine tells a model by itself is no message here. A
rewind leaves messages behind; what a compaction left out for the model is still here.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from ...contracts import EventStore
from ...core.events import (
    ActionClosed,
    ActionOpened,
    AgentMessage,
    Event,
    InputDelivered,
    InputWithdrawn,
    RunFinished,
    RunStarted,
    SessionForked,
    SessionRewound,
    ToolFinished,
    UserAnswer,
    UserMessage,
)
from ...core.ids import ActionId, CallId, InputId, RunId, Seq, SessionId, TaskId
from ...core.messages import Assistant, Text, Thinking, ToolCall, UserBlock
from ...core.senders import is_written_here, task_of
from .content import content_of, result_content

OURS: Final = "agui"
"""Under which key of an input's metadata stands what this protocol keeps with it."""
TYPES: Final = (
    "user.message",
    "user.answer",
    "input.delivered",
    "input.withdrawn",
    "run.started",
    "run.finished",
    "agent.message",
    "action.opened",
    "action.closed",
    "tool.finished",
    "session.forked",
    "session.rewound",
)
PAGE: Final = 512
KEPT: Final = 256
"""Conversations that are kept between requests, and"""
KEPT_CHARS: Final = 128 << 20
"""of how many characters: files in them are long texts."""

Body = dict[str, Any]


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept with an input that came in this protocol. `message`: its id there. `shown`: how many of its blocks are
    the message itself; what follows tells the model of the front end. `context`: digest of what was told of it. `again`: the
    run by which the same message was said once more, in place of all behind it."""

    message: str
    shown: int | None = None
    context: str | None = None
    again: str | None = None


def kept_in(metadata: dict[str, Any]) -> Kept | None:
    """What this protocol has kept in an input's metadata."""
    found = metadata.get(OURS)
    if not isinstance(found, dict):
        return None
    try:
        return msgspec.convert(found, Kept)
    except msgspec.ValidationError:
        return None  # somebody else's


def keep(kept: Kept) -> dict[str, Any]:
    """As the metadata of an input."""
    return {OURS: msgspec.to_builtins(kept)}


def wire_id(message: UserMessage) -> str:
    """By which a user's message is known in this protocol."""
    kept = kept_in(message.metadata)
    return message.id if kept is None else kept.message


def said_in(message: UserMessage, content: tuple[UserBlock, ...] | None = None) -> tuple[UserBlock, ...]:
    """What its user has said. `content`: as a hook has changed it."""
    kept = kept_in(message.metadata)
    blocks = message.content if content is None else content
    return blocks if kept is None or kept.shown is None or content is not None else blocks[: kept.shown]


def result_id(call: str) -> str:
    """The id of the message with a call's result."""
    return f"{call}:result"


def reasoning_id(message: str, block: int) -> str:
    """The id of the message with this block of an answer's reasoning."""
    return f"{message}:reasoning:{block}"


def reasoning_body(message: str, block: int, text: str) -> Body:
    return {"id": reasoning_id(message, block), "role": "reasoning", "content": text}


def arguments_text(call: ToolCall) -> str:
    """The arguments of a call as the text of one JSON document, or what the model wrote where that was none."""
    return call.malformed if call.malformed is not None else msgspec.json.encode(call.arguments).decode()


def answer_bodies(message: Assistant) -> list[Body]:
    """The messages that an answer makes: its reasoning, then what it says and calls. A call of an answer that was cut never
    ran, and is no part of it."""
    found = [
        reasoning_body(message.id, place, block.text)
        for place, block in enumerate(message.content)
        if isinstance(block, Thinking) and block.text
    ]
    body: Body = {"id": message.id, "role": "assistant"}
    if message.text:
        body["content"] = message.text
    if message.complete and message.calls:
        body["toolCalls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments_text(call)}}
            for call in message.calls
        ]
    return [*found, body] if len(body) > 2 else found


class _Node(msgspec.Struct, frozen=True):
    """A message, and the one before it on its branch. `task`: for which its session has said it."""

    before: _Node | None
    body: Body
    task: TaskId | None = None


class Conversation:
    """Folds events with `apply`; those of other types than `TYPES` change nothing but the seq."""

    def __init__(self) -> None:
        self.seq: Seq = 0
        self.context: str | None = None
        """Digest of what the model was last told of the front end."""
        self.ids: set[str] = set()
        """Of all messages of users there ever were, those that wait or were left behind too."""
        self.waiting: dict[InputId, UserMessage] = {}
        """Accepted and not delivered."""
        self.front: dict[ActionId, CallId] = {}
        """Calls whose results are to come from outside."""
        self.chars = 0
        """In all messages that are kept here, about."""
        self._head: _Node | None = None
        self._heads: list[tuple[Seq, _Node | None]] = []
        self._answered: set[CallId] = set()
        self._aside: RunId | None = None
        self._task: TaskId | None = None

    def bodies(self) -> list[Body]:
        """The messages of the current branch, oldest first."""
        return [node.body for node in self._back()][::-1]

    def bodies_of(self, task: TaskId) -> list[Body]:
        """Those of the work on one task."""
        return [node.body for node in self._back() if node.task == task][::-1]

    def _back(self) -> Iterator[_Node]:
        node = self._head
        while node is not None:
            yield node
            node = node.before

    def is_front(self, call: CallId) -> bool:
        """Whether the result of this call came from outside."""
        return call in self._answered

    def apply(self, event: Event) -> None:
        """Take one event in, in log order."""
        data = event.data
        match data:
            case UserMessage():
                self.ids.add(wire_id(data))
                self.waiting[data.id] = data
                if (kept := kept_in(data.metadata)) is not None and kept.context is not None:
                    self.context = kept.context
            case InputWithdrawn():
                self.waiting.pop(data.id, None)
            case InputDelivered():
                message = self.waiting.pop(data.id, None)
                if message is not None and not is_written_here(message) and self._aside is None:
                    self._task = task_of(message.sender) or self._task
                    self._add(event, user_body(message, data.content))
            case RunStarted() if data.history is not None:
                self._aside = data.run  # it works on messages of its own, which are none of the session's
            case RunFinished() if data.run == self._aside:
                self._aside = None
            case AgentMessage() if self._aside is None:
                for body in answer_bodies(data.message):
                    self._add(event, body)
            case ActionOpened(kind="external", lane=None) if data.call is not None:
                self.front[data.action] = data.call
            case ActionClosed():
                self.front.pop(data.action, None)
            case UserAnswer():
                answered = self.front.pop(data.action, None)
                if answered is not None and data.decision == "result":
                    self._answered.add(answered)
                if (kept := kept_in(data.metadata)) is not None and kept.context is not None:
                    self.context = kept.context
            case ToolFinished(origin="model") if self._aside is None:
                self._add(event, result_body(data))
            case SessionForked():
                self.waiting, self.front, self._aside = {}, {}, None  # what was open there is not open here
            case SessionRewound():
                self._head = self._at(data.to)
                self._heads.append((event.seq, self._head))
            case _:
                pass
        self.seq = event.seq

    def _add(self, event: Event, body: Body) -> None:
        self.chars += _chars(body)
        self._head = _Node(self._head, body, self._task)
        self._heads.append((event.seq, self._head))

    def _at(self, seq: Seq) -> _Node | None:
        """The last message there was at a seq."""
        place = bisect_right(self._heads, seq, key=lambda one: one[0])
        return self._heads[place - 1][1] if place else None


def user_body(message: UserMessage, content: tuple[UserBlock, ...] | None = None) -> Body:
    """A user's message as it is told. `content`: as a hook has changed it."""
    return {"id": wire_id(message), "role": "user", "content": content_of(said_in(message, content))}


def result_body(data: ToolFinished) -> Body:
    """The message with a call's result."""
    kept = kept_in(data.metadata)
    blocks = data.content if kept is None or kept.shown is None else data.content[: kept.shown]
    content = result_content(blocks)
    body: Body = {
        "id": result_id(data.call) if kept is None else kept.message,
        "role": "tool",
        "toolCallId": data.call,
        "content": content,
    }
    if data.status != "ok":
        text = "".join(block.text for block in blocks if isinstance(block, Text))
        body["error"] = text or data.status
    return body


def _chars(value: Any) -> int:
    """Characters of what a message is made of."""
    match value:
        case str():
            return len(value)
        case dict():
            return sum(map(_chars, value.values()))
        case list():
            return sum(map(_chars, value))
        case _:
            return 0


class Conversations:
    """Those of a store's sessions, each read on from where it was last asked for. `most_chars`: of what is kept between
    requests; the one that was asked for last is, whatever its length."""

    def __init__(self, store: EventStore, most_chars: int = KEPT_CHARS) -> None:
        self._store = store
        self._most_chars = most_chars
        self._kept: OrderedDict[SessionId, Conversation] = OrderedDict()
        self._reading: dict[SessionId, asyncio.Lock] = {}

    async def at(self, session: SessionId, seq: Seq) -> Conversation:
        """As it stands at `seq` or, where somebody has asked for more, later. Not to be changed; what it gives is to be
        taken before anything is awaited."""
        lock = self._reading.setdefault(session, asyncio.Lock())
        try:
            async with lock:
                found = self._kept.get(session)
                if found is None:
                    found = Conversation()
                while found.seq < seq:
                    events = await self._store.read(session, found.seq, types=TYPES, to_seq=seq, limit=PAGE)
                    for event in events:
                        found.apply(event)
                    if len(events) < PAGE:
                        found.seq = seq
                self._kept[session] = found
                self._kept.move_to_end(session)
                left = sum(one.chars for one in self._kept.values())
                while len(self._kept) > KEPT or (left > self._most_chars and len(self._kept) > 1):
                    left -= self._kept.popitem(last=False)[1].chars
                return found
        finally:
            if not lock.locked():
                self._reading.pop(session, None)

    def __contains__(self, session: SessionId) -> bool:
        return session in self._kept

    def forget(self, session: SessionId) -> None:
        """It is there no more, and another one may come to be under its id."""
        self._kept.pop(session, None)


__all__ = [
    "OURS",
    "Body",
    "Conversation",
    "Conversations",
    "Kept",
    "answer_bodies",
    "arguments_text",
    "keep",
    "kept_in",
    "reasoning_id",
    "result_body",
    "result_id",
    "said_in",
    "user_body",
    "wire_id",
]
