"""The built-in slash commands: what can be asked of a session and done with its run, for people at a keyboard.

Owns what each of them says and does, and the `CommandContext` every command gets. Each is a few lines over the session's own
methods: nothing can be done here that a program could not do with the handle.

Rules a change must keep: a command that is `safe` can be used while a run is open, so it neither starts one then nor moves
the transcript nor waits for the run (but for `/interrupt`, which ends it). None runs a shell command that was typed.
"""

from __future__ import annotations

from functools import cache
from itertools import chain

from ..commands import Command
from .answering import ANSWERING
from .context import CommandContext
from .going_back import GOING_BACK
from .looking import LOOKING
from .open_run import OPEN_RUN
from .settings import SETTINGS
from .spending import SPENDING
from .todos import TODOS
from .verifying import VERIFYING


@cache
def builtin_commands() -> tuple[Command, ...]:
    """Every built-in command, by name."""
    families = (LOOKING, SPENDING, VERIFYING, GOING_BACK, OPEN_RUN, ANSWERING, SETTINGS, TODOS)
    return tuple(sorted(chain.from_iterable(families), key=lambda c: c.name))


__all__ = ["CommandContext", "builtin_commands"]
