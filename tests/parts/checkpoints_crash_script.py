"""Kills processes at every instant of taking a checkpoint and of restoring one, and checks what the next process finds.

    python -m tests.parts.checkpoints_crash_script FOLDER sample|every

Each death is that of a forked child, by SIGKILL, before one of the calls with which it changes something. This process has
one thread and no event loop, so it may fork.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from godwit.core.checkpoint import CheckpointPolicy, CheckpointRef
from godwit.core.ids import SessionId
from godwit.testing import tree
from godwit.workspaces import restore as restore_module
from godwit.workspaces.checkpoints import FileCheckpoints
from godwit.workspaces.contents import Contents, Storing
from godwit.workspaces.exchange import exchange

S = SessionId("session")
POLICY = CheckpointPolicy()
CALLS = ("unlink", "rmdir", "mkdir", "link", "rename", "symlink", "fchmod", "chmod", "write", "fsync", "read")
SAMPLE = 4


def die_at(number: int | None) -> Callable[[], int]:
    """Count the calls that change something, and die before the one of this number. Returns how many there were."""
    count = 0

    def counting(call: Callable[..., Any], after: bool = False) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*args, **options)
            if after:
                count += 1
                if count == number:
                    os.kill(os.getpid(), signal.SIGKILL)
            return result

        return counted

    for name in CALLS:
        setattr(os, name, counting(getattr(os, name)))
    restore_module.__dict__["exchange"] = counting(exchange)
    for owner, method in ((Storing, "_insert"), (Storing, "_remember"), (Storing, "hold"), (Contents, "_sweep")):
        setattr(owner, method, counting(getattr(owner, method), after=True))
    return lambda: count


def in_child(work: Callable[[], None], number: int | None) -> int | None:
    """Run it in a child that dies at this call; returns how many calls there were, None when it died."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            counted = die_at(number)
            work()
            with os.fdopen(writer, "wb") as out:
                out.raw.write(str(counted()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        said = answer.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        return None
    assert os.WEXITSTATUS(status) == 0, f"the child failed at {number}"
    return int(said)


def opened(folder: Path) -> FileCheckpoints:
    return FileCheckpoints(folder / "kept", durability="process")


def fill(root: Path) -> None:
    (root / "d" / "e").mkdir(parents=True)
    (root / "d" / "e" / "x").write_text("x")
    (root / "d" / "run").write_text("#!/bin/sh")
    (root / "d" / "run").chmod(0o755)
    (root / "large").write_bytes(bytes(range(256)) * 5000)
    (root / "link").symlink_to("d/run")
    (root / "swap").mkdir()
    (root / "swap" / "inner").write_text("inner")
    (root / "same").write_text("same")


def change(root: Path) -> None:
    shutil.rmtree(root / "d" / "e")
    (root / "d" / "run").chmod(0o644)
    (root / "large").write_bytes(b"large" * 500_000)
    (root / "link").unlink()
    (root / "link").write_text("a file")
    shutil.rmtree(root / "swap")
    (root / "swap").write_text("a file")
    (root / "new" / "deep").mkdir(parents=True)
    (root / "new" / "deep" / "y").write_text("y")
    (root / "new").chmod(0o750)


def check_store(folder: Path) -> None:
    """Whatever is held is there as a whole."""
    with sqlite3.connect(folder / "kept" / "contents.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        sessions = [row[0] for row in db.execute("SELECT DISTINCT session FROM holds")]
    db.close()
    contents = opened(folder)._contents()
    with contents.reading() as reading:
        for session in sessions:
            for held in reading.held(session):
                for hash_ in reading.needed([held.hash]):
                    reading._find(hash_)
    contents.close()


def numbers(total: int, how: str) -> list[int]:
    every = list(range(1, total + 1))
    return every if how == "every" else sorted(random.Random(total).sample(every, min(SAMPLE, total)))


def taking(folder: Path, how: str) -> int:
    """A checkpoint that broke off is not there; one before it is; the next is right."""

    def prepared(name: str) -> tuple[Path, Path, CheckpointRef]:
        here = folder / name
        root = here / "workspace"
        fill(root)
        checkpoints = opened(here)
        first = checkpoints._take(S, str(root), POLICY, lambda: False)
        checkpoints._contents().close()
        change(root)
        return here, root, first

    def take(here: Path, root: Path) -> None:
        opened(here)._take(S, str(root), POLICY, lambda: False)

    here, root, _ = prepared("take")
    total = in_child(lambda: take(here, root), None)
    assert total is not None
    for number in numbers(total, how):
        here, root, first = prepared(f"take-{number}")
        before = tree(root)
        assert in_child(lambda here=here, root=root: take(here, root), number) is None, number  # type: ignore[misc]
        check_store(here)
        checkpoints = opened(here)
        second = checkpoints._take(S, str(root), POLICY, lambda: False)
        check_store(here)
        assert tree(root) == before
        for target in (first, second):
            base = checkpoints._take(S, str(root), POLICY, lambda: False)
            assert checkpoints._restore(str(root), base, target, lambda: False) == []
        assert tree(root) == before
        checkpoints._contents().close()
        shutil.rmtree(here)
    return total


def sweeping(folder: Path, how: str) -> int:
    """What is held survives a sweep that broke off."""

    def prepared(name: str) -> tuple[Path, Path, CheckpointRef]:
        here = folder / name
        root = here / "workspace"
        fill(root)
        checkpoints = opened(here)
        first = checkpoints._take(SessionId("other"), str(root), POLICY, lambda: False)
        change(root)
        checkpoints._take(S, str(root), POLICY, lambda: False)
        checkpoints._contents().close()
        return here, root, first

    def release(here: Path) -> None:
        opened(here)._release(S)

    here, root, _ = prepared("sweep")
    total = in_child(lambda: release(here), None)
    assert total is not None
    for number in numbers(total, how):
        here, root, first = prepared(f"sweep-{number}")
        assert in_child(lambda here=here: release(here), number) is None  # type: ignore[misc]
        check_store(here)
        checkpoints = opened(here)
        base = checkpoints._take(S, str(root), POLICY, lambda: False)
        assert checkpoints._restore(str(root), base, first, lambda: False) == []
        checkpoints._contents().close()
        shutil.rmtree(here)
    return total


def restoring(folder: Path, how: str) -> int:
    """Done again with the same two states, a restore that broke off ends where it would have; nothing is left behind."""

    def prepared(name: str) -> tuple[Path, Path, list[str], list[dict[str, Any]]]:
        here = folder / name
        root = here / "workspace"
        fill(root)
        checkpoints = opened(here)
        refs, trees = [], []
        for step in (lambda _: None, change):
            step(root)
            refs.append(checkpoints._take(S, str(root), POLICY, lambda: False))
            trees.append(tree(root))
        checkpoints._contents().close()
        return here, root, list(refs), trees

    def restore(here: Path, root: Path, refs: list[Any]) -> None:
        checkpoints = opened(here)
        checkpoints._durability = "disk"  # so that what it makes durable is among the calls
        assert checkpoints._restore(str(root), refs[1], refs[0], lambda: False) == []

    here, root, refs, _ = prepared("restore")
    total = in_child(lambda: restore(here, root, refs), None)
    assert total is not None
    for number in numbers(total, how):
        here, root, refs, trees = prepared(f"restore-{number}")
        died = in_child(lambda h=here, r=root, f=refs: restore(h, r, f), number)  # type: ignore[misc]
        assert died is None, number
        # And a second death in the middle of going on.
        in_child(lambda h=here, r=root, f=refs: restore(h, r, f), max(1, number // 2))  # type: ignore[misc]
        restore(here, root, refs)
        assert tree(root) == trees[0], f"died before call {number}"
        shutil.rmtree(here)
    return total


if __name__ == "__main__":
    where, mode = Path(sys.argv[1]).resolve(), sys.argv[2]
    for what in (taking, sweeping, restoring):
        print(f"{what.__name__}: {what(where, mode)} instants, {mode}")
