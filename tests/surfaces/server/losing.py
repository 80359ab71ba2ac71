"""A proxy that loses answers: it takes them from the server, whole, and ends the connection instead of passing them on."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.patience import PATIENCE_S

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class LosingProxy:
    """`url`: its address. `lose(n)`: of the next n requests whose method is not GET the answer is lost; `lost` counts them.
    `drop(n)`: the next n do not even reach the server. `between`: is called when an answer was lost, before the client sees
    that."""

    def __init__(self, upstream: str) -> None:
        found = urlsplit(upstream)
        self.upstream = (found.hostname or "", found.port or 0)
        self.lost = 0
        self.between: Callable[[], None] | None = None
        self.passed: list[bytes] = []
        self._lose = 0
        self._drop = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def lose(self, answers: int = 1) -> None:
        with self._lock:
            self._lose = answers

    def drop(self, requests: int = 1) -> None:
        with self._lock:
            self._drop = requests

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            self._sockets.append(client)
            server: socket.socket | None = None
            try:
                while request := _message(client):
                    with self._lock:
                        dropped = self._drop > 0 and not request.startswith(b"GET")
                        self._drop -= dropped
                        lost = not dropped and self._lose > 0 and not request.startswith(b"GET")
                        self._lose -= lost
                        self.passed += [] if dropped else [request]
                    if dropped:
                        return
                    if server is None:
                        server = socket.create_connection(self.upstream)
                        self._sockets.append(server)
                    server.sendall(request)
                    answer = _message(server)
                    if lost:
                        with self._lock:
                            self.lost += 1
                        if self.between is not None:
                            self.between()
                        return
                    if not answer:
                        return
                    client.sendall(answer)
            finally:
                if server is not None:
                    server.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        for thread in self._threads:
            thread.join(PATIENCE_S)


def _message(source: socket.socket) -> bytes:
    """One request or answer with a told length; nothing at the end."""
    found = b""
    while b"\r\n\r\n" not in found:
        chunk = source.recv(1 << 16)
        if not chunk:
            return b""
        found += chunk
    head, _, body = found.partition(b"\r\n\r\n")
    told = _LENGTH.search(head)
    left = (int(told[1]) if told else 0) - len(body)
    while left > 0:
        chunk = source.recv(1 << 16)
        if not chunk:
            return b""
        found += chunk
        left -= len(chunk)
    return found


@contextmanager
def losing(upstream: str) -> Iterator[LosingProxy]:
    proxy = LosingProxy(upstream)
    try:
        yield proxy
    finally:
        proxy.close()
