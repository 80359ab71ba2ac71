"""Budgets of trees: what a session and all that work for it may spend, read and raised by one of those that work for it.

Leaves out what is asked of them before a step (`budget`). Rule: a limit of another session is raised once for an answer,
however often that is tried, and by nothing but an append to that session's log.
"""

from __future__ import annotations

from collections.abc import Callable

from ..contracts import EventStore
from ..core.agent import AgentSpec
from ..core.budget import Budget, Resource, in_force, raised
from ..core.errors import HeadMoved, KeyReused, SessionNotFound
from ..core.events import SessionConfigured
from ..core.ids import ActionId, Clock, SessionId
from .log import append_outside

Held = Callable[[AgentSpec, str | None], AgentSpec]
"""An agent as it is held, in a folder, to what the host's configuration says."""


async def configured_budgets(store: EventStore, session: SessionId) -> tuple[tuple[Budget, ...], tuple[Budget, ...]]:
    """The budgets of a session as they are set now, and as they were before answers raised them. SessionNotFound."""
    now: tuple[Budget, ...] | None = None
    for event in await store.read(session, types=("session.configured",), newest_first=True):
        data = event.data
        if isinstance(data, SessionConfigured) and data.budgets is not None:
            now = data.budgets if now is None else now
            if data.raised_by is None:
                return now, data.budgets
    return now or (), ()


async def tree_budget(store: EventStore, session: SessionId, held: Held) -> tuple[Budget, Budget | None] | None:
    """What a session and all that work for it may spend, now and originally; None without a limit."""
    try:
        row = await store.session(session)
        given, original = await configured_budgets(store, session)
    except SessionNotFound:
        return None
    _, stored = await store.get_agent(row.agent.name, row.agent.version)
    spec = held(stored, row.workspace)
    now, before = (
        next((b for b in in_force(spec.budgets, layer) if b.scope == "tree"), None) for layer in (given, original)
    )
    return (now, before) if now is not None and now.limits else None


async def raise_tree_budget(
    store: EventStore, session: SessionId, by: dict[Resource, float], action: ActionId, *, held: Held, clock: Clock
) -> None:
    """Raise the limit of a session that another works for, once for this answer."""
    while True:
        try:
            head = (await store.session(session)).head
            found = await tree_budget(store, session, held)
            if found is None:
                return
            given, _ = await configured_budgets(store, session)
            data = SessionConfigured(budgets=in_force(given, [raised(found[0], by)]), raised_by=action)
            await append_outside(store, session, [data], clock, key=f"raised:{action}", expect=head)
            return
        except HeadMoved:
            continue
        except (KeyReused, SessionNotFound):
            return  # it was done before this process came to it; or there is nothing left to raise


__all__ = ["Held", "configured_budgets", "raise_tree_budget", "tree_budget"]
