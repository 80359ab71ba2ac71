"""SOCKS 5 (RFC 1928), as far as programs use it to connect: no authentication, and names are looked up here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

from ...core.hosts import Target, target
from .reach import NotReached, Streams, close, relay

SOCKS_5 = b"\x05"
PATIENCE_S = 60.0
_CONNECT = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_DONE, _REFUSED, _UNREACHABLE, _NO_SUCH_COMMAND, _NO_SUCH_ADDRESS = 0, 2, 4, 7, 8
_NO_METHOD = 0xFF


async def socks(client: Streams, connect: Callable[[Target], Awaitable[Streams]]) -> None:
    """Serve the connection, whose first byte has been read, to its end."""
    reader, writer = client
    try:
        async with asyncio.timeout(PATIENCE_S):
            methods = await reader.readexactly((await reader.readexactly(1))[0])
            if 0 not in methods:
                writer.write(bytes((5, _NO_METHOD)))
                return
            writer.write(b"\x05\x00")
            _, command, _, kind = await reader.readexactly(4)
            wanted = await _target(reader, kind)
    except (asyncio.IncompleteReadError, TimeoutError, OSError):
        return
    if command != _CONNECT or wanted is None:
        writer.write(_reply(_NO_SUCH_COMMAND if command != _CONNECT else _NO_SUCH_ADDRESS))
        return
    try:
        server = await connect(wanted)
    except NotReached as why:
        writer.write(_reply(_REFUSED if why.kind == "refused" else _UNREACHABLE))
        return
    try:
        writer.write(_reply(_DONE))
        await relay(client, server)
    finally:
        await close(server[1])


async def _target(reader: asyncio.StreamReader, kind: int) -> Target | None:
    if kind == _NAME:
        host = (await reader.readexactly((await reader.readexactly(1))[0])).decode("ascii", "replace")
    elif kind in (_IPV4, _IPV6):
        host = str(ip_address(await reader.readexactly(4 if kind == _IPV4 else 16)))
    else:
        return None
    port = int.from_bytes(await reader.readexactly(2))
    return target(host, port)


def _reply(code: int) -> bytes:
    return bytes((5, code, 0, _IPV4, 0, 0, 0, 0, 0, 0))
