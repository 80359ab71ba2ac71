"""Worker agents: agents written down in a few words, by the kind of work they are for.

Owns the kinds, what each may do and how long, and what becomes of questions. Leaves out files (`host.agent_files`) and where
such agents are registered. Pure. Rules: what a kind is kept from is kept from it by its tools and rules, not by its
instructions; a spec may say less than its kind allows or other rules, but gets no tool that its kind has not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

import msgspec

from .agent import AgentSpec, Limits
from .errors import ConfigurationError
from .ids import AgentName
from .modes import LOOK, LOOKS_ONLY
from .narrowing import INHERIT
from .rules import ConfirmationInheritance, Permissions

CHECKS_ONLY = Permissions(allow=(*LOOK, "bash", "verify"), deny=("write", "edit", "patch"), default="deny")
"""Looking, and commands, but no file tool that writes."""

WorkerKind = Literal["read_only", "planner", "implementer", "verifier", "reviewer", "custom"]
KIND_ALIASES: Mapping[str, WorkerKind] = {
    "readonly": "read_only",
    "explore": "read_only",
    "explorer": "read_only",
    "scanner": "read_only",
    "plan": "planner",
    "implementation": "implementer",
    "general": "implementer",
    "executor": "implementer",
    "verify": "verifier",
    "verification": "verifier",
    "tester": "verifier",
    "review": "reviewer",
    "code_review": "reviewer",
}
"""Other words for the kinds; `-` counts as `_`, and upper case as lower."""


class _Kind(NamedTuple):
    max_steps: int
    tools: tuple[str, ...]
    permissions: Permissions
    role: str


_KINDS: Mapping[WorkerKind, _Kind] = {
    "read_only": _Kind(20, (*LOOK, "bash"), LOOKS_ONLY, "You find things out. You look and read, and change nothing."),
    "planner": _Kind(
        30,
        (*LOOK, "bash"),
        LOOKS_ONLY,
        "You work out a plan: the steps in order, the files each touches. You change nothing.",
    ),
    "implementer": _Kind(
        50, ("files", "bash"), Permissions(), "You do the work that you are asked for, fully and no more, and check it."
    ),
    "verifier": _Kind(
        30,
        (*LOOK, "bash", "verify"),
        CHECKS_ONLY,
        "You find out whether something holds: run the tests and checks that show it, and mend nothing.",
    ),
    "reviewer": _Kind(
        25,
        (*LOOK, "bash"),
        LOOKS_ONLY,
        "You review a change and tell what is wrong with it, the worst first. You mend nothing.",
    ),
    "custom": _Kind(30, ("files", "bash"), Permissions(default="ask"), ""),
}


def kind_of(text: str) -> WorkerKind:
    """The kind that is meant. ConfigurationError."""
    word = text.strip().lower().replace("-", "_")
    for kind in get_args(WorkerKind):
        if word == kind:
            found: WorkerKind = kind
            return found
    if word in KIND_ALIASES:
        return KIND_ALIASES[word]
    raise ConfigurationError(f"kind {text!r} is none of {', '.join(get_args(WorkerKind))}", kind=text)


def permissions_of_kind(kind: str) -> Permissions:
    """What an agent of this kind may do. ConfigurationError."""
    return _KINDS[kind_of(kind)].permissions


class WorkerAgentSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """An agent by the kind of its work. What is None is as the kind says.

    `prompt`: said to it behind what its kind is told. `model`: `provider:model`; None: the models of whoever it works for.
    `max_steps`: turns of a run, by default 20 (read_only), 30 (planner, verifier, custom), 50 (implementer), 25 (reviewer).
    `hidden`: models are not told of it. `confirmation_inheritance`: by default auto_approve where `permissions` allow
    something, otherwise inherit_parent. ConfigurationError for a kind that is none.
    """

    name: str
    description: str
    kind: str = "custom"
    hidden: bool = False
    permissions: Permissions | None = None
    model: str | None = None
    prompt: str | None = None
    max_steps: int | None = None
    confirmation_inheritance: ConfirmationInheritance | None = None

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "kind", kind_of(self.kind))

    def agent(self) -> AgentSpec:
        """The agent that this comes to. ConfigurationError."""
        kind = _KINDS[kind_of(self.kind)]
        given = self.permissions
        return definition(
            self.name,
            self.description,
            prompt="\n\n".join(filter(None, (kind.role, self.prompt))),
            model=self.model,
            tools=kind.tools,
            permissions=kind.permissions if given is None else given,
            max_steps=kind.max_steps if self.max_steps is None else self.max_steps,
            hidden=self.hidden,
            confirmation=self.confirmation_inheritance
            or ("auto_approve" if given is not None and given.allow else "inherit_parent"),
        )


def definition(
    name: str,
    description: str,
    *,
    prompt: str,
    model: str | None,
    tools: tuple[str, ...],
    permissions: Permissions,
    max_steps: int | None,
    hidden: bool,
    confirmation: ConfirmationInheritance,
) -> AgentSpec:
    """An agent of its own subagents' kind. ConfigurationError."""
    checked_name(name)
    return AgentSpec(
        AgentName(name),
        (INHERIT,) if model is None else (model,),
        prompt,
        description,
        tools,
        permissions=permissions,
        limits=Limits() if max_steps is None else Limits(max_turns=max_steps),
        hidden=hidden,
        confirmation_inheritance=confirmation,
    )


_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def checked_name(name: str) -> str:
    """The name of an agent that models and rules call by it. ConfigurationError."""
    if not name.strip():
        raise ConfigurationError("an agent needs a name")
    if len(name) > 64 or not name[0].isalnum() or set(name) - _NAME_CHARACTERS:
        raise ConfigurationError(
            f"agent name {name!r}: letters, digits and . _ - only, 1 to 64 of them, a letter or digit first", name=name
        )
    return name


__all__ = [
    "CHECKS_ONLY",
    "KIND_ALIASES",
    "LOOK",
    "LOOKS_ONLY",
    "WorkerAgentSpec",
    "WorkerKind",
    "checked_name",
    "definition",
    "kind_of",
    "permissions_of_kind",
]
