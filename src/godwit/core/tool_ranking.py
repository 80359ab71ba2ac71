"""How tools are found: by their exact names, by the words of these, of their descriptions, and of their parameters.

Pure. Words are compared without case and accents; names are parted at `_`, `-`, `.` and where capitals begin; of scripts
that are written without spaces two characters each are a word. A word that stands in few tools counts more than one that
stands in many. Rule: the same tools and the same query give the same answer in the same order, whoever asks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from .agent import ToolDefinition
from .folding import folded, is_unspaced
from .mcp import provider_name, server_and_tool
from .memory_ranking import query_words, words

SELECT = "select:"
"""What a query begins with that names tools, parted by commas."""
DESCRIPTION = 2000
"""Characters of a description that are looked at."""
PARAMETERS = 100
"""Of one tool."""
COUNTS = (10.0, 6.0, 3.0, 1.5)
"""What a word counts that stands in a tool's name, in its server's, in its description, among its parameters."""
BESIDE = 0.2
"""The part of it that counts where the word stands in a better place as well."""
STEM, BEGINS, BEGUN = 0.9, 0.6, 0.5
"""What a word counts that is the same but for its ending; that begins with the one looked for; that is its beginning."""
WHOLE = 4.0
"""What a name counts of which every word was looked for."""
NEAR = 0.35
"""A tool is found that scores at least this part of the best one."""
_CAPITALS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_ENDINGS = ("ing", "ies", "ied", "es", "ed", "er", "s", "e", "y")


class Chosen(NamedTuple):
    """What a query comes to: the places of the tools, the best first; and names it has that no tool has."""

    places: tuple[int, ...]
    unknown: tuple[str, ...] = ()


class ToolIndex:
    """Some tools, to be looked through. Made once for a list of them."""

    def __init__(self, tools: Sequence[ToolDefinition]) -> None:
        self._tools = tuple(tools)
        self._names: dict[str, list[int]] = {}
        for place, tool in enumerate(self._tools):
            for name in dict.fromkeys(_all_names(tool.name)):
                self._names.setdefault(name, []).append(place)
        self._words: _Words | None = None

    def find(self, query: str, limit: int) -> Chosen:
        """The tools that fit best, `limit` at most; of a query that names tools all that it names."""
        asked = query.strip()
        if asked[: len(SELECT)].casefold() == SELECT:
            return self._select(asked[len(SELECT) :])
        exact = self._names.get(folded(asked))
        if exact is not None and len(exact) <= limit:
            return Chosen(tuple(exact))
        return Chosen(self._ranked(asked, limit))

    def _select(self, names: str) -> Chosen:
        found: dict[int, None] = {}
        unknown: list[str] = []
        for name in filter(None, (one.strip() for one in names.split(","))):
            places = self._names.get(folded(name))
            if places is None:
                unknown.append(name)
            else:
                found.update(dict.fromkeys(places))
        return Chosen(tuple(found), tuple(unknown))

    def _ranked(self, query: str, limit: int) -> tuple[int, ...]:
        needed = [word for part in query.split() if part.startswith("+") for word in query_words(_parted(part))]
        parted = _parted(query)
        wanted = query_words(query if parted == query else f"{query} {parted}")
        if not wanted:
            return ()
        if self._words is None:
            self._words = _Words(self._tools)
        had = {word: self._words.fits(word) for word in dict.fromkeys((*wanted, *needed))}
        rarity = {word: math.log1p((len(self._tools) + 1) / (len(had[word]) + 0.5)) for word in wanted}
        whole = sum(rarity.values())
        scored: list[tuple[float, int]] = []
        for place in {place for word in wanted for place in had[word]}:
            if any(place not in had[word] or not had[word][place].named for word in needed):
                continue
            score = share = 0.0
            named = 0
            for word in wanted:
                if (found := had[word].get(place)) is not None:
                    score += rarity[word] * found.counts
                    share += rarity[word]
                    named += found.own >= STEM
            covered = min(1.0, named / (self._words.own[place] or 1))
            score = (score + WHOLE * covered * whole / len(wanted)) * (0.4 + 0.6 * share / whole)
            scored.append((score, place))
        scored.sort(key=lambda found: (-found[0], self._tools[found[1]].name))
        return tuple(place for score, place in scored[:limit] if score >= NEAR * scored[0][0])


class _Fit(NamedTuple):
    """How well a tool has a word: what that counts; and how well its name, or that of its server too, has it, 0 to 1."""

    counts: float
    own: float
    named: float


class _Words:
    """Where the words of tools stand. `own`: how many words the name of each has."""

    def __init__(self, tools: Sequence[ToolDefinition]) -> None:
        self.own: list[int] = []
        # By their first letter, since words are compared with those alone that begin in the same way.
        self._at: dict[str, dict[str, list[tuple[int, int]]]] = {}
        for place, tool in enumerate(tools):
            server, name = server_and_tool(tool.name) or ("", tool.name)
            properties = tool.parameters.get("properties")
            parameters = list(properties)[:PARAMETERS] if isinstance(properties, dict) else []
            self.own.append(len(set(words(_parted(name)))))
            fields = (
                _of_names((name,)),
                _of_names((server,)),
                set(words(tool.description[:DESCRIPTION])),
                _of_names(parameters),
            )
            for field, those in enumerate(fields):
                for word in those:
                    self._at.setdefault(word[0], {}).setdefault(word, []).append((place, field))

    def fits(self, wanted: str) -> dict[int, _Fit]:
        """The places of the tools that have the word, or one like it."""
        best: dict[int, list[float]] = {}
        part = len(wanted) == 1 and is_unspaced(wanted)
        buckets = self._at.values() if part else [self._at.get(wanted[0], {})]
        for word, places in (found for bucket in buckets for found in bucket.items()):
            if fit := _fit(wanted, word) or (BEGINS if part and wanted in word else 0.0):
                for place, field in places:
                    there = best.setdefault(place, [0.0] * len(COUNTS))
                    there[field] = max(there[field], fit)
        found: dict[int, _Fit] = {}
        for place, there in best.items():
            counts = sorted(count * fit for count, fit in zip(COUNTS, there, strict=True))
            found[place] = _Fit(counts[-1] + BESIDE * sum(counts[:-1]), there[0], max(there[0], there[1]))
        return found


def _fit(wanted: str, word: str) -> float:
    """How well a word is the one that is looked for."""
    if word == wanted:
        return 1.0
    if is_unspaced(wanted) or len(wanted) < 3:
        return 0.0
    if _stem(word) == _stem(wanted):
        return STEM
    if word.startswith(wanted):
        return BEGINS
    return BEGUN if len(word) >= 4 and wanted.startswith(word) else 0.0


def _stem(word: str) -> str:
    """The word without an ending that often changes."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def _of_names(names: Iterable[Any]) -> set[str]:
    return {word for name in map(str, names) for word in (*words(_parted(name)), *words(name))}


def _parted(text: str) -> str:
    return _CAPITALS.sub(" ", text)


def _all_names(name: str) -> Iterable[str]:
    """By which names a tool may be asked for: its own, as providers take it, and as its server calls it."""
    yield folded(name)
    yield folded(provider_name(name))
    if (of := server_and_tool(name)) is not None:
        yield folded(of[1])
        yield folded(f"{of[0]}.{of[1]}")


__all__ = ["SELECT", "Chosen", "ToolIndex"]
