"""The place in a text: characters, blanks, lines, reserved words, and how deep what is read is nested.

The other modules of the grammar stand on it, each on those before: expansions, words, redirections, simple commands and
conditions, and the reader. What they need of a later one is declared here, since a substitution holds commands again.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod

from ..commands import Redirect, Simple

MAX_DEPTH = 40
"""How deep substitutions and groups may be nested."""
MAX_COMMANDS = 400
BLANKS = " \t"
META = " \t\n|&;()<>"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
RESERVED = frozenset(
    (
        "if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac", "select", "function",
        "{", "}", "!", "[[", "]]", "time", "coproc", "in",
    )
)  # fmt: skip
_KEYWORD = re.compile(r"(?:[a-z]|\\\n)+|[{}!]|\[\[|\]\]")


class Unreadable(Exception):
    """The text could not be read further; its message says why."""


class Cursor(ABC):
    """A text, a place in it, and what was found. `commands`: in the order they are met, also when reading ends early.
    `problems`: why no verdict may rest on them alone. `starts`: where their first words stand. `scripts`: what stood in
    backquotes, which are read apart.
    """

    def __init__(self, text: str, depth: int = 0) -> None:
        self.text = text
        self.commands: list[Simple] = []
        self.problems: list[str] = []
        self.starts: set[int] = set()
        self.scripts: list[Cursor] = []
        self._at = 0
        self._end = len(text)
        self._depth = depth
        self._pending: list[tuple[Redirect, str, bool, bool]] = []

    def _peek(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self.text[at] if at < self._end else ""

    def _looking_at(self, wanted: str) -> bool:
        return self.text.startswith(wanted, self._at)

    def _unexpected(self) -> Unreadable:
        rest = self.text[self._at : self._at + 20]
        return Unreadable(f"{rest!r} is not expected there" if rest else "it ends in the middle of a command")

    def _note(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    def _add(self, command: Simple) -> None:
        self.commands.append(command)
        if len(self.commands) > MAX_COMMANDS:
            raise Unreadable(f"it has more than {MAX_COMMANDS} commands")

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Unreadable(f"it is nested more than {MAX_DEPTH} deep")

    def _continuation(self) -> None:
        """A backslash before a newline, outside quotes: nothing. Where it could join parts of an operator it is refused."""
        before = self.text[self._at - 1] if self._at else " "
        self._at += 2
        after = self._peek() or " "
        joins = "_./=,:@%+-"
        if before in BLANKS or before == "\n" or after in BLANKS or after == "\n":
            return
        if (before.isalnum() or before in joins) and (after.isalnum() or after in joins):
            return
        raise Unreadable(f"a line is continued between {before!r} and {after!r}")

    def _blanks(self) -> None:
        """Skip blanks, continued lines, and a comment."""
        while True:
            c = self._peek()
            if c and c in BLANKS:
                self._at += 1
            elif c == "\\" and self._peek(1) == "\n":
                self._continuation()
            elif c == "#" and (self._at == 0 or self.text[self._at - 1] in META):
                end = self.text.find("\n", self._at)
                self._at = self._end if end < 0 else end
                return
            else:
                return

    def _newlines(self) -> None:
        while True:
            self._blanks()
            if self._peek() != "\n":
                return
            self._newline()

    def _newline(self) -> None:
        self._at += 1
        pending, self._pending = self._pending, []
        for redirect, delimiter, quoted, stripped in pending:
            self._here_document(redirect, delimiter, quoted, stripped)

    def _newlines_within(self) -> None:
        """As `_newlines`, where no here-document may begin."""
        if self._pending:
            self._blanks()
            if self._peek() == "\n":
                raise Unreadable("a here-document begins within brackets")
        self._newlines()

    def _no_pending(self) -> None:
        if self._pending:
            raise Unreadable("a here-document has no text")

    def _not_continued(self) -> None:
        """After an operator: a continued line must not make it a longer one."""
        if self._looking_at("\\\n") and self._peek(2) in tuple("&|;<>()"):
            raise Unreadable("a line is continued within an operator")

    def _expect(self, c: str) -> None:
        if self._peek() != c:
            raise self._unexpected()
        self._at += 1

    def _keyword(self) -> str | None:
        """The reserved word that stands here, which is not taken."""
        found = _KEYWORD.match(self.text, self._at)
        if found is None:
            return None
        word = found[0].replace("\\\n", "")
        after = self.text[found.end() : found.end() + 1]
        if word not in RESERVED or (after and after not in META):
            return None
        return word

    def _take(self, keyword: str) -> None:
        self._blanks()
        if self._keyword() != keyword:
            raise self._unexpected()
        found = _KEYWORD.match(self.text, self._at)
        assert found is not None
        self._at = found.end()

    # --- what later modules add ---------------------------------------------------------------------------------------

    @abstractmethod
    def read(self) -> None:
        """Read all of it. What cannot be read ends as a problem."""

    @abstractmethod
    def _list(self, ends: tuple[str, ...]) -> None:
        """Commands up to one of the reserved words `ends`, a `)`, a `;;`, or the end."""

    @abstractmethod
    def _here_document(self, redirect: Redirect, delimiter: str, quoted: bool, stripped: bool) -> None:
        """The text of a here-document, which begins here, as `redirect.body`."""
