"""The one writer of a SQLite store: group commit, and the checks each append must pass.

Requests of all sessions and loops queue up; a thread takes all that wait, checks each, writes them and commits once.
Where a commit waits for no disk (every level but `disk`) the caller's own thread does the same at once when nobody else is
at it, which costs a fifth of two thread hops; checkpoints, which do wait for the disk, are then left to the thread.

Rules: a request is checked as a whole before anything of it is written, so that a refused one leaves no trace and does not
spoil the others; a request is answered only after the commit; what is cached of a session is dropped whenever another
process wrote (`PRAGMA data_version`) and whenever a transaction failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from ..contracts import Appended
from ..core.errors import (
    GodwitError,
    HeadMoved,
    IllegalEvent,
    InvalidArgument,
    KeyReused,
    SessionExists,
    SessionNotFound,
    StaleEpoch,
    StoreClosed,
    StoreCorrupt,
    StoreError,
    StoreLocked,
)
from ..core.events import (
    AgentMessage,
    Draft,
    Event,
    RunFinished,
    SessionConfigured,
    SessionCreated,
    SessionRewound,
    ToolFinished,
    UserMessage,
    from_outside,
)
from ..core.gate import Gate, admit, consequence, decode_gate, encode_gate
from ..core.ids import RunId, Seq, SessionId
from ..core.messages import text_of
from ..core.meter import Meter, metered
from .database import Database
from .sql import query

T = TypeVar("T")

_CACHE_LIMIT = 4096
_BATCH_LIMIT = 1024
_PROMPT_CHARACTERS = 200
_INLINE_TURN = 32
_CHECKPOINT_COMMITS = 256
SEQ_BITS = 32
"""`events.position` is the session's key and, in so many bits, the seq."""
ACTIVITY_BITS = 16
"""`sessions.activity` is `updated_ms` without its last bits."""
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


class Request(Generic[T]):
    """Something to do within a transaction; `apply` checks, then writes. Settled once, by the writer."""

    __slots__ = ("error", "future", "loop", "result")

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.future: asyncio.Future[T] | None = None
        self.result: T | None = None
        self.error: Exception | None = None

    def apply(self, transaction: Transaction) -> T:
        raise AssertionError("a request says what it does")

    def settle(self) -> None:
        """On the loop: tell whoever waits."""
        future = self.future
        if future is None or future.done():
            return
        if self.error is not None:
            future.set_exception(self.error)
        else:
            future.set_result(self.result)  # type: ignore[arg-type]


_CHECKPOINT: Request[Any] = Request()
"""Not a request, but the sign for the thread to move the write-ahead log into the file."""


class Call(Request[T]):
    """A request made of a function; it must check before it writes."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[[Transaction], T]) -> None:
        super().__init__()
        self._function = function

    def apply(self, transaction: Transaction) -> T:
        transaction.flush()
        return self._function(transaction)


class Append(Request[Appended]):
    """`create`: the session must not exist yet."""

    __slots__ = ("create", "epoch", "events", "expect", "key", "session")

    def __init__(
        self,
        session: SessionId,
        events: Sequence[Draft],
        *,
        create: bool = False,
        epoch: int | None = None,
        expect: Seq | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__()
        self.session = session
        self.events = events
        self.create = create
        self.epoch = epoch
        self.expect = expect
        self.key = key

    def apply(self, transaction: Transaction) -> Appended:
        session, events = self.session, self.events
        if not events:
            raise InvalidArgument("an append needs at least one event", session=session)
        row = transaction.row(session)
        digest = None if self.key is None else _digest(events)
        # The key comes first: a repeated request gets its first answer, whatever the session has become since.
        if self.key is not None and digest is not None and row is not None:
            known = transaction.key(row, self.key)
            if known is not None:
                first, last, stored = known
                if stored != digest:
                    raise KeyReused(
                        f"idempotency key {self.key!r} was used for other events: take a new key",
                        session=session,
                        key=self.key,
                    )
                return Appended(first, last, duplicate=True)
        if self.create:
            if row is not None:
                raise SessionExists(f"session {session!r} exists already", session=session)
            if not isinstance(events[0].data, SessionCreated):
                raise IllegalEvent(f"a log begins with session.created, not {events[0].type}", type=events[0].type)
        elif row is None:
            raise SessionNotFound(f"there is no session {session!r}", session=session)
        if self.epoch is None:
            for draft in events:
                if not from_outside(draft.data):
                    raise IllegalEvent(f"{draft.type} needs the driver's epoch", type=draft.type)
        elif row is None or row.epoch != self.epoch:
            raise StaleEpoch(
                f"epoch {self.epoch} of session {session!r} is over",
                epoch=self.epoch,
                newest=0 if row is None else row.epoch,
            )
        head = 0 if row is None else row.head
        if self.expect is not None and self.expect != head:
            raise HeadMoved(f"the head of session {session!r} is {head}, not {self.expect}", head=head, expect=self.expect)

        gate, meter = (Gate(), Meter()) if row is None else (row.gate, row.meter)
        parent = transaction.parent(events[0]) if row is None else None
        drafts: list[Draft] = []
        for draft in events:
            data = draft.data
            seq = head + len(drafts) + 1
            if isinstance(data, SessionCreated) and seq > 1:
                raise IllegalEvent("a log begins with session.created, once", seq=seq)
            if isinstance(data, SessionRewound) and not 0 < data.to < seq:
                raise IllegalEvent(f"there is no event {data.to} to rewind to", to=data.to, head=seq - 1)
            phase = gate.phase
            gate = admit(gate, data)
            meter = metered(meter, phase, gate.phase, data, draft.at_ms)
            drafts.append(draft)
            follows = consequence(gate, data)
            if follows is not None:
                phase = gate.phase
                gate = admit(gate, follows)
                meter = metered(meter, phase, gate.phase, follows, draft.at_ms)
                drafts.append(Draft(follows, at_ms=draft.at_ms, run=gate.run))

        if row is None:
            row = transaction.create(session, drafts[0], parent)
        first, last = head + 1, head + len(drafts)
        if self.key is not None and digest is not None:
            transaction.put_key(row, self.key, first, last, digest)
        transaction.write(row, drafts, gate, meter)
        return Appended(first, last)


class Row:
    """A session as the writer knows it. One that was `changed` goes to the table before the commit.

    `meter`: what was spent since the row was last written, beside the time its clock runs from. `parent`: a key.
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
        key, head, gate, epoch, activity, prompted, parent, since_ms = found
        meter = Meter(since_ms=since_ms)
        row = Row(session, key, head, decode_gate(gate), epoch, activity, bool(prompted), parent, meter)
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

    def create(self, session: SessionId, draft: Draft, parent: int | None) -> Row:
        data = draft.data
        assert isinstance(data, SessionCreated)
        activity = draft.at_ms >> ACTIVITY_BITS
        key = self.execute(
            "insert_session",
            {
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
            },
        ).lastrowid
        assert key is not None
        row = self.rows[session] = Row(session, key, 0, Gate(), 0, activity, False, parent, Meter())
        return row

    def write(self, row: Row, drafts: list[Draft], gate: Gate, meter: Meter) -> None:
        seq, log = row.head, row.key << SEQ_BITS
        written = self._open.get(row.id)
        if written is None:
            written = self._open[row.id] = Written(row.id, 0, [], ())
            self.written.append(written)
        for draft in drafts:
            seq += 1
            self._events.append((log + seq, draft.at_ms, draft.run, draft.type, draft.body))
            if draft.type in self.fed:
                entry = {"key": row.key, "type": draft.type, "seq": seq, "at_ms": draft.at_ms, "body": draft.body}
                self._feed.append(entry)
            data = draft.data
            match data:
                case UserMessage() if not row.prompted:
                    text = text_of(data.content)
                    if text:
                        row.prompt, row.prompted = text[:_PROMPT_CHARACTERS], True
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
        row.head, row.gate, row.updated_ms, row.changed, row.meter = seq, gate, drafts[-1].at_ms, True, meter
        written.head = seq
        written.drafts += drafts

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

    def feed_document(self, type_: str, id_: str, tenant: str | None, revision: int, at_ms: int, body: bytes) -> None:
        """An entry about a document, which is fed."""
        self.execute("feed_document", (type_, id_, tenant, revision, at_ms, body))
        self._fed_some = True

    def tell_feed(self) -> None:
        """Before the commit: whoever waits for the feed is to be woken with it."""
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
                    "status": gate.status,
                    "updated_ms": row.updated_ms,
                    "queued": len(gate.queue),
                    "actions": sum(not a.answered for a in gate.actions),
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


class Writer:
    """`committed` is called with what each commit wrote and the requests it settles, on the thread that committed.

    It returns whether anybody follows what was written.
    """

    def __init__(
        self,
        database: Database,
        db: sqlite3.Connection,
        committed: Callable[[list[Written], list[Request[Any]]], bool],
    ) -> None:
        self.lock = threading.Lock()
        """Held while a transaction is open; a reader of the same connection (`:memory:`) takes it too."""
        self._database = database
        self._db: sqlite3.Connection | None = db
        self._committed = committed
        self._cache: dict[SessionId, Row] = {}
        self._fed: frozenset[str] | None = None
        self._version = -1
        self._queue: queue.SimpleQueue[Request[Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._closed = False
        self._inline = database.durability != "disk"
        self._inline_commits = 0
        self._turn_due = False
        self._set_up(db)

    async def do(self, request: Request[T]) -> T:
        """Run the request in a transaction; it is durable on return. When the caller is cancelled it may still happen."""
        if self._closed:
            raise StoreClosed()
        if self._inline and self._done_inline(request):
            if self._turn_due:
                await asyncio.sleep(0)  # who only appends must still let followers and others run
            if request.error is not None:
                raise request.error
            return request.result  # type: ignore[return-value]
        request.loop = asyncio.get_running_loop()
        request.future = request.loop.create_future()
        if self._thread is None:
            self._start()
        self._queue.put(request)
        return await request.future

    async def close(self) -> None:
        """Finish what was asked before, then end. Idempotent."""
        if self._closed:
            return
        self._closed = True
        with self._starting:
            thread = self._thread
        if thread is not None:
            self._queue.put(None)
            await asyncio.get_running_loop().run_in_executor(None, thread.join)
            self._refuse_rest()
        with self.lock:
            if self._db is not None:
                with contextlib.suppress(sqlite3.Error):
                    self._db.close()
            self._db = None

    @property
    def connection(self) -> sqlite3.Connection:
        """For readers of `:memory:`, under `lock`. StoreClosed."""
        if self._db is None:
            raise StoreClosed()
        return self._db

    def _done_inline(self, request: Request[Any]) -> bool:
        """Commit on this thread; False when that would have to wait."""
        memory = self._database.memory
        if not memory and not self._queue.empty():
            return False
        if not self.lock.acquire(blocking=memory):
            return False
        try:
            written = self._transact([request], wait=False)
        except StoreLocked:
            request.error = None
            return False
        except Exception as error:
            request.error, written = error, []
        finally:
            self.lock.release()
        woke = self._committed(written, [])
        self._inline_commits += 1
        self._turn_due = woke or self._inline_commits % _INLINE_TURN == 0
        if not memory and self._inline_commits % _CHECKPOINT_COMMITS == 0:
            self._start()
            self._queue.put(_CHECKPOINT)
        return True

    def _checkpoint(self) -> None:
        with self.lock, contextlib.suppress(sqlite3.Error, StoreError):  # it is tried again later, or by the last to close
            self._connection().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _set_up(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA busy_timeout = 0")  # `Database.begin` waits
        if self._inline and not self._database.memory:
            db.execute("PRAGMA wal_autocheckpoint = 0")

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="godwit-writer", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        take = self._queue.get
        while True:
            first = take()
            batch: list[Request[Any]] = []
            ending = first is None
            if first is not None:
                batch.append(first)
            while len(batch) < _BATCH_LIMIT:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    ending = True
                else:
                    batch.append(more)
            checkpoint = _CHECKPOINT in batch
            if checkpoint:
                batch = [request for request in batch if request is not _CHECKPOINT]
            if batch:
                with self.lock:
                    written = self._process(batch)
                self._committed(written, batch)
            if checkpoint:
                self._checkpoint()
            if ending:
                return

    def _refuse_rest(self) -> None:
        """Requests of another thread's loop that came in beside the closing."""
        rest: list[Request[Any]] = []
        with contextlib.suppress(queue.Empty):
            while True:
                request = self._queue.get_nowait()
                if request is not None:
                    request.error = StoreClosed()
                    rest.append(request)
        self._committed([], rest)

    def _process(self, batch: list[Request[Any]]) -> list[Written]:
        """Run the batch in one transaction; when that fails as a whole, each request in one of its own."""
        try:
            return self._transact(batch)
        except Exception as error:
            if len(batch) == 1 or isinstance(error, StoreClosed):
                for request in batch:
                    request.error = error
                return []
        written: list[Written] = []
        for request in batch:
            request.error = None
            try:
                written += self._transact([request])
            except Exception as error:
                request.error = error
        return written

    def _transact(self, batch: list[Request[Any]], *, wait: bool = True) -> list[Written]:
        db = None
        try:
            db = self._connection()
            self._database.begin(db, wait=wait)
            version = db.execute("PRAGMA data_version").fetchone()[0]
            if version != self._version:
                self._cache.clear()
                self._fed = None
                self._version = version
            if self._fed is None:
                self._fed = frozenset(one for (one,) in db.execute(query("feed_types")))
            transaction = Transaction(db, self._cache, self._fed)
            for request in batch:
                try:
                    request.result = request.apply(transaction)
                except sqlite3.Error:
                    raise
                except Exception as error:
                    # A refusal, or a bug in what the caller handed in: its own affair, checked before it wrote anything.
                    request.error = error if isinstance(error, GodwitError) else _explained(error)
            transaction.flush()
            transaction.tell_feed()
            db.execute("COMMIT")
        except sqlite3.Error as error:
            self._recover(db)
            translated = self._database.translate(error)
            if isinstance(translated, StoreCorrupt) or type(translated) is StoreError:
                self._reopen()
            raise translated from error
        except Exception:
            # Values SQLite cannot take (a lone surrogate, an integer of more than 64 bits) show only when they are bound.
            self._recover(db)
            raise
        self._fed = transaction.fed
        for session in transaction.gone:
            self._cache.pop(session, None)
        self._cache.update(transaction.rows)
        while len(self._cache) > _CACHE_LIMIT:
            del self._cache[next(iter(self._cache))]
        return transaction.written

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            if self._database.memory:
                raise StoreClosed()
            db = self._database.connect()
            self._set_up(db)
            self._db = db
        return self._db

    def _recover(self, db: sqlite3.Connection | None) -> None:
        self._cache.clear()
        self._fed = None
        self._version = -1
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                if db.in_transaction:
                    db.execute("ROLLBACK")

    def _reopen(self) -> None:
        """Drop a connection that met a damaged file: the next try sees the file as it is then."""
        if not self._database.memory and self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None


def _explained(error: Exception) -> Exception:
    error.add_note("raised while the store checked a request; nothing of it was stored")
    return error


def _digest(events: Sequence[Draft]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for draft in events:
        digest.update(len(draft.body).to_bytes(8, "big"))
        digest.update(draft.type.encode())
        digest.update(b"\0")
        digest.update(draft.body)
    return digest.digest()


__all__ = ["ACTIVITY_BITS", "FEED", "SEQ_BITS", "Append", "Call", "Request", "Transaction", "Writer", "Written"]
