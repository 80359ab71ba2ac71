"""What a process has to tell the others of a PostgreSQL store, until it is sent: merged while something else is on its way.

A notice is `<from> <to> <letter>`, `to` `*` for all; letters are those of `letters`, as JSON. The server takes less than
8000 bytes in one. Rule: what is kept is bounded; beyond it deltas are dropped, the offsets show the hole, and hints become
one that says to look at all.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ...core.events import Delta
from ...core.ids import Seq, SessionId
from ..letters import Deltas, Hint, Hints, Letter, joined

NOTICE = 7_900
"""Bytes of a letter, at most."""
_HINTS = 2_000
_DELTAS = 2_000
_ENDED = 32

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Letter] = msgspec.json.Decoder(Letter)


def read(notice: str) -> tuple[str, str, Letter] | None:
    """Who sent it, to whom, and what; None when that is of another making."""
    sender, _, rest = notice.partition(" ")
    to, _, letter = rest.partition(" ")
    try:
        return sender, to, _decoder.decode(letter)
    except msgspec.MsgspecError:
        return None


class Outbox:
    """Letters in the order in which they are to be sent."""

    def __init__(self) -> None:
        self._letters: list[tuple[str, Letter]] = []
        self._hints: dict[SessionId, tuple[Seq, tuple[str, ...]]] = {}
        self._deltas: list[Delta] = []

    def __bool__(self) -> bool:
        return bool(self._letters or self._hints or self._deltas)

    def add_hints(self, hints: list[Hint]) -> None:
        """A hint that ends deltas never overtakes them, nor do later ones overtake it."""
        if self._deltas and any(ended for _, _, ended in hints):
            self._seal()
        for session, head, ended in hints:
            self._hints[session] = (head, (*self._hints.get(session, (0, ()))[1], *ended)[-_ENDED:])
        if len(self._hints) > _HINTS:
            self._hints.clear()
            self._letters.append(("*", Hints([], True)))

    def add_delta(self, delta: Delta) -> None:
        """Part of a text for all who watch."""
        if any(ended for _, ended in self._hints.values()):
            self._seal()
        self._deltas.append(delta)
        if len(self._deltas) > _DELTAS:
            self._deltas.clear()

    def add(self, letter: Letter, to: str = "*") -> None:
        """Something else, to one or to all."""
        self._seal()
        self._letters.append((to, letter))

    def _seal(self) -> None:
        if self._deltas:
            self._letters.append(("*", Deltas(joined(self._deltas))))
            self._deltas = []
        if self._hints:
            self._letters.append(("*", Hints([(s, head, ended) for s, (head, ended) in self._hints.items()])))
            self._hints = {}
        if len(self._letters) > _HINTS:
            self._letters = [("*", Hints([], True))]

    def emptied(self, sender: str) -> list[str]:
        """All of it as notices."""
        self._seal()
        letters, self._letters = self._letters, []
        return [f"{sender} {to} {text}" for to, letter in letters for text in _fitting(letter)]


def _fitting(letter: Letter) -> Iterator[str]:
    """The letter in as many as it needs; what fits in none is dropped."""
    text = _encoder.encode(letter)
    if len(text) <= NOTICE:
        yield text.decode()
        return
    match letter:
        case Hints(heads) if len(heads) > 1:
            half = len(heads) // 2
            yield from _fitting(Hints(heads[:half], letter.unsure))
            yield from _fitting(Hints(heads[half:]))
        case Deltas(deltas) if len(deltas) > 1:
            half = len(deltas) // 2
            yield from _fitting(Deltas(deltas[:half], letter.anew))
            yield from _fitting(Deltas(deltas[half:], letter.anew))
        case Deltas([delta]) if len(delta.text) > 1 and delta.kind not in ("discard", "progress"):
            half = len(delta.text) // 2
            replace = msgspec.structs.replace
            yield from _fitting(Deltas([replace(delta, text=delta.text[:half])], letter.anew))
            yield from _fitting(Deltas([replace(delta, text=delta.text[half:], offset=delta.offset + half)], letter.anew))
        case _:
            pass


__all__ = ["NOTICE", "Outbox", "read"]
