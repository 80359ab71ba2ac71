"""LocalWorkspace: a folder of this machine. File access is confined to it; commands are not.

File operations cannot leave the folder, see `confined`. A command run in it is an ordinary process of this user and can do
what the user can: confining it is the business of a sandbox. Commands see a copy of our environment without credentials.
File work runs in threads, also the small one: a network drive that hangs must stop one session and not all of them, and a
hop costs some 50 microseconds.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from ..contracts import CancelToken, Execution, FileInfo
from ..core.errors import ConfigurationError
from . import command as commands
from .confined import Confined
from .search import Search, Stop, ripgrep

T = TypeVar("T")

_CREDENTIAL = re.compile(
    r"(?:^|_)(?:API_?KEY|ACCESS_KEY|PRIVATE_KEY|SECRET|CREDENTIALS?|PASSWD|PASSPHRASE)(?:_|$)"
    r"|(?:^|_)TOKENS?$|_KEY$|PASSWORD",
    re.IGNORECASE,
)


def inherited() -> dict[str, str]:
    """Our own environment without what looks like a credential."""
    return {name: value for name, value in os.environ.items() if not _CREDENTIAL.search(name)}


class LocalWorkspace:
    """The folder `root`, which must exist. ConfigurationError when it is none.

    `environment`: variables for commands, on top of ours. Variables of ours whose names look like credentials (`*_API_KEY`,
    `*_KEY`, `*_TOKEN`, `*_SECRET*`, `*PASSWORD*`, `*_CREDENTIALS`, `*_ACCESS_KEY*` and their kin) reach commands only when
    they are given here by name. `use_ripgrep`: False searches without it.
    """

    def __init__(
        self, root: str | os.PathLike[str], environment: Mapping[str, str] | None = None, *, use_ripgrep: bool = True
    ) -> None:
        given = os.path.abspath(os.fspath(root))
        real = os.path.realpath(given)
        if not os.path.isdir(real):
            raise ConfigurationError(f"the workspace {given!r} is not a folder: make it first", workspace=given)
        self._root = real
        self._environment = dict(environment or {})
        self._files = Confined(real, given)
        self._search = Search(self._files, ripgrep() if use_ripgrep else None)

    @property
    def root(self) -> str:
        """The real, absolute path of the folder."""
        return self._root

    async def read(self, path: str) -> bytes:
        return await _threaded(lambda: self._files.read(path))

    async def write(self, path: str, content: bytes, *, create_only: bool = False) -> None:
        await _threaded(lambda: self._files.write(path, content, create_only=create_only))

    async def delete(self, path: str) -> None:
        """A file, a link (not its target) or an empty folder. ToolFailed when there is nothing or the folder is not
        empty."""
        await _threaded(lambda: self._files.delete(path))

    async def info(self, path: str) -> FileInfo | None:
        """What the path leads to, links followed; None when that is nothing."""
        return await _threaded(lambda: self._files.info(path))

    async def listdir(self, path: str = ".") -> list[FileInfo]:
        """A folder's entries by name, links as links."""
        return await _threaded(lambda: self._files.listdir(path))

    async def glob(self, pattern: str, path: str = ".", *, limit: int = 1000) -> list[FileInfo]:
        """Regular files; the pattern is matched against the path below `path`."""
        stop = Stop()
        return await _threaded(lambda: self._search.glob(pattern, path, limit, stop), stop.stop)

    async def grep(
        self, pattern: str, path: str = ".", *, glob: str | None = None, ignore_case: bool = False, limit: int = 1000
    ) -> list[tuple[str, int, str]]:
        """The first matching lines by path and number, without their ends; longer ones are cut at 10,000 characters.

        `path`: a folder or a file. `glob`: only files whose path below `path` matches; without `/` it is matched against the
        name. The expression is ripgrep's; one it does not know (look-around, back references) is tried as Python's.
        """
        stop = Stop()
        return await _threaded(lambda: self._search.grep(pattern, path, glob, ignore_case, limit, stop), stop.stop)

    async def execute(
        self,
        command: str,
        *,
        output: Callable[[bytes], None],
        timeout_s: float | None = None,
        grace_s: float = 2.0,
        cancel: CancelToken | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Execution:
        """Run it with bash (else sh), its input empty. Processes it leaves in the background live on, see `command`."""
        return await commands.execute(
            command,
            folder=self._root,
            environment=self._variables(environment or {}),
            output=output,
            timeout_s=timeout_s,
            grace_s=grace_s,
            cancel=cancel,
        )

    def _variables(self, more: Mapping[str, str]) -> dict[str, str]:
        return {**inherited(), **self._environment, **more, "PWD": self._root}


async def _threaded(work: Callable[[], T], stop: Callable[[], None] | None = None) -> T:
    """The work's result. A cancelled caller waits for its end all the same: nothing is written behind its back."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if stop is not None:
            stop()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()
        raise
