"""Cursors: how far a stream has come, so that another one goes on at the very character.

Each frame has one as its `id`. It says how far the log of each session was read, and what was shown of answers that are not
stored yet.
"""

from __future__ import annotations

import base64
import binascii

import msgspec

from ...core.errors import InvalidArgument
from ...core.ids import CallId, MessageId, Seq, SessionId
from .parts import Answer, LiveCall, Part
from .projection import Projection


class _Call(msgspec.Struct, frozen=True, array_like=True):
    block: int
    call: str
    name: str
    shown: int


class _Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """`t`, `h`: characters of texts and thoughts, by block; `o`: whether the text is open; `b`: the block whose reasoning
    is; `c`: calls that are coming."""

    i: str
    t: dict[int, int] = {}
    h: dict[int, int] = {}
    o: bool = False
    b: int | None = None
    c: list[_Call] = []


class Partial(msgspec.Struct, frozen=True, array_like=True):
    """An event of which only so many frames were told."""

    session: str
    seq: Seq
    frames: int


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    """`s`: seqs by session, the first one's under the empty name. `a`: answers that are on their way, likewise. `p`: of the
    event that follows, what was told of it."""

    s: dict[str, Seq]
    a: dict[str, _Answer] = {}
    p: Partial | None = None

    def encoded(self) -> str:
        return base64.urlsafe_b64encode(_encoder.encode(self)).decode().rstrip("=")

    def within(self, session: SessionId, seq: Seq, frames: int) -> Cursor:
        """The place behind so many frames of the event that follows."""
        return Cursor(self.s, self.a, Partial(session, seq, frames))

    @property
    def seq(self) -> Seq:
        return self.s.get("", 0)

    def heads(self, root: SessionId) -> dict[SessionId, Seq]:
        """How far each log was read."""
        return {SessionId(name) if name else root: seq for name, seq in self.s.items()}

    def put_into(self, projection: Projection) -> None:
        """This projection, which has come as far as the logs were read, knows what was shown of answers on their way."""
        for name, told in self.a.items():
            part = projection.parts.get(SessionId(name)) if name else projection.root
            if part is not None and part.answer is not None and part.answer.id == told.i:
                _put(part.answer, told)


def cursor_of(projection: Projection) -> Cursor:
    """Where this projection stands."""
    root = projection.root
    seqs = {_name(part, root): part.seq for part in projection.parts.values()}
    shown = {
        _name(part, root): _shown(part.answer)
        for part in projection.parts.values()
        if part.answer is not None and part.answer.shown
    }
    return Cursor(seqs, shown)


def decoded(text: str) -> Cursor:
    """InvalidArgument when it is no cursor of ours."""
    try:
        found = msgspec.json.decode(
            base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True), type=Cursor
        )
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        found = None
    if found is None or "" not in found.s or any(not 0 <= seq < 2**53 for seq in found.s.values()):
        raise InvalidArgument("this is no cursor of ours: take the id of a frame as it was given", cursor=text[:100])
    return found


_encoder = msgspec.json.Encoder()


def _name(part: Part, root: Part) -> str:
    return "" if part is root else part.session


def _shown(live: Answer) -> _Answer:
    calls = [_Call(block, one.call, one.name, one.shown) for block, one in live.calls.items()]
    return _Answer(live.id, dict(live.text), dict(live.thoughts), live.text_open, live.thinking, calls)


def _put(live: Answer, told: _Answer) -> None:
    live.id = MessageId(told.i)
    live.text, live.thoughts = dict(told.t), dict(told.h)
    live.text_open, live.thinking = told.o, told.b
    live.calls = {one.block: LiveCall(CallId(one.call), one.name, before=one.shown) for one in told.c}


__all__ = ["Cursor", "cursor_of", "decoded"]
