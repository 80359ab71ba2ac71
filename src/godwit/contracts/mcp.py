"""ToolServers: who connects to the MCP servers of agents.

Leaves out what becomes of a call: a tool of a server is a tool like any other (`tool.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ..core.agent import AgentSpec
from ..core.events import McpUnavailable
from ..core.ids import SessionId
from .tool import Tool


class ServerTools(NamedTuple):
    """The tools of those servers that are connected, in a stable order; and which are not, with what people are told. `due`:
    of those, some are tried for the first time or are to be tried, and a run should wait for them."""

    tools: tuple[Tool, ...] = ()
    missing: tuple[McpUnavailable, ...] = ()
    due: bool = False


class ToolServers(Protocol):
    """Connections to MCP servers. None of its methods raises for what a server does."""

    def known(self, spec: AgentSpec, *, session: SessionId, tenant: str | None, vaults: Sequence[str]) -> ServerTools:
        """What is known now, without waiting."""
        ...

    async def tools(self, spec: AgentSpec, *, session: SessionId, tenant: str | None, vaults: Sequence[str]) -> ServerTools:
        """The same after connecting, for a few seconds at most: a server that takes longer is missing for now, and is still
        tried behind it. `vaults`: with credentials of the session. May be cancelled, which harms no connection."""
        ...
