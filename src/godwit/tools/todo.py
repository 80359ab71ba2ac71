"""The tools `todo` and `goal`: a model writes down what is to be done and how far it is, and ends the goal it was given.

Leaves out where both are kept: what a call gives back is recorded with its result. Rules: neither touches anything outside
the session's log, so they may be used in every mode and run again after a crash; a list that is none is refused with what to
do instead; a result shows the whole list, so a model never has to remember its places.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ..contracts import ToolContext, ToolOutput, ToolTraits, Workspace
from ..core.errors import ToolFailed
from ..core.goal import GOAL_TOOL
from ..core.messages import Text
from ..core.todos import (
    TODO_CHARACTERS,
    TODO_TOOL,
    TODOS,
    Todo,
    TodoChange,
    TodoStatus,
    changed_todos,
    checked_todos,
    todos_summary,
    todos_text,
)
from .typed import Arguments, TypedTool, clean

_Content = Annotated[str, Meta(min_length=1, max_length=TODO_CHARACTERS, description="What is to be done.")]
_Status = Annotated[TodoStatus, Meta(description="At most one item is in_progress.")]


class TodoItem(Arguments, frozen=True):
    content: _Content
    status: _Status = "pending"


class TodoUpdate(Arguments, frozen=True):
    item: Annotated[int, Meta(ge=1, le=TODOS, description="The item's number in the list, from 1.")]
    status: _Status | None = None
    content: _Content | None = None


class TodoArguments(Arguments, frozen=True):
    todos: (
        Annotated[list[TodoItem], Meta(max_length=TODOS, description="The whole list, in place of the one before.")] | None
    ) = None
    update: Annotated[list[TodoUpdate], Meta(max_length=TODOS, description="Changes to items of the list.")] | None = None


class TodoList(TypedTool[TodoArguments]):
    """Writes the session's list of todos."""

    name = TODO_TOOL
    description = (
        "Keep a list of what is to be done, which people see. Use it for work of three steps or more: write the list with"
        " `todos` before you begin, and with `update` set an item to in_progress when you begin it and to completed as soon"
        " as it is done, not before. Cancel what is not needed any more. Without arguments it shows the list."
    )
    traits = ToolTraits(repeatable=True, read_only=True, bound=True)
    arguments = TodoArguments

    def locks(self, arguments: dict[str, Any], workspace: Workspace | None) -> frozenset[str]:
        return frozenset({"godwit:todos"})

    async def work(self, arguments: TodoArguments, context: ToolContext) -> ToolOutput:
        if arguments.todos is not None and arguments.update is not None:
            raise ToolFailed("give `todos`, the whole list, or `update`, changes to it: not both")
        before = context.todos
        if arguments.todos is not None:
            after = checked_todos(Todo(clean(one.content), one.status) for one in arguments.todos)
        elif arguments.update is not None:
            changes = (
                TodoChange(one.item, one.status, None if one.content is None else clean(one.content))
                for one in arguments.update
            )
            after = changed_todos(before, changes)
        else:
            return _shown(before)
        return msgspec.structs.replace(_shown(after), todos=after)


def _shown(todos: tuple[Todo, ...]) -> ToolOutput:
    if not todos:
        return ToolOutput((Text("The list is empty."),))
    return ToolOutput((Text(f"{todos_summary(todos)}\n{todos_text(todos)}"),))


class GoalArguments(Arguments, frozen=True):
    status: Annotated[
        Literal["met", "blocked"],
        Meta(description="met: it is so, and you have seen that it is. blocked: it cannot be met without somebody else."),
    ]
    reason: Annotated[
        str, Meta(min_length=1, max_length=2000, description="What shows that it is met; or what is missing, and from whom.")
    ]


class EndGoal(TypedTool[GoalArguments]):
    """Ends the goal that a person has set."""

    name = GOAL_TOOL
    description = (
        "Say that the goal which the user has set for this session is met, or that it is blocked. Say that it is met only"
        " after you have checked it. Only the user sets a goal."
    )
    traits = ToolTraits(repeatable=True, read_only=True, bound=True)
    arguments = GoalArguments

    def locks(self, arguments: dict[str, Any], workspace: Workspace | None) -> frozenset[str]:
        return frozenset({"godwit:goal"})

    async def work(self, arguments: GoalArguments, context: ToolContext) -> ToolOutput:
        goal = context.goal
        if goal is None:
            raise ToolFailed("no goal is set: go on with what the user has asked for")
        if not goal.open:
            if (goal.status, goal.by) == (arguments.status, "model"):
                return ToolOutput((Text(f"The goal is {goal.status} already."),))
            raise ToolFailed(f"the goal is {goal.status} already: {goal.reason or 'the user has ended it'}")
        ended = msgspec.structs.replace(goal, status=arguments.status, reason=clean(arguments.reason), by="model")
        return ToolOutput((Text(f"Noted: the goal is {ended.status}."),), goal=ended)


__all__ = ["EndGoal", "TodoList"]
