"""Glob patterns over workspace paths: `*`, `?`, `[a-z]`, `[!a]`, `{a,b}`, and `**` which crosses folders.

Paths are relative, with `/`. `*` and `?` match names that begin with a dot as well. Knows no files.
"""

from __future__ import annotations

import re

from ..core.errors import ToolFailed


def glob_regex(pattern: str) -> re.Pattern[str]:
    """What matches a whole path. ToolFailed when the pattern is broken or leads upwards."""
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if not parts:
        raise ToolFailed(f"the glob pattern {pattern!r} is empty")
    if ".." in parts:
        raise ToolFailed(f"the glob pattern {pattern!r} leads upwards: name the folder with 'path' instead")
    try:
        return re.compile(_translated("/".join(parts), pattern), re.DOTALL)
    except re.error as error:
        raise ToolFailed(f"the glob pattern {pattern!r} is broken: {error}") from None


def name_regex(pattern: str) -> re.Pattern[str]:
    """As `glob_regex`, but a pattern without `/` matches the name in any folder: a filter, as `*.py`."""
    anchored = "/" in pattern.strip("/")
    return glob_regex(pattern if anchored else f"**/{pattern.strip('/')}")


def _translated(text: str, whole: str) -> str:
    out: list[str] = []
    depth = 0
    at = 0
    while at < len(text):
        char = text[at]
        start = at == 0 or text[at - 1] in "/{,"
        if text.startswith("**/", at) and start:
            out.append("(?:[^/]+/)*")
            at += 3
        elif text.startswith("**", at):
            out.append(".*" if start and at + 2 == len(text) else "[^/]*" if not start else ".*")
            at += 2
        elif char == "*":
            out.append("[^/]*")
            at += 1
        elif char == "?":
            out.append("[^/]")
            at += 1
        elif char == "[":
            found = bracket(text, at)
            if found is None:
                raise ToolFailed(f"the glob pattern {whole!r} is broken: a '[' is not closed")
            out.append(found[0])
            at = found[1]
        elif char == "{":
            out.append("(?:")
            depth += 1
            at += 1
        elif char == "}" and depth:
            out.append(")")
            depth -= 1
            at += 1
        elif char == "," and depth:
            out.append("|")
            at += 1
        elif char == "\\" and at + 1 < len(text):
            out.append(re.escape(text[at + 1]))
            at += 2
        else:
            out.append(re.escape(char))
            at += 1
    if depth:
        raise ToolFailed(f"the glob pattern {whole!r} is broken: a '{{' is not closed")
    return "".join(out) + r"\Z"


def bracket(text: str, at: int) -> tuple[str, int] | None:
    """The `[...]` that begins at `at` as a regular expression, and where the text goes on; None when it is not closed."""
    negated = text[at + 1 : at + 2] in ("!", "^")
    first = at + 1 + negated
    end = text.find("]", first + 1)
    if end < 0:
        return None
    inner = re.sub(r"([\\\[\]^&~|])", r"\\\1", text[first:end])
    return f"(?!/)[{'^' if negated else ''}{inner}]", end + 1
