"""ToolServers: who connects to the MCP servers of agents.

Leaves out what becomes of a call: a tool of a server is a tool like any other (`tool.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from ..core.agent import AgentSpec
from ..core.events import McpUnavailable
from ..core.ids import SessionId
from ..core.mcp import McpServer, McpStatus
from ..core.mcp_contents import (
    McpCompletion,
    McpLogEntry,
    McpPrompt,
    McpPromptResult,
    McpRef,
    McpResource,
    McpResourceContent,
    McpResourceTemplate,
)
from ..core.mcp_oauth import McpLogin
from ..core.questions import Resumption
from .tool import Tool, ToolContext


class ServerTools(NamedTuple):
    """The tools of those servers that are connected, in a stable order; and which are not, with what people are told. `due`:
    of those, some are tried for the first time or are to be tried, and a run should wait for them. `common`: tools that are
    about several of them, see `tools/mcp_resources.py`. `spare`: that no model is told of, for calls that have asked
    something: what they were calls of may be no more by the time that it is answered."""

    tools: tuple[Tool, ...] = ()
    missing: tuple[McpUnavailable, ...] = ()
    due: bool = False
    common: tuple[Tool, ...] = ()
    spare: tuple[Tool, ...] = ()


class ServedSession(NamedTuple):
    """The session that servers are connected for. `vaults`: with credentials of it; `folder`: that its tools work in;
    `user`: for whom it works, its label `principal`."""

    id: SessionId
    tenant: str | None = None
    vaults: tuple[str, ...] = ()
    folder: str | None = None
    user: str | None = None


ToldOfResource = Callable[[str], Awaitable[bool]]
"""Is given the URI of a resource that has changed; says whether it wants to hear of it further."""


class ServerContents(Protocol):
    """What one server has beside its tools. It is connected first where it is not. All raise McpServerFailed."""

    async def resources(self) -> Sequence[McpResource]: ...
    async def resource_templates(self) -> Sequence[McpResourceTemplate]: ...
    async def read(
        self, uri: str, /, *, context: ToolContext | None = None, answers: Resumption | None = None
    ) -> Sequence[McpResourceContent]:
        """The parts of a resource, whole, as text or as data. McpInputRequired where the server asks first. `context`: the
        call that it is read for, which goes on with its `resumed`; outside of calls `answers` are what it goes on with."""
        ...

    async def abandoned(self, state: str, /) -> None:
        """A call that was asked for a resource, with this state, will not go on."""
        ...

    async def prompts(self) -> Sequence[McpPrompt]:
        """Without their commands, which depend on those of other servers."""
        ...

    async def prompt(self, name: str, arguments: dict[str, str], /, *, answers: Resumption | None = None) -> McpPromptResult:
        """What the server makes of it. McpInputRequired where it asks first; `answers`: to that."""
        ...

    async def complete(self, ref: McpRef, argument: str, value: str, context: dict[str, str], /) -> McpCompletion: ...
    async def subscribe(self, uri: str, tell: ToldOfResource, /) -> bool:
        """Tell this session whenever the resource, or one below it, has changed, until it is unsubscribed or left; False
        when it is told already."""
        ...

    async def unsubscribe(self, uri: str, /) -> bool:
        """False when it was not told."""
        ...

    def log(self) -> Sequence[McpLogEntry]:
        """What it has logged last, oldest first. Connects to nothing."""
        ...


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

    async def login(self, server: McpServer, of: ServedSession, scopes: Sequence[str] = (), /) -> McpLogin:
        """Begin a login to this server for whose session it is. NotSupported, McpLoginFailed, ConfigurationError."""
        ...

    async def logged_in(self, server: McpServer, of: ServedSession, address: str, /) -> None:
        """Finish one by the address that a browser was sent back to. McpLoginFailed, InvalidArgument, NotFound."""
        ...

    async def logout(self, server: McpServer, of: ServedSession, /) -> bool:
        """Forget the login of whose session it is; False when there is none."""
        ...

    def status(self, spec: AgentSpec, of: ServedSession, /) -> tuple[McpStatus, ...]:
        """How it is with each server of the agent, in its order."""
        ...

    async def leave(self, server: McpServer, of: ServedSession, /) -> None:
        """This session needs the server no more."""
        ...

    def contents(self, server: McpServer, of: ServedSession, /) -> ServerContents:
        """What this server of the session has beside its tools."""
        ...
