"""File access that cannot leave a folder: every path is walked by directory descriptors, one component at a time.

A path is never handed to the kernel as a whole. Each component is opened relative to the descriptor of the one before,
without following links; a link is read and its target walked in the same way. So a folder that is swapped for a link while
we walk either still is what we opened or makes the walk start again, and no interleaving leads out. `..` goes back to the
descriptor we came from and never above the root. Blocking; the caller brings the thread. Rule: no function here may use a
path of more than one component with the kernel, except to open the root itself, which is trusted.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Literal, NamedTuple, TypeVar

from ..contracts import FileInfo
from ..core.errors import PathEscape, ToolFailed
from . import drafts

T = TypeVar("T")

_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_WALK = _FOLDER | getattr(os, "O_PATH", os.O_RDONLY)
_LINK_LIMIT = 40
_RACE_LIMIT = 100
"""How often a walk starts again when a component turns from or into a link under it."""


class _Moved(Exception):
    """A component changed its kind between two looks at it."""


class Place(NamedTuple):
    """Where a path ends: `name` in the folder open as `folder`. `name` is empty when it is that folder itself.

    `parts`: the way there from the root, links resolved.
    """

    folder: int
    name: str
    parts: tuple[str, ...]

    @property
    def path(self) -> str:
        return "/".join(self.parts) or "."


Refusal = Callable[[Sequence[str], bool], "str | None"]
"""Why the path, given as its real parts from the root on, may not be read or (True) written; None when it may."""


class Confined:
    """The files below `root`, a real path. `alias`: another absolute name of it that paths may begin with. `refusal`: what
    is left alone below it. `links`: absolute names of folders below it, each with the folder's path from the root."""

    def __init__(self, root: str, alias: str, refusal: Refusal | None = None, links: Sequence[tuple[str, str]] = ()) -> None:
        self.root = root
        self._refusal = refusal
        self._prefixes = {root: "", alias: "", **dict(links)}

    # --- operations -------------------------------------------------------------------------------------------------

    def read(self, path: str) -> bytes:
        def work(place: Place) -> bytes:
            with self._open(place) as file:
                return _contents(file)

        return self._at(path, work)

    def write(self, path: str, content: bytes, *, create_only: bool = False) -> None:
        def work(place: Place) -> None:
            if not place.name:
                raise IsADirectoryError(errno.EISDIR, "is a directory")
            mode = self._mode_to_keep(place)
            if mode is not None and create_only:
                raise FileExistsError(errno.EEXIST, "exists")
            _replace(place, content, mode, create_only)

        self._at(path, work, make=True, writing=True)

    def delete(self, path: str) -> None:
        """Remove a file, an empty folder, or a link (not what it leads to)."""

        def work(place: Place) -> None:
            if not place.name:
                raise ToolFailed(f"cannot delete {path!r}: it is the workspace's root or a folder named through '..'")
            if stat.S_ISDIR(os.stat(place.name, dir_fd=place.folder, follow_symlinks=False).st_mode):
                os.rmdir(place.name, dir_fd=place.folder)
            else:
                os.unlink(place.name, dir_fd=place.folder)

        self._at(path, work, follow=False, writing=True)

    def info(self, path: str) -> FileInfo | None:
        """Links are followed; one that leads to nothing is nothing."""

        def work(place: Place) -> FileInfo:
            if not place.name:
                return _info(place.path, os.fstat(place.folder))
            return _info(place.path, os.stat(place.name, dir_fd=place.folder, follow_symlinks=False))

        try:
            return self._at(path, work, raw=True)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _readable(error, path) from error

    def listdir(self, path: str) -> list[FileInfo]:
        shown = [part for part in self._parts(path) if part not in ("", ".")]

        def work(place: Place) -> list[FileInfo]:
            # The names the caller used, unless `..` makes them say something else than the way we took.
            prefix = "/".join(place.parts if ".." in shown else shown)
            with self._folder(place) as folder, os.scandir(folder) as entries:
                found = []
                for entry in entries:
                    if self._refusal is not None and self._refusal((*place.parts, entry.name), False) is not None:
                        continue
                    with suppress(FileNotFoundError):  # gone between being listed and being looked at
                        name = f"{prefix}/{entry.name}" if prefix else entry.name
                        found.append(_info(name, entry.stat(follow_symlinks=False)))
            return sorted(found, key=lambda info: info.path)

        return self._at(path, work)

    def resolve(self, path: str) -> FileInfo:
        """What the path leads to, with its real way from the root. ToolFailed when there is nothing."""

        def work(place: Place) -> FileInfo:
            if not place.name:
                return _info(place.path, os.fstat(place.folder))
            return _info(place.path, os.stat(place.name, dir_fd=place.folder, follow_symlinks=False))

        return self._at(path, work)

    def stats(self, paths: Iterable[str]) -> Iterator[FileInfo]:
        """Those of the paths that are regular files reached through no link; others are left out. Fast when sorted."""
        by_folder: dict[str, list[str]] = {}
        for path in paths:
            folder, _, name = path.rpartition("/")
            by_folder.setdefault(folder, []).append(name)
        for folder, names in by_folder.items():
            with suppress(OSError, ToolFailed, PathEscape):
                yield from self._at(folder or ".", lambda place, n=names: self._stats_in(place, n), links=False)  # type: ignore[misc]

    def _stats_in(self, place: Place, names: list[str]) -> list[FileInfo]:
        found = []
        with self._folder(place) as folder:
            for name in names:
                with suppress(OSError, ToolFailed):
                    self._refuse((*place.parts, name), False, name)
                    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        found.append(_info("/".join((*place.parts, name)), status))
        return found

    def read_plain(self, path: str, limit: int) -> bytes | None:
        """The content of a regular file reached through no link, of at most `limit` bytes; None for anything else."""

        def work(place: Place) -> bytes | None:
            with self._open(place) as file:
                return _contents(file) if os.fstat(file).st_size <= limit else None

        try:
            return self._at(path, work, links=False)
        except (OSError, ToolFailed, PathEscape):
            return None

    def open_folder(self, path: str) -> int:
        """A descriptor, to be closed by the caller, of a folder reached through no link: to walk on from."""

        def work(place: Place) -> int:
            with self._folder(place) as folder:
                return os.dup(folder)

        return self._at(path, work, links=False)

    # --- walking ----------------------------------------------------------------------------------------------------

    def _at(
        self,
        path: str,
        work: Callable[[Place], T],
        *,
        follow: bool = True,
        make: bool = False,
        links: bool = True,
        raw: bool = False,
        writing: bool = False,
    ) -> T:
        for _ in range(_RACE_LIMIT):
            try:
                with self._place(path, follow=follow, make=make, links=links, writing=writing) as place:
                    return work(place)
            except _Moved:
                continue
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.EMLINK):  # the name became a link after we had looked
                    continue
                if raw:
                    raise
                raise _readable(error, path) from error
        raise ToolFailed(f"{path!r} keeps changing: try again")

    def _parts(self, path: str) -> list[str]:
        if "\0" in path:
            raise ToolFailed(f"{path!r} is no path: it holds a NUL character")
        if not path.startswith("/"):
            return path.split("/")
        for prefix, folder in self._prefixes.items():
            if path == prefix or path.startswith(prefix.rstrip("/") + "/"):
                return f"{folder}/{path[len(prefix) :]}".split("/")
        raise PathEscape(f"{path!r} is outside the workspace {self.root}", path=path)

    @contextmanager
    def _place(
        self, path: str, *, follow: bool = True, make: bool = False, links: bool = True, writing: bool = False
    ) -> Iterator[Place]:
        pending = [part for part in reversed(self._parts(path)) if part not in ("", ".")]
        folders = [os.open(self.root, os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY))]
        names: list[str] = []
        followed = 0
        try:
            while pending:
                part = pending.pop()
                if part == "..":
                    if not names:
                        raise PathEscape(f"{path!r} leads out of the workspace {self.root}", path=path)
                    names.pop()
                    os.close(folders.pop())
                    continue
                last = not pending
                if last or (make and not _exists(part, folders[-1])):
                    self._refuse((*names, part), writing, path)
                target: str | None
                if last:
                    target = _link(part, folders[-1]) if follow else None
                    if target is None:
                        yield Place(folders[-1], part, (*names, part))
                        return
                else:
                    opened = _enter(part, folders[-1], make)
                    if isinstance(opened, int):
                        folders.append(opened)
                        names.append(part)
                        continue
                    target = opened
                followed += 1
                if followed > _LINK_LIMIT or not links:
                    raise ToolFailed(f"{path!r} leads through {'too many' if links else 'a'} symbolic link{'s' * links}")
                try:
                    parts = self._parts(target)
                except PathEscape:
                    raise PathEscape(
                        f"{path!r} leads out of the workspace {self.root}: {part!r} is a symbolic link to {target!r}",
                        path=path,
                    ) from None
                if target.startswith("/"):
                    while names:
                        names.pop()
                        os.close(folders.pop())
                pending += [step for step in reversed(parts) if step not in ("", ".")]
            self._refuse(names, writing, path)
            yield Place(folders[-1], "", tuple(names))
        finally:
            for folder in folders:
                os.close(folder)

    def _refuse(self, parts: Sequence[str], writing: bool, path: str) -> None:
        why = None if self._refusal is None else self._refusal(parts, writing)
        if why is not None:
            raise ToolFailed(f"{path!r}: {why}", path=path)

    @contextmanager
    def _open(self, place: Place) -> Iterator[int]:
        if not place.name:
            raise IsADirectoryError(errno.EISDIR, "is a directory")
        # Not blocking: opening a named pipe would wait for a writer for ever.
        file = os.open(place.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place.folder)
        try:
            _only_regular(os.fstat(file).st_mode)
            yield file
        finally:
            os.close(file)

    @contextmanager
    def _folder(self, place: Place) -> Iterator[int]:
        """A descriptor of the folder the path leads to, open for listing."""
        try:
            folder = os.open(place.name or ".", os.O_RDONLY | _FOLDER, dir_fd=place.folder)
        except NotADirectoryError:  # Linux says so of a link as well
            if place.name and _link(place.name, place.folder) is not None:
                raise _Moved from None
            raise
        try:
            yield folder
        finally:
            os.close(folder)

    def _mode_to_keep(self, place: Place) -> int | None:
        try:
            status = os.stat(place.name, dir_fd=place.folder, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if stat.S_ISLNK(status.st_mode):
            raise _Moved
        _only_regular(status.st_mode)
        # Replacing a file asks nothing of the file itself, so its owner's wish not to have it written is asked for here.
        if not status.st_mode & 0o222:
            raise PermissionError(errno.EACCES, "is read-only")
        return stat.S_IMODE(status.st_mode)


def _link(name: str, folder: int) -> str | None:
    """Where the link leads; None when it is no link, or nothing."""
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return True


def _enter(name: str, folder: int, make: bool) -> int | str:
    """The descriptor of a folder in a folder, or the target when it is a link."""
    for _ in range(2):
        try:
            return os.open(name, _WALK, dir_fd=folder)
        except FileNotFoundError:
            if not make:
                raise
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=folder)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.EMLINK, errno.ENOTDIR):
                raise
            target = _link(name, folder)
            if target is not None:
                return target
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode):
                raise _Moved from None
            raise
    raise _Moved


def _only_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a directory")
    if not stat.S_ISREG(mode):
        raise ToolFailed("it is neither a file nor a folder, but a device, a pipe or a socket")


def _contents(file: int) -> bytes:
    chunks = []
    while chunk := os.read(file, 1 << 20):
        chunks.append(chunk)
    return b"".join(chunks)


def _replace(place: Place, content: bytes, mode: int | None, create_only: bool) -> None:
    """Write beside the file, then rename over it: whoever reads sees the old content or the new."""
    folder = place.folder
    draft, file = drafts.create(folder)
    try:
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(file, left) :]
            if mode is not None:
                os.fchmod(file, mode)
            if create_only:  # a rename would replace what somebody else made meanwhile; a link is refused then
                try:
                    os.link(draft, place.name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
                except OSError as error:
                    if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
                        raise
                    # A file system without hard links: take the name first, which makes the rename ours.
                    os.close(os.open(place.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=folder))
                else:
                    os.unlink(draft, dir_fd=folder)
                    return
            os.rename(draft, place.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(draft, dir_fd=folder)
            raise
    finally:
        os.close(file)


def _info(path: str, status: os.stat_result) -> FileInfo:
    kind: Literal["file", "directory", "symlink", "other"] = "other"
    if stat.S_ISREG(status.st_mode):
        kind = "file"
    elif stat.S_ISDIR(status.st_mode):
        kind = "directory"
    elif stat.S_ISLNK(status.st_mode):
        kind = "symlink"
    return FileInfo(path, kind, status.st_size, status.st_mtime_ns // 1_000_000)


_WORDS = {
    errno.ENOENT: "there is no such file or folder",
    errno.ENOTDIR: "a part of the path is no folder",
    errno.EISDIR: "it is a folder",
    errno.EEXIST: "it exists already",
    errno.ENOTEMPTY: "the folder is not empty",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ENOSPC: "no space is left on the device",
    errno.EROFS: "the file system is read-only",
}


def _readable(error: OSError, path: str) -> ToolFailed:
    if error.errno in (errno.EACCES, errno.EPERM):
        words = "the file is read-only" if error.strerror == "is read-only" else "permission denied"
    else:
        words = _WORDS.get(error.errno or 0) or (error.strerror or str(error)).lower()
    return ToolFailed(f"{path!r}: {words}", path=path, errno=errno.errorcode.get(error.errno or 0, ""))
