"""Found files: the small files that people lay into folders to add to godwit: slash commands, agents.

Owns where such folders lie, which files in them count and how far they are looked into, and the front matter of Markdown
files. Leaves out what the files mean. Rules a change must keep: what is read does not lead out of its folder through `..` or
a link; sizes and numbers are bounded; a file that is wrong hides no other one.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..core.errors import GodwitError
from ..workspaces.confined import Confined

if TYPE_CHECKING:
    import yaml

FILE_LIMIT = 64 * 1024
"""Bytes of such a file."""
FILES_LIMIT = 500
DEPTH_LIMIT = 8


class Bad(Exception):
    """What is wrong with a file, and where. `line` counts from 1."""

    def __init__(self, line: int | None, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


Mark = tuple[int, ...]
"""What changes when a file does: times, size, number, mode."""


class Found(NamedTuple):
    """A file below a folder. `shown`: its path as people know it."""

    relative: str
    shown: str
    mark: Mark


class Unread(NamedTuple):
    """What could not be looked at, and why."""

    shown: str
    message: str


class FoundFiles:
    """The files of one folder whose names end in one of `endings`. A relative folder lies in `workspace`; without a
    workspace it holds nothing. `what`: what the files are called when there are too many."""

    def __init__(self, folder: str | os.PathLike[str], workspace: str | None, endings: Sequence[str], what: str) -> None:
        self.folder = os.fspath(folder).rstrip("/") or "/"
        self._endings, self._what = tuple(endings), what
        path = expanded(self.folder)
        self._root: str | None
        if path.startswith("/"):
            self._root, self._below = os.path.realpath(path), "."
        else:
            self._root, self._below = workspace, path

    def look(self) -> tuple[list[Found], list[Unread]]:
        """The files as they lie there now, in the order of their names, and what could not be looked at."""
        unread: list[Unread] = []
        if self._root is None or not os.path.isdir(self._root):
            return [], unread
        confined = self._confined()
        try:
            if confined.info(self._below) is None:
                return [], unread
        except GodwitError as error:
            return [], [Unread(self.folder, error.message)]
        top = os.path.normpath(os.path.join(confined.root, self._below))
        found: list[Found] = []
        folders = [("", 0)]
        while folders:
            folder, depth = folders.pop()
            try:
                with os.scandir(os.path.join(top, folder)) as listed:
                    entries = sorted((e for e in listed if not e.name.startswith(".")), key=lambda e: e.name)
            except OSError as error:
                unread.append(Unread(self.shown(folder), f"cannot be read: {error.strerror}"))
                continue
            for entry in entries:
                relative = f"{folder}/{entry.name}" if folder else entry.name
                shown = self.shown(relative)
                try:
                    if entry.is_dir(follow_symlinks=False):
                        if depth < DEPTH_LIMIT:
                            folders.append((relative, depth + 1))
                        else:
                            unread.append(Unread(shown, "lies too deep to be looked into"))
                    elif entry.is_symlink() and entry.is_dir():
                        unread.append(Unread(shown, "is a link to a folder, and those are not followed"))
                    elif entry.name.endswith(self._endings):
                        found.append(Found(relative, shown, _mark(entry.stat())))
                except OSError as error:
                    unread.append(Unread(shown, f"cannot be read: {error.strerror}"))
            if len(found) > FILES_LIMIT:
                message = f"holds more than {FILES_LIMIT} {self._what}; the others are left out"
                unread.append(Unread(self.folder, message))
                break
        return sorted(found)[:FILES_LIMIT], unread

    def content(self, file: Found) -> bytes:
        """Raises Bad, also for a link that leads out."""
        *_, size, _, mode = file.mark
        if not stat.S_ISREG(mode):
            raise Bad(None, "is no regular file")
        check_size(size)
        try:
            return self._confined().read(os.path.join(self._below, file.relative))
        except GodwitError as error:
            raise Bad(None, error.message) from None

    def _confined(self) -> Confined:
        assert self._root is not None
        return Confined(os.path.realpath(self._root), self._root)

    def shown(self, relative: str) -> str:
        return f"{self.folder}/{relative}" if relative else self.folder


def _mark(status: os.stat_result) -> Mark:
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_mode


def expanded(folder: str) -> str:
    config = os.environ.get("XDG_CONFIG_HOME", "")
    if folder.startswith("~/.config/") and config.startswith("/"):
        return f"{config.rstrip('/')}/{folder.removeprefix('~/.config/')}"
    return os.path.expanduser(folder)


# --- what stands in them ----------------------------------------------------------------------------------------------


def check_size(size: int) -> None:
    if size > FILE_LIMIT:
        raise Bad(None, f"has {size:,} bytes, more than the {FILE_LIMIT:,} that such a file may have")


def text_of(content: bytes) -> str:
    """With plain line ends. Bad."""
    check_size(len(content))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Bad(content.count(b"\n", 0, error.start) + 1, f"is not UTF-8: byte {error.start} does not fit") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def front_matter(text: str) -> tuple[str | None, str, int]:
    """What stands between lines of `---` at the top, if anything; the text below it, and its first line's number. Bad."""
    lines = text.split("\n")
    if lines[0].rstrip() != "---":
        return None, text, 1
    end = next((n for n, line in enumerate(lines[1:], 1) if line.rstrip() in ("---", "...")), None)
    if end is None:
        raise Bad(1, "the front matter has no end: a line of --- is missing")
    return "\n".join(lines[1:end]), "\n".join(lines[end + 1 :]), end + 2


class Entry(NamedTuple):
    """A key of a mapping and what stands there. `plain`: as it was written, of a key whose value is a text up to its line's
    end whatever YAML says. `first`: the line of the file in which the YAML begins."""

    key: str
    line: int
    node: yaml.Node
    plain: str | None
    first: int


def entries(source: str, plain_keys: Sequence[str], *, line: int, what: str) -> Iterator[Entry]:
    """The keys of the YAML mapping that begins at this line, each once. `what`: what it is called. Bad."""
    import yaml

    def compose(text: str) -> yaml.Node | None:
        node: yaml.Node | None = yaml.compose(text, yaml.SafeLoader)
        return node

    # People write `argument-hint: [a] [b]` and `description: Fix: the rest`; both are texts to them, and neither is YAML.
    pattern = re.compile(rf"^({'|'.join(map(re.escape, plain_keys))}):[ \t]+(?![\"'|>&*])(\S.*?)[ \t]*$", re.MULTILINE)
    plain = {match[1]: match[2] for match in pattern.finditer(source)}
    quoted = pattern.sub(lambda m: "{}: '{}'".format(m[1], m[2].replace("'", "''")), source)
    try:
        try:
            node = compose(source)
        except yaml.YAMLError:
            node = compose(quoted)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise Bad(line + (mark.line if mark is not None else 0), f"{what} is not YAML: {problem}") from None
    except RecursionError:
        raise Bad(line, f"{what} is not YAML: it is nested too deeply") from None
    if node is None:
        return
    if not isinstance(node, yaml.MappingNode):
        raise Bad(node.start_mark.line + line, f"{what} is no list of key: value")
    seen: set[str] = set()
    for key, value in node.value:
        at = key.start_mark.line + line
        if not isinstance(key, yaml.ScalarNode):
            raise Bad(at, f"a key of {what} is a word")
        if key.value in seen:
            raise Bad(at, f"{key.value!r} stands there twice")
        seen.add(key.value)
        yield Entry(key.value, at, value, plain.get(key.value), line)
