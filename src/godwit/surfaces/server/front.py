"""Front: the ASGI app before all dialects. It names the request, finds its dialect and its caller, and keeps the caller to
what it may do and how much. Rule: whatever is refused here is told in the dialect's own words."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...core.errors import Conflict, GodwitError, InvalidArgument, StoreClosed, TooMany
from .access import log_request
from .audit import Audit
from .body import bounded, read_ahead
from .callers import Callers
from .dialect import Dialect
from .errors import plain
from .exchange import Exchange
from .metrics import Metrics
from .origin import Origins, Peers, check_host, check_size
from .replies import HEADER, MAX_KEY, Replies, Run, digest_of
from .retries import Retries
from .rule import rule_of
from .service import Service

logger = logging.getLogger("godwit.server")

OPERATIONS = "operations"
_CLIENT_ID = re.compile(r"[\x21-\x7e]{1,128}")
_SECURITY = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
}


class _TooLong(Exception):
    """The request took longer than it may."""


class Front:
    """`operations`: answers what no dialect claims; it authenticates for itself (`Front.admit`)."""

    def __init__(self, service: Service, dialects: Sequence[Dialect], callers: Callers, operations: Operations) -> None:
        self.service = service
        self.callers = callers
        self.metrics = Metrics()
        self.audit = Audit(service)
        self.replies = Replies(service)
        self.retries = Retries(service, self.replies)
        self._settings = service.settings
        self.dialects = tuple(dialects)
        self._origins = Origins(service.settings)
        self._peers = Peers(service.settings.proxies)
        self._operations = operations(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        request = HTTPConnection(scope)
        try:
            check_host(request)
            dialect = next((d for d in self.dialects if d.claims(request)), None)
            unfit: GodwitError | None = None
        except InvalidArgument as found:
            dialect, unfit = None, found
        exchange = Exchange(
            scope, self.service.new_id("req"), time.monotonic(), OPERATIONS if dialect is None else dialect.name
        )
        scope["godwit.request_id"] = exchange.id
        given = request.headers.get("x-request-id", "")
        exchange.client_id = given if _CLIENT_ID.fullmatch(given) else None
        exchange.peer = self._peers.of(request)
        if exchange.wire is not None:
            exchange.wire.requests += 1
        began_ms = self.service.now_ms()
        answer = _Answer(exchange, send, self._origins.allowed(request), self._settings.send_s)
        error: GodwitError | None = None
        try:
            if unfit is not None:
                raise unfit
            check_size(request, self._settings.max_header)
            await self._answer(request, dialect, exchange, receive, answer)
        except _TooLong:
            error = GodwitError(f"this took longer than {self._limit_s(exchange):g} s and was given up")
            await self._refuse(dialect, exchange, error, receive, answer, status=504)
        except GodwitError as refused:
            error = refused
            if answer.started:
                logger.warning("request %s broke off: %s", exchange.id, refused.message)
                await answer.abort()
                return
            self.metrics.refused(refused.code)
            await self._refuse(dialect, exchange, refused, receive, answer)
        except Exception as failure:
            error = GodwitError(f"something went wrong here; the log has more under {exchange.id}")
            if isinstance(failure, TimeoutError) and answer.stuck:
                await answer.abort()
                return
            logger.exception("request %s failed", exchange.id)
            if answer.started:
                await answer.abort()
            else:
                await self._refuse(dialect, exchange, error, receive, answer)
        finally:
            took_s = time.monotonic() - exchange.began_s
            code = None if error is None else error.code
            self.metrics.request(exchange, took_s)
            log_request(exchange, took_s * 1000, code)
            exchange.over = True
            if exchange.rule.writes and not exchange.replayed:
                self.audit.note(exchange, began_ms, code)

    async def _answer(
        self, request: HTTPConnection, dialect: Dialect | None, exchange: Exchange, receive: Receive, answer: _Answer
    ) -> None:
        if not self.callers.ask:
            self._origins.check(request)
        preflight = self._origins.preflight(request)
        if preflight is not None:
            await preflight(request.scope, receive, answer.send)
            return
        if dialect is None:
            await self._timed(exchange, answer, self._operations(request.scope, receive, answer.send))
            return
        exchange.rule = rule_of(request, dialect)
        await self.admit(request, exchange)
        receive = bounded(request, receive, exchange.rule, self._settings)
        await self._timed(exchange, answer, self._once(request, dialect.app, exchange, receive, answer.send))

    async def admit(self, request: HTTPConnection, exchange: Exchange) -> None:
        """Who asks, whether they may, and whether not too often. The leaves of Refused."""
        exchange.principal = principal = await self.callers.principal(request)
        request.scope["godwit.principal"] = principal
        principal.require(exchange.rule.scope)
        self.service.tenants.take(principal)
        if exchange.rule.upload:
            await self.service.tenants.room(principal, "documents")
        exchange.streams = lambda end: self.service.tenants.stream(principal, end)
        exchange.begins = lambda: self._begins(exchange)

    async def _once(self, request: HTTPConnection, app: ASGIApp, exchange: Exchange, receive: Receive, send: Send) -> None:
        """Let the dialect answer, or a kept answer of the same request."""
        if exchange.rule.writes:
            app = self._audited(app, exchange)
        key, count = request.headers.get(HEADER), self.retries.count(request)
        if not exchange.rule.writes or (key is None and (count is None or exchange.rule.upload)):
            await app(request.scope, receive, send)
            return
        kind, query = request.headers.get("content-type", ""), request.scope.get("query_string", b"")
        if exchange.rule.upload:
            # Its parts are told apart by a text that is drawn anew each time, so only the length tells two apart.
            body, kind = request.headers.get("content-length", "").encode(), kind.partition(";")[0]
        else:
            body, receive = await read_ahead(receive)
        digest = digest_of(exchange, query, kind, [body])
        run: Run = app
        if key is not None:
            if not key or len(key) > MAX_KEY:
                raise InvalidArgument(f"an idempotency key has 1 to {MAX_KEY} characters", length=len(key))
            await self.replies.keyed(key, digest, exchange, run, request.scope, receive, send)
        else:
            assert count is not None
            await self.retries.told(count, digest, exchange, run, request.scope, receive, send)

    def _audited(self, app: ASGIApp, exchange: Exchange) -> ASGIApp:
        async def audited(scope: Scope, receive: Receive, send: Send) -> None:
            await self.audit.begin(exchange, self.service.now_ms())
            await app(scope, receive, send)

        return audited

    async def _begins(self, exchange: Exchange) -> None:
        """What the request does is audited from now on, though its rule did not say that it does something."""
        if not exchange.rule.writes:
            exchange.rule = msgspec.structs.replace(exchange.rule, writes=True)
            now_ms = self.service.now_ms()
            await self.audit.begin(exchange, now_ms)
            if exchange.over:
                self.audit.note(exchange, now_ms, None)

    def _limit_s(self, exchange: Exchange) -> float:
        return self._settings.upload_s if exchange.rule.upload else self._settings.request_s

    async def _timed(self, exchange: Exchange, answer: _Answer, work: Awaitable[None]) -> None:
        """Until its answer begins."""
        if exchange.rule.waits:
            await _until_the_end(exchange, work)
            return
        limit = answer.limit = asyncio.timeout(self._limit_s(exchange))
        try:
            async with limit:
                await work
        except TimeoutError:
            if limit.expired():
                raise _TooLong from None
            raise
        finally:
            answer.limit = None

    async def _refuse(
        self,
        dialect: Dialect | None,
        exchange: Exchange,
        error: GodwitError,
        receive: Receive,
        answer: _Answer,
        *,
        status: int | None = None,
    ) -> None:
        response = plain(error) if dialect is None else dialect.error(error, exchange.id)
        if status is not None:
            response.status_code = status
        if isinstance(error, TooMany) and error.retry_after_s is not None:
            response.headers.setdefault("retry-after", str(math.ceil(error.retry_after_s)))
        if isinstance(error, Conflict) and error.details.get("again"):
            response.headers.setdefault("x-should-retry", "true")
            response.headers.setdefault("retry-after", "1")
        await response(exchange.scope, receive, answer.send)


Operations = Callable[[Front], ASGIApp]


class _Answer:
    """What is sent for one request: counted, with the headers of all answers, and given up when the client takes nothing."""

    def __init__(self, exchange: Exchange, send: Send, origin: str | None, send_s: float) -> None:
        self._exchange = exchange
        self._send = send
        self._origin = origin
        self._send_s = send_s
        self.started = False
        self.stuck = False
        self.limit: asyncio.Timeout | None = None

    async def send(self, message: Message) -> None:
        exchange = self._exchange
        if message["type"] == "http.response.start":
            self.started = True
            exchange.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["request-id"] = headers["x-request-id"] = exchange.id  # clients of OpenAI's know it by the latter
            for name, value in _SECURITY.items():
                headers.setdefault(name, value)
            if exchange.status == 409:
                headers.setdefault("x-should-retry", "false")  # the SDKs ask again otherwise, and it is as wrong then
            if exchange.replayed:
                headers["idempotent-replayed"] = "true"
            if self._origin is not None:
                Origins.allow(headers, self._origin)
            exchange.streamed = headers.get("content-type", "").startswith("text/event-stream")
            if self.limit is not None:
                self.limit.reschedule(None)  # from here on it is the client who may be slow: `send_s`
        else:
            exchange.sent += len(message.get("body", b""))
        if exchange.wire is not None and exchange.wire.flowing:
            await self._send(message)  # it does not wait, and a timer for each frame of a stream would cost as much again
            return
        limit = asyncio.timeout(self._send_s)
        try:
            async with limit:
                await self._send(message)
        except TimeoutError:
            self.stuck = limit.expired()
            raise

    async def abort(self) -> None:
        """The client sees that the answer is not whole."""
        if self._exchange.wire is None:
            raise ConnectionAbortedError("the answer broke off")
        self._exchange.wire.abort()
        await asyncio.sleep(0)  # the server hears that nobody is there before it complains that the answer is not whole


async def _until_the_end(exchange: Exchange, work: Awaitable[None]) -> None:
    """For as long as it likes, but not beyond the server's end. StoreClosed then; TooMany as for a stream."""
    working = asyncio.ensure_future(work)
    ending = asyncio.Event()
    try:
        leave = None if exchange.streams is None else exchange.streams(ending.set)
        told = asyncio.ensure_future(ending.wait())
        try:
            await asyncio.wait([working, told], return_when=asyncio.FIRST_COMPLETED)
        finally:
            told.cancel()
            if leave is not None:
                leave()
        if not working.done():
            raise StoreClosed("this server ends: ask again, another one goes on")
        working.result()
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
