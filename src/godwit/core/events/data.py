"""Data, of which all events are made, and the words that several of them use."""

from __future__ import annotations

from typing import Literal

import msgspec

Delivery = Literal["prompt", "steer", "follow_up"]
Decision = Literal["approve", "deny", "result"]
ActionKind = Literal["approval", "question", "external", "task"]
"""A `task` waits for children of the session and is answered by nobody else."""
RunOutcome = Literal["done", "interrupted", "failed", "limited"]
Origin = Literal["model", "direct", "verification"]
"""Who asked for a call: the model in its turn, the host on the session, or a verification. Only the first makes messages."""
Remember = Literal["session", "always"]
"""How far an answer to an approval goes beyond its call."""


class Labels(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Opaque strings of the host, carried and never interpreted (seed 001)."""

    tenant: str | None = None
    principal: str | None = None
    agent_template: str | None = None
    correlation: str | None = None


class Data(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="type"):
    """Base of all events' own content."""
