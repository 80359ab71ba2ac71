"""Redirections, and the here-documents that some of them begin."""

from __future__ import annotations

import re

from ..commands import Redirect, Simple
from .cursor import Unreadable
from .words import Words

_DESCRIPTOR = re.compile(r"[0-9]+(?=[<>])")
_REDIRECT = re.compile(r"&>>|&>|<<<|<<-|<<|<&|<>|<|>>|>&|>\||>")
_DUPLICATED = re.compile(r"[0-9]*-?\Z")
_HERE = re.compile(r"[^$`\\]+")


class Redirections(Words):
    """Reads them, each as part of the command that it belongs to."""

    def _redirected(self) -> None:
        """The redirections of a compound command, kept as a command without words."""
        command = Simple()
        self._blanks()
        while self._redirect(command):
            self._blanks()
        if command.redirects:
            self._add(command)

    def _redirect(self, command: Simple) -> bool:
        start = self._at
        number = ""
        if found := _DESCRIPTOR.match(self.text, self._at):
            number = found[0]
            if self.text[found.end() : found.end() + 2] in ("<(", ">("):
                return False
            self._at = found.end()
        found = _REDIRECT.match(self.text, self._at)
        if found is None or self.text[self._at : self._at + 2] in ("<(", ">("):
            self._at = start
            return False
        operator = found[0]
        self._at = found.end()
        self._not_continued()
        self._blanks()
        if operator in ("<<", "<<-"):
            self._delimited(command, operator, number)
            return True
        if operator in ("<&", ">&") and self._peek() == "-":
            # The dash closes a descriptor and is a word of its own, whatever follows it.
            self._at += 1
            self._not_continued()
            command.redirects.append(Redirect(operator, None, number=number, copies=True))
            return True
        word = self._word()
        if word is None:
            raise self._unexpected()
        redirect = Redirect(operator, word.text if word.exact else None, number=number)
        command.redirects.append(redirect)
        if operator == "<<<":
            redirect.body = word.text + "\n" if word.exact else None
        elif word.text.startswith(("/dev/tcp", "/dev/udp")):
            self._note("it redirects to the network")
        elif operator in ("<&", ">&") and word.exact and _DUPLICATED.match(word.text):
            redirect.copies = True
        return True

    def _delimited(self, command: Simple, operator: str, number: str) -> None:
        """The word a here-document ends at, which is not expanded; the text itself comes after the line."""
        start = self._at
        items = self._items()
        if items is None:
            raise self._unexpected()
        if "\n" in self.text[start : self._at] or any(i.kind == "expansion" for i in items):
            raise Unreadable("a here-document ends at a word that is not plain")
        redirect = Redirect(operator, None, number=number)
        command.redirects.append(redirect)
        quoted = any(i.quoted for i in items)
        self._pending.append((redirect, "".join(i.text for i in items), quoted, operator == "<<-"))

    def _here_document(self, redirect: Redirect, delimiter: str, quoted: bool, stripped: bool) -> None:
        begin = self._at
        lines: list[str] = []
        joined: str | None = None
        while True:
            if self._at >= self._end:
                raise Unreadable("a here-document has no end")
            end = self.text.find("\n", self._at)
            end = self._end if end < 0 else end
            raw = self.text[self._at : end]
            line = raw.lstrip("\t") if stripped else raw
            if joined is None and line == delimiter:
                break
            if joined is not None and delimiter in (raw, line, joined + raw, joined + line):
                raise Unreadable("the end of a here-document is on a continued line")
            whole = (joined or "") + line
            odd = (len(whole) - len(whole.rstrip("\\"))) % 2 == 1
            joined = whole[:-1] if odd and not quoted else None
            lines.append(line + "\n")
            self._at = end + 1
        stop = self._at
        redirect.body = "".join(lines)
        if not quoted:
            inner = type(self)(redirect.body, self._depth)
            inner._deeper()
            inner.commands, inner.problems, inner.scripts = self.commands, self.problems, self.scripts
            redirect.body = inner._within_here_document()
            # With tabs taken out its places are not those of the whole text.
            if inner.starts and stripped:
                self._note("commands stand in a here-document with tabs taken out")
            self.starts |= {begin + start for start in inner.starts}
        end = self.text.find("\n", stop)
        self._at = self._end if end < 0 else end + 1

    def _within_here_document(self) -> str | None:
        """Read the substitutions of this text; its own text when there are none, with escapes resolved."""
        out: list[str] = []
        known = True
        while self._at < self._end:
            c = self._peek()
            if c == "\\":
                after = self._peek(1)
                if after == "\n":
                    self._at += 2
                elif after and after in "$`\\":
                    out.append(after)
                    self._at += 2
                else:
                    out.append(c)
                    self._at += 1
            elif c in "$`":
                if self._substitution([], inside=True):
                    known = False
                else:
                    out.append(c)
            else:
                run = _HERE.match(self.text, self._at)
                assert run is not None
                out.append(run[0])
                self._at = run.end()
        return "".join(out) if known else None
