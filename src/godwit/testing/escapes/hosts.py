"""Attempts to reach more than the hosts of a list, by the one way out that there is."""

from __future__ import annotations

import contextlib
import os
import socket
from functools import partial
from typing import Any

from .means import Attempt, first
from .network import NETWORK


def proxy() -> socket.socket:
    host, _, port = os.environ["HTTP_PROXY"].removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), 5)


def said_to_the_proxy(*messages: bytes) -> bytes:
    """All that is answered to these."""
    with proxy() as one:
        one.settimeout(5)
        answer = b""
        for message in messages:
            one.sendall(message)
        with contextlib.suppress(OSError):
            while chunk := one.recv(1000):
                answer += chunk
        return answer


def tunnelled(authority: str, port: int) -> Any:
    """What the server of this port says through a CONNECT."""
    answer = said_to_the_proxy(b"CONNECT %b HTTP/1.1\r\nHost: x\r\n\r\n" % authority.format(port=port).encode())
    if b"reached" not in answer:
        raise PermissionError(answer[:300].decode(errors="replace"))
    return answer


def got(url: str, port: int) -> Any:
    answer = said_to_the_proxy(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (url.format(port=port).encode(), b"x"))
    if b"reached" not in answer:
        raise PermissionError(answer[:300].decode(errors="replace"))
    return answer


_SPELLINGS = (
    "127.0.0.1", "localhost", "LOCALHOST", "localhost.", "[::1]", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0x7f000001",
    "0177.0.0.1", "0.0.0.0", "[::]", "127.0.0.2",
)  # fmt: skip


def another_port(facts: Any) -> Any:
    spelled = [f"{host}:{{port}}" for host in (*_SPELLINGS, *facts["hosts"])]
    return first(partial(tunnelled, one, facts["tcp"]) for one in spelled)


def another_port_over_http(facts: Any) -> Any:
    spelled = [f"http://{host}:{{port}}/" for host in (*_SPELLINGS, *facts["hosts"])]
    listed = facts["listed"]
    spelled += [f"http://{listed}@127.0.0.1:{{port}}/", f"http://127.0.0.1:{{port}}#{listed}", "//127.0.0.1:{port}/"]
    return first(partial(got, one, facts["tcp"]) for one in spelled)


def the_listed_host_otherwise(facts: Any) -> Any:
    """The port is listed for one address, and the same server listens at the others as well."""
    port = int(facts["listed"].rpartition(":")[2])
    others = [host for host in (*_SPELLINGS, *facts["hosts"]) if host != "127.0.0.1"]
    return first(partial(tunnelled, f"{host}:{{port}}", port) for host in others)


def told_another_host(facts: Any) -> Any:
    """A request to the listed host that a server would take for another of its hosts."""
    listed = facts["listed"]
    url = f"http://{listed}/"
    evil = b"Host: evil.example\r\n"
    right = f"Host: {listed}\r\n".encode()
    length, chunked = b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"
    hidden = b"GET / HTTP/1.1\r\n" + evil + b"\r\n"
    head = b"GET %b HTTP/1.1\r\n" % url.encode()
    post = b"POST %b HTTP/1.1\r\n" % url.encode()
    tries = (
        (head + evil + b"\r\n",),
        (head + right + evil + b"\r\n",),
        (head + right + b"Connection: host\r\n" + evil + b"\r\n",),
        (head + right + b"\r\n" + hidden,),
        (head + right + b"Connection: keep-alive\r\n\r\n", hidden),
        (post + right + length + chunked + b"\r\n0\r\n\r\n" + hidden,),
        (post + right + b"Content-Length: 0\r\nContent-Length: 40\r\n\r\n" + hidden,),
        (post + right + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + hidden,),
        (head + right + b"Upgrade: websocket\r\nConnection: upgrade\r\n\r\n" + hidden,),
        (head + right + b"X: y\n" + evil + b"\n" + b"\r\n",),
        (b"GET %b HTTP/1.1\r\n" % url.encode().replace(b"/\r", b"\r") + right + b" folded: 1\r\n" + evil + b"\r\n",),
    )
    for one in tries:
        answer = said_to_the_proxy(*one)
        if b"host: evil.example" in answer.lower():
            return one
    raise PermissionError("it saw its own name alone")


def by_socks(facts: Any) -> Any:
    port = facts["tcp"].to_bytes(2, "big")
    names = [b"\x03" + bytes([len(name)]) + name for name in (b"localhost", b"127.0.0.1", b"127.1")]
    for place in (b"\x01\x7f\x00\x00\x01", b"\x04" + bytes(15) + b"\x01", *names):
        answer = said_to_the_proxy(b"\x05\x01\x00", b"\x05\x01\x00" + place + port)
        if b"reached" in answer:
            return place
    for command in (b"\x02", b"\x03"):  # to be connected to, and to send datagrams
        answer = said_to_the_proxy(b"\x05\x01\x00", b"\x05" + command + b"\x00\x01\x7f\x00\x00\x01" + port)
        if answer[2:4] == b"\x05\x00":
            return command
    raise PermissionError("refused")


def what_opened_the_port(_facts: Any) -> Any:
    """Whoever holds the other end of what the listening socket was sent over could send another."""
    ends = []
    for who in (name for name in os.listdir("/proc") if name.isdigit()):
        with contextlib.suppress(OSError):
            ends += [(who, os.readlink(f"/proc/{who}/fd/{one}")) for one in os.listdir(f"/proc/{who}/fd")]
    sockets = [one for one in ends if one[1].startswith("socket:")]
    if sockets:
        return sockets
    raise PermissionError("nobody has one")


LIMITED: dict[str, Attempt] = {
    **NETWORK,
    "another_port": another_port,
    "another_port_over_http": another_port_over_http,
    "the_listed_host_otherwise": the_listed_host_otherwise,
    "told_another_host": told_another_host,
    "by_socks": by_socks,
    "what_opened_the_port": what_opened_the_port,
}
