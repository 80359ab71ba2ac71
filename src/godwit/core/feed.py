"""FeedEntry: one thing that happened somewhere in a store. Data only.

The feed is for who follows all sessions at once: a narrow copy of chosen types of events, and of what becomes of chosen
kinds of documents, in the order in which they were committed.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from .events import Event
from .ids import Seq, SessionId

DELETED = "session.deleted"
"""The type of the entry for a session that was deleted; there is no such event in a log. Its `seq` is the last one's."""
DOCUMENT = "document."
"""The types of entries for documents are this and their kind."""

Change = Literal["created", "changed", "archived", "deleted"]


class DocumentChange(msgspec.Struct, frozen=True):
    """What the entry of a document says: what became of it, and by what it is listed."""

    change: Change
    keys: dict[str, str] = {}


class FeedEntry(msgspec.Struct, frozen=True):
    """`position`: greater than that of all that was committed before, never used twice. `subject`: the session's id, or the
    document's. `seq`: the event's, or the document's revision. `body`: the event's, or a `DocumentChange`."""

    position: int
    type: str
    subject: str
    tenant: str | None
    seq: Seq
    at_ms: int
    body: bytes

    def event(self) -> Event:
        """The event of a session."""
        return Event(SessionId(self.subject), self.seq, self.at_ms, None, self.type, self.body)

    def change(self) -> DocumentChange:
        """What became of a document."""
        return _change_decoder.decode(self.body)


_change_decoder = msgspec.json.Decoder(DocumentChange)
_encoder = msgspec.json.Encoder()


def encode_change(change: Change, keys: dict[str, str]) -> bytes:
    return _encoder.encode(DocumentChange(change, keys))
