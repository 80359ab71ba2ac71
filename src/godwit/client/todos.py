"""RemoteTodos: the part of a remote handle that knows what is to be done. See `engine.todos.HostTodos`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..core.goal import Goal, GoalEnd
from ..core.todos import Todo
from ..engine.todos import todos_from
from .handle import RemoteHandle
from .shapes import Changed, GoalTold, TodosTold


class RemoteTodos(RemoteHandle):
    """The list and the goal of one session."""

    async def todos(self) -> list[Todo]:
        """The list of todos, as its model or its host wrote it last."""
        return (await self._get("/todos", TodosTold)).todos

    async def set_todos(self, todos: Iterable[Todo | str | Mapping[str, Any]]) -> list[Todo]:
        """Write the whole list. InvalidArgument, SessionArchived."""
        self._check_open()
        return (await self._post("/todos", TodosTold, {"todos": todos_from(todos)}, method="PUT")).todos

    async def goal(self) -> Goal | None:
        """The goal that was set last, also when it has ended; None when there was none."""
        return (await self._get("/goal", GoalTold)).goal

    async def set_goal(self, text: str) -> Goal:
        """What the session is to come to, in place of a goal before. InvalidArgument, SessionArchived."""
        self._check_open()
        goal = (await self._post("/goal", GoalTold, {"text": text}, method="PUT")).goal
        assert goal is not None
        return goal

    async def end_goal(self, reason: str = "", *, status: GoalEnd = "abandoned") -> bool:
        """Take the goal back, or say how else it has ended. False when none is open."""
        self._check_open()
        return (await self._post("/goal/end", Changed, {"reason": reason, "status": status})).changed
