"""Desk: works on sessions by id alone, for callers that hold no handle (seed 003 `ManagedAgentRuntime`).

It keeps the handles that drive here and lets go of those that rest when there are many. Letting go ends nothing: the
session is opened again when somebody asks for it. Rule: a session with an open run keeps its handle, since a parked run
has alarms to ring and a running one a driver.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from typing import Protocol

from ..contracts import EventStore
from ..core.errors import GodwitError, SessionNotFound
from ..core.gate import Status
from ..core.ids import SessionId
from ..engine.session import Session

logger = logging.getLogger("godwit")

HANDLES = 1024
"""Handles of resting sessions that are kept."""
OPEN_STATUSES: tuple[Status, ...] = ("queued", "running", "waiting", "retrying")
_PAGE = 200


class Opener(Protocol):
    """The runtime, as far as a desk needs it."""

    @property
    def store(self) -> EventStore: ...

    async def open_session(self, session: str, *, drive: bool = True) -> Session: ...


class Desk:
    """The driving handles of one runtime, by session. `handles`: how many of resting sessions are kept."""

    def __init__(self, opener: Opener, handles: int = HANDLES) -> None:
        self._opener = opener
        self._limit = handles
        self._handles: OrderedDict[SessionId, Session] = OrderedDict()
        self._opening: dict[SessionId, asyncio.Future[Session]] = {}

    async def session(self, session: str) -> Session:
        """A handle that drives this session, the same for all who ask. Do not close it. What `open_session` raises."""
        session_id = SessionId(session)
        handle = self._handles.get(session_id)
        if handle is not None and not handle.is_closed:
            self._handles.move_to_end(session_id)
            return handle
        opening = self._opening.get(session_id)
        if opening is None:
            opening = self._opening[session_id] = asyncio.ensure_future(self._opener.open_session(session))
            opening.add_done_callback(lambda _: self._opening.pop(session_id, None))
        handle = await asyncio.shield(opening)
        self.keep(handle)
        await self._let_go()
        return handle

    def keep(self, handle: Session) -> None:
        """Take over a driving handle."""
        self._handles[handle.id] = handle
        self._handles.move_to_end(handle.id)

    async def drop(self, session: str) -> None:
        """Let go of the session here, whatever it does."""
        handle = self._handles.pop(SessionId(session), None)
        if handle is not None:
            await handle.detach()

    async def recover(self) -> list[SessionId]:
        """Go on with each open run that no living process drives; returns their sessions.

        A session that cannot be driven here (a tool or a sandbox is missing) is logged and left to others.
        """
        taken: list[SessionId] = []
        before: tuple[int, SessionId] | None = None
        while True:
            rows = await self._opener.store.sessions(limit=_PAGE, before=before, statuses=OPEN_STATUSES)
            for row in rows:
                if row.run is None or row.owner is not None or self._held(row.id):
                    continue
                try:
                    await self.session(row.id)
                except GodwitError as error:
                    logger.warning("session %s cannot go on here: %s", row.id, error.message)
                else:
                    taken.append(row.id)
            if len(rows) < _PAGE:
                return taken
            before = (rows[-1].updated_ms, rows[-1].id)

    def _held(self, session: SessionId) -> bool:
        handle = self._handles.get(session)
        return handle is not None and not handle.is_closed

    async def _let_go(self) -> None:
        beyond = len(self._handles) - self._limit
        if beyond <= 0:
            return
        for session_id, handle in list(self._handles.items())[: beyond * 2]:
            if beyond <= 0:
                return
            with contextlib.suppress(SessionNotFound):
                if await handle.is_running():
                    continue
            if self._handles.get(session_id) is handle:
                del self._handles[session_id]
                await handle.detach()
                beyond -= 1

    def __len__(self) -> int:
        return len(self._handles)
