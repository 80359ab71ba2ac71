"""What one transaction of a writer has read and is still to write, whatever database it is in.

Owns what a session's row is to a writer (`Row`), what is put off until its end (`Batch`), what followers are told of it
(`Written`), and what work of several statements may ask of a transaction (`Unit`). Leaves out whether a request may write,
that is the request's (`requests`); and the statements, which are each store's. Rule: rows and events are put off, so that
one commit writes each session once; whoever runs statements of its own has them written first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from ..core.errors import SessionNotFound
from ..core.events import (
    AgentMessage,
    Draft,
    Event,
    RunFinished,
    SessionConfigured,
    SessionCreated,
    ToolFinished,
    UserMessage,
)
from ..core.gate import Gate
from ..core.ids import RunId, Seq, SessionId
from ..core.messages import text_of
from ..core.meter import Meter

PROMPT_CHARACTERS = 200
"""How much of the first thing that a user said the index has."""


SEQ_BITS = 32
"""`events.position` is the session's key and, in so many bits, the seq."""


ACTIVITY_BITS = 16
"""`sessions.activity` is `updated_ms` without its last bits."""


COUNTED_BYTES = 16 * 1024
"""A log's bytes go to its tenant's count in pieces of this size, so that an append rarely touches that."""


FEED = SessionId("*")
"""Stands for the feed where sessions are waited for: no session has this id. Its head is one ahead of the last position."""


class Written(msgspec.Struct):
    """What one session got in one commit. `head` 0: it was deleted. `ended`: see `Underway.forget`."""

    session: SessionId
    head: Seq
    drafts: list[Draft]
    ended: tuple[str, ...]
    _events: list[Event] | None = None

    def events(self) -> list[Event]:
        """The drafts as stored; made once, so that all readers share what is decoded."""
        if self._events is None:
            first = self.head - len(self.drafts) + 1
            self._events = [
                Event(self.session, seq, d.at_ms, d.run, d.type, d.body, d.data) for seq, d in enumerate(self.drafts, first)
            ]
        return self._events


class Row:
    """A session as the writer knows it. One that was `changed` goes to the table before the commit.

    `meter`: what was spent since the row was last written, beside the time its clock runs from. `parent`: a key.
    `status`, `tasks`: as they stand in the table. `uncounted`: bytes of the log that its tenant's count does not have yet.
    """

    __slots__ = (
        "activity",
        "agent",
        "changed",
        "epoch",
        "gate",
        "head",
        "id",
        "key",
        "meter",
        "name",
        "parent",
        "prompt",
        "prompted",
        "stale",
        "status",
        "tasks",
        "tenant",
        "uncounted",
        "updated_ms",
    )

    def __init__(
        self,
        id_: SessionId,
        key: int,
        head: Seq,
        gate: Gate,
        epoch: int,
        activity: int,
        prompted: bool,
        parent: int | None,
        meter: Meter,
        tenant: str | None,
        uncounted: int = 0,
        stale: bool = True,
    ) -> None:
        self.id = id_
        self.key = key
        self.head = head
        self.gate = gate
        self.epoch = epoch
        self.activity = activity
        self.prompted = prompted
        self.parent = parent
        self.meter = meter
        self.tenant = tenant
        self.uncounted = uncounted
        self.stale = stale
        self.status = gate.status
        self.tasks = len(gate.tasks)
        self.changed = False
        self.updated_ms = 0
        self.name: str | None = None
        self.agent: tuple[str, int] | None = None
        self.prompt: str | None = None


class Appending(Protocol):
    """What an append or a fork asks of the transaction it is in. All it may ask of is there already, so nothing waits."""

    def row(self, session: SessionId) -> Row | None: ...
    def key(self, row: Row, key: str) -> tuple[Seq, Seq, bytes] | None: ...
    def put_key(self, row: Row, key: str, first: Seq, last: Seq, digest: bytes) -> None: ...
    def parent(self, draft: Draft) -> int | None: ...
    def create(
        self,
        session: SessionId,
        draft: Draft,
        parent: int | None,
        *,
        key: int | None = None,
        origin: Row | None = None,
        at: Seq = 0,
    ) -> Row: ...
    def write(self, row: Row, drafts: list[Draft], gate: Gate, meter: Meter) -> None: ...
    def flush(self) -> None: ...


class Unit(Protocol):
    """What a function that works within a transaction asks of it. Where the database is in this process none of it waits.

    Queries go by their names, with the parameters that each store's file of queries has for them.
    """

    fed: frozenset[str]

    async def all(self, name: str, parameters: Any = ()) -> Sequence[Any]:
        """All rows."""
        ...

    async def one(self, name: str, parameters: Any = ()) -> Any:
        """The first row, None without any."""
        ...

    async def first(self, name: str, parameters: Any = ()) -> Any:
        """The first row of a query that has one."""
        ...

    async def do(self, name: str, parameters: Any = ()) -> int:
        """How many rows it has changed."""
        ...

    async def find(self, session: SessionId) -> Row | None:
        """The session's row, which nobody else changes until the end."""
        ...

    async def written_down(self) -> None:
        """Write what was put off until now."""
        ...

    async def put_events(self, key: int, after: Seq, drafts: list[Draft]) -> None:
        """Events behind `after` of a log whose session is not there yet."""
        ...

    async def insert_texts(self, texts: Sequence[tuple[int, str]]) -> None:
        """What was said, by the position of its event, as it is searched for."""
        ...

    async def feed_session(self, row: Row, type_: str, seq: Seq, at_ms: int) -> None:
        """An entry about a session, if such are fed; it must still be there."""
        ...

    async def feed_document(self, type_: str, id_: str, tenant: str | None, revision: int, at_ms: int, body: bytes) -> None:
        """An entry about a document, which is fed."""
        ...

    def feed_begin(self, row: Row, draft: Draft) -> None:
        """An entry for the beginning of a log that was loaded, if such are fed: the rest of it is no news."""
        ...

    def parent(self, draft: Draft) -> int | None: ...
    def create(
        self,
        session: SessionId,
        draft: Draft,
        parent: int | None,
        *,
        key: int | None = None,
        origin: Row | None = None,
        at: Seq = 0,
    ) -> Row: ...
    def logged(self, tenant: str | None, size: int) -> None: ...
    def forget(self, session: SessionId, *, deleted: bool = False) -> None: ...


class Batch:
    """What is put off in one transaction. A store's own transaction finds rows, and writes."""

    def __init__(self, fed: frozenset[str] = frozenset()) -> None:
        self.fed = fed
        self.rows: dict[SessionId, Row] = {}
        self.written: list[Written] = []
        self.gone: set[SessionId] = set()
        self._open: dict[SessionId, Written] = {}
        self._events: list[tuple[int, int, RunId | None, str, bytes]] = []
        self._logged: dict[str | None, int] = {}

    def row(self, session: SessionId) -> Row | None:
        raise AssertionError("a store's transaction says how rows are found")

    def feed(self, row: Row, draft: Draft, seq: Seq) -> None:
        raise AssertionError("a store's transaction says how it feeds")

    def parent(self, draft: Draft) -> int | None:
        """The key of the session that this one is to work for. SessionNotFound."""
        data = draft.data
        if not isinstance(data, SessionCreated) or data.parent is None:
            return None
        row = self.row(data.parent)
        if row is None:
            raise SessionNotFound(f"there is no session {data.parent!r} to be the parent", session=data.parent)
        return row.key

    def write(self, row: Row, drafts: list[Draft], gate: Gate, meter: Meter) -> None:
        seq, log = row.head, row.key << SEQ_BITS
        written = self._open.get(row.id)
        if written is None:
            written = self._open[row.id] = Written(row.id, 0, [], ())
            self.written.append(written)
        size = 0
        for draft in drafts:
            seq += 1
            size += len(draft.body)
            self._events.append((log + seq, draft.at_ms, draft.run, draft.type, draft.body))
            if draft.type in self.fed:
                self.feed(row, draft, seq)
            data = draft.data
            match data:
                case UserMessage() if not row.prompted:
                    text = text_of(data.content)
                    if text:
                        row.prompt, row.prompted = text[:PROMPT_CHARACTERS], True
                case SessionConfigured():
                    if data.name is not None:
                        row.name = data.name
                    if data.agent is not None:
                        row.agent = (data.agent.name, data.agent.version)
                case AgentMessage():
                    written.ended += ("message",)
                case ToolFinished():
                    written.ended += (f"call:{data.call}",)
                case RunFinished():
                    written.ended += ("all",)
                case _:
                    pass
        row.uncounted += size
        row.head, row.gate, row.updated_ms, row.changed, row.meter = seq, gate, drafts[-1].at_ms, True, meter
        written.head = seq
        written.drafts += drafts

    def logged(self, tenant: str | None, size: int) -> None:
        """The logs of this tenant have become larger by so many bytes, or smaller."""
        self._logged[tenant] = self._logged.get(tenant, 0) + size

    def forget(self, session: SessionId, *, deleted: bool = False) -> None:
        """Its row is read anew next time."""
        self.rows.pop(session, None)
        self.gone.add(session)
        if deleted:
            self._open.pop(session, None)
            self.written.append(Written(session, 0, [], ("all",)))

    def feed_begin(self, row: Row, draft: Draft) -> None:
        """An entry for the beginning of a log that was loaded, if such are fed: the rest of it is no news."""
        if draft.type in self.fed:
            self.feed(row, draft, 1)


__all__ = [
    "ACTIVITY_BITS",
    "COUNTED_BYTES",
    "FEED",
    "PROMPT_CHARACTERS",
    "SEQ_BITS",
    "Appending",
    "Batch",
    "Row",
    "Unit",
    "Written",
]
