"""A turn that is being put together: an answer of the model, and the results of its calls in whatever order they are told.

Owns what of it is still missing, and which events it comes to when it ends. Leaves out when it ends (`builder`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from ...core.events import (
    ActionClosed,
    ActionOpened,
    AgentMessage,
    EventData,
    ModelStarted,
    SubagentFinished,
    SubagentStarted,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    TurnStarted,
)
from ...core.ids import ActionId, AgentName, CallId, MessageId, SessionId, TaskId, derived_id
from ...core.messages import AgentBlock, Assistant, Text, ToolCall, Usage, text_of
from .entries import Answered, Returned

NO_RESULT = "The result of this call is not in the session that was imported."


@dataclass
class Child:
    """A session that did a call. `head`: where its log ends."""

    session: SessionId
    agent: str
    head: int
    usage: Usage = field(default_factory=Usage)
    turns: int = 0


@dataclass
class Turn:
    """One open turn. `members`: the entries it is made of; `calls`: its calls by the ids that they have in the file."""

    message: MessageId
    group: str | None
    began_ms: int
    ended_ms: int
    answer: Answered
    content: list[AgentBlock] = field(default_factory=list)
    calls: dict[str, ToolCall] = field(default_factory=dict)
    results: dict[CallId, tuple[Returned, int]] = field(default_factory=dict)
    children: dict[CallId, Child] = field(default_factory=dict)
    members: set[str] = field(default_factory=set)

    def extend(self, more: Answered, at_ms: int) -> int:
        """Take a part of the answer in; how many of its blocks were there already."""
        known = 0
        theirs = {ours: original for original, ours in more.calls.items()}
        taken = {call.id for call in self.calls.values()}
        for block in more.content:
            if isinstance(block, ToolCall):
                original = theirs.get(block.id, block.id)
                if original in self.calls:
                    known += 1
                    continue
                if block.id in taken:
                    block = msgspec.structs.replace(block, id=CallId(f"{block.id}~{len(taken)}"))
                taken.add(block.id)
                self.calls[original] = block
            elif block in self.content:
                known += 1
                continue
            self.content.append(block)
        self.answer = more
        self.ended_ms = max(self.ended_ms, at_ms)
        return known

    def copy(self, message: MessageId) -> Turn:
        """The same as it stands, for another branch; what it has cost is counted once."""
        answer = Answered(**{**self.answer.__dict__, "usage": Usage()})
        return Turn(
            message,
            self.group,
            self.began_ms,
            self.ended_ms,
            answer,
            list(self.content),
            dict(self.calls),
            dict(self.results),
            dict(self.children),
        )

    @property
    def missing(self) -> list[ToolCall]:
        """The calls that have no result yet."""
        return [call for call in self.calls.values() if call.id not in self.results]

    @property
    def extent(self) -> tuple[int, int]:
        """How much of it there is: it only grows."""
        return len(self.content), len(self.results)

    @property
    def complete(self) -> bool:
        """Whether the answer came to its end. One that was cut had no time for calls: when they have results, it was not."""
        return self.answer.complete or bool(self.results)

    def events(self, index: int, session: SessionId, depth: int) -> Iterator[tuple[EventData, int]]:
        """All its events, each with its time."""
        answer, complete = self.answer, self.complete
        message = Assistant(
            self.message, tuple(self.content), answer.model, answer.stop, complete, answer.usage, answer.response_id
        )
        at = self.ended_ms
        yield TurnStarted(index), self.began_ms
        yield ModelStarted(self.message, answer.model), self.began_ms
        yield AgentMessage(message), at
        for call in self.calls.values():
            returned = self.results.get(call.id)
            child = self.children.get(call.id)
            if returned is None and not complete:
                yield ToolFinished(call.id, call.name, "skipped", (Text("The answer was cut before this call."),)), at
                continue
            if child is not None and returned is not None:
                yield from self._by_child(call, child, returned[0], returned[1], session, depth)
                continue
            key = f"{session}:{self.message}:{call.id}"
            yield ToolStarted(call.id, call.name, call.arguments, key), at
            if returned is None:
                yield ToolFinished(call.id, call.name, "unknown", (Text(NO_RESULT),)), at
            else:
                result, ended = returned
                status = "error" if result.is_error else "ok"
                yield ToolFinished(call.id, call.name, status, result.content, result.metadata), max(at, ended)  # type: ignore[arg-type]
        yield TurnFinished(index), max([at, *(ended for _, ended in self.results.values())])

    def _by_child(
        self, call: ToolCall, child: Child, result: Returned, ended: int, session: SessionId, depth: int
    ) -> Iterator[tuple[EventData, int]]:
        action = ActionId(derived_id("act", session, self.message, call.id))
        task = TaskId(derived_id("task", session, self.message, call.id))
        at, after = self.ended_ms, max(self.ended_ms, ended)
        prompt = call.arguments.get("prompt")
        described = call.arguments.get("description")
        yield ActionOpened(action, "task", call.id, call.name, call.arguments), at
        yield (
            SubagentStarted(
                task,
                child.session,
                AgentName(child.agent),
                prompt if isinstance(prompt, str) else "",
                depth + 1,
                call.id,
                action,
                described if isinstance(described, str) else "",
            ),
            at,
        )
        output = text_of(result.content)
        ended_as = "failed" if result.is_error else "completed"
        yield (
            SubagentFinished(
                task,
                child.session,
                ended_as,  # type: ignore[arg-type]
                output,
                up_to=child.head,
                usage=child.usage,
                turns=child.turns,
            ),
            after,
        )
        yield ActionClosed(action), after
        status = "error" if result.is_error else "ok"
        yield ToolFinished(call.id, call.name, status, result.content, result.metadata), after  # type: ignore[arg-type]
