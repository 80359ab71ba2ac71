"""Permissions: what an agent's rules say of a tool. Deny beats allow, allow beats ask, ask beats the default."""

from __future__ import annotations

from ..core.rules import Permissions, Verdict, covers, parse, total


def verdict(permissions: Permissions, tool: str) -> Verdict:
    """Whether a call of `tool` runs, waits for a person, or is refused, by its name alone.

    A rule with a pattern needs the arguments: where one denies or asks, a person is asked.
    """
    denied, allowed, asked = (
        [rule for rule in map(parse, rules) if covers(rule, tool)]
        for rules in (permissions.deny, permissions.allow, permissions.ask)
    )
    if any(map(total, denied)):
        return "deny"
    if denied:
        return "ask"
    if any(map(total, allowed)):
        return "allow"
    return "ask" if asked else permissions.default


def hidden(permissions: Permissions, tool: str) -> bool:
    """True when no call of this tool could ever run: the model is not told of it."""
    return verdict(permissions, tool) == "deny" and not any(covers(parse(rule), tool) for rule in permissions.allow)
