"""What the parts of a store share: its writer, its reads, its clock, and how a session is found.

A part is one subject of the store's contracts, a module each; `sqlite` and `postgres.store` put them together. What differs
between the two is theirs: the statements (`sql/queries.sql`, `postgres/sql/queries.sql`, of the same names and parameters)
and who runs them. Rules: no statement of SQL stands in a part; nothing but the writer writes; a part waits for what it reads
and does, which for a database in this process is never long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from ..core.errors import SessionNotFound
from ..core.ids import Clock, Seq, SessionId
from .batch import FEED, Unit
from .hub import Hub
from .requests import Request

PORTION = 512
"""Rows read, or made into ours, between two turns of the loop."""

T = TypeVar("T")


class Does(Protocol):
    """The writer, as parts see it."""

    async def do(self, request: Request[T], *, ahead: bool = False) -> T:
        """Run the request in a transaction; it is durable on return. `ahead`: it may wait for the next one."""
        ...


class Living(Protocol):
    """Who uses the store, as parts see it."""

    @property
    def name(self) -> str: ...
    def hold(self) -> None:
        """From now on others see this instance alive."""
        ...

    def dead(self, owner: str) -> bool: ...


class StorePart:
    """What each part works with; the store sets it."""

    _writer: Does
    _clock: Clock
    _owners: Living
    _closed: bool

    async def _select(self, name: str, parameters: Any = ()) -> Sequence[Any]:
        """All rows of a named query. StoreClosed."""
        raise AssertionError("a store says how it reads")

    def _hub(self) -> Hub:
        raise AssertionError("a store has a hub for each loop")

    def _driver(self, owner: str, until_ms: int, dead: dict[str, bool]) -> str | None:
        """The owner, if it is alive; `dead`: what is known of others already."""
        raise AssertionError("a store says who is alive")

    async def _other_driver(self, transaction: Unit, session: SessionId) -> str | None:
        """Another live owner than this store, if one holds the session."""
        raise AssertionError("a store says who is alive")

    async def _look_up(self, session: SessionId) -> tuple[int, Seq]:
        """The session's key and its head. SessionNotFound."""
        if session == FEED:
            return 0, (await self._select("feed_head"))[0][0] + 1
        found = await self._select("head", (session,))
        if not found:
            raise no_session(session)
        key, head, _ = found[0]
        return key, head


async def session_key(transaction: Unit, session: SessionId) -> int:
    """SessionNotFound."""
    row = await transaction.find(session)
    if row is None:
        raise no_session(session)
    return row.key


def no_session(session: SessionId) -> SessionNotFound:
    return SessionNotFound(f"there is no session {session!r}", session=session)


def as_json(values: Sequence[str]) -> str:
    """For a query that compares with each of them."""
    return msgspec.json.encode(list(values)).decode()


__all__ = ["PORTION", "Does", "Living", "StorePart", "as_json", "no_session", "session_key"]
