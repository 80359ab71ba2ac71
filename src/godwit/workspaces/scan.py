"""Reading a folder into a listing, of which only what changed since the last time is read again.

Owns the walk and the look at each name. Leaves out what is remembered of a name (`seen`), what is passed over
(`exclusions`), and where listings and contents are kept. Rules:

* A name that is as it was is not read again, see `seen`.
* Folders are walked by descriptors and no link is followed, so nothing outside is ever read, whatever is swapped meanwhile.
* Sockets, pipes and devices are passed over.
* A file that changes or goes while it is read is noted as it was last seen and read again the next time.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from ..core.checkpoint import CheckpointPolicy
from ..core.errors import CheckpointFailed
from . import drafts
from .contents import CHUNK, piece_hash, pieces_hash
from .contents_file import APPLICATION_ID
from .exclusions import BESIDE_DATABASE, MAX_RULES, Rules, beside_one_of, not_ours
from .listing import join, pack, stored, text
from .seen import Row, SeenFolder, encode_seen, entry_of, noted, row_key, row_of, same, seen_decoder, unreadable

_MAX_DEPTH = 200
"""Folders deeper than this are omitted: each level holds a descriptor open."""
_ATTEMPTS = 3
_COUNTED = 1000
"""Names of a folder after which it is looked whether there are too many."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SQLITE = b"SQLite format 3\0"
_OUR_DATABASES = (b"godw", APPLICATION_ID.to_bytes(4, "big"))


class Shelf(Protocol):
    """Where the scan puts what it finds; see `contents.Storing`."""

    def put_piece(self, hash_: bytes, content: bytes) -> None: ...
    def put_pieces(self, hash_: bytes, hashes: bytes) -> None: ...
    def put_listing(self, hash_: bytes, packed: bytes) -> None: ...


class Stopped(Exception):
    """The scan was told to end."""


class Scan:
    """One reading of the folder `root`, a real path. `seen`: what is remembered of it, by the paths of its folders, packed.

    `own`: real paths of databases; they and what lies beside them are passed over. `stopped` is asked often. `measure`: no
    content is read, which only tells whether the folder is within what the policy allows.
    """

    def __init__(
        self,
        root: str,
        policy: CheckpointPolicy,
        shelf: Shelf,
        seen: Mapping[bytes, bytes],
        *,
        own: tuple[str, ...] = (),
        stopped: Callable[[], bool] = lambda: False,
        measure: bool = False,
    ) -> None:
        self._root = root
        self._policy = policy
        self._shelf = shelf
        self._seen = seen
        self._stopped = stopped
        self._measure = measure
        self._own = frozenset(
            os.path.relpath(path, root) + end
            for path in own
            if os.path.commonpath((root, path)) == root
            for end in ("", *BESIDE_DATABASE)
        )
        self._visited: set[bytes] = set()
        self._files = 0
        self._bytes = 0
        self.folders: list[tuple[bytes, bytes]] = []
        """What was seen anew, by path."""
        self.reads = 0
        """Files whose content was read."""

    @property
    def gone(self) -> list[bytes]:
        """The folders that were remembered and are no more."""
        return [path for path in self._seen if path not in self._visited]

    def run(self) -> bytes:
        """The hash of the root's listing. CheckpointFailed when the folder cannot be read or holds more than the policy
        allows; Stopped."""
        try:
            folder = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                return self._folder(folder, "", Rules() if self._policy.ignored != "always" else None, 0)
            finally:
                os.close(folder)
        except OSError as error:
            words = (error.strerror or str(error)).lower()
            raise CheckpointFailed(f"the workspace {self._root} cannot be read: {words}", workspace=self._root) from error

    # --- folders ----------------------------------------------------------------------------------------------------

    def _folder(self, folder: int, path: str, rules: Rules | None, depth: int) -> bytes:
        if self._stopped():
            raise Stopped
        key = os.fsencode(path)
        self._visited.add(key)
        packed = self._seen.get(key)
        known = seen_decoder.decode(packed) if packed is not None else None
        before = {text(row.name): row for row in known.rows} if known is not None else {}
        found: list[os.DirEntry[str]] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                found.append(entry)
                if len(found) % _COUNTED == 0:
                    self._count(_COUNTED)
        self._count(len(found) % _COUNTED)
        names = {entry.name for entry in found}
        if rules is not None:
            rules = _with_rules_of(folder, path, rules) if ".gitignore" in names else rules
        never = self._policy.ignored == "never"
        rows: list[Row] = []
        changed = False
        folders: list[tuple[str, os.stat_result]] = []
        for entry in found:
            name = entry.name
            if name[0] in "._" and not_ours(name):
                drafts.clear(folder, name)
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            mode = status.st_mode
            if stat.S_ISDIR(mode):
                folders.append((name, status))
                continue
            row = before.get(name)
            if (
                row is not None
                and row.ctime == status.st_ctime_ns
                and row.mtime == status.st_mtime_ns
                and row.size == status.st_size
                and row.inode == status.st_ino
                and row.mode == mode
                and row.settled
            ):
                if row.kind == "f":
                    self._count(0, row.size)
                if not (never and rules is not None and rules.ignore(join(path, name), False)):
                    rows.append(row)
                continue
            if self._own and join(path, name) in self._own:
                continue
            if never and rules is not None and rules.ignore(join(path, name), False):
                continue
            fresh = self._look(folder, name, status, row, f"{name}.d" in names)
            if fresh is not None:
                rows.append(fresh)
                changed = changed or fresh != row
        databases = {text(row.name) for row in rows if row.kind == "x"}
        if databases:
            rows = [row for row in rows if not beside_one_of(text(row.name), databases)]
        for name, status in folders:
            if databases and beside_one_of(name, databases):
                continue
            if self._own and join(path, name) in self._own:
                continue
            row = self._subfolder(folder, name, join(path, name), status, rules, depth)
            if row is not None:
                rows.append(row)
                old = before.get(name)
                changed = changed or old is None or old.hash != row.hash or old.mode != row.mode or old.kind != row.kind
        if known is not None and not changed and len(rows) == len(before):
            return known.hash
        rows.sort(key=row_key)
        hash_, listing = pack([entry_of(row) for row in rows if row.kind != "x"])
        self._shelf.put_listing(hash_, listing)
        self.folders.append((key, encode_seen(SeenFolder(hash_, rows))))
        return hash_

    def _subfolder(
        self, folder: int, name: str, path: str, status: os.stat_result, rules: Rules | None, depth: int
    ) -> Row | None:
        mode = status.st_mode
        inner = rules
        if rules is not None and rules.ignore(path, True):
            if self._policy.ignored == "never":
                return None
            inner = None  # what is in it is ignored with it, whatever its own rules say
        try:
            opened = os.open(name, _FOLDER, dir_fd=folder)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EMLINK):
                return None  # gone, or something else by now: the next time will tell
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise CheckpointFailed(f"too many files are open to read {path!r}") from error
            return Row(stored(name), "o", mode)
        try:
            if depth >= _MAX_DEPTH or (inner is not rules and not self._is_small(opened)):
                return Row(stored(name), "o", mode)
            return Row(stored(name), "d", mode, 0, self._folder(opened, path, inner, depth + 1))
        except PermissionError:
            return Row(stored(name), "o", mode)
        finally:
            os.close(opened)

    def _is_small(self, folder: int) -> bool:
        """Whether an ignored folder holds so little that it is kept."""
        left = [self._policy.max_ignored_files, self._policy.max_ignored_bytes]

        def fits(folder: int, depth: int) -> bool:
            inner: list[str] = []
            with os.scandir(folder) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):
                        status = entry.stat(follow_symlinks=False)
                        left[0] -= 1
                        if stat.S_ISREG(status.st_mode):
                            left[1] -= status.st_size
                        elif stat.S_ISDIR(status.st_mode):
                            inner.append(entry.name)
                    if left[0] < 0 or left[1] < 0:
                        return False
            for name in inner:
                try:
                    opened = os.open(name, _FOLDER, dir_fd=folder)
                except OSError:
                    continue
                try:
                    if depth >= _MAX_DEPTH or not fits(opened, depth + 1):
                        return False
                finally:
                    os.close(opened)
            return True

        try:
            return fits(folder, 0)
        except PermissionError:
            return False

    def _count(self, entries: int, size: int = 0) -> None:
        self._files += entries
        self._bytes += size
        if self._files > self._policy.max_files:
            raise CheckpointFailed(
                f"{self._root} holds more than {self._policy.max_files} files, which no checkpoint is taken of: work in a"
                " smaller folder, ignore the large ones in .gitignore, or change the checkpoint policy (max_files, enabled)",
                workspace=self._root,
                max_files=self._policy.max_files,
            )
        if self._bytes > self._policy.max_bytes:
            raise CheckpointFailed(
                f"{self._root} holds more than {self._policy.max_bytes} bytes, which no checkpoint is taken of: work in a"
                " smaller folder, ignore the large ones in .gitignore, or change the checkpoint policy (max_bytes,"
                " max_file_bytes, enabled)",
                workspace=self._root,
                max_bytes=self._policy.max_bytes,
            )

    # --- single names -----------------------------------------------------------------------------------------------

    def _look(self, folder: int, name: str, status: os.stat_result, old: Row | None, held: bool) -> Row | None:
        """What stands under the name; None when that is nothing to keep, or nothing any more.

        `held`: beside it lies what processes that hold a database of ours leave there.
        """
        for _ in range(_ATTEMPTS):
            try:
                if stat.S_ISREG(status.st_mode):
                    return self._file(folder, name, status, old, held)
                if stat.S_ISLNK(status.st_mode):
                    begun = time.time_ns()
                    target = os.readlink(name, dir_fd=folder)
                    return row_of(name, "l", status, begun, target=stored(target))
                return None
            except FileNotFoundError:
                return None
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.EMLINK, errno.EINVAL, errno.EISDIR, errno.ENXIO):
                    return noted(name, status, settled=False)
                # It became something else after we had looked.
                try:
                    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                except FileNotFoundError:
                    return None
        return None

    def _file(self, folder: int, name: str, status: os.stat_result, old: Row | None, held: bool) -> Row | None:
        if status.st_size > self._policy.max_file_bytes:
            return noted(name, status)
        # Before it is read: what is too much must not be kept first.
        self._count(0, status.st_size)
        if self._measure:
            return noted(name, status)
        for _ in range(_ATTEMPTS):
            if self._stopped():
                raise Stopped
            begun = time.time_ns()
            try:
                file = os.open(name, _FILE, dir_fd=folder)
            except PermissionError:
                return unreadable(name, status, old)
            try:
                status = os.fstat(file)
                if not stat.S_ISREG(status.st_mode):
                    return None
                self.reads += 1
                read = self._content(file, status.st_size, held)
                after = os.fstat(file)
            finally:
                os.close(file)
            if read is None:
                return Row(stored(name), "x", after.st_mode, after.st_size)
            hash_, size = read
            if size > self._policy.max_file_bytes:
                return noted(name, after)
            if same(status, after) and size == after.st_size:
                return row_of(name, "f", after, begun, hash_=hash_)
            status = after
        # It is being written all the while: this is what it was, and it is read again the next time.
        row = row_of(name, "f", after, begun, hash_=hash_)
        row.size, row.settled = size, False
        return row

    def _content(self, file: int, size: int, held: bool) -> tuple[bytes, int] | None:
        """The hash and size of a file's content, which is put on the shelf; None for a database of ours.

        `size`: what it is said to have; whoever asks sees to it that it still has.
        """
        piece = os.read(file, CHUNK)
        if len(piece) != size:
            piece += _read(file, CHUNK - len(piece))
        # One that is new has what tells it apart in its log still, but somebody holds it.
        if piece[:16] == _SQLITE and (held or piece[68:72] in _OUR_DATABASES):
            return None
        hash_ = piece_hash(piece)
        if len(piece) < CHUNK or not (following := _read(file, CHUNK)):
            self._shelf.put_piece(hash_, piece)
            return hash_, len(piece)
        hashes, size = [hash_], len(piece)
        self._shelf.put_piece(hash_, piece)
        while following:
            if self._stopped():
                raise Stopped
            hash_ = piece_hash(following)
            self._shelf.put_piece(hash_, following)
            hashes.append(hash_)
            size += len(following)
            if size > self._policy.max_file_bytes:  # it grew while it was read
                return b"", size
            following = _read(file, CHUNK)
        joined = b"".join(hashes)
        whole = pieces_hash(joined)
        self._shelf.put_pieces(whole, joined)
        return whole, size


def file_hash(file: int) -> tuple[bytes, int]:
    """The hash and size of an open file's content, as an entry of a listing has them."""
    hashes: list[bytes] = []
    size = 0
    while (piece := _read(file, CHUNK)) or not hashes:
        hashes.append(piece_hash(piece))
        size += len(piece)
        if len(piece) < CHUNK:
            break
    return (hashes[0] if len(hashes) == 1 else pieces_hash(b"".join(hashes))), size


def _read(file: int, limit: int) -> bytes:
    """So many bytes, or all that are left."""
    piece = os.read(file, limit)
    if not piece or len(piece) == limit:
        return piece
    parts = [piece]
    got = len(piece)
    while got < limit and (piece := os.read(file, limit - got)):
        parts.append(piece)
        got += len(piece)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _with_rules_of(folder: int, path: str, rules: Rules) -> Rules:
    try:
        file = os.open(".gitignore", _FILE, dir_fd=folder)
    except OSError:
        return rules
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return rules
        with contextlib.suppress(OSError):
            return rules.within(path, _read(file, MAX_RULES))
        return rules
    finally:
        os.close(file)
