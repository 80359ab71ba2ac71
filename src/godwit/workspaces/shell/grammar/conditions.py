"""Conditions: what stands between `[[` and `]]`."""

from __future__ import annotations

import re

from ..commands import Word
from .cursor import NAME
from .words import Words

_NUMERIC = re.compile(r"-(?:eq|ne|lt|le|gt|ge)\Z")
_NUMBER = re.compile(r"-?[0-9]+\Z|\$[?#]\Z")


class Conditions(Words):
    """Reads one. What it compares may run a command."""

    def _test(self) -> None:
        """What stands between `[[` and `]]`."""
        before: Word | None = None
        while True:
            self._newlines_within()
            if self._keyword() == "]]":
                self._take("]]")
                return
            c = self._peek()
            if c == "":
                raise self._unexpected()
            if self._looking_at("&&") or self._looking_at("||"):
                self._at += 2
                before = None
            elif c in "<>" and self._peek(1) == "(":
                self._word()
                before = None
            elif c in "()<>":
                self._at += 1
                before = None
            elif c in "|&;":
                raise self._unexpected()
            else:
                pattern = before is not None and before.text in ("=~", "==", "=", "!=")
                word = self._pattern() if pattern else self._word()
                if word is None:
                    raise self._unexpected()
                if before is not None:
                    left, right = before.text, word.text
                    if (_NUMERIC.match(left) and not _NUMBER.match(right)) or (
                        _NUMERIC.match(right) and not _NUMBER.match(left)
                    ):
                        self._note("it compares numbers that are not known, which may run a command")
                    if left in ("-v", "-R") and not NAME.fullmatch(right):
                        self._note("it looks up a variable by a name that may run a command")
                before = word

    def _pattern(self) -> Word:
        """The right side of a comparison in `[[ ]]`, where parentheses and bars are part of the word."""
        start = self._at
        level = 0
        while True:
            c = self._peek()
            if c == "":
                raise self._unexpected()
            if level == 0 and c in " \t\n&;":
                break
            if c == "(":
                level += 1
                self._at += 1
            elif c == ")":
                if level == 0:
                    break
                level -= 1
                self._at += 1
            elif c in "|" or (level and c in " \t\n<>&;"):
                self._at += 1
            elif c in "<>":
                break
            else:
                self._pieces([], True)
        raw = self.text[start : self._at]
        return Word(raw, exact=False, raw=raw)
