"""Copies of a database and of the checkpoints beside it, and putting them back."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
import subprocess
import sys
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest

import godwit
from godwit.core.checkpoint import CheckpointPolicy
from godwit.core.errors import InvalidArgument, SessionOwned, StoreCorrupt, StoreError
from godwit.host.backup import back_up, restore
from godwit.models.script import ScriptedModel, call, say
from godwit.stores.sqlite import SqliteStore
from tests.patience import PATIENCE_S
from tests.surfaces.terminal import Command


async def filled(path: Path, workspace: Path) -> str:
    """A database with one session whose files were kept; returns its id."""
    model = ScriptedModel([call("write", file_path="a.txt", content="new"), say("Written.")])
    async with await godwit.Runtime.open(path, models={"scripted:x": model}) as runtime:
        agent = godwit.Agent(name="bird", model="scripted:x", tools=["files"], checkpoints=CheckpointPolicy(enabled=True))
        session = await runtime.start_session(agent, workspace=workspace)
        await session.send("Write.")
        return session.id


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    made.mkdir()
    (made / "a.txt").write_text("old")
    return made


async def test_a_copy_has_the_sessions_and_their_checkpoints(tmp_path: Path, workspace: Path) -> None:
    session = await filled(tmp_path / "g.db", workspace)
    backup = back_up(tmp_path / "g.db", tmp_path / "copy.tar")
    assert len(backup.sizes) == 2
    (tmp_path / "elsewhere").mkdir()
    restore(tmp_path / "copy.tar", tmp_path / "elsewhere" / "new.db")
    async with await godwit.Runtime.open(tmp_path / "elsewhere" / "new.db") as runtime:
        handle = await runtime.open_session(session, drive=False)
        log = [event.type for event in await handle.events()]
        assert log[-1] == "run.finished"
        first = next(e.seq for e in await handle.events() if e.type == "user.message")
        await handle.rewind(first - 1, files=True)
    assert (workspace / "a.txt").read_text() == "old"


async def test_a_copy_is_whole_while_others_write(tmp_path: Path, workspace: Path) -> None:
    """Each copy is one moment: a session and what it stands on are there together."""
    path = tmp_path / "g.db"
    await filled(path, workspace)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE pairs (a INTEGER, b INTEGER)")
    stop = threading.Event()

    def write() -> None:
        with contextlib.closing(sqlite3.connect(path, timeout=PATIENCE_S, isolation_level=None)) as db:
            number = 0
            while not stop.is_set():
                number += 1
                db.execute("BEGIN IMMEDIATE")
                db.execute("INSERT INTO pairs VALUES (?, ?)", (number, -number))
                db.execute("INSERT INTO pairs VALUES (?, ?)", (-number, number))
                db.execute("COMMIT")

    writing = threading.Thread(target=write)
    writing.start()
    try:
        for number in range(5):
            back_up(path, tmp_path / f"{number}.tar")
    finally:
        stop.set()
        writing.join()
    for number in range(5):
        restore(tmp_path / f"{number}.tar", tmp_path / f"{number}.db")
        with contextlib.closing(sqlite3.connect(tmp_path / f"{number}.db")) as db:
            assert db.execute("SELECT coalesce(sum(a), 0), coalesce(sum(b), 0) FROM pairs").fetchone() == (0, 0)


async def test_nothing_is_replaced_unless_told(tmp_path: Path, workspace: Path) -> None:
    path = tmp_path / "g.db"
    await filled(path, workspace)
    back_up(path, tmp_path / "copy.tar")
    with pytest.raises(InvalidArgument, match="is there already"):
        back_up(path, tmp_path / "copy.tar")
    back_up(path, tmp_path / "copy.tar", overwrite=True)
    with pytest.raises(InvalidArgument, match="there is a database"):
        restore(tmp_path / "copy.tar", path)
    async with await godwit.Runtime.open(path) as runtime:
        assert runtime.store.owner
        with pytest.raises(SessionOwned, match="end it first"):
            restore(tmp_path / "copy.tar", path, overwrite=True)
        await runtime.delete_session((await runtime.sessions())[0].id)
    restore(tmp_path / "copy.tar", path, overwrite=True)
    async with await godwit.Runtime.open(path) as runtime:
        assert len(await runtime.sessions()) == 1
    with pytest.raises(InvalidArgument, match="no database"):
        back_up(tmp_path / "absent.db", tmp_path / "other.tar")
    with pytest.raises(StoreError):
        back_up(path, tmp_path / "absent" / "other.tar")
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []


async def test_what_is_damaged_is_not_put_back(tmp_path: Path, workspace: Path) -> None:
    path = tmp_path / "g.db"
    await filled(path, workspace)
    back_up(path, tmp_path / "copy.tar")
    whole = (tmp_path / "copy.tar").read_bytes()
    with tarfile.open(tmp_path / "copy.tar") as archive:
        at = archive.getmember("godwit.db").offset_data
    before = path.read_bytes()

    def refused(content: bytes) -> type[BaseException]:
        (tmp_path / "bad.tar").write_bytes(content)
        with pytest.raises((InvalidArgument, StoreCorrupt)) as caught:
            restore(tmp_path / "bad.tar", path, overwrite=True)
        assert path.read_bytes() == before
        return caught.type

    assert refused(b"") is InvalidArgument
    assert refused(b"x" * 10_000) is InvalidArgument
    assert refused(whole[: at + 1000]) is InvalidArgument
    assert refused(whole[: at + 4096] + b"\xff" * 8192 + whole[at + 4096 + 8192 :]) is StoreCorrupt
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        (tmp_path / "manifest").write_text('{"version":1,"created_ms":1,"sizes":{"godwit.db":3,"files/../../evil":3}}')
        (tmp_path / "evil").write_text("abc")
        archive.add(tmp_path / "manifest", "manifest.json")
        archive.add(tmp_path / "evil", "godwit.db")
        archive.add(tmp_path / "evil", "files/../../evil")
    assert refused((tmp_path / "evil.tar").read_bytes()) is InvalidArgument


async def test_the_command_line_copies_and_puts_back(command: Command) -> None:
    assert (await command.run("backup", "copy.tar")).code == 5
    assert (await command.run("keys", "create", "--name", "a")).code == 0
    made = await command.run("backup", "copy.tar", "--json")
    assert (made.code, made.lines[0]["done"]) == (0, "backed up")
    assert (await command.run("restore", "copy.tar")).code == 2
    put_back = await command.run("restore", "copy.tar", "--overwrite")
    assert (put_back.code, "checked" in put_back.out) == (0, True), put_back.err
    assert [k["name"] for k in (await command.run("keys", "list", "--json")).lines] == ["a"]


# --- what must not happen -------------------------------------------------------------------------------------------------


async def test_a_copy_never_lands_on_what_it_is_of(tmp_path: Path, workspace: Path) -> None:
    path = tmp_path / "g.db"
    await filled(path, workspace)
    back_up(path, tmp_path / "copy.tar")
    kept = next(one for one in (tmp_path / "g.db.files").iterdir() if one.is_file())
    (tmp_path / "link").symlink_to(path)
    for target in (
        path,
        tmp_path / "link",
        kept,
        tmp_path / "g.db-wal",
        tmp_path / "g.db.key",
        tmp_path / "g.db.files" / "new",
    ):
        before = target.read_bytes() if target.exists() else None
        with pytest.raises(InvalidArgument, match="belongs to the database"):
            back_up(path, target, overwrite=True)
        assert (target.read_bytes() if target.exists() else None) == before
    with pytest.raises(InvalidArgument, match="the same file"):
        restore(path, path, overwrite=True)
    async with await godwit.Runtime.open(path) as runtime:
        assert len(await runtime.sessions()) == 1


async def test_copies_are_for_their_owners_eyes(tmp_path: Path, workspace: Path) -> None:
    """All that was ever said is in them, and hashes of keys."""
    path = tmp_path / "g.db"
    await filled(path, workspace)
    path.chmod(0o640)
    before = os.umask(0o002)
    try:
        back_up(path, tmp_path / "copy.tar")
        restore(tmp_path / "copy.tar", tmp_path / "new.db")
        restore(tmp_path / "copy.tar", path, overwrite=True)
    finally:
        os.umask(before)
    inside = [tmp_path / "new.db.files", *(tmp_path / "new.db.files").iterdir()]
    modes = [stat.S_IMODE(one.stat().st_mode) for one in (tmp_path / "copy.tar", tmp_path / "new.db", path, *inside)]
    assert modes == [0o600, 0o600, 0o640, 0o700, *[0o600] * (len(inside) - 1)]


def left_open(path: Path) -> None:
    """A database as a killed process leaves it: its last commits are in the log beside it alone."""
    script = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA wal_autocheckpoint = 0")
db.execute("CREATE TABLE late (a INTEGER)")
db.execute("INSERT INTO late VALUES (7)")
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    assert Path(f"{path}-wal").stat().st_size > 0


@pytest.mark.parametrize("place", ["the database", "the files"])
async def test_when_it_cannot_be_put_in_its_place_nothing_is_lost(
    tmp_path: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    path = tmp_path / "g.db"
    session = await filled(path, workspace)
    back_up(path, tmp_path / "copy.tar")
    left_open(path)
    real: dict[str, Any] = {"rename": os.rename, "replace": os.replace}

    def fails(name: str, what: str) -> None:
        def move(source: Any, target: Any) -> None:
            if str(target) == what and ".godwit-restore-" in str(source) and "before" not in str(source):
                raise OSError(errno.EIO, "the disk is no more")
            real[name](source, target)

        monkeypatch.setattr(os, name, move)

    fails("replace", str(path) if place == "the database" else "-")
    fails("rename", f"{path}.files" if place == "the files" else "-")
    with pytest.raises(StoreError, match="no more"):
        restore(tmp_path / "copy.tar", path, overwrite=True)
    monkeypatch.undo()
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT a FROM late").fetchall() == [(7,)]
    async with await godwit.Runtime.open(path) as runtime:
        handle = await runtime.open_session(session, drive=False)
        first = next(e.seq for e in await handle.events() if e.type == "user.message")
        await handle.rewind(first - 1, files=True)
    assert (workspace / "a.txt").read_text() == "old"


async def test_a_database_that_anybody_has_open_is_not_replaced(tmp_path: Path, workspace: Path) -> None:
    """Also by who has claimed nothing in it, and who only reads."""
    path = tmp_path / "g.db"
    await filled(path, workspace)
    back_up(path, tmp_path / "copy.tar")
    async with SqliteStore.open(path) as store:
        assert not list((tmp_path / "g.db.d").glob("*.owner"))
        with pytest.raises(SessionOwned, match="end it first"):
            restore(tmp_path / "copy.tar", path, overwrite=True)
        assert len(await store.sessions()) == 1
    restore(tmp_path / "copy.tar", path, overwrite=True)


async def test_a_damaged_database_can_be_replaced(tmp_path: Path, workspace: Path) -> None:
    path = tmp_path / "g.db"
    await filled(path, workspace)
    back_up(path, tmp_path / "copy.tar")
    left_open(path)
    path.write_bytes(b"x" * 8192)
    restore(tmp_path / "copy.tar", path, overwrite=True)
    assert not Path(f"{path}-wal").exists()
    async with await godwit.Runtime.open(path) as runtime:
        assert len(await runtime.sessions()) == 1
