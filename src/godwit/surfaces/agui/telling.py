"""Telling: what the model learns of a front end beside what its user says: instructions and context of the application.

It stands behind the message with which it comes, and only when it has changed, so what a request begins with stays the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from ...core.messages import Text
from .inputs import AssistantMessage, DeveloperMessage, RunAgentInput, SystemMessage

NOTHING = ""
"""The digest of nothing to tell."""


def told_of(given: RunAgentInput, unknown: Sequence[AssistantMessage]) -> tuple[Text | None, str]:
    """What the model is to be told, and its digest. `unknown`: what agents have said in this thread before it came here."""
    parts: list[str] = []
    said = [
        one.content for one in given.messages if isinstance(one, SystemMessage | DeveloperMessage) and one.content.strip()
    ]
    if said:
        parts.append("Instructions of the application:\n" + "\n\n".join(said))
    if given.context:
        lines = [f"- {one.description}: {one.value}" if one.description else f"- {one.value}" for one in given.context]
        parts.append("What the application shows and knows:\n" + "\n".join(lines))
    digest = hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()[:16] if parts else NOTHING
    earlier = [one.content for one in unknown if one.content]
    if earlier:
        parts.insert(0, "Said before in this conversation, by the assistant:\n" + "\n\n".join(earlier))
    return (Text("\n\n".join(["[from the application]", *parts])) if parts else None), digest


__all__ = ["NOTHING", "told_of"]
