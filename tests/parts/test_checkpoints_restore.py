"""Putting files back where something is against it: modes, links, other people, a full disk, a death at any instant."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.parts.test_checkpoints_scan import Kept, S, as_nobody, kept, open_folder

from godwit.core.checkpoint import CheckpointPolicy
from godwit.core.errors import CheckpointFailed, CheckpointNotFound, StoreCorrupt, StoreFull
from godwit.testing import tree
from godwit.workspaces import restore as restoring
from godwit.workspaces.contents import Contents
from godwit.workspaces.exchange import exchange

__all__ = ["kept", "open_folder"]


def restored(kept: Kept, base: str, target: str) -> list[str]:
    left = kept.checkpoints._restore(str(kept.root), base, target, lambda: False)  # type: ignore[arg-type]
    return [one.path for one in left]


def test_folders_whose_modes_forbid_it(open_folder: Path) -> None:
    kept = Kept(open_folder)
    (kept.root / "d" / "e").mkdir(parents=True)
    (kept.root / "d" / "e" / "x").write_text("x")
    (kept.root / "d" / "y").write_text("y")
    with as_nobody(open_folder):
        first, before = kept.take(), tree(kept.root)
        (kept.root / "d" / "e" / "x").write_text("changed")
        (kept.root / "d" / "y").unlink()
        (kept.root / "d" / "e").chmod(0o500)
        (kept.root / "d").chmod(0o500)
        second, after = kept.take(), tree(kept.root)
        assert kept.back(first) == []
        assert tree(kept.root) == before
        assert kept.back(second) == []
        assert tree(kept.root) == after
        # In folders that stay read-only, too.
        (kept.root / "d").chmod(0o700)
        (kept.root / "d" / "y").write_text("by the agent")
        (kept.root / "d").chmod(0o500)
        assert kept.back(second) == []
        assert tree(kept.root) == after
    kept.checkpoints._contents().close()


def test_a_folder_that_a_dead_process_opened_up_is_closed_again(open_folder: Path) -> None:
    kept = Kept(open_folder)
    (kept.root / "d").mkdir()
    (kept.root / "d" / "x").write_text("1")
    with as_nobody(open_folder):
        (kept.root / "d").chmod(0o500)
        first, before = kept.take(), tree(kept.root)
        (kept.root / "d" / "x").write_text("2")
        second = kept.take()
        assert restored(kept, second, first) == []
        (kept.root / "d").chmod(0o700)  # as a process that died in between leaves it
        assert restored(kept, second, first) == []
        assert tree(kept.root) == before
    kept.checkpoints._contents().close()


def test_what_belongs_to_others_is_left_and_named(open_folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make what belongs to others")
    kept = Kept(open_folder)
    (kept.root / "theirs").mkdir()
    (kept.root / "theirs" / "x").write_text("1")
    (kept.root / "mine").write_text("1")
    first = kept.take()
    (kept.root / "theirs" / "x").write_text("2")
    (kept.root / "mine").write_text("2")
    second = kept.take()
    kept.checkpoints._contents().close()
    with as_nobody(open_folder):
        os.seteuid(0)
        os.chown(kept.root / "theirs", 0, 0)
        os.seteuid(65534)
        again = Kept(open_folder)
        assert restored(again, second, first) == ["theirs/x"]
        assert (kept.root / "mine").read_text() == "1"
        again.checkpoints._contents().close()


def test_links_that_appear_in_the_way(kept: Kept, tmp_path: Path) -> None:
    """Every folder and file on the way is swapped for a link that leads out, after the checkpoint was taken."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_text("2")
    (outside / "z").mkdir()
    (kept.root / "d" / "z").mkdir(parents=True)
    first = kept.take()
    for name in ("d/x", "d/new", "top"):
        (kept.root / name).write_text("2")
    (kept.root / "d" / "z").rmdir()
    second = kept.take()
    before = tree(outside)
    shutil.rmtree(kept.root / "d")
    (kept.root / "d").symlink_to(outside)
    (kept.root / "top").unlink()
    (kept.root / "top").symlink_to(outside / "x")
    assert restored(kept, second, first) == ["d/z", "top"]
    assert tree(outside) == before
    assert restored(kept, first, second) == ["d/new", "d/x", "top"]
    assert tree(outside) == before


def test_folders_that_are_swapped_for_links_all_the_while(kept: Kept, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_text("theirs")
    (kept.root / "d").mkdir()
    (kept.root / "d" / "x").write_text("1")
    first = kept.take()
    (kept.root / "d" / "x").write_text("2")
    second = kept.take()
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            os.rename(kept.root / "d", kept.root / "aside")
            (kept.root / "d").symlink_to(outside)
            (kept.root / "d").unlink()
            os.rename(kept.root / "aside", kept.root / "d")

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for _ in range(150):
            restored(kept, second, first)
            restored(kept, first, second)
    finally:
        done.set()
        swapper.join()
    assert tree(outside) == {"x": ("file", (outside / "x").stat().st_mode & 0o777, b"theirs")}
    assert restored(kept, second, first) in ([], ["d/x"])
    assert set(tree(kept.root)) == {"d", "d/x"}


def test_a_person_who_saves_all_the_while_loses_nothing(kept: Kept) -> None:
    """Whatever the person has saved last is there in the end, or the restore came after it and saw what it replaced."""
    path = kept.root / "x"
    path.write_text("base")
    first = kept.take()
    path.write_text("agent")
    second = kept.take()
    for number in range(60):
        path.write_text("agent")
        saved = threading.Event()

        def save(number: int = number, saved: threading.Event = saved) -> None:
            (kept.root / "saving").write_text(f"person {number}")
            os.rename(kept.root / "saving", path)
            saved.set()

        person = threading.Thread(target=save)
        person.start()
        restored(kept, second, first)
        person.join()
        assert saved.is_set()
        assert path.read_text() == f"person {number}"
    assert set(tree(kept.root)) == {"x"}


@pytest.mark.parametrize("saves", [1, 2])
def test_a_person_who_saves_at_the_last_moment_is_not_overwritten(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, saves: int
) -> None:
    """Between our last look and the change, and once more before it is taken back."""
    path = kept.root / "x"
    path.write_text("base")
    first = kept.take()
    path.write_text("agent")
    second = kept.take()
    count = 0

    def save_first(folder: int, one: str, other: str) -> bool:
        nonlocal count
        count += 1
        if count <= saves:
            (kept.root / "saving").write_text(f"person {count}")
            os.rename(kept.root / "saving", path)
        return exchange(folder, one, other)

    monkeypatch.setattr(restoring, "exchange", save_first)
    assert restored(kept, second, first) == ["x"]
    assert path.read_text() == f"person {saves}"
    assert set(tree(kept.root)) == {"x"}


def test_a_system_that_cannot_exchange(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "exchange", lambda *_: False)
    (kept.root / "x").write_text("1")
    first, before = kept.take(), tree(kept.root)
    (kept.root / "x").write_text("2")
    second = kept.take()
    assert restored(kept, second, first) == []
    assert tree(kept.root) == before
    (kept.root / "x").write_text("3")
    assert restored(kept, second, first) == ["x"]
    assert set(tree(kept.root)) == {"x"}


def test_what_a_dead_process_held_of_a_persons_work_comes_back(kept: Kept) -> None:
    (kept.root / "x").write_text("1")
    (kept.root / "y").write_text("1")
    first = kept.take()
    (kept.root / "x").write_text("2")
    (kept.root / "y").write_text("2")
    (kept.root / "z").write_text("2")
    second = kept.take()
    # It died after the exchange of x and after z was set aside, before it saw that neither was what it had been.
    (kept.root / "x").write_text("1")
    (kept.root / restoring._aside("x")).write_text("person")
    (kept.root / "z").rename(kept.root / restoring._aside("z"))
    (kept.root / restoring._aside("z")).write_text("person")
    restored(kept, second, first)
    assert {name: entry[2] for name, entry in tree(kept.root).items()} == {"x": b"person", "y": b"1", "z": b"person"}


def test_devices_and_pipes_in_the_way_are_left(kept: Kept) -> None:
    (kept.root / "x").write_text("1")
    (kept.root / "d").mkdir()
    first = kept.take()
    (kept.root / "x").unlink()
    (kept.root / "d").rmdir()
    second = kept.take()
    os.mkfifo(kept.root / "x")
    os.mkfifo(kept.root / "d")
    assert restored(kept, second, first) == ["d", "x"]
    os.unlink(kept.root / "x")
    assert restored(kept, second, first) == ["d"]


def test_a_folder_with_something_of_its_own_stays(kept: Kept) -> None:
    first = kept.take()
    (kept.root / "cloned").mkdir()
    (kept.root / "cloned" / "file").write_text("x")
    (kept.root / "cloned" / ".git").mkdir()
    (kept.root / "cloned" / ".git" / "HEAD").write_text("x")
    assert kept.back(first) == ["cloned"]
    assert set(tree(kept.root)) == {"cloned", "cloned/.git", "cloned/.git/HEAD"}


def test_temporary_files_of_a_writer_that_died_are_no_hindrance(kept: Kept) -> None:
    first = kept.take()
    (kept.root / "d").mkdir()
    (kept.root / "d" / "x").write_text("x")
    second = kept.take()
    (kept.root / "d" / ".godwit-0123456789abcdef.tmp").write_text("half")
    assert kept.back(first) == []
    assert tree(kept.root) == {}
    (kept.root / "d").mkdir()
    (kept.root / "d" / os.path.basename(restoring._temporary("d/x"))).write_text("half")
    assert restored(kept, first, second) == []
    assert set(tree(kept.root)) == {"d", "d/x"}


def test_files_under_many_names_are_told_apart(kept: Kept) -> None:
    (kept.root / "a").write_text("1")
    os.link(kept.root / "a", kept.root / "b")
    first = kept.take()
    (kept.root / "a").write_text("2")
    assert kept.back(first) == []
    assert (kept.root / "a").read_text() == (kept.root / "b").read_text() == "1"


def test_large_files_come_back_and_cost_only_what_is_new(kept: Kept) -> None:
    content = os.urandom(5 << 20)
    (kept.root / "large").write_bytes(content)
    first = kept.take()
    size = os.path.getsize(kept.checkpoints._contents()._file)
    with (kept.root / "large").open("ab") as file:
        file.write(b"more")
    second = kept.take()
    (kept.root / "large").unlink()
    assert kept.back(second) == []
    assert (kept.root / "large").read_bytes() == content + b"more"
    assert kept.back(first) == []
    assert (kept.root / "large").read_bytes() == content
    kept.checkpoints._contents().close()
    assert os.path.getsize(kept.checkpoints._contents()._file) < size + (2 << 20)


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_while_it_restores(kept: Kept) -> None:
    for name in ("a", "large", "z"):
        (kept.root / name).write_bytes(name.encode() * 200_000)
    first, before = kept.take(), tree(kept.root)
    for name in ("a", "large", "z"):
        (kept.root / name).write_text("small")
    second = kept.take()
    with file_size_limit(500_000), pytest.raises(CheckpointFailed, match="'large' was the first"):
        restored(kept, second, first)
    assert {name: entry[2] for name, entry in tree(kept.root).items()} == {
        "a": before["a"][2],
        "large": b"small",
        "z": b"small",
    }
    assert restored(kept, second, first) == []
    assert tree(kept.root) == before


def test_a_disk_that_is_full_while_it_keeps(kept: Kept) -> None:
    (kept.root / "a").write_text("a")
    first = kept.take()
    (kept.root / "large").write_bytes(os.urandom(3 << 20))
    with file_size_limit(1 << 20), pytest.raises(StoreFull, match=r"free some|its space"):
        kept.take()
    assert [k.ref for k in kept.checkpoints._kept(S)] == [first]
    second = kept.take()
    (kept.root / "large").unlink()
    assert kept.back(second) == []
    assert (kept.root / "large").stat().st_size == 3 << 20


def test_a_restore_can_be_broken_off_and_gone_on_with(kept: Kept) -> None:
    for number in range(10):
        (kept.root / f"{number}").write_text("1")
    first, before = kept.take(), tree(kept.root)
    for number in range(10):
        (kept.root / f"{number}").write_text("2")
    second = kept.take()
    asked = 0

    def stopped() -> bool:
        nonlocal asked
        asked += 1
        return asked > 15

    with pytest.raises(CheckpointFailed, match="broken off"):
        kept.checkpoints._restore(str(kept.root), second, first, stopped)
    assert {entry[2] for entry in tree(kept.root).values()} == {b"1", b"2"}
    assert restored(kept, second, first) == []
    assert tree(kept.root) == before


def damage(contents: Contents, statement: str) -> None:
    with contents.connection() as db:
        db.execute(statement)


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE objects SET data = x'00', packed = 0 WHERE kind = 0", "damaged"),
        ("UPDATE objects SET data = x'00', packed = 1 WHERE kind = 0", "damaged"),
        ("DELETE FROM objects WHERE kind = 0", "not kept"),
    ],
)
def test_damaged_contents_are_never_written(kept: Kept, statement: str, reason: str) -> None:
    (kept.root / "a").write_text("1" * 1000)
    first = kept.take()
    (kept.root / "a").write_text("2" * 1000)
    second = kept.take()
    damage(kept.checkpoints._contents(), statement)
    (left,) = kept.checkpoints._restore(str(kept.root), second, first, lambda: False)
    assert left.path == "a"
    assert reason in left.reason
    assert tree(kept.root)["a"][2] == b"2" * 1000
    assert set(tree(kept.root)) == {"a"}


def test_a_damaged_listing_says_so(kept: Kept) -> None:
    first = kept.take()
    (kept.root / "a").write_text("1")
    second = kept.take()
    damage(kept.checkpoints._contents(), "UPDATE objects SET data = x'c1', packed = 0 WHERE kind = 2")
    with pytest.raises(StoreCorrupt, match="damaged"):
        restored(kept, first, second)


def test_another_programs_file_is_refused_and_a_removed_one_made_anew(kept: Kept) -> None:
    (kept.root / "a").write_text("1")
    first = kept.take()
    contents = kept.checkpoints._contents()
    contents.close()
    shutil.rmtree(contents.folder)
    again = Kept(kept.root.parent)
    (kept.root / "a").write_text("2")
    second = again.take()
    with pytest.raises(CheckpointNotFound):
        restored(again, second, first)
    again.checkpoints._contents().close()
    path = Path(contents._file)
    for beside in path.parent.iterdir():
        beside.unlink()
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreCorrupt, match="move the folder away"):
        Kept(kept.root.parent).take()


def run_script(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.parts.checkpoints_crash_script", *words],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_death_at_a_sample_of_instants(tmp_path: Path) -> None:
    print(run_script(str(tmp_path), "sample"))


@pytest.mark.slow
def test_a_death_at_every_instant(tmp_path: Path) -> None:
    print(run_script(str(tmp_path), "every"))


def test_policies_are_checked() -> None:
    from godwit.core.errors import ConfigurationError

    bad: list[Callable[[], CheckpointPolicy]] = [
        lambda: CheckpointPolicy(keep_count=0),
        lambda: CheckpointPolicy(max_files=-1),
        lambda: CheckpointPolicy(keep_age_s=-0.5),
    ]
    for make in bad:
        with pytest.raises(ConfigurationError, match="must be more than 0"):
            make()
