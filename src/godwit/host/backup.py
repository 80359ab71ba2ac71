"""Backup: a copy of a database and of the checkpoints beside it in one file, made while sessions go on; and putting it back.

The file is a tar archive of SQLite databases: `godwit.db` and, where there are checkpoints, `files/NAME`; `manifest.json`
says what is in it. Rules: each database is copied with SQLite's own online backup and checked before it is kept; the log
comes before the checkpoints, so that those it names are there, unless they were released meanwhile; nothing is put under
its name before it is whole; copies are for their owner's eyes. What is encrypted stays so, and its key is not in the file.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sqlite3
import stat
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ..core.errors import InvalidArgument, SessionOwned, StoreCorrupt, StoreError

VERSION = 1
_DATABASE = "godwit.db"
_FILES = "files/"
_MANIFEST = "manifest.json"
_HEADER = b"SQLite format 3\0"


class Backup(msgspec.Struct, frozen=True):
    """What a file holds. `sizes`: bytes of each database by its name in the archive. `created_ms`: ms since 1970 UTC."""

    version: int
    created_ms: int
    sizes: dict[str, int]


def back_up(database: str | os.PathLike[str], target: str | os.PathLike[str], *, overwrite: bool = False) -> Backup:
    """Copy the database and its checkpoints into the file `target`. InvalidArgument when there is no such database, or the
    file is there already, or is a part of the database; StoreCorrupt when a copy is damaged; StoreError."""
    source, file = Path(database), Path(target)
    if not source.is_file():
        raise InvalidArgument(f"there is no database at {source}", path=str(source))
    if _belongs(file, source):
        raise InvalidArgument(f"{file} belongs to the database that is to be copied: name another file", path=str(file))
    if file.exists() and not overwrite:
        raise InvalidArgument(f"{file} is there already: name another file, or overwrite it", path=str(file))
    with _told(file), tempfile.TemporaryDirectory(prefix=".godwit-backup-", dir=file.absolute().parent) as made:
        folder = Path(made)
        (folder / _FILES).mkdir(mode=0o700)
        sizes = {_DATABASE: _copy(source, folder / _DATABASE)}
        beside = Path(f"{source}.files")
        for one in sorted(beside.iterdir()) if beside.is_dir() else ():
            if one.is_file() and _is_database(one):
                sizes[_FILES + one.name] = _copy(one, folder / _FILES / one.name)
        backup = Backup(VERSION, time.time_ns() // 1_000_000, sizes)
        (folder / _MANIFEST).write_bytes(msgspec.json.encode(backup))
        whole = folder / "whole.tar"
        with open(whole, "xb", opener=_private) as out, tarfile.open(fileobj=out, mode="w") as archive:
            for name in (_MANIFEST, *sizes):
                archive.add(folder / name, name, filter=_plain)
        _durable(whole)
        os.replace(whole, file)
        _durable(file.absolute().parent)
    return backup


def restore(source: str | os.PathLike[str], database: str | os.PathLike[str], *, overwrite: bool = False) -> Backup:
    """Put a backup back as this database. What was there is replaced with `overwrite`, and kept when anything fails. When
    the process is killed while it moves files, do it again: the database may be the old one with the new checkpoints then.

    InvalidArgument when the file is no backup, or there is a database and it is not to be overwritten; SessionOwned while a
    process uses it; StoreCorrupt when what is in the file is damaged; StoreError.
    """
    file, target = Path(source), Path(database)
    files = Path(f"{target}.files")
    if (target.exists() or files.exists()) and not overwrite:
        raise InvalidArgument(f"there is a database at {target}: choose another place, or overwrite it", path=str(target))
    if _belongs(file, target):
        raise InvalidArgument(f"{file} and {target} are the same file, or parts of one database", path=str(file))
    if _in_use(target):
        raise _owned(target)
    with _told(target), tempfile.TemporaryDirectory(prefix=".godwit-restore-", dir=target.absolute().parent) as made:
        folder = Path(made)
        backup = _unpacked(file, folder)
        for name in backup.sizes:
            _check(folder / name)
        if target.exists():
            os.chmod(folder / _DATABASE, stat.S_IMODE(target.stat().st_mode))
        _settle(target)
        before = folder / "before"
        before.mkdir()
        moved: list[tuple[Path, Path]] = []
        try:
            for one in (files, *_beside(target, "-wal", "-shm", "-journal")):
                if one.exists():
                    os.rename(one, before / one.name)
                    moved.append((one, before / one.name))
            if any(name.startswith(_FILES) for name in backup.sizes):
                os.rename(folder / _FILES, files)
            os.replace(folder / _DATABASE, target)
        except BaseException:
            shutil.rmtree(files, ignore_errors=True)
            for was, now in moved:
                os.rename(now, was)
            raise
        _durable(target.absolute().parent)
    return backup


def _copy(source: Path, target: Path) -> int:
    """One database, whole and checked; returns its size in bytes."""
    with contextlib.closing(sqlite3.connect(f"file:{_quoted(source)}?mode=ro", uri=True, timeout=30)) as old:
        with contextlib.closing(sqlite3.connect(target)) as new:
            # In one step, which is one moment of the source: in WAL mode nobody waits for a reader, while a copy in several
            # steps begins anew each time somebody has written in between.
            old.backup(new)
            # A copy in WAL mode would come with a second file.
            new.execute("PRAGMA journal_mode = DELETE")
    _check(target)
    return target.stat().st_size


def _check(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True)) as db:
        try:
            found = [row[0] for row in db.execute("PRAGMA integrity_check(3)")]
        except sqlite3.DatabaseError as error:
            found = [str(error)]
    if found != ["ok"]:
        raise StoreCorrupt(f"{path.name} is damaged: {'; '.join(found)}", path=path.name)


def _unpacked(file: Path, folder: Path) -> Backup:
    (folder / _FILES).mkdir(mode=0o700)
    try:
        with tarfile.open(file, "r:") as archive:
            first = archive.next()
            content = None if first is None or first.name != _MANIFEST else archive.extractfile(first)
            if content is None:
                raise InvalidArgument(f"{file} is no backup of godwit's", path=str(file))
            backup = msgspec.json.decode(content.read(1 << 20), type=Backup)
            if backup.version > VERSION:
                raise InvalidArgument(f"{file} was made by a newer godwit: upgrade this one", path=str(file))
            for name, size in backup.sizes.items():
                base = name.removeprefix(_FILES)
                if name != _DATABASE and (base == name or not base or "/" in base or base in (".", "..")):
                    raise InvalidArgument(f"{file} holds {name!r}, which is no part of a backup", path=str(file))
                member = archive.getmember(name)
                content = archive.extractfile(member) if member.isfile() and member.size == size else None
                if content is None:
                    raise StoreCorrupt(f"{file}: {name} is not whole", path=str(file))
                with open(folder / name, "xb", opener=_private) as out:
                    shutil.copyfileobj(content, out, 1 << 20)
                _durable(folder / name)
    except (tarfile.TarError, KeyError, EOFError, msgspec.MsgspecError, json.JSONDecodeError) as error:
        raise InvalidArgument(f"{file} is no backup of godwit's, or not all of it: {error}", path=str(file)) from None
    if _DATABASE not in backup.sizes:
        raise InvalidArgument(f"{file} holds no database", path=str(file))
    return backup


def _settle(database: Path) -> None:
    """Bring what its write-ahead log alone holds into the file, so that the two can be told apart. SessionOwned when anybody
    has it open; nothing happens to one that is damaged."""
    if not database.exists():
        return
    address = f"file:{_quoted(database)}?mode=rw"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=0, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.DatabaseError as error:
        match getattr(error, "sqlite_errorcode", 0) & 0xFF:
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                raise _owned(database) from None
            case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
                return
            case _:
                raise


def _beside(database: Path, *suffixes: str) -> list[Path]:
    return [Path(f"{database}{suffix}") for suffix in suffixes]


def _belongs(file: Path, database: Path) -> bool:
    """Whether a file is the database or one of those that lie beside it and are its own."""
    given, real = Path(os.path.realpath(file)), Path(os.path.realpath(database))
    folders = _beside(real, ".files", ".d")
    return given in (real, *_beside(real, "-wal", "-shm", "-journal", ".key"), *folders) or any(
        folder in given.parents for folder in folders
    )


def _owned(database: Path) -> SessionOwned:
    return SessionOwned(f"a process works with {database}: end it first", path=str(database))


def _in_use(database: Path) -> bool:
    """Whether a living process holds one of the locks that stores keep beside a database (`stores.owners`)."""
    beside = Path(f"{database}.d")
    for lock in beside.glob("*.owner") if beside.is_dir() else ():
        try:
            descriptor = os.open(lock, os.O_RDWR)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
    return False


def _is_database(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(len(_HEADER)) == _HEADER


def _quoted(path: Path) -> str:
    from urllib.parse import quote

    return quote(str(path.absolute()))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without whose file it was: who restores it may be somebody else."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o600
    return member


def _durable(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}", path=str(path)) from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}", path=str(path)) from error
