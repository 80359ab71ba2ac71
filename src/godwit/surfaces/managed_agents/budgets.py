"""Budgets: a run that has used up what its session may spend waits for the limit to be raised or taken away."""

from __future__ import annotations

from typing import Final

from ...core.errors import ActionNotFound, AlreadyAnswered, HeadMoved
from ...core.events import SessionConfigured, UserAnswer
from ...core.ids import ActionId, derived_id
from ...core.state import Question, State
from ...engine.log import append_outside
from ...engine.session import Session
from ..server.service import Service
from .event_fields import is_budget_question

_NO_LIMIT_USD: Final = 1e12
"""By how much a limit is raised for a run that goes on after it was taken away."""


def budget_question(state: State) -> Question | None:
    """What the open run asks for more of, if it does."""
    question = None if state.run is None else state.run.question
    if question is None or question.answer is not None or not is_budget_question(question.name, question.arguments):
        return None
    return question


async def go_on_as_set(service: Service, handle: Session) -> bool:
    """Let the open run spend what the session may spend now, and go on if it waited for that. False when there is none, or
    it has to go on waiting."""
    while True:
        state = await handle.state()
        run, question = state.run, budget_question(state)
        if run is None:
            return False
        try:
            if question is not None:
                return await _answered(handle, state, question)
            if run.budgets == state.budgets:
                return True
            # It has not come to the old limit yet, and is not to come to it.
            by = ActionId(derived_id("act", handle.id, str(state.seq)))
            in_force = SessionConfigured(budgets=state.budgets, raised_by=by)
            await append_outside(service.store, handle.id, [in_force], service.runtime.clock, expect=state.seq)
            return True
        except HeadMoved:
            continue


async def _answered(handle: Session, state: State, question: Question) -> bool:
    asked = question.arguments
    if asked.get("scope") != "session" or asked.get("resource") != "usd":
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
