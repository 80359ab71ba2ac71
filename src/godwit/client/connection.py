"""Connection: requests to one server, sent again until they are answered, and its errors as the exceptions they were there.

Rules a change must keep: what changes something carries an idempotency key, the same one each time it is sent; what is not
the server's own answer (a proxy's page, half an answer) is as good as none.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import ssl
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import httpx2
import msgspec

from ..core import errors as e

T = TypeVar("T")

PREFIX = "/godwit/v1"
PATIENCE_S = 60.0
"""How long a server that does not answer is asked again."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0
CONNECT_S = 10.0
TOLD_S = 0.7
"""How long a server may take for its first answer before whoever wants to know is told of it."""
READ_S = 90.0
"""How long an answer may take, beyond what it was asked to wait for, before the connection counts as broken."""
SILENCE_S = 60.0
"""How long a stream may be silent; a server sends something at least every few seconds."""

BROKEN = (httpx2.TransportError, httpx2.StreamError, ssl.SSLError, OSError)
_AWAY = (502, 503, 504)
"""What proxies say when the server behind them is away."""


class _Failure(msgspec.Struct):
    code: str
    message: str
    details: dict[str, Any] = {}


class _Failed(msgspec.Struct):
    error: _Failure


def _kinds(kind: type[e.GodwitError]) -> dict[str, type[e.GodwitError]]:
    found = {kind.code: kind}
    for below in kind.__subclasses__():
        if below.__module__ == e.__name__:
            found |= _kinds(below)
    return found


KINDS = _kinds(e.GodwitError)


class Pauses:
    """Ever longer pauses while a server does not answer. Unreachable when that takes longer than `patience_s` since
    the first of them, or since `since`."""

    def __init__(self, url: str, patience_s: float, since: float | None = None) -> None:
        self._url = url
        self._patience_s = patience_s
        self._since = since
        self._pause_s = FIRST_PAUSE_S

    def over(self) -> None:
        """It has answered."""
        self._since, self._pause_s = None, FIRST_PAUSE_S

    async def next(self, why: BaseException | str) -> None:
        """Wait for a while before the next try."""
        now = asyncio.get_running_loop().time()
        self._since = now if self._since is None else self._since
        if now - self._since + self._pause_s > self._patience_s:
            cause = why if isinstance(why, BaseException) else None
            text = f"{self._url} does not answer: {why or type(why).__name__}"
            raise e.Unreachable(text, url=self._url) from cause
        await asyncio.sleep(self._pause_s * (0.5 + random.random() / 2))
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)


class Connection:
    """`url`: where the server is; `key`: who asks. `patience_s`: how long one that does not answer is asked again;
    `first_patience_s`: the same while it has not answered at all. `silent`: called once when it has not after `TOLD_S`."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        patience_s: float = PATIENCE_S,
        first_patience_s: float | None = None,
        silent: Callable[[], None] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise e.InvalidArgument(f"a server's address begins with http:// or https://, not {url!r}", url=url)
        self.url = url.rstrip("/")
        self.patience_s = patience_s
        self._first_patience_s = patience_s if first_patience_s is None else first_patience_s
        self._silent = silent
        self._answered = False
        self._telling: asyncio.TimerHandle | None = None
        given = {"user-agent": "godwit", **(headers or {})}
        if key is not None:
            given["authorization"] = f"Bearer {key}"
        self._client = httpx2.AsyncClient(
            headers=given,
            timeout=httpx2.Timeout(READ_S, connect=CONNECT_S, pool=None),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=20),
            trust_env=False,
        )

    def pauses(self) -> Pauses:
        if self._answered:
            return Pauses(self.url, self.patience_s)
        return Pauses(self.url, self._first_patience_s, asyncio.get_running_loop().time())

    def _told(self) -> None:
        """It has answered, and need not be said to be silent."""
        self._answered = True
        if self._telling is not None:
            self._telling.cancel()

    async def get(self, path: str, gives: type[T], **query: Any) -> T:
        """What is there, as this type."""
        return await self.call("GET", path, gives, query=query)

    async def call(
        self,
        method: str,
        path: str,
        gives: type[T],
        body: object = None,
        *,
        query: Mapping[str, Any] | None = None,
        key: str | None = None,
        wait_s: float = 0.0,
    ) -> T:
        """Ask until it is answered; the answer as this type. `key`: in place of a new idempotency key. The exceptions that
        the server had; Unreachable."""
        answered = await self.ask(method, path, body, query=query, key=key, wait_s=wait_s)
        if gives is bytes:
            return answered.content  # type: ignore[return-value]
        if answered.status_code == 204:
            return None  # type: ignore[return-value]
        return msgspec.json.decode(answered.content, type=gives)

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, Any] | None = None,
        key: str | None = None,
        wait_s: float = 0.0,
    ) -> httpx2.Response:
        """The same, with the answer as it came."""
        headers = {} if method == "GET" else {"idempotency-key": key or new_key()}
        content = None
        if isinstance(body, bytes):
            headers["content-type"], content = "application/octet-stream", body
        elif body is not None:
            headers["content-type"] = "application/json"
            content = msgspec.json.encode(body)
        pauses = self.pauses()
        connect_s = CONNECT_S if self._answered else min(CONNECT_S, self._first_patience_s)
        if self._silent is not None and self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(TOLD_S, self._silent)
        while True:
            try:
                answered = await self._client.request(
                    method,
                    f"{self.url}{PREFIX}{path}",
                    content=content,
                    params=_query(query),
                    headers=headers,
                    timeout=httpx2.Timeout(READ_S + wait_s, connect=connect_s, pool=None),
                )
            except BROKEN as broken:
                await pauses.next(broken)
                continue
            self._told()
            if answered.status_code < 400:
                return answered
            failure = failure_of(answered.status_code, answered.content)
            if failure is None:
                await pauses.next(f"status {answered.status_code}")
                continue
            if failure.details.get("again"):
                await pauses.next(failure.message)
                continue
            raise failure

    async def open_stream(self, path: str, query: Mapping[str, Any], last: int | str) -> httpx2.Response:
        """The head of a stream behind the event of the id `last`; it must be closed. What the transport raises, and the
        server's exceptions."""
        request = self._client.build_request(
            "GET",
            f"{self.url}{PREFIX}{path}",
            params=_query(query),
            headers={"last-event-id": str(last), "accept": "text/event-stream", "accept-encoding": "identity"},
            timeout=httpx2.Timeout(SILENCE_S, connect=CONNECT_S, pool=None),
        )
        answered = await self._client.send(request, stream=True)
        if answered.status_code == 200:
            return answered
        try:
            failure = failure_of(answered.status_code, await answered.aread())
        finally:
            await answered.aclose()
        if failure is None or failure.details.get("again") or isinstance(failure, e.TooMany | e.StoreError):
            raise httpx2.RemoteProtocolError(f"status {answered.status_code}")
        raise failure

    async def close(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
        await self._client.aclose()


def segment(name: str) -> str:
    """The name as a part of a path."""
    return quote(name, safe="")


def new_key() -> str:
    """An idempotency key that nobody has used."""
    return f"client-{secrets.token_hex(16)}"


def failure_of(status: int, content: bytes) -> e.GodwitError | None:
    """The exception that an answer stands for; None when it is not the server's own, and may be another next time."""
    try:
        failed = msgspec.json.decode(content, type=_Failed).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        if status in _AWAY:
            return None
        shown = content[:200].decode(errors="replace").strip()
        return e.InvalidArgument(f"this is no server of godwit: it answers {status} with {shown!r}", status=status)
    details = {name: value for name, value in failed.details.items() if name not in ("message", "self", "result")}
    kind = KINDS.get(failed.code, e.GodwitError)
    found = kind(failed.message, **details)
    if kind is e.GodwitError:
        found.details["code"] = failed.code
    return found


def _query(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Query parameters, without those that are None; a list is given as many."""
    made: dict[str, Any] = {}
    for name, value in (given or {}).items():
        if value is None:
            continue
        if isinstance(value, bool):
            made[name] = "true" if value else "false"
        elif isinstance(value, list | tuple):
            made[name] = [str(one) for one in value]
        else:
            made[name] = str(value)
    return made
