"""Full text search over what was said in all sessions."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from ..core.ids import Seq, SessionId


class FoundText(msgspec.Struct, frozen=True, omit_defaults=True):
    """A place where something was said. `seq`: the event that says it, 0 for the session's name. `text`: the words around
    what was found; `marks`: where in it those that were looked for begin and end, in characters. The greater `score`, the
    better."""

    session: SessionId
    seq: Seq
    kind: Literal["user", "agent", "name"]
    text: str
    marks: tuple[tuple[int, int], ...] = ()
    at_ms: int = 0
    score: float = 0.0


class Search(Protocol):
    """Finds what people and agents said, and the names of sessions, by words.

    Promises every implementation keeps, proven by `godwit.testing.StoreConformance`: what was appended before the call is
    found, by whole words without regard to case and accents; nothing is found of a session that is deleted, or of another
    tenant than asked for.
    """

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
        """Places with all these words, the best first, at most `per_session` of one session.

        `query`: words; "in quotes" they stand next to each other, and with a `*` behind it a word only begins so. Of just
        this tenant (None: of none), unless `every_tenant`. InvalidArgument for a query without words.
        """
        ...
