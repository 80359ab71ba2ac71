"""Senders: the names by which inputs say whom they are from, and which of these are godwit's own.

Rule: what reaches a session from outside never goes by one of godwit's own names, the inbox refuses it; so whoever reads a
log may go by the name alone.
"""

from __future__ import annotations

from typing import Final

from .errors import InvalidArgument
from .events.inputs import UserMessage
from .ids import TaskId
from .nudges import NUDGE
from .output import OUTPUT

VERIFICATION: Final = "verification"
"""Who tells a model that checks have failed."""
POLICY: Final = "policy"
"""The sender of answers that the approval policy gives when nobody else does."""
BY_HOOK: Final = "hook "
"""How the sender of a message begins that a hook wrote, before the hook's id."""
_BY_TASK: Final = "task "
_OWN: Final = frozenset({NUDGE, OUTPUT, VERIFICATION, POLICY})


def by_task(task: TaskId) -> str:
    """The sender of what a subagent is asked for this task, and of the message that tells of the task's end."""
    return f"{_BY_TASK}{task}"


def is_by_task(sender: str | None) -> bool:
    """Whether a task has sent it, and no person."""
    return sender is not None and sender.startswith(_BY_TASK)


def task_of(sender: str | None) -> TaskId | None:
    """The task that has sent it, if one has."""
    return TaskId(sender.removeprefix(_BY_TASK)) if sender is not None and is_by_task(sender) else None


def is_own(sender: str | None) -> bool:
    """Whether only godwit itself sends under this name."""
    return sender is not None and (sender in _OWN or sender.startswith((BY_HOOK, _BY_TASK)))


def is_written_here(said: UserMessage) -> bool:
    """Whether the engine has written the message itself: what a session was asked by a task is somebody's words."""
    return is_own(said.sender) and not (is_by_task(said.sender) and said.delivery != "follow_up")


def check_sender(sender: str | None) -> None:
    """InvalidArgument for a name under which only godwit itself sends."""
    if is_own(sender):
        raise InvalidArgument(
            f"sender {sender!r} is a name of godwit's own messages: name who it is from otherwise. Kept are"
            f" {', '.join(sorted(_OWN))}, and what begins with {BY_HOOK!r} or {_BY_TASK!r}",
            sender=sender,
        )


def free_name(name: str) -> str | None:
    """This name of a caller as a sender, None when only godwit itself sends under it."""
    return None if is_own(name) else name


__all__ = [
    "BY_HOOK",
    "POLICY",
    "VERIFICATION",
    "by_task",
    "check_sender",
    "free_name",
    "is_by_task",
    "is_own",
    "is_written_here",
    "task_of",
]
