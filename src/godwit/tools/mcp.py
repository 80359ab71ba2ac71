"""Tools of MCP servers: one server's list of tools as tools of a session, and what their calls come to for a model.

Owns names, schemas, traits, the order and results. Leaves out connecting (`host/mcp/connection.py`), which hands in who
carries a call out. Rules: one tool that cannot be used is left out with a warning, and the others stay; what a server says
of its tools are hints, which decide about nothing but whether a call may be repeated after a crash; what a server does
becomes an error of the call.
"""

from __future__ import annotations

import base64
import binascii
import logging
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import msgspec

from ..contracts import KeptFile, ToolContext, ToolOutput, ToolTraits, Workspace
from ..core.agent import ToolDefinition
from ..core.errors import ConfigurationError
from ..core.mcp import McpServer, tool_name
from ..core.media import image_type
from ..core.messages import Document, Image, ResultBlock, Text
from .fetch import until_cancelled
from .schema import Schema
from .typed import clean

if TYPE_CHECKING:
    from mcp_types import CallToolResult, Tool as ListedTool

logger = logging.getLogger("godwit")

MOST_TOOLS = 500
"""Of one server."""
LONGEST_NAME = 200
SCHEMA_BYTES = 64 * 1024
LIST_BYTES = 1024 * 1024
"""Of all that one server says of its tools."""
DESCRIPTION = 16 * 1024
STRUCTURED_BYTES = 64 * 1024
"""Of structured content that goes into a result's metadata."""
FILE_BYTES = 5 * 1024 * 1024
"""Of an image or a document that is shown."""
FILES_BYTES = 20 * 1024 * 1024
"""Of all of them in one result."""
_NOTHING = "(no output)"


class Order(NamedTuple):
    """A request that a server may answer with questions: of which server, a call of a tool by its `name`, a prompt by its,
    or a resource by its URI; and whether it may be sent again when nobody knows what became of it."""

    server: McpServer
    name: str
    arguments: dict[str, Any]
    repeatable: bool
    what: Literal["tool", "resource", "prompt"] = "tool"


class Caller(Protocol):
    """Carries calls out on a server."""

    async def call(self, order: Order, context: ToolContext) -> CallToolResult | ToolOutput:
        """What the server has answered, or what it asks. ToolFailed. May be cancelled, which the server is told."""
        ...

    async def abandoned(self, state: str) -> None:
        """A call that has asked, and gave this state, will not go on."""
        ...


class McpTool:
    """A tool of an MCP server. ConfigurationError when its schema cannot be used."""

    def __init__(self, server: McpServer, listed: ListedTool, caller: Caller) -> None:
        if not 0 < len(listed.name) <= LONGEST_NAME:
            raise ConfigurationError(f"a name has 1 to {LONGEST_NAME} characters")
        schema = dict(listed.input_schema)
        if schema.get("type") != "object":
            raise ConfigurationError(f"its schema is of type {schema.get('type')!r}, not object")
        if len(msgspec.json.encode(schema)) > SCHEMA_BYTES:
            raise ConfigurationError(f"its schema is longer than {SCHEMA_BYTES} bytes")
        self._schema = Schema(schema, trusted=False)
        self._left_out = _left_out(schema)
        self._server = server
        self._tool = listed.name
        self._caller = caller
        told = clean(listed.description or listed.title or f"{listed.name} of {server.name}")[:DESCRIPTION]
        self.definition = ToolDefinition(tool_name(server.name, listed.name), told, schema)
        hints = listed.annotations
        repeatable = hints is not None and (hints.read_only_hint is True or hints.idempotent_hint is True)
        # Held: the connection is this process's, and with it the credential. Not read-only, whatever it says: approvals may
        # be spared for what only reads, and who says so here is a stranger.
        self.traits = ToolTraits(repeatable=repeatable, timeout_s=server.timeout_s, held=True)

    def validate(self, arguments: dict[str, Any]) -> None:
        self._schema.check(self.definition.name, self._sent(arguments))

    def locks(self, arguments: dict[str, Any], workspace: Workspace | None) -> frozenset[str]:
        return frozenset()

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        order = Order(self._server, self._tool, self._sent(arguments), self.traits.repeatable)
        result = await until_cancelled(self._caller.call(order, context), context.cancel)
        if isinstance(result, ToolOutput):
            return result
        return output_of_result(result, {"server": self._server.name, "tool": self._tool})

    async def abandoned(self, state: str) -> None:
        await self._caller.abandoned(state)

    def _sent(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments without those that are null in place of being left out, as models write them."""
        return {name: value for name, value in arguments.items() if value is not None or name not in self._left_out}


def _left_out(schema: dict[str, Any]) -> frozenset[str]:
    """Parameters that need not be given, and may not be null."""
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, dict):
        return frozenset()
    needed = required if isinstance(required, list) else []
    return frozenset(
        name
        for name, about in properties.items()
        if name not in needed and isinstance(about, dict) and isinstance(about.get("type"), str) and about["type"] != "null"
    )


def mcp_tools(server: McpServer, listed: Iterable[ListedTool], caller: Caller) -> tuple[McpTool, ...]:
    """Those of the listed tools that the agent has and that can be used, by their names: a server may list them in another
    order each time, and what a request begins with would change."""
    made: dict[str, McpTool] = {}
    size = 0
    for one in listed:
        if not server.has(one.name):
            continue
        try:
            tool = McpTool(server, one, caller)
        except Exception as error:  # it is a stranger's data: whatever is wrong with it costs this tool alone
            logger.warning("MCP server %s: its tool %.100r is left out: %s", server.name, one.name, error)
            continue
        if tool.definition.name in made:
            logger.warning("MCP server %s: a second tool %.100r is left out", server.name, one.name)
            continue
        size += len(msgspec.json.encode(tool.definition))
        if size > LIST_BYTES:
            logger.warning(
                "MCP server %s says more than %d bytes of its tools: the first are taken", server.name, LIST_BYTES
            )
            break
        made[tool.definition.name] = tool
    return tuple(made[name] for name in sorted(made))


def output_of_result(result: CallToolResult, metadata: dict[str, Any]) -> ToolOutput:
    """What the model gets to see of a result. Data without words is given as JSON; what no model takes is named."""
    blocks: list[ResultBlock] = []
    files: list[KeptFile] = []
    left = FILES_BYTES
    for one in result.content:
        kept = len(files)
        if (block := block_of(one, left, files)) is not None:
            blocks.append(block)
            if isinstance(block, Image | Document):
                left -= len(block.data or b"")
        left -= sum(len(file.content) for file in files[kept:])
    structured = result.structured_content
    if structured is not None:
        text = msgspec.json.encode(structured).decode()
        if not any(isinstance(block, Text) for block in blocks):
            blocks.append(Text(text))
        if len(text) <= STRUCTURED_BYTES:
            metadata = {**metadata, "structured": structured}
    return ToolOutput(tuple(blocks) or (Text(_NOTHING),), result.is_error, metadata, files=tuple(files))


def block_of(content: Any, left: int, files: list[KeptFile] | None = None) -> ResultBlock | None:
    """Content of the protocol as a model takes it; None where there is nothing in it. `left`: bytes of files that there is
    room for. `files`: gets what is named and not shown."""
    match content.type:
        case "text":
            return Text(clean(content.text)) if content.text else None
        case "image":
            return _file(content.data, content.mime_type, "an image", left, files)
        case "audio":
            return _file(content.data, content.mime_type, "sound", left, files)
        case "resource_link":
            about = f": {content.description}" if content.description else ""
            return Text(clean(f"[resource {content.name}, {content.uri}{about}]"))
        case "resource":
            resource = content.resource
            text = getattr(resource, "text", None)
            if isinstance(text, str):
                return Text(clean(f"[resource {resource.uri}]\n{text}"))
            name = str(resource.uri)
            return _file(resource.blob, resource.mime_type or "", f"resource {name}", left, files, name)
        case other:
            return Text(f"[content of type {str(other)[:50]}, which is not shown]")


def _file(data: str, told: str, what: str, left: int, files: list[KeptFile] | None, name: str | None = None) -> ResultBlock:
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return Text(f"[{what} that is not encoded as it should be]")
    size, fits = len(content), len(content) <= min(FILE_BYTES, left)
    if fits and (media_type := image_type(content)):
        return Image(media_type, content)
    if fits and content.startswith(b"%PDF-"):
        return Document("application/pdf", content, name=name)
    shown = "which is not shown" if fits else "too large to show"
    named = Text(clean(f"[{what} of type {told[:100] or 'unknown'}, {size} bytes, {shown}]"))
    if files is not None and size <= left:
        # Whatever else a server says of it, nobody's browser is to take it for a page.
        plain = (
            told.lower() if re.fullmatch(r"(audio|video)/[a-z0-9.+-]{1,60}", told.lower()) else "application/octet-stream"
        )
        files.append(KeptFile(content, plain, named.text))
    return named
