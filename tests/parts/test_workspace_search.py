"""glob and grep of LocalWorkspace: each test with ripgrep and without, which must not differ."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from godwit.core.errors import ToolFailed
from godwit.workspaces import search
from godwit.workspaces.globs import glob_regex, name_regex
from godwit.workspaces.local import LocalWorkspace


@pytest.fixture(params=["ripgrep", "python"])
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> LocalWorkspace:
    folder = tmp_path / "w"
    folder.mkdir()
    return LocalWorkspace(folder, use_ripgrep=request.param == "ripgrep")


def fill(workspace: LocalWorkspace, files: dict[str, str | bytes]) -> None:
    for path, content in files.items():
        target = Path(workspace.root, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())


async def found(workspace: LocalWorkspace, pattern: str, path: str = ".") -> list[str]:
    return sorted(info.path for info in await workspace.glob(pattern, path))


def test_ripgrep_is_really_used_here() -> None:
    program = search.ripgrep()
    assert program is not None
    assert b"ripgrep" in subprocess.run([program, "--version"], capture_output=True, check=True).stdout


class TestGlob:
    async def test_patterns(self, workspace: LocalWorkspace) -> None:
        fill(
            workspace, dict.fromkeys(["a.py", "b.txt", ".hidden.py", "s/c.py", "s/t/d.py", "s/t/e.pyi", ".config/f.py"], "")
        )
        assert await found(workspace, "*.py") == [".hidden.py", "a.py"]
        assert await found(workspace, "**/*.py") == [".config/f.py", ".hidden.py", "a.py", "s/c.py", "s/t/d.py"]
        assert await found(workspace, "s/**") == ["s/c.py", "s/t/d.py", "s/t/e.pyi"]
        assert await found(workspace, "s/*/*.{py,pyi}") == ["s/t/d.py", "s/t/e.pyi"]
        assert await found(workspace, "./s//?.py") == ["s/c.py"]
        assert await found(workspace, "[ab].*") == ["a.py", "b.txt"]
        assert await found(workspace, "*.py", "s") == ["s/c.py"]
        assert await found(workspace, "**/d.py", "s") == ["s/t/d.py"]
        assert await found(workspace, "*.py", str(Path(workspace.root, "s/t"))) == ["s/t/d.py"]
        assert await found(workspace, "nothing*") == []

    async def test_newest_first_and_limited(self, workspace: LocalWorkspace) -> None:
        fill(workspace, dict.fromkeys(["old", "b", "a", "new"], ""))
        for name, when in [("old", 100), ("b", 200), ("a", 200), ("new", 300)]:
            os.utime(Path(workspace.root, name), (when, when))
        assert [i.path for i in await workspace.glob("*")] == ["new", "a", "b", "old"]
        assert [i.path for i in await workspace.glob("*", limit=2)] == ["new", "a"]
        assert await workspace.glob("*", limit=0) == []

    async def test_only_files_count(self, workspace: LocalWorkspace) -> None:
        fill(workspace, {"d/f": "", "g": ""})
        Path(workspace.root, "link").symlink_to("g")
        Path(workspace.root, "folder").symlink_to("d")
        os.mkfifo(Path(workspace.root, "pipe"))
        assert await found(workspace, "**") == ["d/f", "g"]
        assert await found(workspace, "*", "folder") == ["d/f"]

    async def test_broken_questions(self, workspace: LocalWorkspace) -> None:
        fill(workspace, {"f": ""})
        for pattern, path, words in [
            ("../*", ".", "leads upwards"),
            ("{a", ".", "not closed"),
            ("[a", ".", "not closed"),
            ("/", ".", "is empty"),
            ("*", "missing", "there is no such"),
            ("*", "f", "is a file"),
        ]:
            with pytest.raises(ToolFailed, match=words):
                await workspace.glob(pattern, path)

    async def test_odd_names(self, workspace: LocalWorkspace) -> None:
        names = ["with space", "new\nline", "ümlaut", "[x]", "{y}", "-dash", "a\\b"]
        fill(workspace, dict.fromkeys(names, "text"))
        assert await found(workspace, "*") == sorted(names)
        assert [p for p, _, _ in await workspace.grep("text")] == sorted(names)
        assert await found(workspace, "\\[x\\]") == ["[x]"]


class TestIgnored:
    async def test_what_gitignore_names_is_left_out(self, workspace: LocalWorkspace) -> None:
        fill(
            workspace,
            {
                ".gitignore": "*.log\n/build/\n!keep.log\n# comment\n\nnode_modules\ndoc/*.txt\n",
                "a.log": "x",
                "keep.log": "x",
                "s/b.log": "x",
                "build/x": "x",
                "s/build/x": "x",
                "node_modules/m/x": "x",
                "doc/x.txt": "x",
                "doc/s/x.txt": "x",
                "s/.gitignore": "!b.log\nlocal\n",
                "s/local": "x",
                "local": "x",
                ".git/x": "x",
                "s/.git": "x",
            },
        )
        seen = [".gitignore", "doc/s/x.txt", "keep.log", "local", "s/.gitignore", "s/b.log", "s/build/x"]
        assert await found(workspace, "**") == seen
        assert [p for p, _, _ in await workspace.grep("^x")] == [p for p in seen if "gitignore" not in p]

    async def test_rules_from_above_hold_below(self, workspace: LocalWorkspace) -> None:
        fill(
            workspace,
            {
                ".gitignore": "*.log\n/s/t/secret\ns/*.tmp\n",
                "s/.gitignore": "*.bak\n/t/own\n!important.log\nt/*.o\n",
                "s/t/a.log": "x",
                "s/t/important.log": "x",
                "s/t/secret": "x",
                "s/t/b.bak": "x",
                "s/t/own": "x",
                "s/t/c.tmp": "x",
                "s/t/m.o": "x",
                "s/t/u/m.o": "x",
                "s/t/ok": "x",
            },
        )
        seen = ["s/t/c.tmp", "s/t/important.log", "s/t/ok", "s/t/u/m.o"]
        for path in ("s/t", "s", "."):
            assert [p for p in await found(workspace, "**", path) if "gitignore" not in p] == seen
            assert [p for p, _, _ in await workspace.grep("^x", path)] == seen

    async def test_an_ignored_folder_can_be_named(self, workspace: LocalWorkspace) -> None:
        fill(workspace, {".gitignore": "vendor\n*.log\n", "vendor/a/x": "x", "vendor/b.log": "x"})
        assert await found(workspace, "**") == [".gitignore"]
        assert await found(workspace, "**", "vendor") == ["vendor/a/x", "vendor/b.log"]
        assert await found(workspace, "**", "vendor/a") == ["vendor/a/x"]
        assert [p for p, _, _ in await workspace.grep("x", "vendor/a")] == ["vendor/a/x"]
        assert await workspace.grep("x", "vendor/a/x") == [("vendor/a/x", 1, "x")]

    async def test_rules_from_outside_do_not_count(self, workspace: LocalWorkspace) -> None:
        Path(workspace.root).parent.joinpath(".gitignore").write_text("*.py\n")
        fill(workspace, {"a.py": "x", ".ignore": "*.py", ".rgignore": "*.py", ".git/info/exclude": "*.py"})
        assert await found(workspace, "*.py") == ["a.py"]
        assert await found(workspace, "*.py", ".") == ["a.py"]

    async def test_folders_with_pattern_signs(self, workspace: LocalWorkspace) -> None:
        fill(workspace, {"[s]*/.gitignore": "/x\ny\n", "[s]*/t/x": "", "[s]*/t/y": "", "[s]*/t/z": ""})
        assert await found(workspace, "**", "[s]*/t") == ["[s]*/t/x", "[s]*/t/z"]


class TestGrep:
    async def test_lines_by_path_and_number(self, workspace: LocalWorkspace) -> None:
        fill(workspace, {"b": "one\ntwo one\nthree\none", "a/x": "none\n", "a-b": "one\n", "empty": ""})
        assert await workspace.grep("one") == [
            ("a-b", 1, "one"),
            ("a/x", 1, "none"),
            ("b", 1, "one"),
            ("b", 2, "two one"),
            ("b", 4, "one"),
        ]
        assert await workspace.grep("^one$", "b") == [("b", 1, "one"), ("b", 4, "one")]
        assert await workspace.grep("ONE", "a") == []
        assert await workspace.grep("ONE", "a", ignore_case=True) == [("a/x", 1, "none")]
        assert await workspace.grep("zzz") == []
        assert len(await workspace.grep("one", limit=2)) == 2
        assert await workspace.grep("one", limit=0) == []

    async def test_file_filter(self, workspace: LocalWorkspace) -> None:
        fill(
            workspace,
            {"a.py": "x", "s/b.py": "x", "s/c.txt": "x", "s/t/d.pyi": "x", ".gitignore": "ignored.py", "ignored.py": "x"},
        )
        for glob, paths in [
            ("*.py", ["a.py", "s/b.py"]),
            ("*.{py,pyi}", ["a.py", "s/b.py", "s/t/d.pyi"]),
            ("s/*.py", ["s/b.py"]),
            ("s/**/*.pyi", ["s/t/d.pyi"]),
            ("?.txt", ["s/c.txt"]),
        ]:
            assert [p for p, _, _ in await workspace.grep("x", glob=glob)] == paths
        assert [p for p, _, _ in await workspace.grep("x", "s", glob="*.py")] == ["s/b.py"]
        assert await workspace.grep("x", "a.py", glob="*.py") == [("a.py", 1, "x")]
        assert await workspace.grep("x", "a.py", glob="*.txt") == []

    async def test_encodings(self, workspace: LocalWorkspace) -> None:
        fill(
            workspace,
            {
                "crlf": "word\r\nother word\r\n",
                "binary": b"word\n\0word\n",
                "late": b"word\n" + b"x" * 100_000 + b"\0",
                "latin": "wörd word\n".encode("latin-1"),
                "utf16": "word\nwörd\n".encode("utf-16"),
                "bom": "\ufeffword\n".encode(),
                "umlaut": "wörd\n",
            },
        )
        assert await workspace.grep("word$") == [
            ("bom", 1, "word"),
            ("crlf", 1, "word"),
            ("crlf", 2, "other word"),
            ("latin", 1, "w\ufffdrd word"),
            ("utf16", 1, "word"),
        ]
        assert await workspace.grep("^w.rd$", "umlaut") == [("umlaut", 1, "wörd")]
        assert await workspace.grep("^w.rd$", "utf16") == [("utf16", 1, "word"), ("utf16", 2, "wörd")]

    async def test_long_lines_are_cut(self, workspace: LocalWorkspace) -> None:
        fill(workspace, {"f": "a" * 50_000 + "needle\n" + "needle:1:x\n"})
        assert await workspace.grep("needle") == [("f", 1, "a" * 10_000), ("f", 2, "needle:1:x")]

    async def test_expressions_one_engine_does_not_know(self, workspace: LocalWorkspace) -> None:
        fill(workspace, {"f": "foobar\nfoobaz\nabab\n"})
        assert await workspace.grep("foo(?!bar)") == [("f", 2, "foobaz")]
        assert await workspace.grep(r"(ab)\1") == [("f", 3, "abab")]
        with pytest.raises(ToolFailed, match="regular expression '\\(' is broken"):
            await workspace.grep("(")

    async def test_patterns_that_look_like_options(self, workspace: LocalWorkspace) -> None:
        fill(workspace, {"f": "--files\n-e\n"})
        assert await workspace.grep("--files") == [("f", 1, "--files")]
        assert await workspace.grep("-e") == [("f", 2, "-e")]

    async def test_links_are_not_followed(self, workspace: LocalWorkspace, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out/f").write_text("word")
        fill(workspace, {"f": "word"})
        Path(workspace.root, "link").symlink_to(tmp_path / "out/f")
        Path(workspace.root, "folder").symlink_to(tmp_path / "out")
        assert await workspace.grep("word") == [("f", 1, "word")]

    async def test_unreadable_files_are_passed_over(self, workspace: LocalWorkspace) -> None:
        fill(workspace, {"a": "word", "b": "word"})
        Path(workspace.root, "a").chmod(0)
        if os.access(Path(workspace.root, "a"), os.R_OK):
            pytest.skip("nothing is unreadable for this user")
        assert await workspace.grep("word") == [("b", 1, "word")]

    async def test_cancelling_ends_the_search(self, workspace: LocalWorkspace) -> None:
        fill(workspace, {f"d{i}/f{j}": "word\n" * 50 for i in range(20) for j in range(20)})
        task = asyncio.create_task(workspace.grep("word", limit=10**9))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_ripgrep_that_does_not_work_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "rg"
    broken.write_text("#!/bin/sh\nexit 2\n")
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "w").mkdir()
    (tmp_path / "w/f").write_text("word")
    for program in (str(broken), str(tmp_path / "missing")):
        workspace = LocalWorkspace(tmp_path / "w")
        monkeypatch.setattr(workspace._search, "_program", program)
        assert await workspace.grep("word") == [("f", 1, "word")]
        assert [i.path for i in await workspace.glob("*")] == ["f"]


NAMES = st.sampled_from(["a", "b", "ab", "a.b", "build", "x.log"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
RULES = st.lists(
    st.builds(
        "".join,
        st.tuples(
            st.sampled_from(["", "", "!"]),
            st.sampled_from(["", "/", "**/"]),
            st.lists(st.sampled_from(["a", "b", "*", "a*", "?", "*.log", "[ab]", "**"]), min_size=1, max_size=3).map(
                "/".join
            ),
            st.sampled_from(["", "", "/"]),
        ),
    ),
    max_size=4,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(paths=st.sets(PATHS, min_size=1, max_size=8), rules=RULES, inner=RULES, where=NAMES)
def test_both_ways_find_the_same(
    tmp_path_factory: pytest.TempPathFactory, paths: set[str], rules: list[str], inner: list[str], where: str
) -> None:
    root = tmp_path_factory.mktemp("w")
    for path in sorted(paths, key=len, reverse=True):
        target = root / path
        if not target.exists() and all(not p.is_file() for p in target.parents):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("word\n")
    (root / ".gitignore").write_text("\n".join(rules))
    starts = ["."]
    if (root / where).is_dir():
        (root / where / ".gitignore").write_text("\n".join(inner))
        starts += [where, *(str(p.relative_to(root)) for p in (root / where).iterdir() if p.is_dir())]
    one, other = LocalWorkspace(root), LocalWorkspace(root, use_ripgrep=False)

    async def compare() -> None:
        for start in starts:
            assert await found(one, "**", start) == await found(other, "**", start)
            assert await one.grep("word", start) == await other.grep("word", start)

    asyncio.run(compare())


class TestPatterns:
    @pytest.mark.parametrize(
        ("pattern", "yes", "no"),
        [
            ("*.py", ["a.py", ".py"], ["d/a.py", "a.pyc", "a.py\n"]),
            ("**/*.py", ["a.py", "d/e/a.py"], ["a.txt"]),
            ("**", ["a", "a/b"], []),
            ("a/**", ["a/b", "a/b/c"], ["a", "b/a"]),
            ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab", "a/xb"]),
            ("a**b", ["ab", "axb"], ["a/b"]),
            ("{a,b/**}/c", ["a/c", "b/x/y/c"], ["c", "d/c"]),
            ("{a,{b,c}d}", ["a", "bd", "cd"], ["b", "d"]),
            ("[!a]", ["b", "^"], ["a", "/"]),
            ("[a-c]x", ["bx"], ["dx"]),
            ("[]a]", ["]", "a"], ["b"]),
            ("[^]]", ["a"], ["]"]),
            ("[--z]", ["-", "a"], ["/"]),
            ("a,b", ["a,b"], ["a"]),
            ("a}", ["a}"], ["a"]),
            ("\\*", ["*"], ["a"]),
            ("a.b+(c)|$", ["a.b+(c)|$"], ["aXb"]),
            ("[&&||~~]", ["&", "|", "~"], ["a"]),
        ],
    )
    def test_globs(self, pattern: str, yes: list[str], no: list[str]) -> None:
        regex = glob_regex(pattern)
        assert [p for p in yes if not regex.match(p)] == []
        assert [p for p in no if regex.match(p)] == []

    def test_filters_match_names_anywhere(self) -> None:
        assert name_regex("*.py").match("a/b/c.py")
        assert name_regex("b/*.py").match("b/c.py")
        assert not name_regex("b/*.py").match("a/b/c.py")
