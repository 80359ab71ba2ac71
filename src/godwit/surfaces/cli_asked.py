"""What a person is asked to approve, in full: the lines of a command as they are, a change to a file as a diff, all else as
JSON.

Rule: whatever the call would do stands in these lines. Nothing is dropped, characters that would not be seen are made
visible, and text of many lines stands behind a bar, so that it cannot pass for a line of ours. `shortened` alone leaves
lines out, and counts them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import ToolFailed
from .cli_words import counted, visible

HEAD_LINES, TAIL_LINES = 30, 10
"""What is shown of a longer call before somebody wants to see all of it."""
MAX_WIDTH = 2_000
"""Characters of one line; a longer one is shown by its beginning and its end."""
MAX_FILE_BYTES = 2_000_000
MAX_DIFF_LINES = 20_000
_BAR = "  │ "


@dataclass(frozen=True)
class Line:
    text: str
    style: str = ""


def asked(name: str, arguments: dict[str, Any], folder: str | None = None) -> list[Line]:
    """The whole call. `folder`: the session's workspace, where the file stands that it would change."""
    lines = [Line(f"  {_flat(name)}", "bold")]
    rest = dict(arguments)
    path = rest.get("file_path")
    if isinstance(path, str):
        change = _change(name, rest, path, folder)
        if change is not None:
            shown, told = change
            lines.append(_named("file_path", path))
            for key in ("file_path", *told):
                rest.pop(key, None)
            return [*lines, *(line for key, value in rest.items() for line in _argument(key, value)), *shown]
    return [*lines, *(line for key, value in rest.items() for line in _argument(key, value))]


def shortened(lines: list[Line]) -> tuple[list[Line], int]:
    """Head and tail of what is long, with the count of lines that are not, or not wholly, shown (0: all of it is)."""
    narrow = [_narrow(line) for line in lines]
    cut = sum(one is not other for one, other in zip(narrow, lines, strict=True))
    hidden = len(lines) - HEAD_LINES - TAIL_LINES
    if hidden <= 2:
        return narrow, cut
    inside = sum(one is not other for one, other in list(zip(narrow, lines, strict=True))[HEAD_LINES:-TAIL_LINES])
    gap = Line(f"  … {hidden} more lines", "yellow")
    return [*narrow[:HEAD_LINES], gap, *narrow[-TAIL_LINES:]], hidden + cut - inside


def _narrow(line: Line) -> Line:
    if len(line.text) <= MAX_WIDTH:
        return line
    half = MAX_WIDTH // 2
    left = len(line.text) - 2 * half
    return Line(f"{line.text[:half]} … {left} more characters … {line.text[-half:]}", line.style)


def _argument(key: str, value: Any) -> list[Line]:
    if isinstance(value, str):
        return [_named(key, value)] if "\n" not in value else [_named(key, f"({counted(value)})"), *block(value)]
    text = json.dumps(value, ensure_ascii=False, default=str)
    if len(text) <= 100:
        return [_named(key, text)]
    return [Line(f"  {_flat(key)}:"), *block(json.dumps(value, ensure_ascii=False, indent=2, default=str))]


def _named(key: str, value: str) -> Line:
    return Line(f"  {_flat(key)}: {_flat(value)}")


def _flat(text: str) -> str:
    return visible(text).replace("\n", "␊")


def block(text: str, mark: str = "", style: str = "") -> list[Line]:
    """Text of many lines, behind a bar."""
    return [Line(f"{_BAR}{mark}{visible(line)}", style) for line in _lines(text)]


def _lines(text: str) -> list[str]:
    """Split at line feeds alone: any other character that could end a line is shown instead."""
    return text.removesuffix("\n").split("\n") if text else []


# --- changes to files -------------------------------------------------------------------------------------------------


def _change(
    name: str, arguments: dict[str, Any], path: str, folder: str | None
) -> tuple[list[Line], tuple[str, ...]] | None:
    """The lines of a change, and the arguments they tell whole. None when this is no call that changes a file."""
    match name, arguments:
        case "write", {"content": str(content)}:
            return _written(path, content, folder), ("content",)
        case "edit", {"old_string": str(old), "new_string": str(new)}:
            return _edited(path, old, new, bool(arguments.get("replace_all")), folder), ("old_string", "new_string")
        case "patch", {"diff": str(diff)}:
            return [Line(f"  diff ({counted(diff)}):"), *_coloured(diff)], ("diff",)
        case _:
            return None


def _written(path: str, content: str, folder: str | None) -> list[Line]:
    before, why = _present(path, folder)
    if before is not None:
        made = _diff(path, before, content)
        if made == []:
            return [Line("  changes nothing: the file holds this already")]
        if made is not None:
            return [Line("  changes the file so:"), *made]
        why = "replaces the file, which differs too much for a diff"
    if not content:
        return [Line(f"  {why}; empty")]
    ends = "" if content.endswith("\n") else ", no line feed at its end"
    return [Line(f"  {why}; {counted(content)}{ends}:"), *block(content, "+", "green")]


def _edited(path: str, old: str, new: str, everywhere: bool, folder: str | None) -> list[Line]:
    from ..tools.files import replaced

    before, _ = _present(path, folder)
    why = "there is no such text file now"
    if before is not None:
        try:
            after, count = replaced(before, old, new, path, all_of_them=everywhere)
            made = _diff(path, before, after)
            if made:
                return [Line(f"  changes the file so ({count} place{'s' * (count != 1)}):"), *made]
            why = "differs too much for a diff"
        except ToolFailed as error:
            why = f"cannot be done as the file is now ({_flat(str(error))})"
    return [Line(f"  {why}; replaces"), *block(old, "-", "red"), Line("  by"), *block(new, "+", "green")]


def _present(path: str, folder: str | None) -> tuple[str | None, str]:
    """The text of the file as it is, or None and what is to be said instead of a diff."""
    try:
        file = Path(folder or ".", path)
        if not file.exists():
            return None, "a new file"
        if not file.is_file() or file.stat().st_size > MAX_FILE_BYTES:
            return None, "replaces what is there"
        # Bytes: the line ends of the file are part of the change.
        return file.read_bytes().decode(), ""
    except (OSError, ValueError):  # not to be read, no path, no text
        return None, "replaces what is there"


def _diff(path: str, before: str, after: str) -> list[Line] | None:
    """The change as a diff, empty when there is none, None when it is too long to make."""
    from ..tools import unified_diff

    made = unified_diff.make(path, before, after, limit=MAX_DIFF_LINES)
    if made is None:
        return None
    return _coloured("".join(made.split("\n", 2)[2:]))


def _coloured(diff: str) -> list[Line]:
    styles = {"+": "green", "-": "red", "@": "cyan"}
    return [
        Line(f"{_BAR}{visible(line)}", styles.get(line[:1], "dim")) for line in diff.removesuffix("\n").split("\n") if diff
    ]
