"""RemoteServers: the part of a remote handle that gives its session further MCP servers; see `engine.live_servers`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.mcp import McpServer, McpStatus, mcp_server
from .connection import segment
from .handle import RemoteHandle
from .shapes import Changed, Counted, Listed


class RemoteServers(RemoteHandle):
    """MCP servers that are added and removed while a session lives."""

    async def add_mcp_server(self, server: McpServer | Mapping[str, Any], *, connect: bool = True) -> int:
        """Give the session this MCP server, and return how many tools it has of it; it is the server that connects.

        ConfigurationError; McpServerFailed when it cannot be connected; PermissionDenied for one that is a program or is
        given secrets, without the scope `admin`.
        """
        body = {"server": mcp_server(server), "connect": connect}
        return (await self._post("/mcp_servers", Counted, body)).count

    async def remove_mcp_server(self, name: str) -> bool:
        """Take the MCP server of this name from the session; False when it has none of that name."""
        return (await self._post(f"/mcp_servers/{segment(name)}", Changed, method="DELETE")).changed

    async def mcp_status(self) -> dict[str, McpStatus]:
        """How it is with each MCP server of the session on the server, by their names."""
        return {status.name: status for status in (await self._get("/mcp_servers", Listed[McpStatus])).data}


__all__ = ["RemoteServers"]
