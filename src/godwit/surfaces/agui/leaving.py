"""Leaving: what becomes of a run when the front end that has asked for it goes away.

A session outlives whoever follows it, so by default nothing does. A front end may ask for the other: then the run is
interrupted, as when a person stops it. The end of a server is no such leaving.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from ...core.errors import GodwitError
from ...core.ids import SessionId
from ..server.service import Service
from .following import Stream
from .inputs import OnDisconnect

logger = logging.getLogger("godwit.server")

REASON = "its front end has left"


class Leaving:
    """Those of a server."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._tasks: set[asyncio.Task[None]] = set()

    async def followed(self, stream: Stream, session: SessionId, policy: OnDisconnect) -> AsyncIterator[bytes]:
        """The frames of a stream, with what its leaving does."""
        frames = stream.frames()
        try:
            async for chunk in frames:
                yield chunk
        finally:
            if not stream.over and policy == "stop" and not self._service.tenants.ending:
                # This is being closed, and may wait for nothing more.
                task = asyncio.ensure_future(self._stop(session))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _stop(self, session: SessionId) -> None:
        try:
            await self._service.runtime.interrupt(session, reason=REASON)
        except GodwitError as error:
            logger.warning("session %s cannot be interrupted: %s", session, error.message)


__all__ = ["Leaving"]
