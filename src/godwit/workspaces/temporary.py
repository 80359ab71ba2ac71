"""Temporary folders of commands: one for each session, of this user alone, gone when the session is or the process ends.

All lie in one folder per process, which this process holds locked; what a process that died has left behind is found by its
lock being free, and removed. Rules: nothing is made before a command needs it; a folder in the shared temp folder counts as
ours only if it is ours and no link; removing must not fail for what a command has left in there.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import stat
import subprocess
import tempfile
import threading

_LOCK = ".lock"


class TemporaryFolder:
    """A folder that is made when it is first asked for. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._path: str | None = None

    def path(self) -> str:
        """The real path of the folder. OSError."""
        with self._lock:
            if self._path is None or not os.path.isdir(self._path):
                self._path = tempfile.mkdtemp(prefix="s-", dir=_BASE.path())
            return self._path

    def close(self) -> None:
        """Remove it with all that is in it. Blocking; safe to repeat, and it can be asked for again."""
        with self._lock:
            path, self._path = self._path, None
        if path is not None:
            remove(path)


class _Base:
    """The folder of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._path: str | None = None
        self._held: int | None = None

    def path(self) -> str:
        with self._lock:
            if self._path is None or not os.path.isdir(self._path):
                above = os.path.realpath(tempfile.gettempdir())
                prefix = f"godwit-commands-{os.getuid()}-"
                _sweep(above, prefix)
                made = tempfile.mkdtemp(prefix=prefix, dir=above)
                held = os.open(os.path.join(made, _LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._path, self._held = made, held
            return self._path

    def close(self) -> None:
        with self._lock:
            path, self._path = self._path, None
            held, self._held = self._held, None
            if path is not None:
                remove(path)
            if held is not None:
                os.close(held)

    def forget(self) -> None:
        """In a forked child: the folder and its lock are the parent's."""
        self._lock = threading.Lock()
        held, self._held, self._path = self._held, None, None
        if held is not None:
            os.close(held)


def _sweep(above: str, prefix: str) -> None:
    """Remove the folders of processes that are no more."""
    with os.scandir(above) as entries:
        found = [entry.path for entry in entries if entry.name.startswith(prefix)]
    for path in found:
        with contextlib.suppress(OSError):
            seen = os.lstat(path)
            if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid():
                continue
            try:
                lock = os.open(os.path.join(path, _LOCK), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # being made just now; an empty one harms nobody
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(path)
            finally:
                os.close(lock)


def remove(path: str) -> None:
    """A folder with all in it, also where a command took away the right to; what cannot be removed stays."""
    try:
        for folder, names, _ in os.walk(path):
            for name in names:
                below = os.path.join(folder, name)
                with contextlib.suppress(OSError):
                    if not os.path.islink(below):
                        os.chmod(below, 0o700)
        shutil.rmtree(path, ignore_errors=True)
    except RecursionError:  # folders in folders without end; these two need no stack for them
        for words in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
            with contextlib.suppress(OSError):
                subprocess.run([*words, "--", path], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


_BASE = _Base()
atexit.register(_BASE.close)
os.register_at_fork(after_in_child=_BASE.forget)
