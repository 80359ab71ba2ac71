"""Whether a backend works here, found out by running something that does nothing in it, once per process."""

from __future__ import annotations

import os
import subprocess
import threading

import msgspec

from ...contracts import Access, Enclosure, Sandbox
from ...core.errors import GodwitError
from ...core.sandbox import SandboxPolicy
from ..started import Started
from ..temporary import TemporaryFolder
from .programs import sh

_PATIENCE_S = 10.0
_TRIES = 5


class Probe:
    """Runs `true` once, and tries to write where it must not. Both must come out right. May be used from any thread."""

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
        name = self._sandbox.name
        script = 'echo x >"$1/inside" || exit 3; { echo x >"$2/escaped"; } 2>/dev/null; exit 0'
        reader, writer = os.pipe()
        try:
            confinement = self._sandbox.confine(
                (sh(), "-c", script, "sh", enclosure.root, outside),
                enclosure=enclosure,
                environment={"PATH": os.environ.get("PATH", os.defpath)},
                policy=SandboxPolicy(),
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


def run(argv: list[str]) -> str | None:
    """What a program prints; None when it cannot be run."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
