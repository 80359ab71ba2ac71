"""HTTP as a client with no library between: requests over connections that are kept, and streams that are followed.

It blocks, on sockets and `selectors` alone, so that what is measured is the server. It reads what a server of ours and the
floor send, and no more of HTTP: lengths for answers, chunks and frames for streams.
"""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from .pace import heard

PATIENCE_S = 120.0


def asking(path: str, body: Any = None, *, method: str | None = None) -> bytes:
    """A request. With a body it is a POST of JSON."""
    head = f"{method or ('GET' if body is None else 'POST')} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: none\r\n"
    if body is None:
        return f"{head}\r\n".encode()
    data = json.dumps(body, separators=(",", ":")).encode()
    return f"{head}content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data


def connect(url: str) -> socket.socket:
    place = urlsplit(url)
    made = socket.create_connection((place.hostname, place.port), timeout=PATIENCE_S)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


class Line:
    """One connection, on which one thing is asked after the other."""

    def __init__(self, url: str) -> None:
        self.socket = connect(url)
        self._data = b""
        self._need = 0

    def send(self, request: bytes) -> None:
        self._data, self._need = b"", 0
        self.socket.sendall(request)

    def take(self) -> bytes | None:
        """Read once; the body when the answer is whole."""
        piece = self.socket.recv(1 << 18)
        if not piece:
            raise ConnectionError(f"the server closed the connection behind {self._data[:500]!r}")
        self._data += piece
        if not self._need:
            end = self._data.find(b"\r\n\r\n")
            if end < 0:
                return None
            head = self._data[:end].lower()
            self._need = end + 4 + int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            self._head = end + 4
        if len(self._data) < self._need:
            return None
        if b" 200 " not in self._data[:16]:
            raise RuntimeError(f"refused: {self._data[:1000]!r}")
        return self._data[self._head : self._need]

    def ask(self, request: bytes) -> bytes:
        self.send(request)
        while (body := self.take()) is None:
            pass
        return body

    def close(self) -> None:
        self.socket.close()


def ask_all(url: str, requests: Sequence[bytes], connections: int) -> tuple[list[float], list[bytes]]:
    """Ask all of it over so many connections, on each the next when the last is answered: how long each took, in ms, and
    the answers, in the order of the requests."""
    took, answers = [0.0] * len(requests), [b""] * len(requests)
    waiting = selectors.DefaultSelector()
    lines = [Line(url) for _ in range(min(connections, len(requests)))]
    begun = [0.0] * len(lines)
    under_way = list(range(len(lines)))
    following = iter(range(len(requests)))
    for number, line in enumerate(lines):
        waiting.register(line.socket, selectors.EVENT_READ, number)
        under_way[number] = next(following)
        begun[number] = time.perf_counter()
        line.send(requests[under_way[number]])
    left = len(requests)
    while left:
        ready = waiting.select(PATIENCE_S)
        if not ready:
            raise TimeoutError(f"{left} of {len(requests)} requests are not answered")
        for key, _ in ready:
            number = key.data
            body = lines[number].take()
            if body is None:
                continue
            now = time.perf_counter()
            took[under_way[number]] = (now - begun[number]) * 1000
            answers[under_way[number]] = body
            left -= 1
            upcoming = next(following, None)
            if upcoming is not None:
                under_way[number], begun[number] = upcoming, time.perf_counter()
                lines[number].send(requests[upcoming])
    waiting.close()
    for line in lines:
        line.close()
    return took, answers


class _Follower:
    __slots__ = ("count", "done", "rest", "socket")

    def __init__(self, made: socket.socket) -> None:
        self.socket = made
        self.rest = b""
        self.count = 0
        self.done = False


class Followers:
    """One stream of each of these paths, from when it is made: its server has begun to answer each."""

    def __init__(self, url: str, paths: Sequence[str]) -> None:
        self._followers: list[_Follower] = []
        self._waiting = selectors.DefaultSelector()
        for path in paths:
            one = _Follower(connect(url))
            one.socket.sendall(asking(path))
            self._followers.append(one)
        for one in self._followers:
            while b"\r\n\r\n" not in one.rest:
                piece = one.socket.recv(65536)
                if not piece:
                    raise ConnectionError("the server closed a stream before it began")
                one.rest += piece
            head, _, one.rest = one.rest.partition(b"\r\n\r\n")
            if b" 200 " not in head[:16]:
                raise RuntimeError(f"refused: {head!r}{one.rest!r}")
            one.socket.setblocking(False)
            self._waiting.register(one.socket, selectors.EVENT_READ, one)

    def until(self, over: Callable[[int, bytes], bool]) -> list[float]:
        """Read until it is over for each: told how many times it has heard, and what it got last. How long ago each time
        that was heard had been, in ms; every frame has ended when it is looked at."""
        ages: list[float] = []
        for one in self._followers:
            one.count, one.done = 0, False
        left = len(self._followers)
        while left:
            ready = self._waiting.select(PATIENCE_S)
            if not ready:
                raise TimeoutError(f"{left} of {len(self._followers)} followers wait for more; {len(ages)} were delivered")
            for key, _ in ready:
                one = key.data
                piece = one.socket.recv(1 << 18)
                now = time.monotonic_ns()
                if not piece:
                    raise ConnectionError("the server ended a stream")
                data = one.rest + piece
                end = data.rfind(b"\n\n") + 2
                if end < 2:
                    one.rest = data
                    continue
                one.rest = data[end:]
                frames = data[:end]
                times = heard(frames)
                one.count += len(times)
                ages.extend([(now - due) / 1e6 for due in times])
                if not one.done and over(one.count, frames):
                    one.done = True
                    left -= 1
        return ages

    def close(self) -> None:
        self._waiting.close()
        for one in self._followers:
            one.socket.close()
