"""RemoteContents: the part of a remote handle for what its session's MCP servers have beside tools; see
`engine.live_contents`."""

from __future__ import annotations

from collections.abc import Mapping

from ..core.mcp_contents import (
    McpCompletion,
    McpLogEntry,
    McpPrompt,
    McpPromptResult,
    McpResource,
    McpResourceContent,
    McpResourceTemplate,
    Ref,
    ref_of,
)
from ..core.questions import Resumption
from .connection import segment
from .handle import RemoteHandle
from .shapes import Changed, Listed


class RemoteContents(RemoteHandle):
    """What the session's MCP servers have beside tools; it is the server that connects to them."""

    async def mcp_resources(self, server: str | None = None) -> list[McpResource]:
        """The resources of one server, or of all, at most 500 of each."""
        return (await self._post(f"/mcp_resources{_only(server)}", Listed[McpResource])).data

    async def mcp_resource_templates(self, server: str | None = None) -> list[McpResourceTemplate]:
        """The resource templates of one server, or of all, at most 500 of each."""
        return (await self._post(f"/mcp_resource_templates{_only(server)}", Listed[McpResourceTemplate])).data

    async def read_mcp_resource(
        self, server: str, uri: str, *, answers: Resumption | None = None
    ) -> list[McpResourceContent]:
        """What a resource holds, in its parts. McpInputRequired where the server asks something first; `answers`: to that.
        PermissionDenied without the scope `admin`."""
        body = {"uri": uri, "answers": answers}
        return (await self._post(f"{_of(server)}/resources/read", Listed[McpResourceContent], body)).data

    async def subscribe_mcp_resource(self, server: str, uri: str) -> bool:
        """Have an event `mcp.resource_updated` whenever the resource has changed, for as long as the server has the session
        open; False when that is so already."""
        return (await self._post(f"{_of(server)}/resources/subscribe", Changed, {"uri": uri})).changed

    async def unsubscribe_mcp_resource(self, server: str, uri: str) -> bool:
        """Hear of the resource no more; False when it was not heard of."""
        return (await self._post(f"{_of(server)}/resources/unsubscribe", Changed, {"uri": uri})).changed

    async def mcp_prompts(self, server: str | None = None) -> list[McpPrompt]:
        """The prompts of one server, or of all, at most 500 of each, with the slash commands that run them."""
        return (await self._post(f"/mcp_prompts{_only(server)}", Listed[McpPrompt])).data

    async def get_mcp_prompt(
        self,
        server: str,
        name: str,
        arguments: Mapping[str, str] | None = None,
        *,
        answers: Resumption | None = None,
    ) -> McpPromptResult:
        """What the server makes of a prompt. McpInputRequired where it asks something first; `answers`: to that."""
        body = {"name": name, "arguments": dict(arguments or {}), "answers": answers}
        return await self._post(f"{_of(server)}/prompts/get", McpPromptResult, body)

    async def complete_mcp(
        self,
        server: str,
        ref: Ref,
        argument: str,
        value: str,
        context: Mapping[str, str] | None = None,
    ) -> McpCompletion:
        """Values that the server proposes for an argument."""
        body = {"ref": ref_of(ref), "argument": argument, "value": value, "context": dict(context or {})}
        return await self._post(f"{_of(server)}/complete", McpCompletion, body)

    async def mcp_log(self, server: str) -> list[McpLogEntry]:
        """The last 100 messages that the server has logged, oldest first."""
        return (await self._get(f"{_of(server)}/log", Listed[McpLogEntry])).data


def _of(server: str) -> str:
    return f"/mcp_servers/{segment(server)}"


def _only(server: str | None) -> str:
    return "" if server is None else f"?server={segment(server)}"


__all__ = ["RemoteContents"]
