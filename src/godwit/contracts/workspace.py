"""The files of a session, and the place its commands run in. What confines the commands is a sandbox."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

import msgspec

from .cancel import CancelToken


class FileInfo(msgspec.Struct, frozen=True):
    """`path` is relative to the workspace, with `/`. `size` in bytes."""

    path: str
    kind: Literal["file", "directory", "symlink", "other"]
    size: int
    modified_ms: int


class Execution(msgspec.Struct, frozen=True):
    """How a command ended. `exit_code` is None when it was killed: by the timeout, or because it was `cancelled`."""

    exit_code: int | None
    timed_out: bool = False
    cancelled: bool = False


class Workspace(Protocol):
    """The files and the place commands run in. Paths are relative to `root` or absolute within it; a path that leads
    out, by `..`, by a symlink or by a race, raises PathEscape. File errors are ToolFailed with a readable message."""

    @property
    def root(self) -> str: ...

    async def read(self, path: str) -> bytes: ...

    async def write(self, path: str, content: bytes, *, create_only: bool = False) -> None:
        """Replace the file as a whole (a reader sees the old or the new one), making parent folders."""
        ...

    async def delete(self, path: str) -> None: ...
    async def info(self, path: str) -> FileInfo | None:
        """None when there is nothing."""
        ...

    async def listdir(self, path: str = ".") -> list[FileInfo]:
        """A folder's entries by name."""
        ...

    async def glob(self, pattern: str, path: str = ".", *, limit: int = 1000) -> list[FileInfo]:
        """Files matching (`**` crosses folders), newest first; ignored ones (.gitignore, .git) are left out."""
        ...

    async def grep(
        self, pattern: str, path: str = ".", *, glob: str | None = None, ignore_case: bool = False, limit: int = 1000
    ) -> list[tuple[str, int, str]]:
        """(path, line number from 1, line) for each line the regular expression is found in."""
        ...

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
        """Run a shell command in the root; `output` gets stdout and stderr as they come.

        On cancel or timeout its whole process group gets SIGTERM and, `grace_s` later, SIGKILL; it has died on return.
        """
        ...


@runtime_checkable
class HasLinks(Protocol):
    """What a workspace may also be: one whose folders have other names, see `SandboxPolicy.links`."""

    @property
    def links(self) -> Sequence[tuple[str, str]]:
        """Each such name, absolute, with the folder's path from the root."""
        ...
