"""What checkpoints are made of, kept once by its hash: contents and listings, in one SQLite file beside the database.

Owns who holds which state, what was seen of each folder, and the sweep of what nobody holds. Leaves out the file itself
(`contents_file`) and what a listing means. Why one SQLite file and no loose ones: decision 13. Rules:

* Everything a state is made of is stored before the row that holds it, and that row is as durable as was asked for.
* Who stores holds the lock file shared from the first look for what is there until the state is held; who sweeps holds it
  alone. So a sweep takes nothing away under a checkpoint that is being taken, in whatever process.
* What was seen of folders names contents; a sweep forgets what is not of a held state.

Blocking, usable from any thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from ..core.errors import CheckpointNotFound, StoreCorrupt
from .contents_file import ContentsFile
from .listing import EMPTY, FOLDER, Listing, unpack

CHUNK = 1 << 20
"""Contents are kept in pieces of this many bytes, so that none has to fit into memory and what is appended costs its own."""
_BATCH_BYTES = 8 << 20
_BATCH_ROWS = 2000
_ASK_BYTES = 32 << 10
_NOT_SMALLER = 0.9
"""Of its size, what a compressed piece may have to be kept compressed."""

# `kind`: a piece of a file, the hashes of a file's pieces, a listing.
_PIECE, _PIECES, _LISTING = 0, 1, 2


class Held(NamedTuple):
    """A state held for a session."""

    hash: bytes
    taken_ms: int


class Seen(NamedTuple):
    """What was seen of a root since it was `before`: its folders by path, and those that are no more."""

    root: bytes
    before: bytes | None
    folders: list[tuple[bytes, bytes]]
    gone: list[bytes]

    def anything(self, state: bytes) -> bool:
        return bool(self.folders or self.gone or self.before != state)


def piece_hash(content: bytes) -> bytes:
    return blake2b(content, digest_size=32, person=b"godwit.piece").digest()


def pieces_hash(hashes: bytes) -> bytes:
    """Of a content of more than one piece, by the hashes of all."""
    return blake2b(hashes, digest_size=32, person=b"godwit.pieces").digest()


class Contents(ContentsFile):
    """The contents kept in `folder`."""

    @contextlib.contextmanager
    def storing(self) -> Iterator[Storing]:
        """To look for what is there and add to it, safe from sweeps. What was not committed at the end is dropped."""
        with self.locked(fcntl.LOCK_SH), self.connection() as db:
            storing = Storing(self, db)
            try:
                yield storing
            finally:
                storing.drop()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Reading]:
        with self.connection() as db:
            yield Reading(self, db)

    def sweep(self) -> int:
        """Remove what no held state needs; returns the bytes that were freed. 0, and nothing, while somebody stores."""
        try:
            with self.locked(fcntl.LOCK_EX | fcntl.LOCK_NB), self.connection() as db:
                return self._sweep(db)
        except BlockingIOError:
            return 0

    def _sweep(self, db: sqlite3.Connection) -> int:
        # Nobody stores meanwhile, so what is looked at here does not change before it is acted on.
        held = {row[0] for row in db.execute("SELECT DISTINCT hash FROM holds")}
        needed = Reading(self, db).needed(held)
        gone, freed = [], 0
        for hash_, length in db.execute("SELECT hash, length(data) FROM objects"):
            if hash_ not in needed:
                gone.append((hash_,))
                freed += length
        with self.transaction(db):
            for root, hash_ in db.execute("SELECT root, hash FROM roots").fetchall():
                if hash_ not in held:
                    db.execute("DELETE FROM folders WHERE root = ?", (root,))
                    db.execute("DELETE FROM roots WHERE root = ?", (root,))
            db.executemany("DELETE FROM objects WHERE hash = ?", gone)
        if gone:
            # As a script, since `execute` takes one step of it only and gives back one page.
            db.executescript("PRAGMA incremental_vacuum;")
        return freed


class Reading:
    """Looks at what is kept, on one connection."""

    def __init__(self, contents: ContentsFile, db: sqlite3.Connection) -> None:
        self._contents = contents
        self._db = db

    def load(self, hash_: bytes) -> Listing:
        """A listing. CheckpointNotFound, StoreCorrupt."""
        if hash_ == EMPTY:
            return []
        data = self._object(hash_, _LISTING)
        try:
            return unpack(data)
        except msgspec.DecodeError as error:
            raise StoreCorrupt(f"the listing {hash_.hex()} in {self._contents.folder} is damaged: {error}") from error

    def content(self, hash_: bytes) -> Iterator[bytes]:
        """A file's content, piece by piece, each checked against its hash. CheckpointNotFound, StoreCorrupt."""
        kind, data = self._find(hash_)
        if kind != _PIECES:
            yield self._checked(hash_, data)
            return
        for at in range(0, len(data), 32):
            piece = data[at : at + 32]
            yield self._checked(piece, self._object(piece, _PIECE))

    def whole(self, hash_: bytes) -> bytes:
        return b"".join(self.content(hash_))

    def holds(self, session: str, hash_: bytes) -> bool:
        return bool(self._db.execute("SELECT 1 FROM holds WHERE session = ? AND hash = ?", (session, hash_)).fetchone())

    def held(self, session: str) -> list[Held]:
        """The session's states, the one seen last first."""
        rows = self._db.execute("SELECT hash, taken_ms FROM holds WHERE session = ? ORDER BY number DESC", (session,))
        return [Held(*row) for row in rows]

    def sizes(self, hashes: Iterable[bytes]) -> Iterator[int]:
        """Of each state in order, the bytes kept for it that none of the states before it needs."""
        counted: set[bytes] = set()
        for hash_ in hashes:
            new = self.needed([hash_], counted)
            yield sum(
                row[0]
                for one in new
                if (row := self._db.execute("SELECT length(data) FROM objects WHERE hash = ?", (one,)).fetchone())
            )
            counted |= new

    def needed(self, states: Iterable[bytes], known: set[bytes] | None = None) -> set[bytes]:
        """The hashes of all objects these states are made of, but for those `known` and what is below them."""
        found: set[bytes] = set()
        pending = list(states)
        while pending:
            hash_ = pending.pop()
            if hash_ in found or hash_ == EMPTY or (known is not None and hash_ in known):
                continue
            found.add(hash_)
            for entry in self.load(hash_):
                if entry.kind == FOLDER:
                    pending.append(entry.hash)
                elif entry.kind == "f" and entry.hash not in found:
                    if known is not None and entry.hash in known:
                        continue
                    found.add(entry.hash)
                    if entry.size > CHUNK:
                        pieces = self._object(entry.hash, _PIECES)
                        found.update(pieces[at : at + 32] for at in range(0, len(pieces), 32))
        return found

    def folders(self, root: bytes) -> tuple[bytes | None, list[tuple[bytes, bytes]]]:
        """The state of this root when it was last seen, and what was seen of each of its folders."""
        row = self._db.execute("SELECT hash FROM roots WHERE root = ?", (root,)).fetchone()
        if row is None:
            return None, []
        return row[0], self._db.execute("SELECT path, seen FROM folders WHERE root = ?", (root,)).fetchall()

    def _object(self, hash_: bytes, kind: int) -> bytes:
        found, data = self._find(hash_)
        if found != kind:
            raise StoreCorrupt(f"the object {hash_.hex()} in {self._contents.folder} is not what its name says")
        return data

    def _find(self, hash_: bytes) -> tuple[int, bytes]:
        row = self._db.execute("SELECT kind, packed, data FROM objects WHERE hash = ?", (hash_,)).fetchone()
        if row is None:
            raise CheckpointNotFound(
                f"what {hash_.hex()[:12]} names is not kept: it was let go of, or {self._contents.folder} was removed",
                hash=hash_.hex(),
            )
        kind, packed, data = row
        if packed:
            try:
                data = zlib.decompress(data)
            except zlib.error as error:
                raise StoreCorrupt(f"the object {hash_.hex()} in {self._contents.folder} is damaged: {error}") from error
        return kind, data

    def _checked(self, hash_: bytes, content: bytes) -> bytes:
        if piece_hash(content) != hash_:
            raise StoreCorrupt(f"the content {hash_.hex()} in {self._contents.folder} is damaged")
        return content


class Storing(Reading):
    """Adds to what is kept. `put` and its kin collect; `hold` commits the state they make up."""

    def __init__(self, contents: ContentsFile, db: sqlite3.Connection) -> None:
        super().__init__(contents, db)
        self._waiting: dict[bytes, tuple[bytes, int, int, int, bytes]] = {}
        self._bytes = 0
        self.wrote = False
        """Something was stored that no state holds yet."""

    def has(self, hash_: bytes) -> bool:
        if hash_ in self._waiting:
            return True
        return self._db.execute("SELECT 1 FROM objects WHERE hash = ?", (hash_,)).fetchone() is not None

    def put_piece(self, hash_: bytes, content: bytes) -> None:
        self._put(hash_, _PIECE, content)

    def put_pieces(self, hash_: bytes, hashes: bytes) -> None:
        self._put(hash_, _PIECES, hashes)

    def put_listing(self, hash_: bytes, packed: bytes) -> None:
        if hash_ != EMPTY:
            self._put(hash_, _LISTING, packed)

    def load(self, hash_: bytes) -> Listing:
        waiting = self._waiting.get(hash_)
        return super().load(hash_) if waiting is None else unpack(_unpacked(waiting))

    def _put(self, hash_: bytes, kind: int, content: bytes) -> None:
        # Asking for a small one costs more than packing it again; what is there already stays as it is.
        if hash_ in self._waiting or (len(content) > _ASK_BYTES and self.has(hash_)):
            return
        data, packed = content, 0
        if len(content) > 64:
            smaller = zlib.compress(content, 1)
            if len(smaller) < len(content) * _NOT_SMALLER:
                data, packed = smaller, 1
        self._waiting[hash_] = (hash_, kind, len(content), packed, data)
        self._bytes += len(data)
        if self._bytes >= _BATCH_BYTES or len(self._waiting) >= _BATCH_ROWS:
            # Nothing holds these yet: a crash leaves them to the next sweep. The state's commit makes them durable, too.
            with self._light(), self._contents.transaction(self._db):
                self._insert()
            self.wrote = True

    def hold(
        self,
        session: str,
        state: bytes,
        now_ms: int,
        *,
        seen: Seen | None = None,
    ) -> None:
        """Keep `state`, all of whose parts have been put, for the session. On return it is as durable as was asked for."""
        last = self._db.execute(
            "SELECT hash FROM holds WHERE session = ? ORDER BY number DESC LIMIT 1", (session,)
        ).fetchone()
        new = not self.holds(session, state)
        if last == (state,) and not self._waiting and (seen is None or not seen.anything(state)):
            return
        with contextlib.nullcontext() if new else self._light(), self._contents.transaction(self._db):
            self._insert()
            self._db.execute(
                "INSERT INTO holds (session, hash, number, taken_ms)"
                " VALUES (:session, :hash, (SELECT coalesce(max(number), 0) + 1 FROM holds WHERE session = :session), :now)"
                " ON CONFLICT (session, hash) DO UPDATE SET number = excluded.number, taken_ms = excluded.taken_ms",
                {"session": session, "hash": state, "now": now_ms},
            )
            if seen is not None and seen.anything(state):
                self._remember(seen, state)

    def _remember(self, seen: Seen, state: bytes) -> None:
        root = seen.root
        row = self._db.execute("SELECT hash FROM roots WHERE root = ?", (root,)).fetchone()
        if (None if row is None else row[0]) != seen.before:
            # Another process has been here since. Rows of both together would be of no state that is held, and a sweep
            # could take from under them what they name.
            return
        self._db.executemany("DELETE FROM folders WHERE root = ? AND path = ?", ((root, path) for path in seen.gone))
        self._db.executemany(
            "INSERT OR REPLACE INTO folders (root, path, seen) VALUES (?, ?, ?)",
            ((root, path, packed) for path, packed in seen.folders),
        )
        self._db.execute("INSERT OR REPLACE INTO roots (root, hash) VALUES (?, ?)", (root, state))

    def share(self, session: str, other: str) -> None:
        """Hold the session's states for another one, too."""
        with self._contents.transaction(self._db):
            self._db.execute(
                "INSERT OR IGNORE INTO holds (session, hash, number, taken_ms)"
                " SELECT ?, hash, number, taken_ms FROM holds WHERE session = ?",
                (other, session),
            )

    def let_go(self, session: str, states: Iterable[bytes] | None = None) -> bool:
        """Hold these states of the session, or all of them, no more. True when there was one."""
        with self._light(), self._contents.transaction(self._db):
            before = self._db.total_changes
            if states is None:
                self._db.execute("DELETE FROM holds WHERE session = ?", (session,))
            else:
                self._db.executemany("DELETE FROM holds WHERE session = ? AND hash = ?", ((session, s) for s in states))
            return self._db.total_changes > before

    def drop(self) -> None:
        self._waiting.clear()
        self._bytes = 0

    def _insert(self) -> None:
        self._db.executemany(
            "INSERT OR IGNORE INTO objects (hash, kind, size, packed, data) VALUES (?, ?, ?, ?, ?)", self._waiting.values()
        )
        self.drop()

    @contextlib.contextmanager
    def _light(self) -> Iterator[None]:
        """Commits within need not reach the disk at once: they lose nothing, or a later commit takes them along."""
        if self._contents.durability == "disk":
            self._db.execute("PRAGMA synchronous = NORMAL")
        try:
            yield
        finally:
            if self._contents.durability == "disk":
                self._db.execute("PRAGMA synchronous = FULL")


def _unpacked(row: tuple[bytes, int, int, int, bytes]) -> bytes:
    return zlib.decompress(row[4]) if row[3] else row[4]
