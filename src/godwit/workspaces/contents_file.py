"""The SQLite file that checkpoints are kept in: making it, its connections, its transactions, its lock, and its errors in
our words.

Leaves out what stands in it (`contents`). Rules: one durability for all connections; a connection that met an error is not
used again; sqlite3's errors leave this package as StoreErrors only. Blocking, usable from any thread.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from typing import Literal

from ..core.errors import (
    InvalidArgument,
    StoreClosed,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
    StoreTooNew,
)

Durability = Literal["memory", "process", "disk"]

APPLICATION_ID = 0x67647766
"""Of the SQLite file: "gdwf"."""
VERSION = 1
_SYNCHRONOUS: dict[Durability, str] = {"memory": "OFF", "process": "NORMAL", "disk": "FULL"}

_SCHEMA = """
CREATE TABLE objects (
    hash BLOB NOT NULL PRIMARY KEY,
    kind INTEGER NOT NULL,
    size INTEGER NOT NULL,    -- of the content, in bytes
    packed INTEGER NOT NULL,  -- 1: zlib
    data BLOB NOT NULL
);
CREATE TABLE holds (
    session TEXT NOT NULL,
    hash BLOB NOT NULL,       -- of the root's listing
    number INTEGER NOT NULL,  -- grows with each time a state is seen
    taken_ms INTEGER NOT NULL,
    PRIMARY KEY (session, hash)
) WITHOUT ROWID;
CREATE TABLE roots (
    root BLOB NOT NULL PRIMARY KEY,  -- the folder, and the policy it was looked at with
    hash BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE folders (
    root BLOB NOT NULL,
    path BLOB NOT NULL,
    seen BLOB NOT NULL,
    PRIMARY KEY (root, path)
) WITHOUT ROWID;
"""


class ContentsFile:
    """The file in `folder`, which is made when something is first stored.

    `durability`: as for the store, see `godwit.stores`. `wait_s`: seconds to wait for another process's write lock before
    StoreLocked.
    """

    def __init__(self, folder: str, *, durability: Durability = "disk", wait_s: float = 10.0) -> None:
        if durability not in _SYNCHRONOUS:
            raise InvalidArgument(f"durability {durability!r} is none of {', '.join(_SYNCHRONOUS)}", durability=durability)
        self.folder = folder
        self.durability: Durability = durability
        self._wait_s = wait_s
        self._file = os.path.join(folder, "contents.db")
        self._free: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._closed = False

    def exists(self) -> bool:
        return os.path.exists(self._file)

    def close(self) -> None:
        """Safe to repeat. Threads that are at work finish on connections of their own."""
        with self._lock:
            self._closed = True
            free, self._free = self._free, []
        for db in free:
            with contextlib.suppress(sqlite3.Error):
                db.close()

    @contextlib.contextmanager
    def locked(self, how: int) -> Iterator[None]:
        """Hold the lock file (`flock`). BlockingIOError when `how` says not to wait."""
        self._make_folder()
        try:
            descriptor = os.open(os.path.join(self.folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)

    def _make_folder(self) -> None:
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from error

    @contextlib.contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """One of those that are free, or a new one. StoreError and its leaves."""
        with self._lock:
            if self._closed:
                raise StoreClosed()
            db = self._free.pop() if self._free else None
        try:
            if db is None:
                db = self._open()
            yield db
        except BaseException as error:
            # What a connection has cached may be part of the fault.
            if db is not None:
                with contextlib.suppress(sqlite3.Error):
                    db.close()
            if isinstance(error, sqlite3.Error):
                raise self._translated(error) from error
            raise
        with self._lock:
            if not self._closed:
                self._free.append(db)
                return
        db.close()

    def _open(self) -> sqlite3.Connection:
        self._make_folder()
        db = sqlite3.connect(
            self._file, timeout=self._wait_s, isolation_level=None, check_same_thread=False, cached_statements=32
        )
        try:
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
            application = int(db.execute("PRAGMA application_id").fetchone()[0])
            if version > VERSION:
                raise StoreTooNew(f"{self._file} has schema {version}, this godwit knows {VERSION}: upgrade godwit")
            if application not in (0, APPLICATION_ID):
                raise StoreCorrupt(f"{self._file} is a database of another program", application=application)
            db.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[self.durability]}")
            db.execute("PRAGMA journal_size_limit = 67108864")
            if version < VERSION:
                self._make(db)
        except BaseException:
            db.close()
            raise
        return db

    def _make(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        deadline = time.monotonic() + self._wait_s
        while True:
            try:
                db.execute("PRAGMA journal_mode = WAL").fetchone()
                break
            except sqlite3.OperationalError as error:
                # Two processes that make it at once; SQLite does not wait here by itself.
                if _primary(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
        with self.transaction(db):
            if int(db.execute("PRAGMA user_version").fetchone()[0]) == VERSION:
                return
            for statement in _SCHEMA.split(";\n"):
                if statement.strip():
                    db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {VERSION}")

    @contextlib.contextmanager
    def transaction(self, db: sqlite3.Connection) -> Iterator[None]:
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _unusable(self, error: OSError) -> StoreError:
        words = (error.strerror or str(error)).lower()
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StoreFull(f"no space is left for the kept files in {self.folder}: free some and go on", path=self.folder)
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            return StoreReadOnly(f"the folder of the kept files {self.folder} cannot be written: {words}", path=self.folder)
        return StoreError(f"the folder of the kept files {self.folder} cannot be used: {words}", path=self.folder)

    def _translated(self, error: sqlite3.Error) -> StoreError:
        details = {"path": self._file, "sqlite": str(error)}
        match _primary(error):
            case sqlite3.SQLITE_FULL:
                return StoreFull(f"no space is left for {self._file}: free some and go on; nothing kept was lost", **details)
            case sqlite3.SQLITE_IOERR if _full(error):
                return StoreFull(f"{self._file} could not be written ({error}): check the disk and its space", **details)
            case sqlite3.SQLITE_READONLY:
                return StoreReadOnly(f"{self._file} cannot be written: check its permissions", **details)
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | sqlite3.SQLITE_PROTOCOL:
                return StoreLocked(f"another process held the write lock of {self._file} for {self._wait_s:g} s", **details)
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                return StoreCorrupt(
                    f"{self._file} is damaged ({error}): move the folder away, and checkpoints begin anew", **details
                )
            case _:
                return StoreError(f"{self._file}: {error}", **details)


def _primary(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


# Extended codes of failed writes; SQLite reports most full disks as SQLITE_FULL itself, but not those of its shared memory.
def _full(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) in (778, 1546, 4874)
