"""WorkQueue: which sessions need a worker from outside, who has taken which, and what becomes of those whose worker died.

A durable queue over documents, a `WorkItem` each. A session that runs in a place where workers do its tool calls gets an
item when a run of it is open here; a worker polls for one, acknowledges it, keeps its lease by heartbeats and stops it when
the session rests. Leaves out how calls are answered, which workers do like any other client.

Rules: whoever drives a session sees to its item, so one that a crash kept from being made is made by the driver that comes
next. Every step is one conditional write, so of any number of workers and servers on one database one alone gets through it.
A session has one item that lives at most. When an item ends while a run is open there is another one afterwards, in
whichever order the run began and the item ended. A poll waits for a wake-up, from whichever process, and for the moment at
which the next item comes free.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import msgspec

from ..contracts import SessionRow, Store
from ..core.document import Document
from ..core.errors import (
    Conflict,
    DocumentExists,
    DocumentNotFound,
    GodwitError,
    NotFound,
    RevisionConflict,
    SessionNotFound,
    WorkLost,
)
from ..core.events import Delta
from ..core.ids import Clock, IdSource, RunId, Seq, SessionId
from ..engine.receiver import EventReceiver
from .work_item import KIND, WorkItem, item_of

logger = logging.getLogger("godwit")

LEASE_S = 30
"""How long a worker's lease lasts when it does not say."""
LONGEST_S = 300
RECLAIM_MS = 5000
"""How long a worker has to acknowledge what it was handed."""
POLLING_S = 30
"""How long somebody who polled counts as a worker that polls."""
KEPT_MS = 7 * 24 * 3600 * 1000
"""How long what has stopped can be looked at."""
_PAGE, _TRIES = 100, 20
_SLOWEST_MS = 60_000

PlaceOf = Callable[[SessionId, str | None], Awaitable[str | None]]
"""Where workers do a session's calls, by its id and tenant; None when none do."""


class Counts(msgspec.Struct, frozen=True):
    """`waiting`: not handed out; `pending`: handed out and not acknowledged; `oldest_ms`: when the oldest of both was made;
    `polling`: workers that polled in this process of late."""

    waiting: int
    pending: int
    oldest_ms: int | None
    polling: int


class WorkQueue:
    """A tenant sees its own items alone. `lease_s`: see `LEASE_S`, in whole seconds."""

    def __init__(self, store: Store, ids: IdSource, clock: Clock, place_of: PlaceOf, *, lease_s: int = LEASE_S) -> None:
        self._store = store
        self._ids = ids
        self._clock = clock
        self._place_of = place_of
        self._lease_s = lease_s
        self._look_ms: dict[tuple[str | None, str], int] = {}
        self._polled: dict[tuple[str | None, str], dict[str, float]] = {}
        self._followers: dict[SessionId, asyncio.Task[None]] = {}

    # --- where items come from --------------------------------------------------------------------------------------

    def follow(self, session: SessionId, after: Seq) -> None:
        """See to this session from here on, which is driven in this process."""
        if session not in self._followers:
            task = asyncio.create_task(self._follow(session, after), name=f"work {session}")
            self._followers[session] = task
            task.add_done_callback(lambda ended: self._forget(session, ended))

    async def leave(self, session: SessionId) -> None:
        """Nobody here drives it any more."""
        task = self._followers.pop(session, None)
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    def _forget(self, session: SessionId, ended: asyncio.Task[None]) -> None:
        if self._followers.get(session) is ended:  # it may be followed anew by now
            del self._followers[session]

    async def close(self) -> None:
        for session in list(self._followers):
            await self.leave(session)

    async def _follow(self, session: SessionId, after: Seq) -> None:
        with contextlib.suppress(SessionNotFound):
            row = await self._store.session(session)
            place = await self._place_of(session, row.labels.tenant)
            if place is None:
                return
            await self._want_safely(row, place)
            events = EventReceiver(self._store, session, min(after, row.head))
            async for event in events:
                if event.type == "run.started":
                    await self._want_safely(await self._store.session(session), place)
                elif event.type == "session.archived":
                    return

    async def _want_safely(self, row: SessionRow, place: str) -> None:
        try:
            if row.run is not None:
                await self.want(row.id, place, row.labels.tenant, row.run)
        except SessionNotFound:
            raise
        except GodwitError as error:
            logger.warning("session %s has no item in the queue of %s: %s", row.id, place, error.message)

    async def want(
        self, session: SessionId, place: str, tenant: str | None, run: RunId | None = None, *, tries: int = 0
    ) -> None:
        """See to it that a worker is on its way to this session: there is an item, or there is one already."""
        wait_ms = 0 if tries < 2 else min(1000 << (tries - 2), _SLOWEST_MS)
        for _ in range(_TRIES):
            item = WorkItem(place, session, run, tries=tries, ready_ms=self._clock.now_ms() + wait_ms if wait_ms else 0)
            try:
                await self._store.put_documents([item.document(self._ids.new("work"), tenant)])
            except DocumentExists as exists:
                if await self._hurry(str(exists.details.get("id")), tenant, run):
                    return
                continue
            self._ring(place)
            return
        raise RevisionConflict(f"the work of session {session!r} is being changed by others all the time")

    async def _hurry(self, work: str, tenant: str | None, run: RunId | None) -> bool:
        """Let an item that is held back for an older run wait no longer. False when it has gone, or changed."""
        try:
            document = await self._store.get_document(KIND, work, tenant=tenant)
        except DocumentNotFound:
            return False
        item = item_of(document)
        if item.state == "stopped":
            return False
        if item.state != "queued" or item.run == run:
            return True
        changed = msgspec.structs.replace(item, run=run, tries=0, ready_ms=0)
        try:
            await self._store.put_documents([changed.put_in(document)])
        except (RevisionConflict, DocumentNotFound):
            return False
        self._ring(item.place)
        return True

    # --- what workers do --------------------------------------------------------------------------------------------

    async def poll(
        self,
        place: str,
        *,
        tenant: str | None,
        worker: str | None = None,
        wait_ms: int = 0,
        reclaim_ms: int = RECLAIM_MS,
    ) -> Document | None:
        """The next item, which is this worker's if it acknowledges it in time; None when none came within `wait_ms`."""
        if worker is not None:
            self._polling(place, tenant)[worker] = self._clock.monotonic()
        bell = asyncio.Event()
        unwatch = self._store.watch(bell_of(place), lambda _: bell.set())
        until = self._clock.now_ms() + wait_ms
        try:
            while True:
                bell.clear()
                taken, next_ms = await self._take(place, tenant, worker, reclaim_ms)
                now = self._clock.now_ms()
                if taken is not None or now >= until:
                    return taken
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(bell.wait(), max(1, min(until, next_ms) - now) / 1000)
        finally:
            unwatch()

    async def _take(
        self, place: str, tenant: str | None, worker: str | None, reclaim_ms: int
    ) -> tuple[Document | None, int]:
        """An item that is free and taken now; else None, and when the next one may be free."""
        next_ms = 1 << 62
        for key in ("held", "waits"):
            if key == "held" and self._look_ms.get((tenant, place), 0) > self._clock.now_ms():
                # No lease runs out before then.
                next_ms = self._look_ms[tenant, place]
                continue
            soonest = 1 << 62
            async for document in self._all({key: place}, tenant):
                item = item_of(document)
                free_ms = item.free_ms(reclaim_ms)
                if free_ms > self._clock.now_ms():
                    soonest = min(soonest, free_ms)
                    continue
                taken = await self._hand_out(document, item, worker)
                if taken is not None:
                    return taken, 0
            if key == "held":
                # A lease that others grant meanwhile lasts a second at least.
                self._look_ms[tenant, place] = soonest = min(soonest, self._clock.now_ms() + 1000)
            next_ms = min(next_ms, soonest)
        return None, next_ms

    async def _hand_out(self, document: Document, item: WorkItem, worker: str | None) -> Document | None:
        """The item as it is handed to this worker; None when there is nothing to do, or somebody else was quicker."""
        try:
            row = await self._store.session(item.session)
            needed = row.run is not None and item.state != "stopping"
        except SessionNotFound:
            needed = False
        with contextlib.suppress(RevisionConflict, DocumentNotFound):
            if not needed:
                await self._end(document, item)
                return None
            handed = WorkItem(
                item.place,
                item.session,
                item.run,
                metadata=item.metadata,
                tries=item.tries,
                polled_ms=self._clock.now_ms(),
                worker=worker,
            )
            return await self._put(document, handed)
        return None

    async def acknowledge(self, work: str, *, place: str, tenant: str | None) -> Document:
        """It is this worker's, which has as long as a lease lasts for its first heartbeat. Conflict when it is another's."""

        def taken(item: WorkItem) -> WorkItem:
            if item.state != "queued":
                raise Conflict(f"work {work!r} is {item.state} already", work=work)
            now = self._clock.now_ms()
            return msgspec.structs.replace(
                item, state="starting", acknowledged_ms=now, lease_s=self._lease_s, polled_ms=None
            )

        return await self._change(work, place, tenant, taken)

    async def heartbeat(
        self,
        work: str,
        *,
        place: str,
        tenant: str | None,
        last_ms: int | None = None,
        checked: bool = True,
        lease_s: int | None = None,
    ) -> Document:
        """Keep the lease for another `lease_s` seconds, or for as long as the queue says. `last_ms`: the heartbeat before
        this one, as the worker knows it, None for the first; unless `checked`, it may be any.

        WorkLost when it is another one, or nobody holds the item. One that stops or has stopped is returned as it is.
        """
        lasts = min(self._lease_s if lease_s is None else lease_s, LONGEST_S)

        def beaten(item: WorkItem) -> WorkItem:
            if item.state in ("stopping", "stopped"):
                return item
            if item.state == "queued" or (checked and last_ms != item.heartbeat_ms):
                raise WorkLost(f"work {work!r} is not held by this worker: somebody else has it, or will", work=work)
            # No two of one item have the same time, or one worker's could pass for another's.
            now = max(self._clock.now_ms(), (item.heartbeat_ms or 0) + 1)
            return msgspec.structs.replace(
                item, state="active", started_ms=item.started_ms or now, heartbeat_ms=now, lease_s=lasts
            )

        return await self._change(work, place, tenant, beaten)

    async def stop(self, work: str, *, place: str, tenant: str | None, force: bool = False) -> Document:
        """Let go of it. An active one is told so by its next heartbeat, unless `force`. Conflict when it has stopped.

        While a run of its session is open, another item takes its place: at once, and ever later when no worker keeps it.
        """
        for _ in range(_TRIES):
            document, item = await self._get(work, place, tenant)
            if item.state == "stopped":
                raise Conflict(f"work {work!r} has stopped", work=work)
            try:
                if force or item.heartbeat_ms is None:
                    return await self._end(document, item)
                if item.state == "stopping":
                    return document
                asked = msgspec.structs.replace(item, state="stopping", stop_requested_ms=self._clock.now_ms())
                return await self._put(document, asked)
            except RevisionConflict:
                continue
        raise RevisionConflict(f"work {work!r} is being changed by others all the time")

    async def _end(self, document: Document, item: WorkItem) -> Document:
        now = self._clock.now_ms()
        ended = msgspec.structs.replace(
            item, state="stopped", stop_requested_ms=item.stop_requested_ms or now, stopped_ms=now, polled_ms=None
        )
        stored = (await self._store.put_documents([ended.put_in(document, expires_ms=now + KEPT_MS)]))[0]
        # Only now: a run that began before was told that there is an item.
        with contextlib.suppress(SessionNotFound):
            row = await self._store.session(item.session)
            if row.run is not None:
                tries = item.tries + 1 if row.run == item.run else 0
                await self.want(item.session, item.place, document.tenant, row.run, tries=tries)
        return stored

    # --- looking ----------------------------------------------------------------------------------------------------

    async def get(self, work: str, *, place: str, tenant: str | None) -> Document:
        """NotFound."""
        return (await self._get(work, place, tenant))[0]

    async def list(
        self, place: str, *, tenant: str | None, limit: int, after: tuple[int, str] | None, ascending: bool = False
    ) -> Sequence[Document]:
        """All that live and those that stopped of late; like `DocumentStore.documents`."""
        return await self._store.documents(
            KIND, tenant=tenant, keys={"place": place}, limit=limit, after=after, ascending=ascending
        )

    async def describe(
        self, work: str, change: Callable[[dict[str, str]], dict[str, str]], *, place: str, tenant: str | None
    ) -> Document:
        """Change what is noted with it (`metadata`), over whatever happens to it meanwhile. NotFound."""
        return await self._change(
            work, place, tenant, lambda item: msgspec.structs.replace(item, metadata=change(item.metadata))
        )

    async def counts(self, place: str, *, tenant: str | None) -> Counts:
        waiting = pending = 0
        oldest: int | None = None
        async for document in self._all({"waits": place}, tenant):
            oldest = oldest or document.created_ms
            if item_of(document).polled_ms is None:
                waiting += 1
            else:
                pending += 1
        return Counts(waiting, pending, oldest, len(self._polling(place, tenant)))

    # --- what these share -------------------------------------------------------------------------------------------

    def _polling(self, place: str, tenant: str | None) -> dict[str, float]:
        """The workers that polled of late, and when."""
        since = self._clock.monotonic() - POLLING_S
        polled = self._polled.setdefault((tenant, place), {})
        for worker in [worker for worker, at in polled.items() if at < since]:
            del polled[worker]
        return polled

    async def _all(self, keys: dict[str, str], tenant: str | None) -> AsyncIterator[Document]:
        after: tuple[int, str] | None = None
        while True:
            page = await self._store.documents(KIND, tenant=tenant, keys=keys, limit=_PAGE, after=after, ascending=True)
            for document in page:
                yield document
            if len(page) < _PAGE:
                return
            after = (page[-1].created_ms, page[-1].id)

    async def _get(self, work: str, place: str, tenant: str | None) -> tuple[Document, WorkItem]:
        try:
            document = await self._store.get_document(KIND, work, tenant=tenant)
        except DocumentNotFound:
            raise NotFound(f"there is no work {work!r}", work=work) from None
        item = item_of(document)
        if item.place != place:
            raise NotFound(f"there is no work {work!r}", work=work)
        return document, item

    async def _change(self, work: str, place: str, tenant: str | None, change: Callable[[WorkItem], WorkItem]) -> Document:
        """The item as this makes it; asked again when somebody else was quicker. NotFound."""
        for _ in range(_TRIES):
            document, item = await self._get(work, place, tenant)
            changed = change(item)
            if changed == item:
                return document
            with contextlib.suppress(RevisionConflict):
                return await self._put(document, changed)
        raise RevisionConflict(f"work {work!r} is being changed by others all the time")

    async def _put(self, document: Document, item: WorkItem) -> Document:
        stored = (await self._store.put_documents([item.put_in(document, expires_ms=document.expires_ms)]))[0]
        if item.held:
            name = (document.tenant, item.place)
            self._look_ms[name] = min(self._look_ms.get(name, 0), item.lapses_ms)
        return stored

    def _ring(self, place: str) -> None:
        """Wake who polls for this place, in this process and others. It may be lost: a poll comes again by itself."""
        self._store.publish(Delta(bell_of(place), "progress", "work"))


def bell_of(place: str) -> SessionId:
    """What polls for a place watch, as they would a session: deltas go from process to process and are kept nowhere."""
    return SessionId(f"work of {place}")
