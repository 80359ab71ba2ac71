"""Child questions: what a session waits for is told to every session above it.

Rule: told again, it is told once: the key of what is appended follows from what is asked.
"""

from __future__ import annotations

import contextlib

from ..contracts import EventStore
from ..core.errors import Conflict
from ..core.events import ActionOpened, SubagentAsked, SubagentStarted
from ..core.ids import ActionId, AgentName, Clock, SessionId, TaskId
from ..engine.approvals import name_told
from ..engine.log import append_outside, load_state


class ChildQuestions:
    """Tells sessions what is asked below them. It remembers what it has told, to read no log twice for it."""

    def __init__(self, store: EventStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._announced: dict[SessionId, set[ActionId]] = {}

    async def tell(self, child: SessionId) -> None:
        """What this session waits for is told to every session above it."""
        state = await load_state(self._store, child)
        pending = {a.id for a in state.gate.actions if a.asks}
        if not pending or self._announced.get(child) == pending:
            return
        opened = [
            e.data
            for e in await self._store.read(child, types=("action.opened",))
            if isinstance(e.data, ActionOpened) and e.data.action in pending
        ]
        path: tuple[AgentName, ...] = ()
        below, above = state, state.parent
        below_id = child
        while above is not None:
            assert below.agent is not None
            path = (await name_told(self._store, below.agent), *path)
            state = await load_state(self._store, above)
            # Its task may have ended, and what it has left in the background asks.
            task = next((t.id for t in state.gate.tasks if t.session == below_id), None)
            task = task or await self._last_task(above, below_id)
            if task is None:
                return
            for action in opened:
                asked = SubagentAsked(
                    task, child, action.action, action.kind, path, action.name, action.arguments, action.message
                )
                with contextlib.suppress(Conflict):
                    await append_outside(self._store, above, [asked], self._clock, key=f"{child}\0{action.action}\0asked")
            below, below_id, above = state, above, state.parent
        self._announced[child] = pending

    async def _last_task(self, parent: SessionId, child: SessionId) -> TaskId | None:
        """The newest task that this child was given."""
        for event in await self._store.read(parent, types=("subagent.started",), newest_first=True):
            if isinstance(event.data, SubagentStarted) and event.data.child == child:
                return event.data.task
        return None

    def forget(self, child: SessionId) -> None:
        """Its task has ended: what it asks from now on is told anew."""
        self._announced.pop(child, None)
