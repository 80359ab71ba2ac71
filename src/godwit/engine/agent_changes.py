"""AgentChanges: the part of a session's handle by which its agent goes on as another, wherever the session is opened.

Leaves out what is changed (`live_agents.py`, `live_servers.py`). Rule: what somebody else changes meanwhile is not lost.
"""

from __future__ import annotations

from collections.abc import Callable

from ..core.agent import AgentSpec, variant_of
from ..core.errors import HeadMoved
from .control import Control
from .log import load_state

_TRIES = 20


class AgentChanges(Control):
    """Changes of the agent that are kept with the session."""

    async def _change_agent(self, change: Callable[[AgentSpec], AgentSpec]) -> None:
        """Have the session go on as a variant of its agent, from its next run on at the latest."""
        for attempt in range(_TRIES):
            state = await load_state(self._store, self.id)
            assert state.agent is not None
            ref, spec = await self._store.get_agent(state.agent.name, state.agent.version)
            changed = change(spec)
            if changed == spec:
                break
            variant = await self._store.put_agent(variant_of(ref, changed))
            try:
                await self.configure(agent=variant, expect=state.seq)
            except HeadMoved:
                # Somebody else may have changed it meanwhile, which must not be lost.
                if attempt == _TRIES - 1:
                    raise
            else:
                break


__all__ = ["AgentChanges"]
