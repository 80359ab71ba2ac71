"""Watching: who wants to hear that something has changed, in both generations of the protocol, and the looks at it.

What may be watched is a topic: the tools, the list of sessions, one session. While anybody watches a topic of a tenant one
task looks at it, for all of them. Nothing is told of what a caller may not see: a session of another tenant never changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.subscriptions import ResourcesListChanged, ResourceUpdated, ServerEvent, ToolsListChanged
from mcp_types import SubscriptionsListenRequestParams, SubscriptionsListenResult

from ...core.errors import GodwitError, NotFound, SessionNotFound
from ..server.caller import Caller
from .connection import at_end, state_of
from .uris import SESSIONS, parsed

logger = logging.getLogger("godwit.server")

Context = ServerRequestContext[Any, Any]
Look = Callable[[], AsyncIterator[None]]
TOOLS = "tools"
LOOK_S = 1.0
"""How often lists are looked at, and how often at most a change is told."""
_UNSUBSCRIBE = "godwit.unsubscribe"


class Watching:
    """The watchers of one server. `tools_of`: what tells one list of tools from another."""

    def __init__(self, tools_of: Callable[[Caller], Awaitable[object]]) -> None:
        self._tools_of = tools_of
        self._topics: dict[tuple[str | None, str], _Topic] = {}

    def watch(self, caller: Caller, topic: str, changed: Callable[[], Awaitable[None]]) -> Callable[[], None]:
        """Call it whenever the topic, TOOLS or a resource, has changed, until what is returned is called."""
        key = (caller.principal.tenant, topic)
        found = self._topics.get(key)
        if found is None:
            found = self._topics[key] = _Topic(self._look(caller, topic), lambda: self._topics.pop(key, None))
        return found.add(changed)

    def _look(self, caller: Caller, topic: str) -> Look:
        if topic == TOOLS:
            return lambda: _differs(lambda: self._tools_of(caller))
        if topic == SESSIONS:
            return lambda: _differs(lambda: _newest(caller))
        return lambda: _grows(caller, topic)

    async def may(self, caller: Caller, uri: str) -> bool:
        """Whether there is such a resource for this caller, one that can change."""
        if uri == SESSIONS:
            return True
        try:
            await caller.row(parsed(uri).session)
        except NotFound:
            return False
        return True

    # --- the newer protocol ------------------------------------------------------------------------------------

    async def listen(
        self, ctx: Context, caller: Caller, params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        """Serves one stream of changes, until its client leaves."""
        wanted = params.notifications
        uris = [uri for uri in wanted.resource_subscriptions or () if await self.may(caller, uri)]
        honored = wanted.model_copy(update={"resource_subscriptions": uris or None, "prompts_list_changed": None})
        bus = InMemorySubscriptionBus()

        def told(event: ServerEvent) -> Callable[[], Awaitable[None]]:
            return lambda: bus.publish(event)

        stops = [self.watch(caller, uri, told(ResourceUpdated(uri))) for uri in uris]
        if wanted.tools_list_changed:
            stops.append(self.watch(caller, TOOLS, told(ToolsListChanged())))
        if wanted.resources_list_changed:
            stops.append(self.watch(caller, SESSIONS, told(ResourcesListChanged())))
        try:
            return await ListenHandler(bus)(ctx, params.model_copy(update={"notifications": honored}))
        finally:
            for stop in stops:
                stop()

    # --- the older protocol ------------------------------------------------------------------------------------

    async def connected(self, ctx: Context, caller: Caller) -> None:
        """From now on the connection is told when lists change."""
        session = ctx.session
        self._keep(ctx, TOOLS, self.watch(caller, TOOLS, session.send_tool_list_changed))
        self._keep(ctx, "resources", self.watch(caller, SESSIONS, session.send_resource_list_changed))

    async def subscribe(self, ctx: Context, caller: Caller, uri: str) -> None:
        """Tell the connection when this resource changes. SessionNotFound."""
        if not await self.may(caller, uri):
            raise SessionNotFound(f"there is no resource {uri!r} that changes", uri=uri)
        session = ctx.session

        async def changed() -> None:
            await session.send_resource_updated(uri)

        self._keep(ctx, uri, self.watch(caller, uri, changed))

    async def unsubscribe(self, ctx: Context, uri: str) -> None:
        stop = state_of(ctx).get(_UNSUBSCRIBE, {}).pop(uri, None)
        if stop is not None:
            stop()

    def _keep(self, ctx: Context, name: str, stop: Callable[[], None]) -> None:
        kept: dict[str, Callable[[], None]] | None = state_of(ctx).get(_UNSUBSCRIBE)
        if kept is None:
            kept = state_of(ctx)[_UNSUBSCRIBE] = {}
            all_of_them = kept

            async def end() -> None:
                for one in all_of_them.values():
                    one()
                all_of_them.clear()

            at_end(ctx, end)
        before = kept.pop(name, None)
        kept[name] = stop
        if before is not None:
            before()

    async def close(self) -> None:
        topics = list(self._topics.values())
        for topic in topics:
            topic.end()
        await asyncio.gather(*(topic.task for topic in topics), return_exceptions=True)


class _Topic:
    """One task that looks, and whom it tells."""

    def __init__(self, look: Look, over: Callable[[], object]) -> None:
        self._told: dict[object, Callable[[], Awaitable[None]]] = {}
        self._over = over
        self.task = asyncio.ensure_future(self._run(look))

    def add(self, changed: Callable[[], Awaitable[None]]) -> Callable[[], None]:
        token = object()
        self._told[token] = changed

        def stop() -> None:
            if self._told.pop(token, None) is not None and not self._told:
                self.end()

        return stop

    def end(self) -> None:
        self._over()
        self.task.cancel()

    async def _run(self, look: Look) -> None:
        try:
            async with contextlib.aclosing(look()) as changes:  # type: ignore[type-var]
                async for _ in changes:
                    for changed in list(self._told.values()):
                        try:
                            await changed()
                        except Exception:
                            logger.exception("a watcher could not be told of a change")
        except GodwitError as error:
            logger.debug("nothing changes there any more: %s", error.message)
        finally:
            self._over()


async def _differs(state: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    before = await state()
    while True:
        await asyncio.sleep(LOOK_S)
        now = await state()
        if now != before:
            before = now
            yield


async def _newest(caller: Caller) -> object:
    rows = await caller.service.store.sessions(limit=1, tenant=caller.principal.tenant)
    return [(row.id, row.updated_ms, row.head, row.status) for row in rows if row.labels.tenant == caller.principal.tenant]


async def _grows(caller: Caller, uri: str) -> AsyncIterator[None]:
    """Whenever the session's log has grown; what comes within `LOOK_S` is one change."""
    row = await caller.row(parsed(uri).session)
    seq = row.head
    while True:
        seq = await caller.service.store.wait(row.id, seq)
        yield
        await asyncio.sleep(LOOK_S)
