"""Ordering: where a front end shows its messages, and the snapshots that bring them into the order of the log.

A front end shows what its user says at once, and the session hears it when it can: what an agent says meanwhile stands
behind it there and before it in the log. A client leaves a message where it has it, whatever a snapshot says. So messages
that stand in the wrong places are taken away by a first snapshot and come back by a second.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Final

from . import events as e
from .conversation import Body
from .inputs import ActivityMessage, AnyMessage, AssistantMessage, ReasoningMessage, ToolMessage

_NO_REASONING: Final[Body] = {"id": "none", "role": "reasoning", "content": ""}
"""Where a snapshot has no reasoning at all, clients keep theirs."""


class Shown:
    """The ids of the messages that a front end has, in its order: those it came with, then what it was told. The result of a
    call stands behind the message with the call, and behind other results there."""

    def __init__(self, theirs: Sequence[AnyMessage]) -> None:
        self._ids = list(dict.fromkeys(one.id for one in theirs if not isinstance(one, ActivityMessage)))
        self._reasoning: set[str] = set()
        self._results: set[str] = set()
        self._callers: dict[str, str] = {}
        for one in theirs:
            match one:
                case AssistantMessage():
                    self._callers.update((call.id, one.id) for call in one.tool_calls or ())
                case ReasoningMessage():
                    self._reasoning.add(one.id)
                case ToolMessage():
                    self._results.add(one.id)
                case _:
                    pass
        self.grown = False
        """It was told of a message that it did not have."""

    def take(self, event: e.Event) -> None:
        """It is told this."""
        match event:
            case e.TextMessageStart(message_id=name):
                self._add(name)
            case e.ReasoningMessageStart(message_id=name):
                self._reasoning.add(name)
                self._add(name)
            case e.ToolCallStart(tool_call_id=call, parent_message_id=parent):
                self._callers[call] = parent or call
                self._add(parent or call)
            case e.ToolCallResult(message_id=name, tool_call_id=call):
                self._add(name, behind=self._callers.get(call))
                self._results.add(name)
            case e.MessagesSnapshot(messages=messages):
                self._replace(messages)
            case _:
                pass

    def _replace(self, messages: Sequence[Body]) -> None:
        told = dict.fromkeys(str(one["id"]) for one in messages)
        reasoning = {str(one["id"]) for one in messages if one["role"] == "reasoning"}
        kept = [one for one in self._ids if one in told or (not reasoning and one in self._reasoning)]
        self._ids = list(dict.fromkeys([*kept, *told]))
        self._reasoning |= reasoning
        self._results |= {str(one["id"]) for one in messages if one["role"] == "tool"}
        self._callers.update((call["id"], one["id"]) for one in messages for call in one.get("toolCalls", ()))

    def _add(self, name: str, behind: str | None = None) -> None:
        if name in self._ids:
            return
        self.grown = True
        if behind not in self._ids:
            self._ids.append(name)
            return
        place = self._ids.index(behind) + 1
        while place < len(self._ids) and self._ids[place] in self._results:
            place += 1
        self._ids.insert(place, name)

    def after(self, events: Iterable[e.Event]) -> Shown:
        """As it will be when it was told these as well."""
        made = copy.copy(self)
        made._ids, made._callers = list(self._ids), dict(self._callers)
        made._reasoning, made._results = set(self._reasoning), set(self._results)
        for event in events:
            made.take(event)
        return made

    def is_right(self, ours: Sequence[Body]) -> bool:
        """Whether it has all of our messages, in our order."""
        return self._has(ours) == [body["id"] for body in ours]

    def is_misplaced(self, ours: Sequence[Body]) -> bool:
        """Whether those of our messages that it has stand in another order."""
        has = self._has(ours)
        common = set(has)
        return has != [body["id"] for body in ours if body["id"] in common]

    def _has(self, ours: Sequence[Body]) -> list[str]:
        known = {body["id"] for body in ours}
        return [name for name in self._ids if name in known]

    def snapshots(self, whole: list[Body], ours: Sequence[Body]) -> list[e.AnyEvent]:
        """Those after which it has `whole`, our messages with its own, and ours in our order."""
        names, has = [body["id"] for body in ours], self._has(ours)
        right = next((place for place, (one, other) in enumerate(zip(has, names, strict=False)) if one != other), len(has))
        wrong = set(has[right:])
        found: list[e.AnyEvent] = [e.MessagesSnapshot(messages=whole)]
        if not wrong:
            return found
        kept = set(self._ids) - wrong
        first = [body for body in whole if body["id"] in kept]
        if not any(body["role"] == "reasoning" for body in first) and wrong & self._reasoning:
            first.append(_NO_REASONING)
        return [e.MessagesSnapshot(messages=first), *found]


__all__ = ["Shown"]
