"""McpConnection: one connection to an MCP server, or the attempt at one, and the calls that are carried out on it.

Owns the one task that enters and leaves it, when it is tried again and when let go, and what is said where it cannot be had.
Leaves out who shares it (`connections.py`). Rules a change must keep:

* The library's scopes are left by the task that entered them; a call that fails takes no other call with it.
* A call is sent once. It is sent again only where the server has said that it did not take it: an unknown session (404), a
  refused token (401); or where nothing was sent, since its program reads nothing any more.
* A token goes to the very address it is for, is asked for anew with each request, and stands in nothing that is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import re
import shlex
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, cast

from ...contracts import Tool, ToolContext, ToolOutput
from ...core.errors import ToolFailed
from ...core.events import McpUnavailable
from ...core.ids import SessionId
from ...core.mcp import Health, Link, McpServer, McpStatus, Sampling, Trouble
from ...core.mcp_contents import McpPrompt
from . import legs
from .client import Ears, all_tools
from .held import HeldCalls
from .listening import Listening
from .log import McpLog
from .roots import roots_of
from .subscriptions import Subscriptions

if TYPE_CHECKING:
    from mcp import Client
    from mcp_types import CallToolResult, Root, ServerCapabilities, Tool as ListedTool

    from ...core.mcp_oauth import McpLogin
    from ...tools.mcp import Order
    from .way import McpWay

logger = logging.getLogger("godwit")

T = TypeVar("T")

BACKOFF_S = (1.0, 60.0)
"""The first wait before a server that failed is tried again, and the longest; each is twice the one before."""
CLOSE_S = 5.0
"""How long leaving may take."""
RELIST_S = 1.0
"""Between two readings of a list of tools that changes."""
STEADY_S = 30.0
"""A connection that is lost after so long is made again at once; one that is lost sooner waits like one that failed."""


class Times(Protocol):
    """In seconds, as in `McpSettings`."""

    @property
    def idle_s(self) -> float: ...


class Home(Protocol):
    """What a connection asks of who has it."""

    @property
    def settings(self) -> Times: ...

    @property
    def closed(self) -> bool: ...
    @property
    def held(self) -> HeldCalls: ...
    def room(self, place: Place) -> str | None: ...
    def way(self, place: Place) -> McpWay: ...
    async def login_for(self, server: McpServer, place: Place) -> McpLogin | None: ...


class Place(NamedTuple):
    """What connections are told apart by; `session` for one that is not shared; `folder`: in which a program is started;
    `samples`: the server is told that it may ask the model; `user`: of the tenant, whose logins it may use."""

    link: Link
    tenant: str | None
    vaults: tuple[str, ...]
    session: SessionId | None
    folder: str | None = None
    samples: bool = True
    user: str | None = None


class McpConnection:
    """One connection, or the attempt at one. `session`: which it was made for. `waited`: a run has waited for it long
    enough, so the next step goes on without. `name`: what the first to ask for it calls the server. `log`: what it logs.
    `subscriptions`: the resources that are to be heard of, for which it is connected again whenever it is lost."""

    def __init__(self, home: Home, place: Place, session: SessionId, name: str) -> None:
        self.place = place
        self.session = session
        self.way = home.way(place)
        self.stateful = self.way.stateful
        self.waited = False
        self.log = McpLog(name, lambda text: self.way.hidden(text))
        self.listening = Listening(lambda: self.subscriptions.uris, self._missed)
        self.subscriptions = Subscriptions(self.listening.changed)
        self.lists = 0  # how often a list other than that of tools has changed
        self.prompts = KeptPrompts()
        self._revive_s = BACKOFF_S[0]
        self._home = home
        self._task: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self._wake = asyncio.Event()
        self._client: Client | None = None
        self._listed: list[ListedTool] = []
        self._made: dict[_View, tuple[Tool, ...]] = {}
        self._leaving = self._retired = False
        self._spare_s: float | None = None  # for how long it is kept without use, where that is less than for others
        self._read_at = 0.0
        self._look_at: float | None = None  # when the list of tools is to be read again
        self._calls = 0
        self._used = _now()
        self._tries = 0
        self._losses = 0  # one soon after the other
        self._retry_at = 0.0
        self._trouble: Trouble = "connection"
        self._why = ""
        self._refused = self._broken = False
        self._up_at = 0.0

    # --- what it is asked ---------------------------------------------------------------------------------------------

    @property
    def is_live(self) -> bool:
        """Whether it counts: it is up, or being made."""
        return self._task is not None and not self._leaving

    @property
    def is_up(self) -> bool:
        return self._client is not None and not self._leaving and not self._broken

    def is_of(self, session: SessionId) -> bool:
        """Whether it is this session's alone."""
        return self.place.session == session or (self.place.session is None and self.stateful and self.session == session)

    @property
    def needs_login(self) -> bool:
        """Whether it has refused the credential, or asked for one."""
        return not self.is_up and bool(self._why) and self._trouble == "authentication"

    @property
    def due(self) -> bool:
        """Whether a run should wait for it, after `tried`."""
        if self.is_up:
            return False
        if self._task is not None:
            return not self.waited
        return not self._home.closed and not self._retired and _now() >= self._retry_at

    @property
    def unused_s(self) -> float | None:
        """For how long; None while it is in use."""
        return None if self._in_use or not self.is_up else _now() - self._used

    @property
    def _in_use(self) -> bool:
        """Whether a call is under way, or somebody wants to hear of something."""
        return self._calls > 0 or bool(self.subscriptions)

    @property
    def forgotten(self) -> bool:
        unused = not self.subscriptions and self._task is None
        return unused and _now() - self._used > 2 * self._home.settings.idle_s

    @property
    def can(self) -> ServerCapabilities | None:
        """What the server says that it can do; None while it is not connected."""
        return self._client.server_capabilities if self._client is not None and self.is_up else None

    def tools_of(self, server: McpServer, *, touch: bool = True) -> tuple[Tool, ...]:
        """The server's tools as this agent has them. `touch`: they are used."""
        from ...tools.mcp import mcp_tools

        if touch:
            self._touch()
            self._spare_s = None
        view = _View(server.name, server.tools, server.without, server.timeout_s, server.sampling)
        made = self._made.get(view)
        if made is None:
            made = self._made[view] = mcp_tools(server, self._listed, self)
        return made

    def status(self, server: McpServer) -> McpStatus:
        """How it is with it, for this server of an agent."""
        health: Health = "idle"
        if self.is_up:
            health = "connected"
        elif self._task is not None and not self._leaving:
            health = "connecting"
        elif self._why:
            health = "needs_login" if self._trouble == "authentication" else "failed"
        return McpStatus(
            server.name,
            server.way,
            health,
            len(self.tools_of(server, touch=False)) if health == "connected" else 0,
            self._why_of(server) if health in ("needs_login", "failed") else None,
        )

    def told(self, server: McpServer) -> McpUnavailable:
        """Why its tools are missing."""
        trying = self._task is not None
        why = "it has not answered yet" if trying else self._why_of(server)
        message = f"the MCP server {server.name!r} is not connected: {why}"
        return McpUnavailable(server.name, self._trouble, message, retrying=trying)

    def _why_of(self, server: McpServer) -> str:
        """With what to do."""
        if self._trouble != "authentication" or not server.has_login:
            return self._why
        return f"{self._why}; {login_words(server.name, self.place.tenant)}"

    async def tried(self) -> None:
        """Wait until it is up or has failed, and begin to connect where that is due."""
        while (self._leaving or self._broken) and self._task is not None:
            await asyncio.wait([self._task])
        if self.is_up or self._home.closed or self._retired:
            return
        if self._task is None:
            if _now() < self._retry_at:
                return
            if no_room := self._home.room(self.place):
                self._failed("connection", no_room)
                return
            self._begin()
        await self._settled.wait()

    def hurry(self) -> None:
        """Do not wait before it is tried again."""
        self._retry_at = 0.0

    async def call(self, order: Order, context: ToolContext) -> CallToolResult | ToolOutput:
        """Is `tools.mcp.Caller`. ToolFailed."""
        return cast("CallToolResult | ToolOutput", await legs.run(order, self, context))

    async def abandoned(self, state: str) -> None:
        legs.abandon(state, self.held)

    @property
    def held(self) -> HeldCalls:
        return self._home.held

    @property
    def roots(self) -> list[Root]:
        """The folders that the server is told of."""
        return roots_of(self.place.link, self.place.folder)

    async def ask(self, request: Callable[[Client], Awaitable[T]]) -> T:
        """What the server answers to this request of the library's. ToolFailed."""
        for last in (False, True):
            client = await self._up()
            self._calls += 1
            try:
                return await self._asked(client, request)
            except _SessionEnded:
                # The server has not taken the call: it knows the session no more, and wants another.
                self.let_go()
                if last:
                    raise ToolFailed("the MCP server ends each session at once") from None
            except BrokenPipeError as error:
                # Nothing was sent: its program is on its way out.
                if self._client is client:
                    self._lost()
                if last:
                    raise ToolFailed(f"the MCP server cannot be used: {error}") from None
            finally:
                self._calls -= 1
                self._touch()
                if self._spare_s is not None:
                    self._wake.set()
        raise AssertionError

    def let_go(self) -> None:
        """Leave it, in `CLOSE_S` at most."""
        if self._task is not None and not self._leaving:
            asyncio.get_running_loop().call_later(CLOSE_S, self._task.cancel)
        self._leaving = True
        self._wake.set()

    def spare(self, after_s: float) -> None:
        """Leave it after so many seconds without use, unless its tools are looked at before."""
        self._spare_s = after_s
        self._wake.set()

    async def retire(self) -> None:
        """Leave it for good: also those that still have its tools do not begin it again."""
        self._retired = True
        self._failed("connection", "it was removed")
        await self.close()

    async def close(self) -> None:
        """Leave it, and wait for that."""
        self.subscriptions.close()
        self.let_go()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=2 * CLOSE_S)

    # --- calls --------------------------------------------------------------------------------------------------------

    async def login(self, server: McpServer) -> McpLogin | None:
        """See `legs.Sends`."""
        return await self._home.login_for(server, self.place)

    async def _up(self) -> Client:
        await self.tried()
        if self._leaving:  # it was let go just as it had been made
            await self.tried()
        client = self._client
        if client is None or not self.is_up:
            why = self._why or "the connection was closed"
            raise ToolFailed(f"the MCP server is not connected: {why}", kind=self._trouble)
        return client

    async def _asked(self, client: Client, request: Callable[[Client], Awaitable[T]]) -> T:
        from mcp import MCPError
        from mcp_types import CONNECTION_CLOSED

        from ...tools.guarded import SEEN, Seen

        seen = Seen()
        before = SEEN.set(seen)
        try:
            result = await request(client)
        except MCPError as error:
            if self.stateful and seen.status == 404:
                raise _SessionEnded from None
            if seen.status == 401:
                self._refuse()
            if (why := self.way.refused(seen)) is not None:
                raise ToolFailed(self._hidden(f"the MCP server cannot be used: {why}"), kind="authentication") from None
            closed = error.code == CONNECTION_CLOSED
            lost = bool(seen.failure) or closed
            if lost:
                self._look_again()
            if failure := seen.failure or (self.way.failure if closed else ""):
                raise ToolFailed(self._hidden(f"the MCP server cannot be used: {failure}"), lost=lost) from None
            raise ToolFailed(self._hidden(f"the MCP server says: {error.message}")[:2000], lost=lost) from None
        except (asyncio.CancelledError, BrokenPipeError, ToolFailed):
            raise
        except Exception as error:
            # Results that are none, and a connection that broke: whatever the library makes of it.
            self._look_again()
            raise ToolFailed(self._hidden(f"the MCP server's answer cannot be used: {error}")[:2000]) from None
        finally:
            SEEN.reset(before)
        self.way.taken()
        return result

    def _refuse(self) -> None:
        """It takes the credential no more: nothing goes there until it is tried again. That is told from now on, and not
        only once it is left."""
        from ...tools.guarded import Seen

        refused = Seen()
        refused.status = 401
        self._refused = True
        self._trouble = "authentication"
        self._why = self._hidden(self.way.refused(refused) or "it refuses the credential")
        self.let_go()

    def _look_again(self) -> None:
        """Read the list of tools again, which shows as well whether the server is still there."""
        self._settled.clear()
        self._look_at = _now()
        self._wake.set()

    def _changed(self) -> None:
        """Its list has changed, it says; it may say so all the time."""
        if self._look_at is None:
            self._settled.clear()
            self._look_at = max(_now(), self._read_at + RELIST_S)
            self._wake.set()

    def _lost(self) -> None:
        """It is gone."""
        self._broken = True
        self._settled.clear()
        self._wake.set()

    def _hidden(self, text: str) -> str:
        return self.way.hidden(text)

    # --- the task that owns it ----------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._settled.clear()
        self._wake.clear()
        self._leaving = self._refused = self._broken = self.waited = False
        self._look_at = self._spare_s = None
        # In a context of its own: who happens to be the first to ask has nothing to do with it.
        owning = asyncio.create_task(self._own(), name=f"mcp {self.place.tenant or ''}", context=contextvars.Context())
        self._task = owning
        owning.add_done_callback(self._ended)

    def _touch(self) -> None:
        self._used = _now()

    async def _own(self) -> None:
        """Connect, stay until nobody needs it, and leave."""
        async with self.way.open(self._ears(), self._lost) as client:
            await self._read_list(client)
            self.stateful = self.way.stateful
            self._client, self._up_at = client, _now()
            self.lists += 1
            self._touch()
            self._why = ""
            self._settled.set()
            listening = asyncio.create_task(self.listening.run(client), name="mcp listening")
            try:
                await self._stay(client)
            finally:
                listening.cancel()
                await asyncio.wait([listening])

    async def _stay(self, client: Client) -> None:
        """Until nobody needs it, or it is lost: ConnectionError."""
        while not self._leaving:
            self._wake.clear()
            if self._broken:
                raise ConnectionError
            idle_s = self._home.settings.idle_s
            if self._spare_s is not None:
                idle_s = min(idle_s, self._spare_s)
            wait_s: float | None = idle_s
            if self._look_at is not None:
                wait_s = self._look_at - _now()
            elif self._in_use and self._spare_s is not None:
                wait_s = None  # the end of a call wakes this
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
                    continue
            if self._look_at is not None:
                self._look_at = None
                await self._read_list(client)
                if self._look_at is None:
                    self._settled.set()
            elif not self._in_use and _now() - self._used >= idle_s:
                self.let_go()

    def _ears(self) -> Ears:
        async def asked(params: Any) -> Any:
            return await self.held.asked(self, params, of_one=self.stateful or self.way.stateful)

        return Ears(self._heard, self.log.add, self.place.link.log_level, lambda: self.roots, asked, self.place.samples)

    def _heard(self, notification: Any) -> None:
        match notification.method:
            case "notifications/tools/list_changed":
                self._changed()
            case "notifications/prompts/list_changed" | "notifications/resources/list_changed":
                self.lists += 1
            case "notifications/resources/updated":
                self.subscriptions.heard(str(notification.params.uri))

    def _missed(self) -> None:
        """It was not listened to for a while."""
        self._changed()
        self.lists += 1
        self.subscriptions.heard_all()

    async def _read_list(self, client: Client) -> None:
        async with asyncio.timeout(self.way.within_s):
            self._listed, self._made = await all_tools(client), {}
        self._read_at = _now()
        self.way.taken()

    def _ended(self, task: asyncio.Task[None]) -> None:
        was_up, self._client, self._task = self._client is not None, None, None
        error = None if task.cancelled() else task.exception()
        self._retry_at = 0.0
        if was_up and _now() >= self._up_at + STEADY_S:
            self._losses = 0
        if self._refused:
            self._failed("authentication", self._why)
        elif not self._leaving:
            if was_up:
                self._tries = self._losses
            self._failed(*self.way.reason(error or ConnectionError()))
            if was_up:
                if not self._losses:
                    self._retry_at = 0.0  # it may be there again at once
                self._losses += 1
        self._leaving = False
        self._settled.set()
        if self.subscriptions and not self._home.closed and not self._retired:
            # Somebody waits to hear of its resources, and nobody need ask for it meanwhile.
            self._revive_s = BACKOFF_S[0] if was_up else min(BACKOFF_S[1], self._revive_s * 2)
            asyncio.get_running_loop().call_later(self._revive_s, self._revive)

    def _revive(self) -> None:
        if not self.subscriptions or self._home.closed or self._retired or self._task is not None:
            return
        if no_room := self._home.room(self.place):
            self._failed("connection", no_room)
            asyncio.get_running_loop().call_later(BACKOFF_S[1], self._revive)
            return
        self._begin()

    def _failed(self, trouble: Trouble, why: str) -> None:
        """Note why, and when it is tried again."""
        self._trouble, self._why = trouble, self._hidden(why)[:1000]
        shortest, longest = BACKOFF_S
        # One that refuses a credential has answered, and may be given another at any moment.
        wait_s = shortest if trouble == "authentication" else min(longest, shortest * 2**self._tries)
        self._tries = min(self._tries + 1, 20)
        self._retry_at = _now() + wait_s
        logger.info("an MCP server is not connected: %s", self._why)


class KeptPrompts:
    """The server's prompts as they were read last: at what time, and as of which change of its lists."""

    def __init__(self) -> None:
        self.listed: Sequence[McpPrompt] | None = None
        self.read_at = 0.0
        self.of = 0


def login_words(name: str, tenant: str | None) -> str:
    """How one logs in, for people."""
    word = name if re.fullmatch(r"[A-Za-z0-9._-]+", name) else shlex.quote(name)
    return (
        f"godwit mcp login {word} logs in" if tenant is None else f"begin_mcp_login({name!r}) of the session begins a login"
    )


class _View(NamedTuple):
    """What of a server decides about its tools."""

    name: str
    tools: tuple[str, ...] | None
    without: tuple[str, ...]
    timeout_s: float
    sampling: Sampling


class _SessionEnded(Exception):
    """The server knows the MCP session no more."""


def _now() -> float:
    return asyncio.get_running_loop().time()
