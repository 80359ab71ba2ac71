"""Shapes of runs and of the tools they have."""

from __future__ import annotations

from ....core.record import ActiveTool, RunSnapshot
from ....core.tool_search import DeferredTool
from .common import Frame, Shape


class RunList(Shape, frozen=True):
    """`count`: how many runs there have been, whatever limits leave out of `data`."""

    data: list[RunSnapshot]
    count: int


class PageOfRun(Shape, frozen=True):
    """See `core.record.RunPage`."""

    events: list[Frame]
    first_available_seq: int | None
    latest_seq: int
    next_after: int
    retention_gap: bool
    has_more: bool
    event_count: int


class NotYet(Shape, frozen=True):
    """The run has not ended: ask again."""

    run: str | None


class ToolList(Shape, frozen=True):
    data: list[ActiveTool]


class DeferredList(Shape, frozen=True):
    data: list[DeferredTool]
