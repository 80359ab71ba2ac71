"""An MCP server that misbehaves as it is told, made of the standard library alone: `mcp_program.py [--http] [MODE]`.

Over stdio, or over HTTP on a port of its own, which is the first line of its stdout. Without a mode it behaves, but for
those of its tools that do not. Speaks the protocol of 2025-11-25.

MODE: `die` at the start, with words on stderr; `mute`: answers nothing; `quiet`: nothing
to what it does not know; `strict`: ends at a first message that is no
`initialize`; `chatty`: says on stdout what is no message; `endless`: pages without end; `schemas`: tools that are none among
good ones; `twins`: two tools of one name; `changing`: tells all the time that its tools have changed; `stays`: does not end
when it is asked to; `deaf`: reads nothing after it has been connected.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Message = dict[str, Any]

TOOLS = (
    *("echo", "about", "wait", "crash", "hang", "refuse", "junk", "huge", "stranger", "twice", "drip", "shapeless"),
    *("large", "leave_child", "broken", "keys"),
)


KNOWN = ("initialize", "tools/list", "tools/call")


class Program:
    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.first = True
        self.lists = 0
        self.heard: list[Any] = []
        self.cancelled = threading.Event()

    def answer(self, message: Message) -> Iterator[bytes]:
        """What it says to a message, in pieces."""
        method, first = message.get("method"), self.first
        self.first = False
        if self.mode == "strict" and first and method != "initialize":
            os._exit(7)
        self.heard.append(method)
        if self.mode == "mute" or (self.mode == "quiet" and method not in KNOWN):
            return
        if self.mode == "chatty":
            yield b"Listening...\n{not json}\n[1, 2]\n\xff\xfe\n\n"
        if method == "notifications/cancelled":
            self.cancelled.set()
        if "id" not in message or method is None:
            return
        if method == "initialize":
            capabilities: Message = {"tools": {"listChanged": True}}
            about = {"name": "program", "version": "1"}
            version = message["params"]["protocolVersion"]
            yield line(message, {"protocolVersion": version, "capabilities": capabilities, "serverInfo": about})
        elif method == "tools/list":
            yield line(message, self.page(message))
        elif method == "tools/call":
            yield from self.call(message, message["params"]["name"], message["params"].get("arguments") or {})
        else:
            yield failed(message, -32601, f"no method {method}")

    def page(self, message: Message) -> Message:
        self.lists += 1
        tools: list[Any] = [tool(name) for name in TOOLS]
        if self.mode == "endless":
            return {"tools": [tool(f"echo{self.lists}")], "nextCursor": str(self.lists)}
        if self.mode == "schemas":
            tools[1:1] = [
                {"name": "a"},
                {"name": "b", "inputSchema": {"type": "object", "properties": 5}},
                {"name": "c", "inputSchema": {"type": "array"}},
                {"name": "d", "inputSchema": {"type": "object", "properties": {"x": {"$ref": "https://x.example/s"}}}},
                {"name": "", "inputSchema": {"type": "object"}},
                "no tool",
                None,
            ]
        if self.mode == "twins":
            tools.append({**tool("echo"), "description": "The second."})
        if self.mode == "changing":
            tools.append(tool(f"new{self.lists}"))
        return {"tools": tools}

    def call(self, message: Message, name: str, arguments: Message) -> Iterator[bytes]:
        if name == "about":
            env = {key: os.environ.get(key) for key in arguments.get("names", [])}
            yield said(message, json.dumps({"pid": os.getpid(), "cwd": os.getcwd(), "env": env, "heard": self.heard}))
        elif name == "crash":
            print("the disk is full", file=sys.stderr, flush=True)
            os._exit(3)
        elif name == "wait":
            print("waiting", file=sys.stderr, flush=True)
            if path := arguments.get("path"):
                touch(path)
            self.cancelled.wait(20)
            if path:
                touch(f"{path}.cancelled")
        elif name == "hang":
            time.sleep(60)
        elif name == "refuse":
            yield failed(message, -32000, "not today")
        elif name == "junk":
            yield b"DEBUG calling\n" + said(message, "after junk")
        elif name == "huge":
            yield said(message, "x" * int(arguments.get("bytes", 100)))
        elif name == "stranger":
            yield said({"id": 987654}, "not yours")
        elif name == "twice":
            yield said(message, "once") + said(message, "twice")
        elif name == "drip":
            for byte in said(message, "drop by drop"):
                yield bytes([byte])
        elif name == "shapeless":
            yield line(message, {"content": "no list"})
        elif name == "large":
            yield said(message, "\n".join(f"line {n}" for n in range(20_000)))
        elif name == "leave_child":
            child = subprocess.Popen(["sleep", "60"])
            yield said(message, str(child.pid))
        elif name == "keys":
            yield said(message, json.dumps(sorted(arguments)))
        elif name == "broken":
            yield line(message, {"content": [{"type": "text", "text": "it broke"}], "isError": True})
        else:
            yield said(message, str(arguments.get("text", "")))


def touch(path: str) -> None:
    with open(path, "w", encoding="utf-8"):
        pass


def tool(name: str) -> Message:
    schema: Message = {"type": "object"}
    if name == "keys":
        types: Message = {
            "word": {"type": "string"},
            "count": {"type": "integer"},
            "maybe": {"type": ["string", "null"]},
            "free": {},
        }
        schema |= {"properties": types, "required": ["word"]}
    return {"name": name, "description": f"Tool {name}.", "inputSchema": schema}


def line(message: Message, result: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode() + b"\n"


def failed(message: Message, code: int, why: str) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": {"code": code, "message": why}}).encode() + b"\n"


def said(message: Message, text: str) -> bytes:
    return line(message, {"content": [{"type": "text", "text": text}]})


def over_stdio(program: Program) -> None:
    out, lock = sys.stdout.buffer, threading.Lock()

    def say(piece: bytes) -> None:
        with lock:
            out.write(piece)
            out.flush()

    def handle(message: Message) -> None:
        for piece in program.answer(message):
            say(piece)

    def change() -> None:
        while True:
            say(b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n')
            time.sleep(0.001)

    if program.mode == "changing":
        threading.Thread(target=change, daemon=True).start()
    for text in sys.stdin:
        message = json.loads(text)
        threading.Thread(target=handle, args=(message,), daemon=True).start()
        if program.mode == "deaf" and message.get("method") == "tools/list":
            time.sleep(60)
    if program.mode == "stays":
        time.sleep(60)


def over_http(program: Program) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["content-length"])))
            body = program.answer(message)
            first = next(body, None)
            if first is None:
                if "id" in message and "method" in message and program.mode == "mute":
                    time.sleep(60)
                self.send_response(202)
                self.send_header("content-length", "0")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("connection", "close")
            self.end_headers()
            self.wfile.write(first)
            for piece in body:
                self.wfile.write(piece)
            self.close_connection = True

        def do_GET(self) -> None:
            self.send_response(405)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    words = sys.argv[1:]
    chosen = next((word for word in words if not word.startswith("-")), "")
    if chosen == "die":
        print("no such database: /srv/db", file=sys.stderr, flush=True)
        sys.exit(4)
    if chosen == "stays":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (over_http if "--http" in words else over_stdio)(Program(chosen))
