"""Server-sent events: frames as bytes, and a response that sends them for as long as the client stays."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .exchange import exchange_of

HEARTBEAT = b": still here\n"
"""A comment without the blank line that would end an event: some clients take an empty event for one."""
GOODBYE = b": the server ends; connect again, the log is kept\n"
RETRY_MS = 1000
"""When a client that connects again by itself does so."""


def frame(data: bytes, *, event: str | None = None, id: str | None = None) -> bytes:  # noqa: A002 - the field's name
    """One frame. `data` holds no line break."""
    head = b""
    if id is not None:
        head += b"id: " + id.encode() + b"\n"
    if event is not None:
        head += b"event: " + event.encode() + b"\n"
    return head + b"data: " + data + b"\n\n"


class EventStream(Response):
    """Sends what `frames` yields, and `HEARTBEAT` whenever nothing came for `heartbeat_s`.

    It asks for the next frame when the last one was taken by the client, so a slow one costs a place in the log and nothing
    else. It ends with the frames, when the client has gone, or when the server ends; the frames' generator is closed then.
    `hints`: clients are told when to connect again. TooMany when the tenant has as many streams as it may.
    """

    media_type = "text/event-stream"

    def __init__(
        self, frames: AsyncIterator[bytes], *, heartbeat_s: float, status_code: int = 200, hints: bool = True
    ) -> None:
        super().__init__(status_code=status_code, headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._frames = frames
        self._heartbeat_s = heartbeat_s
        self._hints = hints
        self._sent_s: float | None = None
        """When the last frame was taken, by the loop's clock; None while one is being sent."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        loop = asyncio.get_running_loop()
        ending: asyncio.Future[None] = loop.create_future()

        def end() -> None:
            if not ending.done():
                ending.set_result(None)

        try:
            leave = exchange.streams(end) if exchange is not None and exchange.streams is not None else None
        except BaseException:
            await self._close()
            raise
        self._sent_s = loop.time()
        tasks = [asyncio.ensure_future(work) for work in (self._send(send), self._beat(send), _gone(receive))]
        sending, beating, leaving = tasks
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await asyncio.wait([*tasks, ending], return_when=asyncio.FIRST_COMPLETED)
            if beating.done():
                beating.result()
            if sending.done():
                beating.cancel()
                sending.result()
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            elif ending.done() and not leaving.done():
                sending.cancel()
                beating.cancel()
                await asyncio.gather(sending, beating, return_exceptions=True)
                await send({"type": "http.response.body", "body": GOODBYE, "more_body": False})
        finally:
            # Also when this is cancelled once more: what is counted must not stay so.
            if leave is not None:
                leave()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._close()

    async def _close(self) -> None:
        close = getattr(self._frames, "aclose", None)
        if close is not None:
            with contextlib.suppress(RuntimeError):
                await close()

    async def _send(self, send: Send) -> None:
        hint = b"retry: %d\n" % RETRY_MS if self._hints else b""
        now = asyncio.get_running_loop().time
        async for data in self._frames:
            if hint and not data.startswith(b":"):  # with a comment alone it would be an event without data
                data, hint = hint + data, b""
            self._sent_s = None
            await send({"type": "http.response.body", "body": data, "more_body": True})
            self._sent_s = now()

    async def _beat(self, send: Send) -> None:
        """Beside the frames, so that these cost no timer each."""
        now = asyncio.get_running_loop().time
        left = self._heartbeat_s
        while True:
            await asyncio.sleep(left)
            sent_s = self._sent_s
            # None: one is being sent. A client that does not take it needs no other.
            left = self._heartbeat_s if sent_s is None else sent_s + self._heartbeat_s - now()
            if left <= 0:
                await send({"type": "http.response.body", "body": HEARTBEAT, "more_body": True})
                left = self._heartbeat_s


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
