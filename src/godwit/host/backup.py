"""Backup: a copy of a database and of the checkpoints beside it in one file, made while sessions go on; and putting it back.

The file is a tar archive of SQLite databases: `godwit.db` and, where there are checkpoints, `files/NAME`; `manifest.json`
says what is in it. Rules: each database is copied with SQLite's own online backup and checked before it is kept; the log
comes before the checkpoints, so that those it names are there, unless they were released meanwhile; nothing is put under
its name before it is whole. What is encrypted stays so, and its key is not in the file.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sqlite3
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
    file is there already; StoreCorrupt when a copy is damaged; StoreError."""
    source, file = Path(database), Path(target)
    if not source.is_file():
        raise InvalidArgument(f"there is no database at {source}", path=str(source))
    if file.exists() and not overwrite:
        raise InvalidArgument(f"{file} is there already: name another file, or overwrite it", path=str(file))
    with _told(file), tempfile.TemporaryDirectory(prefix=".godwit-backup-", dir=file.absolute().parent) as made:
        folder = Path(made)
        (folder / _FILES).mkdir()
        sizes = {_DATABASE: _copy(source, folder / _DATABASE)}
        beside = Path(f"{source}.files")
        for one in sorted(beside.iterdir()) if beside.is_dir() else ():
            if one.is_file() and _is_database(one):
                sizes[_FILES + one.name] = _copy(one, folder / _FILES / one.name)
        backup = Backup(VERSION, time.time_ns() // 1_000_000, sizes)
        (folder / _MANIFEST).write_bytes(msgspec.json.encode(backup))
        whole = folder / "whole.tar"
        with tarfile.open(whole, "w") as archive:
            for name in (_MANIFEST, *sizes):
                archive.add(folder / name, name, filter=_plain)
        _durable(whole)
        os.replace(whole, file)
        _durable(file.absolute().parent)
    return backup


def restore(source: str | os.PathLike[str], database: str | os.PathLike[str], *, overwrite: bool = False) -> Backup:
    """Put a backup back as this database. What was there is replaced with `overwrite`, and kept when anything fails.

    InvalidArgument when the file is no backup, or there is a database and it is not to be overwritten; SessionOwned while a
    process uses it; StoreCorrupt when what is in the file is damaged; StoreError.
    """
    file, target = Path(source), Path(database)
    files = Path(f"{target}.files")
    if (target.exists() or files.exists()) and not overwrite:
        raise InvalidArgument(f"there is a database at {target}: choose another place, or overwrite it", path=str(target))
    if _in_use(target):
        raise SessionOwned(f"a process works with {target}: end it first", path=str(target))
    with _told(target), tempfile.TemporaryDirectory(prefix=".godwit-restore-", dir=target.absolute().parent) as made:
        folder = Path(made)
        backup = _unpacked(file, folder)
        for name in backup.sizes:
            _check(folder / name)
        had_files = files.exists()
        if had_files:
            os.rename(files, folder / "files.before")
        try:
            if any(name.startswith(_FILES) for name in backup.sizes):
                os.rename(folder / _FILES, files)
            for suffix in ("-wal", "-shm", "-journal"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{target}{suffix}")
            os.replace(folder / _DATABASE, target)
        except BaseException:
            if had_files:
                shutil.rmtree(files, ignore_errors=True)
                os.rename(folder / "files.before", files)
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
    (folder / _FILES).mkdir()
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
                with open(folder / name, "wb") as out:
                    shutil.copyfileobj(content, out, 1 << 20)
                _durable(folder / name)
    except (tarfile.TarError, KeyError, EOFError, msgspec.MsgspecError, json.JSONDecodeError) as error:
        raise InvalidArgument(f"{file} is no backup of godwit's, or not all of it: {error}", path=str(file)) from None
    if _DATABASE not in backup.sizes:
        raise InvalidArgument(f"{file} holds no database", path=str(file))
    return backup


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
