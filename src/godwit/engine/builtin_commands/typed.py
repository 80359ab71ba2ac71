"""What is typed behind a command, as its body takes it, and what it answers in lines."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ...core.errors import InvalidArgument
from ..commands import Command, CommandOutput
from .context import CommandContext

Answer = CommandOutput | str | Awaitable[CommandOutput] | Awaitable[str]
SHOWN = 10
"""Entries that a list shows of its end unless told."""


def builtin(name: str, description: str, execute: Any, usage: str | None = None, *, safe: bool = True) -> Command:
    """A built-in command; `safe`: it can be used while a run is open."""
    return Command(name, description, execute, usage, safe, "builtin")


def alone(execute: Callable[[CommandContext], Answer]) -> Callable[[str, CommandContext], Answer]:
    """The body of a command that takes no arguments."""

    def checked(arguments: str, context: CommandContext) -> Answer:
        if arguments:
            raise InvalidArgument(f"it takes nothing behind it, and got {line(arguments)!r}")
        return execute(context)

    return checked


def needed(text: str, command: str, what: str) -> str:
    """What was typed behind the command. InvalidArgument, which names `what`, when it is nothing."""
    if not text.strip():
        raise InvalidArgument(f"it needs something behind it: /{command} {what}")
    return text.strip()


def count_of(arguments: str) -> int:
    """How many entries are asked for, from 1; SHOWN when nothing is typed. InvalidArgument."""
    if not arguments:
        return SHOWN
    if not (arguments.isascii() and arguments.isdigit() and int(arguments[:9]) > 0):
        raise InvalidArgument(f"{line(arguments)!r} is no count: type a number from 1")
    return int(arguments[:9])


def counted(count: int, word: str) -> str:
    return f"{count} {word}{'s' * (count != 1)}"


def line(text: str, width: int = 100) -> str:
    """A text of any length in one line of at most `width` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= width else f"{flat[: width - 1]}…"
