"""The meter: what a session has spent, counted from its events one after the other.

The fold and the store count by this one function, so what a session says of itself and what the store sums up over a tree
of sessions is the same. Rules: nothing that was counted is ever taken back (a rewind does not refund); numbers a model made
up (negative, not a number) count as nothing.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from .budget import Spent
from .events import OUTSIDE_TYPES, AgentMessage, EventData, RunClaimed, ToolStarted, UsageRecorded, from_outside
from .messages import Usage

NANO: Final = 1_000_000_000
_OUTSIDE: Final = frozenset(OUTSIDE_TYPES)
_LARGEST: Final = 1 << 40
"""More tokens than any step can have; what claims more is cut to it."""


class Meter(msgspec.Struct, frozen=True, omit_defaults=True):
    """Money in billionths of a dollar, so that sums are exact. `since_ms`: the last moment a driver is known to have worked
    on the open run; None while none does."""

    tokens: int = 0
    nano_usd: int = 0
    turns: int = 0
    tool_calls: int = 0
    time_ms: int = 0
    since_ms: int | None = None

    def spent(self, now_ms: int | None = None) -> Spent:
        """With `now_ms` the time of the step under way counts as well."""
        open_ms = 0 if self.since_ms is None or now_ms is None else max(0, now_ms - self.since_ms)
        return Spent(self.tokens, self.nano_usd / NANO, self.turns, self.tool_calls, (self.time_ms + open_ms) / 1000)


def metered(meter: Meter, before: str, after: str, data: EventData, at_ms: int) -> Meter:
    """The meter after an event that took the run's phase from `before` to `after`.

    Time runs between the events of a driver while the run is in its hands. What lies between the last event of one that
    died and the claim of the next does not count, nor does anything an outsider appends meanwhile.
    """
    tokens, nano_usd, turns, tool_calls = meter.tokens, meter.nano_usd, meter.turns, meter.tool_calls
    time_ms, since_ms = meter.time_ms, meter.since_ms
    kind = type(data)
    if kind is AgentMessage:
        assert isinstance(data, AgentMessage)
        more_tokens, more_nano = _cost(data.message.usage)
        tokens, nano_usd, turns = tokens + more_tokens, nano_usd + more_nano, turns + 1
    elif kind is UsageRecorded:
        assert isinstance(data, UsageRecorded)
        more_tokens, more_nano = _cost(data.usage)
        tokens, nano_usd = tokens + more_tokens, nano_usd + more_nano
    elif kind is ToolStarted:
        assert isinstance(data, ToolStarted)
        tool_calls += 0 if data.resumed else 1
    elif before != "running" and after != "running":
        return meter
    elif after == "running" and since_ms is not None and at_ms <= since_ms and kind is not RunClaimed:
        return meter  # most events share a moment with the one before
    if kind is RunClaimed:
        since_ms = at_ms
    elif before == "running" and since_ms is not None and (kind not in _OUTSIDE or not from_outside(data)):
        time_ms += max(0, at_ms - since_ms)
        since_ms = max(at_ms, since_ms) if after == "running" else None
    return Meter(tokens, nano_usd, turns, tool_calls, time_ms, since_ms)


def _cost(usage: Usage) -> tuple[int, int]:
    tokens = min(max(0, usage.input_tokens), _LARGEST) + min(max(0, usage.output_tokens), _LARGEST)
    usd = usage.cost_usd
    if usd is None or not 0 < usd < math.inf:
        return tokens, 0
    return tokens, min(round(min(usd, float(_LARGEST)) * NANO), _LARGEST * 1000)


__all__ = ["NANO", "Meter", "metered"]
