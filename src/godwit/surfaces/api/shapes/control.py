"""Shapes of stopping a session, and of what it may spend."""

from __future__ import annotations

from ....core.budget import Budget, Spent
from .common import Shape


class InterruptBody(Shape, frozen=True):
    run: str | None = None
    force: bool = False
    reason: str | None = None


class PauseBody(Shape, frozen=True):
    reason: str | None = None


class BudgetBody(Shape, frozen=True):
    """`budgets`: one of each scope; None: the agent's own again."""

    budgets: list[Budget] | None


class BudgetView(Shape, frozen=True):
    budget: Budget | None


class SpentView(Shape, frozen=True):
    spent: Spent
