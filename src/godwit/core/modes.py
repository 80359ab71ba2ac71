"""Modes: what a session may do for a while, by a name that people switch.

Owns the built-in ones and what a mode is as data. Leaves out how its rules are held (`engine.permissions`). Rules: a mode
takes away and never gives: what the agent's rules refuse stays refused in every mode; it holds where a call is about to
run, whatever the model was told; those who work for the session are held to it as well.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from .errors import ConfigurationError, InvalidArgument
from .rules import Permissions

LOOK = ("read", "ls", "glob", "grep")
"""Tools that look at files."""
_SHELL_LOOKS = tuple(
    f"bash({command}:*)"
    for command in ("ls", "cat", "head", "tail", "wc", "find", "grep", "rg", "file", "stat", "git log", "git show",
                    "git diff", "git status", "git blame", "git ls-files")
)  # fmt: skip
LOOKS_ONLY = Permissions(allow=(*LOOK, "web_fetch", "web_search", *_SHELL_LOOKS), default="deny")
"""Nothing but looking, with commands as well."""


class Mode(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a session may do while it is in this mode, beside what its agent's rules say.

    `permissions`: the rules; with `default="deny"` what they do not allow is refused. `looks`: tools that change nothing
    are allowed, whatever they are called. `note`: what the model is told with each message while the mode holds.
    ConfigurationError.
    """

    name: str
    permissions: Permissions = Permissions()
    looks: bool = False
    note: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        if not self.name or not self.name.isprintable() or len(self.name) > 50 or " " in self.name:
            raise ConfigurationError(f"mode {self.name!r}: a name is one word of up to 50 characters", mode=self.name)


BUILD = Mode("build", description="All that the agent's rules let it do.")
PLAN = Mode(
    "plan",
    msgspec.structs.replace(LOOKS_ONLY, allow=(*LOOKS_ONLY.allow, "task")),
    looks=True,
    note="You are in plan mode: find out what there is and work out a plan. Nothing may be changed; calls that would change"
    " something are refused until a person ends this mode.",
    description="Looks and plans; what would change something is refused.",
)
BUILT_IN: tuple[Mode, ...] = (BUILD, PLAN)


def modes_of(own: Iterable[Mode]) -> dict[str, Mode]:
    """The built-in modes and an agent's own by name; its own count where it has one of the same name."""
    return {mode.name: mode for mode in (*BUILT_IN, *own)}


def mode_named(name: str, own: Iterable[Mode]) -> Mode:
    """InvalidArgument when there is none of this name."""
    known = modes_of(own)
    if name not in known:
        raise InvalidArgument(f"there is no mode {name!r}: there are {', '.join(known)}", mode=name)
    return known[name]
