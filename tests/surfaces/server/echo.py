"""A small dialect for tests of what all dialects share: it does things, counts them, streams, and fails on request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from godwit.core.errors import Conflict, GodwitError, InvalidArgument
from godwit.surfaces.server.errors import status_of
from godwit.surfaces.server.rule import UPLOAD, Rule
from godwit.surfaces.server.service import Service, key_of, principal_of
from godwit.surfaces.server.stream import EventStream, frame


class Echo:
    """`done`: what was done, each with the key it was given. `hold`: what a slow request waits for; `held`: how many do."""

    name = "echo"

    def __init__(self, service: Service) -> None:
        self.service = service
        self.done: list[tuple[Any, str | None]] = []
        self.keys: set[str] = set()
        self.hold = asyncio.Event()
        self.held = asyncio.Semaphore(0)
        self.app: ASGIApp = Router(
            routes=[
                Route("/echo", self._do, methods=["POST"]),
                Route("/echo/slow", self._slow, methods=["POST"]),
                Route("/echo/broken", self._broken, methods=["POST"]),
                Route("/echo/busy", self._busy, methods=["POST"]),
                Route("/echo/stream", self._stream, methods=["GET", "POST"]),
                Route("/echo/large", self._large),
                Route("/echo/poll", self._slow, methods=["POST"]),
                Route("/echo/answers/{id}", self._do, methods=["POST"]),
                Route("/echo/things/{id}", self._thing),
            ]
        )

    def claims(self, request: HTTPConnection) -> bool:
        return request.url.path.startswith("/echo")

    def rule(self, request: HTTPConnection) -> Rule | None:
        if request.url.path == "/echo/poll":
            return Rule("read", False, waits=True)
        if request.headers.get("content-type", "").startswith("multipart/"):
            return UPLOAD
        return Rule("answer", True) if request.url.path.startswith("/echo/answers/") else None

    def error(self, error: GodwitError, request_id: str) -> Response:
        content = {"echo": {"code": error.code, "message": error.message}, "request": request_id}
        return JSONResponse(content, status_of(error))

    async def _do(self, request: Request) -> Response:
        try:
            body = msgspec.json.decode(await request.body() or b"null")
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise InvalidArgument("this is no JSON") from None
        self._note(body, key_of(request))
        return JSONResponse({"number": len(self.done), "said": body, "tenant": principal_of(request).tenant})

    def _note(self, body: Any, key: str | None) -> None:
        """As the engine does: nothing twice under one key."""
        if key is not None and key in self.keys:
            return
        if key is not None:
            self.keys.add(key)
        self.done.append((body, key))

    async def _slow(self, request: Request) -> Response:
        body = await request.body()
        self.held.release()
        await self.hold.wait()
        self._note(body.decode(), key_of(request))
        return JSONResponse({"number": len(self.done)})

    async def _broken(self, request: Request) -> Response:
        self._note("broken", key_of(request))
        raise RuntimeError("a secret of the inside")

    async def _busy(self, request: Request) -> Response:
        self._note("busy", None)
        raise Conflict("not now")

    async def _stream(self, request: Request) -> Response:
        self._note("stream", key_of(request))

        async def frames() -> AsyncIterator[bytes]:
            yield frame(b"1", event="tick", id="1")
            await self.hold.wait()
            yield frame(b"2", event="tick", id="2")

        return EventStream(frames(), heartbeat_s=self.service.settings.heartbeat_s)

    async def _large(self, _: Request) -> Response:
        return Response(b"x" * (64 << 20), media_type="application/octet-stream")

    async def _thing(self, request: Request) -> Response:
        return JSONResponse({"id": request.path_params["id"]})
