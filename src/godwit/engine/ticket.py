"""Ticket: a step's place in a lane, as the step sees it: it waits, runs, and ends. Who gets room is decided by `lanes`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import Literal

from ..contracts import CancelToken
from ..core.errors import LanesClosed, TaskTimedOut
from ..core.ids import SessionId

Outcome = Literal["completed", "failed", "timed_out", "cancelled"]


class Ticket:
    """A step's place in a lane: it waits, then runs, until `end`. As a context manager it waits when entered, and ends; what
    is asked for in between is within it (`HELD`)."""

    __slots__ = (
        "_ended",
        "_outer",
        "asked_s",
        "began_s",
        "lane",
        "on_granted",
        "order",
        "session",
        "shares",
        "state",
        "tenant",
    )

    def __init__(
        self,
        lane: str,
        order: int,
        session: SessionId | None,
        tenant: str | None,
        shares: bool,
        now_s: float,
        ended: Callable[[Ticket, Outcome], None],
    ) -> None:
        self.state: Literal["waiting", "active", "ended"] = "waiting"
        self.order = order
        self.session = session
        self.tenant = tenant
        self.lane = lane
        self.shares = shares  # takes of what all lanes share
        self.asked_s = now_s
        self.began_s = now_s
        self.on_granted: Callable[[], None] | None = None
        self._ended = ended
        self._outer: Ticket | None = None

    @property
    def waiting(self) -> bool:
        return self.state == "waiting"

    @property
    def active(self) -> bool:
        return self.state == "active"

    def end(self, outcome: Outcome = "completed") -> None:
        """Give the room back, or leave the line (which counts as cancelled). Safe to repeat."""
        self._ended(self, outcome)

    async def granted(self, cancel: CancelToken | None = None) -> bool:
        """Wait for room. False when `cancel` fell first: then it has left the line."""
        if self.state == "active":
            return True
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not granted.done():
                granted.set_result(None)

        self.on_granted = wake
        take_back = cancel.on_cancel(wake) if cancel is not None else None
        try:
            if self.state == "waiting" and not (cancel is not None and cancel.cancelled):
                await granted
        except BaseException:
            self.end("cancelled")
            raise
        finally:
            if take_back is not None:
                take_back()
        if not self.active:
            self.end("cancelled")
        return self.active

    async def __aenter__(self) -> Ticket:
        if not await self.granted():
            raise LanesClosed()
        self._outer = HELD.get()
        HELD.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        HELD.set(self._outer)
        self.end(outcome_of(error))


HELD: ContextVar[Ticket | None] = ContextVar("godwit_held", default=None)
"""The step that the current task is part of."""


def holder() -> Ticket | None:
    """The step that this is within, while it runs."""
    held = HELD.get()
    return held if held is not None and held.state == "active" else None


def outcome_of(error: BaseException | None) -> Outcome:
    """What a step came to that ended by this."""
    if error is None:
        return "completed"
    if isinstance(error, TaskTimedOut):
        return "timed_out"
    return "failed" if isinstance(error, Exception) else "cancelled"
