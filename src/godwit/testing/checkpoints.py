"""The conformance suite of checkpoints: files come back as they were, and what somebody else changed is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from ..contracts import Checkpoints
from ..core.checkpoint import CheckpointPolicy, CheckpointRef, LeftAlone
from ..core.errors import CheckpointFailed, CheckpointNotFound
from ..core.ids import SessionId
from .words import S, refused, tree, within


class CheckpointsConformance:
    """Give `make_checkpoints`, a new and empty one for each test; the suite closes it."""

    async def make_checkpoints(self) -> Checkpoints:
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[tuple[Checkpoints, Path]]:
        """The part, and a workspace with something of everything in it."""
        checkpoints = await self.make_checkpoints()
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder).resolve() / "workspace"
            (root / "src" / "deep").mkdir(parents=True)
            (root / "empty").mkdir(mode=0o750)
            (root / "a.txt").write_text("one\ntwo\nthree\n")
            (root / "src" / "b.bin").write_bytes(bytes(range(256)) * 20)
            (root / "src" / "deep" / "run.sh").write_text("#!/bin/sh\n")
            (root / "src" / "deep" / "run.sh").chmod(0o755)
            (root / "link").symlink_to("src/b.bin")
            (root / "out").symlink_to("/etc")
            (root / "nothing").touch()
            try:
                yield checkpoints, root
            finally:
                await checkpoints.close()

    async def back(self, checkpoints: Checkpoints, root: Path, target: CheckpointRef) -> list[LeftAlone]:
        """Bring the folder from whatever it is to `target`."""
        base = await checkpoints.take(S, str(root), CheckpointPolicy())
        merged, left = await checkpoints.merge(S, base, target)
        return [*left, *await checkpoints.restore(str(root), base, merged)]

    async def test_taking_changes_nothing_and_equal_states_are_equal(self) -> None:
        async with self.kept() as (checkpoints, root):
            before = tree(root)
            first = await checkpoints.take(S, str(root), CheckpointPolicy())
            assert await checkpoints.take(S, str(root), CheckpointPolicy()) == first
            assert tree(root) == before
            (root / "a.txt").write_text("another")
            second = await checkpoints.take(S, str(root), CheckpointPolicy())
            assert second != first
            (root / "a.txt").write_text("one\ntwo\nthree\n")
            assert await checkpoints.take(S, str(root), CheckpointPolicy()) == first
            assert [k.ref for k in await checkpoints.kept(S)] == [first, second]

    async def test_everything_comes_back(self) -> None:
        async with self.kept() as (checkpoints, root):
            before = tree(root)
            first = await checkpoints.take(S, str(root), CheckpointPolicy())
            shutil.rmtree(root / "src")
            (root / "src").write_text("a file now")
            (root / "a.txt").unlink()
            (root / "a.txt").mkdir()
            (root / "a.txt" / "inner").write_text("x")
            (root / "link").unlink()
            (root / "link").write_text("no link")
            (root / "empty").rmdir()
            (root / "nothing").write_text("something")
            (root / "nothing").chmod(0o600)
            (root / "new" / "folder").mkdir(parents=True)
            (root / "new" / "file").write_text("new")
            after = tree(root)
            second = await checkpoints.take(S, str(root), CheckpointPolicy())
            assert await self.back(checkpoints, root, first) == []
            assert tree(root) == before
            assert await checkpoints.take(S, str(root), CheckpointPolicy()) == first
            assert await self.back(checkpoints, root, second) == []
            assert tree(root) == after

    async def test_restoring_again_changes_nothing(self) -> None:
        async with self.kept() as (checkpoints, root):
            first = await checkpoints.take(S, str(root), CheckpointPolicy())
            (root / "a.txt").write_text("changed")
            shutil.rmtree(root / "src")
            second = await checkpoints.take(S, str(root), CheckpointPolicy())
            for _ in range(2):
                assert await checkpoints.restore(str(root), second, first) == []
                assert await checkpoints.take(S, str(root), CheckpointPolicy()) == first

    async def test_what_somebody_changed_meanwhile_is_left_and_named(self) -> None:
        async with self.kept() as (checkpoints, root):
            first = await checkpoints.take(S, str(root), CheckpointPolicy())
            for name in ("a.txt", "nothing", "new", "gone"):
                (root / name).write_text("by the agent")
            second = await checkpoints.take(S, str(root), CheckpointPolicy())
            (root / "a.txt").write_text("by a person")
            (root / "new").write_text("by a person")
            (root / "gone").unlink()
            left = await checkpoints.restore(str(root), second, first)
            assert [one.path for one in left] == ["a.txt", "new"]
            assert all(one.reason for one in left)
            assert (root / "a.txt").read_text() == (root / "new").read_text() == "by a person"
            assert (root / "nothing").read_text() == ""
            assert not (root / "gone").exists()

    async def test_no_link_leads_out(self) -> None:
        async with self.kept() as (checkpoints, root):
            outside = root.parent / "outside"
            outside.mkdir()
            (outside / "run.sh").write_text("theirs")
            first = await checkpoints.take(S, str(root), CheckpointPolicy())
            (root / "src" / "deep" / "run.sh").write_text("changed")
            second = await checkpoints.take(S, str(root), CheckpointPolicy())
            shutil.rmtree(root / "src" / "deep")
            (root / "src" / "deep").symlink_to(outside)
            third = await checkpoints.take(S, str(root), CheckpointPolicy())
            assert [c.path for c in await checkpoints.changes(second, third)] == ["src/deep", "src/deep/run.sh"]
            left = await checkpoints.restore(str(root), second, first)
            assert [one.path for one in left] == ["src/deep/run.sh"]
            assert tree(outside) == {"run.sh": ("file", 0o666 & ~_umask(), b"theirs")}

    async def test_the_repository_is_not_looked_at(self) -> None:
        async with self.kept() as (checkpoints, root):
            for folder in (root / ".git", root / "src" / ".git", root / "new" / ".git"):
                folder.mkdir(parents=True)
                (folder / "HEAD").write_text("ref: refs/heads/main")
            first = await checkpoints.take(S, str(root), CheckpointPolicy())
            (root / ".git" / "HEAD").write_text("another")
            assert await checkpoints.take(S, str(root), CheckpointPolicy()) == first
            (root / "new" / "file").write_text("x")
            second = await checkpoints.take(S, str(root), CheckpointPolicy())
            shutil.rmtree(root / "src")
            shutil.rmtree(root / "new")
            assert await self.back(checkpoints, root, second) == []
            assert (root / "new" / "file").read_text() == "x"
            assert not (root / "new" / ".git").exists()
            assert (root / ".git" / "HEAD").read_text() == "another"

    async def test_what_one_session_lets_go_of_another_keeps(self) -> None:
        async with self.kept() as (checkpoints, root):
            other = SessionId("other")
            first = await checkpoints.take(S, str(root), CheckpointPolicy())
            assert await checkpoints.take(other, str(root), CheckpointPolicy()) == first
            (root / "mine").write_text("only the session's" * 100)
            second = await checkpoints.take(S, str(root), CheckpointPolicy())
            assert await checkpoints.release(S) > 0
            assert await checkpoints.kept(S) == []
            await refused(CheckpointNotFound, checkpoints.changes(first, second))
            assert await checkpoints.restore(str(root), first, first) == []
            (root / "a.txt").unlink()
            assert await checkpoints.take(other, str(root), CheckpointPolicy()) != first
            assert await self.back(checkpoints, root, first) == []
            assert (root / "a.txt").read_text() == "one\ntwo\nthree\n"

    async def test_what_is_held_is_shared_with_another(self) -> None:
        async with self.kept() as (checkpoints, root):
            fork = SessionId("fork")
            await checkpoints.share(S, fork)
            assert await checkpoints.kept(fork) == []
            first = await checkpoints.take(S, str(root), CheckpointPolicy())
            (root / "mine").write_text("more")
            second = await checkpoints.take(S, str(root), CheckpointPolicy())
            await checkpoints.share(S, fork)
            await checkpoints.share(S, fork)
            assert [one.ref for one in await checkpoints.kept(fork)] == [second, first]
            await checkpoints.release(S)
            assert [change.path for change in await checkpoints.changes(first, second)] == ["mine"]

    async def test_a_policy_lets_go_of_the_oldest(self) -> None:
        async with self.kept() as (checkpoints, root):
            refs = []
            for number in range(5):
                (root / "a.txt").write_text(f"{number} " * 100)
                refs.append(await checkpoints.take(S, str(root), CheckpointPolicy()))
            assert await checkpoints.retain(S, CheckpointPolicy()) == 0
            assert await checkpoints.retain(S, CheckpointPolicy(keep_count=3), named=[*refs[:2], *refs[3:]]) > 0
            assert [k.ref for k in await checkpoints.kept(S)] == [refs[4], refs[3], refs[1]]
            await refused(CheckpointNotFound, checkpoints.changes(refs[2], refs[4]))
            assert len(await checkpoints.changes(refs[1], refs[4])) == 1
            await checkpoints.retain(S, CheckpointPolicy(keep_bytes=1))
            assert [k.ref for k in await checkpoints.kept(S)] == [refs[4]]

    async def test_some_paths_are_taken_from_one_state_and_the_rest_from_another(self) -> None:
        async with self.kept() as (checkpoints, root):
            first = await checkpoints.take(S, str(root), CheckpointPolicy())
            (root / "a.txt").write_text("changed")
            (root / "nothing").write_text("changed")
            (root / "made").mkdir()
            (root / "made" / "x").write_text("x")
            second = await checkpoints.take(S, str(root), CheckpointPolicy())
            merged, left = await checkpoints.merge(S, second, first, ["a.txt", "made/x", "made"])
            assert left == []
            assert [(c.path, c.change) for c in await checkpoints.changes(second, merged)] == [
                ("a.txt", "modified"),
                ("made", "deleted"),
                ("made/x", "deleted"),
            ]
            assert await checkpoints.merge(S, second, first) == (first, [])
            assert await checkpoints.merge(S, second, first, []) == (second, [])

    async def test_a_diff_reads_as_one(self) -> None:
        async with self.kept() as (checkpoints, root):
            first = await checkpoints.take(S, str(root), CheckpointPolicy())
            (root / "a.txt").write_text("one\n2\nthree\nfour")
            (root / "src" / "b.bin").write_bytes(b"\0\1")
            (root / "nothing").unlink()
            (root / "src" / "deep" / "run.sh").chmod(0o644)
            second = await checkpoints.take(S, str(root), CheckpointPolicy())
            found = await checkpoints.diff(first, second)
            assert [(c.path, c.change, c.binary, c.added_lines, c.removed_lines) for c in found.changes] == [
                ("a.txt", "modified", False, 2, 1),
                ("nothing", "deleted", False, 0, 0),
                ("src/b.bin", "modified", True, 0, 0),
                ("src/deep/run.sh", "mode", False, 0, 0),
            ]
            assert "@@ -1,3 +1,4 @@\n one\n-two\n+2\n three\n+four\n\\ No newline at end of file\n" in found.text
            assert "old mode 100755\nnew mode 100644\n" in found.text
            assert (await checkpoints.diff(first, second, paths=["nothing"])).changes[0].path == "nothing"
            assert (await checkpoints.diff(first, second, limit=10)).cut

    async def test_a_change_that_leaves_size_and_time_as_they_were_is_seen(self) -> None:
        async with self.kept() as (checkpoints, root):
            path = root / "a.txt"
            for number in range(20):
                path.write_text(f"{number:04}")
                first = await checkpoints.take(S, str(root), CheckpointPolicy())
                times = path.stat()
                path.write_text(f"{number + 1:04}")
                os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
                assert await checkpoints.take(S, str(root), CheckpointPolicy()) != first

    async def test_many_at_once(self) -> None:
        async with self.kept() as (checkpoints, root):
            (root / "large").write_bytes(os.urandom(3 << 20))
            sessions = [SessionId(f"session-{n}") for n in range(4)]
            refs = await within(asyncio.gather(*(checkpoints.take(s, str(root), CheckpointPolicy()) for s in sessions)))
            assert len(set(refs)) == 1
            assert await within(asyncio.gather(*(checkpoints.release(s) for s in sessions[1:])))
            before = tree(root)
            (root / "large").unlink()
            assert await self.back(checkpoints, root, refs[0]) == []
            assert tree(root) == before

    async def test_what_is_not_kept_is_not_touched(self) -> None:
        async with self.kept() as (checkpoints, root):
            policy = CheckpointPolicy(max_file_bytes=10_000)
            (root / "large").write_bytes(b"1" * 20_000)
            first = await checkpoints.take(S, str(root), policy)
            (root / "large").write_bytes(b"2" * 20_000)
            (root / "larger").write_bytes(b"3" * 30_000)
            (root / "a.txt").write_text("changed")
            second = await checkpoints.take(S, str(root), policy)
            changed = await checkpoints.changes(first, second)
            assert [(c.path, c.kept) for c in changed] == [("a.txt", True), ("large", False), ("larger", False)]
            merged, left = await checkpoints.merge(S, second, first)
            assert [one.path for one in left] == ["large", "larger"]
            assert await checkpoints.restore(str(root), second, merged) == []
            assert (root / "a.txt").read_text() == "one\ntwo\nthree\n"
            assert (root / "large").read_bytes() == b"2" * 20_000
            assert (root / "larger").exists()

    async def test_a_workspace_beyond_the_policy_is_refused(self) -> None:
        async with self.kept() as (checkpoints, root):
            await refused(CheckpointFailed, checkpoints.take(S, str(root), CheckpointPolicy(max_files=3)))
            await refused(CheckpointFailed, checkpoints.take(S, str(root), CheckpointPolicy(max_bytes=100)))
            await refused(CheckpointFailed, checkpoints.take(S, str(root / "no such folder"), CheckpointPolicy()))
            await checkpoints.take(S, str(root), CheckpointPolicy())

    async def test_an_unknown_ref_says_so(self) -> None:
        async with self.kept() as (checkpoints, root):
            assert await checkpoints.kept(S) == []
            unknown = CheckpointRef("tree:" + "0" * 64)
            await refused(CheckpointNotFound, checkpoints.changes(unknown, CheckpointRef("tree:" + "1" * 64)))
            first = await checkpoints.take(S, str(root), CheckpointPolicy())
            for ref in (unknown, CheckpointRef("nonsense"), CheckpointRef("tree:xyz")):
                await refused(CheckpointNotFound, checkpoints.diff(first, ref))
                await refused(CheckpointNotFound, checkpoints.merge(S, first, ref))
                await refused(CheckpointNotFound, checkpoints.restore(str(root), first, ref))


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
