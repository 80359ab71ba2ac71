"""Budgets: what may be spent, what has been, and what a guard decides. Data and arithmetic only."""

from __future__ import annotations

from typing import Literal

import msgspec

from .errors import ConfigurationError

Resource = Literal["tokens", "usd", "turns", "tool_calls", "time_s"]


class Spent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was used up. `time_s`: seconds of open runs, waiting for people left out. `usd` counts known prices only."""

    tokens: int = 0
    usd: float = 0.0
    turns: int = 0
    tool_calls: int = 0
    time_s: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.tokens + other.tokens,
            self.usd + other.usd,
            self.turns + other.turns,
            self.tool_calls + other.tool_calls,
            self.time_s + other.time_s,
        )


class Budget(msgspec.Struct, frozen=True, omit_defaults=True):
    """Limits on what a session may spend over its life; None is no limit.

    `scope`: `session`, or `tree` for the session together with all its descendants. `soft`: the share of a limit at which
    a warning is recorded, once per limit. `on_limit`: `stop` ends the run before the step that would go over; `ask` parks
    it and asks a person for more.
    """

    tokens: int | None = None
    usd: float | None = None
    turns: int | None = None
    tool_calls: int | None = None
    time_s: float | None = None
    scope: Literal["session", "tree"] = "session"
    soft: float = 0.8
    on_limit: Literal["stop", "ask"] = "stop"

    def __post_init__(self) -> None:
        for name in ("tokens", "usd", "turns", "tool_calls", "time_s"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ConfigurationError(f"budget {name}={value!r} must be 0 or more", limit=name, value=value)
        if not 0 < self.soft <= 1:
            raise ConfigurationError(f"budget soft={self.soft!r} must be more than 0 and at most 1", value=self.soft)


class BudgetDecision(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a guard says before a step. `warn` proceeds and is recorded; `ask` parks the run; `deny` ends it.

    `scope`: whose limit it is: `session`, `tree`, or `guard`.
    """

    verdict: Literal["allow", "warn", "ask", "deny"] = "allow"
    resource: str = ""
    consumed: float = 0.0
    limit: float = 0.0
    reason: str = ""
    scope: str = "guard"


ALLOWED = BudgetDecision()
