"""One open transaction of the writer: the sessions it has read, and what is still to be written.

Owns what a session's row is to the writer (`Row`), what is written when, and what followers are told of it (`Written`).
Leaves out whether a request may write: that is the request's (`requests`). Rules: rows and events are put off until `flush`,
so that one commit writes each session once; whoever runs statements of its own flushes first.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

import msgspec

from ..core.errors import SessionNotFound
from ..core.events import (
    AgentMessage,
    Draft,
    Event,
    RunFinished,
    SessionConfigured,
    SessionCreated,
    SessionForked,
    ToolFinished,
    UserMessage,
)
from ..core.gate import Gate, decode_gate, encode_gate
from ..core.ids import RunId, Seq, SessionId
from ..core.messages import text_of
from ..core.meter import Meter
from .sql import query

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


class Transaction:
    """One open transaction: rows read so far, and what is still to be written."""

    def __init__(self, db: sqlite3.Connection, cache: dict[SessionId, Row], fed: frozenset[str] = frozenset()) -> None:
        self.db = db
        self.fed = fed
        self.rows: dict[SessionId, Row] = {}
        self.written: list[Written] = []
        self._open: dict[SessionId, Written] = {}
        self._cache = cache
        self._events: list[tuple[int, int, RunId | None, str, bytes]] = []
        self._feed: list[dict[str, Any]] = []
        self._fed_some = False
        self._logged: dict[str | None, int] = {}
        self.gone: set[SessionId] = set()

    def execute(self, name: str, parameters: Any = ()) -> sqlite3.Cursor:
        """Run a named query."""
        return self.db.execute(query(name), parameters)

    def row(self, session: SessionId) -> Row | None:
        row = self.rows.get(session)
        if row is not None:
            return row
        # What this very transaction has changed behind the cache (a claim's new epoch) must be read again.
        cached = None if session in self.gone else self._cache.get(session)
        if cached is not None:
            self.rows[session] = cached
            return cached
        found = self.execute("session_row", {"id": session}).fetchone()
        if found is None:
            return None
        key, head, gate, epoch, activity, prompted, parent, since_ms, tenant, uncounted, stale = found
        meter = Meter(since_ms=since_ms)
        row = Row(
            session,
            key,
            head,
            decode_gate(gate),
            epoch,
            activity,
            bool(prompted),
            parent,
            meter,
            tenant,
            uncounted,
            bool(stale),
        )
        self.rows[session] = row
        return row

    def key(self, row: Row, key: str) -> tuple[Seq, Seq, bytes] | None:
        found: tuple[Seq, Seq, bytes] | None = self.execute("find_key", (row.key, key)).fetchone()
        return found

    def put_key(self, row: Row, key: str, first: Seq, last: Seq, digest: bytes) -> None:
        self.execute("insert_key", (row.key, key, first, last, digest))

    def parent(self, draft: Draft) -> int | None:
        """The key of the session that this one is to work for. SessionNotFound."""
        data = draft.data
        if not isinstance(data, SessionCreated) or data.parent is None:
            return None
        row = self.row(data.parent)
        if row is None:
            raise SessionNotFound(f"there is no session {data.parent!r} to be the parent", session=data.parent)
        return row.key

    def create(
        self,
        session: SessionId,
        draft: Draft,
        parent: int | None,
        *,
        key: int | None = None,
        origin: Row | None = None,
        at: Seq = 0,
    ) -> Row:
        """A session with an empty log. `key`: of one whose events are there already; with `origin` its log begins as that
        one's does up to `at`."""
        data = draft.data
        assert isinstance(data, SessionCreated | SessionForked)
        activity = draft.at_ms >> ACTIVITY_BITS
        key = self.execute(
            "insert_session",
            {
                "key": key,
                "id": session,
                "at_ms": draft.at_ms,
                "activity": activity,
                "agent": data.agent.name,
                "agent_version": data.agent.version,
                "workspace": data.workspace,
                "name": data.name,
                "labels": msgspec.json.encode(data.labels).decode(),
                "tenant": data.labels.tenant,
                "parent": parent,
                "forked": at,
                "origin": None if origin is None else origin.id,
            },
        ).lastrowid
        assert key is not None
        prompted = origin is not None and origin.prompted
        row = Row(session, key, at, Gate(), 0, activity, prompted, parent, Meter(), data.labels.tenant)
        self.rows[session] = row
        if origin is not None:
            self._share(row, origin, at)
        return row

    def put_events(self, key: int, after: Seq, drafts: list[Draft]) -> None:
        """Events behind `after` of a log whose session is not there yet."""
        position = (key << SEQ_BITS) + after
        self.db.executemany(
            query("insert_event"),
            [(position + n, draft.at_ms, draft.run, draft.type, draft.body) for n, draft in enumerate(drafts, 1)],
        )

    def insert_texts(self, texts: Iterable[tuple[int, str]]) -> None:
        """Words of events, by their position, as they are searched for."""
        self.db.executemany(query("insert_text"), texts)

    def _share(self, row: Row, origin: Row, at: Seq) -> None:
        begun = 0
        for log, last in self.execute("log_parts", (origin.key,)).fetchall():
            if begun < at:
                begun = min(last, at)
                self.execute("insert_log_part", (row.key, begun, log))
        if begun < at:
            self.execute("insert_log_part", (row.key, at, origin.key))
        self.execute("share_artifacts", {"session": row.key, "origin": origin.key})

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
                entry = {"key": row.key, "type": draft.type, "seq": seq, "at_ms": draft.at_ms, "body": draft.body}
                self._feed.append(entry)
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

    def feed_session(self, key: int, type_: str, seq: Seq, at_ms: int) -> None:
        """An entry about a session, if such are fed; it must still be there."""
        if type_ in self.fed:
            self._feed.append({"key": key, "type": type_, "seq": seq, "at_ms": at_ms, "body": b"{}"})
            self.flush()

    def feed_begin(self, row: Row, draft: Draft) -> None:
        """An entry for the beginning of a log that was loaded, if such are fed: the rest of it is no news."""
        if draft.type in self.fed:
            entry = {"key": row.key, "type": draft.type, "seq": 1, "at_ms": draft.at_ms, "body": draft.body}
            self._feed.append(entry)

    def feed_document(self, type_: str, id_: str, tenant: str | None, revision: int, at_ms: int, body: bytes) -> None:
        """An entry about a document, which is fed."""
        self.execute("feed_document", (type_, id_, tenant, revision, at_ms, body))
        self._fed_some = True

    def end(self) -> None:
        """Before the commit: keep count of the logs; whoever waits for the feed is to be woken with it."""
        for tenant, size in self._logged.items():
            parameters = (size, tenant or "")
            if self.execute("add_log_bytes", parameters).rowcount == 0:
                self.execute("begin_log_bytes", parameters)
            if size <= 0:
                self.execute("end_log_bytes", (tenant or "",))
        if self._fed_some:
            self.written.append(Written(FEED, self.execute("feed_head").fetchone()[0] + 1, [], ()))

    def flush(self) -> None:
        """Write what was put off until now; whoever runs statements of its own calls this first."""
        if self._events:
            self.db.executemany(query("insert_event"), self._events)
            self._events = []
        if self._feed:
            self.db.executemany(query("feed_event"), self._feed)
            self._feed = []
            self._fed_some = True
        for row in self.rows.values():
            if not row.changed:
                continue
            gate, meter = row.gate, row.meter
            if gate.status != row.status:
                self.execute("update_session_status", {"key": row.key, "status": gate.status})
                row.status = gate.status
            if not row.stale:
                self.execute("mark_stale", (row.key,))
                row.stale = True
            if len(gate.tasks) != row.tasks:
                self.execute("update_session_tasks", {"key": row.key, "tasks": len(gate.tasks)})
                row.tasks = len(gate.tasks)
            if row.uncounted >= COUNTED_BYTES:
                self.logged(row.tenant, row.uncounted)
                row.uncounted = 0
            more = {
                "tokens": meter.tokens,
                "nano_usd": meter.nano_usd,
                "turns": meter.turns,
                "tool_calls": meter.tool_calls,
                "time_ms": meter.time_ms,
            }
            self.execute(
                "update_session",
                {
                    "key": row.key,
                    "head": row.head,
                    "gate": encode_gate(gate),
                    "uncounted": row.uncounted,
                    "updated_ms": row.updated_ms,
                    "queued": len(gate.queue),
                    "actions": sum(a.asks for a in gate.actions),
                    "name": row.name,
                    "agent": row.agent[0] if row.agent else None,
                    "agent_version": row.agent[1] if row.agent else None,
                    "first_prompt": row.prompt,
                    "since_ms": meter.since_ms,
                    **more,
                },
            )
            if row.parent is not None and any(more.values()):
                self.execute("spend_above", {"key": row.key, **more})
            row.meter = Meter(since_ms=meter.since_ms)
            activity = row.updated_ms >> ACTIVITY_BITS
            if activity != row.activity:
                self.execute("update_session_activity", {"key": row.key, "activity": activity})
                row.activity = activity
            row.changed, row.name, row.agent, row.prompt = False, None, None, None


__all__ = ["ACTIVITY_BITS", "FEED", "PROMPT_CHARACTERS", "Row", "SEQ_BITS", "Transaction", "Written"]
