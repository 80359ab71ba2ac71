"""Conversation: one connection of a command's program to the proxy: HTTP's CONNECT, plain HTTP, or SOCKS.

Rules: what is refused gets a 403 whose text names the host and the setting, and whose first line does too, since many
programs show only that. A request over plain HTTP goes to the host of its address, and its Host header says the same,
whatever it said before; each connection carries one, so that none is hidden behind another. What goes through a CONNECT is
not looked at: the name in TLS and in the requests within may be another one of the same server's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import h11

from ...core.hosts import Target, target
from .reach import READ_BYTES, NotReached, Reach, Streams, close, relay
from .socks import SOCKS_5, socks

HEAD_BYTES = 64 * 1024
HEAD_S = 60.0
_STATUS = {"refused": 403, "unreachable": 502, "late": 504}
_PHRASE = {400: "Bad Request", 403: "Forbidden", 502: "Bad Gateway", 504: "Gateway Timeout"}
_HOP = {b"connection", b"proxy-connection", b"keep-alive", b"te", b"upgrade", b"proxy-authorization", b"proxy-authenticate"}
Headers = list[tuple[bytes, bytes]]


async def converse(client: Streams, reach: Reach, refused: Callable[[str], None]) -> None:
    """Serve the connection to its end. `refused`: is told what the sandbox did not let through."""

    async def connect(wanted: Target) -> Streams:
        try:
            return await reach.connect(wanted)
        except NotReached as why:
            if why.kind == "refused":
                refused(f"{wanted.shown}: {why}")
            raise

    reader, writer = client
    try:
        async with asyncio.timeout(HEAD_S):
            first = await reader.readexactly(1)
    except (asyncio.IncompleteReadError, TimeoutError, OSError):
        return
    if first == SOCKS_5:
        await socks(client, connect)
        return
    talk = _Talk(h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES), reader, writer)
    talk.machine.receive_data(first)
    try:
        async with asyncio.timeout(HEAD_S):
            request = await talk.next()
        if not isinstance(request, h11.Request):
            return
        if request.method == b"CONNECT":
            await _tunnel(client, talk, request, connect)
        else:
            await _forward(talk, request, connect)
    except TimeoutError:
        return
    except NotReached as why:
        await _answer(talk, _STATUS[why.kind], str(why))
    except _Malformed as why:
        await _answer(talk, 400, str(why))
    except h11.RemoteProtocolError as error:
        await _answer(talk, error.error_status_hint, f"the request is not as HTTP demands: {error}")


class _Malformed(Exception):
    pass


class _Talk:
    """h11 over streams."""

    def __init__(self, machine: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.machine = machine
        self._reader = reader
        self.writer = writer

    async def next(self) -> Any:
        while True:
            event = self.machine.next_event()
            if event is not h11.NEED_DATA:
                return event
            self.machine.receive_data(await self._reader.read(READ_BYTES))

    async def send(self, event: Any) -> None:
        data = self.machine.send(event)
        if data:
            self.writer.write(data)
            await self.writer.drain()


async def _tunnel(client: Streams, talk: _Talk, request: h11.Request, connect: Callable[[Target], Any]) -> None:
    host, _, port = request.target.decode("ascii").rpartition(":")
    wanted = target(host, int(port)) if port.isdigit() and len(port) < 6 else None
    if wanted is None:
        raise _Malformed(f"{request.target.decode('ascii', 'replace')!r} is no host and port")
    server = await connect(wanted)
    try:
        client[1].write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        early, _ = talk.machine.trailing_data
        server[1].write(early)
        await relay(client, server)
    finally:
        await close(server[1])


async def _forward(talk: _Talk, request: h11.Request, connect: Callable[[Target], Any]) -> None:
    wanted, authority, path = _asked(request)
    reader, writer = await connect(wanted)
    upstream = _Talk(h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES), reader, writer)
    try:
        headers = [(b"Host", authority), *(one for one in _passed_on(request) if one[0].lower() != b"host")]
        headers.append((b"Connection", b"close"))
        await upstream.send(h11.Request(method=request.method, target=path, headers=headers))
        sending = asyncio.ensure_future(_send_body(talk, upstream))
        try:
            await _send_answer(upstream, talk)
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError, h11.ProtocolError):
                await sending
    except (h11.ProtocolError, OSError) as error:
        if talk.machine.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            raise NotReached(f"{wanted.shown} does not answer as HTTP demands: {error}", "unreachable") from None
    finally:
        await close(writer)


async def _send_body(talk: _Talk, upstream: _Talk) -> None:
    try:
        while True:
            event = await talk.next()
            if not isinstance(event, h11.Data | h11.EndOfMessage):
                break
            await upstream.send(event)
            if isinstance(event, h11.EndOfMessage):
                return
    except (h11.ProtocolError, OSError):
        pass
    upstream.writer.transport.abort()  # the request is not whole, and nobody answers it


async def _send_answer(upstream: _Talk, talk: _Talk) -> None:
    while True:
        event = await upstream.next()
        if isinstance(event, h11.InformationalResponse | h11.Response):
            headers = _passed_on(event)
            if isinstance(event, h11.Response):
                headers.append((b"Connection", b"close"))
            await talk.send(type(event)(status_code=event.status_code, headers=headers, reason=event.reason))
        elif isinstance(event, h11.Data):
            await talk.send(event)
        elif isinstance(event, h11.EndOfMessage):
            await talk.send(h11.EndOfMessage())
            return
        else:
            raise h11.RemoteProtocolError("the connection was closed before the answer was whole")


def _asked(request: h11.Request) -> tuple[Target, bytes, bytes]:
    """Where a request over plain HTTP goes: the host, how it is written, and the path there."""
    text = request.target.decode("ascii", "replace")
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise _Malformed(f"{text[:200]!r} is no address") from None
    if url.scheme != "http" or not url.hostname or "@" in url.netloc:
        raise _Malformed("this is the proxy of a sandbox: ask it for http://HOST/..., or use CONNECT")
    wanted = target(url.hostname, port or 80)
    if wanted is None:
        raise _Malformed(f"{url.netloc[:200]!r} is no host")
    path = (url.path or "/") + (f"?{url.query}" if "?" in text else "")
    host = f"[{wanted.host}]" if ":" in wanted.host else wanted.host
    return wanted, (host if wanted.port == 80 else f"{host}:{wanted.port}").encode(), path.encode()


def _passed_on(event: h11.Request | h11.Response | h11.InformationalResponse) -> Headers:
    """The headers that are for the other end, spelled as they came."""
    named = {part.strip().lower() for name, value in event.headers if name == b"connection" for part in value.split(b",")}
    return [(name, value) for name, value in event.headers.raw_items() if name.lower() not in _HOP | named]


async def _answer(talk: _Talk, status: int, why: str) -> None:
    """Our own answer, in place of the host's. Its first line says why as well."""
    if talk.machine.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        return
    text = f"godwit: {why}\n".encode()
    phrase = f"{_PHRASE.get(status, 'Refused')} ({why[:200]})".encode("ascii", "replace")
    headers = [(b"Content-Type", b"text/plain; charset=utf-8"), (b"Content-Length", str(len(text)).encode())]
    headers.append((b"Connection", b"close"))
    with contextlib.suppress(OSError, h11.LocalProtocolError):
        await talk.send(h11.Response(status_code=status, headers=headers, reason=phrase))
        await talk.send(h11.Data(data=text))
        await talk.send(h11.EndOfMessage())
