"""Looking up heads in PostgreSQL: many who ask at once share one query.

Rule: who asks gets a head that was read after the question, so that what somebody was told is stored is there for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from ...core.ids import Seq, SessionId
from ..batch import FEED
from ..part import no_session
from .connections import Connections


class Heads:
    """One query at a time; those who ask meanwhile share the next."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._asked: dict[SessionId, asyncio.Future[Seq]] = {}
        self._task: asyncio.Task[None] | None = None

    async def head(self, session: SessionId) -> Seq:
        """SessionNotFound, and StoreError's leaves."""
        future = self._asked.get(session)
        if future is None:
            future = self._asked[session] = asyncio.get_running_loop().create_future()
            if self._task is None:
                self._task = asyncio.get_running_loop().create_task(self._run(), name="godwit-heads")
        return await asyncio.shield(future)

    async def of(self, sessions: Iterable[SessionId]) -> dict[SessionId, Seq]:
        """The heads of those that there are."""
        wanted = list(sessions)
        ids = [session for session in wanted if session != FEED]
        found: dict[SessionId, Seq] = {}
        if ids:
            found = {SessionId(id_): Seq(head) for id_, head in await self._connections.select("heads", {"ids": ids})}
        if len(ids) < len(wanted):
            found[FEED] = Seq((await self._connections.select("feed_head"))[0][0] + 1)
        return found

    async def _run(self) -> None:
        while self._asked:
            asked, self._asked = self._asked, {}
            try:
                found = await self.of(asked)
            except Exception as error:
                for future in asked.values():
                    _refuse(future, error)
                continue
            for session, future in asked.items():
                if future.done():
                    continue
                if session in found:
                    future.set_result(found[session])
                else:
                    _refuse(future, no_session(session))
        self._task = None


def _refuse(future: asyncio.Future[Seq], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # who asked may be gone


__all__ = ["Heads"]
