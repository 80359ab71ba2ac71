"""Ids on the wire, and the cursor of a stream. All follow from the session and places in its log, so they are the same in
lists, in streams and after a restart.

A session, an agent and a turn (our run) keep godwit's own ids. An item is named by the event with which it began and its
place there; a stream's frame by its event and its place among that event's frames.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

import msgspec

from ...core.errors import InvalidArgument
from ...core.ids import Seq


class Place(NamedTuple):
    """Where an item began: the seq of its event, and which of the event's it is, from 0."""

    seq: Seq
    number: int


def stem(session: str) -> str:
    """The part of a session's id that its other ids share."""
    return session.removeprefix("ses_")


def item_id(session: str, place: Place) -> str:
    return f"item_{stem(session)}_{place.seq}_{place.number}"


def call_id(session: str, place: Place) -> str:
    """A function call's: a model may use one of its own ids twice."""
    return f"call_{stem(session)}_{place.seq}_{place.number}"


def environment_id(session: str) -> str:
    return f"env_{stem(session)}"


def event_id(session: str, what: str) -> str:
    return f"evt_{stem(session)}_{what}"


def place_of(session: str, item: str) -> Place | None:
    """Where the item of this id began; None when it is no id of an item of this session."""
    match = re.fullmatch(re.escape(f"item_{stem(session)}_") + r"([0-9]{1,18})_([0-9]{1,9})", item)
    return None if match is None else Place(int(match[1]), int(match[2]))


Kind = Literal["text", "thinking", "output"]
"""What is shown of an item while it is on its way: an answer's text, its reasoning, or what a command says."""
_LETTERS: Mapping[Kind, str] = {"text": "m", "thinking": "r", "output": "o"}
_KINDS: Mapping[str, Kind] = {letter: kind for kind, letter in _LETTERS.items()}


class Shown(NamedTuple):
    """How much of an item was shown: 0 when it was only announced, else one more than the characters."""

    kind: Kind
    amount: int


class Cursor(msgspec.Struct, frozen=True):
    """How far a stream was read: up to the event `seq`, and of its frames up to `frame` (None: all).

    `shown`: of items that are on their way, which come as deltas and are not stored.

    Written as `12`, `12.3`, or `12~12.0r:34,12.1m:7`.
    """

    seq: Seq
    frame: int | None = None
    shown: Mapping[Place, Shown] = {}

    def __str__(self) -> str:
        text = str(self.seq) if self.frame is None else f"{self.seq}.{self.frame}"
        if self.shown:
            parts = (f"{p.seq}.{p.number}{_LETTERS[s.kind]}:{s.amount}" for p, s in self.shown.items())
            text += "~" + ",".join(parts)
        return text

    def covers(self, seq: Seq, frame: int) -> bool:
        """Whether this frame was read already."""
        return seq < self.seq or (seq == self.seq and (self.frame is None or frame <= self.frame))


_CURSOR = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,9}))?(?:~([0-9.mro:,]{1,2000}))?")
_SHOWN = re.compile(r"([0-9]{1,18})\.([0-9]{1,9})([mro]):([0-9]{1,12})")


def cursor_of(text: str) -> Cursor:
    """What `str` of one has written. InvalidArgument."""
    match = _CURSOR.fullmatch(text)
    parts = [] if match is None or match[3] is None else [_SHOWN.fullmatch(part) for part in match[3].split(",")]
    if match is None or not all(parts):
        raise InvalidArgument(f"{text[:100]!r} is no place in a stream: use the id of an event of it, or a seq")
    shown = {Place(int(p[1]), int(p[2])): Shown(_KINDS[p[3]], int(p[4])) for p in parts if p is not None}
    return Cursor(int(match[1]), None if match[2] is None else int(match[2]), shown)
