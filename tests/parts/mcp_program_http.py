"""The server of `mcp_program.py` over HTTP, on a port of its own, which is the first line of its stdout: streamable, or the
older one with a stream of events."""

from __future__ import annotations

import itertools
import json
import queue
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

Message = dict[str, Any]


class Answers(Protocol):
    mode: str

    def answer(self, message: Message) -> Iterator[bytes]: ...
    def idle(self) -> Iterator[bytes]: ...


def over_http(program: Answers, *, sse: bool) -> None:
    streams: dict[str, queue.Queue[Iterable[bytes] | None]] = {}
    ids = itertools.count(1)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if sse:
                self.answered(202)
                streams[self.path].put(program.answer(message))
                return
            body = program.answer(message)
            first = next(body, None)
            if first is None:
                if "id" in message and "method" in message and program.mode in ("mute", "quiet"):
                    time.sleep(60)
                self.answered(202)
                return
            second = next(body, None)
            if second is None or not first.endswith(b"\n"):
                self.begin("application/json")
                for piece in (first, second or b"", *body):
                    self.wfile.write(piece)
            else:
                # More than one message: as events, as they come.
                self.begin("text/event-stream")
                events = Events()
                for piece in itertools.chain((first, second), body):
                    self.wfile.write(events.of(piece))

        def do_GET(self) -> None:
            if not sse:
                if program.mode != "floods":
                    self.answered(405)
                    return
                self.begin("text/event-stream")
                events = Events()
                for piece in program.idle():
                    self.wfile.write(events.of(piece))
                return
            path = f"/messages/{next(ids)}"
            waiting = streams[path] = queue.Queue()
            self.begin("text/event-stream")
            self.wfile.write(f"event: endpoint\ndata: {path}\n\n".encode())
            self.wfile.flush()
            lock = threading.Lock()

            def say(pieces: Iterable[bytes]) -> None:
                events = Events()
                try:
                    for piece in pieces:
                        with lock:
                            self.wfile.write(events.of(piece))
                            self.wfile.flush()
                except OSError:
                    waiting.put(None)

            threading.Thread(target=say, args=(program.idle(),), daemon=True).start()
            while (pieces := waiting.get()) is not None:
                threading.Thread(target=say, args=(pieces,), daemon=True).start()

        def begin(self, kind: str) -> None:
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("connection", "close")
            self.end_headers()
            self.close_connection = True

        def answered(self, status: int) -> None:
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: Any) -> None:
            return

    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    sys.stdout.flush()
    server.serve_forever()


class Events:
    """Makes events of messages, whose pieces it gets in whatever size. What ends with no line is no message."""

    def __init__(self) -> None:
        self._within = False

    def of(self, piece: bytes) -> bytes:
        made = b""
        for line in piece.splitlines(keepends=True):
            made += b"" if self._within else b"event: message\ndata: "
            self._within = not line.endswith(b"\n")
            made += line if self._within else line.rstrip(b"\r\n") + b"\n\n"
        return made
