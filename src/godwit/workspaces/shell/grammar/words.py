"""Words: their pieces put together, with what is known of what bash makes of them."""

from __future__ import annotations

import re
import unicodedata

from ..commands import Word
from .cursor import META, Unreadable
from .expansions import Expansions
from .pieces import Piece, braced

# Characters that mean themselves, taken together: in a word (without those of braces), in quotes, in a here-document.
_PLAIN = re.compile(r"[A-Za-z0-9_./=:@%+-]+")
_EMPTY_PARENTHESES = re.compile(r"\([ \t]*\)")


class Words(Expansions):
    """Reads words. One with an expansion in it is kept as written and known to be uncertain."""

    def _word(self, *, assignment: bool = False) -> Word | None:
        """One word, or None when none begins here. One that becomes several comes back as uncertain."""
        start = self._at
        items = self._items()
        if items is None:
            return None
        if not assignment:
            several = braced(items)
            if several is None or len(several) != 1:
                raw = self.text[start : self._at]
                return Word(raw, exact=False, splits=True, quoted=any(i.quoted for i in items), raw=raw, start=start)
            items = several[0]
        return self._made(items, start, assignment)

    def _words(self) -> list[Word] | None:
        """One word as the words that braces make of it, or None when none begins here."""
        start = self._at
        items = self._items()
        if items is None:
            return None
        several = braced(items)
        if several is None:
            raw = self.text[start : self._at]
            return [Word(raw, exact=False, splits=True, quoted=True, raw=raw, start=start)]
        made = [self._made(one, start, False) for one in several]
        # An empty word that nothing quoted is dropped, as bash does.
        kept = [word for word in made if word.text or word.quoted or not word.exact]
        return kept or [Word("", exact=False, splits=True, quoted=True, raw=self.text[start : self._at], start=start)]

    def _items(self) -> list[Piece] | None:
        start = self._at
        items: list[Piece] = []
        if not self._pieces(items, False):
            return None
        if "\n" in self.text[start : self._at] and self._pending:
            raise Unreadable("a word goes over lines that a here-document begins on")
        return items

    def _made(self, items: list[Piece], start: int, assignment: bool) -> Word:
        text = "".join(i.text for i in items)
        raw = self.text[start : self._at]
        exact, splits, quoted = True, False, False
        head: list[str] = []
        open_ = True
        plain = ""
        for item in items:
            quoted |= item.quoted
            if item.kind == "expansion":
                exact = False
                splits |= not item.quoted and not assignment
                open_ = False
            elif open_:
                head.append(item.text)
            plain += item.text if item.kind == "plain" else "\0" * len(item.text)
        globs = not assignment and plain not in ("[", "]", "[[", "]]") and any(c in plain for c in "*?[")
        if globs:
            exact = False
            first = min(plain.index(c) for c in "*?[" if c in plain)
            # The expansion begins with what stands before the first of them.
            known = "".join(head)
            head = [known[: min(first, len(known))]]
        return Word(text, exact, "".join(head), splits, globs, quoted, raw, start)

    def _pieces(self, items: list[Piece], inside: bool) -> bool:
        """The pieces of a word, up to a blank or an operator. False when there is none."""
        found = False
        while True:
            c = self._peek()
            if c == "" or (c in META and not (c in "<>" and self._peek(1) == "(")):
                if c == "(" and found and not inside and items and not self._function_follows(items):
                    raise Unreadable("a parenthesis follows a word")
                return found
            if c in "<>":
                start = self._at
                self._at += 2
                self._substituted()
                items.append(Piece(self.text[start : self._at], "expansion", True))
            elif c == "\\":
                after = self._peek(1)
                if after == "\n":
                    self._continuation()
                    if not found and (self._peek() == "" or self._peek() in META or self._peek() == "#"):
                        raise Unreadable("a line is continued where a word would begin")
                    continue
                if after == "":
                    raise Unreadable("it ends in a backslash")
                items.append(Piece(after, "quoted", True))
                self._at += 2
            elif c == "'":
                end = self.text.find("'", self._at + 1)
                if end < 0:
                    raise Unreadable("a quote is not closed")
                items.append(Piece(self.text[self._at + 1 : end], "quoted", True))
                self._at = end + 1
            elif c == '"':
                self._at += 1
                self._string(items)
            elif c in "$`":
                if not self._substitution(items):
                    items.append(Piece("$", "plain"))
            elif run := _PLAIN.match(self.text, self._at):
                items.append(Piece(run[0], "plain"))
                self._at = run.end()
            else:
                if not c.isascii():
                    self._checked(c)
                items.append(Piece(c, "plain"))
                self._at += 1
            found = True
            if inside and self._peek() in ("|", ")", "("):
                return True

    def _function_follows(self, items: list[Piece]) -> bool:
        return _EMPTY_PARENTHESES.match(self.text, self._at) is not None and all(i.kind == "plain" for i in items)

    def _checked(self, c: str) -> None:
        """A character that is not ASCII and not quoted: some shells take some of their bytes for blanks."""
        if unicodedata.category(c)[0] in "ZC":
            raise Unreadable(f"it holds the invisible character U+{ord(c):04X} outside quotes")
        if any(byte in (0x85, 0xA0) for byte in c.encode()):
            self._note(f"some shells take {c!r} outside quotes for a blank")
