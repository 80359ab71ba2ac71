"""Live: the frames of one stream, stored events and what is on its way between them, each once.

A delta is not stored: what it shows of an item comes again with the event that stores the item. Here it is kept in mind how
much of each item was shown, so that a stored event adds only the rest; the cursor of each frame says it as well, so that a
reader who comes back goes on at the very character.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ...core.events import Delta, Event
from .frames import Answer, Frame
from .ids import Cursor, Kind, Place, Shown
from .items import COMMAND
from .projection import Projection


class Cut(msgspec.Struct, frozen=True):
    """A frame, and how far a reader has come with it."""

    frame: Frame
    cursor: Cursor


class Stored(msgspec.Struct, frozen=True):
    """A frame of a stored event: as it is, and what of it was not shown yet, None for nothing."""

    number: int
    whole: Cut
    rest: Cut | None


class Live:
    """Cuts the frames of a projection for a reader that begins at `cursor`."""

    def __init__(self, projection: Projection, cursor: Cursor) -> None:
        self._projection = projection
        self._from = cursor
        self._shown = dict(cursor.shown)
        self._texts: dict[Place, list[str]] = {}

    def event(self, event: Event) -> Iterator[Cut]:
        """Take a stored event in."""
        for stored in self.stored(event):
            if stored.rest is not None:
                yield stored.rest

    def stored(self, event: Event) -> Iterator[Stored]:
        """Take a stored event in; also what of it was shown."""
        for number, frame in enumerate(self._projection.apply(event)):
            if self._from.covers(event.seq, number):
                continue
            rest = self._rest(frame)
            whole = Cut(frame, Cursor(event.seq, number))
            yield Stored(number, whole, None if rest is None else Cut(rest, Cursor(event.seq, number, dict(self._shown))))

    def before(self, event: Event) -> Iterator[Cut]:
        """What is to be said before this event is taken in: that an answer which was shown will not be."""
        if event.type in ("model.started", "run.finished"):
            yield from self._give_up(event.seq)

    def delta(self, delta: Delta) -> Iterator[Cut]:
        """Take in what is on its way."""
        match delta.kind:
            case "text" | "thinking":
                yield from self._answer(delta, delta.kind)
            case "tool_output":
                yield from self._output(delta)
            case "discard":
                yield from self._give_up(None)
            case _:
                return

    def so_far(self) -> list[Cut]:
        """What shows one who has seen nothing of what is on its way all of it up to here."""
        turn, found = self._projection.turn, list[Frame]()
        for place, pieces in self._texts.items():
            shown, text = self._shown.get(place), "".join(pieces)
            if turn is None or shown is None:
                continue
            if shown.kind != "output":
                kind, output = shown.kind, turn.outputs + place.number
                found += self._projection.frames.opening(place, kind, output)
                found.append(self._projection.frames.delta(place, kind, output, 0, text))
            else:
                opened = next((c for c in self._projection.calls.values() if c.place == place), None)
                if opened is not None:
                    found.append(self._projection.frames.delta(place, "output", opened.call.output_index, 0, text))
        return [self._between(frame) for frame in found]

    def _rest(self, frame: Frame) -> Frame | None:
        """What of the frame was not shown yet."""
        place, role = frame.place, frame.role
        if place is None or place not in self._shown:
            return frame
        if role == "open":
            return None if self._shown[place].amount or frame.data["type"].endswith(".item.added") else frame
        shown = self._chars(place)
        if role == "whole":
            text = frame.data["delta"]
            if frame.data["type"].startswith("agent.output."):
                return frame if shown == 0 else None  # what a command says in the end is not just what it had said before
            if shown >= len(text):
                return None
            if shown:
                head, _, _ = frame.data["event_id"].rpartition("_")
                data = {**frame.data, "delta": text[shown:], "event_id": f"{head}_{shown}-{len(text)}"}
                return Frame(data, place, role)
        if role == "close":
            del self._shown[place]
            self._texts.pop(place, None)
        return frame

    def _answer(self, delta: Delta, kind: Answer) -> Iterator[Cut]:
        projection = self._projection
        asked, turn = projection.asked, projection.turn
        if asked is None or turn is None or asked.message != delta.id:
            return
        place, output = Place(asked.seq, delta.block), turn.outputs + delta.block
        if place not in self._shown:
            if delta.offset > 0 or not delta.text:
                return  # its beginning was missed: it comes as a whole
            self._shown[place] = Shown(kind, 0)
            yield self._between(projection.frames.opening(place, kind, output)[0])
        if self._shown[place].amount == 0:
            self._shown[place] = Shown(kind, 1)
            yield self._between(projection.frames.opening(place, kind, output)[1])
        yield from self._grown(delta, place, kind, output)

    def _output(self, delta: Delta) -> Iterator[Cut]:
        opened = next((c for own, c in self._projection.calls.items() if own == delta.id), None)
        if opened is None or not opened.announced or opened.call.result is not None or opened.call.name != COMMAND:
            return
        if opened.place not in self._shown:
            if delta.offset > 0:
                return
            self._shown[opened.place] = Shown("output", 1)
        yield from self._grown(delta, opened.place, "output", opened.call.output_index)

    def _grown(self, delta: Delta, place: Place, kind: Kind, output: int) -> Iterator[Cut]:
        shown = self._chars(place)
        text = delta.text[shown - delta.offset :] if delta.offset <= shown else ""
        if text:
            self._shown[place] = Shown(kind, 1 + shown + len(text))
            self._texts.setdefault(place, []).append(text)
            yield self._between(self._projection.frames.delta(place, kind, output, shown, text))

    def _chars(self, place: Place) -> int:
        return max(0, self._shown[place].amount - 1)

    def _give_up(self, seq: int | None) -> Iterator[Cut]:
        """What was shown of an answer that is asked for again, or not at all: of one that was begun before `seq`."""
        turn = self._projection.turn
        for place, shown in list(self._shown.items()):
            if turn is None or shown.kind == "output" or (seq is not None and place.seq >= seq):
                continue
            del self._shown[place]
            self._texts.pop(place, None)
            yield self._between(self._projection.frames.given_up(place, shown.kind, turn.outputs + place.number))

    def _between(self, frame: Frame) -> Cut:
        return Cut(frame, Cursor(self._projection.seq, None, dict(self._shown)))
