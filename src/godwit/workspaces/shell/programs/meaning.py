"""Meaning: what a command means, for whoever judges it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..commands import Word


@dataclass(slots=True)
class Meaning:
    """What a command means. `neutral`: it does nothing by itself that a rule would have to allow. `caution`: why its words
    do not tell what it does. `inner`: what it starts, as words or as a script; `hint`: what it may start, known for
    certain or not, which only rules that deny or ask look at. `writes`: files its words name that it writes.
    """

    neutral: bool = False
    caution: str | None = None
    inner: list[list[Word] | str] = field(default_factory=list)
    hint: list[list[Word] | str] = field(default_factory=list)
    writes: list[str | None] = field(default_factory=list)

    def careful(self, why: str) -> Meaning:
        self.neutral = False
        self.caution = self.caution or why
        return self


Program = Callable[[list[Word]], Meaning]
"""What is known of a program: the meaning of a command, by its words."""
