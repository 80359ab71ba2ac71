"""The reader of a whole text: lists, pipelines, and compound commands."""

from __future__ import annotations

import re

from ..commands import Simple
from .conditions import Conditions
from .cursor import BLANKS, NAME, Unreadable
from .simple import SimpleCommands

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


class Reader(SimpleCommands, Conditions):
    """Reads one text. What it finds stands in the attributes of `Cursor`."""

    def read(self) -> None:
        """Read all of it. What cannot be read ends as a problem."""
        try:
            if found := _CONTROL.search(self.text):
                raise Unreadable(f"it holds the control character {found[0]!r}")
            self._list(())
            if self._at < self._end:
                raise self._unexpected()
            self._no_pending()
        except Unreadable as error:
            self.problems.append(str(error))

    def _list(self, ends: tuple[str, ...]) -> None:
        """Commands up to one of the reserved words `ends`, a `)`, a `;;`, or the end."""
        while True:
            self._newlines()
            if self._closing(ends):
                return
            self._and_or()
            self._blanks()
            c = self._peek()
            if c == ";" and self._peek(1) in (";", "&"):
                return
            if c == ";" or (c == "&" and self._peek(1) not in ("&", ">")):
                self._at += 1
                self._not_continued()
            elif c == "\n":
                continue
            elif c not in ("", ")"):
                raise self._unexpected()

    def _closing(self, ends: tuple[str, ...]) -> bool:
        c = self._peek()
        if c in ("", ")") or (c == ";" and self._peek(1) in (";", "&")):
            return True
        return bool(ends) and self._keyword() in ends

    def _and_or(self) -> None:
        while True:
            self._pipeline()
            self._blanks()
            if not (self._looking_at("&&") or self._looking_at("||")):
                return
            self._at += 2
            self._not_continued()
            self._newlines()

    def _pipeline(self) -> None:
        while True:
            self._blanks()
            while self._keyword() == "!":
                self._take("!")
                self._blanks()
            self._command()
            self._blanks()
            if self._peek() != "|" or self._peek(1) == "|":
                return
            self._at += 2 if self._peek(1) == "&" else 1
            self._not_continued()
            self._newlines()

    def _command(self) -> None:
        self._deeper()
        self._blanks()
        c = self._peek()
        if c == "(":
            if self._peek(1) == "(":
                self._at += 2
                self._arithmetic("))")
            else:
                self._at += 1
                self._not_continued()
                self._list(())
                self._expect(")")
            self._redirected()
        else:
            match self._keyword():
                case None:
                    self._simple()
                case "{":
                    self._take("{")
                    self._list(("}",))
                    self._take("}")
                    self._redirected()
                case "if":
                    self._if()
                    self._redirected()
                case "while" | "until" as word:
                    self._take(word)
                    self._list(("do",))
                    self._do()
                    self._redirected()
                case "for" | "select" as word:
                    self._for(word)
                    self._redirected()
                case "case":
                    self._case()
                    self._redirected()
                case "[[":
                    self._take("[[")
                    self._test()
                    self._redirected()
                case "function":
                    self._take("function")
                    self._blanks()
                    name = self._word()
                    if name is None:
                        raise self._unexpected()
                    self._blanks()
                    if self._peek() == "(":
                        self._at += 1
                        self._blanks()
                        self._expect(")")
                    self._body()
                case "time":
                    self._time()
                case "coproc":
                    self._note("it starts a coprocess")
                    self._take("coproc")
                    self._command()
                case _:
                    raise self._unexpected()
        self._depth -= 1

    def _time(self) -> None:
        """The keyword, when a compound command follows; else `time` is read as the program it also is."""
        start = self._at
        self._take("time")
        self._blanks()
        if self._looking_at("-p") and self._peek(2) in BLANKS:
            self._at += 2
            self._blanks()
        if self._peek() == "(" or self._keyword() is not None:
            self._pipeline()
        else:
            self._at = start
            self._simple()

    def _if(self) -> None:
        self._take("if")
        self._list(("then",))
        self._take("then")
        self._list(("elif", "else", "fi"))
        while self._keyword() == "elif":
            self._take("elif")
            self._list(("then",))
            self._take("then")
            self._list(("elif", "else", "fi"))
        if self._keyword() == "else":
            self._take("else")
            self._list(("fi",))
        self._take("fi")

    def _do(self) -> None:
        self._take("do")
        self._list(("done",))
        self._take("done")

    def _for(self, word: str) -> None:
        self._take(word)
        self._blanks()
        if self._looking_at("(("):
            self._at += 2
            self._arithmetic("))")
            self._blanks()
            if self._peek() == ";":
                self._at += 1
            self._newlines()
            self._do()
            return
        name = self._word()
        if name is None or not NAME.fullmatch(name.text) or not name.exact:
            raise self._unexpected()
        self._newlines()
        if self._keyword() == "in":
            self._take("in")
            while True:
                self._blanks()
                value = self._word()
                if value is None:
                    break
            self._add(Simple(sets=[(name.text, None)]))
            if self._peek() not in (";", "\n"):
                raise self._unexpected()
        else:
            self._add(Simple(sets=[(name.text, None)]))
        if self._peek() == ";":
            self._at += 1
        self._newlines()
        self._do()

    def _case(self) -> None:
        self._take("case")
        self._blanks()
        if self._word() is None:
            raise self._unexpected()
        self._newlines()
        self._take("in")
        while True:
            self._newlines()
            if self._keyword() == "esac":
                break
            if self._peek() == "(":
                self._at += 1
            while True:
                self._blanks()
                if self._word() is None:
                    raise self._unexpected()
                self._blanks()
                if self._peek() != "|":
                    break
                self._at += 1
            self._expect(")")
            self._list(("esac",))
            if self._peek() == ";":
                self._at += 2
                if self.text[self._at - 1] == ";" and self._peek() == "&":
                    self._at += 1
            elif self._keyword() != "esac":
                raise self._unexpected()
        self._take("esac")

    def _body(self) -> None:
        """A function's body. It is judged where it is defined, so calling it needs no further look."""
        self._newlines()
        if self._peek() != "(" and self._keyword() not in ("{", "if", "while", "until", "for", "select", "case", "[["):
            raise self._unexpected()
        self._command()
