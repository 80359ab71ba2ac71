"""Ordering: where a front end shows its messages, and the snapshots that bring them into the order of the log.

A front end shows what its user says at once, and the session hears it when it can: what an agent says meanwhile stands
behind it there and before it in the log. A client leaves a message where it has it, whatever a snapshot says. So messages
that stand in the wrong places are taken away by a first snapshot and come back by a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from . import events as e
from .conversation import Body
from .inputs import ActivityMessage, AnyMessage, ReasoningMessage

_NO_REASONING: Final[Body] = {"id": "none", "role": "reasoning", "content": ""}
"""Where a snapshot has no reasoning at all, clients keep theirs."""


class Shown:
    """The ids of the messages that a front end has, in its order: those it came with, then what it was told."""

    def __init__(self, theirs: Iterable[AnyMessage]) -> None:
        theirs = [one for one in theirs if not isinstance(one, ActivityMessage)]
        self._ids = dict.fromkeys(one.id for one in theirs)
        self._reasoning = {one.id for one in theirs if isinstance(one, ReasoningMessage)}
        self.grown = False
        """It was told of a message that it did not have."""

    def take(self, event: e.Event) -> None:
        """It is told this."""
        match event:
            case e.TextMessageStart(message_id=name) | e.ToolCallResult(message_id=name):
                self._add(name)
            case e.ReasoningMessageStart(message_id=name):
                self._reasoning.add(name)
                self._add(name)
            case e.ToolCallStart(tool_call_id=call, parent_message_id=parent):
                self._add(parent or call)
            case e.MessagesSnapshot(messages=messages):
                told = dict.fromkeys(str(one["id"]) for one in messages)
                reasoning = {str(one["id"]) for one in messages if one["role"] == "reasoning"}
                kept = [one for one in self._ids if one in told or (not reasoning and one in self._reasoning)]
                self._ids = dict.fromkeys([*kept, *told])
                self._reasoning |= reasoning
            case _:
                pass

    def after(self, events: Iterable[e.Event]) -> Shown:
        """As it will be when it was told these as well."""
        made = Shown(())
        made._ids, made._reasoning, made.grown = dict(self._ids), set(self._reasoning), self.grown
        for event in events:
            made.take(event)
        return made

    def _add(self, name: str) -> None:
        if name not in self._ids:
            self._ids[name] = None
            self.grown = True

    def is_right(self, ours: Sequence[Body]) -> bool:
        """Whether it has all of our messages, in our order."""
        return self._has(ours) == [body["id"] for body in ours]

    def is_misplaced(self, ours: Sequence[Body]) -> bool:
        """Whether those of our messages that it has stand in another order."""
        return self._has(ours) != [body["id"] for body in ours if body["id"] in self._ids]

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
        first = [body for body in whole if body["id"] in self._ids and body["id"] not in wrong]
        if not any(body["role"] == "reasoning" for body in first) and wrong & self._reasoning:
            first.append(_NO_REASONING)
        return [e.MessagesSnapshot(messages=first), *found]


__all__ = ["Shown"]
