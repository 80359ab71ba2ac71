"""Todos and goal in the hands of a session's host: reading and writing them.

Leaves out what a list and a goal are (`core.todos`, `core.goal`), how a model writes them (the tools `todo` and `goal`) and
what it is told of what its host has written (`core.transcript`). Rules: whoever writes writes the whole, as an event, and
the last one counts; what ends a goal holds for the goal that was seen, so it is an append to the log as it was read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, get_args

import msgspec

from ..contracts import Tool
from ..core.errors import HeadMoved, InvalidArgument
from ..core.events import GoalUpdated, TodosUpdated
from ..core.goal import GOAL_TOOL, Goal, GoalEnd, checked_goal
from ..core.ids import IdSource
from ..core.todos import Todo, checked_todos
from .handle import Handle
from .log import append_outside, load_state

ATTEMPTS = 100
"""How often a goal is tried to be ended while the session goes on."""


class HostTodos(Handle, ABC):
    """The part of a session's handle that knows what is to be done."""

    @abstractmethod
    def _tools_here(self) -> list[Tool]:
        """The agent's tools."""

    async def todos(self) -> list[Todo]:
        """The list of todos, as its model or its host wrote it last."""
        return list((await load_state(self._store, self.id)).todos)

    async def set_todos(self, todos: Iterable[Todo | str | Mapping[str, Any]]) -> list[Todo]:
        """Write the whole list; an item may be its text alone. The model is told of it with what is said to it next.
        InvalidArgument, SessionArchived."""
        self._check_open()
        written = todos_from(todos)
        await append_outside(self._store, self.id, [TodosUpdated(written)], self._home.clock)
        return list(written)

    async def goal(self) -> Goal | None:
        """The goal that was set last, also when it has ended; None when there was none."""
        return (await load_state(self._store, self.id)).goal

    async def set_goal(self, text: str) -> Goal:
        """What the session is to come to, in place of a goal before. The model is told of it with what is said to it next;
        its runs go on, within the agent's nudges, until it has ended the goal. InvalidArgument, also when the agent has no
        tool `goal`; SessionArchived."""
        self._check_open()
        event = new_goal(text, self._tools_here(), self._home.ids)
        await append_outside(self._store, self.id, [event], self._home.clock)
        return event.goal

    async def end_goal(self, reason: str = "", *, status: GoalEnd = "abandoned") -> bool:
        """Take the goal back, or say how else it has ended. False when none is open, also when its model has ended it just
        before. InvalidArgument, SessionArchived; HeadMoved when the session went on each time it was tried."""
        self._check_open()
        if status not in get_args(GoalEnd):
            raise InvalidArgument(f"a goal ends as met, blocked or abandoned, not {status!r}", status=status)
        for _ in range(ATTEMPTS):
            state = await load_state(self._store, self.id)
            goal = state.goal
            if goal is None or not goal.open:
                return False
            ended = msgspec.structs.replace(goal, status=status, reason=reason.strip(), by="host")
            try:
                await append_outside(self._store, self.id, [GoalUpdated(ended)], self._home.clock, expect=state.seq)
            except HeadMoved:
                continue  # perhaps by its model, which has ended it, or by a person who has set another
            return True
        raise HeadMoved("the session went on each time while its goal was being ended: try again")


def todos_from(given: Iterable[Todo | str | Mapping[str, Any]]) -> tuple[Todo, ...]:
    """A list as people write it down. InvalidArgument."""
    if isinstance(given, str):
        raise InvalidArgument("todos are a list of items, not one text")
    try:
        made = [one if isinstance(one, Todo) else Todo(one) if isinstance(one, str) else _todo(one) for one in given]
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"todos cannot be read: {error}") from None
    return checked_todos(made)


def _todo(given: Mapping[str, Any]) -> Todo:
    if not isinstance(given, Mapping):
        raise InvalidArgument(f"a todo is a text or has fields, and is no {type(given).__name__}")
    if unknown := set(given) - set(Todo.__struct_fields__):
        raise InvalidArgument(f"a todo has no {sorted(unknown)}: it has {', '.join(Todo.__struct_fields__)}")
    return msgspec.convert(dict(given), Todo)


def new_goal(text: str, tools: Iterable[Tool], ids: IdSource) -> GoalUpdated:
    """The event that sets this goal for an agent with these tools. InvalidArgument, also when it could never say that it is
    met."""
    if all(tool.definition.name != GOAL_TOOL for tool in tools):
        raise InvalidArgument(
            f"the agent has no tool {GOAL_TOOL!r}, so it could never say that the goal is met: add it to its tools",
            tool=GOAL_TOOL,
        )
    return GoalUpdated(Goal(ids.new("goal"), checked_goal(text)))


__all__ = ["HostTodos", "new_goal", "todos_from"]
