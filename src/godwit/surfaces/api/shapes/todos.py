"""Shapes of what is to be done: the list and the goal."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ....core.goal import GOAL_CHARACTERS, Goal, GoalEnd
from ....core.todos import TODOS, Todo
from .common import Shape


class TodosView(Shape, frozen=True):
    todos: list[Todo]


class TodosBody(Shape, frozen=True):
    """The whole list."""

    todos: Annotated[list[Todo], Meta(max_length=TODOS)]


class GoalView(Shape, frozen=True):
    goal: Goal | None


class GoalBody(Shape, frozen=True):
    text: Annotated[str, Meta(min_length=1, max_length=GOAL_CHARACTERS)]


class EndGoalBody(Shape, frozen=True):
    reason: str = ""
    status: GoalEnd = "abandoned"
