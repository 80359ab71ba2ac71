"""A clock that can be put forward, and goes on by itself or stands still."""

from __future__ import annotations

from godwit.core.ids import SystemClock


class SteppedClock(SystemClock):
    """`still`: it goes on only when it is put forward, so that a slow machine changes nothing about what is how old."""

    def __init__(self, *, still: bool = False) -> None:
        self._ahead_s = 0.0
        self._stands = (super().now_ms(), super().monotonic()) if still else None

    def advance(self, seconds: float) -> None:
        self._ahead_s += seconds

    def now_ms(self) -> int:
        return (self._stands[0] if self._stands else super().now_ms()) + int(self._ahead_s * 1000)

    def monotonic(self) -> float:
        return (self._stands[1] if self._stands else super().monotonic()) + self._ahead_s
