"""`list_mcp_resources` and `read_mcp_resource`: a model looks at what the MCP servers of its session let others read.

Owns names, what rules are matched with, and what the model gets to see. Leaves out asking servers
(`contracts.ServerContents`). Rules: the definitions name no server, so that what a request begins with stays the same when
servers come and go; a call is one of its server (`mcp__server__read_mcp_resource`) for rules, and for the agent's choice of
tools; a URI is said to its server alone, and nobody here fetches it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from ..contracts import KeptFile, ServerContents, ToolContext, ToolOutput, ToolTraits
from ..core.agent import ToolDefinition
from ..core.errors import McpInputRequired, McpServerFailed, ToolFailed
from ..core.mcp import RESOURCE_TOOLS, McpServer, tool_name
from ..core.mcp_contents import McpResource, McpResourceContent, McpResourceTemplate
from ..core.messages import Document, Image, ResultBlock, Text
from ..core.rules import Subject
from .fetch import until_cancelled
from .mcp import FILE_BYTES, FILES_BYTES
from .typed import Arguments, TypedTool, clean

LIST, READ = RESOURCE_TOOLS

Served = Mapping[str, tuple[McpServer, ServerContents]]
"""The servers that have resources, by their names in the session."""


class ListArguments(Arguments, frozen=True):
    server: Annotated[str, Meta(description="Only those of this server.")] | None = None


class ReadArguments(Arguments, frozen=True):
    server: Annotated[str, Meta(description="The server, as it is listed.")]
    uri: Annotated[str, Meta(description="The resource's URI, as it is listed or as a template makes it.", max_length=4096)]


class _Resources:
    """What both tools share."""

    name: ClassVar[str]

    def __init__(self, served: Served) -> None:
        self._served = {name: contents for name, (server, contents) in served.items() if server.has(self.name)}
        most = max((server.timeout_s for server, _ in served.values()), default=300.0)
        # Held and not read-only, as the tools of servers are: see `McpTool`.
        self.traits = ToolTraits(repeatable=True, timeout_s=most, held=True)

    @property
    def useful(self) -> bool:
        return bool(self._served)

    def rule_names(self, arguments: Mapping[str, Any] | None) -> tuple[str, ...]:
        """See `contracts.HasRuleNames`."""
        if arguments is None:
            return tuple(tool_name(name, self.name) for name in self._served)
        server = arguments.get("server")
        return (tool_name(server, self.name),) if isinstance(server, str) and server in self._served else ()

    def _contents(self, server: str) -> ServerContents:
        if server not in self._served:
            known = ", ".join(sorted(self._served)) or "none"
            raise ToolFailed(f"no MCP server {server!r} is connected that has resources. Those that are: {known}")
        return self._served[server]


class ListMcpResources(_Resources, TypedTool[ListArguments]):
    name = LIST
    description = (
        "List the resources of the session's MCP servers: files, records and pages that read_mcp_resource reads. Templates"
        " stand for many: put values in place of what stands in braces."
    )
    arguments = ListArguments

    @property
    def definition(self) -> ToolDefinition:
        return _LISTING

    def subject(self, arguments: dict[str, Any]) -> Subject:
        return Subject("text", str(arguments.get("server") or ""))

    async def work(self, arguments: ListArguments, context: ToolContext) -> ToolOutput:
        names = list(self._served)
        left_out = []
        if arguments.server is not None:
            self._contents(arguments.server)
            names = [arguments.server]
        else:
            left_out = [name for name in names if context.verdict({"server": name}) != "allow"]
            names = [name for name in names if name not in left_out]
        work = asyncio.gather(*(_listed(self._served[name]) for name in names), return_exceptions=True)
        parts = []
        failed = 0
        for name, found in zip(names, await until_cancelled(_awaited(work), context.cancel), strict=True):
            if isinstance(found, McpServerFailed):
                failed += 1
                parts.append(f"{name}: {found.message}")
            elif isinstance(found, BaseException):
                raise found
            else:
                parts.append("\n".join([f"{name}:", *(found or ["  no resources"])]))
        parts += [f"{name}: not listed with the others: name it in `server`" for name in left_out]
        text = clean("\n".join(parts)) or "no MCP server is connected that has resources"
        return ToolOutput((Text(text),), is_error=bool(names) and failed == len(names))


class ReadMcpResource(_Resources, TypedTool[ReadArguments]):
    name = READ
    description = "Read a resource of an MCP server by its URI. list_mcp_resources says which there are."
    arguments = ReadArguments

    @property
    def definition(self) -> ToolDefinition:
        return _READING

    def subject(self, arguments: dict[str, Any]) -> Subject:
        return Subject("url", str(arguments.get("uri", "")))

    async def work(self, arguments: ReadArguments, context: ToolContext) -> ToolOutput:
        contents = self._contents(arguments.server)
        try:
            found = await until_cancelled(contents.read(arguments.uri, context=context), context.cancel)
        except McpInputRequired as asked:
            return ToolOutput((), questions=asked.questions, state=asked.state)
        metadata = {"server": arguments.server, "uri": arguments.uri}
        files: list[KeptFile] = []
        blocks = blocks_of(found, files) or (Text("(nothing in it)"),)
        return ToolOutput(blocks, metadata=metadata, files=tuple(files))

    async def abandoned(self, state: str) -> None:
        """A call that has asked, and gave this state, will not go on."""
        for contents in self._served.values():
            await contents.abandoned(state)


def resource_tools(served: Served) -> tuple[ListMcpResources | ReadMcpResource, ...]:
    """Both tools, without one that the agent has of none of the servers."""
    made = (ListMcpResources(served), ReadMcpResource(served))
    return tuple(tool for tool in made if tool.useful)


def blocks_of(contents: Sequence[McpResourceContent], files: list[KeptFile]) -> tuple[ResultBlock, ...]:
    """What was read, as a model takes it: text, images and PDFs as what they are, all else named. `files`: gets what is
    named and not shown."""
    blocks: list[ResultBlock] = []
    left = FILES_BYTES
    for one in contents:
        if one.text is not None:
            blocks.append(Text(clean(one.text if len(contents) == 1 else f"[resource {one.uri}]\n{one.text}\n")))
            continue
        what = f"resource {one.uri} of type {one.media_type or 'unknown'}, {one.size} bytes"
        media_type, data = one.media_type or "", one.data or b""
        shown = media_type == "application/pdf" or media_type.startswith("image/")
        if shown and one.size > min(FILE_BYTES, left):
            blocks.append(_kept(f"[{what}, too large to show]", data, left, files))
        elif media_type == "application/pdf":
            blocks.append(Document("application/pdf", data, name=one.uri))
            left -= one.size
        elif media_type.startswith("image/") and _is_image(data):
            blocks.append(Image(media_type, data))
            left -= one.size
        else:
            blocks.append(_kept(f"[{what}, which is not shown]", data, left, files))
            left -= min(left, one.size)
    return tuple(blocks)


def _kept(text: str, data: bytes, left: int, files: list[KeptFile]) -> Text:
    named = Text(clean(text))
    if len(data) <= left:
        # Whatever a server says of it, nobody's browser is to take it for a page.
        files.append(KeptFile(data, "application/octet-stream", named.text))
    return named


def _is_image(data: bytes) -> bool:
    from ..core.media import image_type

    return image_type(data) is not None


async def _listed(contents: ServerContents) -> list[str]:
    resources, templates = await asyncio.gather(contents.resources(), contents.resource_templates())
    return [_line(one.uri, one) for one in resources] + [_line(f"{one.uri_template} (template)", one) for one in templates]


def _line(what: str, one: McpResource | McpResourceTemplate) -> str:
    about = [one.title or one.name, one.media_type, " ".join((one.description or "").split())[:300]]
    return f"  {what}  {'; '.join(text for text in about if text)}"


async def _awaited(work: asyncio.Future[list[Any]]) -> list[Any]:
    return await work


def _definition(tool: type[TypedTool[Any]]) -> ToolDefinition:
    from .schema import inlined

    return ToolDefinition(tool.name, tool.description, inlined(msgspec.json.schema(tool.arguments)))


_LISTING, _READING = _definition(ListMcpResources), _definition(ReadMcpResource)
