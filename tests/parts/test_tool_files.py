"""The file tools, over a real folder: what they do and what they tell."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st
from tests.files import pdf, png
from tests.parts.tool_context import Context, call, context_in, text

from godwit.contracts import Tool
from godwit.core.errors import InvalidToolArguments, PathEscape, ToolFailed
from godwit.core.messages import Document, Image, Text
from godwit.tools.files import Edit, Glob, Grep, Ls, Patch, Read, Write, replaced
from godwit.tools.unified_diff import apply

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
ALL: list[Tool] = [Read(), Write(), Edit(), Patch(), Ls(), Glob(), Grep()]


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return context_in(tmp_path)


class TestRead:
    async def test_numbered_lines(self, context: Context, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("one\n\n\tthree")
        assert await text(Read(), context, file_path="f") == "     1\tone\n     2\t\n     3\t\tthree"

    async def test_offset_and_limit(self, context: Context, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("".join(f"line {n}\n" for n in range(1, 11)))
        assert await text(Read(), context, file_path="f", offset=2, limit=2) == (
            "     3\tline 3\n     4\tline 4\n(6 more lines, continue with offset=4)"
        )
        assert await text(Read(), context, file_path="f", offset=9) == "    10\tline 10"
        assert await text(Read(), context, file_path="f", offset=10) == "(end of file: f has 10 lines)"
        with pytest.raises(ToolFailed, match=r"^Offset 11 exceeds file length \(10 lines\)$"):
            await text(Read(), context, file_path="f", offset=11)

    async def test_at_most_2000_lines(self, context: Context, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("x\n" * 2500)
        shown = (await text(Read(), context, file_path="f", limit=5000)).split("\n")
        assert shown[-2:] == ["  2000\tx", "(500 more lines, continue with offset=2000)"]
        assert (await text(Read(), context, file_path="f", offset=2000)).count("\n") == 499

    async def test_it_stops_before_the_engine_would_cut(self, context: Context, tmp_path: Path) -> None:
        (tmp_path / "f").write_text(("ä" * 1000 + "\n") * 200)
        seen = offset = 0
        while offset < 200:
            shown = await text(Read(), context, file_path="f", offset=offset)
            assert len(shown.encode()) < 100 * 1024
            seen += shown.count("ä" * 1000)
            offset = int(shown.rpartition("=")[2][:-1]) if "continue with" in shown else 200
        assert seen == 200

    async def test_long_lines(self, context: Context, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("x" * 2000 + "\n" + "y" * 2001)
        first, second = (await text(Read(), context, file_path="f")).split("\n")
        assert first == "     1\t" + "x" * 2000
        assert second == "     2\t" + "y" * 2000 + " [line cut: it has 2001 characters]"

    async def test_line_endings_and_marks_are_not_shown(self, context: Context, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"\xef\xbb\xbfa\r\nb\r\n")
        assert await text(Read(), context, file_path="f") == "     1\ta\n     2\tb"

    async def test_empty_file(self, context: Context, tmp_path: Path) -> None:
        (tmp_path / "f").touch()
        assert await text(Read(), context, file_path="f") == "(end of file: the file is empty)"

    async def test_images(self, context: Context, tmp_path: Path) -> None:
        for name, content, media_type in [
            ("a.png", PNG, "image/png"),
            ("b", b"\xff\xd8\xff\xe0 jpeg", "image/jpeg"),
            ("c.txt", b"GIF89a...", "image/gif"),
            ("d", b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        ]:
            (tmp_path / name).write_bytes(content)
            output = await call(Read(), context, file_path=name)
            assert output.content[1] == Image(media_type, content)

    async def test_pdfs_are_documents(self, context: Context, tmp_path: Path) -> None:
        (tmp_path / "plan.txt").write_bytes(pdf(3))
        output = await call(Read(), context, file_path="plan.txt")
        told = f"plan.txt: application/pdf, {len(pdf(3))} bytes"
        assert output.content == (Text(told), Document("application/pdf", pdf(3), name="plan.txt"))

    async def test_what_providers_would_refuse_is_not_shown(self, context: Context, tmp_path: Path) -> None:
        for name, content, words in (
            ("wide.png", png(8001, 5), "8001 x 5 pixels, too large to show: make a smaller one"),
            ("heavy.png", png(9, 9, size=4_000_000), "4000000 bytes and 9 x 9 pixels, too large"),
            ("long.pdf", pdf(101), "101 pages, too large to show: take a part of it"),
            ("heavy.pdf", pdf(1, size=21_000_000), "too large to show"),
        ):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(ToolFailed, match=words):
                await call(Read(), context, file_path=name)
        (tmp_path / "good.png").write_bytes(png(8000, 5, size=3_900_000))
        await call(Read(), context, file_path="good.png")

    async def test_what_is_no_text(self, context: Context, tmp_path: Path) -> None:
        (tmp_path / "binary").write_bytes(b"\x7fELF\0\1")
        (tmp_path / "latin").write_bytes(b"caf\xe9\n")
        (tmp_path / "huge.png").write_bytes(PNG + bytes(6_000_000))
        (tmp_path / "sparse").touch()
        os.truncate(tmp_path / "sparse", 10**10)
        for name, words in [
            ("binary", "binary file of 6 bytes: look at it with bash"),
            ("huge.png", "too large to show"),
            ("sparse", "too many to load: use bash"),
            ("missing", "there is no file 'missing'"),
            (".", "is a folder: use ls"),
        ]:
            with pytest.raises(ToolFailed, match=words):
                await text(Read(), context, file_path=name)
        assert await text(Read(), context, file_path="latin") == (
            "     1\tcaf\ufffd\n(not all of the file is UTF-8: what is not is shown as \ufffd)"
        )

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({}, "parameter 'file_path' is missing"),
            ({"file_path": "f", "offset": -1}, "parameter 'offset': expected int >= 0"),
            ({"file_path": "f", "limit": 0}, "parameter 'limit': expected int >= 1"),
            ({"file_path": "f", "limit": -5}, "parameter 'limit': expected int >= 1"),
            ({"file_path": "f", "limit": "many"}, "parameter 'limit': expected int, got str"),
            ({"file_path": "f", "path": "g"}, "unknown parameter 'path'; it takes file_path, offset, limit"),
            ({"file_path": ""}, "parameter 'file_path': expected str of length >= 1"),
            ({"file_path": None}, "parameter 'file_path': expected str, got null"),
        ],
    )
    def test_wrong_arguments(self, arguments: dict[str, Any], words: str) -> None:
        with pytest.raises(InvalidToolArguments, match=f"^invalid arguments for tool 'read': {words}"):
            Read().validate(arguments)

    async def test_numbers_may_come_as_text(self, context: Context, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("a\nb\n")
        assert await text(Read(), context, file_path="f", offset="1") == "     2\tb"


class TestWrite:
    async def test_new_and_old(self, context: Context, tmp_path: Path) -> None:
        output = await call(Write(), context, file_path="a/b/f", content="one\ntwo\n")
        assert output.content[0].text == "Created: wrote 8 bytes (2 lines) to a/b/f"  # type: ignore[union-attr]
        assert output.metadata["before"] is None
        assert await text(Write(), context, file_path="a/b/f", content="ä") == "Wrote 2 bytes (1 line) to a/b/f"
        assert (tmp_path / "a/b/f").read_text() == "ä"
        assert await text(Write(), context, file_path="a/b/f", content="") == "Wrote 0 bytes (0 lines) to a/b/f"

    async def test_what_people_are_told(self, context: Context, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("a\nb\nc\n")
        output = await call(Write(), context, file_path="f", content="a\nB\nc\n")
        assert output.metadata["before"] == "sha256:" + hashlib.sha256(b"a\nb\nc\n").hexdigest()
        assert output.metadata["after"] == "sha256:" + hashlib.sha256(b"a\nB\nc\n").hexdigest()
        assert output.metadata["diff"].startswith("--- a/f\n+++ b/f\n@@ -1,")
        assert "\n-b\n+B\n" in output.metadata["diff"]

    async def test_the_diff_is_bounded(self, context: Context, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("\n".join(f"old {n}" for n in range(1500)))
        output = await call(Write(), context, file_path="f", content="\n".join(f"new {n}" for n in range(1500)))
        assert len(output.metadata["diff"]) < 17_000
        output = await call(Write(), context, file_path="f", content="x\n" * 100_000)
        assert output.metadata["diff"] == "(the diff is too long)"

    async def test_what_cannot_be_written(self, context: Context, tmp_path: Path) -> None:
        (tmp_path / "d").mkdir()
        with pytest.raises(ToolFailed, match="it is a folder"):
            await text(Write(), context, file_path="d", content="")
        with pytest.raises(ToolFailed, match="lone surrogate"):
            await text(Write(), context, file_path="f", content="\ud800")
        assert sorted(os.listdir(tmp_path)) == ["d"]


class TestEdit:
    async def test_one_and_all(self, context: Context, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("a b a\n")
        assert await text(Edit(), context, file_path="f", old_string="b", new_string="c") == "Replaced 1 occurrence(s) in f"
        output = await call(Edit(), context, file_path="f", old_string="a", new_string="", replace_all=True)
        assert output.metadata["replacements"] == 2
        assert (tmp_path / "f").read_text() == " c \n"

    @pytest.mark.parametrize(
        ("old", "new", "words"),
        [
            ("", "x", "^old_string must not be empty"),
            ("zzz", "x", "^old_string not found in f$"),
            ("a", "x", "^old_string found 3 times in f. Use replace_all=true"),
            ("a", "a", "are equal: there is nothing to change"),
            ("    b  a", "x", "^old_string not found in f. Line 2 differs from it only in white space"),
        ],
    )
    async def test_refusals(self, old: str, new: str, words: str, context: Context, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("a\n\tb  a\na\n")
        with pytest.raises(ToolFailed, match=words):
            await text(Edit(), context, file_path="f", old_string=old, new_string=new)
        assert (tmp_path / "f").read_text() == "a\n\tb  a\na\n"

    async def test_line_endings_survive(self, context: Context, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"\xef\xbb\xbfa\r\nb\r\nc\r\n")
        await call(Edit(), context, file_path="f", old_string="a\nb", new_string="x\ny\nz")
        assert (tmp_path / "f").read_bytes() == b"\xef\xbb\xbfx\r\ny\r\nz\r\nc\r\n"
        with pytest.raises(ToolFailed, match="only in line endings"):
            await call(Edit(), context, file_path="f", old_string="y\r\nz", new_string="y\nz")
        (tmp_path / "mixed").write_bytes(b"a\r\nb\nc")
        await call(Edit(), context, file_path="mixed", old_string="b", new_string="x")
        assert (tmp_path / "mixed").read_bytes() == b"a\r\nx\nc"

    async def test_what_is_no_text_is_not_damaged(self, context: Context, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"caf\xe9 a")
        with pytest.raises(ToolFailed, match="not UTF-8 text"):
            await text(Edit(), context, file_path="f", old_string="a", new_string="b")
        assert (tmp_path / "f").read_bytes() == b"caf\xe9 a"

    @given(st.text("ab\n\r", max_size=30), st.text("ab\n", min_size=1, max_size=3), st.text("abc\n", max_size=4))
    def test_properties(self, content: str, old: str, new: str) -> None:
        assume(old != new)
        crlf = "\r\n" in content and content.count("\r\n") == content.count("\n")
        plain = content.replace("\r\n", "\n") if crlf else content
        if old not in plain:
            with pytest.raises(ToolFailed):
                replaced(content, old, new, "f", all_of_them=True)
            return
        result, count = replaced(content, old, new, "f", all_of_them=True)
        assert count == plain.count(old)
        expected = plain.replace(old, new)
        assert result == (expected.replace("\n", "\r\n") if crlf else expected)
        if count > 1:
            with pytest.raises(ToolFailed, match=f"found {count} times"):
                replaced(content, old, new, "f", all_of_them=False)

    @settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(before=st.lists(st.sampled_from("abcd"), min_size=1, max_size=30), new=st.sampled_from(["x", "x\ny", ""]))
    async def test_the_diff_told_is_the_change_made(self, before: list[str], new: str, tmp_path: Path) -> None:
        old = "\n".join(before) + "\n"
        (tmp_path / "f").write_text(old)
        output = await call(
            Edit(), context_in(tmp_path), file_path="f", old_string=before[0], new_string=new, replace_all=True
        )
        assert apply(output.metadata["diff"], old) == (tmp_path / "f").read_text()


class TestLooking:
    async def test_ls(self, context: Context, tmp_path: Path) -> None:
        assert await text(Ls(), context) == "(the folder is empty)"
        (tmp_path / "d").mkdir()
        (tmp_path / "f").write_text("123")
        (tmp_path / "l").symlink_to("f")
        assert await text(Ls(), context) == "d/\nf\t3\nl@"
        assert await text(Ls(), context, path="d") == "(the folder is empty)"
        with pytest.raises(ToolFailed, match="no folder"):
            await text(Ls(), context, path="f")
        for number in range(1100):
            (tmp_path / f"d/{number:04}").touch()
        rows = (await text(Ls(), context, path="d")).split("\n")
        assert len(rows) == 1001
        assert rows[-1] == "(100 more: use glob or bash)"

    async def test_glob(self, context: Context, tmp_path: Path) -> None:
        (tmp_path / "a.py").touch()
        assert await text(Glob(), context, pattern="**/*.py") == "a.py"
        assert await text(Glob(), context, pattern="*.txt") == "(no file matches *.txt)"
        for number in range(1001):
            (tmp_path / f"{number:04}").touch()
        rows = (await text(Glob(), context, pattern="*")).split("\n")
        assert len(rows) == 1001
        assert rows[-1] == "(there are more than 1000: narrow the pattern)"

    async def test_grep(self, context: Context, tmp_path: Path) -> None:
        (tmp_path / "a.py").write_text("one\ntwo\n" + "long " * 200)
        (tmp_path / "b.txt").write_text("two\n")
        assert await text(Grep(), context, pattern="^two") == "a.py:2:two\nb.txt:1:two"
        assert await text(Grep(), context, pattern="TWO", glob="*.txt", ignore_case=True) == "b.txt:1:two"
        assert await text(Grep(), context, pattern="zzz") == "(no line matches zzz)"
        assert (await text(Grep(), context, pattern="long")).endswith("long long  [line cut: it has 1000 characters]")
        assert await text(Grep(), context, pattern="two", limit=1) == (
            "a.py:2:two\n(there are more than 1: narrow the pattern or the path)"
        )

    async def test_names_that_are_no_text(self, context: Context, tmp_path: Path) -> None:
        try:
            (tmp_path / os.fsdecode(b"\xff")).write_text("word")
        except OSError:
            pytest.skip("this file system takes only UTF-8 names")
        for tool, arguments in [(Ls(), {}), (Glob(), {"pattern": "*"}), (Grep(), {"pattern": "word"})]:
            assert "\\udcff" in await text(tool, context, **arguments)  # type: ignore[arg-type]


class TestAll:
    def test_traits(self) -> None:
        assert [t.definition.name for t in ALL if t.traits.repeatable] == ["read", "write", "ls", "glob", "grep"]
        assert [t.definition.name for t in ALL if t.traits.read_only] == ["read", "ls", "glob", "grep"]
        assert not any(t.traits.exclusive or t.traits.external for t in ALL)

    def test_locks(self, context: Context, tmp_path: Path) -> None:
        (tmp_path / "d").mkdir()
        (tmp_path / "link").symlink_to("d")
        locked = {name: {t.locks({"file_path": name}, context.place) for t in (Write(), Edit(), Patch())} for name in (
            "d/f", "./d/../d/f", str(tmp_path / "d/f"), "link/f"
        )}  # fmt: skip
        assert {frozenset(v) for v in locked.values()} == {frozenset({frozenset({str(tmp_path / "d/f")})})}
        assert [t.locks({"file_path": "d/f", "path": "d"}, context.place) for t in (Read(), Ls(), Glob(), Grep())] == [
            frozenset()
        ] * 4

    def test_schemas_are_plain(self) -> None:
        for one in ALL:
            schema = one.definition.parameters
            assert schema["type"] == "object"
            assert schema["additionalProperties"] is False
            assert "$ref" not in str(schema)
            assert all(p.get("description") or p.get("anyOf") for p in schema["properties"].values())

    async def test_an_escape_is_an_error_of_the_tool(self, context: Context) -> None:
        for tool, arguments in [
            (Read(), {"file_path": "../x"}),
            (Write(), {"file_path": "/etc/x", "content": ""}),
            (Edit(), {"file_path": "../x", "old_string": "a", "new_string": "b"}),
            (Patch(), {"file_path": "../x", "diff": ""}),
            (Ls(), {"path": ".."}),
            (Glob(), {"pattern": "*", "path": "/"}),
            (Grep(), {"pattern": "x", "path": ".."}),
        ]:
            with pytest.raises(ToolFailed, match="workspace") as caught:
                await call(tool, context, **arguments)  # type: ignore[arg-type]
            assert caught.value.details["reason"] == PathEscape.code

    async def test_without_a_workspace(self) -> None:
        with pytest.raises(ToolFailed, match="no workspace"):
            await call(Read(), Context(), file_path="f")
