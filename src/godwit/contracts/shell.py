"""What reads a shell command as the simple commands it would run, for the permission rules."""

from __future__ import annotations

from typing import Protocol

import msgspec


class ShellPart(msgspec.Struct, frozen=True):
    """One simple command within a shell command. `words`: as the shell would pass them, as far as that is known from the
    text; `loose`: the places, from 0, of those that are not known, which are given as written. `text`: the words joined by
    blanks, those that would be mistaken in quotes.

    `writes`, `reads`: files its redirections name, None for one that is not known. `depth`: how many wrappers (env, sudo,
    bash -c, xargs) it stood in. `neutral`: it does nothing by itself that a rule would have to allow, since all it does is
    to print, to test, or to start other parts; or it is a guess, for rules that deny or ask. `caution`: why its words do not
    tell what it does.
    """

    words: tuple[str, ...]
    text: str
    loose: tuple[int, ...] = ()
    writes: tuple[str | None, ...] = ()
    reads: tuple[str | None, ...] = ()
    depth: int = 0
    neutral: bool = False
    caution: str | None = None

    @property
    def exact(self) -> bool:
        return not self.loose


class ShellCommand(msgspec.Struct, frozen=True):
    """A shell command as its simple commands. `problem`: why it could not be read as a whole; then it must be asked."""

    parts: tuple[ShellPart, ...]
    problem: str | None = None


class ShellParser(Protocol):
    def parse(self, command: str) -> ShellCommand:
        """Never raises. Wrappers are unwrapped: both `env X=1 rm a` and `rm a` are parts then."""
        ...
