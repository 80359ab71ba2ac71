"""Telling: what the model learns of a front end beside what its user says: instructions and context of the application.

It stands behind the message with which it comes, and only when it has changed, so what a request begins with stays the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from ...core.messages import Text
from .content import TextPart
from .inputs import AnyMessage, AssistantMessage, DeveloperMessage, RunAgentInput, SystemMessage, UserMessage

NOTHING = ""
"""The digest of nothing to tell."""


def told_of(given: RunAgentInput, before: Sequence[AnyMessage]) -> tuple[Text | None, str]:
    """What the model is to be told, and its digest. `before`: what was said in this thread before it came here."""
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
    if earlier := [line for line in map(_line, before) if line]:
        parts.insert(0, "Said before in this conversation:\n" + "\n\n".join(earlier))
    return (Text("\n\n".join(["[from the application]", *parts])) if parts else None), digest


def _line(message: AnyMessage) -> str:
    """What a message of a conversation says, and who."""
    match message:
        case AssistantMessage(content=content) if content:
            return f"Assistant: {content}"
        case UserMessage(content=content):
            text = content if isinstance(content, str) else "\n".join(p.text for p in content if isinstance(p, TextPart))
            return f"User: {text}" if text.strip() else ""
        case _:
            return ""


__all__ = ["NOTHING", "told_of"]
