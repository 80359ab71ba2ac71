"""McpTransport: what the official client's HTTP goes through, so that one request that fails costs no other one.

Owns that failures become answers of their own request (the client would give up the whole connection), that notifications
are sent as well as can be, that streams are asked for again at a bearable pace, and that a token which a server says back is
hidden before anybody reads it. Leaves out addresses and sizes (`guarded.py`). Rule: no request is sent twice here but after
an answer of 401 or 403, which says that it was not carried out.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import httpx2
import msgspec

from ..core.errors import GodwitError
from .guarded import SEEN, GuardedTransport, Seen, failure_of

NOTE_S = 10.0
"""How long a server may take to answer what needs no answer; meanwhile nothing else of the connection is sent."""
STREAM_PAUSE_S = 1.0
"""Between two requests for a stream of a connection."""
MOST_STREAMS = 20
"""How often the stream of one call's answer is asked for again."""
SHORTEST = 8
"""Characters of a token that is looked for: a shorter one is part of any text."""
_KEPT = 4
_HIDDEN = b"[hidden]"
_FAILED = -32603
_UNSENT = "godwit.unsent"


class Challenge(msgspec.Struct, frozen=True):
    """What a server said of the credential that it wants (RFC 6750, RFC 9728): the `status`; the `scope`; where its
    `metadata` are. `insufficient`: the credential that it was given is good, but not for this."""

    status: int
    scope: str | None = None
    metadata: str | None = None
    insufficient: bool = False


class BearerAuthorization(httpx2.Auth):
    """`token`: is asked with each request; None sends it without one, a GodwitError has it answered with 401 unsent.
    `renewed`: is given a token that was refused; another one sends the request once more. `challenged`: is told when it is
    refused after that, with the token that it was sent with; another one sends it once more as well."""

    def __init__(
        self,
        token: Callable[[], Awaitable[str | None]],
        renewed: Callable[[str], Awaitable[str | None]],
        challenged: Callable[[Challenge, str | None], Awaitable[str | None]] | None = None,
    ) -> None:
        self._token = token
        self._renewed = renewed
        self._challenged = challenged

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        try:
            token = await self._token()
        except GodwitError:
            token = None
            request.extensions = {**request.extensions, _UNSENT: True}
        unsent = _UNSENT in request.extensions
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if token is not None and response.status_code == 401:
            new = await self._renewed(token)
            if new is not None and new != token:
                request.headers["Authorization"] = f"Bearer {new}"
                token, response = new, (yield request)
        if self._challenged is None or unsent or (challenge := challenge_of(response)) is None:
            return
        new = await self._challenged(challenge, token)
        if new is not None and new != token:
            request.headers["Authorization"] = f"Bearer {new}"
            yield request


_MOST_WORDS = 4096
_PARAMETER = re.compile(r'([A-Za-z_]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


def challenge_of(response: httpx2.Response) -> Challenge | None:
    """What a refusal says; None for an answer that refuses no credential.

    The official package looks for a parameter anywhere, also within another's quotes."""
    if response.status_code not in (401, 403):
        return None
    said = response.headers.get("www-authenticate", "")
    given: dict[str, str] = {}
    for name, quoted, bare in _PARAMETER.findall(said[:_MOST_WORDS]):
        given.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted) or bare)
    if response.status_code == 403 and given.get("error") != "insufficient_scope":
        return None
    scope = given.get("scope")
    if scope is not None and not (scope.isascii() and scope.isprintable()):
        scope = None
    return Challenge(response.status_code, scope or None, given.get("resource_metadata"), response.status_code == 403)


class McpTransport(httpx2.AsyncBaseTransport):
    """Goes out by `guarded`, which is closed with it. `secrets`: are hidden as tokens are."""

    def __init__(self, guarded: GuardedTransport, secrets: Sequence[str] = ()) -> None:
        self._guarded = guarded
        self._secrets = [secret.encode() for secret in secrets if len(secret) >= SHORTEST]
        self._tokens = self._secrets
        self._stream_at = float("-inf")

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self._note_token(request)
        seen = SEEN.get() or self._guarded.last
        if _UNSENT in request.extensions:
            seen.status, seen.failure = 401, ""
            return httpx2.Response(401, request=request)
        if request.method == "GET":
            await self._pause(request)
        if SEEN.get() is not None:
            # What ends a call is its own time, also while its server waits for a person.
            request.extensions = {**request.extensions, "timeout": {**request.extensions.get("timeout", {}), "read": None}}
        if request.method != "POST":
            return self._readable(await self._guarded.handle_async_request(request), seen)
        awaited = _is_request(request)
        if not awaited:
            timeout = {**request.extensions.get("timeout", {}), "read": NOTE_S}
            request.extensions = {**request.extensions, "timeout": timeout}
        try:
            response = await self._guarded.handle_async_request(request)
        except httpx2.TransportError:
            if not awaited:
                return httpx2.Response(202, request=request)
            error = {"jsonrpc": "2.0", "id": None, "error": {"code": _FAILED, "message": seen.failure or "it failed"}}
            return httpx2.Response(503, json=error, request=request)
        return self._readable(response, seen)

    async def aclose(self) -> None:
        await self._guarded.aclose()

    def hidden(self, text: str) -> str:
        """The text without tokens."""
        for token in self._tokens:
            text = text.replace(token.decode(), _HIDDEN.decode())
        return text

    def _readable(self, response: httpx2.Response, seen: Seen) -> httpx2.Response:
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Body(response.stream, self._tokens, seen)
        return response

    def _note_token(self, request: httpx2.Request) -> None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ").encode()
        if len(token) >= SHORTEST and token not in self._tokens:
            self._tokens = [*self._secrets, *self._tokens[len(self._secrets) :][1 - _KEPT :], token]

    async def _pause(self, request: httpx2.Request) -> None:
        if (seen := SEEN.get()) is not None and not seen.held:
            seen.streams += 1
            if seen.streams > MOST_STREAMS:
                seen.failure = "it ends each stream of its answer before the answer is there"
                raise httpx2.ConnectError(seen.failure, request=request)
        now = asyncio.get_running_loop().time()
        self._stream_at = max(now, self._stream_at + STREAM_PAUSE_S)
        await asyncio.sleep(self._stream_at - now)


class _Body(httpx2.AsyncByteStream):
    """Without tokens; what breaks off ends, which the client tells its one caller. `seen`: is told why."""

    def __init__(self, inner: httpx2.AsyncByteStream, tokens: Sequence[bytes], seen: Seen) -> None:
        self._inner = inner
        self._tokens = tokens
        self._seen = seen

    async def __aiter__(self) -> AsyncIterator[bytes]:
        held = b""
        try:
            async for piece in self._inner:
                whole = held + piece
                for token in self._tokens:
                    whole = whole.replace(token, _HIDDEN)
                kept = max((_begun(whole, token) for token in self._tokens), default=0)
                held = whole[len(whole) - kept :]
                if whole := whole[: len(whole) - kept]:
                    yield whole
        except httpx2.TransportError as error:
            self._seen.failure = self._seen.failure or failure_of(error)
        if held:
            yield held

    async def aclose(self) -> None:
        await self._inner.aclose()


def _begun(text: bytes, token: bytes) -> int:
    """How many bytes at the end may be the beginning of the token."""
    return next((n for n in range(min(len(text), len(token) - 1), 0, -1) if text.endswith(token[:n])), 0)


def _is_request(request: httpx2.Request) -> bool:
    """Whether an answer is waited for: no notification, and no answer to the server."""
    assert isinstance(request.stream, httpx2.ByteStream)
    try:
        message: Any = msgspec.json.decode(b"".join(request.stream))
    except msgspec.DecodeError:
        return True
    return isinstance(message, dict) and "id" in message and "method" in message
