"""Expansions: what `$`, quotes and backquotes begin. Nothing is expanded; every substitution within is read as commands.

Arithmetic on variables is a problem, because bash runs substitutions it finds in their values.
"""

from __future__ import annotations

import re

from .cursor import NAME, Cursor, Unreadable
from .pieces import Piece

_CONSTANT = re.compile(r"(?:[0-9\s+*/%()<>=!&|^~?:,-]|\$[?#]|\$\{#[A-Za-z_]*\})*\Z")
"""Arithmetic in which nothing is looked up: numbers, operators, `$?`, `$#`, lengths."""
_SLICE = re.compile(r":\s*(?:-?[0-9]+|\s-[0-9]+)(?::-?[0-9]+)?\}")
_QUOTED = re.compile(r'[^"$`\\]+')
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[@*#?$!-]")
_INDEX = re.compile(r"\[(?:[@*]|[0-9]+)\]")
_SIMPLE_ESCAPES = {
    "a": b"\a", "b": b"\b", "e": b"\x1b", "E": b"\x1b", "f": b"\f", "n": b"\n", "r": b"\r", "t": b"\t", "v": b"\v",
    "\\": b"\\", "'": b"'", '"': b'"', "?": b"?",
}  # fmt: skip
_CODE = re.compile(r"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8}))")


class Expansions(Cursor):
    """Reads them, as pieces of a word."""

    def _string(self, items: list[Piece]) -> None:
        """The rest of a double-quoted string."""
        items.append(Piece("", "quoted", True))
        while True:
            c = self._peek()
            if c == "":
                raise Unreadable("a quote is not closed")
            if c == '"':
                self._at += 1
                return
            if c == "\\":
                after = self._peek(1)
                if after == "\n":
                    if self.text[self._at - 1] in "$`":
                        raise Unreadable("a line is continued within a substitution")
                elif after and after in '$`"\\':
                    items.append(Piece(after, "quoted", True))
                else:
                    items.append(Piece(c + after, "quoted", True))
                self._at += 2
            elif c in "$`":
                if not self._substitution(items, inside=True):
                    items.append(Piece("$", "quoted", True))
            else:
                run = _QUOTED.match(self.text, self._at)
                assert run is not None
                items.append(Piece(run[0], "quoted", True))
                self._at = run.end()

    def _substitution(self, items: list[Piece], *, inside: bool = False) -> bool:
        """What `$` or a backquote begins, `inside` double quotes or not. False for a lone `$`, which is passed over."""
        start = self._at
        steady = False
        if self._peek() == "`":
            self._backquoted(inside)
        else:
            self._at += 1
            c = self._peek()
            if c == "\\" and self._peek(1) == "\n":
                raise Unreadable("a line is continued within a substitution")
            if c == "(" and self._peek(1) == "(":
                self._at += 2
                self._arithmetic("))")
                steady = True
            elif c == "(":
                self._at += 1
                self._substituted()
            elif c == "{":
                self._at += 1
                self._parameter(inside)
            elif c == "[":
                self._at += 1
                self._note("it uses an old form of arithmetic")
                self._arithmetic("]")
            elif c == "'" and not inside:
                items.append(Piece(self._escaped(), "quoted", True))
                return True
            elif c == '"' and not inside:
                self._at += 1
                self._string(items)
                return True
            elif found := NAME.match(self.text, self._at):
                self._at = found.end()
                if found[0] == "IFS":
                    self._note("it uses IFS")
            elif c and c in "*@#?-$!0123456789":
                self._at += 1
                steady = c in "?#$"
            else:
                return False
        items.append(Piece(self.text[start : self._at], "expansion", inside or steady))
        return True

    def _substituted(self) -> None:
        """The rest of `$(...)`, `<(...)` or `>(...)`."""
        outer, self._pending = self._pending, []
        self._deeper()
        self._not_continued()
        self._list(())
        self._no_pending()
        self._expect(")")
        self._depth -= 1
        self._pending = outer

    def _backquoted(self, inside: bool) -> None:
        self._at += 1
        out: list[str] = []
        while True:
            c = self._peek()
            if c == "":
                raise Unreadable("a backquote is not closed")
            if c == "`":
                break
            if c == "\\":
                after = self._peek(1)
                if inside and after == '"':
                    raise Unreadable("quotes are escaped within backquotes within quotes")
                if after in ("$", "`", "\\"):
                    out.append(after)
                else:
                    out.append(c + after)
                self._at += 2
            else:
                out.append(c)
                self._at += 1
        self._at += 1
        inner = type(self)("".join(out), self._depth)
        inner._deeper()
        inner.commands, inner.problems, inner.scripts = self.commands, self.problems, self.scripts
        self.scripts.append(inner)
        # Where it ends is known: what is wrong inside does not keep the rest from being read.
        inner.read()

    def _parameter(self, inside: bool) -> None:
        """The rest of `${...}`."""
        start = self._at
        if self._peek() == "!":
            self._note("it looks up a variable by a name that may run a command")
            self._at += 1
        elif self._peek() == "#" and self._peek(1) != "}":
            self._at += 1
        found = _PARAMETER.match(self.text, self._at)
        if found is None:
            raise Unreadable("a '${' is not followed by a name")
        self._at = found.end()
        if found[0] == "IFS":
            self._note("it uses IFS")
        if self._peek() == "[":
            index = _INDEX.match(self.text, self._at)
            if index is None:
                raise Unreadable("the index of an array may run a command")
            self._at = index.end()
        c = self._peek()
        if c == "}":
            self._at += 1
            return
        two = self.text[self._at : self._at + 2]
        if two == ":=" or c == "=":
            self._note(f"it sets the variable {found[0]!r} while it is looked up")
            self._at += 2 if c == ":" else 1
        elif two in (":-", ":+", ":?"):
            self._at += 2
        elif c == ":":
            piece = _SLICE.match(self.text, self._at)
            if piece is None:
                raise Unreadable("the part of a variable is taken by a calculation that may run a command")
            self._at = piece.end()
            return
        elif c == "@":
            if self._peek(1) not in tuple("QEAaUuLkK") or self._peek(2) != "}":
                raise Unreadable("a variable is expanded like a prompt, which may run a command")
            self._at += 3
            return
        elif c and c in "-+?#%/^,":
            self._at += 1
        else:
            raise Unreadable(f"'${{{self.text[start : self._at + 1]}' is not understood")
        self._deeper()
        self._until_brace(inside)
        self._depth -= 1

    def _until_brace(self, inside: bool) -> None:
        """The word within `${...}`, with the brace that ends it."""
        while True:
            c = self._peek()
            if c == "":
                raise Unreadable("a '${' is not closed")
            if c == "}":
                self._at += 1
                return
            if c == "\\":
                if self._peek(1) in ("", "\n"):
                    raise Unreadable("a line is continued within a '${'")
                self._at += 2
            elif c == "'":
                if inside:
                    raise Unreadable("a single quote stands within '${' within quotes")
                end = self.text.find("'", self._at + 1)
                if end < 0:
                    raise Unreadable("a quote is not closed")
                self._at = end + 1
            elif c == '"':
                self._at += 1
                self._string([])
            elif c in "$`":
                self._substitution([], inside=inside)
            elif c in "<>" and self._peek(1) == "(" and not inside:
                self._at += 2
                self._substituted()
            else:
                self._at += 1

    def _arithmetic(self, end: str) -> None:
        """The rest of an arithmetic expression, with what ends it. Only numbers, operators and a few variables that hold
        numbers are no problem: the value of any other is itself read as an expression, in which commands may stand."""
        start = self._at
        level = 0
        self._deeper()
        while True:
            c = self._peek()
            if c == "":
                raise Unreadable("arithmetic is not closed")
            if level == 0 and self._looking_at(end):
                break
            if c == "(" and end == "))":
                level += 1
                self._at += 1
            elif c == ")" and end == "))":
                if level == 0:
                    raise Unreadable("'((' begins something that is no arithmetic")
                level -= 1
                self._at += 1
            elif c in "$`":
                self._substitution([], inside=True)
            elif c in "'\"\\":
                raise Unreadable("arithmetic holds a quote")
            else:
                self._at += 1
        inner = self.text[start : self._at]
        if not _CONSTANT.match(inner):
            self._note("it calculates with variables, which may run a command")
        self._at += len(end)
        self._depth -= 1

    def _escaped(self) -> str:
        """The rest of `$'...'`."""
        self._at += 1
        out = bytearray()
        while True:
            c = self._peek()
            if c == "":
                raise Unreadable("a quote is not closed")
            if c == "'":
                self._at += 1
                break
            if c != "\\":
                out += c.encode()
                self._at += 1
                continue
            after = self._peek(1)
            if after in _SIMPLE_ESCAPES:
                out += _SIMPLE_ESCAPES[after]
                self._at += 2
            elif found := _CODE.match(self.text, self._at):
                octal, hexadecimal, short, long = found.groups()
                point = short or long
                if point is not None:
                    code = int(point, 16)
                    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
                        raise Unreadable("an escape names no character")
                    out += chr(code).encode()
                else:
                    code = int(octal, 8) if octal is not None else int(hexadecimal, 16)
                    out.append(code & 0xFF)
                self._at = found.end()
            elif after in ("c", "") or self._looking_at("\\x{"):
                raise Unreadable("an unusual escape is used")
            else:
                out += (c + after).encode()
                self._at += 2
        try:
            text = out.decode()
        except UnicodeDecodeError:
            raise Unreadable("an escape makes no proper text") from None
        if "\0" in text:
            raise Unreadable("an escape makes a NUL character")
        return text
