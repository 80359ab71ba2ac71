"""Purse: the part of a session's handle that says what may be spent, what was, and who guards it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ..contracts import BudgetGuard, EventStore
from ..core.agent import AgentSpec
from ..core.budget import Budget, Scope, Spent, budgets_of, in_force
from ..core.errors import InvalidArgument
from ..core.ids import Clock, RunId, SessionId
from ..core.state import State
from .inbox import Inbox


class Guarded(Protocol):
    """The budget guards of one process, see `Session.set_budget_guard`."""

    def set(self, session: SessionId, guard: BudgetGuard | None) -> None: ...
    def get(self, session: SessionId) -> BudgetGuard | None: ...
    def begin(self, session: SessionId, run: RunId) -> None:
        """This run begins now: what is set later is not for it."""
        ...


class Purse(ABC):
    """Budgets of one session. What is set counts from the next prompt on; what was spent stays spent."""

    id: SessionId
    _store: EventStore
    _clock: Clock
    _inbox: Inbox
    _guards: Guarded
    _drives: bool

    @abstractmethod
    def _check_open(self) -> None:
        """Raise SessionClosed when the handle is."""

    @abstractmethod
    def _held(self) -> AgentSpec:
        """The agent as it is held to the host's configuration. ConfigurationError when that is wrong."""

    @abstractmethod
    async def state(self) -> State:
        """The fold of the log as it stands."""

    async def set_budget(self, budget: Budget | Mapping[str, Any] | Sequence[Budget | Mapping[str, Any]] | None) -> None:
        """From the next prompt on this is what may be spent: a budget, a table such as `{"usd": 5}`, or one of each scope.

        A scope that is not named keeps its budget, and one without limits (`Budget()`) limits nothing. None: the agent's own
        again, and what configuration files say. What was spent stays spent. ConfigurationError.
        """
        self._check_open()
        given = budgets_of(budget)
        if budget is not None:
            given = in_force((await self.state()).budgets or (), given)
        await self._inbox.configure(budgets=given)

    async def budget(self, scope: Scope = "session") -> Budget | None:
        """What may be spent, of this session or of all that work for it, as it counts from the next prompt on."""
        in_all = in_force(self._held().budgets, (await self.state()).budgets or ())
        return next((b for b in in_all if b.scope == scope), None)

    async def spent(self, *, tree: bool = False) -> Spent:
        """What the session has used up; with `tree` together with all that worked for it, as of their last events."""
        row, state = await self._store.session(self.id), await self.state()
        own = state.spent(None if row.owner is None else self._clock.now_ms())
        if not tree:
            return own
        return await self._store.spent(self.id) + Spent(time_s=own.time_s - state.spent().time_s)

    def set_budget_guard(self, guard: BudgetGuard | None) -> None:
        """From the next prompt on this one is asked before each step; None: the one that the agent or the runtime brings.

        It counts in this process and for all its handles of the session, and for the sessions that work for it as well
        (seed 001). InvalidArgument on a handle that only watches, ConfigurationError for an object that guards nothing.
        """
        self._check_open()
        if not self._drives:
            raise InvalidArgument(
                "this handle only watches: set a budget guard where the session is driven", session=self.id
            )
        self._guards.set(self.id, guard)

    def budget_guard(self) -> BudgetGuard | None:
        """The guard that was set on the session; None: the configured one counts (seed 001)."""
        return self._guards.get(self.id)
