"""A guard that decides in the process whether a step may be paid for. Budgets and what they say stand in `core.budget`."""

from __future__ import annotations

from typing import Protocol

import msgspec

from ..core.budget import BudgetDecision, Spent
from ..core.events import Labels
from ..core.ids import RunId, SessionId
from ..core.messages import Usage


class BudgetCheck(msgspec.Struct, frozen=True):
    """What a guard is asked before a step. `estimated_tokens`: of the request, for a model step. `run` is None for a call
    that the host makes while no run is open."""

    session: SessionId
    run: RunId | None
    labels: Labels
    spent: Spent
    estimated_tokens: int = 0
    tool: str | None = None


class BudgetGuard(Protocol):
    """Decides whether a step may be paid for. A method that raises, answers nonsense or takes longer than 5 s denies; one
    that is missing allows (seed 001)."""

    async def before_model(self, check: BudgetCheck) -> BudgetDecision: ...
    async def before_tool(self, check: BudgetCheck) -> BudgetDecision: ...
    async def after_model(self, check: BudgetCheck, usage: Usage) -> None:
        """Called once per model step that ended with an answer."""
        ...
