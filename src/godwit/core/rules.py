"""Permission rules as a person writes them: `Tool` or `Tool(pattern)`, read once, matched often.

Pure text and rules. Leaves out what a call's argument text is (each tool's business) and how a shell command falls into
parts (`contracts.ShellParser`). Rules a change must keep: a rule that cannot be read is refused where it is given, never
read as another one; `*` stops at `/`, `**` crosses it; `:*` is a prefix on whole words.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from .errors import ConfigurationError

Verdict = Literal["allow", "ask", "deny"]
Lane = Literal["control", "query", "execute", "generate"]
"""Kinds of work, as lanes name them: `query` only reads, `execute` may change something (seed 001)."""


class Permissions(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which calls may run. Entries are rules; deny beats allow beats ask beats `default`."""

    allow: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    default: Verdict = "allow"

    def __post_init__(self) -> None:
        for rule in (*self.allow, *self.ask, *self.deny):
            if not rule:
                raise ConfigurationError(f"permission rule {rule!r} names no tool", rule=rule)


class ApprovalPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """How calls that must be approved are treated.

    `timeout_s`: seconds after which a pending approval is answered by itself, as `on_timeout` says; None (the default)
    waits for as long as it takes. `auto`: kinds of work that are approved without asking.
    """

    timeout_s: float | None = None
    on_timeout: Literal["deny", "approve"] = "deny"
    auto: tuple[Lane, ...] = ()

    def __post_init__(self) -> None:
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise ConfigurationError(
                f"approval timeout_s={self.timeout_s!r} must be more than 0 seconds, or None to wait", value=self.timeout_s
            )
