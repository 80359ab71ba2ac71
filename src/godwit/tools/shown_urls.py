"""Whether a conversation has shown an address, so that a model which may fetch only such ones may fetch it.

Rules a change must keep: what the model itself has written shows nothing, neither in an answer, nor in a call, nor as an
echo of a call in its result; so only results count that are no errors, and no tool named in sources may repeat an argument
in one. An address that begins with a shown one, or with which a shown one begins, is another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import unquote

from ..core.messages import Message, ToolResult, User, text_of
from ..core.web import UrlSources
from .url import Url

_ENDS = r"""[\s<>"'`)\]}|*]"""
_BEHIND = rf"(?=\#|{_ENDS}|[.,;:!?_]*(?:{_ENDS}|$))"
"""An address has ended: a fragment, which is not asked for, may follow, and the marks of a sentence or of Markdown."""


def is_shown(url: Url, given: str, conversation: Sequence[Message], sources: UrlSources) -> bool:
    """`given`: the address as the model wrote it."""
    return any(_said(url, given, people).search(text) for people, text in _texts(conversation, sources))


def _texts(conversation: Sequence[Message], sources: UrlSources) -> Iterator[tuple[bool, str]]:
    """What counts; and whether people have written it."""
    for message in reversed(conversation):
        match message:
            case User() if sources.messages:
                yield True, message.text
            case ToolResult(status="ok") if message.name in sources.tools:
                yield False, text_of(message.content)
            case _:
                pass


def _said(url: Url, given: str, people: bool) -> re.Pattern[str]:
    path, mark, query = url.target.partition("?")
    targets = {url.target, unquote(url.target)}
    if path == "/":
        targets.add(mark + query)
    there = "|".join(sorted(map(re.escape, targets), key=len, reverse=True))
    # People leave out the scheme.
    scheme = rf"(?:{url.scheme}://{'|(?<![A-Za-z0-9@:/._-])' if people else ''})"
    verbatim = re.escape(given.strip().partition("#")[0])
    return re.compile(rf"(?:(?i:{scheme}{re.escape(url.authority)})(?:{there})|{verbatim}){_BEHIND}")
