"""What goes over the wire of AG-UI, read by hand: for what a client hides, drops or never asks.

Every stream is held to the rules of the transport on the way: lines end with LF alone, each event's data is one JSON object
on one line, comments are allowed, what may be left out is never null, the last event of a body is a terminal one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx2
import msgspec

from tests.patience import PATIENCE_S

Json = dict[str, Any]
TERMINAL = ("RUN_FINISHED", "RUN_ERROR")
OPAQUE = frozenset(
    {"snapshot", "delta", "patch", "result", "input", "rawEvent", "metadata", "value", "event", "content", "responseSchema"}
)
"""Members in which a null is somebody else's data."""


class Frame(NamedTuple):
    """One event. `id`: what its frame was numbered with, if it was."""

    event: Json
    id: str | None

    @property
    def type(self) -> str:
        return str(self.event["type"])


def said(text: str, id: str = "u1") -> Json:  # noqa: A002 - as the protocol calls it
    """A message of the user's."""
    return {"id": id, "role": "user", "content": text}


def asking(thread: str, *messages: Json, run: str = "run_1", version: str | None = "1.0", **more: Any) -> Json:
    """A RunAgentInput; `version` None is what older clients send."""
    asked: Json = {"threadId": thread, "runId": run, "messages": list(messages), **more}
    return asked if version is None else {"protocolVersion": version, **asked}


def nulls(value: Any, path: str = "") -> list[str]:
    """Where nulls stand that are not somebody else's."""
    match value:
        case None:
            return [path]
        case dict():
            return [found for name, one in value.items() if name not in OPAQUE for found in nulls(one, f"{path}.{name}")]
        case list():
            return [found for place, one in enumerate(value) for found in nulls(one, f"{path}[{place}]")]
        case _:
            return []


def parse(block: bytes) -> Frame | None:
    """The event of one block between empty lines; None for one of comments alone."""
    data: list[bytes] = []
    number = None
    for line in block.split(b"\n"):
        if line.startswith(b":"):
            continue
        name, colon, value = line.partition(b": ")
        assert colon, f"a line without a field: {line!r}"
        if name == b"data":
            data.append(value)
        elif name == b"id":
            number = value.decode()
        else:
            raise AssertionError(f"a field that AG-UI does not have: {line!r}")
    if not data and number is None:
        return None
    assert len(data) == 1, f"not one line of data: {block!r}"
    event = msgspec.json.decode(data[0])
    assert isinstance(event, dict), f"no object: {event!r}"
    assert isinstance(event.get("type"), str), event
    assert not nulls(event), f"null in {nulls(event)} of {event}"
    return Frame(event, number)


class Reading:
    """One response being read. `frames`: what has come so far."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self.frames: list[Frame] = []
        self.comments = 0
        self._bytes = response.aiter_bytes()
        self._rest = b""

    @property
    def events(self) -> list[Json]:
        return [frame.event for frame in self.frames]

    async def next(self) -> Frame | None:
        """The next event; None when the body was ended, behind a terminal event."""
        while True:
            block, empty, rest = self._rest.partition(b"\n\n")
            if empty:
                self._rest = rest
                frame = parse(block)
                if frame is not None:
                    self.frames.append(frame)
                    return frame
                self.comments += 1
                continue
            try:
                piece = await asyncio.wait_for(anext(self._bytes), PATIENCE_S)
            except StopAsyncIteration:
                assert not self._rest, f"it ended within an event: {self._rest!r}"
                assert self.frames, "there was no event"
                assert self.frames[-1].type in TERMINAL, f"the last event was {self.frames[-1].event}"
                return None
            assert b"\r" not in piece, f"a line that does not end with LF alone: {piece!r}"
            self._rest += piece

    async def until(self, kind: str) -> Frame:
        """The next event of this type."""
        while (frame := await self.next()) is not None:
            if frame.type == kind:
                return frame
        raise AssertionError(f"no {kind} came, but {[frame.type for frame in self.frames]}")

    async def all(self) -> list[Json]:
        """All events, once the body was ended."""
        while await self.next() is not None:
            pass
        return self.events


class Wire:
    """Asks one endpoint, `url` with the agent's name in it."""

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        self.url = url
        self._client = httpx2.AsyncClient(headers=headers)

    async def __aenter__(self) -> Wire:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    @asynccontextmanager
    async def opened(self, asked: Json, path: str = "") -> AsyncIterator[Reading]:
        """A stream that ends, for the server, when this block is left."""
        async with self._client.stream(
            "POST", self.url + path, json=asked, headers={"accept": "text/event-stream"}
        ) as response:
            if response.status_code != 200:
                await response.aread()
                raise AssertionError(f"{response.status_code}: {response.text}")
            assert response.headers["content-type"].partition(";")[0] == "text/event-stream"
            yield Reading(response)

    async def run(self, asked: Json, path: str = "") -> list[Json]:
        """All events of one request."""
        async with self.opened(asked, path) as reading:
            return await reading.all()

    async def refused(self, body: bytes | Json, path: str = "") -> httpx2.Response:
        """What is answered to an input that must be refused before a stream begins."""
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        response = await self._client.post(self.url + path, content=raw, headers={"content-type": "application/json"})
        assert 400 <= response.status_code < 500, (response.status_code, response.text)
        assert "text/event-stream" not in response.headers["content-type"]
        return response

    async def post(self, path: str) -> httpx2.Response:
        """Something that takes no input."""
        return await self._client.post(self.url + path)

    async def get(self, path: str) -> httpx2.Response:
        return await self._client.get(self.url + path)


def types(events: list[Json]) -> list[str]:
    return [str(event["type"]) for event in events]


def text_of(events: list[Json]) -> str:
    """What was said in all of its messages."""
    return "".join(event["delta"] for event in events if event["type"] == "TEXT_MESSAGE_CONTENT")
