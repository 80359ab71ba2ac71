"""Outcome: how a run has ended, before it is told to anybody."""

from __future__ import annotations

from typing import Any, assert_never

import msgspec

from ...core.errors import Fault
from ...core.events import RunFinished
from . import events as e


class Ended(msgspec.Struct, frozen=True):
    """How a run ended. `outcome` None: it failed, by `error`."""

    outcome: e.Outcome | None
    result: Any = None
    error: Fault | None = None


def ended_by(data: RunFinished, output: Any) -> Ended:
    """How a run ended that is told of so. `output`: what it has given."""
    match data.outcome:
        case "done":
            return Ended(e.Success(), output)
        case "interrupted":
            return Ended(e.Cancelled())
        case "failed" | "limited":
            return Ended(None, error=data.error or Fault(data.outcome, f"the run has {data.outcome}"))
        case _:
            assert_never(data.outcome)


__all__ = ["Ended", "ended_by"]
