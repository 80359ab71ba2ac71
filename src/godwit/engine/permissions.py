"""Permissions: what an agent's rules say of a tool. Deny beats allow, allow beats ask, ask beats the default."""

from __future__ import annotations

from fnmatch import fnmatchcase

from ..core.agent import Permissions, Verdict


def verdict(permissions: Permissions, tool: str) -> Verdict:
    """Whether a call of `tool` runs, waits for a person, or is refused."""
    for rules, result in (
        (permissions.deny, "deny"),
        (permissions.allow, "allow"),
        (permissions.ask, "ask"),
    ):
        if any(fnmatchcase(tool, rule) for rule in rules):
            return result  # type: ignore[return-value]  # the literals above are the verdicts
    return permissions.default


def hidden(permissions: Permissions, tool: str) -> bool:
    """True when no call of this tool could ever run: the model is not told of it."""
    return verdict(permissions, tool) == "deny"
