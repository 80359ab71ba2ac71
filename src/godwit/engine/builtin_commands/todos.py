"""Commands about what is to be done: the list, and the goal."""

from __future__ import annotations

from ...core.goal import Goal
from ...core.todos import todos_summary, todos_text
from ..commands import Command, CommandOutput
from .context import CommandContext
from .typed import alone, builtin

CLEAR = "clear"
START = "Work towards the goal of this session."


def _todos(context: CommandContext) -> str:
    todos = context.state.todos
    return f"{todos_summary(todos)}\n{todos_text(todos)}" if todos else "The list is empty."


async def _goal(arguments: str, context: CommandContext) -> CommandOutput:
    if not arguments:
        return CommandOutput(goal_told(context.state.goal))
    if arguments == CLEAR:
        ended = await context.session.end_goal()
        return CommandOutput("The goal is taken back." if ended else "No goal is open.", state_changed=ended)
    await context.session.set_goal(arguments)
    if context.run is not None:
        return CommandOutput("The goal is set; the model is told of it with what it is told next.", state_changed=True)
    return CommandOutput("The goal is set.", state_changed=True, prompt=START)


def goal_told(goal: Goal | None) -> str:
    """A goal in two lines."""
    if goal is None:
        return "No goal is set."
    why = f": {goal.reason}" if goal.reason else ""
    return f"Goal: {goal.text}\nIt is {goal.status}{why}"


TODOS: tuple[Command, ...] = (
    builtin("todos", "Show what is to be done, and how far it is.", alone(_todos)),
    builtin("goal", "Show the goal; set one and work towards it; take it back.", _goal, f"[TEXT|{CLEAR}]"),
)
