"""Budgets: what a client is told whose message cannot be taken because its session has used up what it may spend."""

from __future__ import annotations

from typing import Final

from ...core.agent import AgentSpec
from ...core.budget import MODEL_STEP, check, in_force
from ...core.state import State
from ..server.money import budget_question

_OTHERS: Final[dict[str, str]] = {"tokens": "tokens", "turns": "turns", "tool_calls": "tool calls", "time_s": "time"}


def used_up(state: State, spec: AgentSpec) -> str | None:
    """Why no message can be taken; None when one can. `spec`: of the session's agent."""
    question = budget_question(state)
    if question is not None:
        scope, resource = str(question.arguments.get("scope")), str(question.arguments.get("resource"))
        return _told(scope, resource, "or end the run with user.interrupt")
    if state.run is None:
        for budget in in_force(spec.budgets, state.budgets or ()):
            found = check(budget, state.spent(), step=MODEL_STEP) if budget.scope == "session" else None
            # One that asks lets the message begin a run, which waits with it.
            if found is not None and found.verdict == "deny":
                return _told("session", found.resource, "or raise it there")
    return None


def _told(scope: str, resource: str, instead: str) -> str:
    if (scope, resource) == ("session", "usd"):
        return "the session's budget is used up: raise it first (budget of the session)"
    what = _OTHERS.get(resource, "money")
    return (
        f"the session's budget is used up: its agent, or a session above it, limits its {what}, for which this protocol has "
        f"no word. Approve more through godwit's own API, {instead}"
    )
