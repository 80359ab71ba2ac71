"""What the processes of one database send each other: hints, deltas, and who watches what, as datagrams.

Owns their form, how they are cut and joined to fit a datagram, and what is kept for a peer that cannot take them now. Leaves
out the sockets (`bus`). Rule: what is kept for a peer is bounded; beyond it deltas are dropped and hints become one that
says to look at all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import msgspec

from ..core.events import Delta
from ..core.ids import Seq, SessionId

DATAGRAM = 16_000  # bytes, at most what is packed into one; macOS refuses large ones unless the buffers are raised
_DELTA_CHARACTERS = 3_500
_LATE_HINTS = 2_000
_LATE_BYTES = 1 << 22


class Hints(msgspec.Struct, array_like=True, tag="heads"):
    """Each: session, head (0: it was deleted), what of its deltas is stored now. `unsure`: look at every session."""

    heads: list[tuple[SessionId, Seq, tuple[str, ...]]]
    unsure: bool = False


class Hello(msgspec.Struct, array_like=True, tag="hello"):
    """A new peer asks who watches what."""


class Watch(msgspec.Struct, array_like=True, tag="watch"):
    """The sender wants (or no longer wants) these sessions' deltas, first the text so far."""

    sessions: list[SessionId]
    on: bool


class Deltas(msgspec.Struct, array_like=True, tag="deltas"):
    """`anew`: the text so far, as far back as it is kept."""

    deltas: list[Delta]
    anew: bool = False


Letter = Hints | Hello | Watch | Deltas
encoder = msgspec.msgpack.Encoder()
decoder: msgspec.msgpack.Decoder[Letter] = msgspec.msgpack.Decoder(Letter)
Hint = tuple[SessionId, Seq, tuple[str, ...]]


class Late:
    """What a peer could not take at once: letters with deltas, then hints by session."""

    __slots__ = ("hints", "letters", "size", "unsure")

    def __init__(self) -> None:
        self.letters: deque[bytes] = deque()
        self.size = 0
        self.hints: dict[SessionId, tuple[Seq, tuple[str, ...]]] = {}
        self.unsure = False

    def add_letter(self, letter: bytes) -> None:
        self.letters.append(letter)
        self.size += len(letter)
        if self.size > _LATE_BYTES:
            self.letters.clear()
            self.size = 0

    def add_hints(self, hints: Iterable[Hint]) -> None:
        for session, head, ended in hints:
            self.hints[session] = (head, (*self.hints.get(session, (0, ()))[1], *ended)[-32:])
        if len(self.hints) > _LATE_HINTS:
            self.hints.clear()
            self.unsure = True


def in_datagrams(
    heads: list[Hint],
) -> list[list[Hint]]:
    """The hints in portions of one datagram."""
    letters: list[list[Hint]] = []
    room = 0
    for hint in heads:
        weight = 16 + len(hint[0]) * 2 + sum(4 + 2 * len(e) for e in hint[2])
        if weight > room:
            letters.append([])
            room = DATAGRAM
        letters[-1].append(hint)
        room -= weight
    return letters


def joined(deltas: list[Delta]) -> list[Delta]:
    joined: list[Delta] = []
    for delta in deltas:
        last = joined[-1] if joined else None
        if (
            last is not None
            and (last.id, last.kind, last.block) == (delta.id, delta.kind, delta.block)
            and delta.kind not in ("discard", "progress")
            and last.offset + len(last.text) == delta.offset
        ):
            joined[-1] = msgspec.structs.replace(
                last, text=last.text + delta.text, name=last.name or delta.name, call=last.call or delta.call
            )
        else:
            joined.append(delta)
    return joined


def pieces(delta: Delta) -> list[Delta]:
    if len(delta.text) <= _DELTA_CHARACTERS or delta.kind in ("discard", "progress"):
        return [delta]
    return [
        msgspec.structs.replace(delta, text=delta.text[at : at + _DELTA_CHARACTERS], offset=delta.offset + at)
        for at in range(0, len(delta.text), _DELTA_CHARACTERS)
    ]
