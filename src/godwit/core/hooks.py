"""Hooks as data: the points of a session's life, what a hook is called for, and what it may answer.

Names of other systems for the same points (`PreToolUse`, `pre_tool_use`) are read as aliases and never written.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from .errors import ConfigurationError

HookPoint = Literal[
    "before_session", "after_session",  # a handle opens or closes the session
    "before_prompt", "after_prompt",  # an input is about to be / was placed in the transcript
    "before_run", "after_run",  # a run was claimed for the first time / has ended
    "before_turn", "after_turn",
    "before_model", "after_model",
    "before_tool", "after_tool",
    "before_approval", "after_approval",  # a person is about to be asked / has answered
    "before_finish", "after_finish",  # the run would end as done; a block sends the reason back to the model
    "before_checkpoint", "after_checkpoint",
    "before_restore", "after_restore",
    "before_verification", "after_verification",
    "before_command", "after_command",  # slash commands
    "on_error", "on_rate_limit",
]  # fmt: skip

GATING: frozenset[HookPoint] = frozenset(
    (
        "before_prompt", "before_run", "before_turn", "before_model", "before_tool", "before_approval", "before_finish",
        "before_restore", "before_verification", "before_command",
    )
)  # fmt: skip
"""Points at which a hook that fails, hangs or answers nonsense blocks; elsewhere its failure is recorded and passed over."""


class HookMatcher(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a hook is called; all fields that are set must match. An empty one matches everything.

    `tool`: a tool's name, `*` and `?` and `|` between alternatives allowed. `path`: a glob on the call's file. `command`: a
    regular expression searched in a shell command.
    """

    tool: str | None = None
    path: str | None = None
    command: str | None = None


class HookSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """A hook: where it is called, when, and how. Without `command` it needs a handler in the process.

    `priority`: lower first, equal ones by id. `timeout_s`: for each try. `retries`: further tries after a failure.
    `background`: not waited for, its answer ignored; not at gating points.
    """

    id: str
    point: HookPoint
    matcher: HookMatcher = HookMatcher()
    command: str | None = None
    priority: int = 100
    timeout_s: float = 30.0
    retries: int = 0
    background: bool = False

    def __post_init__(self) -> None:
        if not self.id.strip():
            raise ConfigurationError("a hook needs an id")
        if not self.timeout_s > 0:
            raise ConfigurationError(f"hook {self.id!r}: timeout_s={self.timeout_s!r} must be more than 0", hook=self.id)
        if self.retries < 0:
            raise ConfigurationError(f"hook {self.id!r}: retries={self.retries!r} must be 0 or more", hook=self.id)
        if self.background and self.point in GATING:
            raise ConfigurationError(f"hook {self.id!r}: a hook at {self.point} decides, so it cannot run in the background")


class HookResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a hook, or all hooks of a point together, answered.

    `continue`: go on, with `modified` in place of what the payload's `arguments` (or `prompt`, `content`) held if given.
    `block`: do not; `reason` is told. `retry`: ask again after `delay_s`. `skip`: leave the step out without calling it a
    failure. `escalate`: let a person decide. `allow`: go on and do not ask a person (a permission's deny still holds).
    `note`: text added for the model.
    """

    action: Literal["continue", "block", "retry", "skip", "escalate", "allow"] = "continue"
    reason: str | None = None
    modified: dict[str, Any] | None = None
    delay_s: float = 1.0
    note: str | None = None
    hook: str | None = None


CONTINUE = HookResult()
