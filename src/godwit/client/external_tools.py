"""RemoteTools: the part of a remote handle that gives its session tools which a client answers; see `engine.live_tools`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.agent import ToolDefinition
from ..engine.live_tools import definitions
from .mcp_servers import RemoteServers
from .shapes import Changed, Listed


class RemoteTools(RemoteServers):
    """Tools of the session's client."""

    async def set_external_tools(self, tools: Sequence[ToolDefinition | Mapping[str, Any]]) -> bool:
        """Have these tools in the session, in place of those set before; the agent's own stay. False when it had just
        these. ConfigurationError, InvalidArgument."""
        self._check_open()
        changed = (await self._post("/external_tools", Changed, {"tools": definitions(tools)}, method="PUT")).changed
        if changed:
            await self._read_again()
        return changed

    async def external_tools(self) -> list[ToolDefinition]:
        """The tools that a client has set, beside the agent's own."""
        return (await self._get("/external_tools", Listed[ToolDefinition])).data


__all__ = ["RemoteTools"]
