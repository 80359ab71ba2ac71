"""What a text of commands is read as: simple commands, their words, and their redirections.

Leaves out how they are read (`grammar`) and what they mean (`programs`).
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Word:
    """`text`: as bash passes it on, or as written where that is not known (`exact` False). `head`: what it is known to begin
    with. `splits`: it may become several words, or none, which begin with anything; `globs`: with `head`. `quoted`:
    something in it was quoted, so it is no keyword.
    """

    text: str
    exact: bool = True
    head: str = ""
    splits: bool = False
    globs: bool = False
    quoted: bool = False
    raw: str = ""
    start: int = -1

    @property
    def option(self) -> bool:
        """Whether it, or a word it becomes, may begin with a dash."""
        return self.head.startswith("-") or (not self.exact and (self.splits or not self.head))


@dataclass(slots=True)
class Redirect:
    """`target` None: not known. `body`: what a here-document or here-string holds, None when not known. `number`: of the
    file descriptor, when it stands there. `copies`: it names another descriptor, no file.
    """

    operator: str
    target: str | None
    body: str | None = None
    number: str = ""
    copies: bool = False

    @property
    def writes(self) -> bool:
        return ">" in self.operator and not self.copies

    @property
    def reads(self) -> bool:
        return self.operator in ("<", "<>", "<&") and not self.copies

    @property
    def input(self) -> bool:
        """Whether it says where standard input comes from."""
        return self.number.lstrip("0") == "" and (bool(self.number) or self.operator.startswith("<"))


@dataclass(slots=True, eq=False)
class Simple:
    """A simple command. `sets`: variables it sets before its words, loops' variables too; None for a value not known."""

    words: list[Word] = field(default_factory=list)
    sets: list[tuple[str, Word | None]] = field(default_factory=list)
    redirects: list[Redirect] = field(default_factory=list)
    start: int = -1


def literal_word(text: str) -> Word:
    return Word(text, head=text, raw=text)


def unknown_word(text: str = "...") -> Word:
    """What comes from elsewhere, any number of words."""
    return Word(text, exact=False, splits=True, raw=text)
