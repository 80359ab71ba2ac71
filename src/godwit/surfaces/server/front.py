"""Front: the ASGI app before all dialects. It names the request, finds the dialect and the caller, and bounds the body."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...core.errors import GodwitError, NotFound, TooLarge
from ...core.principal import Principal
from .dialect import Dialect
from .service import Service

logger = logging.getLogger("godwit.server")

Authenticate = Callable[[HTTPConnection], Awaitable[Principal]]


class Front:
    """`authenticate`: who asks, or Unauthenticated."""

    def __init__(
        self, service: Service, dialects: Sequence[Dialect], authenticate: Authenticate, operations: ASGIApp
    ) -> None:
        self._service = service
        self._dialects = tuple(dialects)
        self._authenticate = authenticate
        self._operations = operations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._operations(scope, receive, send)
            return
        request = HTTPConnection(scope)
        request_id = self._service.new_id("req")
        scope["godwit.request_id"] = request_id
        dialect = next((d for d in self._dialects if d.claims(request)), None)
        refused: Callable[[GodwitError], Response] = _plain if dialect is None else lambda e: dialect.error(e, request_id)
        started = False

        async def send_named(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers["request-id"] = request_id
                headers.setdefault("x-content-type-options", "nosniff")
                headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            if dialect is None:
                await self._operations(scope, receive, send_named)
                return
            scope["godwit.principal"] = await self._authenticate(request)
            await dialect.app(scope, self._bounded(request, receive), send_named)
        except GodwitError as error:
            if started:
                raise
            await refused(error)(scope, receive, send_named)
        except Exception:
            logger.exception("request %s failed", request_id)
            if started:
                raise
            fault = GodwitError(f"something went wrong here; the log has more under {request_id}")
            await refused(fault)(scope, receive, send_named)

    def _bounded(self, request: HTTPConnection, receive: Receive) -> Receive:
        limit = self._service.settings.max_body
        told = request.headers.get("content-length", "")
        if told.isdigit() and int(told) > limit:
            raise TooLarge(f"the body has {told} bytes; at most {limit} are taken", limit=limit)
        taken = 0

        async def bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit:
                raise TooLarge(f"the body has more than {limit} bytes", limit=limit)
            return message

        return bounded


def _plain(error: GodwitError) -> Response:
    status = 404 if isinstance(error, NotFound) else 500
    return JSONResponse({"error": {"code": error.code, "message": error.message}}, status)
