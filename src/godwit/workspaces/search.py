"""Finding files and lines: by ripgrep where it is installed, else by walking ourselves, with the same results.

Ripgrep only nominates: which files there are, and which lines of which files match. It goes by path names, so it could be
led out by a folder that turns into a link under it; therefore every file it names is looked at again through `Confined`, and
what is returned is what was seen there. Ignored: `.git`, and what the `.gitignore` files inside the workspace say, from the
root down; ignore files outside it, of the user or of ripgrep, do not count. A folder that is ignored itself can still be
searched by naming it. Links are not followed. Files with a NUL byte or over 64 MB have no lines. Blocking; the caller brings
the thread.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache

from ..contracts import FileInfo
from ..core.errors import ToolFailed
from .confined import Confined
from .globs import glob_regex, name_regex
from .ignores import Ignores

_MAX_BYTES = 64 * 1024 * 1024
_MAX_LINE = 10_000
"""Longer lines are cut to this many characters."""
_RIPGREP = (
    "--no-config",
    "--no-messages",
    "--color=never",
    "--hidden",
    "--no-require-git",
    "--no-ignore-dot",
    "--no-ignore-exclude",
    "--no-ignore-global",
    "--no-ignore-parent",
    "--glob=!.git",
    "--null",
)
_SIMPLE_NAME = re.compile(r"^[\w.*?-]+$")
Hit = tuple[str, int, str]


@cache
def ripgrep() -> str | None:
    """The `rg` that was installed beside this Python, else the one on the PATH."""
    for folder in (sysconfig.get_path("scripts"), os.path.dirname(sys.executable)):
        beside = os.path.join(folder, "rg")
        if os.access(beside, os.X_OK):
            return beside
    return shutil.which("rg")


class Stop:
    """Ends a search from another thread, and the ripgrep it runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self.stopped = False

    def stop(self) -> None:
        with self._lock:
            self.stopped = True
            if self._process is not None:
                self._process.kill()

    def attach(self, process: subprocess.Popen[bytes] | None) -> None:
        with self._lock:
            self._process = process
            if self.stopped and process is not None:
                process.kill()


class _Unusable(Exception):
    """Ripgrep cannot do this search: it is broken, too old, or does not know the expression."""


class Search:
    """Searches the files of one workspace. `program`: the ripgrep to use, or None to walk ourselves."""

    def __init__(self, files: Confined, program: str | None) -> None:
        self._files = files
        self._program = program

    def glob(self, pattern: str, path: str, limit: int, stop: Stop) -> list[FileInfo]:
        """Regular files, newest first, equal times by path."""
        matches = glob_regex(pattern).match
        start = self._files.resolve(path)
        if start.kind != "directory":
            raise ToolFailed(f"{path!r} is a file: glob searches in a folder")
        if limit <= 0:
            return []
        skip = 0 if start.path == "." else len(start.path) + 1
        candidates = sorted(p for p in self._listing(start.path, stop) if matches(p[skip:]))
        found = list(self._files.stats(candidates))
        found.sort(key=lambda info: (-info.modified_ms, info.path))
        return found[:limit]

    def grep(self, pattern: str, path: str, glob: str | None, ignore_case: bool, limit: int, stop: Stop) -> list[Hit]:
        """By path and line."""
        wanted = name_regex(glob).match if glob else None
        start = self._files.resolve(path)
        if limit <= 0:
            return []
        skip = 0 if start.path == "." else len(start.path) + 1

        def passes(candidate: str) -> bool:
            return wanted is None or wanted(candidate[skip:] or candidate.rpartition("/")[2]) is not None

        hits: list[Hit] = []
        try:
            if self._program is None:
                raise _Unusable
            for candidate, numbers in self._nominated(pattern, start, glob, ignore_case, stop):
                if passes(candidate):
                    lines = self._lines(candidate)
                    hits += [(candidate, n, lines[n - 1][:_MAX_LINE]) for n in sorted(numbers) if n <= len(lines)]
                    if len(hits) >= limit:
                        break
        except _Unusable:
            hits = self._grep_here(pattern, start, passes, ignore_case, limit, stop)
        return sorted(hits[:limit])

    # --- our own way ------------------------------------------------------------------------------------------------

    def _grep_here(
        self, pattern: str, start: FileInfo, passes: Callable[[str], bool], ignore_case: bool, limit: int, stop: Stop
    ) -> list[Hit]:
        try:
            search = re.compile(pattern, re.IGNORECASE if ignore_case else 0).search
        except re.error as error:
            raise ToolFailed(f"the regular expression {pattern!r} is broken: {error}") from None
        hits: list[Hit] = []
        candidates = [start.path] if start.kind == "file" else self._walk(start.path, stop)
        for candidate in candidates:
            if passes(candidate):
                for number, line in enumerate(self._lines(candidate), 1):
                    if search(line):
                        hits.append((candidate, number, line[:_MAX_LINE]))
                        if len(hits) >= limit:
                            return hits
        return hits

    def _lines(self, path: str) -> list[str]:
        content = self._files.read_plain(path, _MAX_BYTES)
        if not content:
            return []
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            text = content.decode("utf-16", "replace")
        elif b"\0" in content:
            return []
        else:
            text = content.decode("utf-8-sig", "replace")
        return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]

    def _walk(self, start: str, stop: Stop) -> Iterator[str]:
        """All regular files below a folder that are not ignored, folder by folder, by name."""
        rules = self._rules_above(start)
        folder = self._files.open_folder(start)
        try:
            yield from _walk(folder, "" if start == "." else start, rules, stop)
        finally:
            os.close(folder)

    def _rules_above(self, start: str) -> list[tuple[str, Ignores]]:
        """The ignore rules of the folders from the root to above `start`; none when they ignore `start` itself."""
        rules: list[tuple[str, Ignores]] = []
        if start == ".":
            return rules
        here = ""
        for part in start.split("/"):
            content = self._files.read_plain(f"{here}/.gitignore" if here else ".gitignore", _MAX_BYTES)
            if content is not None:
                rules.append((here, Ignores(content)))
            here = f"{here}/{part}" if here else part
            if part == ".git" or _ignored(here, True, rules):
                return []
        return rules

    # --- ripgrep's way ----------------------------------------------------------------------------------------------

    def _listing(self, start: str, stop: Stop) -> Iterator[str]:
        try:
            if self._program is None:
                raise _Unusable
            rest = b""
            for chunk in self._ripgrep(["--files"], start, stop):
                *names, rest = (rest + chunk).split(b"\0")
                yield from (os.fsdecode(name).removeprefix("./") for name in names)
        except _Unusable:
            yield from self._walk(start, stop)

    def _nominated(
        self, pattern: str, start: FileInfo, glob: str | None, ignore_case: bool, stop: Stop
    ) -> Iterator[tuple[str, set[int]]]:
        # Texts of lines are read again afterwards: printing at most one column keeps this output small. `--text`, because
        # whether a file is binary is decided then, too.
        arguments = [
            "--sort=path",
            "--line-number",
            "--with-filename",
            "--no-heading",
            "--max-columns=1",
            "--text",
            "--crlf",
        ]
        arguments += [f"--max-filesize={_MAX_BYTES}", "--ignore-case" if ignore_case else "--case-sensitive"]
        if glob is not None and _SIMPLE_NAME.match(glob):  # --glob would bring ignored files back
            arguments += ["--type-add", f"wanted:{glob}", "--type", "wanted"]
        arguments += ["--regexp", pattern]
        current, numbers = b"", set[int]()
        rest = b""
        for chunk in self._ripgrep(arguments, start.path, stop):
            rest += chunk
            at = 0
            # A record is name, NUL, number, ":", at most one column, line feed; only the name may hold a line feed itself.
            while (middle := rest.find(b"\0", at)) >= 0 and (end := rest.find(b"\n", middle)) >= 0:
                name, number = rest[at:middle], rest[middle + 1 : end].partition(b":")[0]
                at = end + 1
                if name != current:
                    if numbers:
                        yield os.fsdecode(current).removeprefix("./"), numbers
                    current, numbers = name, set()
                numbers.add(int(number))
            rest = rest[at:]
        if numbers:
            yield os.fsdecode(current).removeprefix("./"), numbers

    def _ripgrep(self, arguments: list[str], start: str, stop: Stop) -> Iterator[bytes]:
        with self._rules_file(start) as rules:
            where = "./" if start == "." else f"./{start}"
            command = [str(self._program), *_RIPGREP, *rules, *arguments, "--", where]
            try:
                process = subprocess.Popen(
                    command,
                    cwd=self._files.root,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
            except OSError:
                raise _Unusable from None
            with process:
                stop.attach(process)
                try:
                    assert process.stdout is not None
                    seen = False
                    while chunk := os.read(process.stdout.fileno(), 1 << 16):
                        seen = True
                        yield chunk
                finally:
                    process.kill()
                    stop.attach(None)
            # 2 with nothing found: an option or an expression it does not know. With something: a file it could not read.
            if process.returncode == 2 and not seen:
                raise _Unusable

    @contextmanager
    def _rules_file(self, start: str) -> Iterator[list[str]]:
        """Ripgrep reads the ignore files from `start` down; those above it are handed over in one, from the root's view."""
        lines: list[str] = []
        for folder, ignores in self._rules_above(start):
            lines += ignores.from_above(folder)
        if not lines:
            yield []
            return
        with tempfile.NamedTemporaryFile(
            "w", prefix="godwit-", suffix=".ignore", encoding="utf-8", errors="surrogateescape"
        ) as file:
            file.write("\n".join(lines) + "\n")
            file.flush()
            yield [f"--ignore-file={file.name}"]


def _walk(folder: int, path: str, rules: list[tuple[str, Ignores]], stop: Stop) -> Iterator[str]:
    own = _ignore_file(folder)
    if own is not None:
        rules = [*rules, (path, own)]
    with os.scandir(folder) as entries:
        found = sorted(
            (entry.name, entry.is_dir(follow_symlinks=False), entry.is_file(follow_symlinks=False)) for entry in entries
        )
    for name, is_folder, is_file in found:
        if stop.stopped:
            return
        here = f"{path}/{name}" if path else name
        if name == ".git" or not (is_folder or is_file) or _ignored(here, is_folder, rules):
            continue
        if is_file:
            yield here
            continue
        try:
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        except OSError:
            continue
        try:
            yield from _walk(inner, here, rules, stop)
        finally:
            os.close(inner)


def _ignore_file(folder: int) -> Ignores | None:
    try:
        file = os.open(".gitignore", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return None
        with suppress(OSError):
            return Ignores(os.read(file, 1 << 20))
        return None
    finally:
        os.close(file)


def _ignored(path: str, is_folder: bool, rules: list[tuple[str, Ignores]]) -> bool:
    """What the deepest ignore file that has something to say says."""
    for folder, ignores in reversed(rules):
        said = ignores.says(path[len(folder) + 1 :] if folder else path, is_folder)
        if said is not None:
            return said
    return False
