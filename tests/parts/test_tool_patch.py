"""The strict unified diff: it applies exactly, or nothing happens."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
from hypothesis import assume, given, strategies as st
from tests.parts.tool_context import call, context_in, text

from godwit.core.errors import ToolFailed
from godwit.tools.files import Patch
from godwit.tools.unified_diff import apply, make

FILE = "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\nten\n"
DIFF = """\
--- a/f
+++ b/f
@@ -1,3 +1,3 @@
 one
-two
+TWO
 three
@@ -8,3 +8,4 @@ context of the hunk
 eight
 nine
+nine and a half
 ten
"""
CHANGED = FILE.replace("two", "TWO").replace("nine\n", "nine\nnine and a half\n")


def by_difflib(old: str, new: str, context: int = 3) -> str:
    """The diff that difflib makes, with git's marks for a missing newline at the end."""
    rows = difflib.unified_diff(split(old), split(new), "a/f", "b/f", n=context)
    return "".join(row if row.endswith("\n") else f"{row}\n\\ No newline at end of file\n" for row in rows)


def split(content: str) -> list[str]:
    """Lines as files have them: difflib's own way would take a form feed for a line's end."""
    *lines, last = content.split("\n")
    return [line + "\n" for line in lines] + ([last] if last else [])


class TestApplying:
    def test_two_hunks(self) -> None:
        assert apply(DIFF, FILE) == CHANGED

    @pytest.mark.parametrize(
        "before",
        ["", "diff --git a/f b/f\nindex 83db48f..bf2a1c0 100644\n"],
    )
    def test_headers(self, before: str) -> None:
        assert apply(before + DIFF, FILE) == CHANGED
        assert apply(DIFF[DIFF.index("@@") :], FILE) == CHANGED

    def test_short_header(self) -> None:
        assert apply("@@ -1 +1 @@ ctx\n-a\n+b\n", "a\n") == "b\n"
        assert apply("@@ -1 +1 @@\n-a\n+b", "a\n") == "b\n"

    def test_insertion_without_old_lines(self) -> None:
        assert apply("@@ -0,0 +1,2 @@\n+a\n+b\n", "") == "a\nb\n"
        assert apply("@@ -0,0 +1 @@\n+a\n", "z\n") == "a\nz\n"
        assert apply("@@ -1,0 +2 @@\n+b\n", "a\nc\n") == "a\nb\nc\n"
        assert apply("@@ -2,0 +3 @@\n+c\n", "a\nb\n") == "a\nb\nc\n"

    def test_removing_everything(self) -> None:
        assert apply("@@ -1,2 +0,0 @@\n-a\n-b\n", "a\nb\n") == ""

    def test_newline_at_the_end(self) -> None:
        mark = "\\ No newline at end of file\n"
        assert apply(f"@@ -1 +1 @@\n-a\n{mark}+a\n", "a") == "a\n"
        assert apply(f"@@ -1 +1 @@\n-a\n+a\n{mark}", "a\n") == "a"
        assert apply(f"@@ -1,2 +1,2 @@\n-a\n+b\n z\n{mark}", "a\nz") == "b\nz"
        assert apply(f"@@ -1 +1 @@\n-a\n{mark}+b\n{mark}", "a") == "b"

    def test_an_empty_context_line_may_have_lost_its_space(self) -> None:
        assert apply("@@ -1,3 +1,3 @@\n a\n\n-b\n+c\n", "a\n\nb\n") == "a\n\nc\n"

    def test_line_endings_are_the_files(self) -> None:
        crlf = FILE.replace("\n", "\r\n")
        assert apply(DIFF, crlf) == CHANGED.replace("\n", "\r\n")
        assert apply(DIFF.replace("\n", "\r\n"), crlf) == CHANGED.replace("\n", "\r\n")
        assert apply(DIFF.replace("\n", "\r\n"), FILE) == CHANGED
        body_only = "".join(
            row if row.startswith(("---", "+++", "@@")) else row.replace("\n", "\r\n") for row in DIFF.splitlines(True)
        )
        assert apply(body_only, crlf) == CHANGED.replace("\n", "\r\n")

    def test_byte_order_mark_survives(self) -> None:
        assert apply(DIFF, "\ufeff" + FILE) == "\ufeff" + CHANGED

    def test_other_line_separators_are_text(self) -> None:
        assert apply("@@ -1 +1 @@\n-a\x0cb\u2028c\x85\n+d\x0ce\n", "a\x0cb\u2028c\x85\n") == "d\x0ce\n"


REFUSED = {
    "nothing": ("", "No @@ hunk headers found in diff"),
    "no hunk": ("--- a/f\n+++ b/f\n", "No @@ hunk headers found in diff"),
    "prose before": ("Here it is:\n" + DIFF, "line 1 of the diff stands outside any hunk"),
    "prose after": (DIFF + "That was it.\n", "line 13 of the diff stands outside any hunk.*counts in the header of hunk 2"),
    "prose between": (DIFF.replace("@@ -8", "and\n@@ -8"), "line 8 of the diff stands outside any hunk"),
    "one line too many": (DIFF.replace(" ten\n", " ten\n+more\n"), "outside any hunk"),
    "old count too small": (DIFF.replace("-1,3", "-1,2"), "hunk 1 .*promises 2 old and 3 new"),
    "old count too large": (DIFF.replace("-1,3", "-1,4"), "hunk 1 .*promises 4 old and 3 new"),
    "new count too small": (DIFF.replace("+8,4", "+8,3"), "hunk 2 .*promises 3 old and 3 new"),
    "new count too large": (DIFF.replace("+8,4", "+8,5"), "hunk 2 .*promises 3 old and 5 new.*has 3 and 4"),
    "wrong context": (DIFF.replace(" one", " ONE"), "hunk 1 .*line 1 of the file is 'one', the diff expects 'ONE'"),
    "wrong removed line": (DIFF.replace("-two", "-too"), "hunk 1 .*line 2 of the file is 'two'"),
    "white space differs": (DIFF.replace(" nine\n", " nine \n"), "hunk 2 .*line 9"),
    "wrong place": (DIFF.replace("-8,3", "-7,3"), "hunk 2 .*Its old lines stand at line 8"),
    "past the end": (DIFF.replace("-8,3", "-80,3"), "hunk 2 .*the file has 10 lines"),
    "runs past the end": ("@@ -10,2 +10,1 @@\n-ten\n-eleven\n+x\n", "hunk 1 .*'eleven' at line 11"),
    "line zero": (DIFF.replace("-1,3", "-0,3"), "hunk 1 .*counted from 1"),
    "out of order": ("@@ -8 +8 @@\n-eight\n+8\n@@ -1 +1 @@\n-one\n+1\n", "hunk 2 .*before the end of the hunk above"),
    "overlapping": ("@@ -1,2 +1,2 @@\n one\n-two\n+2\n@@ -2 +2 @@\n-two\n+3\n", "hunk 2 .*before the end"),
    "broken header": ("@@ -1,3 @@\n one\n", "hunk 1 .*is no header"),
    "no numbers": ("@@ @@\n-one\n+1\n", "is no header"),
    "bad mark": ("@@ -1,2 +1,2 @@\n one\n*two\n", "begins with none of"),
    "no newline said, one there": (
        "@@ -10 +10 @@\n-ten\n\\ No newline at end of file\n+10\n",
        "line 10 of the file ends with a newline",
    ),
    "no newline in the middle": ("@@ -1 +1 @@\n-one\n+1\n\\ No newline at end of file\n", "would not be the last"),
    "other backslash": ("@@ -1 +1 @@\n-one\n\\ something\n+1\n", "expected"),
    "marker without a line": ("@@ -1 +1 @@\n\\ No newline at end of file\n-one\n+1\n", "follows no line"),
    "nothing changes": ("@@ -1 +1 @@\n one\n", "changes nothing"),
    "two files": (DIFF + DIFF, "outside any hunk"),
    "mixed endings": (DIFF.replace(" one\n", " one\r\n"), "CRLF line endings and the file LF"),
    "rename": ("rename from a\nrename to b\n" + DIFF, "line 1 .*outside any hunk"),
}


class TestRefusing:
    @pytest.mark.parametrize("name", REFUSED)
    async def test_the_file_stays_as_it_was(self, name: str, tmp_path: Path) -> None:
        diff, words = REFUSED[name]
        (tmp_path / "f").write_text(FILE)
        with pytest.raises(ToolFailed, match=words):
            await call(Patch(), context_in(tmp_path), file_path="f", diff=diff)
        assert (tmp_path / "f").read_text() == FILE

    @pytest.mark.parametrize("content", ["a\r\nb\n", "a\rb\r", "a\rb\n", "a\r"])
    def test_files_of_mixed_or_old_endings(self, content: str) -> None:
        with pytest.raises(ToolFailed, match="line endings"):
            apply("@@ -1 +1 @@\n-a\n+b\n", content)

    def test_a_diff_of_mixed_endings(self) -> None:
        with pytest.raises(ToolFailed, match="mixes LF and CRLF"):
            apply("@@ -1,2 +1,2 @@\n-a\r\n+c\n b\r\n", "a\r\nb\r\n")
        with pytest.raises(ToolFailed, match="carriage return"):
            apply("@@ -1 +1 @@\n-a\r\n+c\rd\r\n", "a\r\n")

    def test_a_missing_newline_must_be_said(self) -> None:
        with pytest.raises(ToolFailed, match="line 1 of the file has no newline"):
            apply("@@ -1 +1 @@\n-a\n+b\n", "a")


class TestTool:
    async def test_result(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_text(FILE)
        output = await call(Patch(), context_in(tmp_path), file_path="f", diff=DIFF)
        assert (tmp_path / "f").read_text() == CHANGED
        assert output.metadata["hunks"] == 2
        assert apply(output.metadata["diff"], FILE) == CHANGED

    async def test_what_cannot_be_patched(self, tmp_path: Path) -> None:
        (tmp_path / "latin").write_bytes(b"\xe9\n")
        with pytest.raises(ToolFailed, match="there is no file 'missing'"):
            await text(Patch(), context_in(tmp_path), file_path="missing", diff=DIFF)
        with pytest.raises(ToolFailed, match="not UTF-8"):
            await text(Patch(), context_in(tmp_path), file_path="latin", diff=DIFF)


LINE = st.sampled_from(
    ["", "a", "b", " ", "-", "+", "--- a", "+++ b", "@@ -1 +1 @@", "\\ No newline", "\u2028x", "\x0c", "ä"]
)
CONTENT = st.builds(lambda lines, end: "\n".join(lines) + end, st.lists(LINE, max_size=12), st.sampled_from(["", "\n"]))


class TestProperties:
    @given(old=CONTENT, new=CONTENT)
    def test_our_own_diffs_apply(self, old: str, new: str) -> None:
        for one, other in [(old, new), (old + "same\n" * 9 + new, new + "same\n" * 9 + new)]:
            diff = make("f", one, other, limit=1000)
            assert diff is not None
            if one == other:
                assert diff == ""
            else:
                assert apply(diff, one) == other

    @given(old=CONTENT, new=CONTENT, context=st.integers(0, 4), crlf=st.booleans())
    def test_a_made_diff_gives_the_new_text(self, old: str, new: str, context: int, crlf: bool) -> None:
        assume(old != new)
        diff = by_difflib(old, new, context)
        assert apply(diff, old) == new
        if crlf:
            # A text of one line without an end is neither; what its new lines end with is then LF.
            assume("\n" in old)
            assert apply(diff, old.replace("\n", "\r\n")) == new.replace("\n", "\r\n")

    @given(data=st.data(), old=CONTENT, new=CONTENT)
    def test_a_damaged_diff_does_exactly_what_it_says_or_nothing(self, data: st.DataObject, old: str, new: str) -> None:
        assume(old != new)
        rows = by_difflib(old, new).split("\n")
        at = data.draw(st.integers(0, len(rows) - 1))
        kind = data.draw(st.sampled_from(["drop", "double", "swap", "character", "digit", "cut"]))
        if kind == "drop":
            del rows[at]
        elif kind == "double":
            rows.insert(at, rows[at])
        elif kind == "swap":
            other = data.draw(st.integers(0, len(rows) - 1))
            rows[at], rows[other] = rows[other], rows[at]
        elif kind == "cut":
            rows = rows[:at]
        else:
            row = rows[at]
            place = data.draw(st.integers(0, max(0, len(row) - 1)))
            sign = data.draw(st.sampled_from("0123456789" if kind == "digit" else " +-@ab\\\r"))
            rows[at] = row[:place] + sign + row[place + 1 :]
        diff = "\n".join(rows)
        try:
            result = apply(diff, old)
        except ToolFailed:
            return
        assert result == independent(diff, old)


def independent(diff: str, old: str) -> str:
    """What a diff says, read in another way: every hunk replaces its old text, at its line, by its new text."""
    rows = diff.split("\n")
    rows = rows[: len(rows) - 1] if rows[-1] == "" else rows
    lines = split(old)
    shift = 0
    at = next(i for i, row in enumerate(rows) if row.startswith("@@"))
    while at < len(rows) and rows[at].strip("\r"):
        _, minus, plus, *_ = rows[at].split(" ")
        start, count = (int(n) for n in (minus[1:] + ",1").split(",")[:2])
        new_count = int((plus[1:] + ",1").split(",")[1])
        at += 1
        before: list[str] = []
        after: list[str] = []
        while len(before) < count or len(after) < new_count or (at < len(rows) and rows[at].startswith("\\")):
            row = rows[at] or " "
            at += 1
            if row.startswith("\\"):
                mark = (rows[at - 2] or " ")[0]
                if mark in " -":
                    before[-1] = before[-1].removesuffix("\n")
                if mark in " +":
                    after[-1] = after[-1].removesuffix("\n")
                continue
            if row[0] in " -":
                before.append(row[1:] + "\n")
            if row[0] in " +":
                after.append(row[1:] + "\n")
        first = (start - 1 if count else start) + shift
        assert lines[first : first + count] == before
        lines[first : first + count] = after
        shift += len(after) - len(before)
    return "".join(lines)
