"""Who gives runs their place in a trace, so that a run, what continues it and all that works for it are told as one.

Leaves out what is told of them: that is made from the log. Rule: the place is a part of the log, so that whoever drives a
run or a child next, in whatever process, finds it there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..core.ids import RunId, SessionId

BeginTrace = Callable[[int, int], str | None]
"""Called as a run is claimed, with the attempt and the time in ms: its place in a trace, as a `traceparent` of W3C's Trace
Context; None where nothing is traced. Never raises, never waits."""


class Traces(Protocol):
    async def place(self, session: SessionId, run: RunId) -> BeginTrace:
        """For a run that is about to be claimed here. It stands below what it continues, or below the run that it works
        for, as their logs say."""
        ...
