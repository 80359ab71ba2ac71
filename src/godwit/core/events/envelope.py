"""How an event is written and read: its body, encoded once, and the envelope each event travels in."""

from __future__ import annotations

import msgspec

from ..errors import ConfigurationError, InvalidArgument
from ..ids import RunId, Seq, SessionId
from .data import Labels
from .union import EVENT_TYPES, EventData, KnownData, Unknown

# Their own `run` is the envelope's: in a frame it stands once.
_NAME_THEIR_RUN = frozenset(name for name, cls in EVENT_TYPES.items() if "run" in cls.__struct_fields__)
_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[KnownData] = msgspec.json.Decoder(KnownData)


class _TypeOnly(msgspec.Struct):
    type: str


_type_decoder = msgspec.json.Decoder(_TypeOnly)


def encode(data: EventData) -> bytes:
    """The event's body: one JSON object beginning with its type."""
    return data.body if isinstance(data, Unknown) else _encoder.encode(data)


def decode(body: bytes) -> EventData:
    """The body as its class; an unknown type or an unreadable shape gives `Unknown` with the same bytes."""
    try:
        return _decoder.decode(body)
    except (msgspec.ValidationError, ConfigurationError):
        return Unknown(_type_decoder.decode(body).type, bytes(body))


def type_of(data: EventData) -> str:
    return data.type if isinstance(data, Unknown) else str(data.__struct_config__.tag)


class _Head(msgspec.Struct):
    seq: Seq
    at: int
    session: SessionId
    run: RunId | None = None


class _HeadRun(msgspec.Struct):
    run: RunId | None = None


_head_decoder = msgspec.json.Decoder(_Head)
_head_run_decoder = msgspec.json.Decoder(_HeadRun)


class Draft:
    """An event that has no seq yet: what `append` takes. `data` is encoded once, here. InvalidArgument for a text in it that
    cannot be."""

    __slots__ = ("at_ms", "body", "data", "run", "type")

    def __init__(self, data: EventData, *, at_ms: int, run: RunId | None = None) -> None:
        self.data = data
        self.type = type_of(data)
        try:
            self.body = encode(data)
        except UnicodeEncodeError as error:
            raise InvalidArgument(
                f"{error.object[:50]!r} is no Unicode: character {error.start} is half of a surrogate pair", at=error.start
            ) from None
        self.at_ms = at_ms
        self.run = run

    def __repr__(self) -> str:
        return f"Draft({self.type}, run={self.run})"


class Event:
    """A stored event. `at_ms`: wall time in ms; `run`: the run it belongs to, if any; `data` is decoded on first use.

    `labels`: the session's, when it was read through a handle; not part of what is stored.
    """

    __slots__ = ("_data", "at_ms", "body", "labels", "run", "seq", "session", "type")

    def __init__(
        self,
        session: SessionId,
        seq: Seq,
        at_ms: int,
        run: RunId | None,
        type: str,  # noqa: A002 - the field's name on the wire
        body: bytes,
        data: EventData | None = None,
    ) -> None:
        self.session = session
        self.seq = seq
        self.at_ms = at_ms
        self.run = run
        self.type = type
        self.body = body
        self._data = data
        self.labels: Labels | None = None

    @property
    def data(self) -> EventData:
        if self._data is None:
            self._data = decode(self.body)
        return self._data

    def frame(self) -> bytes:
        """One JSON object: the envelope, then the stored bytes."""
        head = {"seq": self.seq, "at": self.at_ms, "session": self.session}
        if self.run is not None and self.type not in _NAME_THEIR_RUN:
            head["run"] = self.run
        if self.labels is not None and self.labels.correlation is not None:
            head["correlation"] = self.labels.correlation
        return _encoder.encode(head)[:-1] + b"," + self.body[1:]

    @classmethod
    def of_frame(cls, frame: bytes) -> Event:
        """The event of such an object, its body byte for byte. msgspec.DecodeError; ValueError when it is no frame."""
        # No text before the type can hold these characters: quotes within a text are escaped.
        at = frame.index(b',"type":')
        head = _head_decoder.decode(frame[:at] + b"}")
        body = b"{" + frame[at + 1 :]
        kind = _type_decoder.decode(body).type
        run = head.run
        if run is None and kind in _NAME_THEIR_RUN:
            run = _head_run_decoder.decode(body).run
        return cls(head.session, head.seq, head.at, run, kind, body)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and (self.session, self.seq, self.run, self.body) == (
            other.session,
            other.seq,
            other.run,
            other.body,
        )

    def __hash__(self) -> int:
        return hash((self.session, self.seq))

    def __repr__(self) -> str:
        return f"Event({self.seq}, {self.type})"
