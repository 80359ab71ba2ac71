"""What the indexes of a SQLite store (FTS5) are asked for. A part of `SqliteStore`.

Rule: each word is quoted and has neither quotes nor blanks, so that nothing in it is more than a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..core.memory_ranking import has_prefix
from ..core.search_text import Term
from .memories import MemoriesPart
from .search import SearchPart


class SqliteWords(SearchPart, MemoriesPart):
    """How `SqliteStore` finds what was said and what is remembered."""

    def _all_of(self, asked: Sequence[Term]) -> str:
        return " ".join(f'"{" ".join(term.words)}"{"*" if term.begins else ""}' for term in asked)

    def _any_of(self, wanted: Sequence[str], places: Sequence[int]) -> str:
        return f"place : ({_any(f'p{key}' for key in places)}) AND words : ({_any(wanted, prefixes=True)})"


def _any(terms: Iterable[str], *, prefixes: bool = False) -> str:
    return " OR ".join(f'"{term}"{"*" if prefixes and has_prefix(term) else ""}' for term in terms)


__all__ = ["SqliteWords"]
