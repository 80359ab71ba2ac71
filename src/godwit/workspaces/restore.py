"""Making a folder what a listing says, where it still is what another one says.

Owns the order of things and the writing. Each path that differs between the two states is looked at just before it is
touched: what is already as it should be is passed over, what is as it was is replaced, and what is neither has been changed
by somebody since and is left alone. So it may be broken off at any instant and done again, and loses nobody's work. Rules:

* Folders are reached by descriptors from the root, one name at a time, and no link is followed: a folder that was swapped
  for a link is not entered.
* A file is written beside its place and changes places with what stands there; what was replaced or taken away is looked at
  once more before it is gone for good, and put back when it is not what was seen. The names used for that follow from the
  path, so that doing it again after a death finds what that has left.
* First what goes, deepest first; then what comes, folders before what is in them; last the modes of folders, which may
  forbid the rest.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b

from ..core.checkpoint import LeftAlone
from ..core.errors import CheckpointFailed, CheckpointNotFound, StoreCorrupt
from . import drafts
from .exchange import exchange
from .listing import MODE_BITS, Difference, Entry, above, stored, text
from .scan import file_hash

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OWNER = 0o700
_WHOLE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE)
"""Faults that are not of one path: the rest would fare no better."""
_CHANGED = "it was changed meanwhile"

Content = Callable[[bytes], Iterator[bytes]]


class _Left(Exception):
    """This path stays as it is, and why."""


class Restore:
    """Brings the folder `root`, a real path, from one state to another. `content`: a file's pieces by its hash;
    `folder_mode`: what the other state says of a folder.

    `durable`: what was written has reached the disk when `run` returns.
    """

    def __init__(
        self,
        root: str,
        content: Content,
        folder_mode: Callable[[str], int | None],
        *,
        durable: bool,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._root = root
        self._content = content
        self._folder_mode = folder_mode
        self._durable = durable
        self._stopped = stopped
        self._chain: list[tuple[str, int]] = []
        self._opened_up: dict[str, int] = {}
        self._touched: set[str] = set()
        self._left: dict[str, str] = {}

    def run(self, differences: Sequence[Difference]) -> list[LeftAlone]:
        """Do it; returns what was left alone. CheckpointFailed when the disk is full, read-only or broken, or it was
        stopped: then it is to be run again."""
        ordered = sorted(differences, key=lambda d: d.path.split("/"))
        # What an omitted folder holds is not known on that side.
        omitted = {d.path for d in ordered if any(e is not None and e.kind == "o" for e in (d.before, d.after))}
        ordered = [d for d in ordered if omitted.isdisjoint(above(d.path))]
        try:
            self._chain = [("", os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))]
        except OSError as error:
            raise _failed(error, self._root) from error
        try:
            for difference in reversed(ordered):
                self._do(self._take_away, difference)
            for difference in ordered:
                self._do(self._bring, difference)
            for difference in reversed(ordered):
                self._do(self._set_folder_mode, difference)
            self._close_again(ordered)
            if self._durable:
                self._sync_folders()
        finally:
            while self._chain:
                os.close(self._chain.pop()[1])
        return [LeftAlone(path, self._left[path]) for path in sorted(self._left)]

    def _do(self, step: Callable[[Difference], None], difference: Difference) -> None:
        path = difference.path
        if self._stopped():
            raise CheckpointFailed("putting the files back was broken off; it goes on when the session is opened again")
        if path in self._left:
            return
        try:
            step(difference)
        except _Left as left:
            self._left[path] = str(left)
        except (CheckpointNotFound, StoreCorrupt) as error:
            self._left[path] = error.message
        except OSError as error:
            if error.errno in _WHOLE_DISK:
                raise _failed(error, path) from error
            self._left[path] = (error.strerror or str(error)).lower()

    # --- the three steps --------------------------------------------------------------------------------------------

    def _take_away(self, difference: Difference) -> None:
        """What is to be nothing, or another kind of thing, goes."""
        path, before, after = difference
        if before is None or (after is not None and (before.kind == "d") == (after.kind == "d")):
            return
        _only_kept(before, after)
        folder, name = self._parent(path)
        if folder is None:
            return  # what it stood in is gone, and it with it
        if before.kind != "d":
            self._settle(difference, folder, name)
            now = _now(folder, name)
            if now is None or (after is not None and now.kind == "d"):
                return
            if not _equal(now, before):
                raise _Left(_CHANGED)
            self._writing(path, lambda: self._unlink(path, folder, name, before))
            return
        status = _status(folder, name)
        if status is None or not stat.S_ISDIR(status.st_mode):
            return  # the next step sees what stands there now
        self._remove_folder(path, folder, name)

    def _remove_folder(self, path: str, folder: int, name: str) -> None:
        try:
            self._writing(path, lambda: os.rmdir(name, dir_fd=folder))
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            inner, _ = self._parent(f"{path}/x")
            if inner is None:
                raise
            names = os.listdir(inner)
            if not all(drafts.NAME.fullmatch(n) for n in names):
                shown = ", ".join(sorted(names)[:3])
                raise _Left(
                    f"the folder stays, for there is something in it that is not kept or was changed: {shown}"
                ) from None
            for one in names:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(one, dir_fd=inner)
            self._leave(path)
            os.rmdir(name, dir_fd=folder)

    def _bring(self, difference: Difference) -> None:
        """What is to be there comes."""
        path, before, after = difference
        if after is None:
            return
        _only_kept(before, after)
        folder, name = self._parent(path)
        if folder is None:
            raise _Left("the folder it belongs into is not there")
        self._settle(difference, folder, name)
        now = _now(folder, name)
        if after.kind == "d":
            if now is None:
                self._writing(path, lambda: os.mkdir(name, _OWNER, dir_fd=folder))
            elif now.kind != "d":
                raise _Left(_CHANGED)
            return
        if now is not None and _equal(now, after):
            return
        expected = None if before is not None and before.kind == "d" else before
        if not _equal(now, expected):
            raise _Left(_CHANGED)
        if after.kind == "l":
            target = text(after.target)
            self._put(path, folder, name, now, lambda temporary: os.symlink(target, temporary, dir_fd=folder))
        elif now is not None and now.kind == "f" and now.hash == after.hash:
            self._writing(path, lambda: _set_mode(folder, name, after.mode))
        else:
            self._put(path, folder, name, now, lambda temporary: self._write(folder, temporary, after))

    def _set_folder_mode(self, difference: Difference) -> None:
        path, before, after = difference
        if after is None or after.kind != "d":
            return
        folder, name = self._parent(path)
        status = None if folder is None else _status(folder, name)
        if folder is None or status is None or not stat.S_ISDIR(status.st_mode):
            return
        mode = status.st_mode & MODE_BITS
        mine = {after.mode, after.mode | _OWNER, _OWNER}
        if before is not None and before.kind == "d":
            mine |= {before.mode, before.mode | _OWNER}
        if mode != after.mode and mode in mine:
            _set_mode(folder, name, after.mode)

    # --- writing ----------------------------------------------------------------------------------------------------

    def _put(self, path: str, folder: int, name: str, now: Entry | None, make: Callable[[str], None]) -> None:
        temporary, aside = _temporary(path), _aside(path)

        def put() -> None:
            make(temporary)
            if now is None:
                try:
                    _take_name(folder, temporary, name)
                finally:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(temporary, dir_fd=folder)
                return
            os.rename(temporary, aside, src_dir_fd=folder, dst_dir_fd=folder)
            try:
                _change_places(folder, aside, name, now)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(aside, dir_fd=folder)

        self._writing(path, put)

    def _unlink(self, path: str, folder: int, name: str, before: Entry) -> None:
        aside = _aside(path)
        os.rename(name, aside, src_dir_fd=folder, dst_dir_fd=folder)
        try:
            if not _equal(_now(folder, aside), before):
                raise _Left(_CHANGED)
        except _Left:
            with contextlib.suppress(_Left):
                _take_name(folder, aside, name)
            raise
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(aside, dir_fd=folder)

    def _settle(self, difference: Difference, folder: int, name: str) -> None:
        """Clear up what a process that died in the middle of this path has left."""
        path, before, after = difference
        aside = _aside(path)
        if _status(folder, _temporary(path)) is not None:
            os.unlink(_temporary(path), dir_fd=folder)
        if _status(folder, aside) is None:
            return
        was = _now(folder, aside)
        if was is not None and not _equal(was, before) and not _equal(was, after):
            # It died while it held what somebody had saved just before.
            now = _now(folder, name)
            if now is None:
                with contextlib.suppress(_Left):
                    _take_name(folder, aside, name)
            elif _equal(now, after):
                os.rename(aside, name, src_dir_fd=folder, dst_dir_fd=folder)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(aside, dir_fd=folder)

    def _write(self, folder: int, temporary: str, entry: Entry) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(temporary, flags, 0o600, dir_fd=folder)
        try:
            try:
                for piece in self._content(entry.hash):
                    left = memoryview(piece)
                    while left:
                        left = left[os.write(file, left) :]
                os.fchmod(file, entry.mode)
                if self._durable:
                    os.fsync(file)
            finally:
                os.close(file)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise

    def _writing(self, path: str, work: Callable[[], None]) -> None:
        """Change the folder `path` stands in; one of ours that does not allow it is opened up for as long as it takes."""
        folder_path = path.rpartition("/")[0]
        self._touched.add(folder_path)
        try:
            work()
        except PermissionError:
            folder = self._chain[-1][1]
            status = os.fstat(folder)
            mode = stat.S_IMODE(status.st_mode)
            if status.st_uid != os.geteuid() or mode & _OWNER == _OWNER:
                raise
            os.fchmod(folder, mode | _OWNER)
            self._opened_up.setdefault(folder_path, mode)
            work()

    def _close_again(self, ordered: Sequence[Difference]) -> None:
        """Give folders that were opened up, now or by a process that died, their modes back."""
        folders = {one for d in ordered for one in above(d.path)}
        for path in sorted({*folders, *self._opened_up}, reverse=True):
            said = self._folder_mode(path) if path else None
            wanted = self._opened_up.get(path) if said is None else said
            if wanted is None or wanted & _OWNER == _OWNER:
                continue
            folder, _ = self._parent(f"{path}/x" if path else "x")
            if folder is not None and stat.S_IMODE(os.fstat(folder).st_mode) == wanted | _OWNER:
                os.fchmod(folder, wanted)

    def _sync_folders(self) -> None:
        for path in sorted(self._touched):
            folder, _ = self._parent(f"{path}/x" if path else "x")
            if folder is not None:
                os.fsync(folder)

    # --- the way there ----------------------------------------------------------------------------------------------

    def _parent(self, path: str) -> tuple[int | None, str]:
        """The open folder a path stands in, and its name in it. None when there is no such folder (any more)."""
        *parts, name = path.split("/")
        chain = self._chain
        common = 0
        while common < len(parts) and common + 1 < len(chain) and chain[common + 1][0] == parts[common]:
            common += 1
        while len(chain) > common + 1:
            os.close(chain.pop()[1])
        for part in parts[common:]:
            try:
                opened = self._enter(chain[-1][1], part, "/".join(parts[: len(chain)]))
            except FileNotFoundError:
                return None, name
            except OSError as error:
                if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.EMLINK):
                    return None, name
                raise
            chain.append((part, opened))
        return chain[-1][1], name

    def _enter(self, folder: int, name: str, path: str) -> int:
        try:
            return os.open(name, _FOLDER, dir_fd=folder)
        except PermissionError:
            status = _status(folder, name)
            if status is None or not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                raise
            mode = stat.S_IMODE(status.st_mode)
            if mode & _OWNER == _OWNER:
                raise
            _set_mode(folder, name, mode | _OWNER)
            self._opened_up.setdefault(path, mode)
            return os.open(name, _FOLDER, dir_fd=folder)

    def _leave(self, path: str) -> None:
        """Close the folder, and those in it, if they are open."""
        parts = path.split("/")
        chain = self._chain
        if len(chain) > len(parts) and [name for name, _ in chain[1 : len(parts) + 1]] == parts:
            while len(chain) > len(parts):
                os.close(chain.pop()[1])


def _change_places(folder: int, aside: str, name: str, now: Entry) -> None:
    """Put what stands under `aside` where `now` is; what was there stands under `aside` then. _Left if not `now`."""
    ours = os.stat(aside, dir_fd=folder, follow_symlinks=False).st_ino
    try:
        exchanged = exchange(folder, aside, name)
    except FileNotFoundError:
        raise _Left(_CHANGED) from None
    if not exchanged:
        # This system cannot: the last look is as late as may be.
        if not _equal(_now(folder, name), now):
            raise _Left(_CHANGED)
        os.rename(aside, name, src_dir_fd=folder, dst_dir_fd=folder)
        return
    try:
        if not _equal(_now(folder, aside), now):
            raise _Left(_CHANGED)
    except _Left:
        # Somebody was quicker, and gets it back; unless they have saved again meanwhile, over ours.
        exchange(folder, aside, name)
        status = _status(folder, aside)
        if status is not None and status.st_ino != ours:
            exchange(folder, aside, name)
        raise


def _temporary(path: str) -> str:
    """Beside `path`: what is being written."""
    return _named(path, b"godwit.new")


def _aside(path: str) -> str:
    """Beside `path`: what is about to take its place, and then what did stand there."""
    return _named(path, b"godwit.aside")


def _named(path: str, person: bytes) -> str:
    return f".godwit-{blake2b(os.fsencode(path), digest_size=8, person=person).hexdigest()}.tmp"


def _only_kept(before: Entry | None, after: Entry | None) -> None:
    for entry in (before, after):
        if entry is not None and entry.kind in ("n", "o"):
            raise _Left("it is not kept")


def _status(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _now(folder: int, name: str) -> Entry | None:
    """What stands there: a file with its content's hash, a link, a folder; for all else, and what cannot be read, _Left."""
    status = _status(folder, name)
    if status is None:
        return None
    mode = status.st_mode & MODE_BITS
    if stat.S_ISDIR(status.st_mode):
        return Entry(stored(name), "d", mode)
    try:
        if stat.S_ISLNK(status.st_mode):
            return Entry(stored(name), "l", 0, target=stored(os.readlink(name, dir_fd=folder)))
        if not stat.S_ISREG(status.st_mode):
            raise _Left("it is neither a file nor a folder now, but a device, a pipe or a socket")
        file = _open_to_read(folder, name, status)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.EINVAL, errno.ENXIO, errno.EISDIR):
            raise _Left(_CHANGED) from None
        raise
    try:
        opened = os.fstat(file)
        if not stat.S_ISREG(opened.st_mode):
            raise _Left(_CHANGED)
        hash_, size = file_hash(file)
        return Entry(stored(name), "f", mode, size, hash_)
    finally:
        os.close(file)


def _open_to_read(folder: int, name: str, status: os.stat_result) -> int:
    try:
        return os.open(name, _FILE, dir_fd=folder)
    except PermissionError:
        # Ours, but its mode forbids reading: let it be read for the moment of opening it.
        if status.st_uid != os.geteuid() or status.st_mode & 0o400:
            raise
        mode = stat.S_IMODE(status.st_mode)
        _set_mode(folder, name, mode | 0o400)
        try:
            return os.open(name, _FILE, dir_fd=folder)
        finally:
            _set_mode(folder, name, mode)


def _equal(now: Entry | None, said: Entry | None) -> bool:
    if now is None or said is None:
        return now is said
    if now.kind != said.kind:
        return False
    if now.kind == "l":
        return now.target == said.target
    return now.kind == "d" or (now.hash == said.hash and now.mode == said.mode)


def _take_name(folder: int, temporary: str, name: str) -> None:
    """Give what stands under the temporary name this one too, unless somebody has taken it meanwhile."""
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        raise _Left(_CHANGED) from None
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        # A file system without hard links.
        if _status(folder, name) is not None:
            raise _Left(_CHANGED) from None
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)


def _set_mode(folder: int, name: str, mode: int) -> None:
    """Of a file or folder, following no link."""
    if os.chmod in os.supports_follow_symlinks:
        os.chmod(name, mode, dir_fd=folder, follow_symlinks=False)
        return
    # Linux sets modes by descriptor only, and one that may not be read is reached through /proc.
    opened = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        if stat.S_ISLNK(os.fstat(opened).st_mode):
            raise _Left(_CHANGED)
        os.chmod(f"/proc/self/fd/{opened}", mode)
    finally:
        os.close(opened)


def _failed(error: OSError, path: str) -> CheckpointFailed:
    words = (error.strerror or str(error)).lower()
    return CheckpointFailed(
        f"the files could not all be put back, {path!r} was the first: {words}; see to it and open the session again, which"
        " goes on with it",
        path=path,
        errno=errno.errorcode.get(error.errno or 0, ""),
    )
