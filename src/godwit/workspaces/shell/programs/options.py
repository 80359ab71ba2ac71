"""Options of programs: where they end, which of them run commands, and what a command may stand behind.

Rules a change must keep: an option that is not known makes what follows uncertain, and so does a word that may become
several; long options may be abbreviated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..commands import Word
from .meaning import Meaning
from .variables import harmless


def operand(words: Sequence[Word], at: int, values: str, flags: str, long_values: str = "", long_flags: str = "") -> int:
    """Where the first word stands that is no option, from `at`; -1 when that is not certain."""
    taking, plain = set(long_values.split()), set(long_flags.split())
    while at < len(words):
        word = words[at]
        if not word.option:
            return at
        if not word.exact:
            return -1
        text = word.text
        if text == "-":
            return at
        at += 1
        if text == "--":
            return at
        if text.startswith("--"):
            name, equals, _ = text[2:].partition("=")
            if name in taking:
                at += 0 if equals else 1
            elif name not in plain or equals:
                return -1
            continue
        for position, letter in enumerate(text[1:], 2):
            if letter in values:
                at += position == len(text)
                break
            if letter not in flags:
                return -1
    return at


def starts(words: Sequence[Word], at: int, *, neutral: bool = True, why: str = "its options are not known here") -> Meaning:
    """A wrapper whose command begins at `at`; when that is not certain, every word may begin it."""
    if at < 0 or any(word.splits or word.globs for word in words[1:at]):
        return Meaning(hint=[list(words[i:]) for i in range(1, min(len(words), 8))]).careful(why)
    if at >= len(words):
        return Meaning()
    return Meaning(neutral=neutral, inner=[list(words[at:])])


_SETTING = re.compile(r"[^=]*=")


def assigning(words: Sequence[Word], at: int, *, neutral: bool = True, setting: re.Pattern[str] = _SETTING) -> Meaning:
    """A wrapper that takes `NAME=value` before its command, as `setting` says."""
    if at < 0:
        return starts(words, at)
    unsafe = None
    while at < len(words) and setting.match(words[at].text if words[at].exact else words[at].head):
        name = words[at].text.partition("=")[0]
        if not harmless(name, exported=True):
            unsafe = unsafe or f"it sets {name[:40]}"
        at += 1
    made = starts(words, at, neutral=neutral)
    return made.careful(unsafe) if unsafe else made


_ABBREVIATION = 3


@dataclass(frozen=True)
class Risk:
    """Options of a program that run commands, load code, or write where one would not look. `short`: letters, also within a
    cluster unless `alone`. `long`: names, also abbreviated. `where`: patterns searched in the words. `always`: any use.
    """

    short: str = ""
    long: tuple[str, ...] = ()
    where: str = ""
    always: str = ""
    alone: bool = False

    def why(self, word: Word) -> str | None:
        if self.always:
            return self.always
        if not word.exact and word.option:
            return "a word that is not known may be an option that runs a command"
        text = word.text
        if self.where and re.search(self.where, text):
            return f"{text[:40]!r} may run a command"
        if text.startswith("--"):
            name = text[2:].partition("=")[0]
            if any(o == name or (len(name) >= _ABBREVIATION - 1 and o.startswith(name)) for o in self.long):
                return f"its option {text[:40]!r} may run a command"
        elif text.startswith("-") and self.short:
            letters = text[1:2] if self.alone else text[1:]
            if any(letter in letters for letter in self.short):
                return f"its option {text[:40]!r} may run a command"
        return None
