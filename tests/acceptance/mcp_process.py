"""An MCP server of the official package as a process of its own, which outlives those who call it and counts their calls.

    python -m tests.acceptance.mcp_process

It prints its address, and then each call as it comes: `call NAME WHO`, and `cancelled NAME WHO` for one whose caller went
away. A call is answered at once, unless `WHO` begins with `hold`. On standard input: `let` answers all that are held, and
later ones at once.

Tools: `send` has an effect, `look` is read-only, `put` is idempotent. `McpProcess` is the test's side.
"""

from __future__ import annotations

import asyncio
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mcp_types as types
import uvicorn
from mcp.server import Server

from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
SCHEMA = {"type": "object", "properties": {"who": {"type": "string"}}}
HINTS: dict[str, dict[str, bool]] = {"send": {}, "look": {"read_only_hint": True}, "put": {"idempotent_hint": True}}


def say(line: str) -> None:
    print(line, flush=True)


async def listed(_: Any, __: Any) -> types.ListToolsResult:
    tools = [
        types.Tool(name=name, input_schema=SCHEMA, annotations=types.ToolAnnotations.model_validate(hints))
        for name, hints in HINTS.items()
    ]
    return types.ListToolsResult(tools=tools)


async def main() -> None:
    let = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def called(_: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        who = str((params.arguments or {}).get("who"))
        say(f"call {params.name} {who}")
        if who.startswith("hold"):
            try:
                await let.wait()
            except asyncio.CancelledError:
                say(f"cancelled {params.name} {who}")
                raise
        return types.CallToolResult(content=[types.TextContent(text=f"{params.name} done")])

    def listen() -> None:
        for line in sys.stdin:
            if line.strip() == "let":
                loop.call_soon_threadsafe(let.set)
        loop.call_soon_threadsafe(stop)

    def stop() -> None:
        running.should_exit = True
        let.set()

    connection = socket.create_server(("127.0.0.1", 0))
    app = Server("counting", version="1", on_list_tools=listed, on_call_tool=called).streamable_http_app(host="127.0.0.1")
    running = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
    threading.Thread(target=listen, daemon=True).start()
    say(f"127.0.0.1:{connection.getsockname()[1]}")
    await running.serve([connection])


class McpProcess:
    """`here`: its host and port, `url`: its whole address. `lines`: what it has said so far."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.acceptance.mcp_process"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._heard: queue.Queue[str] = queue.Queue()
        self._reading = threading.Thread(target=self._read)
        self._reading.start()
        self.here = self._heard.get(timeout=PATIENCE_S)
        self.url = f"http://{self.here}/mcp"
        self.lines.clear()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.strip())
            self._heard.put(line.strip())

    def until(self, *wanted: str) -> None:
        """Wait until it has said all of these since the last time."""
        left = list(wanted)
        while left:
            line = self._heard.get(timeout=PATIENCE_S)
            if line in left:
                left.remove(line)

    def let(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("let\n")
        self._process.stdin.flush()

    def calls(self, who: str) -> list[str]:
        """The names of the tools that this one has called, in order."""
        return [line.split()[1] for line in self.lines if line.startswith("call ") and line.split()[2] == who]

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE_S)
        self._reading.join()
        self._process.stdout.close()


@contextmanager
def mcp_process() -> Iterator[McpProcess]:
    made = McpProcess()
    try:
        yield made
    finally:
        made.close()


if __name__ == "__main__":
    asyncio.run(main())
