"""LiveContents: the part of a session's handle for what its MCP servers have beside tools: resources, prompts, their logs.

Leaves out asking servers (`contracts.ServerContents`) and prompts as slash commands (`prompt_commands.py`). Rules: servers
are connected where they are asked for something; what is told of a changed resource is an event of the session and goes on
without this handle, for as long as this process has the session open; what is large becomes an artifact.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from ..contracts import ServerContents
from ..core.agent import AgentSpec
from ..core.errors import Conflict, InvalidArgument, McpServerFailed, McpServerNotFound, NotFound, StoreError
from ..core.events import ArtifactStored, McpResourceUpdated
from ..core.mcp import McpServer
from ..core.mcp_contents import (
    McpCompletion,
    McpLogEntry,
    McpPrompt,
    McpPromptResult,
    McpResource,
    McpResourceContent,
    McpResourceTemplate,
    Ref,
    command_names,
    ref_of,
)
from ..core.questions import Resumption
from .live_servers import LiveServers
from .log import append_outside

TEXT_BYTES = 100 * 1024
DATA_BYTES = 1024 * 1024
"""Of what is read of a resource; more becomes an artifact."""

T = TypeVar("T")


class LiveContents(LiveServers):
    """What the session's MCP servers have beside tools. A server is connected first where it is not.

    Without a server's name those that cannot be connected, or have nothing of the kind, are left out (`mcp_status` says
    why). All raise McpServerNotFound; McpServerFailed where the server cannot be connected or answers with an error.
    """

    async def mcp_resources(self, server: str | None = None) -> list[McpResource]:
        """The resources of one server, or of all, at most 500 of each."""
        return await self._of_servers(server, lambda contents: contents.resources())

    async def mcp_resource_templates(self, server: str | None = None) -> list[McpResourceTemplate]:
        """The resource templates of one server, or of all, at most 500 of each."""
        return await self._of_servers(server, lambda contents: contents.resource_templates())

    async def read_mcp_resource(
        self, server: str, uri: str, *, answers: Resumption | None = None
    ) -> list[McpResourceContent]:
        """What a resource holds, in its parts: text, or data where it is none; more than 100 KiB of text or 1 MiB of data is
        kept as an artifact of the session. McpInputRequired where the server asks something first; `answers`: what its
        `answered` gives. InvalidArgument."""
        contents = await self._contents_of(server)
        return [await self._storable(one) for one in await contents.read(_checked_uri(uri), answers=answers)]

    async def subscribe_mcp_resource(self, server: str, uri: str) -> bool:
        """Have an event `mcp.resource_updated` in the session's log whenever the server says that this resource has changed,
        or one below it; False when that is so already.

        It holds until it is taken back, the server is removed, or nobody in this process has the session open any more, and
        also when the connection is lost and made again. The same resource is told of again after a second at the earliest,
        and ever later, up to a minute, while it keeps changing. At most 100 resources of a server.
        """
        contents = await self._contents_of(server)
        store, session, clock = self._store, self.id, self._clock

        async def tell(changed: str) -> bool:
            try:
                await append_outside(store, session, [McpResourceUpdated(server, changed)], clock)
            except (Conflict, NotFound, StoreError):
                return False  # it is archived, or gone
            return True

        return await contents.subscribe(_checked_uri(uri), tell)

    async def unsubscribe_mcp_resource(self, server: str, uri: str) -> bool:
        """Hear of this resource no more; False when it was not heard of."""
        return await (await self._contents_of(server)).unsubscribe(uri)

    async def mcp_prompts(self, server: str | None = None) -> list[McpPrompt]:
        """The prompts of one server, or of all, at most 500 of each, with the slash commands that run them."""
        if server is not None:
            await (await self._contents_of(server)).prompts()  # which says why it has none
        return [one for one in await self._all_prompts() if server in (None, one.server)]

    async def get_mcp_prompt(
        self,
        server: str,
        name: str,
        arguments: Mapping[str, str] | None = None,
        *,
        answers: Resumption | None = None,
    ) -> McpPromptResult:
        """What the server makes of a prompt. McpInputRequired where it asks something first; `answers`: what its `answered`
        gives. InvalidArgument."""
        return await (await self._contents_of(server)).prompt(name, _checked_values(arguments), answers=answers)

    async def complete_mcp(
        self,
        server: str,
        ref: Ref,
        argument: str,
        value: str,
        context: Mapping[str, str] | None = None,
    ) -> McpCompletion:
        """Values that the server proposes for an argument of a prompt or a part of a resource template (`ref`) that begins
        with `value`. `context`: arguments that are known already. InvalidArgument."""
        contents = await self._contents_of(server)
        return await contents.complete(ref_of(ref), argument, value, _checked_values(context))

    async def mcp_log(self, server: str) -> list[McpLogEntry]:
        """The last 100 messages that the server has logged on its connection in this process, oldest first; where sessions
        share the connection, whatever they were about. Connects to nothing."""
        return list((await self._contents_of(server)).log())

    # --- for the parts ------------------------------------------------------------------------------------------------

    async def _all_prompts(self, *, connect: bool = True) -> list[McpPrompt]:
        """Of all servers, with their commands. `connect`: those that are not connected."""
        names = None if connect else await self._connected_names()
        found = await self._of_servers(None, lambda contents: contents.prompts(), names)
        commands = command_names((one.server, one.name) for one in found)
        return [msgspec.structs.replace(one, command=commands[one.server, one.name]) for one in found]

    async def _connected_names(self) -> set[str]:
        return {name for name, status in (await self.mcp_status()).items() if status.connected}

    async def _servers_now(self) -> AgentSpec:
        self._check_open()
        return self._with_servers(await self._agent_now())

    async def _contents_of(self, server: str) -> ServerContents:
        spec = await self._servers_now()
        found = next((one for one in spec.mcp_servers if one.name == server), None)
        if found is None:
            known = ", ".join(repr(one.name) for one in spec.mcp_servers) or "none"
            raise McpServerNotFound(f"the session has no MCP server {server!r}. Those it has: {known}", server=server)
        if not found.enabled:
            raise McpServerFailed(f"the MCP server {server!r} is not enabled", server=server)
        return self._tool_servers().contents(found, self._served())

    async def _of_servers(
        self,
        server: str | None,
        ask: Callable[[ServerContents], Awaitable[Sequence[T]]],
        names: set[str] | None = None,
    ) -> list[T]:
        if server is not None:
            return list(await ask(await self._contents_of(server)))
        spec = await self._servers_now()
        asked = [one for one in spec.mcp_servers if one.enabled and (names is None or one.name in names)]
        if not asked:
            return []
        servers, of = self._tool_servers(), self._served()
        if names is None:
            await servers.tools(spec, of)  # connects those that are not, for a few seconds at most
            up = {status.name for status in servers.status(spec, of) if status.connected}
            asked = [one for one in asked if one.name in up]

        async def of_one(one: McpServer) -> Sequence[T]:
            try:
                return await ask(servers.contents(one, of))
            except McpServerFailed:
                return ()

        return [entry for found in await asyncio.gather(*map(of_one, asked)) for entry in found]

    async def _storable(self, one: McpResourceContent) -> McpResourceContent:
        large = one.size > (DATA_BYTES if one.text is None else TEXT_BYTES)
        if not large:
            return one
        content = one.data if one.text is None else one.text.encode()
        assert content is not None
        media_type = one.media_type or "application/octet-stream"
        stored = await self._home.parts.blobs.put_artifact(self.id, content, media_type)
        told = ArtifactStored(stored.ref, stored.size, stored.media_type)
        await append_outside(self._store, self.id, [told], self._clock)
        return msgspec.structs.replace(one, text=None, data=None, artifact=stored.ref)


def _checked_uri(uri: str) -> str:
    if not uri or len(uri) > 4096 or not uri.isprintable():
        raise InvalidArgument(f"{uri[:50]!r} is no URI of a resource: 1 to 4096 characters that can be printed")
    return uri


def _checked_values(given: Mapping[Any, Any] | None) -> dict[str, str]:
    values = dict(given or {})
    for name, value in values.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidArgument(f"argument {name!r}: names and values are texts")
    return values


__all__ = ["LiveContents"]
