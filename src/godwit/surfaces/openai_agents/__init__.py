"""The OpenAI Agents dialect: `client.beta.agents` of the `openai` packages, over godwit's own agents and sessions.

It translates and decides nothing: agents live in `host.agent_registry`, sessions in their logs, and all that is shown of a
session is folded from its log. Its words stay in this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import OpenAIAgents

__all__ = ["OpenAIAgents"]


def __getattr__(name: str) -> Any:
    if name != "OpenAIAgents":
        raise AttributeError(name)
    from .app import OpenAIAgents

    return OpenAIAgents
