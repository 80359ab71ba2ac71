"""Routes of what a session has to do: its list of todos, and its goal."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from .calls import Controlled, Watched
from .operations import PREFIX, operation
from .shapes.common import Changed
from .shapes.todos import EndGoalBody, GoalBody, GoalView, TodosBody, TodosView
from .wire import answer, body

router = APIRouter(prefix=f"{PREFIX}/sessions/{{session}}", tags=["todos"])


@router.get("/todos")
@operation(gives=TodosView)
async def get_todos(session: Watched) -> Response:
    """The list of todos, as its model or a host wrote it last."""
    return answer(TodosView(await session.todos()))


@router.put("/todos")
@operation(takes=TodosBody, gives=TodosView)
async def set_todos(session: Controlled, sent: Annotated[TodosBody, Depends(body(TodosBody))]) -> Response:
    """Write the whole list; the model is told of it with what is said to it next."""
    return answer(TodosView(await session.set_todos(sent.todos)))


@router.get("/goal")
@operation(gives=GoalView)
async def get_goal(session: Watched) -> Response:
    """The goal that was set last, also when it has ended."""
    return answer(GoalView(await session.goal()))


@router.put("/goal")
@operation(takes=GoalBody, gives=GoalView)
async def set_goal(session: Controlled, sent: Annotated[GoalBody, Depends(body(GoalBody))]) -> Response:
    """Set a goal, in place of the one before; the model is told of it with what is said to it next."""
    return answer(GoalView(await session.set_goal(sent.text)))


@router.post("/goal/end")
@operation(takes=EndGoalBody, gives=Changed)
async def end_goal(session: Controlled, sent: Annotated[EndGoalBody, Depends(body(EndGoalBody))]) -> Response:
    """Take the open goal back, or say how else it has ended."""
    return answer(Changed(await session.end_goal(sent.reason, status=sent.status)))
