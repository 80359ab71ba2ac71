"""Text that is searched for: its words as an index keeps them, what a query asks for, and where in a text that is.

Case, accents and ways to write a character do not matter. Scripts without spaces are indexed by pairs of characters that
overlap, so that any part of such a text is found. Leaves out the index itself (a store). Rule: what is indexed and what is
asked for are made by the same functions; whoever changes them has every text indexed anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice

import msgspec

from .errors import InvalidArgument
from .folding import folded, runs

QUERY_CHARACTERS = 1000
SHOWN = 160
"""Characters of a text that are shown around what was found."""
_BEFORE = 40
"""How many of them stand before it, at most."""
_MARKS = 1000
_STRANGE = re.compile(r"([^\x00-\x7f]+)")
_LOOKED_AT = 200_000
"""Of a longer text the rest is not looked at for what to show."""
_TERM = re.compile(r'"([^"]*)"(\*?)|(\S+)')
_BEGIN, _END = r"(?<![^\W_])", r"(?![^\W_])"


class Term(msgspec.Struct, frozen=True):
    """Words that stand next to each other; of the last one only the beginning, where it `begins`."""

    words: tuple[str, ...]
    begins: bool
    place: re.Pattern[str]
    """Finds it in a text that is folded."""


def indexed(text: str) -> str:
    """The text as an index that parts words at blanks takes it in."""
    if text.isascii():
        return text.replace("\0", " ")
    return " ".join(_words(folded(text)))


def words_of(text: str) -> Iterator[str]:
    """The words of a text, in order, for an index that does not part it itself."""
    return _words(folded(text))


def terms(query: str) -> list[Term]:
    """What a query asks for; nothing in it is more than a word. InvalidArgument when it has none."""
    asked = query
    if len(asked) > QUERY_CHARACTERS:
        asked = asked[: QUERY_CHARACTERS + 1].rpartition(" ")[0] or asked[:QUERY_CHARACTERS]
    found: list[Term] = []
    for quoted, star, bare in _TERM.findall(asked):
        text = quoted or bare.replace('"', "")
        begins = bool(star) or (bool(bare) and text.endswith("*"))
        term = _term(folded(text), begins)
        if term is not None and term not in found:
            found.append(term)
    if not found:
        raise InvalidArgument(f"{query[:80]!r} has no words to search for", query=query[:80])
    return found


def _term(text: str, begins: bool) -> Term | None:
    words = list(_words(text))
    if not words:
        return None
    parts: list[str] = []
    before: bool | None = None
    last = ""
    for last, unspaced in runs(text):
        if before is not None:
            parts.append(r"[\W_]+" if before == unspaced else r"[\W_]*")
        elif not unspaced:
            parts.append(_BEGIN)
        parts.append(re.escape(last))
        before = unspaced
    if before and len(last) > 1:
        words.pop()  # its last character alone: in a text more may follow
    parts.append("" if before else r"[^\W_]*" if begins else _END)
    return Term(tuple(words), begins or bool(before), re.compile("".join(parts)))


def _words(text: str) -> Iterator[str]:
    """Of a text that is folded: words, and of scripts without spaces pairs of characters, with the last one alone."""
    for run, unspaced in runs(text):
        if unspaced:
            yield from (run[n : n + 2] for n in range(len(run)))
        else:
            yield run


def shown(text: str, asked: Sequence[Term]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """The part of a text where most of the terms stand together, and where in it they are."""
    seen = text[:_LOOKED_AT]
    plain, at = (seen.lower(), None) if seen.isascii() else _folded_places(seen)
    most = max(10, _MARKS // len(asked))
    found: list[tuple[int, int, int]] = []
    for number, term in enumerate(asked):
        for match in islice(term.place.finditer(plain), most):
            begin, end = match.span()
            found.append((begin, end, number) if at is None else (at[begin], at[end - 1] + 1, number))
    found.sort()
    start, end = _window(text, found)
    head, tail = "…" if start else "", "…" if end < len(text) else ""
    marks: list[tuple[int, int]] = []
    for first, last, _ in found:
        if first >= start and last <= end and (not marks or first - start + len(head) >= marks[-1][1]):
            marks.append((first - start + len(head), last - start + len(head)))
    return f"{head}{text[start:end]}{tail}", tuple(marks)


def _window(text: str, found: Sequence[tuple[int, int, int]]) -> tuple[int, int]:
    if len(text) <= SHOWN:
        return 0, len(text)
    most, best = 0, 0
    wanted = len({number for _, _, number in found})
    for place, (begin, _, _) in enumerate(found):
        if most == wanted:
            break
        near = set()
        for other, last, number in found[place:]:
            if other > begin + SHOWN - _BEFORE:
                break
            if last <= begin + SHOWN - _BEFORE:
                near.add(number)
        if len(near) > most:
            most, best = len(near), begin
    start = max(0, best - _BEFORE)
    if start:
        blank = text.find(" ", start, best)
        start = blank + 1 if blank >= 0 else start
    end = min(len(text), start + SHOWN)
    if end < len(text):
        blank = text.rfind(" ", start + SHOWN // 2, end)
        end = blank if blank >= 0 else end
    return start, end


def _folded_places(text: str) -> tuple[str, list[int]]:
    """The text folded, and for each of its characters the place it comes from."""
    made: list[str] = []
    at: list[int] = []
    place = 0
    for number, piece in enumerate(_STRANGE.split(text)):
        if number % 2 == 0:
            made.append(piece.lower())
            at += range(place, place + len(piece))
        else:
            for offset, character in enumerate(piece, place):
                one = _folded_character(character)
                made.append(one)
                at += [offset] * len(one)
        place += len(piece)
    return "".join(made), at


@lru_cache(maxsize=4096)
def _folded_character(character: str) -> str:
    return folded(character)


__all__ = ["QUERY_CHARACTERS", "SHOWN", "Term", "indexed", "shown", "terms", "words_of"]
