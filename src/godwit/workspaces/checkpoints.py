"""FileCheckpoints: states of a workspace's files, kept beside the database. Implements `godwit.contracts.Checkpoints`.

Puts the pieces together: `scan` reads a folder, `listing` is what a state is as data, `contents` keeps it, `restore` puts
it back, `difftext` shows what differs. Owns which states a session holds and which of them a policy lets go of. The folder's
own repository is never read for this nor written; decision 13 says why no shadow one is used.

File work runs in threads. A cancelled caller waits for the thread, which breaks off at the next file.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Sequence

import msgspec

from ..core.checkpoint import CheckpointPolicy, CheckpointRef, FileChange, FileDiff, KeptCheckpoint, LeftAlone
from ..core.errors import CheckpointFailed, CheckpointNotFound
from ..core.ids import Clock, SessionId, SystemClock
from ..threads import to_its_end
from . import difftext
from .contents import Contents, Reading, Seen
from .contents_file import Durability
from .exclusions import MAX_RULES, Rules
from .listing import Difference, Entry, change_of, differences, merge, text
from .restore import Restore
from .scan import Scan, Stopped

DIFF_LIMIT = 1 << 20
"""Characters of a diff's text."""
_MAX_COMPARED = 1 << 20
"""Bytes of a file whose lines are compared; a larger one is named only."""
_PREFIX = "tree:"


class FileCheckpoints:
    """Checkpoints in the folder `path`, which is made with the first one. None: in a temporary one that `close` removes.

    `own`: databases of godwit, which are passed over wherever they lie, as is all beside them. `durability`: what a
    checkpoint survives, see `godwit.stores`. `clock`: for how old a checkpoint is.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        *,
        own: Sequence[str] = (),
        durability: Durability = "disk",
        clock: Clock | None = None,
        wait_s: float = 10.0,
    ) -> None:
        self._path = None if path is None else os.path.realpath(path)
        self._own = tuple(os.path.realpath(one) for one in own)
        self._durability: Durability = durability
        self._clock: Clock = clock or SystemClock()
        self._wait_s = wait_s
        self._made: Contents | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"FileCheckpoints({self._path!r})"

    async def take(self, session: SessionId, root: str, policy: CheckpointPolicy) -> CheckpointRef:
        """See `Checkpoints.take`."""
        stop = threading.Event()
        return await to_its_end(lambda: self._take(session, root, policy, stop.is_set), stop.set)

    async def changes(self, before: CheckpointRef, after: CheckpointRef) -> list[FileChange]:
        """See `Checkpoints.changes`."""
        return await to_its_end(lambda: self._changes(before, after))

    async def diff(
        self,
        before: CheckpointRef,
        after: CheckpointRef,
        *,
        paths: Collection[str] | None = None,
        limit: int = DIFF_LIMIT,
    ) -> FileDiff:
        """See `Checkpoints.diff`."""
        return await to_its_end(lambda: self._diff(before, after, paths, limit))

    async def merge(
        self,
        session: SessionId,
        base: CheckpointRef,
        target: CheckpointRef,
        paths: Collection[str] | None = None,
    ) -> tuple[CheckpointRef, list[LeftAlone]]:
        """See `Checkpoints.merge`."""
        return await to_its_end(lambda: self._merge(session, base, target, paths))

    async def restore(self, root: str, base: CheckpointRef, target: CheckpointRef) -> list[LeftAlone]:
        """See `Checkpoints.restore`."""
        stop = threading.Event()
        return await to_its_end(lambda: self._restore(root, base, target, stop.is_set), stop.set)

    async def kept(self, session: SessionId) -> list[KeptCheckpoint]:
        """See `Checkpoints.kept`."""
        return await to_its_end(lambda: self._kept(session))

    async def share(self, session: SessionId, other: SessionId) -> None:
        """See `Checkpoints.share`."""
        await to_its_end(lambda: self._share(session, other))

    async def retain(
        self, session: SessionId, policy: CheckpointPolicy, *, named: Collection[CheckpointRef] | None = None
    ) -> int:
        """See `Checkpoints.retain`."""
        return await to_its_end(lambda: self._retain(session, policy, None if named is None else frozenset(named)))

    async def release(self, session: SessionId) -> int:
        """See `Checkpoints.release`."""
        return await to_its_end(lambda: self._release(session))

    async def close(self) -> None:
        """Safe to repeat."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made.close()
            if self._path is None:
                await asyncio.to_thread(shutil.rmtree, made.folder, ignore_errors=True)

    # --- in a thread ------------------------------------------------------------------------------------------------

    def _contents(self) -> Contents:
        with self._lock:
            if self._made is None:
                folder = self._path if self._path is not None else tempfile.mkdtemp(prefix="godwit-files-")
                self._made = Contents(folder, durability=self._durability, wait_s=self._wait_s)
            return self._made

    def _anything(self) -> bool:
        """Whether there is a checkpoint at all: looking must not make the folder."""
        return self._contents().exists() if self._path is not None or self._made is not None else False

    def _take(self, session: SessionId, root: str, policy: CheckpointPolicy, stopped: Callable[[], bool]) -> CheckpointRef:
        real = os.path.realpath(root)
        contents = self._contents()
        # What was seen depends on what was to be looked at.
        looked = msgspec.json.encode(
            [policy.ignored, policy.max_file_bytes, policy.max_ignored_files, policy.max_ignored_bytes]
        )
        key = os.fsencode(real) + b"\0" + looked
        own = (*self._own, contents.folder)
        try:
            with contents.storing() as storing:
                before, rows = storing.folders(key)
                if before is None:
                    # Before gigabytes are read and kept: is it a folder to be kept at all?
                    Scan(real, policy, _Nowhere(), {}, own=own, stopped=stopped, measure=True).run()
                scan = Scan(real, policy, storing, dict(rows), own=own, stopped=stopped)
                state = scan.run()
                seen = Seen(key, before, scan.folders, scan.gone)
                storing.hold(session, state, self._clock.now_ms(), seen=seen)
        except Stopped:
            raise CheckpointFailed("taking a checkpoint was broken off") from None
        except CheckpointFailed:
            if storing.wrote:
                contents.sweep()  # what was kept of it is of no use
            raise
        return _ref(state)

    def _changes(self, before: CheckpointRef, after: CheckpointRef) -> list[FileChange]:
        if before == after:
            return []
        with self._reading() as reading:
            rules = _IgnoredBy(reading, (_state(before), _state(after)))
            return [rules.mark(change_of(d)) for d in differences(reading.load, _state(before), _state(after))]

    def _diff(self, before: CheckpointRef, after: CheckpointRef, paths: Collection[str] | None, limit: int) -> FileDiff:
        if before == after:
            return FileDiff((), "")
        changes: list[FileChange] = []
        parts: list[str] = []
        length, cut = 0, False
        with self._reading() as reading:
            rules = _IgnoredBy(reading, (_state(before), _state(after)))
            for difference in differences(reading.load, _state(before), _state(after)):
                if paths is not None and difference.path not in paths:
                    continue
                change = rules.mark(change_of(difference))
                if not change.folder or change.change == "type":
                    change, shown = _shown(reading, difference, change)
                    if length + len(shown) > limit:
                        cut = True
                    else:
                        parts.append(shown)
                        length += len(shown)
                changes.append(change)
        return FileDiff(tuple(changes), "".join(parts), cut)

    def _merge(
        self, session: SessionId, base: CheckpointRef, target: CheckpointRef, paths: Collection[str] | None
    ) -> tuple[CheckpointRef, list[LeftAlone]]:
        self._need(base)
        wanted = None if paths is None else frozenset(paths)
        with self._contents().storing() as storing:
            state, left = merge(storing.load, storing.put_listing, _state(base), _state(target), wanted)
            storing.hold(session, state, self._clock.now_ms())
        return _ref(state), left

    def _restore(
        self, root: str, base: CheckpointRef, target: CheckpointRef, stopped: Callable[[], bool]
    ) -> list[LeftAlone]:
        if base == target:
            return []
        with self._reading() as reading:
            state = _state(target)
            found = list(differences(reading.load, _state(base), state))
            restore = Restore(
                os.path.realpath(root),
                reading.content,
                lambda path: _folder_mode(reading, state, path),
                durable=self._durability == "disk",
                stopped=stopped,
            )
            return restore.run(found)

    def _kept(self, session: SessionId) -> list[KeptCheckpoint]:
        if not self._anything():
            return []
        with self._reading() as reading:
            return [KeptCheckpoint(_ref(one.hash), one.taken_ms) for one in reading.held(session)]

    def _share(self, session: SessionId, other: SessionId) -> None:
        if self._anything():
            with self._contents().storing() as storing:
                storing.share(session, other)

    def _retain(self, session: SessionId, policy: CheckpointPolicy, named: frozenset[CheckpointRef] | None) -> int:
        if not self._anything():
            return 0
        with self._contents().storing() as storing:
            late = self._clock.now_ms() - (policy.keep_age_s or 0) * 1000
            gone: list[bytes] = []
            left: list[bytes] = []
            for one in storing.held(session):
                old = policy.keep_age_s is not None and one.taken_ms < late
                many = policy.keep_count is not None and len(left) >= policy.keep_count
                unknown = named is not None and _ref(one.hash) not in named
                (gone if old or many or unknown else left).append(one.hash)
            if policy.keep_bytes is not None:
                total = 0
                for number, (hash_, size) in enumerate(zip(left, storing.sizes(left), strict=True)):
                    total += size
                    if total > policy.keep_bytes and number:
                        gone.append(hash_)
            if not gone or not storing.let_go(session, gone):
                return 0
        return self._contents().sweep()

    def _release(self, session: SessionId) -> int:
        if not self._anything():
            return 0
        with self._contents().storing() as storing:
            if not storing.let_go(session):
                return 0
        return self._contents().sweep()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Reading]:
        if not self._anything():
            raise CheckpointNotFound("no checkpoint is kept here")
        with self._contents().reading() as reading:
            yield reading

    def _need(self, _: CheckpointRef) -> None:
        if not self._anything():
            raise CheckpointNotFound("no checkpoint is kept here")


class _Nowhere:
    """A shelf that keeps nothing."""

    def put_piece(self, hash_: bytes, content: bytes) -> None: ...
    def put_pieces(self, hash_: bytes, hashes: bytes) -> None: ...
    def put_listing(self, hash_: bytes, packed: bytes) -> None: ...


class _IgnoredBy:
    """Which paths the ignore files of a state leave out; those of either of two states."""

    def __init__(self, reading: Reading, states: tuple[bytes, bytes]) -> None:
        self._reading = reading
        self._states = states
        self._known: dict[tuple[bytes, str], tuple[bytes | None, Rules]] = {}

    def mark(self, change: FileChange) -> FileChange:
        if any(self._ignored(state, change.path, change.folder) for state in self._states):
            return msgspec.structs.replace(change, ignored=True)
        return change

    def _ignored(self, state: bytes, path: str, folder: bool) -> bool:
        parts = path.split("/")
        for number in range(1, len(parts) + 1):
            inner = "/".join(parts[:number])
            rules = self._in(state, "/".join(parts[: number - 1]))[1]
            if rules.ignore(inner, folder or number < len(parts)):
                return True
        return False

    def _in(self, state: bytes, path: str) -> tuple[bytes | None, Rules]:
        """The listing of a folder in the state, if it is there, and the rules in force in it."""
        found = self._known.get((state, path))
        if found is not None:
            return found
        hash_: bytes | None = state
        rules = Rules()
        if path:
            above, _, name = path.rpartition("/")
            hash_, rules = self._in(state, above)
            entries = [] if hash_ is None else self._reading.load(hash_)
            hash_ = next((e.hash for e in entries if text(e.name) == name and e.kind == "d"), None)
        if hash_ is not None:
            for entry in self._reading.load(hash_):
                if entry.name == b".gitignore" and entry.kind == "f" and entry.size <= MAX_RULES:
                    rules = rules.within(path, self._reading.whole(entry.hash))
        found = self._known[state, path] = hash_, rules
        return found


def _ref(state: bytes) -> CheckpointRef:
    return CheckpointRef(_PREFIX + state.hex())


def _state(ref: CheckpointRef) -> bytes:
    try:
        state = bytes.fromhex(ref.removeprefix(_PREFIX))
    except ValueError:
        state = b""
    if len(state) != 32 or not ref.startswith(_PREFIX):
        raise CheckpointNotFound(f"{ref!r} names no checkpoint: they are called tree:<64 hex digits>", ref=ref)
    return state


def _folder_mode(reading: Reading, state: bytes, path: str) -> int | None:
    mode = None
    for part in path.split("/"):
        entry = next((e for e in reading.load(state) if text(e.name) == part), None)
        if entry is None or entry.kind != "d":
            return None
        state, mode = entry.hash, entry.mode
    return mode


def _shown(reading: Reading, difference: Difference, change: FileChange) -> tuple[FileChange, str]:
    """The change with its lines counted, and its part of a diff."""
    path, before, after = difference
    before = None if before is not None and before.kind in ("d", "o") else before
    after = None if after is not None and after.kind in ("d", "o") else after
    name = os.fsencode(path)
    old, new = difftext.quoted(b"a/" + name), difftext.quoted(b"b/" + name)
    head = [f"diff --git {old} {new}\n"]
    if before is None and after is None:
        return change, ""
    if before is not None and after is not None and _git_mode(before) != _git_mode(after):
        head += [f"old mode {_git_mode(before)}\n", f"new mode {_git_mode(after)}\n"]
    if before is None and after is not None:
        head.append(f"new file mode {_git_mode(after)}\n")
    if after is None and before is not None:
        head.append(f"deleted file mode {_git_mode(before)}\n")
    if before is not None and after is not None and before.kind == after.kind == "f" and before.hash == after.hash:
        return change, "".join(head)
    contents = [_content_of(reading, entry) for entry in (before, after)]
    if any(content is None for content in contents):
        return msgspec.structs.replace(change, binary=True), "".join([*head, f"{old} and {new} differ, and are not kept\n"])
    one, other = (content or b"" for content in contents)
    if max(len(one), len(other)) > _MAX_COMPARED or not (difftext.is_text(one) and difftext.is_text(other)):
        return msgspec.structs.replace(change, binary=True), "".join([*head, f"Binary files {old} and {new} differ\n"])
    old_lines, new_lines = difftext.lines_of(one), difftext.lines_of(other)
    found = difftext.steps(old_lines, new_lines)
    if found:
        head.append(f"--- {old if before is not None else '/dev/null'}\n")
        head.append(f"+++ {new if after is not None else '/dev/null'}\n")
    counted = msgspec.structs.replace(
        change,
        added_lines=sum(d - c for _, _, c, d in found),
        removed_lines=sum(b - a for a, b, _, _ in found),
    )
    return counted, "".join([*head, *difftext.hunks(old_lines, new_lines, found)])


def _content_of(reading: Reading, entry: Entry | None) -> bytes | None:
    """What a side holds; None when it is not kept. Of a large one only as much as tells that it is large."""
    if entry is None:
        return b""
    if entry.kind == "l":
        return entry.target
    if entry.kind != "f":
        return None
    parts, size = [], 0
    for piece in reading.content(entry.hash):
        parts.append(piece)
        size += len(piece)
        if size > _MAX_COMPARED:
            break
    return b"".join(parts)


def _git_mode(entry: Entry) -> str:
    if entry.kind == "l":
        return "120000"
    return "100755" if entry.mode & 0o100 else "100644"


__all__ = ["FileCheckpoints"]
