"""An MCP server of the official package that has resources, prompts, completions, a log and questions about roots: over
stdio as a program, `mcp_library.py [--old]`, or over HTTP in a thread (`library_site`).

`--old`: speaks the handshake protocol alone, and ends at a first message that is not of it. Its tools
change what it has: `touch` says that the resource `uri` has changed,
`grow` adds a prompt and a resource, `say` logs `text`, `roots` tells which folders it was told of, `end` ends the program,
`close` ends streams of changes.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import mcp_types as types
from mcp.server import Server
from mcp.server.lowlevel.server import NotificationOptions
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import PromptsListChanged, ResourcesListChanged, ResourceUpdated

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"
PDF = b"%PDF-1.7 a page"
BINARY = bytes(range(256))
LARGE = "0123456789abcdef" * 20_000
TOOLS = ("touch", "grow", "say", "roots", "end", "close")


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


class Library:
    """`read`: URIs that were asked for. `page`: entries of one page."""

    def __init__(self, *, old: bool = False) -> None:
        self.old = old
        self.read: list[str] = []
        self.page = 2
        self.contents: dict[str, list[Any]] = {
            "docs://guide": [types.TextResourceContents(uri="docs://guide", text="Read me.", mime_type="text/markdown")],
            "docs://picture": [types.BlobResourceContents(uri="docs://picture", blob=encoded(PNG), mime_type="image/x")],
            "docs://paper": [types.BlobResourceContents(uri="docs://paper", blob=encoded(PDF))],
            "docs://data": [types.BlobResourceContents(uri="docs://data", blob=encoded(BINARY), mime_type="a/b")],
            "docs://large": [types.TextResourceContents(uri="docs://large", text=LARGE)],
            "file:///etc/passwd": [types.TextResourceContents(uri="file:///etc/passwd", text="not yours, mine")],
        }
        self.prompts: list[types.Prompt] = [
            types.Prompt(
                name="review",
                description="Review a piece of work.",
                arguments=[
                    types.PromptArgument(name="work", description="what", required=True),
                    types.PromptArgument(name="style"),
                ],
            ),
            types.Prompt(name="code review", description="With a blank."),
            types.Prompt(name="scene", description="Several messages."),
            types.Prompt(name="plain", description="One message."),
        ]
        self.subscribed: set[str] = set()
        self.bus = InMemorySubscriptionBus()
        self.handler = ListenHandler(self.bus)
        self.session: Any = None

    def server(self) -> Server[Any]:
        more: dict[str, Any] = {}
        if not self.old:
            more["on_subscriptions_listen"] = self.handler
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Server(
                "library",
                version="1",
                on_list_tools=self._tools,
                on_call_tool=self._call,
                on_list_resources=self._resources,
                on_list_resource_templates=self._templates,
                on_read_resource=self._read,
                on_subscribe_resource=self._subscribe,
                on_unsubscribe_resource=self._unsubscribe,
                on_list_prompts=self._prompts,
                on_get_prompt=self._prompt,
                on_completion=self._complete,
                on_set_logging_level=self._level,
                **more,
            )

    async def _tools(self, _: Any, __: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[types.Tool(name=name, input_schema={"type": "object"}) for name in TOOLS])

    async def _resources(self, _: Any, params: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        start = int(params.cursor) if params is not None and params.cursor else 0
        names = list(self.contents)
        rest = start + self.page < len(names)
        return types.ListResourcesResult(
            resources=[
                types.Resource(uri=uri, name=uri.rpartition("/")[2], description=f"About {uri}.", mime_type="text/plain")
                for uri in names[start : start + self.page]
            ],
            next_cursor=str(start + self.page) if rest else None,
        )

    async def _templates(self, _: Any, __: Any) -> types.ListResourceTemplatesResult:
        template = types.ResourceTemplate(uri_template="docs://pages/{page}", name="page", title="A page")
        return types.ListResourceTemplatesResult(resource_templates=[template])

    async def _read(self, _: Any, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        self.read.append(params.uri)
        if params.uri not in self.contents:
            raise MCPError(code=-32002, message=f"there is no {params.uri}")
        return types.ReadResourceResult(contents=self.contents[params.uri])

    async def _subscribe(self, context: Any, params: types.SubscribeRequestParams) -> types.EmptyResult:
        if params.uri == "docs://deaf":
            raise MCPError(code=-32002, message="nothing is told of it")
        self.subscribed.add(params.uri)
        self.session = context.session
        return types.EmptyResult()

    async def _unsubscribe(self, _: Any, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        self.subscribed.discard(params.uri)
        return types.EmptyResult()

    async def _prompts(self, _: Any, __: Any) -> types.ListPromptsResult:
        return types.ListPromptsResult(prompts=self.prompts)

    async def _prompt(self, _: Any, params: types.GetPromptRequestParams) -> Any:
        given = params.arguments or {}

        def said(role: Any, content: Any) -> types.PromptMessage:
            return types.PromptMessage(role=role, content=content)

        match params.name:
            case "review":
                text = f"Review {given['work']} in the style of {given.get('style', 'nobody')}."
                return types.GetPromptResult(messages=[said("user", types.TextContent(text=text))])
            case "scene":
                resource = types.TextResourceContents(uri="docs://guide", text="Read me.")
                return types.GetPromptResult(
                    description="A scene.",
                    messages=[
                        said("user", types.TextContent(text="Who is there?")),
                        said("assistant", types.TextContent(text="I am.")),
                        said("user", types.ImageContent(data=encoded(PNG), mime_type="image/png")),
                        said("user", types.EmbeddedResource(resource=resource)),
                    ],
                )
        return types.GetPromptResult(messages=[said("user", types.TextContent(text=f"This is {params.name}."))])

    async def _complete(self, _: Any, params: types.CompleteRequestParams) -> types.CompleteResult:
        about = params.ref.name if isinstance(params.ref, types.PromptReference) else params.ref.uri
        context = "" if params.context is None else json.dumps(params.context.arguments)
        value = f"{about}:{params.argument.name}:{params.argument.value}:{context}"
        return types.CompleteResult(completion=types.Completion(values=[value], total=7, has_more=True))

    async def _level(self, _: Any, params: types.SetLevelRequestParams) -> types.EmptyResult:
        self.level = params.level
        return types.EmptyResult()

    async def _call(self, context: Any, params: types.CallToolRequestParams) -> Any:
        given = params.arguments or {}
        old = context.session.protocol_version != "2026-07-28"
        text = "done"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            match params.name:
                case "touch" if old:
                    await context.session.send_resource_updated(given["uri"])
                case "touch":
                    await self.bus.publish(ResourceUpdated(given["uri"]))
                case "grow":
                    name = f"grown{len(self.prompts)}"
                    self.prompts.append(types.Prompt(name=name))
                    self.contents[f"docs://{name}"] = [types.TextResourceContents(uri=f"docs://{name}", text=name)]
                    if old:
                        await context.session.send_prompt_list_changed()
                        await context.session.send_resource_list_changed()
                    else:
                        await self.bus.publish(PromptsListChanged())
                        await self.bus.publish(ResourcesListChanged())
                case "say":
                    for _ in range(given.get("times", 1)):
                        await context.session.send_log_message(
                            given.get("level", "warning"), given["text"], "desk", related_request_id=context.request_id
                        )
                case "roots" if old:
                    found = await context.session.list_roots()
                    text = json.dumps([str(root.uri) for root in found.roots])
                case "roots":
                    if params.input_responses is None:
                        return types.InputRequiredResult(input_requests={"r": types.ListRootsRequest()}, request_state="x")
                    answer: Any = params.input_responses["r"]
                    text = json.dumps([str(root.uri) for root in answer.roots])
                case "end":
                    os._exit(3)
                case "close":
                    self.handler.close()
        return types.CallToolResult(content=[types.TextContent(text=text)])


async def over_stdio(library: Library) -> None:
    server = library.server()
    options = server.create_initialization_options(NotificationOptions(True, True, True))
    async with stdio_server() as (read, write):
        await server.run(Handshakes(read) if library.old else read, write, options)


class Handshakes:
    """What the client says; the program ends where that does not begin with a handshake."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._first = True

    async def receive(self) -> Any:
        item = await self._inner.receive()
        if self._first and item.message.method != "initialize":
            os._exit(7)
        self._first = False
        return item

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __aiter__(self) -> Handshakes:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Handshakes:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *raised: Any) -> None:
        await self._inner.__aexit__(*raised)


@contextmanager
def library_site(**options: Any) -> Iterator[Any]:
    """The library as an `McpSite`, whose `library` it is."""
    from tests.parts.mcp_site import McpSite

    class LibrarySite(McpSite):
        library = Library()

        def made(self) -> Server[Any]:
            return self.library.server()

    site = LibrarySite()
    for name, value in options.items():
        setattr(site, name, value)
    site.start()
    try:
        yield site
    finally:
        site.stop()


if __name__ == "__main__":
    asyncio.run(over_stdio(Library(old="--old" in sys.argv)))
