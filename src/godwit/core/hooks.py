"""Hooks as data: the points of a session's life, what a hook is called for, what it may answer, and how answers combine.

Pure: calling handlers, their timeouts and failures are the business of `engine/hook_calls.py`. Names of other systems for
the same points (`PreToolUse`, `pre_tool_use`) are read as aliases and never written. Rules a change must keep: a name that
is not known is refused where it is given; an answer that makes no sense at its point is a failure of its hook, never a "go
on"; of several answers the stricter one wins, whatever the order of the hooks.
"""

from __future__ import annotations

import math
from difflib import get_close_matches
from typing import Any, Literal, get_args

import msgspec

from .errors import ConfigurationError
from .messages import ResultBlock, UserBlock, text_of

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
    "before_compaction", "after_compaction",  # a summary is to stand for / stands for older messages
    "before_command", "after_command",  # slash commands
    "on_error", "on_rate_limit",
]  # fmt: skip
POINTS: tuple[HookPoint, ...] = get_args(HookPoint)

GATING: frozenset[HookPoint] = frozenset(
    (
        "before_prompt", "before_run", "before_turn", "before_model", "before_tool", "before_approval", "before_finish",
        "before_restore", "before_verification", "before_compaction", "before_command",
    )
)  # fmt: skip
"""Points at which a hook that fails, hangs or answers nonsense blocks; elsewhere its failure is recorded and passed over."""

SKIPPABLE: frozenset[HookPoint] = frozenset(
    ("before_prompt", "before_tool", "before_restore", "before_verification", "before_command")
)
"""Points whose step may be left out by `skip`."""

ASKING: frozenset[HookPoint] = frozenset(
    ("before_prompt", "before_run", "before_turn", "before_model", "before_tool", "before_approval", "before_finish")
)
"""Points at which a person can be asked by `escalate`; at other gating points it blocks, since nobody can be waited for."""

MODIFIABLE: dict[HookPoint, tuple[str, ...]] = {
    "before_prompt": ("prompt", "content"),
    "before_tool": ("arguments",),
    "after_tool": ("result", "content"),
    "before_compaction": ("focus", "summary"),
    "before_command": ("arguments",),
}
"""Keys of the payload that `modified` may replace. At before_tool `modified` is the new arguments themselves."""

PAYLOAD: dict[HookPoint, tuple[str, ...]] = {
    "before_session": ("source", "agent", "model"),
    "after_session": ("reason",),
    "before_prompt": ("prompt", "content", "input", "delivery", "sender"),
    "after_prompt": ("prompt", "content", "input", "delivery", "sender"),
    "before_run": ("resumes", "detached"),
    "after_run": ("outcome", "error", "usage", "turns", "tool_calls", "text"),
    "before_turn": ("turn", "turns"),
    "after_turn": ("turn", "calls"),
    "before_model": ("turn", "model", "retry", "messages"),
    "after_model": ("turn", "model", "message", "text", "calls", "stop", "usage"),
    "before_tool": ("tool", "call", "arguments", "read_only", "origin"),
    "after_tool": (
        "tool", "call", "arguments", "origin", "status", "result", "content", "exit_code", "duration_ms",
    ),
    "before_approval": ("tool", "call", "arguments", "reason"),
    "after_approval": ("tool", "call", "arguments", "decision", "reason", "sender"),
    "before_finish": ("text", "stop_hook_active", "held"),
    "after_finish": ("outcome", "error", "usage", "turns", "tool_calls", "text"),
    "before_checkpoint": ("when", "turn"),
    "after_checkpoint": ("when", "turn", "ref", "error"),
    "before_restore": ("ref", "paths"),
    "after_restore": ("ref", "result", "left", "error"),
    "before_verification": ("subject", "source", "commands"),
    "after_verification": ("subject", "source", "status", "checks", "seq"),
    "before_compaction": ("trigger", "focus", "summary", "messages", "tokens"),
    "after_compaction": (
        "trigger", "focus", "summary", "messages_before", "messages_after", "tokens_before", "tokens_after", "seq",
    ),
    "before_command": ("name", "arguments", "sender"),
    "after_command": ("name", "arguments", "sender", "text", "is_error"),
    "on_error": ("code", "message", "model", "will_retry", "where"),
    "on_rate_limit": ("code", "message", "model", "will_retry", "delay_ms"),
}  # fmt: skip
"""What a hook is told at each point: the keys of its payload."""

NOTED: frozenset[HookPoint] = frozenset(("before_session", "before_prompt", "before_tool", "after_tool"))
"""Points whose `note` reaches the model."""

ALIASES: dict[str, HookPoint] = {
    # Claude Code
    "SessionStart": "before_session",
    "SessionEnd": "after_session",
    "UserPromptSubmit": "before_prompt",
    "PreToolUse": "before_tool",
    "PostToolUse": "after_tool",
    "PostToolUseFailure": "after_tool",
    "PermissionRequest": "before_approval",
    "Stop": "before_finish",
    "StopFailure": "on_error",
    "PreCompact": "before_compaction",
    "PostCompact": "after_compaction",
    # seed 001
    "session_start": "before_session",
    "session_end": "after_session",
    "pre_prompt": "before_prompt",
    "post_response": "after_finish",
    "pre_tool_use": "before_tool",
    "post_tool_use": "after_tool",
    "permission_request": "before_approval",
    "on_confirmation": "after_approval",
    "generate_start": "before_model",
    "generate_end": "after_model",
    "on_success": "after_finish",
    "pre_compact": "before_compaction",
    "post_compact": "after_compaction",
}
"""What others call our points. `on_error` and `on_rate_limit` are called the same."""

LATER: dict[str, str] = {
    "pre_context_perception": "context providers",
    "post_context_perception": "context providers",
    "pre_memory_recall": "memory",
    "post_memory_recall": "memory",
    "skill_load": "skills",
    "skill_unload": "skills",
    "SubagentStart": "subagents",
    "SubagentStop": "subagents",
    "TaskCreated": "subagents",
    "TaskCompleted": "subagents",
    "pre_planning": "planning",
    "post_planning": "planning",
    "pre_reasoning": "planning",
    "post_reasoning": "planning",
    "intent_detection": "planning",
}
"""Points of others that belong to a capability that is not there yet."""

ABSENT: dict[str, str] = {
    "Notification": "godwit sends no notifications: use before_approval, which is called when a person is about to be asked",
    "PermissionDenied": "a call that did not run has no after_tool: follow the event tool.finished with the status denied",
    "Setup": 'use before_session with when = {source = "startup"}',
}
"""Points of others that have none here, and what to do."""

_SAID_BY_CLAUDE: dict[HookPoint, str] = {
    "before_session": "SessionStart",
    "after_session": "SessionEnd",
    "before_prompt": "UserPromptSubmit",
    "before_tool": "PreToolUse",
    "after_tool": "PostToolUse",
    "before_approval": "PermissionRequest",
    "before_finish": "Stop",
    "on_error": "StopFailure",
    "before_compaction": "PreCompact",
    "after_compaction": "PostCompact",
}


CLAUDE_TOOLS = {
    "bash": "Bash",
    "edit": "Edit",
    "glob": "Glob",
    "grep": "Grep",
    "ls": "LS",
    "patch": "Edit",
    "read": "Read",
    "task": "Task",
    "web_fetch": "WebFetch",
    "web_search": "WebSearch",
    "write": "Write",
}
"""What Claude Code calls our tools; all others are called the same."""


def point_named(name: str) -> HookPoint:
    """The point of this name, or of this alias. ConfigurationError."""
    if name in POINTS:
        return name
    alias = ALIASES.get(name)
    if alias is not None:
        return alias
    if name in LATER:
        raise ConfigurationError(
            f"hook point {name!r} belongs to {LATER[name]}, which this version of godwit does not have yet", point=name
        )
    if name in ABSENT:
        raise ConfigurationError(f"there is no hook point {name!r}: {ABSENT[name]}", point=name)
    close = get_close_matches(str(name), [*POINTS, *ALIASES], n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(POINTS)}"
    raise ConfigurationError(f"there is no hook point {name!r}: {hint}", point=name)


def claude_name(point: HookPoint) -> str | None:
    """What Claude Code calls the point, if it has it."""
    return _SAID_BY_CLAUDE.get(point)


class HookMatcher(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a hook is called; all fields that are set must match. An empty one matches everything.

    `tool`: a tool's name, without regard to case; `*` and `?` and `|` between alternatives allowed. `tool_regex`: a regular
    expression searched in the tool's name. `path`: a glob on the call's file: `*` stops at `/`, `**` crosses it, one without
    `/` holds in every folder. `command`: a regular expression searched in a shell command. `when`: keys of the payload and
    what they must be, `|` between alternatives. A field about something that the point does not have never matches.
    """

    tool: str | None = None
    tool_regex: str | None = None
    path: str | None = None
    command: str | None = None
    when: dict[str, str] = {}


class HookSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """A hook: where it is called, when, and how. Without `command` it needs a handler in the process.

    `point` may be given by an alias. `priority`: lower first, equal ones by id. `timeout_s`: per try. `retries`: further
    tries after a failure. `background`: not waited for, its answer ignored; not at gating points. `required`: at a gating
    point it blocks while it has neither command nor handler; otherwise it lets everything pass then (seed 001).
    """

    id: str
    point: HookPoint
    matcher: HookMatcher = HookMatcher()
    command: str | None = None
    priority: int = 100
    timeout_s: float = 30.0
    retries: int = 0
    background: bool = False
    required: bool = False

    def __post_init__(self) -> None:
        if not self.id.strip():
            raise ConfigurationError("a hook needs an id")
        try:
            point = point_named(self.point)
        except ConfigurationError as error:
            raise ConfigurationError(f"hook {self.id!r}: {error.message}", hook=self.id, point=self.point) from None
        if point != self.point:
            msgspec.structs.force_setattr(self, "point", point)
        if self.command is not None and not self.command.strip():
            raise ConfigurationError(f"hook {self.id!r}: its command is empty", hook=self.id)
        if not 0 < self.timeout_s < math.inf:
            raise ConfigurationError(
                f"hook {self.id!r}: timeout_s={self.timeout_s!r} must be more than 0 and finite", hook=self.id
            )
        if self.retries < 0:
            raise ConfigurationError(f"hook {self.id!r}: retries={self.retries!r} must be 0 or more", hook=self.id)
        if self.background and self.point in GATING:
            raise ConfigurationError(f"hook {self.id!r}: a hook at {self.point} decides, so it cannot run in the background")


HookAction = Literal["continue", "block", "retry", "skip", "escalate", "allow"]


class HookResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a hook, or all hooks of a point together, answered.

    `continue`: go on, with `modified` in place of what the payload's `arguments` (or `prompt`, `content`, `result`) held if
    given. `block`: do not; `reason` is told. `retry`: ask again after `delay_s`. `skip`: leave the step out without calling
    it a failure. `escalate`: let a person decide. `allow`: go on and do not ask a person (a permission's deny still holds).
    `note`: text added for the model. `message`: text shown to people. `end_run`: the run ends as interrupted.
    Set by the engine: `hook`, the one that decided; `failed`, a block because it failed.
    """

    action: HookAction = "continue"
    reason: str | None = None
    modified: dict[str, Any] | None = None
    delay_s: float = 1.0
    note: str | None = None
    hook: str | None = None
    message: str | None = None
    failed: bool = False
    end_run: bool = False


CONTINUE = HookResult()

INTERRUPTED = HookResult("block", reason="interrupted while a hook was asked")
"""What hooks come to when the run is interrupted meanwhile: nothing may begin, and there is nothing to record."""

_TEXTS = ("reason", "note", "message")


def problem_of(point: HookPoint, result: object) -> str | None:
    """Why this cannot be a hook's answer at `point`, or None when it can."""
    if not isinstance(result, HookResult):
        return f"it answered {type(result).__name__}, which is no HookResult"
    if result.action not in get_args(HookAction):
        return f"it answered with the unknown action {result.action!r}"
    for name in _TEXTS:
        value = getattr(result, name)
        if value is not None and not isinstance(value, str):
            return f"its {name} is {type(value).__name__}, not text"
    delay_s: Any = result.delay_s
    if isinstance(delay_s, bool) or not isinstance(delay_s, int | float) or not 0 <= delay_s < math.inf:
        return f"its delay_s is {delay_s!r}"
    if result.action == "skip" and point in GATING and point not in SKIPPABLE:
        return f"it answered skip, but what happens at {point} cannot be left out"
    if result.modified is None:
        return None
    if not isinstance(result.modified, dict):
        return f"its modified is {type(result.modified).__name__}, not an object"
    keys = MODIFIABLE.get(point)
    if keys is None:
        return f"it answered with modified, but nothing can be modified at {point}"
    if point != "before_tool" and (not result.modified or set(result.modified) - set(keys)):
        return f"its modified has the keys {sorted(map(str, result.modified))}; at {point} it may have {', '.join(keys)}"
    return None


def folded(before: HookResult, answer: HookResult) -> HookResult:
    """All answers so far and the next one as one: the stricter action, the last `modified`, all texts.

    block, retry and skip end the chain, so nothing comes after them. escalate goes on, since a later block still holds.
    """
    modified = answer.modified if answer.modified is not None else before.modified
    stricter = _STRICTNESS[answer.action] - _STRICTNESS[before.action]
    ends = answer.end_run and not before.end_run and answer.action == "continue"
    decides = answer if stricter > 0 or (stricter == 0 and ends) else before
    return HookResult(
        decides.action,
        decides.reason,
        modified,
        decides.delay_s,
        _joined(before.note, answer.note),
        answer.hook if decides.action == "continue" and answer.modified is not None else decides.hook,
        _joined(before.message, answer.message),
        decides.failed,
        before.end_run or answer.end_run,
    )


ENDS_CHAIN: frozenset[HookAction] = frozenset(("block", "retry", "skip"))
_STRICTNESS: dict[HookAction, int] = {"continue": 0, "allow": 1, "escalate": 2, "skip": 3, "retry": 4, "block": 5}


def _joined(one: str | None, other: str | None) -> str | None:
    return "\n".join(text for text in (one, other) if text) or None


def subject(payload: dict[str, Any]) -> tuple[str | None, str | None, str | None]:
    """What matchers look at: the tool, its file and its shell command, as far as there are such."""
    tool, arguments = payload.get("tool"), payload.get("arguments")
    if not isinstance(tool, str):
        return None, None, None
    if not isinstance(arguments, dict):
        return tool, None, None
    path = next((v for k in ("file_path", "path") if isinstance(v := arguments.get(k), str)), None)
    command = arguments.get("command")
    return tool, path, command if isinstance(command, str) else None


def applied(point: HookPoint, payload: dict[str, Any], modified: dict[str, Any]) -> dict[str, Any]:
    """The payload as the next hook sees it, and as the engine takes it. ValueError when it cannot be that."""
    if point == "before_tool":
        return {**payload, "arguments": modified}
    if point == "before_command":
        if not isinstance(modified["arguments"], str):
            raise ValueError("its modified arguments are no text, as the arguments of a slash command are")
        return {**payload, "arguments": modified["arguments"]}
    if point == "before_compaction":
        for key, value in modified.items():
            if not isinstance(value, str) or (key == "summary" and not value.strip()):
                raise ValueError(f"its modified {key} is no text, or an empty one")
        return {**payload, **modified}
    text = "prompt" if point == "before_prompt" else "result"
    given = modified.get("content", modified.get(text))
    if isinstance(given, str):
        others = [] if "content" in modified else [b for b in payload.get("content", ()) if b.get("type") != "text"]
        given = [{"type": "text", "text": given}, *others]
    try:
        blocks = msgspec.convert(given, tuple[UserBlock, ...] if point == "before_prompt" else tuple[ResultBlock, ...])
    except msgspec.ValidationError as error:
        raise ValueError(f"its modified {text} cannot be read: {error}") from None
    if not blocks:
        raise ValueError(f"its modified {text} is empty")
    return {**payload, text: text_of(blocks), "content": msgspec.to_builtins(list(blocks))}


__all__ = [
    "ALIASES",
    "ASKING",
    "CLAUDE_TOOLS",
    "CONTINUE",
    "ENDS_CHAIN",
    "GATING",
    "INTERRUPTED",
    "LATER",
    "MODIFIABLE",
    "NOTED",
    "PAYLOAD",
    "POINTS",
    "SKIPPABLE",
    "HookAction",
    "HookMatcher",
    "HookPoint",
    "HookResult",
    "HookSpec",
    "applied",
    "claude_name",
    "folded",
    "point_named",
    "problem_of",
    "subject",
]
