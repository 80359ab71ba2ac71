"""Todos: the list of what a session has to do, as its model keeps it and people see it.

Owns what an item is, which lists are none, and how one is shown. Leaves out who writes it (the tool `todo`, a host). Rules:
a list is told as a whole, so an event of it is all there is to know; an item is named by its place, counted from 1, since a
model that has to repeat ids gets them wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import msgspec

from .errors import InvalidArgument

TODO_TOOL = "todo"
"""The tool by which a model writes the list."""
TODOS = 100
"""Items of a list, at most."""
TODO_CHARACTERS = 500
"""Characters of an item, at most."""

TodoStatus = Literal["pending", "in_progress", "completed", "cancelled"]
_MARKS: dict[TodoStatus, str] = {"pending": "[ ]", "in_progress": "[>]", "completed": "[x]", "cancelled": "[-]"}


class Todo(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One thing to do."""

    content: str
    status: TodoStatus = "pending"

    @property
    def open(self) -> bool:
        """Whether it is still to be done."""
        return self.status in ("pending", "in_progress")


class TodoChange(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What becomes of the item at place `item`, from 1; None leaves a field as it is."""

    item: int
    status: TodoStatus | None = None
    content: str | None = None


def checked_todos(todos: Iterable[Todo]) -> tuple[Todo, ...]:
    """The list, if it is one: each item says something, and at most one is in progress. InvalidArgument says what to do."""
    checked = tuple(todos)
    if len(checked) > TODOS:
        raise InvalidArgument(f"a list has at most {TODOS} items, not {len(checked)}: put small ones together", todos=TODOS)
    for place, todo in enumerate(checked, 1):
        if not todo.content.strip():
            raise InvalidArgument(f"item {place} is empty: say what is to be done, or leave it out", item=place)
        if len(todo.content) > TODO_CHARACTERS:
            raise InvalidArgument(
                f"item {place} has {len(todo.content)} characters: at most {TODO_CHARACTERS}; say it shorter, or split it",
                item=place,
            )
        if todo.status not in get_args(TodoStatus):
            known = ", ".join(get_args(TodoStatus))
            raise InvalidArgument(f"item {place}: status {todo.status!r} is none of {known}", item=place, status=todo.status)
    under_way = [place for place, todo in enumerate(checked, 1) if todo.status == "in_progress"]
    if len(under_way) > 1:
        raise InvalidArgument(
            f"items {', '.join(map(str, under_way))} are in progress at once: let one be in_progress, the others pending or"
            " completed",
            items=under_way,
        )
    return checked


def changed_todos(todos: Sequence[Todo], changes: Iterable[TodoChange]) -> tuple[Todo, ...]:
    """The list with these changes, all or none. InvalidArgument."""
    made = list(todos)
    seen: set[int] = set()
    for change in changes:
        if not 1 <= change.item <= len(made):
            there = f"the list has items 1 to {len(made)}" if made else "the list is empty: write it first, with `todos`"
            raise InvalidArgument(f"there is no item {change.item}: {there}", item=change.item)
        if change.item in seen:
            raise InvalidArgument(f"item {change.item} is changed twice: name it once", item=change.item)
        seen.add(change.item)
        before = made[change.item - 1]
        made[change.item - 1] = Todo(
            before.content if change.content is None else change.content,
            before.status if change.status is None else change.status,
        )
    return checked_todos(made)


def open_todos(todos: Iterable[Todo]) -> tuple[Todo, ...]:
    """What is still to be done."""
    return tuple(todo for todo in todos if todo.open)


def finished_count(todos: Iterable[Todo]) -> int:
    """How many items are completed or cancelled."""
    return sum(not todo.open for todo in todos)


def todos_text(todos: Sequence[Todo], *, only_open: bool = False) -> str:
    """The list as people and models read it, an item a line: `2. [>] write the tests`."""
    return "\n".join(
        f"{place}. {_MARKS[todo.status]} {_line(todo.content)}"
        for place, todo in enumerate(todos, 1)
        if todo.open or not only_open
    )


def _line(content: str) -> str:
    """On one line, so that no item looks like two."""
    return " ".join(content.split())


def todos_summary(todos: Sequence[Todo]) -> str:
    """How far it is: `2 of 5 done`, with what is in progress."""
    now = next((_line(todo.content) for todo in todos if todo.status == "in_progress"), None)
    return f"{finished_count(todos)} of {len(todos)} done" + (f", now: {now}" if now else "")


def todos_changed(todos: Sequence[Todo]) -> str:
    """What a model is told when somebody else than it has written the list."""
    return f"[Todos]\nThe list of todos was changed by the user. It is now:\n{todos_text(todos) or '(empty)'}"


def is_lost(before: Sequence[Todo], wanted: Sequence[Todo], written: Sequence[Todo]) -> bool:
    """Whether something that somebody has changed of a list, from `before` to `wanted`, is not so in what was `written` in
    its place by one who knew the list as it was before."""
    old, new, now = set(before), set(wanted), set(written)
    return bool((new - old) - now or (old - new) & now)


def todos_replaced(wanted: Sequence[Todo]) -> str:
    """What a model is told that has written its list without knowing what the user had made of it just before."""
    return (
        "[Todos]\nBefore you wrote the list, the user had changed it, and your list has taken the place of theirs. They"
        f" wanted:\n{todos_text(wanted) or '(empty)'}\nWrite the list again so that it has what they changed."
    )


__all__ = [
    "TODOS",
    "TODO_CHARACTERS",
    "TODO_TOOL",
    "Todo",
    "TodoChange",
    "TodoStatus",
    "changed_todos",
    "checked_todos",
    "finished_count",
    "is_lost",
    "open_todos",
    "todos_changed",
    "todos_replaced",
    "todos_summary",
    "todos_text",
]
