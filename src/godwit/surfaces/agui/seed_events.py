"""Shapes of AG-UI before version 1.0 that the crate `syncable-ag-ui` 0.2 has and the protocol has no more.

Thoughts have no ids there, and a run that waits for a person says it by a word and one interrupt. They are events too, so
that whatever sends ours sends these; the verifier knows none of them.
"""

from __future__ import annotations

from typing import Any, Literal

from .events import Event, Shape


class ThinkingStart(Event, frozen=True, kw_only=True, tag="THINKING_START"):
    title: str | None = None


class ThinkingEnd(Event, frozen=True, kw_only=True, tag="THINKING_END"):
    """Ends a step of thinking."""


class ThinkingTextMessageStart(Event, frozen=True, kw_only=True, tag="THINKING_TEXT_MESSAGE_START"):
    """Opens a message within a step of thinking."""


class ThinkingTextMessageContent(Event, frozen=True, kw_only=True, tag="THINKING_TEXT_MESSAGE_CONTENT"):
    delta: str


class ThinkingTextMessageEnd(Event, frozen=True, kw_only=True, tag="THINKING_TEXT_MESSAGE_END"):
    """Ends a message within a step of thinking."""


class SeedInterrupt(Shape, frozen=True, kw_only=True):
    id: str | None = None
    reason: str | None = None
    payload: Any = None


class SeedRunFinished(Event, frozen=True, kw_only=True, tag="RUN_FINISHED"):
    """Without an `outcome` it is a success, unless there is an `interrupt`."""

    thread_id: str
    run_id: str
    outcome: Literal["INTERRUPT"] | None = None
    result: Any = None
    interrupt: SeedInterrupt | None = None

    @property
    def effective_outcome(self) -> Literal["SUCCESS", "INTERRUPT"]:
        return self.outcome or ("SUCCESS" if self.interrupt is None else "INTERRUPT")
