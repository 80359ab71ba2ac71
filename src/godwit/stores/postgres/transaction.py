"""One open transaction in PostgreSQL: the few statements that a `Batch` comes to, and those of who works within it.

Sessions that requests are about are locked and read beforehand, all at once (`lock`), so that what is decided in memory
waits for nothing. Work of several statements (`Unit`) locks the sessions it is about one by one.

Rule: locks are taken in one order: what work is about, sessions by their keys, tenants, the feed. Where that cannot be, as
when a session is deleted, the server ends a deadlock and the writer tries again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from ...core.events import Draft, SessionCreated, SessionForked
from ...core.gate import Gate, decode_gate, encode_gate
from ...core.ids import Seq, SessionId
from ...core.meter import Meter
from ...core.search_text import words_of
from ..batch import ACTIVITY_BITS, COUNTED_BYTES, FEED, SEQ_BITS, Batch, Row, Written
from .sql import bound, query
from .words import vector

_SEQ = (1 << SEQ_BITS) - 1


class Transaction(Batch):
    """`db`: a connection with an open transaction. `keys`: for sessions that are made. `mark`: whose commit it is, and the
    number of that, if it is to be written with what a batch writes."""

    def __init__(
        self, db: Any, fed: Iterable[str], keys: list[int] | None = None, mark: tuple[str | None, int] = (None, 0)
    ) -> None:
        super().__init__(frozenset(fed))
        self._db = db
        self._mark = mark
        self._new = keys if keys is not None else []
        self._known: dict[tuple[int, str], tuple[Seq, Seq, bytes]] = {}
        self._keyed: list[tuple[int, str, Seq, Seq, bytes]] = []
        self._made: list[tuple[Any, ...]] = []
        self._forks: list[tuple[int, Seq, int]] = []
        self._feed: list[tuple[str, str, str | None, Seq, int, bytes]] = []
        self.wrote = False
        """Whether there is anything to commit."""

    async def all(self, name: str, parameters: Any = ()) -> Sequence[Any]:
        found: Sequence[Any] = await self._db.fetch(query(name), *bound(name, parameters))
        return found

    async def one(self, name: str, parameters: Any = ()) -> Any:
        return await self._db.fetchrow(query(name), *bound(name, parameters))

    async def first(self, name: str, parameters: Any = ()) -> Any:
        self.wrote = self.wrote or not query(name).startswith("SELECT")
        return (await self.all(name, parameters))[0]

    async def do(self, name: str, parameters: Any = ()) -> int:
        said = str(await self._db.execute(query(name), *bound(name, parameters)))
        last = said.rpartition(" ")[2]
        changed = int(last) if last.isdigit() else 0
        self.wrote = self.wrote or changed > 0
        return changed

    async def find(self, session: SessionId) -> Row | None:
        row = self.rows.get(session)
        if row is None and (found := await self.one("lock_session", {"id": session})) is not None:
            row = self.rows[session] = _row(session, *found)
        return row

    # --- what appends and forks ask ---

    def take(self, found: Iterable[Any]) -> None:
        """Rows of sessions, which are locked."""
        for session, *rest in found:
            self.rows[session] = _row(session, *rest)

    def take_keys(self, found: Iterable[Any]) -> None:
        """Idempotency keys that are known."""
        for session, key, first, last, digest in found:
            self._known[session, key] = (first, last, digest)

    def row(self, session: SessionId) -> Row | None:
        return self.rows.get(session)

    def key(self, row: Row, key: str) -> tuple[Seq, Seq, bytes] | None:
        return self._known.get((row.key, key.replace("\0", "\ufffd")))

    def put_key(self, row: Row, key: str, first: Seq, last: Seq, digest: bytes) -> None:
        key = key.replace("\0", "\ufffd")
        self._known[row.key, key] = (first, last, digest)
        self._keyed.append((row.key, key, first, last, digest))

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
        key = self._new.pop(0) if key is None else key
        activity = draft.at_ms >> ACTIVITY_BITS
        labels = msgspec.json.encode(data.labels).decode()
        agent, tenant = data.agent, data.labels.tenant
        whence = None if origin is None else origin.id
        self._made.append(
            (
                key,
                session,
                draft.at_ms,
                activity,
                agent.name,
                agent.version,
                _plain(data.workspace),
                _plain(data.name),
                labels,
                tenant,
                parent,
                at,
                whence,
            )
        )
        row = Row(session, key, at, Gate(), 0, activity, origin is not None and origin.prompted, parent, Meter(), tenant)
        self.rows[session] = row
        if origin is not None:
            self._forks.append((key, at, origin.key))
        return row

    def flush(self) -> None:
        """Nothing: a fork is alone in its transaction, so nothing was put off before it."""
        assert not self._events

    # --- what work of several statements asks ---

    async def put_events(self, key: int, after: Seq, drafts: list[Draft]) -> None:
        """Events behind `after` of a log whose session is not there yet."""
        rows = [(key, after + n, d.at_ms, d.run, d.type, d.body) for n, d in enumerate(drafts, 1)]
        await self._many("insert_events", rows, ("logs", "seqs", "at_ms", "runs", "types", "bodies"))

    async def insert_texts(self, texts: Sequence[tuple[int, str]]) -> None:
        """What was said, by the position of its event, as it is searched for."""
        if texts:
            rows = [(position, vector(words_of(text))) for position, text in texts]
            await self._many("insert_texts", rows, ("positions", "words"))

    def feed(self, row: Row, draft: Draft, seq: Seq) -> None:
        self._feed.append((draft.type, row.id, row.tenant, seq, draft.at_ms, draft.body))

    async def feed_session(self, row: Row, type_: str, seq: Seq, at_ms: int) -> None:
        """An entry about a session, if such are fed."""
        if type_ in self.fed:
            self._feed.append((type_, row.id, row.tenant, seq, at_ms, b"{}"))

    async def feed_document(self, type_: str, id_: str, tenant: str | None, revision: int, at_ms: int, body: bytes) -> None:
        """An entry about a document, which is fed."""
        self._feed.append((type_, id_, tenant, revision, at_ms, body))

    # --- writing ---

    async def written_down(self) -> None:
        """Write what was put off until now, but for what belongs to the end."""
        if self._made:
            names = (
                "keys", "ids", "at_ms", "activities", "agents", "versions", "workspaces", "names", "labels", "tenants",
                "parents", "forked", "origins",
            )  # fmt: skip
            await self._many("insert_sessions", self._made, names)
            self._made = []
        for key, at, origin in self._forks:
            await self.do("share_log", {"session": key, "at": at, "origin": origin})
            await self.do("share_artifacts", {"session": key, "origin": origin})
        self._forks = []
        changed = [row for row in self.rows.values() if row.changed]
        if changed or self._events or self._keyed:
            await self._write(changed)

    async def _write(self, changed: list[Row]) -> None:
        events = [(at >> SEQ_BITS, at & _SEQ, *rest) for at, *rest in self._events]
        parameters = _columns(("logs", "seqs", "at_ms", "runs", "types", "bodies"), events)
        parameters |= _columns(("keyed", "keys", "firsts", "lasts", "digests"), self._keyed)
        rows: list[tuple[Any, ...]] = []
        above: list[tuple[int, int, int, int, int, int]] = []
        for row in changed:
            gate, meter = row.gate, row.meter
            if row.uncounted >= COUNTED_BYTES:
                self.logged(row.tenant, row.uncounted)
                row.uncounted = 0
            spent = (meter.tokens, meter.nano_usd, meter.turns, meter.tool_calls, meter.time_ms)
            agent, version = row.agent or (None, None)
            asks = sum(action.asks for action in gate.actions)
            activity = row.updated_ms >> ACTIVITY_BITS
            rows.append(
                (row.key, row.head, encode_gate(gate), gate.status, row.uncounted, row.updated_ms, activity, len(gate.queue),
                 asks, len(gate.tasks), _plain(row.name), agent, version, _plain(row.prompt), meter.since_ms, *spent)
            )  # fmt: skip
            if row.parent is not None and any(spent):
                above.append((row.parent, *spent))
            row.status, row.tasks, row.activity, row.stale = gate.status, len(gate.tasks), activity, True
            row.meter = Meter(since_ms=meter.since_ms)
            row.changed, row.name, row.agent, row.prompt = False, None, None, None
        names = (
            "changed", "heads", "gates", "statuses", "uncounted", "updated_ms", "activities", "queued", "actions", "tasks",
            "names", "agents", "versions", "prompts", "since_ms", "tokens", "nano_usd", "turns", "tool_calls", "time_ms",
        )  # fmt: skip
        self._events, self._keyed = [], []
        token, number = self._mark
        await self.do("write", {**parameters, **_columns(names, rows), "token": token, "number": number})
        self.wrote = True
        if above:
            await self._many("spend_above", above, ("parents", "tokens", "nano_usd", "turns", "tool_calls", "time_ms"))

    async def end(self) -> None:
        """Before the commit: what is left, the count of the logs, and the feed, whose row others wait for from here on."""
        await self.written_down()
        if self._logged:
            sizes = [(tenant or "", size) for tenant, size in self._logged.items()]
            await self._many("add_log_bytes", sizes, ("tenants", "bytes"))
            if ended := [tenant for tenant, size in sizes if size <= 0]:
                await self.do("end_log_bytes", {"tenants": ended})
        if self._feed:
            names = ("types", "subjects", "tenants", "seqs", "at_ms", "bodies")
            self.wrote = True
            positions = await self.all("write_feed", _columns(names, self._feed))
            self.written.append(Written(FEED, positions[-1][0] + 1, [], ()))

    async def _many(self, name: str, rows: Sequence[tuple[Any, ...]], columns: Sequence[str]) -> None:
        await self.do(name, _columns(columns, rows))


def _columns(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]]:
    """The rows as a list for each column."""
    if not rows:
        return {name: [] for name in names}
    return {name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}


def _plain(text: str | None) -> str | None:
    """Without the one character that no text of the server holds."""
    return text.replace("\0", "\ufffd") if text is not None and "\0" in text else text


def _row(
    session: SessionId,
    key: int,
    head: Seq,
    gate: bytes,
    epoch: int,
    activity: int,
    prompted: bool,
    parent: int | None,
    since_ms: int | None,
    tenant: str | None,
    uncounted: int,
    stale: int,
) -> Row:
    meter = Meter(since_ms=since_ms)
    return Row(
        session, key, head, decode_gate(gate), epoch, activity, prompted, parent, meter, tenant, uncounted, bool(stale)
    )


__all__ = ["Transaction"]
