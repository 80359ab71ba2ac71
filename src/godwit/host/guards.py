"""Budget guards: who guards which session in this process.

A guard is a Python object: it lives and ends with the process that has it, as function tools do. Owns which one counts for
a run; calling them is the engine's. Rules a change must keep: what is set counts from the next prompt on, so a run that goes
on after it was parked or paused here keeps the guard it began with; a session cannot get rid of the guards of those it works
for.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..contracts import BudgetGuard
from ..core.agent import AgentRef, AgentSpec, base_of
from ..core.errors import ConfigurationError
from ..core.ids import RunId, SessionId

METHODS = ("before_model", "before_tool", "after_model")


class BudgetGuards:
    """`default`: guards every session of the runtime whose agent brings none."""

    def __init__(self, default: BudgetGuard | None = None) -> None:
        self._default = checked(default)
        self._of_agents: dict[str, BudgetGuard] = {}
        self._agents: dict[SessionId, str] = {}
        self._set: dict[SessionId, BudgetGuard] = {}
        self._runs: dict[SessionId, tuple[RunId, BudgetGuard | None]] = {}

    def bring(self, agent: str, guard: BudgetGuard | None) -> None:
        """The guard that comes with an agent of this name, or none."""
        if guard is None:
            self._of_agents.pop(agent, None)
        else:
            self._of_agents[agent] = guard

    def opened(self, session: SessionId, agent: str) -> None:
        """This process works with the session."""
        self._agents[session] = agent

    def set(self, session: SessionId, guard: BudgetGuard | None) -> None:
        """From the next prompt on this one guards the session; None: the one its agent or the runtime brings."""
        checked(guard)
        if guard is None:
            self._set.pop(session, None)
        else:
            self._set[session] = guard

    def get(self, session: SessionId) -> BudgetGuard | None:
        """The one that was set, as it counts from the next prompt on."""
        return self._set.get(session)

    def begin(self, session: SessionId, run: RunId) -> None:
        """This run begins now: what is set later is not for it."""
        if self._runs.get(session, (None, None))[0] != run:
            self._runs[session] = (run, self._set.get(session))

    def of(
        self, session: SessionId, run: RunId | None, spec: AgentSpec, above: Sequence[SessionId]
    ) -> Sequence[BudgetGuard]:
        """Who guards this run, or a call outside of any; last those of the sessions it works for."""
        given = self._set.get(session)
        if run is not None:
            self.begin(session, run)
            given = self._runs[session][1]
        found = [given or self._of_agents.get(base_of(AgentRef(spec.name, 0)).name) or self._default]
        found += [self._set.get(s) or self._of_agents.get(self._agents.get(s, "")) for s in above]
        unique: list[BudgetGuard] = []
        for guard in found:
            if guard is not None and not any(guard is other for other in unique):
                unique.append(guard)
        return unique

    def forget(self, session: SessionId) -> None:
        """Nobody here works with the session any more."""
        for kept in (self._agents, self._set, self._runs):
            kept.pop(session, None)


def checked(guard: BudgetGuard | None) -> BudgetGuard | None:
    """The guard itself. ConfigurationError for an object that could never say anything, since it would let all pass."""
    if guard is None or any(callable(getattr(guard, name, None)) for name in METHODS):
        return guard
    raise ConfigurationError(f"{guard!r} is no budget guard: it has none of {', '.join(METHODS)}", guard=repr(guard))
