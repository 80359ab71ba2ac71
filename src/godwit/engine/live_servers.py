"""LiveServers: the part of a session's handle that gives it further MCP servers, and says how it is with those it has.

Leaves out connecting (`contracts.ToolServers`). Rules: the servers stand in the session's agent, so they are known wherever
and whenever it is opened; one that cannot be connected is not added, unless nobody asks for a connection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..contracts import ToolServers
from ..core.agent import AgentSpec, with_mcp_server, without_mcp_server
from ..core.errors import McpServerFailed, NotFound, NotSupported
from ..core.mcp import McpServer, McpStatus, mcp_server
from ..core.mcp_oauth import McpLogin
from .agent_changes import AgentChanges
from .log import load_state


class LiveServers(AgentChanges):
    """MCP servers that are added and removed while a session lives (seed 001)."""

    async def add_mcp_server(self, server: McpServer | Mapping[str, Any], *, connect: bool = True) -> int:
        """Give the session this MCP server, in place of the one of its name, and return how many tools it has of it.

        It is connected first; `connect=False` leaves that to the next step or run, and returns 0. Its tools can be called
        by `tool` at once; the model is told of them from its next request on, also within an open run. ConfigurationError;
        McpServerFailed when it cannot be connected, and then nothing has changed.
        """
        self._check_open()
        wanted = mcp_server(server)
        replaced = [own for own in (await self._agent_now()).mcp_servers if own.name == wanted.name]
        count = 0
        if connect and wanted.enabled:
            status = await self._tool_servers().connect(wanted, self._served())
            if not status.connected:
                await self._tool_servers().leave(wanted, self._served())
                raise McpServerFailed(
                    f"the MCP server {wanted.name!r} is not connected: {status.error or 'it has gone again'}",
                    server=wanted.name,
                    health=status.health,
                )
            count = status.tool_count
        await self._change_agent(lambda spec: with_mcp_server(spec, wanted))
        await self._leave(replaced)
        return count

    async def remove_mcp_server(self, name: str) -> bool:
        """Take the MCP server of this name, and its tools, from the session; False when it has none of that name.

        The model is told of them no more from its next request on. One that a configuration file names stays: it has to be
        removed there."""
        self._check_open()
        gone = [server for server in (await self._agent_now()).mcp_servers if server.name == name]
        if not gone:
            return False
        await self._change_agent(lambda spec: without_mcp_server(spec, name))
        await self._leave(gone)
        return True

    async def mcp_status(self) -> dict[str, McpStatus]:
        """How it is with each MCP server of the session in this process, by their names, without connecting any."""
        self._check_open()
        spec = self._with_servers(await self._agent_now())
        return (
            {status.name: status for status in self._tool_servers().status(spec, self._served())} if spec.mcp_servers else {}
        )

    async def _leave(self, servers: Sequence[McpServer]) -> None:
        """Let go of what the session does not need any more, now that it goes on without these."""
        parts = self._home.parts
        if not servers or parts.tool_servers is None:
            return
        needed = {server.link for server in self._with_servers(await self._agent_now()).mcp_servers}
        for server in servers:
            if server.link not in needed:
                await parts.tool_servers.leave(server, self._served())

    async def begin_mcp_login(self, name: str, *, scopes: Sequence[str] = ()) -> McpLogin:
        """Begin a login to the MCP server of this name, for whose session it is: a tenant's user, or without a tenant the
        person whose machine this is. A person goes to its `url` with a browser, which comes back to this process or, where
        there is one, to its server; that finishes the login, and the server's tools are there from the next step on.

        `scopes`: beside those that are asked for anyway. NotFound without such a server; NotSupported for one that nobody
        logs in to; McpLoginFailed when it does not say where, or the authorization server does not want us.
        """
        return await self._tool_servers().login(await self._mcp_server(name), self._served(), tuple(scopes))

    async def finish_mcp_login(self, name: str, address: str) -> None:
        """Finish a login by the address that the browser was sent back to, where it could not get there by itself.
        McpLoginFailed; InvalidArgument for what is no such address; NotFound when no such login of this owner waits."""
        await self._tool_servers().logged_in(await self._mcp_server(name), self._served(), address)

    async def mcp_logout(self, name: str) -> bool:
        """Forget the login to the MCP server of this name, for all sessions of whose it is; False when there is none."""
        return await self._tool_servers().logout(await self._mcp_server(name), self._served())

    async def _mcp_server(self, name: str) -> McpServer:
        self._check_open()
        for server in self._with_servers(await self._agent_now()).mcp_servers:
            if server.name == name:
                return server
        raise NotFound(f"the session has no MCP server {name!r}", server=name)

    async def _agent_now(self) -> AgentSpec:
        state = await load_state(self._store, self.id)
        assert state.agent is not None
        return (await self._store.get_agent(state.agent.name, state.agent.version))[1]

    def _tool_servers(self) -> ToolServers:
        servers = self._home.parts.tool_servers
        if servers is None:
            raise NotSupported("this process connects to no MCP servers")
        return servers


__all__ = ["LiveServers"]
