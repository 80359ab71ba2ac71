"""Pieces of a word, and the words that braces make of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

MAX_BRACES = 64
"""How many words one word with braces may become."""


@dataclass(slots=True, frozen=True)
class Piece:
    """A piece of a word. `kind`: plain, quoted, or expansion; an expansion that is `quoted` stays one word."""

    text: str
    kind: str
    quoted: bool = False


def braced(items: list[Piece]) -> list[list[Piece]] | None:
    """The words that brace expansion makes of one; None when it cannot be told."""
    opened = sum(i.kind == "plain" and i.text == "{" for i in items)
    if not opened:
        return [items]
    return _expanded(items, 0) if opened <= MAX_BRACES else None


def _expanded(items: list[Piece], depth: int) -> list[list[Piece]] | None:
    if depth > 8:
        return None
    for at, item in enumerate(items):
        if item.kind != "plain" or item.text != "{":
            continue
        level, commas, close = 0, [], -1
        for inner in range(at, len(items)):
            if items[inner].kind != "plain":
                continue
            match items[inner].text:
                case "{":
                    level += 1
                case "}":
                    level -= 1
                    if level == 0:
                        close = inner
                        break
                case "," if level == 1:
                    commas.append(inner)
        if close < 0:
            continue
        if not commas:
            between = "".join(i.text for i in items[at + 1 : close] if i.kind == "plain")
            if ".." in between:
                return None
            continue
        cuts = [at, *commas, close]
        before, after = items[:at], items[close + 1 :]
        rest = _expanded(after, depth + 1)
        if rest is None:
            return None
        found: list[list[Piece]] = []
        for left, right in pairwise(cuts):
            middle = _expanded(items[left + 1 : right], depth + 1)
            if middle is None:
                return None
            found += [[*before, *one, *tail] for one in middle for tail in rest]
            if len(found) > MAX_BRACES:
                return None
        return found
    return [items]
