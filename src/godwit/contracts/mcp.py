"""ToolServers: who connects to the MCP servers of agents.

Leaves out what becomes of a call: a tool of a server is a tool like any other (`tool.py`).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from ..core.agent import AgentSpec
from ..core.events import McpUnavailable
from ..core.ids import SessionId
from ..core.mcp import McpServer, McpStatus
from .tool import Tool


class ServerTools(NamedTuple):
    """The tools of those servers that are connected, in a stable order; and which are not, with what people are told. `due`:
    of those, some are tried for the first time or are to be tried, and a run should wait for them."""

    tools: tuple[Tool, ...] = ()
    missing: tuple[McpUnavailable, ...] = ()
    due: bool = False


class ServedSession(NamedTuple):
    """The session that servers are connected for. `vaults`: with credentials of it; `folder`: that its tools work in."""

    id: SessionId
    tenant: str | None = None
    vaults: tuple[str, ...] = ()
    folder: str | None = None


class ToolServers(Protocol):
    """Connections to MCP servers. None of its methods raises for what a server does."""

    def known(self, spec: AgentSpec, of: ServedSession, /) -> ServerTools:
        """What is known now, without waiting."""
        ...

    async def tools(self, spec: AgentSpec, of: ServedSession, /) -> ServerTools:
        """The same after connecting, for a few seconds at most: a server that takes longer is missing for now, and is still
        tried behind it. May be cancelled, which harms no connection."""
        ...

    async def connect(self, server: McpServer, of: ServedSession, /) -> McpStatus:
        """Connect to this server at once, also where it has failed just before, for as long as it may take."""
        ...

    def status(self, spec: AgentSpec, of: ServedSession, /) -> tuple[McpStatus, ...]:
        """How it is with each server of the agent, in its order."""
        ...

    async def leave(self, server: McpServer, of: ServedSession, /) -> None:
        """This session needs the server no more."""
        ...
