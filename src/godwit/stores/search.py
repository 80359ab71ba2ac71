"""Full text search in SQLite (FTS5): implements `godwit.contracts.Search`, as a part of `SqliteStore`.

What was said is put into `texts` when somebody searches, not when it is said: an append costs nothing for it, and a search
first takes in what is new, session by session, in transactions that let others write in between.

Rules: a text has the position of the event it comes from, so it is of the log that holds that event; what leaves a log
leaves `texts` with it.
"""

from __future__ import annotations

import re

from ..contracts import FoundText
from ..core.errors import InvalidArgument
from .part import SqlitePart
from .requests import Call
from .transaction import SEQ_BITS, Transaction

_TERM = re.compile(r'"([^"]*)"(\*?)|(\S+)')
_WORD = re.compile(r"\w")
_SESSIONS = 100
"""Sessions that are taken in at a time."""
_EVENTS = 20_000
"""About how many of their events."""
_BEGIN, _END = "\x02", "\x03"
_QUERY_CHARACTERS = 1000
_MOST = 1000


class SqliteSearch(SqlitePart):
    """What `SqliteStore` does for who searches."""

    async def search(
        self,
        query: str,
        *,
        tenant: str | None = None,
        every_tenant: bool = False,
        workspace: str | None = None,
        per_session: int = 3,
        limit: int = 20,
    ) -> list[FoundText]:
        """See `Search.search`."""
        if not 1 <= limit <= _MOST or per_session < 1:
            raise InvalidArgument(f"a search gives 1 to {_MOST} places, 1 or more of a session", limit=limit)
        words = match_of(query)
        while await self._writer.do(Call(_take_in)):
            pass
        found: list[FoundText] = []
        counts: dict[str, int] = {}
        at = 0
        while len(found) < limit:
            rows = self._select(
                "search",
                {
                    "query": words,
                    "tenant": tenant,
                    "every": every_tenant,
                    "workspace": workspace,
                    "limit": limit * 4,
                    "offset": at,
                },
            )
            for session, position, snippet, score, at_ms, kind in rows:
                counts[session] = counts.get(session, 0) + 1
                if counts[session] <= per_session and len(found) < limit:
                    text, marks = _marked(snippet)
                    seq = position & ((1 << SEQ_BITS) - 1)
                    found.append(FoundText(session, seq, kind, text, marks, at_ms, -score))
            if len(rows) < limit * 4:
                break
            at += len(rows)
        return found


def match_of(query: str) -> str:
    """The query in the words of FTS5, so that nothing in it is more than a word. InvalidArgument."""
    terms: list[str] = []
    for quoted, star, bare in _TERM.findall(query[:_QUERY_CHARACTERS]):
        word = quoted or bare.replace('"', "")
        begins = bool(star) or (bool(bare) and word.endswith("*"))
        word = word.rstrip("*")
        if _WORD.search(word):
            terms.append(f'"{word}"' + ("*" if begins else ""))
    if not terms:
        raise InvalidArgument(f"{query[:80]!r} has no words to search for", query=query[:80])
    return " ".join(terms)


def _take_in(transaction: Transaction) -> bool:
    """Take in some of what is new; whether there may be more."""
    stale = transaction.execute("stale_texts", (_SESSIONS,)).fetchall()
    left = _EVENTS
    for key, session, head, searched in stale:
        log = key << SEQ_BITS
        to = min(head, searched + left)
        transaction.execute("take_in_texts", {"after": log + searched, "to": log + to})
        transaction.execute("drop_text", (log,))
        transaction.execute("take_in_name", {"key": key, "position": log})
        transaction.execute("searched", {"key": key, "seq": to, "stale": to < head})
        transaction.forget(session)
        left -= to - searched
        if left <= 0:
            return True
    return len(stale) == _SESSIONS


def _marked(snippet: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    """The text without the signs in it, and where they were."""
    text, marks, begin = "", [], 0
    for piece in re.split(f"([{_BEGIN}{_END}])", " ".join(snippet.split(" "))):
        if piece == _BEGIN:
            begin = len(text)
        elif piece == _END:
            marks.append((begin, len(text)))
        else:
            text += piece
    return text, tuple(marks)


__all__ = ["SqliteSearch", "match_of"]
