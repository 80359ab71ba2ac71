"""Narrowing: what an agent becomes when it works for another one: never allowed more, often less.

Pure. Permission rules and hooks are not here: they hold as they stand at the moment of a call, so the engine asks those of
all sessions above as well. Rule: every field of an agent that opens something is looked at here; a new one belongs here too.
"""

from __future__ import annotations

import msgspec

from .agent import AgentSpec, Limits
from .rules import ApprovalPolicy
from .sandbox import ENVIRONMENT, SandboxPolicy, tightened

INHERIT = "inherit"
"""In place of an agent's models: those of the agent it works for."""


def narrowed(child: AgentSpec, parent: AgentSpec, *, max_turns: int | None = None) -> AgentSpec:
    """The child's agent as it may work for `parent`. `max_turns`: of this task. ConfigurationError when the two sandboxes
    contradict each other."""
    return msgspec.structs.replace(
        child,
        models=parent.models if child.models == (INHERIT,) else child.models,
        limits=_limits(child.limits, parent.limits, max_turns),
        approvals=_approvals(child.approvals, parent.approvals),
        sandbox=_sandbox(child.sandbox, parent.sandbox),
        checkpoints=child.checkpoints if parent.checkpoints.enabled else parent.checkpoints,
    )


def _limits(child: Limits, parent: Limits, max_turns: int | None) -> Limits:
    of_children = ("max_depth", "max_children", "max_descendants")
    lower = {name: min(getattr(child, name), getattr(parent, name)) for name in of_children}
    if max_turns is not None:
        lower["max_turns"] = min(child.max_turns, max_turns)
    return msgspec.structs.replace(child, **lower)


def _approvals(child: ApprovalPolicy, parent: ApprovalPolicy) -> ApprovalPolicy:
    timeout_s = parent.timeout_s if child.timeout_s is None else child.timeout_s
    approves = parent.on_timeout == "approve" and parent.timeout_s is not None
    if child.timeout_s is not None:
        approves = approves and child.on_timeout == "approve"
    return ApprovalPolicy(
        timeout_s, "approve" if approves else "deny", tuple(lane for lane in child.auto if lane in parent.auto)
    )


def _sandbox(child: SandboxPolicy, parent: SandboxPolicy) -> SandboxPolicy:
    both = tightened(child, parent)
    return msgspec.structs.replace(
        both,
        backend=child.backend if parent.backend == "auto" else parent.backend,
        network=child.network and parent.network,
        unix_sockets=child.unix_sockets and parent.unix_sockets,
        writable=tuple(path for path in child.writable if _within(path, parent.writable)),
        readable=tuple(path for path in child.readable if _within(path, parent.readable)),
        environment=_environment(child.environment, parent.environment),
        links=parent.links,
    )


def _within(path: str, folders: tuple[str, ...]) -> bool:
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)


def _environment(child: tuple[str, ...] | None, parent: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if child is None:
        return parent
    allowed = ENVIRONMENT if parent is None else parent
    return tuple(name for name in child if any(_covers(rule, name) for rule in allowed))


def _covers(rule: str, name: str) -> bool:
    return name == rule or (rule.endswith("*") and name.startswith(rule[:-1]))


__all__ = ["INHERIT", "narrowed"]
