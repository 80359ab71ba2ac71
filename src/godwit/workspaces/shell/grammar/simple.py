"""Simple commands: assignments, words and redirections; or a function, which begins like one."""

from __future__ import annotations

import re
from abc import abstractmethod

from ..commands import Simple, Word, literal_word
from .cursor import RESERVED, Unreadable
from .redirections import Redirections

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\+?)=")
_SUBSCRIPTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\[")
_VARIABLE_DESCRIPTOR = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}\Z")


class SimpleCommands(Redirections):
    """Reads one."""

    @abstractmethod
    def _body(self) -> None:
        """A function's body."""

    def _simple(self) -> None:
        command = Simple()
        # Substitutions within are met first; the command itself keeps its place before them.
        self._add(command)
        taken = False
        while True:
            self._blanks()
            if self._redirect(command):
                taken = True
                continue
            if not command.words and self._assigned(command):
                taken = True
                continue
            start = self._at
            words = self._words()
            if words is None:
                break
            if not command.words:
                first = words[0]
                if not first.quoted and first.text in RESERVED and first.text != "time":
                    raise Unreadable(f"the keyword {first.text!r} stands where it is none")
                if "\\\n" in first.raw and (_ASSIGNMENT.match(first.text) or _SUBSCRIPTED.match(first.text)):
                    raise Unreadable("a variable is set over a continued line")
                command.start = start
                self.starts.add(start)
                self._blanks()
                if self._peek() == "(":
                    self._function(words)
                    self.commands.remove(command)
                    self.starts.discard(start)
                    return
            if self._peek() in ("<", ">") and _VARIABLE_DESCRIPTOR.match(words[-1].raw):
                raise Unreadable("a redirection sets a variable")
            taken = True
            command.words += words
        if not taken:
            raise self._unexpected()
        if self._peek() == "(":
            raise self._unexpected()

    def _function(self, words: list[Word]) -> None:
        """`name ( )` and a body."""
        self._at += 1
        self._blanks()
        self._expect(")")
        if len(words) != 1 or not words[0].exact or words[0].quoted:
            raise Unreadable("a function has an odd name")
        self._body()

    def _assigned(self, command: Simple) -> bool:
        if _SUBSCRIPTED.match(self.text, self._at):
            raise Unreadable("it sets an element of an array, whose index may run a command")
        found = _ASSIGNMENT.match(self.text, self._at)
        if found is None:
            return False
        self._at = found.end()
        name = found[1]
        if self._peek() == "(":
            self._at += 1
            self._array()
            command.sets.append((name, None))
            return True
        value = self._word(assignment=True)
        command.sets.append((name, value or literal_word("")))
        return True

    def _array(self) -> None:
        while True:
            self._newlines_within()
            if self._peek() == ")":
                self._at += 1
                return
            if self._peek() == "[":
                raise Unreadable("it sets an element of an array, whose index may run a command")
            if self._word() is None:
                raise self._unexpected()
