"""Reach: from a host that a command asked for to a connection, or to why there is none.

Rules: what the list does not name is not even looked up, since a lookup tells its name server something. A name is looked up
once, every address it has is judged, and the connection goes to one of those very addresses: a name server that answers
otherwise the next time changes nothing. No proxy and no setting of the environment is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import Literal

from ...core.addresses import Address, is_near
from ...core.hosts import Hosts, Target

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""A host's addresses, best first. Raises OSError when it has none."""

MAX_ADDRESSES = 4
"""So many of a host's addresses are tried."""
CONNECT_S = 15.0
LOOK_UP_S = 20.0
READ_BYTES = 64 * 1024

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class NotReached(Exception):
    """Says why. `kind`: the sandbox refused, or it could not be reached (in time)."""

    def __init__(self, why: str, kind: Literal["refused", "unreachable", "late"]) -> None:
        super().__init__(why)
        self.kind = kind


class Reach:
    """What one policy lets be reached. `resolve`: looks names up in place of the system."""

    def __init__(self, hosts: Hosts, resolve: Resolve | None = None) -> None:
        self._hosts = hosts
        self._resolve = resolve or _system_resolve

    async def connect(self, wanted: Target) -> Streams:
        """NotReached."""
        if (refusal := self._hosts.refusal(wanted)) is not None:
            raise NotReached(refusal, "refused")
        addresses = await self._addresses(wanted)
        if (refusal := self._hosts.verdict(wanted, addresses)) is not None:
            raise NotReached(refusal, "refused")
        failure = NotReached(f"{wanted.host} has no address", "unreachable")
        for address in addresses[:MAX_ADDRESSES]:
            try:
                async with asyncio.timeout(CONNECT_S):
                    return await self._open(wanted, address)
            except TimeoutError:
                failure = NotReached(f"no connection to {wanted.shown} within {CONNECT_S:g} s", "late")
            except OSError as error:
                failure = NotReached(f"no connection to {wanted.shown}: {error.strerror or error}", "unreachable")
        raise failure

    async def _addresses(self, wanted: Target) -> list[Address]:
        if (literal := wanted.address) is not None:
            return [literal]
        try:
            async with asyncio.timeout(LOOK_UP_S):
                found = await self._resolve(wanted.host)
        except TimeoutError:
            raise NotReached(f"{wanted.host} could not be looked up within {LOOK_UP_S:g} s", "late") from None
        except (OSError, UnicodeError) as error:
            raise NotReached(f"{wanted.host} could not be looked up: {error}", "unreachable") from None
        return list(dict.fromkeys(ip_address(text.partition("%")[0]) for text in found))

    async def _open(self, wanted: Target, address: Address) -> Streams:
        loop = asyncio.get_running_loop()
        connection = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            await loop.sock_connect(connection, (str(address), wanted.port))
            ends = (ip_address(end[0].partition("%")[0]) for end in (connection.getsockname(), connection.getpeername()))
            # Public addresses of this very machine, and of its neighbours, lead to what a firewall keeps from all others.
            if is_near(*ends) and not self._hosts.is_named(wanted, address):
                raise NotReached(f"{wanted.host} is in the network of this machine, which the list does not name", "refused")
        except BaseException:
            connection.close()
            raise
        return await asyncio.open_connection(sock=connection, limit=READ_BYTES)


async def relay(one: Streams, other: Streams) -> None:
    """Carry bytes both ways until both sides have ended."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_carry(one[0], other[1]))
        tasks.create_task(_carry(other[0], one[1]))


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(READ_BYTES):
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        # One side is gone: so is the other, at once.
        writer.transport.abort()


async def close(writer: asyncio.StreamWriter) -> None:
    """At once: whoever is there might never answer a polite one. What was written and drained is sent all the same."""
    writer.close()
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        async with asyncio.timeout(1.0):
            await writer.wait_closed()


async def _system_resolve(host: str) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]
