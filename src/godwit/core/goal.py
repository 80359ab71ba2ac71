"""Goal: what a session is to come to, said by a person, held until it is met, blocked or taken back.

Owns what a goal is and the words in which a model is told of it. Leaves out who asks for it and what keeps a run at it
(`core.nudges`). Rules: a person sets it and takes it back, a model ends it as met or blocked with what shows it; what a
model is told depends on the goal alone, byte for byte.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from .errors import InvalidArgument

GOAL_TOOL = "goal"
"""The tool by which a model ends it."""
GOAL_CHARACTERS = 10_000
"""Characters of a goal, at most."""

GoalEnd = Literal["met", "blocked", "abandoned"]
GoalStatus = Literal["open"] | GoalEnd


class Goal(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """`id`: another for each goal that is set. `reason`: why it ended, as who ended it said: what shows that it is met, or
    what keeps it from being met. `by`: who said so."""

    id: str
    text: str
    status: GoalStatus = "open"
    reason: str = ""
    by: Literal["host", "model"] = "host"

    @property
    def open(self) -> bool:
        return self.status == "open"


def checked_goal(text: str) -> str:
    """The text of a goal. InvalidArgument."""
    if not isinstance(text, str):
        raise InvalidArgument(f"a goal is a text, not {type(text).__name__}: `end_goal` takes one back", goal=str(text))
    text = text.strip()
    if not text:
        raise InvalidArgument("a goal needs a text: say what is to be true in the end")
    if len(text) > GOAL_CHARACTERS:
        raise InvalidArgument(f"a goal has at most {GOAL_CHARACTERS} characters, not {len(text)}", characters=len(text))
    return text


def goal_set(goal: Goal) -> str:
    """What a model is told of a new goal."""
    return (
        f"[Goal]\nThe user has set a goal for this session:\n<goal>\n{goal.text}\n</goal>\n"
        f"Work until it is met. When it is, and you have seen that it is, call `{GOAL_TOOL}` with status met and say what"
        " shows it. If it cannot be met without somebody else, call it with status blocked and say what is missing."
    )


def goal_ended(goal: Goal | None) -> str:
    """What a model is told when somebody else than it has ended the goal. `goal`: as it is now, None when it is no more."""
    why = "" if goal is None or not goal.reason else f": {goal.reason}"
    said = "is taken back" if goal is None or goal.status == "abandoned" else f"is {goal.status}, the user says"
    return f"[Goal]\nThe goal of this session {said}{why}. Do not work towards it any more."


__all__ = ["GOAL_CHARACTERS", "GOAL_TOOL", "Goal", "GoalEnd", "GoalStatus", "checked_goal", "goal_ended", "goal_set"]
