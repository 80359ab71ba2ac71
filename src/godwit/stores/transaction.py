"""One open transaction of the SQLite writer: the statements that a `Batch` comes to, and those of who works within it.

Rule: nothing here waits, though what `Unit` offers is written as if it might: `requests.done` runs such work to its end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from ..core.events import Draft, SessionCreated, SessionForked
from ..core.gate import Gate, decode_gate, encode_gate
from ..core.ids import Seq, SessionId
from ..core.meter import Meter
from ..core.search_text import indexed
from .batch import ACTIVITY_BITS, COUNTED_BYTES, FEED, SEQ_BITS, Batch, Row, Written
from .sql import query


class Transaction(Batch):
    """One open transaction: rows read so far, and what is still to be written."""

    def __init__(self, db: sqlite3.Connection, cache: dict[SessionId, Row], fed: frozenset[str] = frozenset()) -> None:
        super().__init__(fed)
        self.db = db
        self._cache = cache
        self._feed: list[dict[str, Any]] = []
        self._fed_some = False

    def execute(self, name: str, parameters: Any = ()) -> sqlite3.Cursor:
        """Run a named query."""
        return self.db.execute(query(name), parameters)

    async def all(self, name: str, parameters: Any = ()) -> list[Any]:
        return self.execute(name, parameters).fetchall()

    async def one(self, name: str, parameters: Any = ()) -> Any:
        return self.execute(name, parameters).fetchone()

    async def first(self, name: str, parameters: Any = ()) -> Any:
        return self.execute(name, parameters).fetchall()[0]

    async def do(self, name: str, parameters: Any = ()) -> int:
        return self.execute(name, parameters).rowcount

    async def find(self, session: SessionId) -> Row | None:
        return self.row(session)

    async def written_down(self) -> None:
        self.flush()

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

    async def put_events(self, key: int, after: Seq, drafts: list[Draft]) -> None:
        """Events behind `after` of a log whose session is not there yet."""
        position = (key << SEQ_BITS) + after
        self.db.executemany(
            query("insert_event"),
            [(position + n, draft.at_ms, draft.run, draft.type, draft.body) for n, draft in enumerate(drafts, 1)],
        )

    async def insert_texts(self, texts: Sequence[tuple[int, str]]) -> None:
        """Words of events, by their position, as they are searched for."""
        self.db.executemany(query("insert_text"), [(position, indexed(text)) for position, text in texts])

    def _share(self, row: Row, origin: Row, at: Seq) -> None:
        begun = 0
        for log, last in self.execute("log_parts", (origin.key,)).fetchall():
            if begun < at:
                begun = min(last, at)
                self.execute("insert_log_part", (row.key, begun, log))
        if begun < at:
            self.execute("insert_log_part", (row.key, at, origin.key))
        self.execute("share_artifacts", {"session": row.key, "origin": origin.key})

    def feed(self, row: Row, draft: Draft, seq: Seq) -> None:
        entry = {"key": row.key, "type": draft.type, "seq": seq, "at_ms": draft.at_ms, "body": draft.body}
        self._feed.append(entry)

    async def feed_session(self, row: Row, type_: str, seq: Seq, at_ms: int) -> None:
        """An entry about a session, if such are fed; it must still be there."""
        if type_ in self.fed:
            self._feed.append({"key": row.key, "type": type_, "seq": seq, "at_ms": at_ms, "body": b"{}"})
            self.flush()

    async def feed_document(self, type_: str, id_: str, tenant: str | None, revision: int, at_ms: int, body: bytes) -> None:
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


__all__ = ["Transaction"]
