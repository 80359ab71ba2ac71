"""One SQLite database: opening it, its migrations, and sqlite3's errors in godwit's words.

Holds no transaction and no statement of the store's own; the writer and the readers take their connections from here.
Rules: every connection is set up in `connect`, so that all of them share one durability; an error of sqlite3 leaves this
package only as a StoreError, through `translated`.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import sqlite3
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
from . import sql

Durability = Literal["memory", "process", "disk"]
"""What an acknowledged append survives: nothing, the death of the process (SIGKILL), the loss of power."""

_SYNCHRONOUS: dict[Durability, str] = {"memory": "OFF", "process": "NORMAL", "disk": "FULL"}
_APPLICATION_ID = 0x676F6477  # "godw"

# Extended codes of failed writes; SQLite reports most full disks as SQLITE_FULL itself, but not those of its shared memory.
_IOERR_WRITE, _IOERR_TRUNCATE, _IOERR_SHMSIZE = 778, 1546, 4874


class Database:
    """`path`: a file, `:memory:`, or a `file:` URI (`file:log.db?mode=ro` opens it read-only).

    `wait_s`: seconds to wait for another process's write lock before StoreLocked.
    """

    def __init__(self, path: str | os.PathLike[str], *, durability: Durability, wait_s: float) -> None:
        if durability not in _SYNCHRONOUS:
            raise InvalidArgument(f"durability {durability!r} is none of {', '.join(_SYNCHRONOUS)}", durability=durability)
        name = os.fspath(path)
        self.memory = name in (":memory:", "")
        self.durability: Durability = "memory" if self.memory else durability
        self.wait_s = wait_s
        self._name = name
        self._synchronous = _SYNCHRONOUS[self.durability]
        self.file: str | None = None
        """The real path, None for `:memory:`."""
        self.read_only = False

    def __str__(self) -> str:
        return self.file or self._name

    def open(self) -> sqlite3.Connection:
        """The first connection: the database exists and has the newest schema afterwards.

        StoreTooNew, StoreCorrupt, StoreLocked, StoreReadOnly (a read-only file of an older schema), StoreError.
        """
        self._make_private()
        db = self.connect()
        try:
            with self.translated():
                row = db.execute("SELECT file FROM pragma_database_list WHERE name = 'main'").fetchone()
                self.file = None if self.memory or not row[0] else os.path.realpath(row[0])
                self.read_only = self._is_read_only()
                self._migrate(db)
        except BaseException:
            db.close()
            raise
        return db

    def _make_private(self) -> None:
        """A new file is its owner's alone, since logs hold whatever was said and read; SQLite gives what it puts beside the
        file the same mode. One that is there keeps its mode; what cannot be made here, SQLite says better."""
        if self.memory or self._name.startswith("file:"):
            return
        with contextlib.suppress(OSError):
            os.close(os.open(self._name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))

    def connect(self) -> sqlite3.Connection:
        """Another connection, usable from any thread, one at a time."""
        with self.translated():
            db = sqlite3.connect(
                self._name,
                timeout=self.wait_s,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=128,
                uri=self._name.startswith("file:"),
            )
            try:
                db.execute(f"PRAGMA synchronous = {self._synchronous}")
                # A write-ahead log that once grew large is cut back when it is next reset.
                db.execute("PRAGMA journal_size_limit = 67108864")
            except BaseException:
                db.close()
                raise
        return db

    def begin(self, db: sqlite3.Connection, *, wait: bool = True) -> None:
        """Take the write lock, waiting up to `wait_s`, or not at all. SQLite's own waiting naps up to 100 ms; this one
        stays below 5, on a connection with a busy timeout of 0."""
        deadline = time.monotonic() + self.wait_s if wait else 0.0
        nap = 0.0002
        while True:
            try:
                db.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if _primary(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or time.monotonic() > deadline:
                    raise
            time.sleep(nap * (0.5 + random.random()))
            nap = min(nap * 1.5, 0.005)

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Raise sqlite3's errors as StoreErrors."""
        try:
            yield
        except sqlite3.Error as error:
            raise self.translate(error) from error

    def translate(self, error: sqlite3.Error) -> StoreError:
        code = getattr(error, "sqlite_errorcode", None)
        where = str(self)
        details = {"path": where, "sqlite": str(error)}
        if code is None:
            if "closed database" in str(error):
                return StoreClosed()
            return StoreError(f"{where}: {error}", **details)
        match code & 0xFF:
            case sqlite3.SQLITE_FULL:
                return StoreFull(
                    f"no space is left for {where}: free some and go on; nothing acknowledged was lost", **details
                )
            case sqlite3.SQLITE_IOERR if code in (_IOERR_WRITE, _IOERR_TRUNCATE, _IOERR_SHMSIZE):
                return StoreFull(f"{where} could not be written ({error}): check the disk and its space", **details)
            case sqlite3.SQLITE_READONLY:
                return StoreReadOnly(f"{where} is open read-only or cannot be written: check its permissions", **details)
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | sqlite3.SQLITE_PROTOCOL:
                return StoreLocked(f"another process held the write lock of {where} for {self.wait_s:g} s", **details)
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                return StoreCorrupt(f"{where} is damaged or no godwit store ({error}): restore it from a backup", **details)
            case sqlite3.SQLITE_CANTOPEN:
                return StoreError(f"{where} cannot be opened: check that its folder exists and can be written", **details)
            case _:
                return StoreError(f"{where}: {error}", **details)

    def _is_read_only(self) -> bool:
        """By what was asked for and by what the system allows; trying would have to wait for the write lock."""
        if self._name.startswith("file:") and re.search(r"[?&](mode=ro|immutable=1)(&|$)", self._name):
            return True
        return self.file is not None and not os.access(self.file, os.W_OK)

    def _migrate(self, db: sqlite3.Connection) -> None:
        newest = len(sql.MIGRATIONS)
        version = self._check_version(db)
        if version == newest and (self.memory or self.read_only):
            return
        if self.read_only:
            raise StoreReadOnly(
                f"{self} has schema {version}, this godwit needs {newest}: open it once for writing", version=version
            )
        if not self.memory:
            self._use_wal(db)
        if version == newest:
            return
        self.begin(db)
        try:
            # Another process may have done it while this one waited.
            for number in range(self._check_version(db), newest):
                for statement in sql.MIGRATIONS[number]:
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {number + 1}")
            db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _check_version(self, db: sqlite3.Connection) -> int:
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        application = int(db.execute("PRAGMA application_id").fetchone()[0])
        if application != _APPLICATION_ID and (
            version or application or db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        ):
            raise StoreCorrupt(f"{self} is a database of another program, no godwit store", application=application)
        if version > len(sql.MIGRATIONS):
            raise StoreTooNew(
                f"{self} has schema {version}, this godwit knows {len(sql.MIGRATIONS)}: upgrade godwit", version=version
            )
        return version

    def _use_wal(self, db: sqlite3.Connection) -> None:
        deadline = time.monotonic() + self.wait_s
        while True:
            try:
                mode = db.execute("PRAGMA journal_mode").fetchone()[0]
                if mode != "wal":
                    mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
                break
            except sqlite3.OperationalError as error:
                # Two processes that make a new database at once; SQLite does not wait here by itself.
                if _primary(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
        if mode != "wal":
            raise StoreError(f"{self} cannot keep a write-ahead log (journal mode {mode}): use a local disk", mode=mode)


def _primary(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF
