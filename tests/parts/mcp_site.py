"""A real MCP server of the official package on loopback, in a thread of its own: streamable HTTP over uvicorn."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import mcp_types as types
import uvicorn
from mcp.server import Server
from mcp.server.sse import SseServerTransport
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from tests.patience import PATIENCE_S

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"


def listed(name: str, *, schema: dict[str, Any] | None = None, **hints: bool) -> types.Tool:
    schema = schema or {"type": "object", "properties": {"text": {"type": "string"}}}
    annotations = types.ToolAnnotations.model_validate(hints) if hints else None
    return types.Tool(name=name, description=f"Tool {name}", input_schema=schema, annotations=annotations)


TOOLS = (
    listed("echo", read_only_hint=True),
    listed("picture"),
    listed("numbers"),
    listed("broken"),
    listed("wait"),
    listed("long"),
    listed("says.token"),
    listed("grow"),
    listed("mixed"),
    listed("large"),
)


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


MIXED: list[types.ContentBlock] = [
    types.TextContent(text="look here"),
    types.ImageContent(data=encoded(PNG), mime_type="image/png"),
    types.ImageContent(data="???", mime_type="image/png"),
    types.ImageContent(data=encoded(PNG[:8] + bytes(6 * 1024 * 1024)), mime_type="image/png"),
    types.AudioContent(data=encoded(b"RIFF"), mime_type="audio/wav"),
    types.ResourceLink(name="page", uri="docs://page", description="a page"),
    types.EmbeddedResource(resource=types.TextResourceContents(uri="docs://text", text="in the page")),
    types.EmbeddedResource(resource=types.BlobResourceContents(uri="docs://file", blob=encoded(b"%PDF-1.7"))),
]


def over_sse(server: Server[Any]) -> Starlette:
    """The server by the older transport, whose stream is at `/mcp`."""
    transport = SseServerTransport(
        "/messages/", security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False)
    )

    async def stream(request: Request) -> Response:
        async with transport.connect_sse(request.scope, request.receive, request._send) as (read, write):
            await server.run(read, write, server.create_initialization_options())
        return Response()

    return Starlette(routes=[Route("/mcp", stream), Mount("/messages/", app=transport.handle_post_message)])


class McpSite:
    """`tools`: what it lists, in pages of `page`. `takes`: the only token, if any. `endless`: its pages have no end.
    `stateful`: it speaks the handshake protocol alone, with `sessions`. `sse`: it is reached by the older transport.
    `tokens`: those that requests came with. `calls`: names of tools that were called. `renews`: what the token endpoint
    `/token` answers, which was asked `renewed` times. `mute`: nothing is answered before it is set. `waits`: a call of
    the tool `wait` is under way; `cancelled`: it was cancelled. `relisted`: its tools were asked for after a call."""

    def __init__(self, tools: Sequence[types.Tool] = TOOLS, *, page: int = 100, takes: str | None = None) -> None:
        self.tools = list(tools)
        self.page = page
        self.takes = takes
        self.endless = False
        self.stateful = False
        self.sse = False
        self.tokens: list[str | None] = []
        self.calls: list[str] = []
        self.sessions: list[str] = []
        self.renews: dict[str, Any] = {}
        self.renewed = 0
        self.mute: threading.Event | None = None
        self.waits = threading.Event()
        self.cancelled = threading.Event()
        self.relisted = threading.Event()
        self.port = 0
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def here(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.here}/mcp"

    def start(self) -> None:
        """On the port it had before, if any."""
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        connection.bind(("127.0.0.1", self.port))
        self.port = connection.getsockname()[1]
        server = self.made()
        app = over_sse(server) if self.sse else server.streamable_http_app(host="127.0.0.1")
        config = uvicorn.Config(self._front(app), log_level="critical", lifespan="on", timeout_graceful_shutdown=1)
        running = self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=lambda: asyncio.run(running.serve([connection])), name="mcp site")
        self._thread.start()
        while not running.started:
            assert self._thread.is_alive()
            self._thread.join(0.01)

    def made(self) -> Server[Any]:
        return Server("site", version="1", on_list_tools=self._list, on_call_tool=self._call)

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(PATIENCE_S)
            assert not self._thread.is_alive()

    def _front(self, app: Any) -> Any:
        async def front(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            if scope["path"] == "/token":
                self.renewed += 1
                await self._answer(send, 200 if self.renews else 400, json.dumps(self.renews), "application/json")
                return
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            authorization = headers.get("authorization")
            token = None if authorization is None else authorization.removeprefix("Bearer ")
            self.tokens.append(token)
            if (session := headers.get("mcp-session-id")) is not None and session not in self.sessions:
                self.sessions.append(session)
            if self.mute is not None:
                await asyncio.to_thread(self.mute.wait, 30)
            if self.takes is not None and token != self.takes:
                await self._answer(send, 401, f"no {token}")
            elif self.stateful and "mcp-method" in headers:
                await self._answer(send, 400, "an old server")
            else:
                await app(scope, receive, send)

        return front

    async def _answer(self, send: Any, status: int, text: str, kind: str = "text/plain") -> None:
        headers = [(b"content-type", kind.encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": text.encode()})

    async def _list(self, _: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        start = int(params.cursor) if params is not None and params.cursor is not None else 0
        if self.endless:
            return types.ListToolsResult(tools=[listed(f"t{start}")], next_cursor=str(start + 1))
        if self.calls:
            self.relisted.set()
        rest = start + self.page < len(self.tools)
        return types.ListToolsResult(
            tools=self.tools[start : start + self.page], next_cursor=str(start + self.page) if rest else None
        )

    async def _call(self, context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        self.calls.append(params.name)
        arguments = params.arguments or {}
        match params.name:
            case "echo":
                return types.CallToolResult(content=[types.TextContent(text=str(arguments.get("text")))])
            case "picture":
                data = base64.b64encode(PNG).decode()
                return types.CallToolResult(content=[types.ImageContent(data=data, mime_type="image/png")])
            case "numbers":
                return types.CallToolResult(content=[], structured_content={"numbers": [1, 2]})
            case "long":
                return types.CallToolResult(content=[types.TextContent(text="0123456789" * 20_000)])
            case "mixed":
                return types.CallToolResult(content=MIXED, is_error=True)
            case "large":
                return types.CallToolResult(content=[], structured_content={"rows": list(range(50_000))})
            case "grow":
                self.tools.append(listed("grown"))
                await context.session.send_tool_list_changed()
            case "wait":
                self.waits.set()
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    self.cancelled.set()
                    raise
            case "tells":
                text = f"you came with {self.tokens[-1]}, see {self.tokens[-1]}"
                return types.CallToolResult(content=[types.TextContent(text=text)])
            case "says.token":
                raise ValueError(f"you came with {self.tokens[-1]}")
        return types.CallToolResult(content=[types.TextContent(text="it broke")], is_error=True)


@contextmanager
def mcp_site(tools: Sequence[types.Tool] = TOOLS, **options: Any) -> Iterator[McpSite]:
    sse = options.pop("sse", False)
    site = McpSite(tools, **options)
    site.sse = sse
    site.start()
    try:
        yield site
    finally:
        if site.mute is not None:
            site.mute.set()
        site.stop()
