"""Texts as they are compared: without case, accents and ways to write a character, in runs of letters and digits.

Rule: of what is kept in an index and what is asked of it both are folded here, so whoever changes this has to have every
index made anew.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_RUN = re.compile(r"[^\W_]+")
_ACCENTS = re.compile("[\u0300-\u036f]")
# Scripts that are written without spaces.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
)


def folded(text: str) -> str:
    """The text without case and accents."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    if not plain.isascii():
        plain = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", plain)))
    return plain


def runs(text: str) -> Iterator[tuple[str, bool]]:
    """The runs of letters and digits of a folded text, each with whether it is of a script without spaces."""
    for run in _RUN.findall(text):
        if run.isascii():
            yield run, False
            continue
        at = 0
        for match in _UNSPACED.finditer(run):
            if match.start() > at:
                yield run[at : match.start()], False
            yield match.group(), True
            at = match.end()
        if at < len(run):
            yield run[at:], False


def is_unspaced(word: str) -> bool:
    """Whether a word begins in a script without spaces."""
    return _UNSPACED.match(word) is not None


__all__ = ["folded", "is_unspaced", "runs"]
