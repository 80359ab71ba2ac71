"""File access of LocalWorkspace: what it does, and that nothing leads out of it."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from godwit.core.errors import ConfigurationError, GodwitError, PathEscape, ToolFailed
from godwit.workspaces.confined import Confined
from godwit.workspaces.local import LocalWorkspace

SECRET = b"outside"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(SECRET)
    (folder / "only-outside").write_bytes(SECRET)
    return folder


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    folder = tmp_path / "inside"
    folder.mkdir()
    return folder


@pytest.fixture
def workspace(inside: Path) -> LocalWorkspace:
    return LocalWorkspace(inside)


class TestWork:
    async def test_written_bytes_are_read_again(self, workspace: LocalWorkspace, inside: Path) -> None:
        await workspace.write("a/b/c.bin", b"\0\xff")
        assert await workspace.read("a/b/c.bin") == b"\0\xff"
        assert await workspace.read(str(inside / "a/b/c.bin")) == b"\0\xff"
        assert await workspace.read("./a//b/../b/c.bin") == b"\0\xff"

    async def test_write_leaves_nothing_but_the_file(self, workspace: LocalWorkspace, inside: Path) -> None:
        for content in (b"1", b"22", b""):
            await workspace.write("f", content)
        assert os.listdir(inside) == ["f"]

    async def test_write_keeps_the_mode(self, workspace: LocalWorkspace, inside: Path) -> None:
        (inside / "run.sh").write_bytes(b"old")
        (inside / "run.sh").chmod(0o750)
        await workspace.write("run.sh", b"new")
        assert stat.S_IMODE((inside / "run.sh").stat().st_mode) == 0o750
        assert (inside / "run.sh").read_bytes() == b"new"

    async def test_a_read_only_file_is_not_replaced(self, workspace: LocalWorkspace, inside: Path) -> None:
        (inside / "f").write_bytes(b"old")
        (inside / "f").chmod(0o444)
        with pytest.raises(ToolFailed, match="'f': the file is read-only"):
            await workspace.write("f", b"new")
        assert (inside / "f").read_bytes() == b"old"
        assert os.listdir(inside) == ["f"]

    async def test_readers_see_the_old_or_the_new_content(self, workspace: LocalWorkspace, inside: Path) -> None:
        one, other = b"a" * 300_000, b"b" * 300_000
        await workspace.write("f", one)
        seen: set[bytes] = set()
        done = threading.Event()

        def read() -> None:
            while not done.is_set():
                content = (inside / "f").read_bytes()
                seen.add(content[:1] + content[-1:] + str(len(content)).encode())

        reader = threading.Thread(target=read)
        reader.start()
        for turn in range(100):
            await workspace.write("f", other if turn % 2 else one)
        done.set()
        reader.join()
        assert seen <= {b"aa300000", b"bb300000"}

    async def test_create_only(self, workspace: LocalWorkspace, inside: Path) -> None:
        await workspace.write("new/f", b"1", create_only=True)
        with pytest.raises(ToolFailed, match="'new/f': it exists already"):
            await workspace.write("new/f", b"2", create_only=True)
        assert await workspace.read("new/f") == b"1"
        results = await asyncio.gather(
            *(workspace.write("raced", str(i).encode(), create_only=True) for i in range(8)), return_exceptions=True
        )
        assert [r for r in results if r is None] == [None]
        assert sorted(os.listdir(inside)) == ["new", "raced"]

    async def test_create_only_without_hard_links(
        self, workspace: LocalWorkspace, inside: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(errno.EPERM, "no links here")

        monkeypatch.setattr(os, "link", refuse)
        await workspace.write("f", b"1", create_only=True)
        with pytest.raises(ToolFailed, match="exists already"):
            await workspace.write("f", b"2", create_only=True)
        assert await workspace.read("f") == b"1"
        assert os.listdir(inside) == ["f"]

    async def test_info(self, workspace: LocalWorkspace, inside: Path) -> None:
        (inside / "d").mkdir()
        (inside / "d/f").write_bytes(b"123")
        (inside / "link").symlink_to("d/f")
        (inside / "broken").symlink_to("nowhere")
        file, folder, root, link = [await workspace.info(p) for p in ("d/f", "d", ".", "link")]
        assert file is not None
        assert (file.path, file.kind, file.size) == ("d/f", "file", 3)
        assert folder is not None
        assert (folder.path, folder.kind) == ("d", "directory")
        assert root is not None
        assert (root.path, root.kind) == (".", "directory")
        assert link is not None
        assert (link.path, link.kind) == ("d/f", "file")
        for nothing in ("x", "d/x", "d/f/x", "x/y", "broken"):
            assert await workspace.info(nothing) is None

    async def test_listdir(self, workspace: LocalWorkspace, inside: Path) -> None:
        (inside / "d").mkdir()
        (inside / "d/b").write_bytes(b"1")
        (inside / "d/a").mkdir()
        (inside / "d/c").symlink_to("/etc/passwd")
        (inside / "alias").symlink_to("d")
        assert [(i.path, i.kind) for i in await workspace.listdir("d")] == [
            ("d/a", "directory"),
            ("d/b", "file"),
            ("d/c", "symlink"),
        ]
        assert [i.path for i in await workspace.listdir("alias")] == ["alias/a", "alias/b", "alias/c"]
        assert [i.path for i in await workspace.listdir("alias/a/..")] == ["d/a", "d/b", "d/c"]
        assert [i.path for i in await workspace.listdir()] == ["alias", "d"]

    async def test_delete(self, workspace: LocalWorkspace, inside: Path, outside: Path) -> None:
        (inside / "f").write_bytes(b"")
        (inside / "d").mkdir()
        (inside / "out").symlink_to(outside / "secret")
        for path in ("f", "d", "out"):
            await workspace.delete(path)
        assert os.listdir(inside) == []
        assert (outside / "secret").read_bytes() == SECRET
        (inside / "full").mkdir()
        (inside / "full/f").write_bytes(b"")
        with pytest.raises(ToolFailed, match="not empty"):
            await workspace.delete("full")
        with pytest.raises(ToolFailed, match="there is no such file"):
            await workspace.delete("f")
        with pytest.raises(ToolFailed):
            await workspace.delete(".")

    async def test_errors_are_readable(self, workspace: LocalWorkspace, inside: Path) -> None:
        (inside / "d").mkdir()
        (inside / "f").write_bytes(b"")
        os.mkfifo(inside / "pipe")
        for path, words in [
            ("x", "there is no such file"),
            ("d", "it is a folder"),
            (".", "it is a folder"),
            ("f/x", "no folder"),
            ("pipe", "neither a file"),
            ("a\0b", "NUL"),
            ("n" * 300, "too long"),
        ]:
            with pytest.raises(ToolFailed, match=words):
                await workspace.read(path)
        for path in ("d", ".", "f/x", "pipe"):
            with pytest.raises(ToolFailed):
                await workspace.write(path, b"")
        assert sorted(os.listdir(inside)) == ["d", "f", "pipe"]

    def test_the_root_must_be_a_folder(self, inside: Path) -> None:
        with pytest.raises(ConfigurationError, match="not a folder"):
            LocalWorkspace(inside / "missing")

    async def test_a_root_that_is_a_link_may_be_named_both_ways(self, inside: Path, tmp_path: Path) -> None:
        (tmp_path / "alias").symlink_to(inside)
        workspace = LocalWorkspace(tmp_path / "alias")
        await workspace.write(str(tmp_path / "alias/f"), b"1")
        assert await workspace.read(str(inside / "f")) == b"1"
        assert workspace.root == str(inside)

    async def test_a_cancelled_write_is_over_when_the_caller_goes_on(self, workspace: LocalWorkspace, inside: Path) -> None:
        task = asyncio.create_task(workspace.write("f", b"x" * 20_000_000))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert os.listdir(inside) in ([], ["f"])


# A path, and the link it goes through, if any. `{inside}` and `{outside}` are the two folders, beside each other.
ESCAPES = {
    "parent": ("../outside/secret", None),
    "deep parent": ("d/../../outside/secret", None),
    "parent and back": ("../inside/f", None),
    "absolute": ("{outside}/secret", None),
    "absolute with parent": ("{inside}/../outside/secret", None),
    "root's name as prefix": ("{inside}2/secret", None),
    "etc": ("/etc/passwd", None),
    "file link": ("link", "{outside}/secret"),
    "relative file link": ("d/link", "../../outside/secret"),
    "folder link": ("link/secret", "{outside}"),
    "link to parent": ("link/outside/secret", ".."),
    "link to link": ("second/secret", "{outside}"),
    "parent behind a link": ("link/../../outside/secret", "d"),
    "proc": ("link/etc/passwd", "/proc/self/root"),
}


class TestConfinement:
    @pytest.mark.parametrize("name", ESCAPES)
    async def test_nothing_leads_out(self, name: str, workspace: LocalWorkspace, inside: Path, outside: Path) -> None:
        path, target = (text and text.format(inside=inside, outside=outside) for text in ESCAPES[name])
        assert path is not None
        (inside / "d").mkdir()
        (inside / "second").symlink_to("link")
        if target is not None:
            (inside / ("d/link" if path.startswith("d/") else "link")).symlink_to(target)
        folder = os.path.dirname(path) or "."
        attempts: list[Awaitable[object]] = [workspace.read(path), workspace.write(path, b"broken in"), workspace.info(path)]
        attempts += [workspace.grep("outside", path), workspace.listdir(path), workspace.glob("*", path)]
        if folder not in (".", "d"):  # a link in a folder inside may be seen there
            attempts += [workspace.listdir(folder), workspace.glob("*", folder), workspace.grep("outside", folder)]
        for attempt in attempts:
            with pytest.raises(PathEscape, match="workspace"):
                await attempt
        assert (outside / "secret").read_bytes() == SECRET
        assert sorted(os.listdir(outside)) == ["only-outside", "secret"]

    async def test_links_that_stay_inside_work(self, workspace: LocalWorkspace, inside: Path) -> None:
        (inside / "d/e").mkdir(parents=True)
        (inside / "d/f").write_bytes(b"1")
        (inside / "file").symlink_to("d/f")
        (inside / "absolute").symlink_to(inside / "d/f")
        (inside / "folder").symlink_to("d/e")
        (inside / "d/e/up").symlink_to("../..")
        for path in ("file", "absolute", "folder/../f", "d/e/up/d/f", "folder/up/file"):
            assert await workspace.read(path) == b"1"
        await workspace.write("file", b"2")
        assert (inside / "file").is_symlink()
        assert (inside / "d/f").read_bytes() == b"2"
        await workspace.write("folder/new/g", b"3")
        assert (inside / "d/e/new/g").read_bytes() == b"3"

    async def test_a_link_to_nothing_inside_is_made_there(self, workspace: LocalWorkspace, inside: Path) -> None:
        (inside / "link").symlink_to("later/f")
        await workspace.write("link", b"1")
        assert (inside / "later/f").read_bytes() == b"1"

    async def test_loops_end(self, workspace: LocalWorkspace, inside: Path) -> None:
        (inside / "a").symlink_to("b")
        (inside / "b").symlink_to("a")
        (inside / "self").symlink_to("self/x")
        for path in ("a", "a/x", "self"):
            with pytest.raises(ToolFailed, match="too many symbolic links"):
                await workspace.read(path)
            with pytest.raises(ToolFailed):
                await workspace.write(path, b"")

    async def test_long_chains_end_and_short_ones_work(self, workspace: LocalWorkspace, inside: Path) -> None:
        (inside / "l0").write_bytes(b"end")
        for number in range(1, 60):
            (inside / f"l{number}").symlink_to(f"l{number - 1}")
        assert await workspace.read("l40") == b"end"
        with pytest.raises(ToolFailed, match="too many"):
            await workspace.read("l41")


SWAPS = {
    # A folder that is a link to the outside in between. A write may have made one of its own when there was none.
    "folder": """
    for _ in range(random.randrange(20)): os.stat('.')
    os.rename('d', 'kept')
    try: os.symlink(outside, 'd')
    except FileExistsError: pass
    for _ in range(random.randrange(20)): os.stat('.')
    while os.path.exists('kept'):
        try: os.unlink('d')
        except FileNotFoundError: pass
        except IsADirectoryError: shutil.rmtree('d', ignore_errors=True)
        try: os.rename('kept', 'd')
        except OSError: pass
    """,
    # A file that is a link to the outside every other time, and always something.
    "file": """
    os.symlink(outside + '/secret', 'next'); os.replace('next', 'd/secret')
    open('next', 'w').write('inside'); os.replace('next', 'd/secret')
    """,
}


@contextmanager
def _swapping(what: str, inside: Path, outside: Path) -> Iterator[None]:
    """Another process swaps `d`, or `d/secret`, as fast as it can."""
    (inside / "d").mkdir()
    (inside / "d/secret").write_bytes(b"inside")
    loop = "import os, random, select, shutil, sys\noutside = sys.argv[1]\n"
    loop += f"while not select.select([0], [], [], 0)[0]:{SWAPS[what]}"
    process = subprocess.Popen([sys.executable, "-c", loop, str(outside)], cwd=inside, stdin=subprocess.PIPE)
    try:
        yield
    finally:
        process.communicate()
    assert process.returncode == 0


class TestRaces:
    @pytest.mark.parametrize("what", ["folder", "file"])
    def test_nothing_outside_is_read_or_written(self, what: str, inside: Path, outside: Path) -> None:
        files = Confined(str(inside), str(inside))
        outcomes: Counter[str] = Counter()
        with _swapping(what, inside, outside):
            # Until the race was a real one, both sides of it met often; at most for some seconds.
            end = time.monotonic() + 10
            while outcomes.total() < 5000 or (min(outcomes["read"], outcomes["PathEscape"]) < 20 and time.monotonic() < end):
                try:
                    if outcomes.total() % 3 == 0:
                        files.write("d/written" if what == "folder" else "d/secret", b"inside")
                        outcomes["written"] += 1
                    elif outcomes.total() % 3 == 1:
                        assert files.read("d/secret") == b"inside"
                        outcomes["read"] += 1
                    else:
                        assert "d/only-outside" not in [info.path for info in files.listdir("d")]
                        outcomes["listed"] += 1
                except GodwitError as error:
                    outcomes[type(error).__name__] += 1
        assert (outside / "secret").read_bytes() == SECRET
        assert sorted(os.listdir(outside)) == ["only-outside", "secret"]
        assert min(outcomes["read"], outcomes["written"], outcomes["listed"], outcomes["PathEscape"]) > 0, outcomes

    @pytest.mark.parametrize("use_ripgrep", [True, False])
    async def test_a_search_never_tells_of_what_is_outside(self, inside: Path, outside: Path, use_ripgrep: bool) -> None:
        workspace = LocalWorkspace(inside, use_ripgrep=use_ripgrep)
        with _swapping("folder", inside, outside):
            for _ in range(40):
                try:
                    hits = await workspace.grep("outside|inside", "d")
                    found = await workspace.glob("**/*")
                except GodwitError:
                    continue
                assert all(line == "inside" for _, _, line in hits)
                assert all(info.size == len(b"inside") for info in found)

    def test_no_descriptor_is_left_open(self, inside: Path, outside: Path) -> None:
        files = Confined(str(inside), str(inside))
        before = len(os.listdir("/dev/fd"))
        with _swapping("folder", inside, outside):
            for path in ("d/secret", "d/../d/secret", "x/y", "d/secret/x", "..", "d/.."):
                for _ in range(50):
                    try:
                        files.read(path)
                    except GodwitError:
                        pass
        files.write("deep/er/f", b"")
        files.listdir("deep/er")
        assert len(os.listdir("/dev/fd")) == before
