"""The one writer of appends of a process in PostgreSQL: group commit, for many sessions at once.

Appends of all loops of this process queue up; a task takes all that wait, has their sessions locked and read in one go,
lets each check and write in memory (`requests`), and commits once. What is no append is a transaction of its own, on one of
the few other connections, beside it.

Rules: a request is answered only after the commit; one that is refused drops out alone; nothing is cached of a session,
since others write too. When the connection is lost during a commit the server is asked what became of it before anything is
tried again, so nothing is stored twice; when it cannot be asked, the error says that it is not known.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

from ...core.errors import GodwitError, StoreClosed, StoreUnreachable
from ...core.events import SessionCreated
from ..batch import Written
from ..requests import Append, Call, Fork, Request
from .connections import Connections, Patience
from .database import Database, again, lost
from .sql import bound, query
from .transaction import Transaction

T = TypeVar("T")

_BATCH = 512
_TRIES = 20
_KEYS = 64
"""Keys of sessions that are fetched at a time."""


class CommitLostError(Exception):
    """The connection was lost during the commit of this slot's transaction of this number."""

    def __init__(self, slot: int, number: int) -> None:
        super().__init__(slot, number)
        self.slot = slot
        self.number = number


class Writer:
    """`committed` is called with what each commit wrote and the requests it settles."""

    def __init__(
        self,
        database: Database,
        connections: Connections,
        token: str,
        committed: Callable[[list[Written], list[Request[Any]]], bool],
    ) -> None:
        self._database = database
        self._connections = connections
        self._token = token
        self._committed = committed
        self._queue: deque[Request[Any]] = deque()
        self._last: asyncio.Future[Any] | None = None
        self._bell = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._ahead: set[asyncio.Task[Any]] = set()
        self._db: Any = None
        self._keys: list[int] = []
        self._closed = False
        self._number = 0
        self._free: list[int] = []
        self._slots = 0

    async def do(self, request: Request[T], *, ahead: bool = False) -> T:
        """Run the request in a transaction; it is durable on return. When the caller is cancelled it may still happen.
        `ahead`: it begins at once, and whatever is asked after it waits for it."""
        if self._closed:
            raise StoreClosed()
        if self._ahead and not ahead:
            await asyncio.wait(self._ahead)
        if isinstance(request, Call):
            if not ahead:
                return await self._call(request)
            task: asyncio.Task[T] = asyncio.ensure_future(self._call(request))
            self._ahead.add(task)
            task.add_done_callback(self._ahead.discard)
            return await asyncio.shield(task)
        request.loop = asyncio.get_running_loop()
        request.future = self._last = request.loop.create_future()
        self._queue.append(request)
        self._start()
        self._bell.set()
        return await request.future

    async def flush(self) -> None:
        """Return when all that was asked before is done."""
        if self._closed:
            raise StoreClosed()
        if self._ahead:
            await asyncio.wait(self._ahead)
        if self._last is not None and not self._last.done():
            await asyncio.wait([self._last])

    async def close(self) -> None:
        """Finish what was asked before, then end. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._ahead:
            await asyncio.wait(self._ahead)
        if self._task is not None:
            self._bell.set()
            await self._task
        if self._number:
            with contextlib.suppress(GodwitError):
                await self._connections.select("end_commits", {"token": self._token})
        await self._drop()

    def _start(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="godwit-writer")

    async def _run(self) -> None:
        while self._queue or not self._closed:
            if not self._queue:
                self._bell.clear()
                await self._bell.wait()
                continue
            batch = self._next()
            try:
                written = await self._process(batch)
            except Exception as error:  # a bug must not leave the others waiting
                written = []
                for request in batch:
                    request.error = request.error or error
            self._committed(written, batch)

    def _next(self) -> list[Request[Any]]:
        """All that wait and may go together. A fork goes alone: it begins with what others may be writing."""
        batch = [self._queue.popleft()]
        if not isinstance(batch[0], Fork):
            while self._queue and len(batch) < _BATCH and not isinstance(self._queue[0], Fork):
                batch.append(self._queue.popleft())
        return batch

    async def _process(self, batch: list[Request[Any]]) -> list[Written]:
        """Run the batch in one transaction; when that fails as a whole, each request in one of its own."""
        try:
            return await self._tried(partial(self._transact, batch), alone=len(batch) == 1)
        except Exception as error:
            if len(batch) == 1 or isinstance(error, StoreUnreachable | StoreClosed):
                for request in batch:
                    request.error = error
                return []
        written: list[Written] = []
        for request in batch:
            request.error = None
            try:
                written += await self._tried(partial(self._transact, [request]), alone=True)
            except Exception as error:
                request.error = error
        return written

    async def _call(self, request: Call[T]) -> T:
        written: list[Written] = []
        slot: int | None = None

        async def work() -> T:
            nonlocal slot
            written.clear()
            async with self._connections.taken() as db:
                slot = await self._slot(db) if slot is None else slot
                return await self._called(db, request, written, slot)

        try:
            result = await self._tried(work, alone=True, done=lambda: request.result)
        finally:
            if slot is not None:
                self._free.append(slot)
        self._committed(written, [])
        return result

    async def _slot(self, db: Any) -> int:
        """One that nobody uses now; its row is there, to be waited for."""
        if self._free:
            return self._free.pop()
        self._slots += 1
        slot = self._slots
        await db.execute(query("mark"), *bound("mark", {"token": self._token, "slot": slot, "number": 0}))
        return slot

    async def _tried(
        self, work: Callable[[], Coroutine[Any, Any, T]], *, alone: bool, done: Callable[[], Any] | None = None
    ) -> T:
        """The work, again when others were in its way or the server was away. GodwitError."""
        patience = Patience(self._database)
        tries = 0
        while True:
            try:
                return await work()
            except CommitLostError as error:
                await self._drop()
                if await self._was_committed(error):
                    return self._result if done is None else done()  # type: ignore[return-value]
            except GodwitError as error:
                if not isinstance(error, StoreUnreachable) or not await patience.nap():
                    raise
            except Exception as error:
                tries += 1
                if lost(error):
                    await self._drop()
                    if await patience.nap():
                        continue
                elif again(error) and alone and tries < _TRIES:
                    continue
                raise self._database.translate(error) from error

    async def _was_committed(self, lost_: CommitLostError) -> bool:
        """What became of a transaction. StoreUnreachable when nobody can say."""
        why = "the connection was lost during the commit, and it is not known what became of it"
        try:
            found = await self._connections.select("outcome", {"token": self._token, "slot": lost_.slot})
        except GodwitError as error:
            raise StoreUnreachable(f"{self._database}: {why}", database=str(self._database), unknown=True) from error
        if not found:
            raise StoreUnreachable(f"{self._database}: {why}", database=str(self._database), unknown=True)
        return bool(found[0][0] == lost_.number)

    async def _transact(self, batch: list[Request[Any]]) -> list[Written]:
        for request in batch:
            request.result = request.error = None
        db = await self._connection()
        keys = await self._keys_for(db, batch)
        committing, transaction = False, None
        self._number += 1
        number = self._number
        try:
            await db.execute("BEGIN")
            transaction = await self._locked(db, batch, keys, number)
            for request in batch:
                assert isinstance(request, Append | Fork)
                try:
                    request.result = request.apply(transaction)
                except Exception as error:
                    # A refusal, or a bug in what the caller handed in: its own affair, checked before it wrote anything.
                    request.error = error
            await transaction.end()
            self._result = transaction.written
            committing = transaction.wrote
            await db.execute("COMMIT" if transaction.wrote else "ROLLBACK")
        except BaseException as error:
            if committing and transaction is not None and isinstance(error, Exception) and lost(error):
                raise CommitLostError(0, number) from error
            await self._undo(db)
            raise
        return transaction.written

    _result: list[Written]
    """What the transaction that was last committed, or may have been, has written."""

    async def _locked(self, db: Any, batch: list[Request[Any]], keys: list[int], number: int) -> Transaction:
        """A transaction in which all is locked and read that these requests are about."""
        ids: dict[str, None] = {}
        for request in batch:
            assert isinstance(request, Append | Fork)
            ids[request.session] = None
            if isinstance(request, Fork):
                ids[request.origin] = None
            elif request.create and request.events:
                data = request.events[0].data
                if isinstance(data, SessionCreated) and data.parent is not None:
                    ids[data.parent] = None
        found = await db.fetch(query("lock_sessions"), *bound("lock_sessions", {"ids": list(ids)}))
        transaction = Transaction(db, found[0]["fed"], keys, (self._token, number))
        transaction.take(one[1:] for one in map(tuple, found) if one[1] is not None)
        asked = [
            (row.key, request.key.replace("\0", "\ufffd"))
            for request in batch
            if isinstance(request, Append | Fork) and request.key is not None
            if (row := transaction.row(request.session)) is not None
        ]
        if asked:
            sessions, names = zip(*asked, strict=True)
            values = bound("find_keys", {"sessions": list(sessions), "keys": list(names)})
            transaction.take_keys(await db.fetch(query("find_keys"), *values))
        return transaction

    async def _keys_for(self, db: Any, batch: Sequence[Request[Any]]) -> list[int]:
        """Enough keys for the sessions that these make. One that is not used in the end is lost, which harms nobody."""
        wanted = sum(isinstance(request, Fork) or (isinstance(request, Append) and request.create) for request in batch)
        if len(self._keys) < wanted:
            rows = await db.fetch(query("new_keys"), max(wanted, _KEYS))
            self._keys += [key for (key,) in rows]
        return self._keys

    async def _called(self, db: Any, request: Call[T], written: list[Written], slot: int) -> T:
        """Run a function in a transaction of its own."""
        committing = False
        self._number += 1
        number = self._number
        try:
            await db.execute("BEGIN")
            if request.about is not None:
                await db.execute(query("lock_about"), *bound("lock_about", {"about": request.about}))
            found = await db.fetch(query("fed"))
            transaction = Transaction(db, [type_ for (type_,) in found])
            result = await request.function(transaction)
            await transaction.end()
            request.result = result
            written += transaction.written
            if transaction.wrote:
                await db.execute(query("mark"), *bound("mark", {"token": self._token, "slot": slot, "number": number}))
                committing = True
            await db.execute("COMMIT")
        except BaseException as error:
            if committing and isinstance(error, Exception) and lost(error):
                raise CommitLostError(slot, number) from error
            await self._undo(db)
            raise
        return result

    async def _undo(self, db: Any) -> None:
        with contextlib.suppress(Exception):
            await db.execute("ROLLBACK")

    async def _connection(self) -> Any:
        if self._db is None or self._db.is_closed():
            self._db = await self._database.connect(application_name="godwit writer")
            # So that its row is there to be waited for.
            await self._db.execute(query("mark"), *bound("mark", {"token": self._token, "slot": 0, "number": 0}))
        return self._db

    async def _drop(self) -> None:
        """Without the connection, which may be of no use."""
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(Exception):
                await db.close(timeout=1)


__all__ = ["Writer"]
