"""The work of a verb: done on an event loop of its own, and its exit code."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import typer

from ..cli_exit import DONE


class Unread(Exception):
    """Who read our output has seen enough. Typer would take the BrokenPipeError itself for a failure."""


def ends(work: Coroutine[Any, Any, int]) -> None:
    """Do the work and end with the code it comes to. Unread when nobody reads what is printed any more."""
    try:
        code = asyncio.run(work)
    except BrokenPipeError:
        raise Unread from None
    done(code)


def done(code: int) -> None:
    """End with this code."""
    if code != DONE:
        raise typer.Exit(code)
