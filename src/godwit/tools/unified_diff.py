"""A strict unified diff for one file: making it, parsing it, applying it.

Strict means that a diff either says exactly what is in the file or is refused: the counts of a hunk's header equal its body,
context and removed lines stand where the header says and equal the file, hunks are in order and do not overlap, "\\ No
newline at end of file" is honoured both ways, and nothing stands outside the hunks but the usual file headers. Nothing is
searched for, nothing is guessed. Line endings: a file of LF or of CRLF keeps its own, whichever of the two the diff is
written in; a file or a diff that mixes them is refused. Works on text, touches no file.
"""

from __future__ import annotations

import difflib
import re

import msgspec

from ..core.errors import ToolFailed

_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@(?: .*)?$")
_HEADERS = ("diff --git ", "index ", "--- ", "+++ ")
_NO_NEWLINE = "\\ No newline at end of file"


class Line(msgspec.Struct, frozen=True):
    """A line without its ending; `ended` is False for a last line that has none."""

    text: str
    ended: bool = True


class Hunk(msgspec.Struct, frozen=True):
    """`start` is the index, from 0, of the first line it takes away; `at` is its header's line number in the diff."""

    number: int
    at: int
    start: int
    old: tuple[Line, ...]
    new: tuple[Line, ...]


def apply(diff: str, content: str) -> str:
    """The content as the diff leaves it. ToolFailed, naming the hunk, when it does not fit exactly."""
    body = content.removeprefix("\ufeff")
    ending = _ending(body)
    hunks = parse(diff, crlf=ending == "\r\n")
    lines = _lines(body, ending)
    result: list[Line] = []
    done = 0
    for hunk in hunks:
        if hunk.start < done:
            raise _wrong(hunk, f"it begins at line {hunk.start + 1}, before the end of the hunk above it")
        if hunk.start > len(lines):
            raise _wrong(hunk, f"it begins at line {hunk.start + 1}, but the file has {len(lines)} lines")
        result += lines[done : hunk.start]
        for index, expected in enumerate(hunk.old, hunk.start):
            if index >= len(lines):
                raise _wrong(hunk, f"it expects {expected.text!r} at line {index + 1}, but the file has {len(lines)} lines")
            found = lines[index]
            if found.text != expected.text:
                raise _wrong(hunk, _mismatch(hunk, lines, index))
            if found.ended != expected.ended:
                state = "ends with a" if found.ended else "has no"
                raise _wrong(hunk, f"line {index + 1} of the file {state} newline, and the diff says otherwise")
        result += hunk.new
        done = hunk.start + len(hunk.old)
    result += lines[done:]
    for hunk in hunks:
        if any(not line.ended for line in hunk.new) and not (done == len(lines) and hunk is hunks[-1]):
            raise _wrong(hunk, f"{_NO_NEWLINE!r} stands at a line that would not be the last of the file")
    changed = "".join(line.text + (ending if line.ended else "") for line in result)
    if changed == body:
        raise ToolFailed("the diff changes nothing")
    return content[: len(content) - len(body)] + changed


def make(path: str, old: str, new: str, *, limit: int) -> str | None:
    """The diff from one text to the other, which `apply` takes; empty when they are equal, None when it is too long to make.

    `limit`: the most lines between the first and the last difference. Line endings are kept in the lines.
    """
    one, other = old.split("\n"), new.split("\n")
    # difflib is quadratic: it gets only what lies between the equal ends, and three lines of each.
    start = end = 0
    shorter = min(len(one), len(other))
    while start < shorter and one[start] == other[start]:
        start += 1
    while end < shorter - start and one[-1 - end] == other[-1 - end]:
        end += 1
    if old == new:
        return ""
    if max(len(one), len(other)) - start - end > limit:
        return None
    skip, tail = max(0, start - 4), max(0, end - 4)
    before = [line + "\n" for line in one[skip : len(one) - tail]]
    after = [line + "\n" for line in other[skip : len(other) - tail]]
    if not tail:  # what follows the last line feed is a line only when there is something
        before[-1], after[-1] = before[-1][:-1], after[-1][:-1]
    rows = [f"--- a/{path}\n", f"+++ b/{path}\n"]
    before, after = [line for line in before if line], [line for line in after if line]
    for group in difflib.SequenceMatcher(None, before, after).get_grouped_opcodes(3):
        first, last = group[0], group[-1]
        old_count, new_count = last[2] - first[1], last[4] - first[3]
        old_start, new_start = first[1] + skip + (old_count > 0), first[3] + skip + (new_count > 0)
        rows.append(f"@@ -{old_start},{old_count} +{new_start},{new_count} @@\n")
        for kind, a, b, c, d in group:
            if kind == "equal":
                rows += [" " + line for line in before[a:b]]
            else:
                rows += ["-" + line for line in before[a:b]] + ["+" + line for line in after[c:d]]
    return "".join(row if row.endswith("\n") else f"{row}\n{_NO_NEWLINE}\n" for row in rows)


def parse(diff: str, *, crlf: bool = False) -> list[Hunk]:
    """The hunks of a diff for a file of LF (or CRLF) endings. ToolFailed when it is no strict unified diff."""
    rows = diff.removesuffix("\n").split("\n")
    travelled = rows if diff.endswith("\n") else rows[:-1]
    if travelled and all(row.endswith("\r") for row in travelled):  # the diff as a whole was made CRLF on its way
        rows = [row.removesuffix("\r") for row in rows]
    while rows and not rows[-1].strip("\r"):
        rows.pop()
    if not any(row.startswith("@@") for row in rows):
        raise ToolFailed("No @@ hunk headers found in diff")
    at = _skip_headers(rows)
    hunks: list[Hunk] = []
    while at < len(rows):
        hunk, at = _hunk(rows, at, len(hunks) + 1)
        hunks.append(hunk)
    return _endings_checked(hunks, crlf)


def _skip_headers(rows: list[str]) -> int:
    at = 0
    seen = -1
    while at < len(rows) and not rows[at].startswith("@@"):
        kind = next((i for i, header in enumerate(_HEADERS) if rows[at].startswith(header)), None)
        if kind is None or kind <= seen:
            raise ToolFailed(f"line {at + 1} of the diff stands outside any hunk: {_shown(rows[at])}")
        seen = kind
        at += 1
    return at


def _hunk(rows: list[str], at: int, number: int) -> tuple[Hunk, int]:
    header = rows[at].removesuffix("\r")
    found = _HUNK.match(header)
    if not found:
        if header.startswith("@@"):
            raise ToolFailed(
                f"hunk {number} (line {at + 1} of the diff): {_shown(header)} is no header like @@ -1,3 +1,4 @@"
            )
        raise ToolFailed(
            f"line {at + 1} of the diff stands outside any hunk: {_shown(rows[at])}; "
            f"check the counts in the header of hunk {number - 1}"
        )
    first, old_count = int(found[1]), int(found[2] or 1)
    new_count = int(found[4] or 1)
    old: list[Line] = []
    new: list[Line] = []
    here = at + 1

    def fail(problem: str) -> ToolFailed:
        return ToolFailed(f"hunk {number} (line {at + 1} of the diff): {problem}", hunk=number)

    if first == 0 and old_count:
        raise fail("lines are counted from 1")
    while here < len(rows):
        row = rows[here]
        sides: list[list[Line]]
        if row.startswith("\\"):
            if row.removesuffix("\r") != _NO_NEWLINE:
                raise fail(f"line {here + 1} of the diff is {_shown(row)}, expected {_NO_NEWLINE!r}")
            before = rows[here - 1][:1] or " "
            sides = {"-": [old], "+": [new], " ": [old, new], "": [old, new]}.get(before, [])
            if here == at + 1 or not sides:
                raise fail(f"{_NO_NEWLINE!r} follows no line")
            for side in sides:
                side[-1] = Line(side[-1].text, False)
            here += 1
            continue
        if len(old) == old_count and len(new) == new_count:
            break
        # Many editors strip the single space of an empty context line; the counts leave no doubt about what it is.
        mark, text = (row[0], row[1:]) if row.strip("\r") else (" ", row[1:] if row[:1] == " " else row)
        if mark not in " +-":
            raise fail(
                f"line {here + 1} of the diff, {_shown(row)}, begins with none of ' ', '+', '-', and the header promises "
                f"{old_count} old and {new_count} new lines; {len(old)} and {len(new)} were found"
            )
        sides = {"-": [old], "+": [new], " ": [old, new]}[mark]
        for side in sides:
            side.append(Line(text))
        if len(old) > old_count or len(new) > new_count:
            break
        here += 1
    if len(old) != old_count or len(new) != new_count:
        raise fail(
            f"the header promises {old_count} old and {new_count} new lines, the body has "
            f"{len(old)}{'+' if len(old) > old_count else ''} and {len(new)}{'+' if len(new) > new_count else ''}"
        )
    for lines in (old, new):
        if any(not line.ended for line in lines[:-1]):
            raise fail(f"{_NO_NEWLINE!r} stands at a line that is not the last")
    # With no old lines the header names the line behind which the new ones go.
    start = first - 1 if old_count else first
    return Hunk(number, at + 1, start, tuple(old), tuple(new)), here


def _endings_checked(hunks: list[Hunk], crlf: bool) -> list[Hunk]:
    lines = [line for hunk in hunks for line in (*hunk.old, *hunk.new)]
    ended = [line for line in lines if line.ended]
    marked = sum(line.text.endswith("\r") for line in ended)
    if marked and not crlf:
        raise ToolFailed("the diff has CRLF line endings and the file LF: write the diff with LF")
    if marked and marked != len(ended):
        raise ToolFailed("the diff mixes LF and CRLF line endings")
    strip = bool(marked)

    def plain(line: Line) -> Line:
        text = line.text.removesuffix("\r") if strip and line.ended else line.text
        if "\r" in text:
            raise ToolFailed("the diff has a carriage return inside a line: CR-only line endings are not supported")
        return Line(text, line.ended)

    return [
        Hunk(h.number, h.at, h.start, tuple(plain(line) for line in h.old), tuple(plain(line) for line in h.new))
        for h in hunks
    ]


def _ending(content: str) -> str:
    pairs = content.count("\r\n")
    returns, feeds = content.count("\r"), content.count("\n")
    if returns > pairs:
        raise ToolFailed(
            "the file has carriage returns without line feeds: CR-only and mixed line endings are not supported"
        )
    if pairs and feeds > pairs:
        raise ToolFailed("the file mixes LF and CRLF line endings: use edit, or make them equal first")
    return "\r\n" if pairs else "\n"


def _lines(content: str, ending: str) -> list[Line]:
    if not content:
        return []
    *ended, last = content.split(ending)
    lines = [Line(text) for text in ended]
    if last:
        lines.append(Line(last, False))
    return lines


def _wrong(hunk: Hunk, problem: str) -> ToolFailed:
    return ToolFailed(f"hunk {hunk.number} (line {hunk.at} of the diff) does not apply: {problem}", hunk=hunk.number)


def _mismatch(hunk: Hunk, lines: list[Line], index: int) -> str:
    expected = hunk.old[index - hunk.start]
    problem = f"line {index + 1} of the file is {_shown(lines[index].text)}, the diff expects {_shown(expected.text)}"
    wanted = [line.text for line in hunk.old]
    have = [line.text for line in lines]
    places = [
        i + 1 for i in range(len(have) - len(wanted) + 1) if have[i] == wanted[0] and have[i : i + len(wanted)] == wanted
    ]
    if len(places) == 1:
        problem += f". Its old lines stand at line {places[0]}: correct the header"
    return problem


def _shown(text: str) -> str:
    return repr(text if len(text) <= 100 else text[:97] + "...")
