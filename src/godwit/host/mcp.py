"""McpConnections: who connects to the MCP servers of agents, keeps the connections, and carries calls out on them.

Owns one task for each connection, which enters and leaves it; who shares one; when it is tried again and when let go. Leaves
out what a tool is (`tools/mcp.py`) and by which way requests go (`tools/guarded.py`). Rules a change must keep:

* Nothing a server does raises into a session, nor keeps a run from starting for longer than `WAIT_S`.
* A connection is shared by sessions of one tenant with the same vaults; one with a state of its own (`Mcp-Session-Id`) has
  one session.
* A token goes to the very address it is for, is asked for anew with each request, and stands in nothing that is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from ..contracts import ServerTools, Tool, ToolContext
from ..core.agent import AgentSpec
from ..core.errors import GodwitError, ToolFailed
from ..core.events import McpUnavailable
from ..core.ids import SessionId
from ..core.mcp import McpServer, Trouble

if TYPE_CHECKING:
    from mcp import Client
    from mcp_types import CallToolResult, Tool as ListedTool

    from ..tools.fetch import Fetcher
    from ..tools.guarded import GuardedTransport

logger = logging.getLogger("godwit")

WAIT_S = 5.0
"""How long a run waits for servers that are not connected yet."""
CONNECT_S = 30.0
"""How long a server may take to connect and to list its tools."""
IDLE_S = 300.0
"""After so long without use a connection is let go."""
BACKOFF_S = (1.0, 60.0)
"""The first wait before a server that failed is tried again, and the longest; each is twice the one before."""
PAGES = 100
"""Pages of tools that are read."""
READ_S = 600.0
"""How long a server may be silent in a response; what limits a call is its tool's own time."""
CLOSE_S = 5.0


class Bearer(Protocol):
    """The token for a request to this address, from these vaults of a tenant; None without one. ToolFailed when there is one
    that has ended and cannot be renewed."""

    def __call__(self, url: str, vaults: Sequence[str], /, *, tenant: str | None) -> Awaitable[str | None]: ...


class McpSettings(msgspec.Struct, frozen=True):
    """`reach`: hosts and networks beside public ones that MCP servers may be at, see `core.addresses.place`. `tokens`: of
    the program's own, by the servers' addresses, for sessions whose vaults have none."""

    reach: tuple[str, ...] = ()
    tokens: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return f"McpSettings(reach={self.reach!r}, ...)"


class _Place(NamedTuple):
    """What connections are told apart by; `session` for one that is not shared."""

    url: str
    tenant: str | None
    vaults: tuple[str, ...]
    session: SessionId | None


class McpConnections:
    """Is `contracts.ToolServers`. `fetcher`: judges addresses; `bearer`: has tokens. Both are asked for when they are
    needed first."""

    def __init__(self, fetcher: Callable[[], Fetcher], bearer: Bearer) -> None:
        self.fetcher = fetcher
        self.bearer = bearer
        self._connections: dict[_Place, _Connection] = {}
        self._closed = False

    def go_by(self, fetcher: Callable[[], Fetcher], bearer: Bearer) -> None:
        """Connect by these from now on."""
        self.fetcher, self.bearer = fetcher, bearer

    def known(self, spec: AgentSpec, *, session: SessionId, tenant: str | None, vaults: Sequence[str]) -> ServerTools:
        tools: list[Tool] = []
        missing: list[McpUnavailable] = []
        due = False
        for server in spec.mcp_servers:
            connection = self._connection(server, session, tenant, vaults)
            if connection.due:
                due = True
            elif connection.is_up:
                tools += connection.tools_of(server)
            else:
                missing.append(connection.told(server))
        return ServerTools(tuple(tools), tuple(missing), due)

    async def tools(self, spec: AgentSpec, *, session: SessionId, tenant: str | None, vaults: Sequence[str]) -> ServerTools:
        try:
            async with asyncio.timeout(WAIT_S):
                # Twice: one that turns out to have a state of its own may be another session's.
                for _ in range(2):
                    found = [self._connection(server, session, tenant, vaults) for server in spec.mcp_servers]
                    await asyncio.gather(*(one.tried() for one in found))
        except TimeoutError:
            for server in spec.mcp_servers:
                self._connection(server, session, tenant, vaults).waited = True
        return self.known(spec, session=session, tenant=tenant, vaults=vaults)

    async def close(self) -> None:
        """Let go of all connections. Nothing is connected afterwards."""
        self._closed = True
        await asyncio.gather(*(one.close() for one in self._connections.values()))
        self._connections.clear()

    def _connection(self, server: McpServer, session: SessionId, tenant: str | None, vaults: Sequence[str]) -> _Connection:
        shared = _Place(server.url, tenant, tuple(vaults), None)
        connection = self._connections.get(shared)
        if connection is None:
            self._prune()
            connection = self._connections[shared] = _Connection(self, shared, session)
        if connection.stateful and connection.session != session:
            own = shared._replace(session=session)
            connection = self._connections.get(own)
            if connection is None:
                connection = self._connections[own] = _Connection(self, own, session)
        return connection

    def _prune(self) -> None:
        """Forget those that nobody has used for long."""
        for place in [place for place, one in self._connections.items() if one.forgotten]:
            del self._connections[place]

    @property
    def closed(self) -> bool:
        return self._closed


class _Connection:
    """One connection, or the attempt at one. `session`: which it was made for. `waited`: a run has waited for it long
    enough, so the next step goes on without."""

    def __init__(self, home: McpConnections, place: _Place, session: SessionId) -> None:
        self.place = place
        self.session = session
        self.stateful = False
        self.waited = False
        self._home = home
        self._task: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self._wake = asyncio.Event()
        self._client: Client | None = None
        self._listed: list[ListedTool] = []
        self._made: dict[McpServer, tuple[Tool, ...]] = {}
        self._stale = self._leaving = False
        self._calls = 0
        self._used = _now()
        self._tries = 0
        self._retry_at = 0.0
        self._trouble: Trouble = "connection"
        self._message = self._no_token = ""
        self._token: str | None = None
        self._transport: GuardedTransport | None = None

    # --- what it is asked ---------------------------------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        return self._client is not None and not self._leaving

    @property
    def due(self) -> bool:
        """Whether a run should wait for it, after `tried`."""
        if self.is_up:
            return False
        if self._task is not None:
            return not self.waited
        return not self._home.closed and _now() >= self._retry_at

    @property
    def forgotten(self) -> bool:
        return self._task is None and _now() - self._used > 2 * IDLE_S

    def tools_of(self, server: McpServer) -> tuple[Tool, ...]:
        """The server's tools as this agent has them."""
        from ..tools.mcp import mcp_tools

        self._touch()
        made = self._made.get(server)
        if made is None:
            made = self._made[server] = mcp_tools(server, self._listed, self)
        return made

    def told(self, server: McpServer) -> McpUnavailable:
        """Why its tools are missing."""
        trying = self._task is not None
        message = f"MCP server {server.name!r} has not answered yet" if trying else self._message
        return McpUnavailable(server.name, self._trouble, message, retrying=trying)

    async def tried(self) -> None:
        """Wait until it is up or has failed, and begin to connect where that is due."""
        while self._leaving and self._task is not None:
            await asyncio.wait([self._task])
        if self.is_up or self._home.closed:
            return
        if self._task is None:
            if _now() < self._retry_at:
                return
            self._begin()
        await self._settled.wait()

    async def call(self, tool: str, arguments: dict[str, Any], context: ToolContext) -> CallToolResult:
        """Is `tools.mcp.Caller`. ToolFailed."""
        for last in (False, True):
            client = await self._up()
            self._calls += 1
            try:
                return await self._called(client, tool, arguments, context)
            except _SessionEnded:
                # The server has not taken the call: it knows the session no more, and wants another.
                self._let_go()
                if last:
                    raise ToolFailed("the server ends each session at once") from None
            finally:
                self._calls -= 1
                self._touch()
        raise AssertionError

    async def close(self) -> None:
        """Leave it."""
        self._let_go()
        if self._task is not None:
            done, _ = await asyncio.wait([self._task], timeout=CLOSE_S)
            if not done:
                self._task.cancel()

    # --- calls --------------------------------------------------------------------------------------------------------

    async def _up(self) -> Client:
        await self.tried()
        client = self._client
        if client is None:
            raise ToolFailed(self._message or "the MCP server is not connected", kind=self._trouble)
        return client

    async def _called(self, client: Client, tool: str, arguments: dict[str, Any], context: ToolContext) -> CallToolResult:
        from mcp import MCPError

        from ..tools.guarded import SEEN, Seen

        async def tell(progress: float, total: float | None, message: str | None) -> None:
            share = f"{progress:g}" if total is None else f"{progress:g} of {total:g}"
            context.progress(f"{share}: {message}" if message else share)

        seen = Seen()
        SEEN.set(seen)  # each call is a task of its own
        try:
            return await client.call_tool(tool, arguments, progress_callback=tell)
        except MCPError as error:
            if self.stateful and seen.status == 404:
                raise _SessionEnded from None
            if self._no_token or seen.status in (401, 403):
                why = self._no_token or f"it refuses the credential ({seen.status})"
                raise ToolFailed(f"the MCP server cannot be used: {why}", kind="authentication") from None
            if seen.failure:
                raise ToolFailed(self._hidden(f"the MCP server cannot be used: {seen.failure}")) from None
            raise ToolFailed(self._hidden(f"the MCP server says: {error.message}")[:2000]) from None
        except asyncio.CancelledError:
            raise
        except Exception as error:
            # Results that are none, and a connection that broke: whatever the library makes of it.
            raise ToolFailed(self._hidden(f"the MCP server's answer cannot be used: {error}")[:2000]) from None

    def _hidden(self, text: str) -> str:
        return text if not self._token else text.replace(self._token, "[hidden]")

    # --- the task that owns it ----------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._settled.clear()
        self._wake.clear()
        self._leaving = self.waited = False
        self._task = asyncio.create_task(self._own(), name=f"mcp {self.place.tenant or ''}")
        self._task.add_done_callback(self._ended)

    def _let_go(self) -> None:
        self._leaving = True
        self._wake.set()

    def _touch(self) -> None:
        self._used = _now()

    async def _own(self) -> None:
        """Connect, stay until nobody needs it, and leave."""
        async with self._connected() as client:
            async with asyncio.timeout(CONNECT_S):
                self._listed = await _all_tools(client)
            self.stateful = self._transport is not None and self._transport.stateful
            self._made, self._client, self._tries = {}, client, 0
            self._touch()
            self._settled.set()
            while not self._leaving:
                self._wake.clear()
                try:
                    async with asyncio.timeout(IDLE_S):
                        await self._wake.wait()
                except TimeoutError:
                    if not self._calls and _now() - self._used >= IDLE_S:
                        self._leaving = True
                if self._stale and not self._leaving:
                    self._stale = False
                    async with asyncio.timeout(CONNECT_S):
                        self._listed = await _all_tools(client)
                    self._made = {}
                    self._settled.set()

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Client]:
        import httpx2
        from mcp import Client
        from mcp.client.streamable_http import streamable_http_client
        from mcp_types import Implementation, ToolListChangedNotification

        from ..tools.guarded import BearerAuthorization, GuardedTransport
        from ..tools.url import parse

        async def heard(message: Any) -> None:
            if isinstance(getattr(message, "root", message), ToolListChangedNotification):
                self._stale = True
                self._settled.clear()
                self._wake.set()

        transport = self._transport = GuardedTransport(self._home.fetcher(), parse(self.place.url))
        async with httpx2.AsyncClient(
            transport=transport,
            auth=BearerAuthorization(self._bearer),
            timeout=httpx2.Timeout(CONNECT_S, read=READ_S),
            trust_env=False,
        ) as http:
            client = Client(
                streamable_http_client(self.place.url, http_client=http),
                client_info=Implementation(name="godwit", version="1"),
                message_handler=heard,
                cache=None,
            )
            # The library takes its own time: the deadline is for connecting alone.
            async with contextlib.AsyncExitStack() as stack:
                async with asyncio.timeout(CONNECT_S):
                    await stack.enter_async_context(client)
                yield client

    async def _bearer(self) -> str | None:
        """The token for the next request."""
        place, self._no_token = self.place, ""
        try:
            self._token = await self._home.bearer(place.url, place.vaults, tenant=place.tenant)
        except GodwitError as error:
            self._no_token = error.message
            raise
        return self._token

    def _ended(self, task: asyncio.Task[None]) -> None:
        was_up, self._client, self._task = self._client is not None, None, None
        error = None if task.cancelled() else task.exception()
        self._retry_at = 0.0
        if not self._leaving:
            self._failed(error or ConnectionError())
            if was_up:
                self._retry_at = 0.0  # it may be there again at once
        self._settled.set()

    def _failed(self, error: BaseException) -> None:
        """Note why, and when it is tried again."""
        from ..tools.guarded import Seen

        first, seen = _first(error), Seen() if self._transport is None else self._transport.last
        self._trouble = "authentication"
        if self._no_token:
            why = self._no_token
        elif seen.status in (401, 403) and self._token is None:
            why = f"it asks for a credential ({seen.status}), and the session has none for its address"
        elif seen.status in (401, 403):
            why = f"it refuses the credential ({seen.status})"
        else:
            self._trouble = "connection"
            if isinstance(first, TimeoutError):
                why = f"it does not answer within {CONNECT_S:g} s"
            elif seen.failure or isinstance(first, ToolFailed):
                why = seen.failure or str(first)
            elif seen.status >= 400:
                why = f"it answers {seen.status}"
            else:
                why = f"it does not speak MCP as it should ({type(first).__name__})"
        self._message = self._hidden(f"the MCP server cannot be used: {why}")[:1000]
        shortest, longest = BACKOFF_S
        # One that refuses a credential has answered, and may be given another at any moment.
        wait_s = shortest if self._trouble == "authentication" else min(longest, shortest * 2**self._tries)
        self._tries = min(self._tries + 1, 20)
        self._retry_at = _now() + wait_s
        logger.info("%s", self._message)


class _SessionEnded(Exception):
    """The server knows the MCP session no more."""


async def _all_tools(client: Client) -> list[ListedTool]:
    """All pages, as far as there is an end to them."""
    from ..tools.mcp import MOST_TOOLS

    found: list[ListedTool] = []
    seen: set[str] = set()
    cursor: str | None = None
    for _ in range(PAGES):
        page = await client.list_tools(cursor=cursor)
        found += page.tools
        cursor = page.next_cursor
        if cursor is None or cursor in seen or len(found) > MOST_TOOLS:
            break
        seen.add(cursor)
    if cursor is not None or len(found) > MOST_TOOLS:
        logger.warning("an MCP server has more than %d tools, or no end of them: the first are taken", MOST_TOOLS)
    return found[:MOST_TOOLS]


def _first(error: BaseException) -> BaseException:
    """What a group of errors began with."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _now() -> float:
    return asyncio.get_running_loop().time()
