"""LaneTasks: tool calls that workers do: which wait, who has which, and what becomes of those whose worker died.

A durable queue over documents, a `TaskItem` each. The engine offers a task and opens an action for it; a worker leases it,
keeps the lease by heartbeats, and completes or fails it once. The answer to the action, in the session's log, is the result;
the document (`lane_items`) says who may give it. Leaves out how calls are chosen for workers (`engine.outside`), which
workers there are (`lane_workers`), and what a worker does (`client.worker`).

Rules: a task is offered before its action is stored, so an action without its task cannot be; a task without an action is
nobody's and goes away. Who ends a task first says so in the document, by one conditional write, and then in the log; what a
crash kept from the log is written there by whoever looks next. A task that was lost is handed out again only if its tool
says that it is repeatable, and never once its time is over. A worker begins after its first heartbeat: a task that nobody
has begun is not lost. Waiting is for a wake-up, and for the next moment at which one
comes free.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ..contracts import Store
from ..core.document import Document
from ..core.errors import (
    ActionNotFound,
    Conflict,
    DocumentExists,
    DocumentNotFound,
    GodwitError,
    NotFound,
    RevisionConflict,
    WorkLost,
)
from ..core.events import UserAnswer
from ..core.gate import OpenAction
from ..core.ids import Clock, IdSource, SessionId
from ..core.lanes import DeadLetter, ExternalTask, TaskOffer
from ..core.messages import ResultBlock, Text
from ..core.senders import POLICY, check_sender
from ..core.state import State
from ..engine.inbox import Inbox
from ..engine.log import load_state
from ..engine.receiver import either
from .lane_items import DEAD, KIND, Leased, TaskItem, TaskItems
from .lane_watch import MOST_S, Watch
from .lane_workers import Asked, Workers

logger = logging.getLogger("godwit")

LOOK_S = 5.0
"""How long a wait goes on at most without a look of its own, should a wake-up of another process have been lost."""
BEGIN_S = 5.0
"""How long a worker has for its first heartbeat."""
STRAY_MS = 60_000
"""After so long an offered task whose action was never stored is nobody's."""
_TRIES = 20


class LaneTasks:
    """Implements `godwit.contracts.TaskQueue`, and what workers ask. `dead_letters`: how many are kept of each tenant."""

    def __init__(self, store: Store, ids: IdSource, clock: Clock, *, dead_letters: int = 1000) -> None:
        self._store = store
        self._ids = ids
        self._clock = clock
        self._most_dead = dead_letters
        self._items = TaskItems(store)
        self._workers = Workers(store, clock)
        self._watch = Watch(self._look, clock)
        self._closed = False

    # --- what the engine asks ---------------------------------------------------------------------------------------

    async def offer(self, offers: Sequence[TaskOffer], *, tenant: str | None) -> None:
        for one in offers:
            item = TaskItem(one.task, one.lease_s, one.retry, one.after)
            document = Document(KIND, one.task.id, b"", tenant, session=one.task.session)
            with contextlib.suppress(DocumentExists):
                await self._items.put(document, item)
            self._watch.put(one.task.id, tenant, self._next_look_ms(item))

    def offered(self) -> None:
        """The actions of what was offered are stored: it may be handed out."""
        self._workers.ring()

    def wanted(self, lane: str, *, tool: str, labels: Mapping[str, str], tenant: str | None) -> bool:
        return self._workers.there(lane, tool=tool, labels=labels, tenant=tenant)

    async def of_session(self, session: SessionId, *, tenant: str | None) -> list[ExternalTask]:
        return [item.task async for _, item in self._items.all({"alive": session}, tenant) if item.state == "live"]

    async def settle(
        self,
        task: str,
        content: tuple[ResultBlock, ...],
        *,
        tenant: str | None,
        is_error: bool = False,
        metadata: dict[str, Any] | None = None,
    ) -> bool:
        for _ in range(_TRIES):
            found = await self._requeued(task, tenant)
            if found is None:
                return False
            document, item = found
            ending = msgspec.structs.replace(
                item, state="ending", content=content, is_error=is_error, metadata=metadata or {}, token=None
            )
            with contextlib.suppress(RevisionConflict, DocumentNotFound):
                return await self._conclude(await self._items.put(document, ending), ending)
        return False

    async def _requeued(self, task: str, tenant: str | None) -> tuple[Document, TaskItem] | None:
        found = await self._items.find(task, tenant)
        return found if found is not None and found[1].again and found[1].state == "live" else None

    async def forget(self, task: str, *, tenant: str | None) -> None:
        found = await self._items.find(task, tenant)
        if found is not None and found[1].state == "live":
            with contextlib.suppress(DocumentNotFound, RevisionConflict):
                await self._remove(*found)

    def look_after(self, state: State) -> None:
        """See to the tasks that this session waits with: it was opened here."""
        self._workers.listen()
        for action in state.gate.actions:
            if action.kind == "external" and not action.answered:
                self._watch.put(action.id, state.labels.tenant)

    # --- what workers do --------------------------------------------------------------------------------------------

    async def lease(
        self,
        lanes: Sequence[str],
        *,
        tenant: str | None,
        worker: str,
        labels: Mapping[str, str] | None = None,
        tools: Sequence[str] | None = None,
        wait_s: float = 0.0,
        stop: asyncio.Event | None = None,
    ) -> Leased | None:
        """The next task of these lanes, the first lane first; None when none came within `wait_s`, or before `stop` was set.
        `labels`: what the worker has; `tools`: the ones it can run, None for any.
        InvalidArgument for a worker that goes by a name of godwit's own."""
        check_sender(worker)
        stop = stop or asyncio.Event()
        until_s = self._clock.monotonic() + wait_s
        asked = Asked(tenant, worker, tuple(lanes), dict(labels or {}), None if tools is None else tuple(tools))
        with self._workers.bell() as bell:
            while True:
                bell.clear()
                self._workers.ask(asked)
                next_ms: int | None = None
                for lane in lanes:
                    leased, soonest = await self._take(lane, tenant, worker, labels or {}, tools)
                    if leased is not None:
                        return leased
                    if soonest is not None:
                        next_ms = soonest if next_ms is None else min(next_ms, soonest)
                left_s = until_s - self._clock.monotonic()
                if left_s <= 0 or self._closed or stop.is_set():
                    return None
                pause_s = min(left_s, LOOK_S)
                if next_ms is not None:
                    pause_s = min(pause_s, max(0.001, (next_ms - self._clock.now_ms()) / 1000))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(either(bell.wait(), stop.wait()), pause_s)

    async def _take(
        self, lane: str, tenant: str | None, worker: str, labels: Mapping[str, str], tools: Sequence[str] | None
    ) -> tuple[Leased | None, int | None]:
        """A task that is this worker's now; else None, and when the next one may be free, if a time frees one."""
        soonest: int | None = None
        async for document, found in self._items.all({"live": lane}, tenant):
            due = found.free_ms
            if due > self._clock.now_ms():
                soonest = due if soonest is None else min(soonest, due)
                continue
            fits = found.task.labels.items() <= labels.items() and (tools is None or found.task.command_type in tools)
            if not fits and found.task.state == "queued":
                continue
            current = await self._settled(document, found)
            if current is None:
                continue
            document, item = current
            task, now = item.task, self._clock.now_ms()
            if not fits or item.free_ms > now:
                continue
            waiting, paused = await self._waiting(task.session)
            if paused or (not item.again and task.id not in waiting) or any(a in waiting for a in item.after):
                continue
            until = now + round(min(item.lease_s, BEGIN_S) * 1000)
            leased = msgspec.structs.replace(task, state="leased", worker=worker, attempt=task.attempt + 1, lease_ms=until)
            token = self._ids.new("lease")
            with contextlib.suppress(RevisionConflict, DocumentNotFound):
                await self._items.put(document, msgspec.structs.replace(item, task=leased, token=token, begun=False))
                return Leased(leased, token, item.lease_s, f"{task.session}/{task.call or task.id}"), None
        return None, soonest

    async def heartbeat(self, task: str, token: str, *, tenant: str | None) -> int:
        """Keep the lease; returns until when. The first one says that the worker begins, and must come before it does.
        WorkLost when it is another's, or nobody waits for the task any more."""
        for _ in range(_TRIES):
            document, item = await self._held(task, token, tenant)
            now = self._clock.now_ms()
            if not item.again:
                waiting, _ = await self._waiting(item.task.session)
                if item.task.id not in waiting:
                    await self._settled(document, item)
                    raise WorkLost(f"nobody waits for task {task!r} any more", task=task)
            until = now + round(item.lease_s * 1000)
            with contextlib.suppress(RevisionConflict, DocumentNotFound):
                kept = msgspec.structs.replace(item, begun=True, task=msgspec.structs.replace(item.task, lease_ms=until))
                await self._items.put(document, kept)
                return until
        raise WorkLost(f"task {task!r} is being changed by others all the time", task=task)

    async def complete(
        self,
        task: str,
        token: str,
        content: tuple[ResultBlock, ...],
        *,
        tenant: str | None,
        is_error: bool = False,
        metadata: dict[str, Any] | None = None,
    ) -> bool:
        """This is what it came to. False, and nothing is changed, when the lease is another's or has run out, when it was
        completed before, or when nobody waits for it any more."""
        return await self._end(task, token, tenant, content, is_error, metadata or {}, None)

    async def fail(self, task: str, token: str, error: str, *, tenant: str | None) -> bool:
        """The worker could not do it, or lost what it was doing. It is tried again where that is allowed, else it is dead,
        and the model is told. False as for `complete`."""
        for _ in range(_TRIES):
            try:
                document, item = await self._held(task, token, tenant)
            except WorkLost:
                return False
            if await self._failed(document, item, error):
                return True  # else somebody was faster: a heartbeat of the same worker's, most likely
        return False

    async def give_back(self, task: str, token: str, *, tenant: str | None) -> bool:
        """It was not begun: another worker gets it, and nothing counts. False as for `complete`."""
        with contextlib.suppress(WorkLost, RevisionConflict, DocumentNotFound):
            await self._take_back(*await self._held(task, token, tenant))
            return True
        return False

    async def _take_back(self, document: Document, item: TaskItem) -> None:
        """Nobody has begun it: it is as before it was leased."""
        attempt = item.task.attempt - 1
        back = msgspec.structs.replace(item.task, state="queued", worker=None, lease_ms=None, attempt=attempt)
        await self._items.put(document, msgspec.structs.replace(item, task=back, token=None))
        self._workers.ring()

    async def _held(self, task: str, token: str, tenant: str | None) -> tuple[Document, TaskItem]:
        """WorkLost unless this token's lease is the newest one and has not run out, nor the task's time."""
        found = await self._items.find(task, tenant)
        if found is None:
            raise WorkLost(f"nobody waits for task {task!r} any more", task=task)
        document, item = found
        now, until, over = self._clock.now_ms(), item.task.lease_ms, item.task.expires_ms
        late = until is None or until <= now or (over is not None and over <= now)
        if item.state != "live" or item.token != token or late:
            raise WorkLost(f"task {task!r} is not this worker's (any more)", task=task)
        return document, item

    async def _end(
        self,
        task: str,
        token: str,
        tenant: str | None,
        content: tuple[ResultBlock, ...],
        is_error: bool,
        metadata: dict[str, Any],
        dead: str | None,
    ) -> bool:
        for _ in range(_TRIES):
            try:
                document, item = await self._held(task, token, tenant)
            except WorkLost:
                return False
            ending = msgspec.structs.replace(
                item, state="ending", content=content, is_error=is_error, metadata=metadata, dead=dead
            )
            with contextlib.suppress(RevisionConflict, DocumentNotFound):  # a heartbeat of the same worker's, most likely
                return await self._conclude(await self._items.put(document, ending), ending)
        return False

    async def _failed(self, document: Document, item: TaskItem, error: str) -> bool:
        """A try of it has failed. True when this says what follows."""
        task, now = item.task, self._clock.now_ms()
        pause_ms = item.retry.pause_ms(task.attempt, random.random()) if task.repeatable else None
        if pause_ms is not None and task.expires_ms is not None and now + pause_ms >= task.expires_ms:
            pause_ms = None
        with contextlib.suppress(RevisionConflict, DocumentNotFound):
            if pause_ms is not None:
                queued = msgspec.structs.replace(task, state="queued", worker=None, lease_ms=None)
                again = msgspec.structs.replace(item, task=queued, token=None, ready_ms=now + pause_ms)
                await self._items.put(document, again)
                self._workers.ring()
                return True
            return await self._die(document, item, error)
        return False

    async def _die(self, document: Document, item: TaskItem, error: str, *, timed_out: bool = False) -> bool:
        content, metadata = (Text(f"[{error}]"),), {"timed_out": True} if timed_out else {}
        ending = msgspec.structs.replace(item, state="ending", content=content, is_error=True, metadata=metadata, dead=error)
        return await self._conclude(await self._items.put(document, ending), ending)

    async def _conclude(self, document: Document, item: TaskItem) -> bool:
        """Write what it came to into the session's log, once, and let go of it. False when nobody waited for it."""
        task = item.task
        told = await self._tell(item)
        if item.again and item.dead is None and not told:
            item = msgspec.structs.replace(item, dead="It was done again, but the session takes no messages any more.")
        if item.dead is not None:
            await self._bury(document, item)
        else:
            await self._items.delete(task.id, document.tenant)
        self._workers.ring()  # others may have waited for this one
        return told

    async def _tell(self, item: TaskItem) -> bool:
        task = item.task
        inbox = Inbox(self._store, task.session, self._clock, self._ids)
        try:
            if item.again:
                if item.dead is None:
                    note = Text(f"[The call of {task.command_type} that had failed was done again. Result:]\n")
                    key = f"task {task.id} {item.failed_ms}"
                    await inbox.follow_up((note, *item.text), key=key, sender=task.worker)
                return True
            metadata = {k: v for k, v in item.metadata.items() if k not in ("attempts", "dead_letter")}
            if task.attempt > 1:
                metadata["attempts"] = task.attempt
            if item.dead is not None:
                metadata["dead_letter"] = task.id
            answered = await inbox.answer(
                task.id, "result", content=item.content, is_error=item.is_error, sender=task.worker, metadata=metadata
            )
            if not answered:  # unless whoever looked meanwhile has written just this
                given = await self._given(task)
                same = given is not None and (given.sender, given.is_error) == (task.worker, item.is_error)
                answered = same and given is not None and given.content == item.content
            return answered
        except (ActionNotFound, Conflict, NotFound):
            return False

    async def _remove(self, document: Document, item: TaskItem) -> None:
        """Nobody waits for it. RevisionConflict, and it stays, when somebody has done something with it meanwhile: it may be
        about to become a dead letter."""
        await self._items.put(document, msgspec.structs.replace(item, state="ending", token=None))
        await self._items.delete(item.task.id, document.tenant)

    async def _bury(self, document: Document, item: TaskItem) -> None:
        if self._most_dead == 0:
            await self._items.delete(item.task.id, document.tenant)
            return
        dead = msgspec.structs.replace(
            item, state="dead", failed_ms=self._clock.now_ms(), content=(), metadata={}, token=None
        )
        with contextlib.suppress(RevisionConflict, DocumentNotFound):
            await self._items.put(document, dead)
        if await self._store.count_documents(KIND, DEAD) <= self._most_dead:  # of all tenants, so of this one
            return
        kept = [d async for d, _ in self._items.all({DEAD: DEAD}, document.tenant)]
        for old in kept[: max(0, len(kept) - self._most_dead)]:
            await self._items.delete(old.id, document.tenant)

    async def _settled(self, document: Document, item: TaskItem) -> tuple[Document, TaskItem] | None:
        """The task as it is now, once what a time or a crash has left open is done; None when it has ended."""
        with contextlib.suppress(RevisionConflict, DocumentNotFound):
            task, now = item.task, self._clock.now_ms()
            if item.state == "dead":
                return None
            if item.state == "ending":
                await self._conclude(document, item)
                return None
            if not item.again:
                action = await self._action(task)
                if action is None or action.answered:
                    if task.expires_ms is not None and now >= task.expires_ms and await self._timed_out(task):
                        await self._bury(document, msgspec.structs.replace(item, dead="nobody answered in time"))
                        return None
                    if action is None and task.attempt == 0 and now - document.created_ms < STRAY_MS:
                        return document, item  # its action is about to be stored
                    await self._remove(document, item)
                    return None
                if task.expires_ms is not None and now >= task.expires_ms:
                    await self._die(document, item, "nobody answered in time", timed_out=True)
                    return None
            if task.state == "leased" and task.lease_ms is not None and task.lease_ms <= now:
                if item.begun:
                    error = f"The worker {task.worker} was lost while it did this call. Its outcome is unknown."
                    await self._failed(document, item, error)
                else:
                    await self._take_back(document, item)
                found = await self._items.find(task.id, document.tenant)
                return found if found is not None and found[1].state == "live" else None
            return document, item
        return None

    async def _waiting(self, session: SessionId) -> tuple[frozenset[str], bool]:
        """The actions that wait for an answer, and whether the session is paused."""
        try:
            state = await load_state(self._store, session)
        except NotFound:
            return frozenset(), False
        return frozenset(a.id for a in state.gate.actions if not a.answered), state.gate.paused

    async def _action(self, task: ExternalTask) -> OpenAction | None:
        try:
            state = await load_state(self._store, task.session)
        except NotFound:
            return None
        return next((a for a in state.gate.actions if a.id == task.id), None)

    async def _timed_out(self, task: ExternalTask) -> bool:
        """Whether its time was over before anybody answered."""
        given = await self._given(task)
        return given is not None and given.sender == POLICY

    async def _given(self, task: ExternalTask) -> UserAnswer | None:
        """How its call was answered."""
        events = await self._store.read(task.session, types=("user.answer",), newest_first=True)
        return next((d for e in events if isinstance(d := e.data, UserAnswer) and d.action == task.id), None)

    # --- dead letters -----------------------------------------------------------------------------------------------

    async def dead_letters(self, *, tenant: str | None, session: SessionId | None = None) -> list[DeadLetter]:
        if session is not None:  # what nobody has looked at since its time was over
            async for document, item in self._items.all({"alive": session}, tenant):
                await self._settled(document, item)
        keys = {DEAD: DEAD} if session is None else {DEAD: DEAD, "session": str(session)}
        return [item.letter async for _, item in self._items.all(keys, tenant)]

    async def dead_letter(self, task: str, *, tenant: str | None) -> DeadLetter:
        """NotFound."""
        found = await self._dead(task, tenant, None)
        if found is None:
            raise NotFound(f"there is no dead letter {task!r}", task=task)
        return found[1].letter

    async def requeue(self, task: str, *, tenant: str | None, session: SessionId | None = None) -> bool:
        found = await self._dead(task, tenant, session)
        if found is None:
            return False
        document, item = found
        fresh = msgspec.structs.replace(
            item.task, state="queued", worker=None, lease_ms=None, attempt=0, expires_ms=None, requeued=True
        )
        again = TaskItem(fresh, item.lease_s, item.retry, again=True, failed_ms=item.failed_ms)
        with contextlib.suppress(RevisionConflict, DocumentNotFound):
            await self._items.put(document, again)
            self._watch.put(task, tenant)
            self._workers.ring()
            return True
        return False

    async def drop(self, task: str, *, tenant: str | None, session: SessionId | None = None) -> bool:
        found = await self._dead(task, tenant, session) or await self._requeued(task, tenant)
        if found is None or (session is not None and found[1].task.session != session):
            return False
        return await self._items.delete(task, tenant)

    async def _dead(self, task: str, tenant: str | None, session: SessionId | None) -> tuple[Document, TaskItem] | None:
        found = await self._items.find(task, tenant)
        ours = found is not None and (session is None or found[1].task.session == session)
        return found if found is not None and ours and found[1].state == "dead" else None

    # --- looking after what runs out --------------------------------------------------------------------------------

    async def _look(self, task: str, tenant: str | None) -> int | None:
        """When to look again; None: never."""
        now = self._clock.now_ms()
        try:
            found = await self._items.find(task, tenant)
            current = None if found is None else await self._settled(*found)
        except NotFound:
            return None
        except GodwitError as error:
            logger.warning("task %s cannot be looked after: %s", task, error.message)
            return now + 1000
        except Exception:
            # Whatever it is, the other tasks must not go without their watcher.
            logger.exception("task %s cannot be looked after", task)
            return now + 1000
        return None if current is None else self._next_look_ms(current[1])

    def _next_look_ms(self, item: TaskItem) -> int:
        """When something may have run out. A lease that is granted meanwhile is seen the time after."""
        ends = [t for t in (item.task.lease_ms, item.task.expires_ms) if t is not None]
        return min([self._clock.now_ms() + round(min(item.lease_s, MOST_S) * 1000), *ends])

    async def close(self) -> None:
        """Hand out nothing more, and look after nothing. What is leased stays so."""
        self._closed = True
        await self._watch.close()
        self._workers.close()


__all__ = ["DEAD", "KIND", "LaneTasks", "Leased", "TaskItem"]
