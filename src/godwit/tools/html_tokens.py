"""HTML from anybody as tokens: texts, starts and ends of elements, read as browsers do where it matters.

Leaves out what elements mean (`html_elements`) and what becomes of them (`markdown`). Rules: time and memory grow with the
length of the page and nothing else, whatever stands in it: no recursion, no backtracking, no search that begins again where
one has failed.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from .html_elements import RAW, names

MAX_ATTRIBUTE = 8000
Attributes = dict[str, str]
_NAME = re.compile(r"[A-Za-z][^\s/>]*+")
_GAP = re.compile(r"[\s/=]*+")
_ATTRIBUTE = re.compile(r"([^\s/>=]++)(\s*+=\s*+)?+")
_BARE = re.compile(r"[^\s>]*+")
_HUGE = re.compile(r"&#(?:x[0-9a-f]{8,}+|[0-9]{9,}+);?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Start:
    name: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class End:
    name: str


@dataclass(frozen=True, slots=True)
class RawText:
    """The content of an element of `RAW`, whose tags are not given."""

    name: str
    text: str


Token = str | Start | End | RawText


def tokens(source: str) -> Iterator[Token]:
    """What ends in the middle of a tag, a comment or a script ends there, as in browsers."""
    place, size = 0, len(source)
    while place < size:
        at = source.find("<", place)
        if at < 0:
            yield source[place:]
            return
        if at > place:
            yield source[place:at]
        after = source[at + 1 : at + 2]
        if source.startswith("<!--", at):
            empty = source.startswith((">", "->"), at + 4)
            end = source.find(">" if empty else "-->", at + 4)
            if end < 0:
                return
            place = end + (1 if empty else 3)
        elif after in ("!", "?") or (after == "/" and not source[at + 2 : at + 3].isalpha()):
            end = source.find(">", at + 1)
            if end < 0:
                return
            place = end + 1
        elif after == "/" or (after.isascii() and after.isalpha()):
            named = _NAME.match(source, at + (2 if after == "/" else 1))
            if named is None:  # a letter, but none of a tag
                yield "<"
                place = at + 1
                continue
            attributes, closed, place = _attributes(source, named.end())
            if place < 0:
                return
            name = named[0].lower()
            if after == "/":
                yield End(name)
            elif name in RAW:
                end_tag = re.compile(f"</{name}(?=[\\s/>])", re.IGNORECASE).search(source, place)
                yield RawText(name, source[place : end_tag.start() if end_tag else size])
                if end_tag is None:
                    return
                _, _, place = _attributes(source, end_tag.end())
                if place < 0:
                    return
            else:
                yield Start(name, attributes)
                if closed and name in ("svg", "math"):
                    yield End(name)
        else:
            yield "<"
            place = at + 1


def _attributes(source: str, place: int) -> tuple[Attributes, bool, int]:
    """The attributes from here on, whether the tag ends in `/>`, and the place behind it; -1 when it does not end."""
    found: Attributes = {}
    while True:
        gap = _GAP.match(source, place)
        assert gap is not None
        place = gap.end()
        match = _ATTRIBUTE.match(source, place)
        if match is None:  # here stands the end of the tag, or of the page
            ended = place < len(source)
            return found, ended and source[place - 1] == "/", place + 1 if ended else -1
        place = match.end()
        value = ""
        if match[2] is not None:
            quote = source[place : place + 1]
            if quote and quote in "\"'":
                end = source.find(quote, place + 1)
                if end < 0:
                    return found, False, -1
                value, place = source[place + 1 : end], end + 1
            else:
                bare = _BARE.match(source, place)
                assert bare is not None
                value, place = bare[0], bare.end()
        name = match[1].lower()
        if name in _WANTED and name not in found:
            found[name] = unescaped(value[:MAX_ATTRIBUTE])


_WANTED = names("href src alt hidden aria-hidden style class start colspan open alttext")


def unescaped(text: str) -> str:
    # The standard library refuses numbers of thousands of digits.
    return html.unescape(_HUGE.sub("\ufffd", text)) if "&" in text else text
