"""Subjects: by which names rules may call what a call is about, and what of it is not known.

Owns the names of paths (where links lead, home, the workspace), of parts of shell commands (with their folders and options
or without), and where redirections may lead. Leaves out verdicts (`permissions`).

Rules a change must keep: a rule that allows has to match what will really happen, in the one name there is for it; a rule
that denies or asks may match any name; what is not known counts against a rule that allows and for one that denies.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from ..contracts import ShellCommand, ShellPart
from ..core.rules import Rule, Subject, SubjectKind, matcher, open_ended, total


@dataclass(frozen=True)
class Case:
    """What rules are matched with. `sure`: names for rules that allow. `named`: names for rules that deny or ask.

    `begins`: beginnings of names of which the rest is not known. `reach`: a beginning such that a rule that allows has to
    match everything that begins so. `shut`: only a rule that is this very text allows it. `anything`: it may be anything.
    """

    kind: SubjectKind
    sure: tuple[str, ...]
    named: tuple[str, ...]
    begins: tuple[str, ...] = ()
    reach: tuple[str, ...] = ()
    shut: bool = False
    anything: bool = False

    def named_by(self, rule: Rule) -> bool:
        """Whether a rule that denies or asks is about it."""
        if total(rule):
            return True
        found = matcher(rule, self.kind, "wide")
        return any(found.matches(name) for name in self.named)

    def maybe(self, rule: Rule) -> bool:
        """Whether a rule that denies or asks may be about it."""
        if self.anything or total(rule):
            return True
        found = matcher(rule, self.kind, "wide")
        absolute = self.kind == "path" and rule.pattern is not None and rule.pattern.startswith(("/", "~"))
        return any(found.could(beginning) for beginning in self.begins if beginning or not absolute)

    def allowed(self, rule: Rule) -> bool:
        """Whether a rule that allows is about it for sure."""
        if self.shut and open_ended(rule):
            return False
        found = matcher(rule, self.kind, "narrow")
        if self.reach:
            return any(found.always(beginning) for beginning in self.reach)
        return any(found.matches(name) for name in self.sure)


MAX_SKIPPED = 12
"""How many options before a subcommand are looked through."""


def part_case(part: ShellPart) -> Case:
    """A part of a shell command: by the name of its program without folders, and with the options before its subcommand
    left out, so that neither hides it from a rule that denies."""
    words = part.words
    if not words:
        return Case("command", (), ())
    loose = set(part.loose)
    variants: list[tuple[int, ...]] = [tuple(range(len(words)))]
    at = 1
    while at < min(len(words), MAX_SKIPPED) and (words[at].startswith("-") or at in loose or words[at - 1].startswith("-")):
        variants.append((0, *range(at + 1, len(words))))
        at += 1
    named: dict[str, None] = {part.text: None}
    begins: dict[str, None] = {}
    for program in dict.fromkeys((words[0], words[0].rpartition("/")[2] or words[0])):
        for variant in variants:
            named[" ".join((program, *(words[i] for i in variant[1:])))] = None
            if loose:
                known = []
                for i in variant:
                    if i in loose:
                        break
                    known.append(words[i] if i else program)
                begins["".join(f"{word} " for word in known)] = None
    reach: tuple[str, ...] = ()
    if loose:
        first = min(loose)
        # As it stands in the text, where words that would be mistaken are in quotes.
        reach = ("".join(f"{_quoted(word)} " for word in words[:first]),)
    return Case(
        "command",
        (part.text,),
        tuple(named),
        tuple(begins),
        reach,
        shut=part.caution is not None,
        anything=part.caution is not None or 0 in loose,
    )


def _quoted(word: str) -> str:
    """As in `ShellPart.text`."""
    if word and not any(c in "'\"\\" or c.isspace() for c in word):
        return word
    return "'" + word.replace("'", "'\\''") + "'"


def _inside(path: str, root: str) -> str | None:
    """The path relative to `root`, when it lies in it; both absolute and normal."""
    if path == root:
        return "."
    prefix = root if root.endswith("/") else root + "/"
    return path[len(prefix) :] if path.startswith(prefix) else None


def _names(path: str, roots: Iterable[str]) -> list[str]:
    """What a rule may call this absolute path."""
    found = [path]
    for root in roots:
        if (relative := _inside(path, root)) is not None:
            found.append(relative)
    home = os.path.expanduser("~")
    if os.path.isabs(home) and home != "/" and (below := _inside(path, home)) is not None:
        found.append("~" if below == "." else f"~/{below}")
    return found


def _folded(name: str) -> str:
    """As a file system may take it that makes no difference between cases, ways to write an accent, and characters that
    cannot be seen."""
    if name.isascii():
        return name.lower()
    return "".join(c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf").casefold()


def url_case(text: str) -> Case:
    """An address, for rules that deny or ask also with what is written in percent signs. A server may take `..` for the
    folder above, so no pattern allows an address with it."""
    path = unquote(text.partition("?")[0].partition("#")[0])
    upwards = any(part in (".", "..") for part in path.replace("\\", "/").split("/"))
    return Case("url", () if upwards else (text,), tuple(dict.fromkeys((text, unquote(text)))))


def path_case(subject: Subject, root: str | None) -> Case:
    """A path by all its names: a rule that allows has to match where it really leads; for one that denies or asks the way
    it was written counts as well."""
    base = os.path.abspath(root) if root is not None else os.getcwd()
    real_base = os.path.realpath(base)
    written = os.path.normpath(os.path.join(base, subject.text))
    real = os.path.realpath(os.path.join(base, subject.text))
    sure = _names(real, (real_base,))
    named = [*sure, *_names(written, (base, real_base)), subject.text]
    named += [_folded(name) for name in named]
    if not subject.tree:
        return Case("path", tuple(sure), tuple(dict.fromkeys(named)))
    below = tuple("" if name == "." else name if name.endswith("/") else f"{name}/" for name in dict.fromkeys(named))
    reach = tuple("" if name == "." else name if name.endswith("/") else f"{name}/" for name in sure)
    return Case("path", tuple(sure), tuple(dict.fromkeys(named)), below, reach if not os.path.isfile(real) else ())


_HARMLESS_FILES = re.compile(r"/dev/(?:null|stdout|stderr|stdin|tty|fd/[0-9]+)")
_GUARDED_FOLDERS = frozenset((".git", ".godwit"))
"""Folders in which git and godwit look for commands."""
MAX_PLACES = 16


def harmless_file(name: str | None) -> bool:
    """Whether what is written there changes no file."""
    return name is not None and _HARMLESS_FILES.fullmatch(name) is not None


@dataclass(frozen=True)
class Place:
    """Where a command's relative paths may lead: `folders` are real paths, empty when that is not known."""

    root: str | None
    folders: tuple[str, ...]
    moves: frozenset[int]
    """The parts, by their place, that only change the folder and stay within the workspace."""

    @classmethod
    def after(cls, command: ShellCommand, root: str | None) -> Place:
        if root is None:
            return cls(None, (), frozenset())
        base = os.path.realpath(root)
        folders = [base]
        moves = set()
        known = True
        for at, part in enumerate(command.parts):
            if not part.words or part.words[0] not in ("cd", "pushd", "popd"):
                # What is not known may be a `cd` as well.
                known = known and 0 not in part.loose and part.caution is None
                continue
            target = _target(part)
            reached = [] if target is None else [os.path.realpath(os.path.join(folder, target)) for folder in folders]
            if not reached or any(_inside(path, base) is None for path in reached):
                known = False
                continue
            moves.add(at)
            # It may fail, or hold for a part of the command only: the folders before it remain possible.
            folders = list(dict.fromkeys((*folders, *reached)))
            known = known and len(folders) <= MAX_PLACES
        return cls(base, tuple(folders) if known else (), frozenset(moves))

    def strays(self, part: ShellPart) -> bool:
        """Whether its program is named by its place in a folder, and which folder that is is not known: `./x` after a
        `cd` is another one."""
        program = part.words[0] if part.words else ""
        return "/" in program and not program.startswith(("/", "~")) and self.root is not None and len(self.folders) != 1

    def paths(self, name: str | None) -> list[str] | None:
        """Where a redirection to `name` may lead, as real paths; None when that is not known."""
        if name is None or name.startswith("~") or "\0" in name:
            return None
        if os.path.isabs(name):
            return [os.path.realpath(name)]
        if not self.folders:
            return None
        return [os.path.realpath(os.path.join(folder, name)) for folder in self.folders]

    def astray(self, part: ShellPart) -> str | None:
        """Why one of its redirections writes where a rule about its words does not reach."""
        for name in part.writes:
            if harmless_file(name):
                continue
            paths = self.paths(name)
            if paths is None:
                return f"where it writes ({name or 'a file named by an expansion'}) is not known"
            for path in paths:
                relative = None if self.root is None else _inside(path, self.root)
                if relative is None:
                    return f"it writes to {name}, outside the workspace"
                if _GUARDED_FOLDERS & set(_folded(relative).split("/")):
                    return f"it writes to {name}, where commands are looked for"
        return None

    def files(self, names: Iterable[str | None]) -> Iterable[tuple[str, Case]]:
        """The files that are known, with what rules are matched with."""
        for name in names:
            if name is not None:
                for path in self.paths(name) or [name]:
                    yield name, path_case(Subject("path", path), self.root)


def _target(part: ShellPart) -> str | None:
    """Where a `cd` leads; None when that is not known."""
    words = [word for word in part.words[1:] if word not in ("-L", "-P", "-e", "--")]
    if part.words[0] != "cd" or part.loose or len(words) != 1:
        return None
    target = words[0]
    if not target or target.startswith(("-", "~")) or "\0" in target:
        return None
    return target
