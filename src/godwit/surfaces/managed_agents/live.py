"""Live: one session as frames of a stream: what is stored, what comes, and previews of a message while it is on its way.

The name of every frame is `message`: no other is taken by all clients that were ever released. Its `id` is the seq of ours
that the event comes from, with a number behind it where several do; a client that names the last one it had gets the rest.
Previews have no id and are not repeated; what they begin with `event_start` may stay without its event, when the model is
asked again or cut off.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import msgspec

from ...contracts import EventStore
from ...core.errors import InvalidArgument, SessionNotFound
from ...core.events import Delta, Event, ModelStarted
from ...core.ids import MessageId, Seq, SessionId
from ...engine.receiver import EventReceiver, LiveDeltas
from ..server.broadcast import Frame, Piece
from ..server.stream import frame
from .event_ids import MESSAGE, THINKING, event_id
from .history import BEHIND, History
from .projected import Place, Projected
from .query import moment

NAME: Final = "message"
TOPICS: Final = ("agent.message", "agent.thinking")
"""What may be previewed."""
DELETED_S: Final = 0.5
"""How long the streams of an archived session stay, since one that is deleted is archived first."""

_encoder = msgspec.json.Encoder()


def framed(projected: Projected) -> Frame:
    """A stored event as a frame."""
    return Frame(projected.place, frame(_encoder.encode(projected.body), event=NAME, id=id_of(projected.place)))


def id_of(place: Place) -> str:
    seq, number = place
    return str(seq) if number == 0 else f"{seq}.{number}"


def place_of(text: str, *, whole: bool) -> Place:
    """The place that a frame's id names. `whole`: a seq alone means all that it becomes. InvalidArgument."""
    found = re.fullmatch(r"([0-9]{1,12})(?:\.([0-9]{1,6}))?", text)
    if found is None:
        raise InvalidArgument(
            f"{text[:100]!r} is no place in a stream: give the id of a frame, such as 17 or 17.2", value=text
        )
    seq, number = found.groups()
    return Seq(int(seq)), int(number) if number is not None else (BEHIND if whole else 0)


class Live:
    """Implements `surfaces.server.broadcast.Feed` for one session."""

    def __init__(self, store: EventStore, session: SessionId, agent: str, now_ms: Any) -> None:
        self._store = store
        self._session = session
        self._history = History(store, session, agent)
        self._preview: _Preview | None = None
        self._now_ms = now_ms

    async def stored(self, after: Place) -> AsyncIterator[Frame]:
        with contextlib.suppress(SessionNotFound):  # it was deleted: `live` says so
            async for projected in self._history.behind(after):
                if not projected.quiet:
                    yield framed(projected)

    async def live(self, after: Place) -> AsyncIterator[Frame]:
        place = after
        try:
            async for one in self._live(after):
                place = one.place
                yield one
        except SessionNotFound:
            seq = Seq(place[0] + 1)
            body = {"id": event_id(self._session, seq, 0), "type": "session.deleted", "processed_at": moment(self._now_ms())}
            yield framed(Projected((seq, 0), body))

    def so_far(self, piece: Piece) -> bytes | None:
        preview = self._preview
        return None if preview is None else preview.so_far(piece.of)

    async def _live(self, after: Place) -> AsyncIterator[Frame]:
        projector, seq = await self._history.open(after)
        receiver = EventReceiver(self._store, self._session, seq)
        deltas = LiveDeltas(self._store, self._session)
        place = after
        try:
            while True:
                deltas.begin()
                while (event := await receiver.next_stored()) is not None:
                    for piece in self._pieces(deltas.take(event.seq), place):
                        yield piece
                    for projected in await self._history.project(projector, event):
                        if projected.place > after and not projected.quiet:
                            place = projected.place
                            yield framed(projected)
                    self._note(event)
                    if event.type == "session.archived":
                        await self._store.wait(self._session, event.seq, DELETED_S)
                        return
                for projected in projector.rest():
                    if projected.place > after:
                        place = projected.place
                        yield framed(projected)
                for piece in self._pieces(deltas.take(Seq(receiver.seq + 1)), place):
                    yield piece
                await deltas.wait(receiver)
        finally:
            deltas.close()

    def _note(self, event: Event) -> None:
        """Whose previews may come from here on."""
        data = event.data if event.type == "model.started" else None
        if isinstance(data, ModelStarted):
            self._preview = _Preview(self._session, event.seq, data.message)
        elif event.type in _ENDING:
            self._preview = None

    def _pieces(self, deltas: list[Delta], place: Place) -> Iterator[Frame]:
        for delta in deltas:
            preview = self._preview
            if preview is not None and preview.message == delta.id:
                for piece, data in preview.add(delta):
                    yield Frame(place, data, piece)


_ENDING: Final = frozenset(("agent.message", "run.retrying", "run.yielded", "turn.finished", "run.finished", "run.claimed"))


class _Preview:
    """The answer to one model request, as far as it has come."""

    def __init__(self, session: SessionId, request: Seq, message: MessageId) -> None:
        self.message = message
        self._ids = {
            topic: event_id(session, request, index) for topic, index in (("text", MESSAGE), ("thinking", THINKING))
        }
        self._begun: set[str] = set()
        self._blocks: list[int] = []
        self._texts: list[list[str]] = []
        self._length = 0
        self._broken = False

    def add(self, delta: Delta) -> Iterator[tuple[Piece, bytes]]:
        """The frames that a delta becomes: none when it does not follow what was shown."""
        if delta.kind == "discard":
            self._broken = True
        if delta.kind not in self._ids or not delta.text or self._broken:
            return
        of = self._ids[delta.kind]
        if delta.kind == "thinking":
            if delta.kind not in self._begun:
                self._begun.add(delta.kind)
                yield Piece("agent.thinking", of, True), _start("agent.thinking", of)
            return
        if not self._blocks or self._blocks[-1] != delta.block:
            # Their content is numbered without gaps, and in the order in which it comes.
            if delta.block in self._blocks or (self._blocks and delta.block < self._blocks[-1]):
                self._broken = True
                return
            self._blocks.append(delta.block)
            self._texts.append([])
            self._length = 0
        if delta.offset != self._length:
            self._broken = True
            return
        self._length += len(delta.text)
        self._texts[-1].append(delta.text)
        if delta.kind not in self._begun:
            self._begun.add(delta.kind)
            yield Piece("agent.message", of, True), _start("agent.message", of)
        yield Piece("agent.message", of), _part(of, len(self._texts) - 1, delta.text)

    def so_far(self, of: str) -> bytes | None:
        if of != self._ids["text"] or self._broken:
            return None
        parts = (_part(of, number, "".join(pieces)) for number, pieces in enumerate(self._texts))
        return b"".join((_start("agent.message", of), *parts))


def _start(kind: str, of: str) -> bytes:
    return frame(_encoder.encode({"type": "event_start", "event": {"type": kind, "id": of}}), event=NAME)


def _part(of: str, index: int, text: str) -> bytes:
    delta = {"type": "content_delta", "index": index, "content": {"type": "text", "text": text}}
    return frame(_encoder.encode({"type": "event_delta", "event_id": of, "delta": delta}), event=NAME)
