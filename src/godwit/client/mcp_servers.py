"""RemoteServers: the part of a remote handle that gives its session further MCP servers; see `engine.live_servers`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.mcp import McpServer, McpStatus, mcp_server
from ..core.mcp_oauth import McpLogin
from .connection import segment
from .handle import RemoteHandle
from .shapes import Changed, Counted, Listed, Opened


class RemoteServers(RemoteHandle):
    """MCP servers that are added and removed while a session lives."""

    async def add_mcp_server(self, server: McpServer | Mapping[str, Any], *, connect: bool = True) -> int:
        """Give the session this MCP server, and return how many tools it has of it; it is the server that connects.
        `tool_names` tells of them then.

        ConfigurationError; McpServerFailed when it cannot be connected; PermissionDenied for one that is a program or is
        given secrets, without the scope `admin`.
        """
        body = {"server": mcp_server(server), "connect": connect}
        count = (await self._post("/mcp_servers", Counted, body)).count
        await self._read_again()
        return count

    async def remove_mcp_server(self, name: str) -> bool:
        """Take the MCP server of this name from the session; False when it has none of that name."""
        changed = (await self._post(f"/mcp_servers/{segment(name)}", Changed, method="DELETE")).changed
        await self._read_again()
        return changed

    async def _read_again(self) -> None:
        """What this handle tells without asking, such as `tool_names`."""
        opened = await self._get("", Opened)
        self._config, self._tools = opened.config, opened.tools

    async def mcp_status(self) -> dict[str, McpStatus]:
        """How it is with each MCP server of the session on the server, by their names."""
        return {status.name: status for status in (await self._get("/mcp_servers", Listed[McpStatus])).data}

    async def begin_mcp_login(self, name: str, *, scopes: Sequence[str] = ()) -> McpLogin:
        """Begin a login to the MCP server of this name, for whose key this is. A person goes to its `url` with a browser,
        which comes back to the server; that finishes the login. Errors as of `engine.live_servers`."""
        return await self._post(f"/mcp_servers/{segment(name)}/login", McpLogin, {"scopes": list(scopes)})

    async def finish_mcp_login(self, name: str, address: str) -> None:
        """Finish a login by the address that the browser was sent back to, where it could not get there by itself."""
        await self._post(f"/mcp_servers/{segment(name)}/login/finish", Changed, {"address": address})

    async def mcp_logout(self, name: str) -> bool:
        """Forget the login to the MCP server of this name, of whose key this is; False when there is none."""
        return (await self._post(f"/mcp_servers/{segment(name)}/login", Changed, method="DELETE")).changed


__all__ = ["RemoteServers"]
