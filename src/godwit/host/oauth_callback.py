"""Callback: an address of this machine to which a browser comes back from a login (RFC 8252 section 7.3), or what a person
brings from one elsewhere.

Owns what counts as the answer to this login; leaves out what it is exchanged for. Rules: what comes counts only with the
secret that was sent, once; no page shows what came, and the address, which has the code in it, is told to nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

Ask = Callable[[], Awaitable[str | None]]
"""A line that a person types, None at the end of the input."""
_MOST_HEAD = 16_384


class Proof(NamedTuple):
    """PKCE (RFC 7636): what is sent first, and what shows later that it was us."""

    verifier: str
    challenge: str

    @classmethod
    def new(cls) -> Proof:
        verifier = secrets.token_urlsafe(48)
        return cls(verifier, urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode())


class Callback:
    """`url`: where the browser is to be sent back to. `secret`: what has to come with it: as `state`, or in the path of an
    address for services that know no state (`in_path`)."""

    def __init__(self, *, in_path: bool = False) -> None:
        self.secret = secrets.token_urlsafe(24)
        self.url = ""
        self._path = f"/callback/{self.secret}" if in_path else "/callback"
        self._in_path = in_path
        self._came: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()

    @contextlib.asynccontextmanager
    async def open(self, port: int | None = None, *, fixed: bool = False) -> AsyncIterator[Callback]:
        """Listen on this port, else on a free one, for as long as this lasts. `fixed`: on no other; OSError."""
        async with contextlib.AsyncExitStack() as stack:
            try:
                server = await asyncio.start_server(self._answer, "127.0.0.1", port or 0, limit=_MOST_HEAD)
            except OSError:
                if fixed or not port:
                    raise
                server = await asyncio.start_server(self._answer, "127.0.0.1", 0, limit=_MOST_HEAD)
            await stack.enter_async_context(server)
            port = server.sockets[0].getsockname()[1]
            host = "127.0.0.1"
            if self._in_path:
                # Such a service knows `localhost` alone, which a browser may take for either loopback.
                host = "localhost"
                with contextlib.suppress(OSError):
                    other = await asyncio.start_server(self._answer, "::1", port, limit=_MOST_HEAD)
                    await stack.enter_async_context(other)
            self.url = f"http://{host}:{port}{self._path}"
            yield self

    async def answer(self, wait_s: float, ask: Ask | None) -> dict[str, str]:
        """The query with which the browser came back, or that of the address that a person has pasted; a code alone will do.
        TimeoutError."""
        async with asyncio.timeout(wait_s):
            if ask is None:
                return await self._came
            pasted = asyncio.ensure_future(self._pasted(ask))
            try:
                await asyncio.wait([self._came, pasted], return_when=asyncio.FIRST_COMPLETED)
                return self._came.result() if self._came.done() else await pasted
            finally:
                pasted.cancel()
                await asyncio.gather(pasted, return_exceptions=True)

    async def _pasted(self, ask: Ask) -> dict[str, str]:
        while (line := await ask()) is not None:
            text = line.strip()
            if "://" not in text:
                if text:
                    return {"code": text}
                continue
            return self._judged(text) or {"error": "address_of_another_login"}
        return await self._came

    def _judged(self, target: str) -> dict[str, str] | None:
        """What an address brings, if it is that of this login."""
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        given = parts.path if self._in_path else query.get("state", "")
        right = self._path if self._in_path else self.secret
        return query if hmac.compare_digest(given.encode(), right.encode()) else None

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            async with asyncio.timeout(10):
                line = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n", 1)[0].decode("ascii", "replace").split(" ")
            writer.write(_page(*self._took(line)))
            await writer.drain()
        writer.close()

    def _took(self, line: list[str]) -> tuple[int, str]:
        target = line[1] if len(line) == 3 and line[0] == "GET" else ""
        found = self._judged(target)
        if not self._in_path and urlsplit(target).path != self._path:
            return 404, "There is nothing here."
        if found is None:
            return (404, "There is nothing here.") if self._in_path else (400, "This is not the login that was begun.")
        if not self._came.done():
            self._came.set_result(found)
        return 200, "You can close this window and go back to the terminal."


def _page(status: int, text: str) -> bytes:
    body = f"<!doctype html><meta charset=utf-8><title>godwit</title><p>{text}</p>".encode()
    head = f"HTTP/1.1 {status} {'OK' if status == 200 else 'Not Found' if status == 404 else 'Bad Request'}\r\n"
    head += f"Content-Type: text/html; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
    # The address has the code in it: it is told to nobody, and nothing of the page is kept.
    return f"{head}Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n".encode() + body


__all__ = ["Ask", "Callback", "Proof"]
