"""What a checkpoint looks at, what it passes over, and what it reads again."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from godwit.core.checkpoint import CheckpointPolicy, CheckpointRef, FileChange, shown_path
from godwit.core.errors import CheckpointFailed
from godwit.core.ids import SessionId
from godwit.stores.sqlite import SqliteStore
from godwit.testing import tree
from godwit.workspaces import seen
from godwit.workspaces.checkpoints import FileCheckpoints
from godwit.workspaces.contents import Contents
from godwit.workspaces.listing import unpack
from godwit.workspaces.scan import Scan

S = SessionId("session")


class Kept:
    """A workspace and its checkpoints, used without an event loop."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.root = folder / "workspace"
        self.root.mkdir(exist_ok=True)
        self.checkpoints = FileCheckpoints(folder / "kept", durability="memory", **options)

    def take(self, policy: CheckpointPolicy | None = None, session: SessionId = S) -> CheckpointRef:
        return self.checkpoints._take(session, str(self.root), policy or CheckpointPolicy(), lambda: False)

    def changes(self, before: CheckpointRef, after: CheckpointRef) -> list[FileChange]:
        return self.checkpoints._changes(before, after)

    def paths(self, before: CheckpointRef, after: CheckpointRef) -> list[str]:
        return [c.path for c in self.changes(before, after)]

    def back(self, target: CheckpointRef, policy: CheckpointPolicy | None = None) -> list[str]:
        """Restore; returns the paths that were left alone."""
        base = self.take(policy)
        merged, left = self.checkpoints._merge(S, base, target, None)
        left += self.checkpoints._restore(str(self.root), base, merged, lambda: False)
        return [one.path for one in left]

    def scan(self, policy: CheckpointPolicy | None = None) -> Scan:
        """Scan with what was seen before, keep it, and return the scan for its numbers."""
        contents = self.checkpoints._contents()
        with contents.storing() as storing:
            key = os.fsencode(self.root)
            before, rows = storing.folders(key)
            scan = Scan(str(self.root), policy or CheckpointPolicy(), storing, dict(rows))
            state = scan.run()
            storing.hold(S, state, 0, seen=scanning_seen(key, before, scan))
            return scan


def scanning_seen(key: bytes, before: bytes | None, scan: Scan) -> Any:
    from godwit.workspaces.contents import Seen

    return Seen(key, before, scan.folders, scan.gone)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path)
    yield made
    made.checkpoints._contents().close()


def settle(root: Path) -> None:
    """Wait until a further change to any of these files must get another time."""
    newest = max(os.lstat(p).st_ctime_ns for p in (root, *root.rglob("*")))
    while time.time_ns() <= newest + seen._FINE_NS:
        time.sleep(0.01)


def as_nobody(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Work as a user whom modes stop, since root is stopped by none. The folder becomes theirs."""

    @contextlib.contextmanager
    def work() -> Iterator[None]:
        if os.geteuid() != 0:
            yield
            return
        for path in (folder, *folder.rglob("*")):
            os.chown(path, 65534, 65534, follow_symlinks=False)
        os.setegid(65534)
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)

    return work()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="gw")).resolve()
    folder.chmod(0o755)
    yield folder
    subprocess.run(["chmod", "-R", "u+rwx", str(folder)], check=False)
    shutil.rmtree(folder)


def test_only_what_changed_is_read_again(kept: Kept) -> None:
    for number in range(50):
        folder = kept.root / f"d{number % 5}"
        folder.mkdir(exist_ok=True)
        (folder / f"f{number}").write_text(str(number))
    settle(kept.root)
    assert kept.scan().reads == 50
    again = kept.scan()
    assert (again.reads, again.folders, again.gone) == (0, [], [])
    (kept.root / "d1" / "f1").write_text("changed")
    (kept.root / "d2" / "f2").unlink()
    shutil.rmtree(kept.root / "d3")
    third = kept.scan()
    assert third.reads == 1
    assert sorted(path for path, _ in third.folders) == [b"", b"d1", b"d2"]
    assert third.gone == [b"d3"]


def test_a_file_read_too_soon_after_its_change_is_read_again(kept: Kept) -> None:
    (kept.root / "a").write_text("1")
    assert kept.scan().reads == 1
    assert kept.scan().reads == 1
    settle(kept.root)
    assert kept.scan().reads == 1
    assert kept.scan().reads == 0


def test_a_replaced_file_of_the_same_size_and_time_is_seen(kept: Kept) -> None:
    (kept.root / "a").write_text("one")
    settle(kept.root)
    first = kept.take()
    times = (kept.root / "a").stat()
    (kept.root / "b").write_text("two")
    os.utime(kept.root / "b", ns=(times.st_atime_ns, times.st_mtime_ns))
    os.rename(kept.root / "b", kept.root / "a")
    assert kept.paths(first, kept.take()) == ["a"]


def test_times_without_fractions_count_as_coarse(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()

    class Coarse:
        st_ctime_ns = 1_700_000_000_000_000_000

    status: Any = Coarse()
    assert not seen.settled(status, Coarse.st_ctime_ns + 1_900_000_000)
    assert seen.settled(status, Coarse.st_ctime_ns + 2_200_000_000)
    status.st_ctime_ns += 1
    assert seen.settled(status, Coarse.st_ctime_ns + 200_000_000)


def test_what_is_passed_over(kept: Kept) -> None:
    (kept.root / "a").write_text("a")
    first = kept.take()
    for name in (".git", ".GIT", ".hg", ".jj", ".svn", "deep/.git", ".godwit"):
        (kept.root / name).mkdir(parents=True, exist_ok=True)
        (kept.root / name / "x").write_text("x")
    (kept.root / "deep" / ".gitignore").write_text("")
    (kept.root / ".godwit-0123456789abcdef.tmp").write_text("half")
    os.mkfifo(kept.root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(kept.root)
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
        assert kept.paths(first, kept.take()) == ["deep", "deep/.gitignore"]


async def test_databases_of_ours_are_passed_over(tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    root.mkdir()
    (root / "a").write_text("a")
    sqlite3.connect(root / "theirs.db").execute("CREATE TABLE t (x)").connection.close()
    checkpoints = FileCheckpoints(root / "godwit.db.files", own=[str(root / "godwit.db")])
    first = await checkpoints.take(S, str(root), CheckpointPolicy())
    async with SqliteStore.open(root / "godwit.db") as store, SqliteStore.open(root / "another.db") as another:
        assert store.owner != another.owner  # asking makes the folders beside them
        (root / "godwit.db-notes").write_text("a person's")
        second = await checkpoints.take(S, str(root), CheckpointPolicy())
        assert [c.path for c in await checkpoints.changes(first, second)] == ["godwit.db-notes"]
        assert {"another.db", "another.db-wal", "another.db.d", "godwit.db", "godwit.db.files"} <= {
            p.name for p in root.iterdir()
        }
    theirs = await checkpoints.changes(first, first)
    assert theirs == []
    (root / "theirs.db").unlink()
    third = await checkpoints.take(S, str(root), CheckpointPolicy())
    assert [c.path for c in await checkpoints.changes(second, third)] == ["theirs.db"]
    await checkpoints.close()


def test_ignored_files_by_policy(kept: Kept) -> None:
    (kept.root / ".gitignore").write_text("*.log\n/build/\n/large/\n!keep.log\n")
    (kept.root / "src").mkdir()
    (kept.root / "src" / ".gitignore").write_text("local.txt\n")
    for name in ("build", "large"):
        (kept.root / name / "deep").mkdir(parents=True)
    policies = {name: CheckpointPolicy(ignored=name, max_ignored_files=3) for name in ("never", "small", "always")}
    before = {name: kept.take(policy) for name, policy in policies.items()}
    (kept.root / "debug.log").write_text("x")
    (kept.root / "keep.log").write_text("x")
    (kept.root / "src" / "local.txt").write_text("x")
    (kept.root / "build" / "deep" / "out.o").write_text("x")
    for number in range(5):
        (kept.root / "large" / "deep" / f"{number}.o").write_text("x")
    found = {name: kept.paths(before[name], kept.take(policy)) for name, policy in policies.items()}
    assert found["never"] == ["keep.log"]
    assert found["small"] == ["build/deep/out.o", "debug.log", "keep.log", "large", "large/deep", "src/local.txt"]
    assert found["always"] == sorted(
        ["build/deep/out.o", "debug.log", "keep.log", "src/local.txt", *(f"large/deep/{n}.o" for n in range(5))]
    )


def test_a_large_ignored_folder_is_neither_kept_nor_touched(kept: Kept) -> None:
    policy = CheckpointPolicy(max_ignored_bytes=1000)
    (kept.root / ".gitignore").write_text("target/\n")
    (kept.root / "a").write_text("a")
    first = kept.take(policy)
    (kept.root / "target").mkdir()
    (kept.root / "target" / "binary").write_bytes(b"x" * 2000)
    (kept.root / "a").unlink()
    assert kept.back(first, policy) == ["target"]
    assert (kept.root / "target" / "binary").exists()
    assert (kept.root / "a").read_text() == "a"
    with contextlib.closing(sqlite3.connect(kept.checkpoints._contents()._file)) as db:
        assert db.execute("SELECT max(size) FROM objects").fetchone()[0] < 1000


def test_ignore_rules_that_change_are_followed(kept: Kept) -> None:
    policy = CheckpointPolicy(ignored="never")
    (kept.root / "out").mkdir()
    (kept.root / "out" / "x").write_text("x")
    (kept.root / "y.log").write_text("y")
    settle(kept.root)
    first = kept.take(policy)
    (kept.root / ".gitignore").write_text("out\n*.log\n")
    second = kept.take(policy)
    assert kept.paths(first, second) == [".gitignore", "out", "out/x", "y.log"]
    (kept.root / ".gitignore").unlink()
    assert kept.take(policy) == first


def test_no_ignore_file_holds_a_checkpoint_up(kept: Kept) -> None:
    """Written by whoever made the repository, it must not take more than its time, whatever stands in it."""
    (kept.root / ("a" * 250)).mkdir()
    deep = kept.root.joinpath(*["a"] * 60)
    deep.mkdir(parents=True)
    (kept.root / ".gitignore").write_text(
        "*a" * 60 + "*b/\n" + "**/a/" * 30 + "b/\n" + "[" * 5000 + "\n" + "*[!a]?" * 40 + "/\n"
    )
    begun = time.process_time()
    kept.take()
    assert time.process_time() - begun < 10
    # A rule that is none leaves the others as they are.
    (kept.root / ".gitignore").write_text("**/" * 9 + "x\nout-*-of-*.d/\n")
    for name in ("out-1-of-2.d", "out-of.d"):
        (kept.root / name).mkdir()
    policy = CheckpointPolicy(ignored="never")
    first = kept.take(policy)
    (kept.root / "out-1-of-2.d" / "x").write_text("x")
    (kept.root / "out-of.d" / "x").write_text("x")
    assert kept.paths(first, kept.take(policy)) == ["out-of.d/x"]


def test_too_much_is_refused_before_it_is_kept(kept: Kept) -> None:
    (kept.root / "d").mkdir()
    for number in range(20):
        (kept.root / "d" / f"{number}").write_bytes(os.urandom(100_000))
    with pytest.raises(CheckpointFailed, match="more than 1000000 bytes"):
        kept.take(CheckpointPolicy(max_bytes=1_000_000))
    with pytest.raises(CheckpointFailed, match="more than 10 files"):
        kept.take(CheckpointPolicy(max_files=10))
    with kept.checkpoints._contents().reading() as reading:
        assert reading._db.execute("SELECT count(*) FROM objects").fetchone() == (0,)
    assert os.path.getsize(kept.checkpoints._contents()._file) < 500_000
    # What was within the limits and has outgrown them is let go of again.
    policy = CheckpointPolicy(max_bytes=20_000_000)
    kept.take(policy)
    for number in range(20, 40):
        (kept.root / "d" / f"{number}").write_bytes(os.urandom(1_000_000))
    with pytest.raises(CheckpointFailed):
        kept.take(policy)
    kept.checkpoints._contents().close()
    assert os.path.getsize(kept.checkpoints._contents()._file) < 6_000_000


def test_what_is_only_noted_does_not_count(kept: Kept) -> None:
    policy = CheckpointPolicy(max_file_bytes=1000, max_bytes=10_000)
    (kept.root / "large").write_bytes(b"x" * 50_000)
    (kept.root / "small").write_bytes(b"x" * 500)
    settle(kept.root)
    first = kept.take(policy)
    assert kept.take(policy) == kept.take(policy) == first


def test_names_of_every_kind(kept: Kept) -> None:
    first = kept.take()
    names = [
        b"plain",
        "ünï".encode(),
        b"\xff\xfe",
        b"new\nline",
        b"tab\there",
        b'"quoted"',
        b"back\\slash",
        b" ",
        b"-rf",
        b"*",
    ]
    for name in names:
        with open(os.path.join(os.fsencode(kept.root), name), "wb") as file:
            file.write(name)
    os.symlink(b"\xff\xfe", os.path.join(os.fsencode(kept.root), b"to-\xff"))
    before = tree(kept.root)
    second = kept.take()
    assert {os.fsencode(p) for p in kept.paths(first, second)} == {*names, b"to-\xff"}
    diff = kept.checkpoints._diff(first, second, None, 1 << 20)
    diff.text.encode()
    assert 'diff --git "a/\\377\\376" "b/\\377\\376"' in diff.text
    assert kept.back(first) == []
    assert tree(kept.root) == {}
    assert kept.back(second) == []
    assert tree(kept.root) == before
    assert shown_path("a\udcff\n ü") == "a\\xff\\n ü"


def test_a_deep_tree_ends_somewhere(kept: Kept) -> None:
    here = os.open(kept.root, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    first = kept.take()
    (kept.root / "d" / "x").write_text("x")
    assert kept.paths(first, kept.take()) == ["d/x"]
    assert kept.back(first) == []
    shutil.rmtree(kept.root / "d")
    assert kept.back(first) != []  # what was too deep was not kept


def test_a_file_that_is_written_all_the_while(kept: Kept) -> None:
    path = kept.root / "log"
    path.write_bytes(b"start")
    done = threading.Event()

    def write() -> None:
        with path.open("ab", buffering=0) as file:
            while not done.is_set():
                file.write(b"x" * 1000)
                if file.tell() > 2_000_000:
                    file.truncate(0)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        refs = [kept.take() for _ in range(5)]
    finally:
        done.set()
        writer.join()
    last = kept.take()
    assert kept.take() == last
    # What is kept is whole in itself, whatever moment it shows.
    with kept.checkpoints._reading() as reading:
        for ref in refs:
            (entry,) = reading.load(bytes.fromhex(ref.removeprefix("tree:")))
            assert len(reading.whole(entry.hash)) == entry.size


def test_files_that_come_and_go_meanwhile(kept: Kept) -> None:
    done = threading.Event()

    def churn() -> None:
        number = 0
        while not done.is_set():
            number += 1
            path = kept.root / f"f{number % 7}"
            with contextlib.suppress(OSError):
                if number % 3 == 0:
                    path.mkdir()
                elif number % 3 == 1:
                    path.write_text("x")
                else:
                    path.symlink_to("/etc/passwd")
            with contextlib.suppress(OSError):
                path.rmdir() if number % 2 else path.unlink()

    worker = threading.Thread(target=churn)
    worker.start()
    try:
        for _ in range(50):
            kept.take()
    finally:
        done.set()
        worker.join()
    assert kept.back(kept.take()) == []


def test_what_cannot_be_read_is_noted(open_folder: Path) -> None:
    kept = Kept(open_folder)
    (kept.root / "a").write_text("kept before")
    (kept.root / "sealed").write_text("never read")
    (kept.root / "sealed").chmod(0)
    (kept.root / "closed").mkdir()
    (kept.root / "closed" / "x").write_text("x")
    (kept.root / "closed").chmod(0)
    with as_nobody(open_folder):
        first = kept.take()
        (kept.root / "a").chmod(0)
        second = kept.take()
        assert [(c.path, c.change, c.kept) for c in kept.changes(first, second)] == [("a", "mode", True)]
        assert kept.back(first) == []
        assert (kept.root / "a").read_text() == "kept before"
        (kept.root / "sealed").chmod(0o600)
        (kept.root / "closed").chmod(0o700)
        third = kept.take()
        assert [(c.path, c.change, c.kept) for c in kept.changes(first, third)] == [
            ("closed", "mode", False),
            ("closed/x", "added", True),
            ("sealed", "modified", False),
        ]
        assert kept.back(first) == ["closed", "sealed"]
        assert (kept.root / "closed" / "x").read_text() == "x"
        (kept.root).chmod(0)
        with pytest.raises(CheckpointFailed, match="cannot be read"):
            kept.take()
        (kept.root).chmod(0o755)
    kept.checkpoints._contents().close()


def test_a_scan_can_be_broken_off(kept: Kept) -> None:
    for number in range(20):
        (kept.root / f"{number}").write_text("x")
    asked = 0

    def stopped() -> bool:
        nonlocal asked
        asked += 1
        return asked > 5

    with pytest.raises(CheckpointFailed, match="broken off"):
        kept.checkpoints._take(S, str(kept.root), CheckpointPolicy(), stopped)
    assert kept.checkpoints._kept(S) == []
    kept.take()


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git here")
def test_a_git_repository_stays_as_it_is_to_the_byte(kept: Kept) -> None:
    def git(*words: str) -> str:
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@t", *words],
            cwd=kept.root,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def repository() -> dict[str, Any]:
        found = {p: (os.lstat(p).st_mtime_ns, os.lstat(p).st_ino) for p in (kept.root / ".git").rglob("*")}
        return {"content": tree(kept.root / ".git"), "times": found}

    git("init", "-q", "-b", "main")
    (kept.root / "a").write_text("1\n")
    (kept.root / ".gitignore").write_text("ignored\n")
    git("add", "-A")
    git("commit", "-qm", "first")
    (kept.root / "a").write_text("stashed\n")
    git("stash", "-q")
    (kept.root / "b").write_text("staged\n")
    git("add", "b")
    (kept.root / "ignored").write_text("ignored\n")
    (kept.root / "untracked").write_text("untracked\n")
    before = repository()
    status = git("--no-optional-locks", "status", "--porcelain=v2", "--ignored")
    first = kept.take()
    for name in ("a", "b", "ignored", "untracked", "new"):
        (kept.root / name).write_text("by the agent\n")
    second = kept.take()
    patch = kept.checkpoints._diff(first, second, None, 1 << 20).text
    assert kept.back(first) == []
    assert repository() == before
    assert git("--no-optional-locks", "status", "--porcelain=v2", "--ignored") == status
    # What we show as a diff is one that git can apply.
    subprocess.run(["git", "apply", "-"], cwd=kept.root, input=patch, text=True, check=True)
    assert kept.take() == second


def test_what_was_seen_is_not_trusted_beyond_a_sweep(kept: Kept) -> None:
    """Another process lets go of a state while this one remembers its folders."""
    (kept.root / "a").write_text("a" * 1000)
    settle(kept.root)
    kept.take()
    assert kept.checkpoints._release(S) > 0
    again = kept.take()
    with kept.checkpoints._reading() as reading:
        (entry,) = reading.load(bytes.fromhex(again.removeprefix("tree:")))
        assert reading.whole(entry.hash) == b"a" * 1000


def test_two_that_saw_different_things_leave_nothing_of_a_state_that_goes(kept: Kept) -> None:
    """Rows of two states must not mix: a sweep of one would take away what the other's rows name."""
    (kept.root / "a").write_text("1")
    (kept.root / "d").mkdir()
    (kept.root / "d" / "b").write_text("1")
    settle(kept.root)
    kept.take()
    contents: Contents = kept.checkpoints._contents()
    key = os.fsencode(kept.root) + b"\0" + b"x"
    with contents.storing() as one, contents.storing() as two:
        before, rows = one.folders(key)
        scans = []
        for storing in (one, two):
            scan = Scan(str(kept.root), CheckpointPolicy(), storing, dict(rows))
            scans.append((storing, scan, scan.run()))
            (kept.root / "d" / "b").write_text("2")
            settle(kept.root)
        for number, (storing, scan, state) in enumerate(scans):
            storing.hold(f"session-{number}", state, 0, seen=scanning_seen(key, before, scan))
    with contents.reading() as reading:
        root, rows = reading.folders(key)
        assert root == scans[0][2]
        for _, packed in rows:
            unpack_seen = seen.seen_decoder.decode(packed)
            assert unpack(reading._object(unpack_seen.hash, 2))
