"""Budgets: a run that has used up what its session may spend waits for the limit to be raised or taken away."""

from __future__ import annotations

from typing import Final

from ...core.errors import ActionNotFound, AlreadyAnswered
from ...core.events import UserAnswer
from ...core.state import Question, State
from ...engine.session import Session
from .projection import is_budget_question

_NO_LIMIT_USD: Final = 1e12
"""By how much a limit is raised for a run that goes on after it was taken away."""


def budget_question(state: State) -> Question | None:
    """What the open run asks for more of, if it does."""
    question = None if state.run is None else state.run.question
    if question is None or question.answer is not None or not is_budget_question(question.name, question.arguments):
        return None
    return question


async def go_on_as_set(handle: Session) -> bool:
    """Let a run that waits for more money go on when the session's limit is higher now than what it asks about, or gone.
    False when it does not wait for that, or has to go on waiting."""
    state = await handle.state()
    question = budget_question(state)
    asked = {} if question is None else question.arguments
    if question is None or asked.get("scope") != "session" or asked.get("resource") != "usd":
        return False
    usd = next((one.usd for one in state.budgets or () if one.scope == "session"), None)
    if usd is not None and usd <= max(float(asked.get("limit", 0)), float(asked.get("consumed", 0))):
        return False
    more = _NO_LIMIT_USD if usd is None else usd - float(asked.get("limit", 0))
    try:
        await handle.send_events([UserAnswer(question.action, "approve", arguments={**asked, "usd": more})])
    except (ActionNotFound, AlreadyAnswered):
        return False
    return True
