"""Whether a backend works here, found out by running something that does nothing in it, once per process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

import msgspec

from ...contracts import Access, Enclosure, Sandbox
from ...core.errors import GodwitError
from ...core.sandbox import SandboxPolicy
from ..egress.outlet import PORT
from ..started import Started
from ..temporary import TemporaryFolder
from .programs import sh

_PATIENCE_S = 10.0
_TRIES = 5


# What a command with one allowed host tries: to it through the proxy, past the proxy, and to another through it.
_TRY_HOSTS = """
import os, socket, sys
proxy, allowed, other = ("127.0.0.1", int(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
def asked(port):
    with socket.create_connection(proxy, 5) as one:
        one.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\n\\r\\n" % port)
        return one.recv(100).split()[1]
try:
    socket.create_connection(("127.0.0.1", allowed), 5)
    sys.exit("a connection past the proxy came through")
except OSError:
    pass
if asked(other) != b"403":
    sys.exit("the proxy let another host through")
if asked(allowed) != b"200":
    sys.exit("the proxy did not let the allowed host through")
"""


class Probe:
    """Runs `true` once, and tries to write where it must not. Both must come out right. May be used from any thread."""

    _policy = SandboxPolicy()

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._lock = threading.Lock()
        self._said: list[str | None] = []

    def problem(self) -> str | None:
        with self._lock:
            if not self._said:
                self._said.append(self._look())
            return self._said[0]

    def _look(self) -> str | None:
        folder = TemporaryFolder()  # it is swept should this process be killed meanwhile
        try:
            base = folder.path()
            root, temporary, outside = (os.path.join(base, part) for part in ("root", "temporary", "outside"))
            for path in (root, temporary, outside):
                os.mkdir(path)
            access = {
                "/": "read",
                **dict.fromkeys((sys.prefix, sys.base_prefix), "read"),
                **dict.fromkeys(("/tmp", "/var/tmp", "/run"), "hidden"),
                root: "write",
                temporary: "write",
            }
            there = [(path, access[path]) for path in sorted(access) if os.path.isdir(path) and not os.path.islink(path)]
            enclosure = Enclosure(root, temporary, msgspec.convert(there, tuple[tuple[str, Access], ...]))
            said: str | None = None
            for _ in range(_TRIES):  # what the sandbox hides may vanish while it is made
                said, again = self._try(enclosure, outside)
                if not again:
                    break
            return said
        finally:
            folder.close()

    def _try(self, enclosure: Enclosure, outside: str) -> tuple[str | None, bool]:
        """What is wrong, and whether it may be right at the next try."""
        script = 'echo x >"$1/inside" || exit 3; { echo x >"$2/escaped"; } 2>/dev/null; exit 0'
        return self._run((sh(), "-c", script, "sh", enclosure.root, outside), enclosure, outside)

    def _run(self, argv: tuple[str, ...], enclosure: Enclosure, outside: str) -> tuple[str | None, bool]:
        name = self._sandbox.name
        reader, writer = os.pipe()
        try:
            confinement = self._sandbox.confine(
                argv,
                enclosure=enclosure,
                environment={"PATH": os.environ.get("PATH", os.defpath)},
                policy=self._policy,
            )
            started = Started(confinement, folder=enclosure.root, output=writer)
        except (OSError, GodwitError) as error:
            os.close(reader)
            return f"{name} does not work here: {error}", False
        finally:
            os.close(writer)
        code = started.join(_PATIENCE_S)
        os.set_blocking(reader, False)
        try:
            said = os.read(reader, 4096).decode(errors="replace").strip()
        except BlockingIOError:
            said = ""
        finally:
            os.close(reader)
        if code is None:
            started.abandon()
            return f"{name} does not work here: `true` did not end within {_PATIENCE_S:.0f} s", False
        begun = confinement.begun is None or confinement.begun()
        if code != 0 or not os.path.exists(os.path.join(enclosure.root, "inside")):
            return f"{name} does not work here: {said or f'exit code {code}'}", not begun
        if os.path.exists(os.path.join(outside, "escaped")):
            return f"{name} does not confine here: a write outside the workspace came through", False
        return None, False


class LimitedProbe(Probe):
    """Runs a command that may reach one port of the loopback, where this listens."""

    def _try(self, enclosure: Enclosure, outside: str) -> tuple[str | None, bool]:
        with socket.create_server(("127.0.0.1", 0)) as allowed, socket.create_server(("127.0.0.1", 0)) as other:
            ports = [one.getsockname()[1] for one in (allowed, other)]
            self._policy = SandboxPolicy(allowed_hosts=(f"127.0.0.1:{ports[0]}",))
            python = [sys.executable, "-I", "-S", "-c", _TRY_HOSTS, str(PORT), *map(str, ports)]
            script = 'echo x >"$0/inside" && exec "$@"'
            problem, again = self._run((sh(), "-c", script, enclosure.root, *python), enclosure, outside)
        return None if problem is None else f"{problem} (with a list of hosts)", again


def run(argv: list[str]) -> str | None:
    """What a program prints; None when it cannot be run."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
