"""Events over HTTP, as server-sent events (SSE): a sender, and the body of a streaming response of any ASGI framework.

sender, stream = sse_channel(100)
session = AgentSession(sender)
... StreamingResponse(stream, media_type="text/event-stream")
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from .channel import Line, Sender
from .events import Event, encode
from .profiles import Profile

MEDIA_TYPE: Final = "text/event-stream"
KEEP_ALIVE: Final = b": keep-alive\n\n"
KEEP_ALIVE_S: Final = 15.0


class SseSender(Sender):
    """Sends events to an `SseStream`."""


class SseStream:
    """The bytes of the response, to be read once. When whoever reads them stops, the sender is closed. A comment goes out
    where nothing else has for `keep_alive_s` seconds; None sends none."""

    def __init__(self, line: Line, keep_alive_s: float | None) -> None:
        self._line = line
        self._keep_alive_s = keep_alive_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while True:
                try:
                    async with asyncio.timeout(self._keep_alive_s):
                        frame = await self._line.take()
                except TimeoutError:
                    yield KEEP_ALIVE
                    continue
                if frame is None:
                    return
                yield frame
        finally:
            self._line.abandon()

    async def aclose(self) -> None:
        """Reads no more."""
        self._line.abandon()

    def __del__(self) -> None:
        self._line.abandon()


def sse_channel(
    buffer: int, *, profile: Profile = "1.0", keep_alive_s: float | None = KEEP_ALIVE_S
) -> tuple[SseSender, SseStream]:
    """Both ends of a stream that holds `buffer` events at most. In the profile `seed` frames name their type, too."""
    line = Line(buffer)
    sender = SseSender(line, profile, _named_frame if profile == "seed" else _frame)
    return sender, SseStream(line, keep_alive_s)


def format_sse_event(event: Event) -> str:
    """The frame of one event, as text."""
    return _frame(event, encode(event)).decode()


def _frame(_: Event, body: bytes) -> bytes:
    return b"data: " + body + b"\n\n"


def _named_frame(event: Event, body: bytes) -> bytes:
    return b"event: " + event.type.encode() + b"\n" + _frame(event, body)
