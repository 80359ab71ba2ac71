"""A server that speaks as much of MCP as a test wants, byte by byte: for what no well-made server would do."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

Writer = asyncio.StreamWriter
Handler = Callable[[dict[str, Any], Writer], Awaitable[None]]


def http(body: bytes, kind: str = "application/json", *, status: str = "200 OK", length: int | None = None) -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body) if length is None else length}\r\n\r\n"
    return head.encode() + body


def answer(message: dict[str, Any], result: Any, *, id: Any = None) -> bytes:  # noqa: A002 - the field's name
    body = {"jsonrpc": "2.0", "id": message["id"] if id is None else id, "result": result}
    return http(json.dumps(body).encode())


def said(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}]}


class RawMcpSite:
    """`on`: what is done with a message, by its method, or by the name of the tool that it calls; `GET` for streams.
    `heard`: the methods of all messages, in order; `headers`: of the last request."""

    def __init__(self) -> None:
        self.on: dict[str, Handler] = {}
        self.tools: list[Any] = [{"name": name, "inputSchema": {"type": "object"}} for name in ("good", "bad", "worse")]
        self.heard: list[str] = []
        self.headers: dict[str, str] = {}
        self.port = 0
        self.calling = asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()

    @property
    def here(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.here}/mcp"

    async def serve(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                await self._request(reader, writer)
        self._open.discard(task)
        writer.close()

    async def close(self) -> None:
        for task in self._open:
            task.cancel()
        if self._open:
            await asyncio.wait(self._open)

    async def _request(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method = head[0].partition(" ")[0]
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        body = await reader.readexactly(int(self.headers.get("content-length", 0)))
        message: dict[str, Any] = json.loads(body) if body else {"method": method}
        asked = message.get("method", "answer")
        self.heard.append(asked)
        name = message["params"]["name"] if asked == "tools/call" else asked
        if asked == "tools/call":
            self.calling.set()
        handler = self.on.get(name) or self.on.get(asked)
        if handler is not None:
            await handler(message, writer)
        elif asked == "initialize":
            about = {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "raw", "version": "1"},
            }
            writer.write(answer(message, about))
        elif asked == "tools/list":
            writer.write(answer(message, {"tools": self.tools}))
        elif asked == "tools/call":
            writer.write(answer(message, said(f"{name} did it")))
        elif method == "GET":
            writer.write(http(b"", status="405 Method Not Allowed"))
        elif "id" not in message:
            writer.write(http(b"", status="202 Accepted"))
        else:
            error = {"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "not known"}}
            writer.write(http(json.dumps(error).encode()))
        await writer.drain()


@contextlib.asynccontextmanager
async def raw_mcp_site() -> AsyncIterator[RawMcpSite]:
    site = RawMcpSite()
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()
        await site.close()
