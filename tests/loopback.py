"""A provider on 127.0.0.1 that serves recorded bytes: real sockets, real HTTP/1.1, chunked as providers send it.

It knows no provider's format: a `Reply` is bytes and how to send them (whole or one server-sent event per chunk, paced,
cut after some, stalled until released or until the client goes away). Requests are kept as they came, disconnects are
counted. Recordings are JSON files `{"exchanges": [{"request": {method, path, body}, "response": {status, content_type,
body}}]}`; they live outside the project, so a reader of them must be ready for `recordings()` to be None.

It sleeps only where a reply asks for a pace (`pause_s`); tests wait on its conditions instead.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tests.patience import PATIENCE_S

Split = Literal["events", "whole", "crumbs"]
"""`crumbs`: pieces of a few bytes, cut without regard to events, lines and characters."""
Ending = Literal["end", "close", "abort"]
"""`end`: the body is closed properly. `close`: the connection is closed inside it. `abort`: it is reset."""

_CRUMB = 61
_EVENT = re.compile(rb".*?(?:\r\n\r\n|\n\n|\r\r)|.+\Z", re.DOTALL)


def sse_events(body: bytes) -> list[bytes]:
    """A server-sent event stream cut after each event; joined again they are `body`."""
    return _EVENT.findall(body)


@dataclass(frozen=True)
class Reply:
    """One answer. `path`: only for requests to it (without query). `send`: only the first that many pieces.

    `stall_after`: having sent that many pieces, wait for `Loopback.release` or for the client to go.
    """

    body: bytes = b""
    status: int = 200
    content_type: str = "text/event-stream; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    path: str | None = None
    split: Split = "events"
    send: int | None = None
    ending: Ending = "end"
    stall_after: int | None = None
    pause_s: float = 0.0

    @property
    def pieces(self) -> list[bytes]:
        if self.split == "crumbs":
            pieces = [self.body[n : n + _CRUMB] for n in range(0, len(self.body), _CRUMB)]
        else:
            pieces = sse_events(self.body) if self.split == "events" else [self.body] if self.body else []
        return pieces if self.send is None else pieces[: self.send]

    def with_(self, **changes: Any) -> Reply:
        return replace(self, **changes)

    @classmethod
    def json(cls, value: Any, status: int = 200, **headers: str) -> Reply:
        """A plain JSON answer; underscores in header names become dashes."""
        named = tuple((k.replace("_", "-"), v) for k, v in headers.items())
        return cls(json.dumps(value).encode(), status, "application/json", named, split="whole")

    @classmethod
    def sse(cls, events: Iterable[Any], *, named: bool = False, done: bool = False, **changes: Any) -> Reply:
        """A stream of JSON events; `named` adds `event:` lines from their `type`, `done` ends with `[DONE]`."""
        out = []
        for e in events:
            out.append((f"event: {e['type']}\n" if named else "") + f"data: {json.dumps(e)}\n\n")
        if done:
            out.append("data: [DONE]\n\n")
        return cls("".join(out).encode(), **changes)


@dataclass(frozen=True)
class Seen:
    """A request as it arrived. Header names are lower case. `body` is its JSON, None when it was none."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw) if self.raw else None


@dataclass(frozen=True)
class Exchange:
    method: str
    path: str
    body: Any
    reply: Reply


@dataclass
class Recording:
    name: str
    exchanges: list[Exchange] = field(default_factory=list)

    def replies(self, **changes: Any) -> list[Reply]:
        return [e.reply.with_(**changes) for e in self.exchanges]


def recordings() -> Path | None:
    """The folder with recorded provider traffic: `GODWIT_RECORDINGS`, else `../shared/recordings`; None when absent."""
    named = os.environ.get("GODWIT_RECORDINGS")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "recordings"
    return folder if folder.is_dir() else None


def load_recording(path: Path) -> Recording:
    data = json.loads(path.read_bytes())
    exchanges = []
    for e in data["exchanges"]:
        request, response = e["request"], e["response"]
        where = request["path"].split("?")[0]
        body = response["body"]
        reply = Reply(
            body.encode() if isinstance(body, str) else json.dumps(body).encode(),
            response["status"],
            response["content_type"],
            split="events" if "event-stream" in response["content_type"] else "whole",
        )
        exchanges.append(Exchange(request["method"], where, request.get("body"), reply))
    return Recording(path.stem, exchanges)


class Loopback:
    """The server: `async with Loopback(replies) as server:` and point a client at `server.url`.

    A request gets the first unused reply for its path, else the first unused one without a path, else what
    `otherwise` makes of it (by default a 500 that says so).
    """

    def __init__(self, replies: Sequence[Reply] = (), *, otherwise: Callable[[Seen], Reply] | None = None) -> None:
        self.requests: list[Seen] = []
        self.connections = 0
        self.disconnects = 0
        self.stalled = 0
        self._replies = list(replies)
        self._otherwise = otherwise
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Condition()
        self._released = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is None:
            return
        self._server.close()
        self._released.set()
        for writer in list(self._writers):
            writer.close()
        await self._server.wait_closed()
        async with self._changed:
            await self._changed.wait_for(lambda: not self._writers)

    async def __aenter__(self) -> Loopback:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def add(self, *replies: Reply) -> None:
        self._replies.extend(replies)

    def release(self) -> None:
        """Let stalled replies, now and later, go on."""
        self._released.set()

    async def wait_requests(self, count: int) -> None:
        await self._wait(lambda: len(self.requests) >= count)

    async def wait_stalled(self, count: int = 1) -> None:
        await self._wait(lambda: self.stalled >= count)

    async def wait_disconnects(self, count: int = 1) -> None:
        """Until clients have gone away from that many unfinished replies."""
        await self._wait(lambda: self.disconnects >= count)

    async def _wait(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(holds)

    async def _note(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.connections += 1
        try:
            while (seen := await _read_request(reader)) is not None:
                self.requests.append(seen)
                await self._note()
                if not await self._answer(self._pick(seen), reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            self._writers.discard(writer)
            await self._note()

    def _pick(self, seen: Seen) -> Reply:
        for wanted in (seen.path, None):
            for place, reply in enumerate(self._replies):
                if reply.path == wanted:
                    return self._replies.pop(place)
        if self._otherwise is not None:
            return self._otherwise(seen)
        return Reply.json({"error": {"message": f"no recorded reply is left for {seen.method} {seen.path}"}}, 500)

    async def _answer(self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Send it. False when the connection is over."""
        head = [f"HTTP/1.1 {reply.status} Recorded", f"content-type: {reply.content_type}", "transfer-encoding: chunked"]
        head += [f"{name}: {value}" for name, value in reply.headers]
        writer.write(("\r\n".join(head) + "\r\n\r\n").encode())
        try:
            for place, piece in enumerate(reply.pieces):
                if reply.stall_after == place and not await self._stall(reader):
                    return False
                if reply.pause_s and await _gone(reader, reply.pause_s):
                    await self._lost()
                    return False
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
            if reply.stall_after is not None and reply.stall_after >= len(reply.pieces) and not await self._stall(reader):
                return False
        except ConnectionError:
            await self._lost()
            return False
        if reply.ending == "end":
            writer.write(b"0\r\n\r\n")
            await writer.drain()
            return True
        if reply.ending == "abort":
            writer.transport.abort()
        return False

    async def _stall(self, reader: asyncio.StreamReader) -> bool:
        self.stalled += 1
        await self._note()
        gone = asyncio.ensure_future(reader.read(1))
        free = asyncio.ensure_future(self._released.wait())
        try:
            await asyncio.wait({gone, free}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            free.cancel()
            if not gone.done():
                gone.cancel()
        if gone.done() and not gone.cancelled():
            await self._lost()
            return False
        return True

    async def _lost(self) -> None:
        self.disconnects += 1
        await self._note()


async def _gone(reader: asyncio.StreamReader, within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            return not await reader.read(1)
    except TimeoutError:
        return False
    except ConnectionError:
        return True


async def _read_request(reader: asyncio.StreamReader) -> Seen | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {k.strip().lower(): v.strip() for k, v in (line.split(":", 1) for line in lines if line)}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        raw = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            raw += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    else:
        raw = await reader.readexactly(int(headers.get("content-length", "0")))
    path, _, query = target.partition("?")
    return Seen(method, path, query, headers, raw)
