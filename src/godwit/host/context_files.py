"""Context files: instructions that stand in files, AGENTS.md or CLAUDE.md, told to the model as its sessions begin.

    ~/.config/godwit/AGENTS.md, ~/.claude/CLAUDE.md     the person's own: the first that is there
    <root>/AGENTS.md ... <workspace>/AGENTS.md          from the repository's root down to the folder

Owns which files count, in which order, and what `@file` in them brings in. In each folder it is AGENTS.md, or CLAUDE.md
where there is none. Rules a change must keep: nothing is read that leads out of the repository (of the person's own: out of
their folder) through `..` or a link, and nothing that the session's rules keep from being read; sizes and depths are
bounded; a file that is wrong hides no other one and is told.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ..core.errors import GodwitError
from ..workspaces.confined import Confined
from .found_files import Bad, expanded, text_of

NAMES = ("AGENTS.md", "CLAUDE.md")
OWN = ("~/.config/godwit/AGENTS.md", "~/.claude/CLAUDE.md")
IMPORT_DEPTH = 5
TOTAL_LIMIT = 128 * 1024
"""Bytes of all files together; each may have as many as a command file (64 KiB)."""
HIGHEST = 32
"""How many folders above the workspace are looked at."""

_FENCE = re.compile(r"^\s*(```|~~~)")
_CODE = re.compile(r"`[^`\n]*`")
_IMPORT = re.compile(r"(?<![\w`@/.])@((?:~/|\./|\.\./|/)?[\w.\-/]*[\w\-/])")


class ContextFile(NamedTuple):
    """A file that was read. `shown`: its path as people know it; `text`: without blank lines around it."""

    shown: str
    text: str


class ContextFiles(NamedTuple):
    """In the order in which the model reads them: the later ones are nearer to the folder. `problems`: what is left out."""

    files: tuple[ContextFile, ...]
    problems: tuple[str, ...]


def load(workspace: str | None, may_read: Callable[[str], bool] = lambda _: True) -> ContextFiles:
    """What counts for sessions in this folder. `may_read`: of a path, below the folder or absolute. Blocking."""
    reading = _Reading()
    for own in OWN:
        path = os.path.realpath(expanded(own))  # people keep such files elsewhere, and link them
        if os.path.isfile(path):
            reading.take(_Place(os.path.dirname(path), lambda _: True, os.path.dirname(own)), path)
            break
    if workspace is not None:
        folder = os.path.realpath(workspace)
        root = repository_root(folder)
        place = _Place(root, lambda path: may_read(_below(path, folder)), folder)
        for above in _folders(root, folder):
            name = next((name for name in NAMES if os.path.lexists(os.path.join(above, name))), None)
            if name is not None:
                reading.take(place, os.path.join(above, name))
    return ContextFiles(tuple(reading.files), tuple(reading.problems))


def repository_root(folder: str) -> str:
    """The nearest folder at or above this one that holds `.git`; the folder itself where there is none."""
    at = folder
    for _ in range(HIGHEST):
        if os.path.lexists(os.path.join(at, ".git")):
            return at
        above = os.path.dirname(at)
        if above == at:
            break
        at = above
    return folder


def _folders(root: str, folder: str) -> Iterator[str]:
    yield root
    at = root
    for part in os.path.relpath(folder, root).split("/"):
        if part != ".":
            at = os.path.join(at, part)
            yield at


def _below(path: str, folder: str) -> str:
    relative = os.path.relpath(path, folder)
    return path if relative.startswith("..") else relative


class _Place(NamedTuple):
    """Where files may lie, whether one may be read, and how paths are shown: with `~` as they stand there, or else from the
    workspace."""

    root: str
    may_read: Callable[[str], bool]
    shown: str

    def name(self, path: str) -> str:
        if self.shown.startswith("~"):
            return os.path.normpath(f"{self.shown}/{os.path.relpath(path, self.root)}")
        return os.path.relpath(path, self.shown)


class _Reading:
    def __init__(self) -> None:
        self.files: list[ContextFile] = []
        self.problems: list[str] = []
        self._taken: set[str] = set()
        self._left = TOTAL_LIMIT

    def take(self, place: _Place, path: str, depth: int = 0, by: str = "") -> None:
        """A file, behind those that it imports. `by`: where it is asked for."""
        path = os.path.normpath(path)
        shown = place.name(path)
        said = f"{by}: @{shown}" if by else shown
        if path in self._taken:
            return
        self._taken.add(path)
        confined, relative = Confined(place.root, place.root), os.path.relpath(path, place.root)
        try:
            if relative.startswith(".."):
                raise Bad(
                    None, f"lies outside {place.shown if place.shown.startswith('~') else place.root}, and is not read"
                )
            info = confined.info(relative)
            if info is None or info.kind != "file":
                if by:
                    return  # a word with an @, and no file
                raise Bad(None, "is no regular file")
            if not place.may_read(os.path.realpath(path)):
                raise Bad(None, "must not be read, as the session's rules say")
            if info.size > self._left:
                raise Bad(None, f"is left out: more than {TOTAL_LIMIT:,} bytes of instructions")
            text = text_of(confined.read(relative)).strip()
        except Bad as bad:
            where = f"{said}:{bad.line}" if bad.line else said
            self.problems.append(f"{where}: {bad.message}")
            return
        except GodwitError as error:
            self.problems.append(f"{said}: {error.message}")
            return
        self._left -= info.size
        for line, named in imports_in(text):
            if depth == IMPORT_DEPTH:
                self.problems.append(f"{shown}:{line}: @{named} is left out: imports are followed {IMPORT_DEPTH} deep")
                continue
            target = os.path.expanduser(named)
            self.take(place, os.path.join(os.path.dirname(path), target), depth + 1, f"{shown}:{line}")
        if text:
            self.files.append(ContextFile(shown, text))


def imports_in(text: str) -> Sequence[tuple[int, str]]:
    """The paths behind an `@`, each with its line, from 1; none of code. One without a dot or a slash is a name."""
    found: list[tuple[int, str]] = []
    fenced: str | None = None
    for number, line in enumerate(text.split("\n"), 1):
        if mark := _FENCE.match(line):
            fenced = None if fenced == mark[1] else fenced or mark[1]
            continue
        if fenced is None:
            found += [(number, m[1]) for m in _IMPORT.finditer(_CODE.sub("", line)) if "." in m[1] or "/" in m[1]]
    return found


__all__ = ["ContextFile", "ContextFiles", "load", "repository_root"]
