"""Random edits, checkpoints and restores in any order: what was taken always comes back, and no edit of others is lost."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from godwit.core.checkpoint import CheckpointPolicy, CheckpointRef
from godwit.core.ids import SessionId
from godwit.testing import tree
from godwit.workspaces.checkpoints import FileCheckpoints

S = SessionId("walk")
POLICY = CheckpointPolicy()

PARTS = ["a", "b", "d", "ü b", "\udcff"]
paths = st.lists(st.sampled_from(PARTS), min_size=1, max_size=3).map("/".join)
contents = st.sampled_from([b"", b"1", b"2", b"text\n", b"\0\1", b"x" * 5000])
modes = st.sampled_from([0o644, 0o755, 0o600])
folder_modes = st.sampled_from([0o755, 0o700, 0o775])
edits = st.one_of(
    st.tuples(st.just("write"), paths, contents),
    st.tuples(st.just("append"), paths, contents),
    st.tuples(st.just("delete"), paths),
    st.tuples(st.just("folder"), paths),
    st.tuples(st.just("link"), paths, st.sampled_from(["a", "../b", "/etc/passwd", "nowhere"])),
    st.tuples(st.just("rename"), paths, paths),
    st.tuples(st.just("mode"), paths, modes, folder_modes),
)


def edit(root: Path, what: tuple[Any, ...]) -> None:
    """Do it where it can be done. What stands in the way of a file or folder is removed: so they change places."""
    kind, path = what[0], root / what[1]
    match kind:
        case "write" | "folder" | "link":
            make_room(root, what[1])
            if kind == "write":
                path.write_bytes(what[2])
            elif kind == "folder":
                path.mkdir()
            else:
                path.symlink_to(what[2])
        case "append":
            if path.is_file() and not has_link(root, what[1]):
                with path.open("ab") as file:
                    file.write(what[2])
        case "delete":
            if os.path.lexists(path) and not has_link(root, str(Path(what[1]).parent)):
                remove(path)
        case "rename":
            target = root / what[2]
            inside = f"{what[2]}/".startswith(f"{what[1]}/") or f"{what[1]}/".startswith(f"{what[2]}/")
            if os.path.lexists(path) and not inside and not has_link(root, str(Path(what[1]).parent)):
                make_room(root, what[2])
                path.rename(target)
        case "mode":
            if os.path.lexists(path) and not has_link(root, what[1]):
                path.chmod(what[3] if path.is_dir() else what[2])


def has_link(root: Path, path: str) -> bool:
    parts = Path(path).parts
    return any((root.joinpath(*parts[: n + 1])).is_symlink() for n in range(len(parts)))


def make_room(root: Path, path: str) -> None:
    here = root
    for part in Path(path).parts[:-1]:
        here = here / part
        if os.path.lexists(here) and (here.is_symlink() or not here.is_dir()):
            remove(here)
        here.mkdir(exist_ok=True)
    if os.path.lexists(root / path):
        remove(root / path)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


class Walk(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name).resolve() / "workspace"
        self.root.mkdir()
        self.checkpoints = FileCheckpoints(Path(self.folder.name) / "kept", durability="memory")
        self.taken: list[tuple[CheckpointRef, dict[str, Any]]] = []

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.checkpoints._contents().close()
            self.folder.cleanup()

    def take(self) -> CheckpointRef:
        return self.checkpoints._take(S, str(self.root), POLICY, lambda: False)

    @rule(what=st.lists(edits, min_size=1, max_size=4))
    def edit(self, what: list[tuple[Any, ...]]) -> None:
        for one in what:
            edit(self.root, one)

    @rule()
    def checkpoint(self) -> None:
        ref, found = self.take(), tree(self.root)
        for known, before in self.taken:
            assert (known == ref) == (before == found)
        self.taken.append((ref, found))

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def go_back(self, data: st.DataObject) -> None:
        target, wanted = data.draw(st.sampled_from(self.taken))
        base = self.take()
        merged, left = self.checkpoints._merge(S, base, target, None)
        assert (merged, left) == (target, [])
        assert self.checkpoints._restore(str(self.root), base, merged, lambda: False) == []
        assert tree(self.root) == wanted
        assert self.take() == target

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), meanwhile=st.lists(edits, min_size=1, max_size=3))
    def go_back_while_others_work(self, data: st.DataObject, meanwhile: list[tuple[Any, ...]]) -> None:
        target, wanted = data.draw(st.sampled_from(self.taken))
        base, before = self.take(), tree(self.root)
        for one in meanwhile:
            edit(self.root, one)
        edited = tree(self.root)
        self.checkpoints._restore(str(self.root), base, target, lambda: False)
        after = tree(self.root)
        for path, entry in edited.items():
            if entry != before.get(path) and entry[0] != "folder":
                assert after.get(path) == entry, f"{path} was changed by somebody else and is lost"
        for path, entry in after.items():
            if entry[0] != "folder":
                assert entry in (wanted.get(path), edited.get(path)), f"{path} is nobody's"

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), paths=st.frozensets(paths, max_size=6))
    def go_back_in_part(self, data: st.DataObject, paths: frozenset[str]) -> None:
        target, _ = data.draw(st.sampled_from(self.taken))
        base = self.take()
        merged, _ = self.checkpoints._merge(S, base, target, paths)
        changed = {c.path for c in self.checkpoints._changes(base, merged)}
        # Only what was asked for, and the folders it needs.
        assert all(any(p == c or p.startswith(f"{c}/") for p in paths) for c in changed)
        assert self.checkpoints._restore(str(self.root), base, merged, lambda: False) == []
        assert self.take() == merged


TestWalk = Walk.TestCase
TestWalk.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
