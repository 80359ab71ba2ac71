"""Verification: checks, reports, and what they add up to. The status rules are those of seed 001.

A report's status: any failed check makes it failed; else a required check that is not passed, or a residual risk, makes it
need review; else no checks is skipped; else it passed.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from .errors import ConfigurationError

VerificationStatus = Literal["passed", "failed", "needs_review", "skipped"]


class VerificationCommand(msgspec.Struct, frozen=True, omit_defaults=True):
    """A command whose exit code says whether a claim holds. `timeout_s`: None takes the tool's default."""

    id: str
    command: str
    kind: str = "command"
    description: str = ""
    required: bool = True
    timeout_s: float | None = None

    def __post_init__(self) -> None:
        if not self.id.strip() or not self.command.strip():
            raise ConfigurationError(f"a verification command needs an id and a command: {self!r}")
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise ConfigurationError(
                f"verification command {self.id!r}: timeout_s={self.timeout_s!r} must be more than 0", value=self.timeout_s
            )


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was looked at. `evidence`: artifact refs and log seqs (`seq:12`) that show it."""

    id: str
    kind: str = "command"
    description: str = ""
    status: VerificationStatus = "needs_review"
    required: bool = True
    suggested_tools: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    residual_risk: str | None = None


class VerificationReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was found out about `subject`. `at_ms`: wall time. `source`: `commands`, `run` or who reported from outside."""

    subject: str
    checks: tuple[Check, ...] = ()
    residual_risks: tuple[str, ...] = ()
    at_ms: int = 0
    source: str = "commands"


class VerificationPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a run may call itself done: only after these commands pass (an agent option).

    `commands`: what to run; `presets`: also those found from the workspace's files. `max_attempts`: how often failures are
    given back to the model before the run ends as failed. `only_if_changed`: skip it in runs that changed no file.
    """

    commands: tuple[VerificationCommand, ...] = ()
    presets: bool = False
    max_attempts: int = 3
    only_if_changed: bool = True

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ConfigurationError(
                f"verification max_attempts={self.max_attempts!r} must be at least 1", value=self.max_attempts
            )
        if not self.commands and not self.presets:
            raise ConfigurationError("a verification policy needs commands, or presets=True")
        ids = [c.id for c in self.commands]
        if len(set(ids)) != len(ids):
            raise ConfigurationError(f"two verification commands share an id: {ids}", ids=ids)
