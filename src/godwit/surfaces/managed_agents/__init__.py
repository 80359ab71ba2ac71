"""The Managed Agents dialect: Anthropic's wire protocol for agents, environments and sessions, over godwit's own.

It translates and decides nothing: agents live in `host.agent_registry`, sessions in their logs, environments and what else
only this protocol knows in documents. Its words stay in this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import ManagedAgents

__all__ = ["ManagedAgents"]


def __getattr__(name: str) -> Any:
    if name != "ManagedAgents":
        raise AttributeError(name)
    from .app import ManagedAgents

    return ManagedAgents
