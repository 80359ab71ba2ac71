"""WorkItem: that a worker is wanted for a session, and how far it got with it. Data only; `work_queue.py` changes it.

    queued ----> starting ----> active ----> stopping ----> stopped
      ^  polled     |              |             (from each of them as well)
      '-------------+--------------'  the worker's lease has run out

A worker holds an item by a lease: until its first heartbeat for as long as the queue says, then as each heartbeat says.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ..core.document import Document
from ..core.ids import RunId, SessionId

KIND = "work"
"""Of the documents."""
WAITS, HELD = "waits", "held"
"""The key of a document whose item waits for a worker, and of one that a worker holds; each says the place."""
State = Literal["queued", "starting", "active", "stopping", "stopped"]


class WorkItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """`place`: where the worker has to be. `run`: the run it was made for; `tries`: how many workers gave it back in a row
    with that run still open. `ready_ms`: it is handed out from then on. `polled_ms`: it was handed out and waits to be
    acknowledged. `lease_s`: how long the worker's lease lasts from `since_ms` on. Times in ms, None for what has not been.
    """

    place: str
    session: SessionId
    run: RunId | None = None
    state: State = "queued"
    metadata: dict[str, str] = {}
    tries: int = 0
    ready_ms: int = 0
    polled_ms: int | None = None
    worker: str | None = None
    acknowledged_ms: int | None = None
    started_ms: int | None = None
    heartbeat_ms: int | None = None
    lease_s: int = 0
    stop_requested_ms: int | None = None
    stopped_ms: int | None = None

    @property
    def held(self) -> bool:
        """A worker has acknowledged it and not yet let go."""
        return self.state in ("starting", "active", "stopping")

    @property
    def lapses_ms(self) -> int:
        """When the lease of the worker that holds it runs out."""
        return (self.heartbeat_ms or self.acknowledged_ms or 0) + self.lease_s * 1000

    def free_ms(self, reclaim_ms: int) -> int:
        """From when on it may be handed out. `reclaim_ms`: how long a worker has to acknowledge it."""
        if self.held:
            return self.lapses_ms
        return self.ready_ms if self.polled_ms is None else self.polled_ms + reclaim_ms

    def document(self, id: str, tenant: str | None) -> Document:  # noqa: A002 - the field's name
        """A new one."""
        return self.put_in(Document(KIND, id, b"", tenant))

    def put_in(self, document: Document, *, expires_ms: int | None = None) -> Document:
        """The document with this body, found by what the queue looks for. Of a session one item lives at a time."""
        keys = {"place": self.place, "session": self.session}
        if self.state == "stopped":
            return document.changed(_plain(self), keys=keys, unique={}, expires_ms=expires_ms)
        keys[WAITS if self.state == "queued" else HELD] = self.place
        return document.changed(_plain(self), keys=keys, unique={"live": self.session})


def item_of(document: Document) -> WorkItem:
    return msgspec.convert(document.data(), WorkItem)


def _plain(item: WorkItem) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(item)
    return found


__all__ = ["HELD", "KIND", "State", "WAITS", "WorkItem", "item_of"]
