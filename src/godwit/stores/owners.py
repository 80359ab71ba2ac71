"""Who is alive: one locked file per store instance, so that the death of a process is seen at once.

The kernel drops an flock when its process ends, however it ends. An owner whose file is gone or can be locked is dead; an
owner name of another making (anything `claim` was given) has no file, and only its lease's time tells.
Rules: a file is removed only by who holds its lock, and its maker checks after locking that it is still the one in the
folder. Files lie beside the database, never in a temp folder: containers that share the database must see them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
from pathlib import Path

_OWNER = re.compile(r"^(?:[^/]*)-(\d+)-([0-9a-f]{12})$")
_SUFFIX = ".owner"


class Owners:
    """The owners of one database. `folder`: where the files lie, None when there can be none (`:memory:`, read-only)."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._descriptor: int | None = None
        self.token = os.urandom(6).hex()
        self.name = f"{socket.gethostname().replace('/', '_')}-{os.getpid()}-{self.token}"

    def hold(self) -> None:
        """Take this instance's lock; from now on others see it alive. Idempotent; OSError when the folder refuses."""
        if self._folder is None or self._descriptor is not None:
            return
        path = self._path(self.token)
        while True:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            except FileNotFoundError:  # another instance closed and removed the empty folder
                continue
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    self._descriptor = descriptor
                    return
            os.close(descriptor)

    def dead(self, owner: str) -> bool:
        """True when `owner` was an instance of this store and has surely ended."""
        found = _OWNER.match(owner)
        if found is None or self._folder is None or owner == self.name:
            return False
        return self._free(self._path(found[2]))

    def others(self) -> frozenset[str]:
        """The tokens of the other living instances: a look at their files and no more."""
        if self._folder is None:
            return frozenset()
        try:
            paths = [self._folder / name for name in os.listdir(self._folder) if name.endswith(_SUFFIX)]
        except OSError:
            return frozenset()
        own = self._path(self.token)
        return frozenset(path.name.removesuffix(_SUFFIX) for path in paths if path != own and not self._free(path))

    @staticmethod
    def _free(path: Path) -> bool:
        """Whether nobody holds this file, which is then removed."""
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True

    def close(self) -> None:
        if self._descriptor is None or self._folder is None:
            return
        with contextlib.suppress(FileNotFoundError):
            self._path(self.token).unlink()
        os.close(self._descriptor)
        self._descriptor = None

    def _path(self, token: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{token}{_SUFFIX}"
