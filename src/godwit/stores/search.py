"""Full text search: implements `godwit.contracts.Search`, as a part of every store here.

What was said is put into `texts` when somebody searches, not when it is said: an append costs nothing for it, and a search
first takes in what is new, session by session, in transactions that let others write in between.

Rules: a text has the position of the event it comes from, so it is of the log that holds that event; what leaves a log
leaves `texts` with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from ..contracts import FoundText
from ..core.errors import InvalidArgument
from ..core.ids import SessionId
from ..core.search_text import Term, shown, terms
from .batch import SEQ_BITS, Unit
from .part import StorePart
from .requests import TEXTS, Call

_SESSIONS = 100
"""Sessions that are taken in at a time."""
_EVENTS = 20_000
"""About how many of their events."""
_MOST = 1000


class SearchPart(StorePart):
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
        asked = terms(query)
        match = self._all_of(asked)
        while await self._writer.do(Call(_take_in, about=TEXTS)):
            pass
        places: list[_Place] = []
        counts: dict[str, int] = {}
        at = 0
        while len(places) < limit:
            rows = await self._select(
                "search",
                {
                    "query": match,
                    "tenant": tenant,
                    "every": every_tenant,
                    "workspace": workspace,
                    "limit": limit * 4,
                    "offset": at,
                },
            )
            for place in map(_Place._make, rows):
                counts[place.session] = counts.get(place.session, 0) + 1
                if counts[place.session] <= per_session and len(places) < limit:
                    places.append(place)
            if len(rows) < limit * 4:
                break
            at += len(rows)
        return await self._shown(places, asked)

    def _all_of(self, asked: Sequence[Term]) -> str:
        """What its index is asked for to find all of these."""
        raise AssertionError("a store says what its index is asked")

    async def _shown(self, places: list[_Place], asked: list[Term]) -> list[FoundText]:
        """What was said there; what was deleted meanwhile is left out."""
        found: list[FoundText] = []
        for place in places:
            rows = await self._select("text_at", (place.position,)) if place.kind != "name" else ()
            text = _said(*rows[0]) if rows else place.name if place.kind == "name" else None
            if text is not None:
                part, marks = shown(text, asked)
                seq = place.position & ((1 << SEQ_BITS) - 1)
                found.append(FoundText(place.session, seq, place.kind, part, marks, place.at_ms, -place.bm25))
            await asyncio.sleep(0)
        return found


class _Place(NamedTuple):
    """A row of the query."""

    session: SessionId
    position: int
    name: str | None
    bm25: float
    at_ms: int
    kind: Literal["user", "agent", "name"]


class _Block(msgspec.Struct):
    type: str = ""
    text: str | None = None


class _Message(msgspec.Struct):
    content: list[_Block] = []


class _Answer(msgspec.Struct):
    message: _Message = msgspec.field(default_factory=_Message)


_user, _agent = msgspec.json.Decoder(_Message), msgspec.json.Decoder(_Answer)


def _said(type_: str, body: bytes) -> str:
    """What people read of an event."""
    message = _user.decode(body) if type_ == "user.message" else _agent.decode(body).message
    return "\n".join(block.text for block in message.content if block.type == "text" and block.text)


async def _take_in(transaction: Unit) -> bool:
    """Take in some of what is new; whether there may be more."""
    stale = await transaction.all("stale_texts", (_SESSIONS,))
    left = _EVENTS
    for key, session, head, searched in stale:
        log = key << SEQ_BITS
        to = min(head, searched + left)
        taken = await transaction.all("texts_between", {"after": log + searched, "to": log + to})
        texts = [(position, _said(type_, body)) for position, type_, body in taken]
        await transaction.do("drop_text", (log,))
        texts += ((log, name) for (name,) in await transaction.all("session_name", (key,)))
        await transaction.insert_texts([(position, text) for position, text in texts if text])
        await transaction.do("searched", {"key": key, "seq": to, "stale": to < head})
        transaction.forget(session)
        left -= to - searched
        if left <= 0:
            return True
    return len(stale) == _SESSIONS


__all__ = ["SearchPart"]
