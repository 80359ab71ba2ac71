"""A clock that goes on by itself and can be put forward."""

from __future__ import annotations

from godwit.core.ids import SystemClock


class SteppedClock(SystemClock):
    def __init__(self) -> None:
        self._ahead_s = 0.0

    def advance(self, seconds: float) -> None:
        self._ahead_s += seconds

    def now_ms(self) -> int:
        return super().now_ms() + int(self._ahead_s * 1000)

    def monotonic(self) -> float:
        return super().monotonic() + self._ahead_s
