"""Frames: the events of the stream that tell of one item of a turn.

Their ids follow from the item's place and from what they tell of it, so what was shown while it came has the same id as what
is told of it from the log.
"""

from __future__ import annotations

from typing import Any, Literal, assert_never

import msgspec

from . import items
from .ids import Kind, Place, event_id, item_id
from .items import ItemStatus

Role = Literal["open", "delta", "whole", "close"]
"""What a frame is of its item: it announces it, is a piece of it, is all of it in one piece, or is the item as it ended."""
Answer = Literal["text", "thinking"]
"""The kinds of what an answer is made of."""


class Frame(msgspec.Struct):
    """One event of the stream. `place` and `role`: of which item it is what, if of any."""

    data: dict[str, Any]
    place: Place | None = None
    role: Role | None = None


class ItemFrames(msgspec.Struct, frozen=True):
    """Those of the items of one turn. `output`: an item's place in the turn's output, None for what is no output."""

    session: str
    turn: str

    def opening(self, place: Place, kind: Answer, output: int) -> list[Frame]:
        """An answer's item and its only part are announced."""
        item = item_id(self.session, place)
        if kind == "text":
            begun = items.message(item, self.turn, None, "in_progress", None)
            part = self._piece("content_part.added", place, output, "open", part=items.output_text(""))
        else:
            begun = items.reasoning(item, self.turn, "", "in_progress")
            part = self._piece("reasoning_summary_part.added", place, output, "open", part=items.summary_text(""))
        return [self.added(place, begun, output), part]

    def delta(
        self,
        place: Place,
        kind: Kind,
        output: int,
        start: int,
        text: str,
        *,
        role: Role = "delta",
    ) -> Frame:
        """A piece of an item, beginning behind so many of its characters."""
        span = event_id(self.session, f"{place.seq}_{place.number}_{start}-{start + len(text)}")
        match kind:
            case "text":
                return self._piece("output_text.delta", place, output, role, event_id=span, delta=text)
            case "thinking":
                return self._piece("reasoning_summary_text.delta", place, output, role, event_id=span, delta=text)
            case "output":
                data = {
                    "type": "agent.output.command_execution_output.delta",
                    "event_id": span,
                    "session_id": self.session,
                    "turn_id": self.turn,
                    "item_id": item_id(self.session, place),
                    "output_index": output,
                    "delta": text,
                }
                return Frame(data, place, role)
            case _:
                assert_never(kind)

    def given_up(self, place: Place, kind: Answer, output: int) -> Frame:
        """An item that was announced and will not be: it is asked for again, under another id."""
        make = items.message(item_id(self.session, place), self.turn, None, "incomplete", None)
        if kind == "thinking":
            make = items.reasoning(item_id(self.session, place), self.turn, "", "incomplete")
        frame = self._item("done", place, make, output, "close")
        frame.data["event_id"] = event_id(self.session, f"{place.seq}_{place.number}_void")
        return frame

    def text_done(self, place: Place, output: int, text: str) -> list[Frame]:
        return [
            self._piece("output_text.done", place, output, None, text=text),
            self._piece("content_part.done", place, output, None, part=items.output_text(text)),
        ]

    def thinking_done(self, place: Place, output: int, text: str, status: ItemStatus) -> list[Frame]:
        done = self._piece("reasoning_summary_part.done", place, output, None, part=items.summary_text(text))
        if status == "incomplete":
            done.data["status"] = "incomplete"
        return [self._piece("reasoning_summary_text.done", place, output, None, text=text), done]

    def _piece(self, name: str, place: Place, output: int, role: Role | None, **fields: Any) -> Frame:
        where = "summary_index" if name.startswith("reasoning") else "content_index"
        data = {
            "type": f"agent.session.turn.{name}",
            "event_id": event_id(self.session, f"{place.seq}_{place.number}_{name}"),
            "session_id": self.session,
            "turn_id": self.turn,
            "item_id": item_id(self.session, place),
            "output_index": output,
            where: 0,
            **fields,
        }
        return Frame(data, place, role)

    def added(self, place: Place, item: dict[str, Any], output: int | None) -> Frame:
        return self._item("added", place, item, output, "open")

    def done(self, place: Place, item: dict[str, Any], output: int) -> Frame:
        return self._item("done", place, item, output, "close")

    def _item(self, what: str, place: Place, item: dict[str, Any], output: int | None, role: Role) -> Frame:
        data = {
            "type": f"agent.session.turn.item.{what}",
            "event_id": event_id(self.session, f"{place.seq}_{place.number}_{what}"),
            "session_id": self.session,
            "turn_id": self.turn,
            "output_index": output,
            "item": item,
        }
        return Frame(data, place, role)
