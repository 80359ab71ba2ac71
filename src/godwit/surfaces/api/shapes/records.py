"""Shapes of what a log says."""

from __future__ import annotations

from ....core.facts import TraceEvent
from ....core.messages import Message
from .common import Frame, Shape


class EventList(Shape, frozen=True):
    """`head`: the session's newest seq when this was read."""

    data: list[Frame]
    head: int


class History(Shape, frozen=True):
    data: tuple[Message, ...]


class Trace(Shape, frozen=True):
    data: list[TraceEvent]
