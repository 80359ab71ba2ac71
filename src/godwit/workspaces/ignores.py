"""The rules of one `.gitignore` file, as git and ripgrep read them.

A rule is matched against one path, relative to the file's folder, and not against the folders above it: whoever walks stops
at a folder that is ignored. The last rule that matches decides. Knows no files.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .globs import bracket


class Rule(NamedTuple):
    """`text`: the rule as written, without `!`. `anchored`: it names a path, not a name in any folder."""

    text: str
    regex: re.Pattern[str]
    negated: bool
    folders_only: bool
    anchored: bool


class Ignores:
    """Rules in the order they were written; lines that are none are passed over."""

    def __init__(self, content: bytes) -> None:
        lines = content.decode("utf-8", "surrogateescape").removeprefix("\ufeff").split("\n")
        self._rules = [rule for line in lines if (rule := _rule(line)) is not None]

    def says(self, path: str, is_folder: bool) -> bool | None:
        """True when the path is ignored, False when it is not to be, None when no rule is about it."""
        for rule in reversed(self._rules):
            if (is_folder or not rule.folders_only) and rule.regex.match(path):
                return not rule.negated
        return None

    def from_above(self, folder: str) -> list[str]:
        """The rules as lines of an ignore file that stands as many folders higher as `folder` has."""
        prefix = re.sub(r"([\\*?\[\]{}])", r"\\\1", folder) + "/" if folder else ""
        lines = []
        for rule in self._rules:
            where = f"/{prefix}" if rule.anchored else f"/{prefix}**/"
            lines.append(("!" if rule.negated else "") + where + rule.text.lstrip("/"))
        return lines


def _rule(line: str) -> Rule | None:
    text = re.sub(r"(?<!\\)((?:\\\\)*) +$", r"\1", line.removesuffix("\r"))
    if not text or text.startswith("#"):
        return None
    negated = text.startswith("!")
    text = text[1:] if negated else text
    folders_only = text.endswith("/")
    body = text.rstrip("/") if folders_only else text
    anchored = "/" in body
    body = body.removeprefix("/")
    if not body:
        return None
    try:
        regex = re.compile(("" if anchored else "(?:.*/)?") + _translated(body) + r"\Z", re.DOTALL)
    except re.error:
        return None
    return Rule(text, regex, negated, folders_only, anchored)


def _translated(body: str) -> str:
    out: list[str] = []
    at = 0
    while at < len(body):
        char = body[at]
        start = at == 0 or body[at - 1] == "/"
        if start and body.startswith("**/", at):
            out.append("(?:.*/)?")
            at += 3
        elif start and body[at:] == "**":
            out.append(".+")
            at += 2
        elif char == "*":
            out.append("[^/]*")
            at += 1
        elif char == "?":
            out.append("[^/]")
            at += 1
        elif char == "[" and (found := bracket(body, at)) is not None:
            out.append(found[0])
            at = found[1]
        elif char == "\\" and at + 1 < len(body):
            out.append(re.escape(body[at + 1]))
            at += 2
        else:
            out.append(re.escape(char))
            at += 1
    return "".join(out)
