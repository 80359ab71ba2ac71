"""What the indexes of a PostgreSQL store are given and asked for. A part of `PostgresStore`.

Words are made by `core.search_text` and `core.memory_ranking`, as for every store, and given to the server as vectors that
are made here: what its own parser would take for an address or a number, and its dictionaries, do not matter.

Rule: a vector has bounds in the server (a megabyte; 16383 places; words of 2 KB): what is beyond them is cut here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from ...core.memory_ranking import has_prefix
from ...core.search_text import Term
from ..memories import MemoriesPart
from ..search import SearchPart

_VECTOR_BYTES = 900_000
_PLACES = 16_383
_EACH = 255
_WORD = 500


def vector(words: Iterable[str]) -> str:
    """The words with their places, as a text that the server reads as a vector."""
    places: dict[str, list[int]] = {}
    size = 0
    for number, whole in enumerate(words, 1):
        word = whole[:_WORD]
        found = places.get(word)
        if found is None:
            size += len(word.encode()) + 8
            if size > _VECTOR_BYTES:
                break
            places[word] = [min(number, _PLACES)]
        elif len(found) < _EACH and number <= _PLACES:
            size += 2
            found.append(number)
    return " ".join(f"{_quoted(word)}:{','.join(map(str, at))}" for word, at in places.items())


def _quoted(word: str) -> str:
    return "'" + word[:_WORD].replace("\\", "\\\\").replace("'", "''") + "'"


class PostgresWords(SearchPart, MemoriesPart):
    """How `PostgresStore` finds what was said and what is remembered."""

    def _all_of(self, asked: Sequence[Term]) -> str:
        return " & ".join(f"({' <-> '.join(map(_quoted, term.words))}{':*' if term.begins else ''})" for term in asked)

    def _words_of(self, said: Sequence[str]) -> str:
        return vector(said)

    def _any_of(self, wanted: Sequence[str], places: Sequence[int]) -> str:
        words = " | ".join(f"{_quoted(word)}{':*' if has_prefix(word) else ''}" for word in wanted)
        return msgspec.json.encode({"words": words, "places": [f"p{key}" for key in places]}).decode()


__all__ = ["PostgresWords", "vector"]
