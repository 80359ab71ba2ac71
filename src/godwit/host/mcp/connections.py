"""McpConnections: who connects to the MCP servers of agents, and who shares a connection.

Owns which connections there are and how many; leaves out one of them (`connection.py`), what a tool is (`tools/mcp.py`)
and by which way requests go (`tools/guarded.py`). Rules a change must keep:

* Nothing a server does raises into a session, nor keeps a run from starting for longer than `McpSettings.wait_s`.
* A connection is shared by sessions of one tenant with the same vaults; one with a state of its own (`Mcp-Session-Id`, or a
  program) has one session.
* They are the runtime's, whatever faces it: a server in front of it may widen where it reaches, and replaces nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ...contracts import ServedSession, ServerTools, Tool
from ...core.agent import AgentSpec
from ...core.errors import GodwitError, NotSupported
from ...core.events import McpUnavailable
from ...core.ids import SessionId
from ...core.mcp import Link, McpServer, McpStatus
from ...core.mcp_oauth import McpLogin
from .client import load
from .connection import McpConnection, Place
from .contents import McpContents
from .eras import Eras
from .held import HeldCalls
from .login_tool import LoginTool
from .owner import Owner, owner_of
from .settings import McpSettings
from .values import McpValues

if TYPE_CHECKING:
    from ...tools.fetch import Fetcher
    from .http import Tokens
    from .login_waiting import WaitingLogins
    from .way import McpWay

logger = logging.getLogger("godwit")

SPARE_S = 10.0
"""After so long without use a connection may be given up for another one, where there is no room for both."""

LEFT_S = 30.0
"""After so long without use a connection of a session that nobody here works on any more is let go."""
_MOST_LOGIN_TOOLS = 1000
TRIES = 3
"""How often it looks: one that turns out to have a state of its own may be another session's; one may be lost just now."""


class McpConnections:
    """Is `contracts.ToolServers`. `fetcher`: judges addresses, and is asked for when it is needed first."""

    def __init__(
        self, settings: McpSettings, fetcher: Callable[[], Fetcher], tokens: Tokens, values: McpValues, logins: WaitingLogins
    ) -> None:
        self._fetcher = fetcher
        self._tokens = tokens
        self._values = values
        self._eras = Eras()
        self.logins = logins
        self.settings = settings
        self.held = HeldCalls()
        self._connections: dict[Place, McpConnection] = {}
        self._login_tools: dict[tuple[str, Link, ServedSession], LoginTool] = {}
        self._closed = False

    def known(self, spec: AgentSpec, of: ServedSession) -> ServerTools:
        tools: list[Tool] = []
        missing: list[McpUnavailable] = []
        due = False
        for server in _used(spec):
            connection = self._connection(server, of)
            if connection.due:
                due = True
            elif connection.is_up:
                tools += connection.tools_of(server)
            else:
                missing.append(connection.told(server))
                if connection.needs_login and (tool := self._login_tool(server, of)) is not None:
                    tools.append(tool)
        # A login that was asked for may have been made elsewhere, and then its server has its own tools.
        spare = tuple(self._kept_login_tool(server, of) for server in _used(spec) if _takes_logins(server))
        return ServerTools(tuple(tools), tuple(missing), due, self._common(spec, of), spare)

    async def tools(self, spec: AgentSpec, of: ServedSession) -> ServerTools:
        await load()
        servers = _used(spec)
        try:
            async with asyncio.timeout(self.settings.wait_s):
                for _ in range(TRIES):
                    found = [self._connection(server, of) for server in servers]
                    await asyncio.gather(*(one.tried() for one in found))
                    if not any(self._connection(server, of).due for server in servers):
                        break
        except TimeoutError:
            for server in servers:
                self._connection(server, of).waited = True
        return self.known(spec, of)

    async def connect(self, server: McpServer, of: ServedSession) -> McpStatus:
        """Connect to this server, now and for as long as it may take; what comes of it."""
        await load()
        for _ in range(2):
            connection = self._connection(server, of)
            connection.hurry()
            await connection.tried()
        return connection.status(server)

    def status(self, spec: AgentSpec, of: ServedSession) -> tuple[McpStatus, ...]:
        return tuple(
            self._connection(server, of).status(server) if server.enabled else McpStatus(server.name, server.way, "disabled")
            for server in spec.mcp_servers
        )

    async def leave(self, server: McpServer, of: ServedSession) -> None:
        """Let go of the connection to this server if it is this session's alone, for good."""
        connection = self._connection(server, of)
        connection.subscriptions.leave(of.id, server.name)
        if connection.is_of(of.id):
            self._connections.pop(connection.place, None)
            await connection.retire()

    def leave_session(self, session: SessionId, *, ended: bool = False) -> None:
        """Nobody here works on this session any more: let go of the connections that are its alone, soon, since it may be
        opened again; or, where it has `ended`, once no call is under way on them. It is told of no resource any more."""
        for connection in self._connections.values():
            connection.subscriptions.leave(session)
        if ended:
            self.held.end_session(session)
        for connection in [one for one in self._connections.values() if one.is_of(session)]:
            connection.spare(0.0 if ended else LEFT_S)

    def contents(self, server: McpServer, of: ServedSession) -> McpContents:
        return McpContents(server, of.id, lambda: self._connection(server, of))

    def _common(self, spec: AgentSpec, of: ServedSession) -> tuple[Tool, ...]:
        """The tools for resources, where one of the agent's servers that are connected has some."""
        having = [
            server
            for server in _used(spec)
            if (can := self._connection(server, of).can) is not None and can.resources is not None
        ]
        if not having:
            return ()
        from ...tools.mcp_resources import resource_tools

        return resource_tools({server.name: (server, self.contents(server, of)) for server in having})

    def way(self, place: Place) -> McpWay:
        """How a server is reached."""
        from .http import HttpWay
        from .stdio import StdioWay

        link, tenant = place.link, place.tenant
        within_s = self.settings.connect_s if link.connect_timeout_s is None else link.connect_timeout_s
        if link.transport == "stdio":
            return StdioWay(link, place.folder, self._values, self._eras, tenant=tenant, within_s=within_s)
        return HttpWay(
            link,
            self._fetcher,
            self._tokens,
            self._values,
            self._eras,
            owner=owner_of(tenant, place.user),
            vaults=place.vaults,
            within_s=within_s,
        )

    async def login(self, server: McpServer, of: ServedSession, scopes: Sequence[str] = ()) -> McpLogin:
        """Begin a login to this server for whose session it is. `scopes`: beside those that are asked for anyway.
        NotSupported; McpLoginFailed; ConfigurationError."""
        if not _takes_logins(server):
            raise NotSupported(f"nobody logs in to the MCP server {server.name!r}: it has its credential, or is a program")
        await load()
        owner = _owner(of)
        if self.logins.noted(owner, server.url) is None:
            await self.connect(server, of)  # what it wants, it says when it is asked for something
        return await self.logins.begin(server, owner, scopes=scopes)

    def _login_tool(self, server: McpServer, of: ServedSession) -> LoginTool | None:
        """What stands in place of the tools of a server that says where one logs in to it. The same one each time."""
        challenge = self.logins.noted(_owner(of), server.url)
        if challenge is None or challenge.metadata is None or not _takes_logins(server):
            return None
        return self._kept_login_tool(server, of)

    def _kept_login_tool(self, server: McpServer, of: ServedSession) -> LoginTool:
        place = server.name, server.link, of
        tool = self._login_tools.get(place)
        if tool is None:
            tool = LoginTool(server, lambda: self.login(server, of), lambda: self.connect(server, of))
            while len(self._login_tools) >= _MOST_LOGIN_TOOLS:
                del self._login_tools[next(iter(self._login_tools))]
            self._login_tools[place] = tool
        return tool

    async def login_for(self, server: McpServer, place: Place) -> McpLogin | None:
        """Begin a login for a call that the server has refused; None where it has not said how, or that fails."""
        owner = owner_of(place.tenant, place.user)
        challenge = self.logins.noted(owner, server.url)
        if challenge is None or not (challenge.insufficient or challenge.metadata) or not _takes_logins(server):
            return None
        try:
            return await self.logins.begin(server, owner)
        except GodwitError as error:
            logger.info("no login to an MCP server can be begun: %s", error.message)
            return None

    def wants_login(self, server: McpServer, of: ServedSession) -> bool:
        """Whether it has asked for a login since there was one, be it for one thing that it does."""
        return self.logins.noted(_owner(of), server.url) is not None

    async def logged_in(self, server: McpServer, of: ServedSession, address: str) -> None:
        """Finish a login by the address that the browser was sent back to. McpLoginFailed; InvalidArgument; NotFound."""
        await load()
        await self.logins.answer(address, _owner(of), server)

    async def logout(self, server: McpServer, of: ServedSession) -> bool:
        """Forget the login of whose session it is; False when there is none."""
        return await self.logins.forget(_owner(of), server.url) if server.has_login else False

    def login_changed(self, owner: Owner, url: str) -> None:
        """Those who wait for a login, or had one, try again."""
        for of, connection in self._connections.items():
            if of.link.url == url and owner_of(of.tenant, of.user) == owner:
                connection.hurry()

    async def close(self) -> None:
        """Let go of all connections. Nothing is connected afterwards."""
        self._closed = True
        await self.held.close()
        await self.logins.close()
        await asyncio.gather(*(one.close() for one in self._connections.values()))
        self._connections.clear()

    def _connection(self, server: McpServer, of: ServedSession) -> McpConnection:
        shared = Place(server.link, of.tenant, of.vaults, None, samples=server.sampling != "deny", user=_owner(of).user)
        own = shared._replace(session=of.id)
        if server.way == "stdio":
            return self._at(own._replace(folder=of.folder), of, server.name)
        connection = self._at(shared, of, server.name)
        return self._at(own, of, server.name) if connection.stateful and connection.session != of.id else connection

    def _at(self, place: Place, of: ServedSession, name: str) -> McpConnection:
        connection = self._connections.get(place)
        if connection is None:
            self._prune()
            connection = self._connections[place] = McpConnection(self, place, of.id, name)
        return connection

    def _prune(self) -> None:
        """Forget those that nobody has used for long."""
        for unused in [where for where, one in self._connections.items() if one.forgotten]:
            del self._connections[unused]

    @property
    def closed(self) -> bool:
        return self._closed

    def room(self, place: Place) -> str | None:
        """Why there is none for another connection; where one that is not in use can be given up for it, it is."""
        live = [one for one in self._connections.values() if one.is_live]
        theirs = [one for one in live if one.place.tenant == place.tenant]
        for several, most, whose, setting in (
            (theirs, self.settings.max_connections_per_tenant, "this tenant's sessions have", "max_connections_per_tenant"),
            (live, self.settings.max_connections, "this process has", "max_connections"),
        ):
            if len(several) < most:
                continue
            spare = [one for one in several if one.unused_s is not None and one.unused_s >= SPARE_S]
            if not spare:
                return (
                    f"{whose} {len(several)} connections to MCP servers, as many as may be, and all are in use"
                    f" (McpSettings.{setting})"
                )
            max(spare, key=lambda one: one.unused_s or 0.0).let_go()
        return None


def _takes_logins(server: McpServer) -> bool:
    """Whether a person may log in to it."""
    return server.has_login and (server.oauth is None or server.oauth.grant == "authorization_code")


def _owner(of: ServedSession) -> Owner:
    return owner_of(of.tenant, of.user)


def _used(spec: AgentSpec) -> tuple[McpServer, ...]:
    return tuple(server for server in spec.mcp_servers if server.enabled)
