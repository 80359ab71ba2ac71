"""The rules of one `.gitignore` file, as git and ripgrep read them.

A rule is matched against one path, relative to the file's folder, and not against the folders above it: whoever walks stops
at a folder that is ignored. The last rule that matches decides. Knows no files.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .globs import bracket

_MAX_DEEP = 3
"""Of `**` in one rule: the time grows with the depth of the path to that power. Rules of more are none."""


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
    if not body or body.count("**") > _MAX_DEEP:
        return None
    try:
        regex = re.compile(("" if anchored else "(?:.*/)?") + _translated(body) + r"\Z", re.DOTALL)
    except re.error:
        return None
    return Rule(text, regex, negated, folders_only, anchored)


def _translated(body: str) -> str:
    """As a regular expression that takes time linear in the path for each part of the pattern: whoever writes an ignore file
    must not be able to hold up who reads it. What stands between two stars of one name matches where it first can, and is
    not tried again elsewhere; that loses nothing, since a later place would only leave less for the rest.
    """
    out: list[str] = []
    at = 0
    while at < len(body):
        start = at == 0 or body[at - 1] == "/"
        if start and body.startswith("**/", at):
            out.append("(?:.*/)?")
            at += 3
        elif start and body[at:] == "**":
            out.append(".+")
            at += 2
        elif body[at] == "*":
            while at < len(body) and body[at] == "*":
                at += 1
            fixed: list[str] = []
            while at < len(body) and body[at] not in "*/":
                piece, at = _fixed(body, at)
                fixed.append(piece)
            chunk = "".join(fixed)
            another = at < len(body) and body[at] == "*"
            out.append(f"(?>[^/]*?{chunk})" if another else f"[^/]*{chunk}")
        else:
            piece, at = _fixed(body, at)
            out.append(piece)
    return "".join(out)


def _fixed(body: str, at: int) -> tuple[str, int]:
    """What matches one character, and where the pattern goes on."""
    char = body[at]
    if char == "?":
        return "[^/]", at + 1
    if char == "[" and (found := bracket(body, at)) is not None:
        return found
    if char == "\\" and at + 1 < len(body):
        return re.escape(body[at + 1]), at + 2
    return re.escape(char), at + 1
