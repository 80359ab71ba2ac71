"""What has begun in a stream and has not ended: of which kind, by which id, whose it is, and the event that ends it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from .events import (
    AnyEvent,
    ReasoningEnd,
    ReasoningMessageEnd,
    StepFinished,
    SubagentFinished,
    SubagentSuccess,
    SubagentSuspended,
    TextMessageEnd,
    ToolCallEnd,
)

Kind = Literal["reasoning message", "reasoning span", "text message", "tool call", "step", "subagent"]
CLOSING_ORDER: Final[tuple[Kind, ...]] = (
    "reasoning message",
    "reasoning span",
    "text message",
    "tool call",
    "step",
    "subagent",
)
"""Within one kind what began last ends first, so that subagents end before their parents."""


class Open(msgspec.Struct, frozen=True):
    """One of these. `id`: of a step, its name. `owner`: a subagent, or None for the agent itself; of a subagent, its parent.
    `nth`: when it began, counted."""

    kind: Kind
    id: str
    owner: str | None
    nth: int

    def __str__(self) -> str:
        whose = f" of {named(self.owner)}" if self.owner is not None and self.kind != "subagent" else ""
        return f"{self.kind} {self.id!r}{whose}"

    @property
    def key(self) -> tuple[Kind, str | None, str]:
        return key_of(self.kind, self.owner, self.id)


def key_of(kind: Kind, owner: str | None, name: str) -> tuple[Kind, str | None, str]:
    """What tells it from others: steps are told apart by their owners too, all else by the id alone."""
    return kind, owner if kind == "step" else None, name


def named(owner: str | None) -> str:
    """`owner` in words."""
    return "the agent itself" if owner is None else f"subagent {owner!r}"


def endings(items: Iterable[Open], outcome: SubagentSuccess | SubagentSuspended | None) -> list[AnyEvent]:
    """The events that end these, in an order that may be sent. `outcome`: of the subagents."""
    return [_end(item, outcome) for item in sorted(items, key=lambda item: (CLOSING_ORDER.index(item.kind), -item.nth))]


def _end(item: Open, outcome: SubagentSuccess | SubagentSuspended | None) -> AnyEvent:
    match item.kind:
        case "reasoning message":
            return ReasoningMessageEnd(message_id=item.id, subagent_run_id=item.owner)
        case "reasoning span":
            return ReasoningEnd(message_id=item.id, subagent_run_id=item.owner)
        case "text message":
            return TextMessageEnd(message_id=item.id, subagent_run_id=item.owner)
        case "tool call":
            return ToolCallEnd(tool_call_id=item.id, subagent_run_id=item.owner)
        case "step":
            return StepFinished(step_name=item.id, subagent_run_id=item.owner)
        case "subagent":
            return SubagentFinished(subagent_run_id=item.id, outcome=outcome)
