"""Budgets: asks before each step whether it may be paid for: the built-in limits, and whoever guards beside them.

How a step uses it (`driver.budget`):

    decision = await driver.budget.before_tool(name, ahead=n)   # commit what is staged first: a guard may take its time
    log.stage(*driver.budget.recorded(decision))                # a warning, an end, or the question; often nothing
    match decision.verdict:
        case "allow" | "warn": ...  # take the step
        case "deny": ...            # it is not taken, `refusal(decision)` says why, and the run ends limited
        case "ask": ...             # it is not taken yet: the run has a question of its own now, and is parked with it

When the driver's token was cancelled meanwhile, what was said no longer counts: look at the token first.
"""

from __future__ import annotations

from ..core.budget import ALLOWED, BudgetDecision
from ..core.errors import Fault
from ..core.events import EventData
from ..core.messages import Usage


class Budgets:
    """What one session may spend, as its driver asks for it."""

    async def before_model(self, estimate: int = 0) -> BudgetDecision:
        """Whether a model may be asked; `estimate` in tokens of the request."""
        return ALLOWED

    async def before_tool(self, name: str, *, ahead: int = 0) -> BudgetDecision:
        """Whether this call may run; `ahead` counts calls that were allowed and whose start is not in the state yet."""
        return ALLOWED

    async def after_model(self, usage: Usage) -> None:
        """A model has answered, and the answer is stored: tell who guards."""

    def recorded(self, decision: BudgetDecision) -> list[EventData]:
        """The events that say what was decided; nothing when that was said before."""
        return []


def refusal(decision: BudgetDecision) -> str:
    """What the one who asked for the step is told."""
    return f"Budget exhausted on '{decision.resource}': {decision.reason}"


def exhausted(decision: BudgetDecision) -> Fault:
    """Why the run ends as limited."""
    details = {"resource": decision.resource, "consumed": decision.consumed, "limit": decision.limit}
    return Fault("budget_exhausted", refusal(decision), details)


__all__ = ["Budgets", "exhausted", "refusal"]
