"""Nudges: a model that has stopped in the middle of its work is told to go on, a bounded number of times.

Owns when that is, as far as an agent chooses, and what a model is told. Leaves out when a run looks (`engine.nudge`). Rule:
what decides is in the log (the list of todos, the goal, how an answer ended), never the words of an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from .errors import ConfigurationError
from .goal import GOAL_TOOL, Goal
from .todos import TODO_TOOL, Todo, todos_text

NUDGE = "nudge"
"""Who sends a model the words to go on."""

NudgeReason = Literal["todos", "goal", "empty", "cut_off", "no_call"]
"""Why: items are open; the goal is; the answer was empty; it was cut off at the limit of its length; it ended for a call
that is not in it."""


class NudgePolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a run that would end goes on instead. `max_nudges`: how often in a row, with no progress in between: a call that
    ended well, an item or a goal that was finished, a word from a person; 0 for never. `todos`, `goal`: while items of the
    list, or the goal, are open. `answers`: after an answer that is empty, cut off at the limit of its length, or that ended
    for a call which is not in it. ConfigurationError."""

    max_nudges: int = 3
    todos: bool = True
    goal: bool = True
    answers: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.max_nudges <= 100:
            raise ConfigurationError(f"nudges max_nudges={self.max_nudges!r} must be 0 to 100", value=self.max_nudges)


def nudge_text(reasons: Sequence[NudgeReason], todos: Sequence[Todo], goal: Goal | None) -> str:
    """What the model is told."""
    parts: list[str] = []
    for reason in reasons:
        match reason:
            case "empty":
                parts.append("Your answer was empty. Go on with the work, or say what came of it.")
            case "cut_off":
                parts.append(
                    "Your answer was cut off at the limit of its length. Go on where it stopped, without saying the"
                    " beginning again; write what is long in several parts."
                )
            case "no_call":
                parts.append("You were about to call a tool, and no call came. Make it now, or say what came of the work.")
            case "todos":
                parts.append(
                    "You have stopped, and these items of your list are not done:\n"
                    f"{todos_text(todos, only_open=True)}\n"
                    f"Go on with them. With `{TODO_TOOL}`, mark what is done as completed and what is not needed any more as"
                    " cancelled."
                )
            case "goal":
                parts.append(
                    f"You have stopped, and the goal is not met:\n<goal>\n{'' if goal is None else goal.text}\n</goal>\n"
                    f"Go on. When it is met, call `{GOAL_TOOL}` with status met and what shows it; if it cannot be met"
                    " without somebody else, with status blocked and what is missing."
                )
    if "todos" in reasons or "goal" in reasons:
        parts.append("If you need an answer from the user to go on, say what you need to know.")
    return "\n\n".join(parts)


__all__ = ["NUDGE", "NudgePolicy", "NudgeReason", "nudge_text"]
