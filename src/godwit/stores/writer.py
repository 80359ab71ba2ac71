"""The one writer of a SQLite store: group commit.

Requests of all sessions and loops queue up; a thread takes all that wait, lets each check and write (`requests`), and
commits once. Where a commit waits for no disk (every level but `disk`) the caller's own thread does the same at once when
nobody else is at it, which costs a fifth of two thread hops; checkpoints, which do wait for the disk, are then left to the
thread.

A request may be put ahead: it wakes nobody, and is committed in front of the next one, in its transaction, so that it costs
no commit of its own.

Rules: a request is answered only after the commit; what is cached of a session is dropped whenever another process wrote
(`PRAGMA data_version`) and whenever a transaction failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ..core.errors import GodwitError, StoreClosed, StoreCorrupt, StoreError, StoreLocked
from ..core.ids import SessionId
from .batch import Row, Written
from .database import Database
from .requests import Append, Call, Fork, Request, done
from .sql import query
from .transaction import Transaction

T = TypeVar("T")


_CACHE_LIMIT = 4096


_BATCH_LIMIT = 1024


_INLINE_TURN = 32


_CHECKPOINT_COMMITS = 256


_CHECKPOINT: Request[Any] = Request()
"""Not a request, but the sign for the thread to move the write-ahead log into the file."""


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
        self._queue: queue.SimpleQueue[Sequence[Request[Any]] | None] = queue.SimpleQueue()
        self._ahead: deque[Request[Any]] = deque()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._closed = False
        self._inline = database.durability != "disk"
        self._inline_commits = 0
        self._turn_due = False
        self._set_up(db)

    async def do(self, request: Request[T], *, ahead: bool = False) -> T:
        """Run the request in a transaction; it is durable on return. When the caller is cancelled it may still happen.
        `ahead`: only when another one comes, in front of that."""
        if self._closed:
            raise StoreClosed()
        if ahead:
            request.loop = asyncio.get_running_loop()
            request.future = request.loop.create_future()
            self._ahead.append(request)
            return await request.future
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
        self._queue.put([*self._taken_ahead(), request])
        return await request.future

    def _taken_ahead(self) -> list[Request[Any]]:
        taken: list[Request[Any]] = []
        with contextlib.suppress(IndexError):  # several threads may take at once
            while self._ahead:
                taken.append(self._ahead.popleft())
        return taken

    async def close(self) -> None:
        """Finish what was asked before, then end. Idempotent."""
        if self._closed:
            return
        if ahead := self._taken_ahead():
            self._start()
            self._queue.put(ahead)
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
        ahead = self._taken_ahead()
        try:
            written = self._transact([*ahead, request], wait=False)
        except StoreLocked:
            self._ahead.extendleft(reversed(ahead))
            request.error = None
            return False
        except Exception as error:
            if ahead:
                written = self._process([*ahead, request])
            else:
                request.error, written = error, []
        finally:
            self.lock.release()
        woke = self._committed(written, ahead)
        self._inline_commits += 1
        self._turn_due = woke or self._inline_commits % _INLINE_TURN == 0
        if not memory and self._inline_commits % _CHECKPOINT_COMMITS == 0:
            self._start()
            self._queue.put([_CHECKPOINT])
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
                batch.extend(first)
            while len(batch) < _BATCH_LIMIT:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    ending = True
                else:
                    batch.extend(more)
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
                rest += self._queue.get_nowait() or ()
        rest += self._taken_ahead()
        for request in rest:
            request.error = StoreClosed()
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
                    request.result = _applied(request, transaction)
                except sqlite3.Error:
                    raise
                except Exception as error:
                    # A refusal, or a bug in what the caller handed in: its own affair, checked before it wrote anything.
                    request.error = error if isinstance(error, GodwitError) else _explained(error)
            transaction.flush()
            transaction.end()
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


def _applied(request: Request[Any], transaction: Transaction) -> Any:
    if isinstance(request, Append | Fork):
        return request.apply(transaction)
    assert isinstance(request, Call)
    transaction.flush()
    return done(request.function(transaction))


def _explained(error: Exception) -> Exception:
    error.add_note("raised while the store checked a request; nothing of it was stored")
    return error


__all__ = ["Writer"]
