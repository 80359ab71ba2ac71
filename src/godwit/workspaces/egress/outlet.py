"""Outlet: one command's way out.

The command has a network of its own, in which nothing is but its own loopback. A small program that stands before it there
opens a port on that loopback and sends the listening socket out, over a pair of sockets that it then closes. A socket stays
in the network it was made in, whoever holds it, so this process takes the command's connections from it and connects to
hosts from its own network. So nobody else can come to the port, no socket file lies anywhere, no process forwards bytes
within, and the command may use no unix sockets, as without any network. Rule: what comes over the pair is the command's word
until it is seen to be a listening socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import threading
from collections.abc import Sequence

from ...core.hosts import Hosts
from .reach import Reach, Resolve, close
from .service import SERVICE

HOST, PORT = "127.0.0.1", 3128
MOST_CONNECTIONS = 256
MOST_TOLD = 20

# It must leave signals as it found them: Python ignores two, and what is ignored stays so in the program that follows. It
# takes what `socket` and `signal` are made of: loading those takes as long as Python itself.
_LISTEN = f"""
import os, sys, _signal, _socket
try:
    door = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    door.bind(({HOST!r}, {PORT}))
    door.listen(256)
    way = _socket.socket(fileno=int(sys.argv[1]))
    sent = door.fileno().to_bytes(4, sys.byteorder)
    way.sendmsg([b"listening"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, sent)])
    if way.recv(1) != b"y":
        raise OSError("nobody takes its connections")
    way.close()
    door.close()
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(number, _signal.SIG_DFL)
    os.execv(sys.argv[2], sys.argv[2:])
except OSError as error:
    print(f"godwit: the way to the allowed hosts cannot be opened: {{error}}", file=sys.stderr)
    sys.exit(125)
"""


class Outlet:
    """`open` before the command is started, `close` when it has ended; both from any thread. `descriptor` is to stay open in
    the process that is started."""

    def __init__(self, hosts: Hosts, resolve: Resolve | None = None) -> None:
        self._reach = Reach(hosts, resolve)
        self._hosts = hosts
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._ours.setblocking(False)
        self._lock = threading.Lock()
        self._refusals: dict[str, int] = {}
        self._server: asyncio.Server | None = None
        self._talking: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def descriptor(self) -> int:
        return self._theirs.fileno()

    def before(self, argv: Sequence[str]) -> tuple[str, ...]:
        """The command with the program before it that opens the port."""
        # Not the one of a virtual environment, which may lie in the workspace and be broken by a command.
        return (os.path.realpath(sys.executable), "-I", "-S", "-c", _LISTEN, str(self.descriptor), *argv)

    def variables(self) -> dict[str, str]:
        """What programs find the proxy by. Of a list that names the loopback, the loopback is this machine's."""
        proxy = f"http://{HOST}:{PORT}"
        beside = "" if self._hosts.names_loopback else "localhost,127.0.0.1,::1"
        said = {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "ALL_PROXY": proxy, "NO_PROXY": beside}
        return {
            **said,
            **{name.lower(): value for name, value in said.items()},
            "NODE_USE_ENV_PROXY": "1",  # or Node's own fetch uses none
            "CARGO_HTTP_PROXY": proxy,
        }

    def open(self) -> None:
        SERVICE.call(self._open)

    def close(self) -> None:
        self._theirs.close()
        SERVICE.call(self._close)

    def told(self) -> str:
        """What was refused so far, a line each, for who reads the command's output."""
        with self._lock:
            refusals = dict(self._refusals)
        lines = [f"godwit: refused {what}" + (f" ({n} times)" if n > 1 else "") for what, n in refusals.items()]
        more = len(lines) - MOST_TOLD
        if more > 0:
            lines = [*lines[:MOST_TOLD], f"godwit: refused {more} more"]
        return "".join(f"{line}\n" for line in lines)

    def _refused(self, what: str) -> None:
        with self._lock:
            if what in self._refusals or len(self._refusals) < 10 * MOST_TOLD:
                self._refusals[what] = self._refusals.get(what, 0) + 1

    def _open(self) -> None:
        if not self._closed:
            asyncio.get_running_loop().add_reader(self._ours, self._receive)

    def _receive(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._ours)
        try:
            _, descriptors, _, _ = socket.recv_fds(self._ours, 64, 4)
        except OSError:
            return
        doors = [door for one in descriptors if (door := _listening(one)) is not None]
        for door in doors[1:]:
            door.close()
        if doors:
            task = loop.create_task(self._serve(doors[0]))
            self._talking.add(task)
            task.add_done_callback(self._talking.discard)

    async def _serve(self, door: socket.socket) -> None:
        door.setblocking(False)
        self._server = await asyncio.start_server(self._take, sock=door, limit=64 * 1024)
        if self._closed:
            self._server.close()
            return
        with contextlib.suppress(OSError):
            self._ours.send(b"y")

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from .conversation import converse  # with what reads HTTP, which few commands need

        task = asyncio.current_task()
        assert task is not None
        try:
            if len(self._talking) < MOST_CONNECTIONS and not self._closed:
                self._talking.add(task)
                await converse((reader, writer), self._reach, self._refused)
        except (OSError, asyncio.CancelledError, ExceptionGroup):
            pass  # one of the two is gone, or the command is
        finally:
            self._talking.discard(task)
            await close(writer)

    def _close(self) -> None:
        self._closed = True
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ValueError, OSError):
            loop.remove_reader(self._ours)
        self._ours.close()
        if self._server is not None:
            self._server.close()
        for task in list(self._talking):
            task.cancel()


def _listening(descriptor: int) -> socket.socket | None:
    """What was sent, when it is a socket that takes connections of IPv4; else it is closed."""
    try:
        door = socket.socket(fileno=descriptor)
    except OSError:
        os.close(descriptor)
        return None
    with contextlib.suppress(OSError):
        accepts = door.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if door.family == socket.AF_INET and door.type == socket.SOCK_STREAM and accepts:
            return door
    door.close()
    return None
