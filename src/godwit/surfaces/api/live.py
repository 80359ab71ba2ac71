"""Live: one session's events and deltas as frames, made once for all who follow it (`surfaces/server/broadcast.py`)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from ...contracts import EventStore, SessionRow
from ...core.events import Event
from ...core.ids import Seq
from ...engine.receiver import EventStream, Watch
from ..server.broadcast import Frame, Piece, Place
from ..server.stream import frame
from .wire import encode

DELTAS = "deltas"
"""What is followed beside the events."""
PAGE = 512
"""Events read at a time."""
SHOWN_BYTES = 1024 * 1024
"""Deltas since the last event that are kept for who comes to them late; of more than that only the event is shown."""


class Live:
    """Implements `surfaces.server.broadcast.Feed`. Deltas between two events are one thing that is on its way."""

    def __init__(self, store: EventStore, row: SessionRow) -> None:
        self._store = store
        self._row = row
        self._at: Seq = 0
        self._since: list[bytes] = []
        self._bytes = 0

    async def stored(self, after: Place) -> AsyncIterator[Frame]:
        seq = after[0]
        while events := await self._store.read(self._row.id, seq, limit=PAGE):
            for event in events:
                yield self._framed(event)
            seq = events[-1].seq

    async def live(self, after: Place) -> AsyncIterator[Frame]:
        row = await self._store.session(self._row.id)
        self._at = after[0]
        over = row.status == "archived" and self._at >= row.head
        items = EventStream(Watch(self._store, row.id, self._at), over=over)
        async with contextlib.aclosing(items):
            async for item in items:
                if isinstance(item, Event):
                    self._at, self._since, self._bytes = item.seq, [], 0
                    yield self._framed(item)
                    continue
                data = frame(encode(item), event="delta")
                first = self._bytes == 0
                self._bytes += len(data)
                if self._bytes <= SHOWN_BYTES:
                    self._since.append(data)
                yield Frame((self._at, 0), data, Piece(DELTAS, str(self._at), first))

    def so_far(self, piece: Piece) -> bytes | None:
        return b"".join(self._since) if piece.of == str(self._at) and 0 < self._bytes <= SHOWN_BYTES else None

    def _framed(self, event: Event) -> Frame:
        event.labels = self._row.labels
        return Frame((event.seq, 0), frame(event.frame(), id=str(event.seq)))
