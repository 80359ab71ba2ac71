"""Protocol: the SDK's server with what godwit offers, for both generations and every transport.

Owns which request leads where, and how errors are said. What is offered is the business of the modules beside this one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from importlib import import_module
from typing import Any, TypeVar

import mcp_types as types
from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from ...core.errors import GodwitError, InvalidArgument, NotFound
from ...core.ids import SessionId
from ..server.caller import Caller
from ..server.roster import Roster
from ..server.service import Service
from . import resources
from .calls import Tools
from .cancelled import Calls
from .connection import state_of
from .prompts import DELEGATE, Prompts, Written
from .sealing import sealing
from .telling import LEVEL
from .tools import agent_tool, session_tools
from .uris import SESSIONS
from .watching import Watching

Context = ServerRequestContext[Any, Any]
CallerOf = Callable[[Context], Caller]
P = TypeVar("P")
R = TypeVar("R")

RESOURCE_NOT_FOUND = -32002
"""What the older protocol says; the newer one says INVALID_PARAMS."""
MOST_COMPLETIONS = 100
INSTRUCTIONS = """\
godwit runs agents in durable sessions. Each agent is a tool: call it with a prompt that says all it has to know, and it \
works until it is done and answers. A session outlives the call: give its id as `session` to go on with it. For work that \
takes long use session_start, do something else, and session_wait later; an id stays good after any restart. An agent may \
wait for an approval: the person is asked where this client can do that, else the result says what is waited for."""
_HINTS: dict[CacheableMethod, CacheHint] = {
    "tools/list": CacheHint(5_000, "private"),
    "prompts/list": CacheHint(5_000, "private"),
    "resources/templates/list": CacheHint(3_600_000, "private"),
    "server/discover": CacheHint(60_000, "private"),
}
"""Who asks decides what is listed; what may change at any time has none, which is stale at once."""


class _Server(Server[Any]):
    """In the older protocol a server says which changes it tells of when it is initialized."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        told = notification_options or NotificationOptions(tools_changed=True, resources_changed=True)
        return super().create_initialization_options(told, experimental_capabilities, extensions)


class Served:
    """`server`: the SDK's. `close` it when no request comes any more."""

    def __init__(self, server: Server[Any], watching: Watching, calls: Calls) -> None:
        self.server = server
        self._watching = watching
        self._calls = calls

    async def close(self) -> None:
        await self._calls.close()
        await self._watching.close()


async def served(service: Service, roster: Roster, caller_of: CallerOf, written: Written | None = None) -> Served:
    """A server for this host. `written`: commands of files, which become prompts. The errors of `sealing`."""
    calls = Calls(lambda: service.tenants.ending)
    handlers = _Handlers(roster, caller_of, calls, written)
    boundary = await sealing(service.runtime, lambda ctx: caller_of(ctx).principal)
    server = _Server(
        "godwit",
        version=_version(),
        title="godwit",
        description="Durable agent sessions.",
        instructions=INSTRUCTIONS,
        cache_hints=_HINTS,
        get_tool_input_schema=lambda _: None,  # no argument of ours travels in a header
        on_list_tools=_said(handlers.list_tools),
        on_call_tool=_said(handlers.call_tool),
        on_list_resources=_said(handlers.list_resources),
        on_list_resource_templates=_said(handlers.list_templates),
        on_read_resource=_said(handlers.read_resource),
        on_subscribe_resource=_said(handlers.subscribe),
        on_unsubscribe_resource=_said(handlers.unsubscribe),
        on_subscriptions_listen=_said(handlers.listen),
        on_list_prompts=_said(handlers.list_prompts),
        on_get_prompt=_said(handlers.get_prompt),
        on_completion=_said(handlers.complete),
    )
    # The SDK warns of what the newer protocol has given up; the older one still has it.
    server.add_request_handler("logging/setLevel", types.SetLevelRequestParams, _said(handlers.set_level))
    server.add_notification_handler("notifications/initialized", types.NotificationParams, handlers.initialized)
    server.middleware += [calls.middleware, boundary]
    return Served(server, handlers.watching, calls)


def _said(handler: Callable[[Context, P], Awaitable[R]]) -> Callable[[Context, P], Awaitable[R]]:
    """Errors as this protocol says them. What is our own fault is left to the SDK, which logs it and tells nothing of it."""

    @wraps(handler)
    async def said(ctx: Context, params: P) -> R:
        try:
            return await handler(ctx, params)
        except GodwitError as error:
            raise _error(ctx, error) from None

    return said


def _error(ctx: Context, error: GodwitError) -> MCPError:
    code = types.INVALID_PARAMS if isinstance(error, NotFound | InvalidArgument) else types.INTERNAL_ERROR
    data: dict[str, Any] = {"code": error.code}
    if ctx.method == "resources/read" and isinstance(error, NotFound):
        data["uri"] = (ctx.params or {}).get("uri")
        if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            code = RESOURCE_NOT_FOUND
    return MCPError(code, error.message, data)


def _version() -> str:
    found: str = import_module(__name__.partition(".")[0]).__version__
    return found


class _Handlers:
    """What becomes of each request."""

    def __init__(self, roster: Roster, caller_of: CallerOf, calls: Calls, written: Written | None) -> None:
        self._caller = caller_of
        self._tools = Tools(roster, calls)
        self._prompts = Prompts(written)
        self.watching = Watching(self._tool_names)

    async def _tool_names(self, caller: Caller) -> object:
        return [(name, one.id, one.description) for name, one in (await self._tools.agents(caller)).items()]

    # --- tools -------------------------------------------------------------------------------------------------

    async def list_tools(self, ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        agents = await self._tools.agents(self._caller(ctx))
        return types.ListToolsResult(tools=[*(agent_tool(name, one) for name, one in agents.items()), *session_tools()])

    async def call_tool(
        self, ctx: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        return await self._tools.call(ctx, self._caller(ctx), params)

    # --- resources ---------------------------------------------------------------------------------------------

    async def list_resources(self, ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        return await resources.listed(self._caller(ctx), None if params is None else params.cursor)

    async def list_templates(
        self, ctx: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        return resources.templates()

    async def read_resource(self, ctx: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        return await resources.read(self._caller(ctx), str(params.uri))

    async def subscribe(self, ctx: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        await self.watching.subscribe(ctx, self._caller(ctx), str(params.uri))
        return types.EmptyResult()

    async def unsubscribe(self, ctx: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        await self.watching.unsubscribe(ctx, str(params.uri))
        return types.EmptyResult()

    async def listen(self, ctx: Context, params: types.SubscriptionsListenRequestParams) -> types.SubscriptionsListenResult:
        return await self.watching.listen(ctx, self._caller(ctx), params)

    async def initialized(self, ctx: Context, params: types.NotificationParams | None) -> None:
        if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            await self.watching.connected(ctx, self._caller(ctx))

    # --- prompts, and what helps to fill things in ----------------------------------------------------------------

    async def list_prompts(self, ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
        return await self._prompts.listed(self._caller(ctx))

    async def get_prompt(self, ctx: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        return await self._prompts.get(self._caller(ctx), params.name, dict(params.arguments or {}))

    async def complete(self, ctx: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        caller, argument = self._caller(ctx), params.argument
        found: list[str] = []
        if isinstance(params.ref, types.PromptReference):
            if params.ref.name == DELEGATE and argument.name == "agent":
                found = [name for name in await self._tools.agents(caller) if name.startswith(argument.value)]
        elif argument.name == "session" and str(params.ref.uri).startswith(SESSIONS):
            rows = await caller.service.store.sessions(
                limit=MOST_COMPLETIONS + 1, tenant=caller.principal.tenant, prefix=argument.value or None
            )
            found = [str(row.id) for row in rows if row.labels.tenant == caller.principal.tenant]
        elif argument.name == "artifact" and params.context is not None and params.context.arguments:
            session = SessionId(params.context.arguments.get("session", ""))
            handle = await caller.watched(session)
            refs = [one.ref.rpartition(":")[2] for one in await handle.artifacts.list()]
            found = [ref for ref in refs if ref.startswith(argument.value.rpartition(":")[2])]
        shown = found[:MOST_COMPLETIONS]
        return types.CompleteResult(
            completion=types.Completion(values=shown, total=len(found), has_more=len(found) > len(shown))
        )

    async def set_level(self, ctx: Context, params: types.SetLevelRequestParams) -> types.EmptyResult:
        state_of(ctx)[LEVEL] = params.level
        return types.EmptyResult()


__all__ = ["Served", "served"]
