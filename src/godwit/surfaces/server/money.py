"""What a session may spend in money, for dialects that know no other limit: what else limits it stays as it is.

A run that has used it up may wait for the limit to be raised or taken away; who does that lets it go on (`go_on_as_set`).
Rule: nothing here lifts a limit that nobody has set anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from ...core.agent import AgentSpec
from ...core.budget import Budget, in_force
from ...core.errors import ActionNotFound, AlreadyAnswered, HeadMoved
from ...core.events import SessionConfigured, UserAnswer
from ...core.ids import ActionId, derived_id
from ...core.state import Question, State
from ...engine.budget import QUESTION
from ...engine.log import append_outside
from ...engine.session import Session
from .service import Service

_NO_LIMIT_USD: Final = 1e12
"""By how much a limit is raised for a run that goes on after it was taken away."""


async def limit_money(handle: Session, usd: float | None, on_limit: Literal["stop", "ask"]) -> None:
    """From the next prompt on, this; None is no limit. `on_limit`: what becomes of a run that meets one of the session's
    limits."""
    old = await handle.budget() or Budget()
    kept = old.on_limit if usd is None else on_limit
    await handle.set_budget(msgspec.structs.replace(old, usd=usd, on_limit=kept))


def money_limit(spec: AgentSpec, budgets: Sequence[Budget] | None) -> float | None:
    """The limit in USD that holds for a session of this agent which was given these budgets; None without one."""
    return next((one.usd for one in in_force(spec.budgets, budgets or ()) if one.scope == "session"), None)


def is_budget_question(name: str, arguments: Mapping[str, Any]) -> bool:
    """Whether what a run asks is for more of what its session may spend; a guard asks about one step."""
    return name == QUESTION and arguments.get("scope") != "guard"


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
                return await _answered(handle, question)
            if run.budgets == state.budgets:
                return True
            # It has not come to the old limit yet, and is not to come to it.
            by = ActionId(derived_id("act", handle.id, str(state.seq)))
            in_force = SessionConfigured(budgets=state.budgets, raised_by=by)
            await append_outside(service.store, handle.id, [in_force], service.runtime.clock, expect=state.seq)
            return True
        except HeadMoved:
            continue


async def _answered(handle: Session, question: Question) -> bool:
    asked = question.arguments
    if asked.get("scope") != "session" or asked.get("resource") != "usd":
        return False
    in_force = await handle.budget()
    usd = None if in_force is None else in_force.usd
    if usd is not None and usd <= max(float(asked.get("limit", 0)), float(asked.get("consumed", 0))):
        return False
    more = _NO_LIMIT_USD if usd is None else usd - float(asked.get("limit", 0))
    try:
        await handle.send_events([UserAnswer(question.action, "approve", arguments={**asked, "usd": more})])
    except (ActionNotFound, AlreadyAnswered):
        return False
    return True
