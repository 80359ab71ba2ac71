"""Tasks: what a session has handed to children, as its host and its tools see it: listed, waited for, read, cancelled.

Owns the record of a task, made of the session's log and the child's. Leaves out making children and ending their work
(`contracts.Subagents`). Rules: a cancel is recorded before anything is stopped, so that an end that comes late finds the
task ended; what is read here changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from ..contracts import BlobStore, EventStore, Subagents
from ..core.errors import Conflict, InvalidArgument, NotFound, SessionBusy, SessionNotFound, TaskNotFound
from ..core.events import (
    Event,
    EventData,
    InputWithdrawn,
    SubagentFinished,
    SubagentProgressed,
    SubagentStarted,
    TasksCancelled,
)
from ..core.gate import Gate
from ..core.ids import AgentName, Clock, IdSource, InputId, SessionId, TaskId, derived_id
from ..core.messages import text_of
from ..core.tasks import OpenTask, TaskEnd, TaskProgress, TaskRecord, TaskRequest, TaskStatus, child_id
from .lanes import HELD
from .log import append_outside, load_state
from .task_progress import PROGRESS_KEPT, KnownSteps, StepReader
from .task_reports import notice_of

TYPES = ("subagent.started", "subagent.finished", "subagent.progressed")


class TaskParts(Protocol):
    """What tasks need of the host's parts; `engine.driver.Parts` has all of it."""

    store: EventStore
    blobs: BlobStore
    clock: Clock
    ids: IdSource
    subagents: Subagents | None
    steps: KnownSteps


def report_id(parent: SessionId, task: TaskId) -> InputId:
    """The id of the message that tells of the end of a task in the background."""
    return InputId(derived_id("in", parent, task))


class SessionTasks:
    """`session.tasks`: the tasks of one session, those of tools and those of its host, finished ones included.

    `for_model`: the session's model works with them, so what it cancels it need not be told.
    """

    __slots__ = ("_for_model", "_parts", "_session")

    def __init__(self, parts: Any, session: SessionId, *, for_model: bool = False) -> None:
        self._parts: TaskParts = parts
        self._session = session
        self._for_model = for_model

    @property
    def _store(self) -> EventStore:
        return self._parts.store

    async def all(self) -> list[TaskRecord]:
        """All of them, oldest first."""
        return await self._records(lambda _: True)

    async def get(self, task: str) -> TaskRecord | None:
        """The one of this id; None when this session never gave it."""
        found = await self._records(lambda id_: id_ == task)
        return found[0] if found else None

    async def pending(self) -> list[TaskRecord]:
        """Those that have not ended, oldest first."""
        return await self._with_children([record for record in await self._told(lambda _: True) if record.pending])

    async def start(
        self,
        agent: str,
        prompt: str,
        *,
        description: str = "",
        max_turns: int | None = None,
        output_schema: dict[str, Any] | None = None,
        continue_task: str | None = None,
        key: str | None = None,
    ) -> TaskRecord:
        """Hand a task to a subagent, in the background: its end is told to the session by a message, as that of a tool's is.

        `continue_task`: an ended task of this session; its child does this one too, with all that it knows. `key`: an
        idempotency key. SubagentLimit, AgentNotFound, ConfigurationError, SessionArchived; TaskNotFound and SessionBusy for
        a task to go on with that is not here, or has not ended.
        """
        continues = None if continue_task is None else TaskId(continue_task)
        request = TaskRequest(agent, prompt, description, max_turns, output_schema, continues)
        parts, state = self._parts, await load_state(self._store, self._session)
        if parts.subagents is None or state.agent is None:
            raise InvalidArgument("this host runs no subagents")
        _, spec = await self._store.get_agent(state.agent.name, state.agent.version)
        await parts.subagents.check(self._session, spec, state.depth, [request])
        task = TaskId(parts.ids.new("task") if key is None else derived_id("task", self._session, key))
        again = None if key is None else await self.get(task)
        if again is not None:
            child, reused = again.session, again.reused
        else:
            child, reused = (await children_of(self._store, self._session, [request]))[0] or (child_id(task), 0)
        started = SubagentStarted(
            task,
            child,
            AgentName(agent),
            prompt,
            state.depth + 1,
            description=description,
            reused=reused,
            max_turns=max_turns,
            output_schema=output_schema,
        )
        await append_outside(self._store, self._session, [started], parts.clock, key=key)
        parts.subagents.look(self._session)
        record = await self.get(task)
        assert record is not None
        return record

    async def wait(self, tasks: Sequence[str], timeout_s: float | None = None) -> list[TaskRecord]:
        """Return their records when all of them have ended, or when the time is over. TaskNotFound."""
        loop = asyncio.get_running_loop()
        until_s = None if timeout_s is None else loop.time() + timeout_s
        while True:
            head = (await self._store.session(self._session)).head
            known = {r.id: r for r in await self._told(lambda id_: id_ in tasks)}
            missing = [task for task in tasks if task not in known]
            if missing:
                raise TaskNotFound(f"this session has no task {missing[0]!r}", task=missing[0])
            found = [known[TaskId(task)] for task in tasks]
            left_s = None if until_s is None else until_s - loop.time()
            if not any(r.pending for r in found) or (left_s is not None and left_s <= 0):
                return await self._with_children(found)
            step = HELD.get()
            if step is not None:
                step.end()  # those it waits for may need the room
            await self._store.wait(self._session, head, left_s)

    async def read(self, tasks: Sequence[str]) -> None:
        """Their ends are known to the model: the messages that tell of them need not be delivered any more."""
        for task in tasks:
            with contextlib.suppress(Conflict, NotFound):
                withdrawn = InputWithdrawn(report_id(self._session, TaskId(task)))
                await append_outside(self._store, self._session, [withdrawn], self._parts.clock)

    async def output(self, task: str) -> str:
        """All that the child has answered, however long; of one that works, its last words so far. TaskNotFound."""
        record = await self.get(task)
        if record is None:
            raise TaskNotFound(f"this session has no task {task!r}", task=task)
        if record.artifact is not None:
            return (await self._parts.blobs.get_artifact(record.artifact))[1].decode(errors="replace")
        if record.output is not None:
            return record.output
        if await self._works_here(record.session):
            for event in await self._store.read(record.session, types=("agent.message",), newest_first=True, limit=1):
                return text_of(event.data.message.content)  # type: ignore[union-attr]  # of that type alone
        return ""

    async def cancel(self, task: str, reason: str | None = None) -> bool:
        """End the task and all that works for it. False when it has ended already, or was never here.

        A call that waits for it has that as its result. Of a task in the background the model is told with what is said to
        it next, or behind the calls it is at: nothing wakes it, since who cancels wants less to be done.
        """
        open_task = next((t for t in (await self._gate()).tasks if t.id == task), None)
        if open_task is None:
            return False
        record = await self.get(task)
        ended = await cancellation(self._store, self._session, open_task, reason or "", told=self._for_model)
        try:
            await append_outside(self._store, self._session, [ended], self._parts.clock)
        except (TaskNotFound, Conflict):
            return False
        if self._parts.subagents is not None and record is not None:
            if await self._works_here(open_task.session):
                await self._parts.subagents.stop(open_task.session, reason or "its task was cancelled")
            self._parts.subagents.look(self._session)
        return True

    async def cancel_all(self, reason: str | None = None) -> int:
        """Cancel every task that has not ended, and what those that have ended left in the background; returns how many
        of the first kind there were."""
        count = sum([await self.cancel(t.id, reason) for t in (await self._gate()).tasks])
        subagents = self._parts.subagents
        if subagents is not None and await subagents.works_below(self._session):
            # No open task tells of it any more: it must be known to whoever drives it, should this process die.
            await self._append(TasksCancelled(reason or ""))
            await subagents.stop_below(self._session, reason or "all tasks were cancelled")
        return count

    # --- children that a host runs its own way ------------------------------------------------------------------------

    async def record_start(
        self, task: str, *, agent: str, description: str = "", session: str | None = None, prompt: str = ""
    ) -> None:
        """A child that the host runs itself has begun (seed 001). Said again, it changes nothing."""
        state = await load_state(self._store, self._session)
        child = SessionId(session or child_id(TaskId(task)))
        started = SubagentStarted(
            TaskId(task), child, AgentName(agent), prompt, state.depth + 1, description=description, external=True
        )
        await self._append(started, key=f"{task}\0started")

    async def record_progress(self, task: str, status: str, metadata: dict[str, Any] | None = None) -> None:
        """It has done a step; `status` says of what kind."""
        await self._append(SubagentProgressed(TaskId(task), status, metadata or {}))

    async def record_end(self, task: str, status: TaskEnd = "completed", output: str = "") -> bool:
        """It has ended. False when it had before, as cancelled for one: that stays."""
        open_task = next((t for t in (await self._gate()).tasks if t.id == task), None)
        if open_task is None:
            return False
        return await self._append(SubagentFinished(open_task.id, open_task.session, status, output))

    async def _append(self, data: EventData, *, key: str | None = None) -> bool:
        try:
            await append_outside(self._store, self._session, [data], self._parts.clock, key=key)
        except (TaskNotFound, Conflict):
            return False
        return True

    # --- records ------------------------------------------------------------------------------------------------------

    async def _works_here(self, child: SessionId) -> bool:
        own = (await self._store.session(self._session)).labels.tenant
        return await is_of_tenant(self._store, child, own)

    async def _gate(self) -> Gate:
        return (await load_state(self._store, self._session)).gate

    async def _records(self, wanted: Callable[[TaskId], bool]) -> list[TaskRecord]:
        return await self._with_children(await self._told(wanted))

    async def _told(self, wanted: Callable[[TaskId], bool]) -> list[TaskRecord]:
        """What this session's own log tells of them."""
        found: dict[TaskId, TaskRecord] = {}
        for event in await self._store.read(self._session, types=TYPES):
            data = event.data
            if isinstance(data, SubagentStarted | SubagentFinished | SubagentProgressed) and wanted(data.task):
                _take(found, self._session, event, data)
        return list(found.values())

    async def _with_children(self, records: Sequence[TaskRecord]) -> list[TaskRecord]:
        reader = self._parts.steps.reading(self._store)
        return [await self._with_child(record, reader) for record in records]

    async def _with_child(self, record: TaskRecord, reader: StepReader) -> TaskRecord:
        """The record with what the child's own log tells."""
        try:
            row = await self._store.session(record.session)
        except SessionNotFound:
            external = bool(record.progress) or record.external
            return record if external or not record.pending else msgspec.structs.replace(record, status="queued")
        if record.external and not await self._works_here(record.session):
            return record
        steps = await reader.of(record, row.run)
        status: TaskStatus = record.status
        if record.pending:
            status = "running" if await at_work(self._store, record.session) else "waiting"
        return msgspec.structs.replace(
            record,
            status=status,
            progress=tuple(sorted((*record.progress, *steps), key=lambda step: step.at_ms)[-PROGRESS_KEPT:]),
            updated_ms=max(record.updated_ms, row.updated_ms if record.pending else 0),
        )


def _take(
    found: dict[TaskId, TaskRecord],
    parent: SessionId,
    event: Event,
    data: SubagentStarted | SubagentFinished | SubagentProgressed,
) -> None:
    replace = msgspec.structs.replace
    match data:
        case SubagentStarted():
            found[data.task] = TaskRecord(
                data.task,
                parent,
                data.child,
                data.agent,
                data.description,
                "running",
                data.depth,
                data.action is None,
                event.at_ms,
                event.at_ms,
                call=data.call,
                prompt=data.prompt,
                reused=data.reused,
                external=data.external,
            )
        case SubagentFinished():
            before = found.get(data.task)
            if before is not None:
                found[data.task] = replace(
                    before,
                    status=data.status,
                    output=data.output,
                    artifact=data.artifact,
                    structured=data.structured,
                    error=data.error,
                    usage=data.usage,
                    turns=data.turns,
                    finished_ms=event.at_ms,
                    updated_ms=event.at_ms,
                )
        case SubagentProgressed():
            before = found.get(data.task)
            if before is not None:
                step = TaskProgress(event.at_ms, data.status, data.metadata)
                found[data.task] = replace(before, progress=(*before.progress, step), updated_ms=event.at_ms)


async def children_of(
    store: EventStore, session: SessionId, requests: Sequence[TaskRequest]
) -> list[tuple[SessionId, int] | None]:
    """For each request that goes on with a task, its child and how often that has worked before; None for the others.

    TaskNotFound when this session never gave it; SessionBusy while its child works, or is asked twice here; InvalidArgument
    when another agent did it, the host runs it its own way, or it never began.
    """
    if not any(request.continues is not None for request in requests):
        return [None] * len(requests)
    started = [e.data for e in await store.read(session, types=("subagent.started",)) if isinstance(e.data, SubagentStarted)]
    by_task = {data.task: data for data in started}
    busy = {task.session for task in (await load_state(store, session)).gate.tasks}
    found: list[tuple[SessionId, int] | None] = []
    for request in requests:
        if request.continues is None:
            found.append(None)
            continue
        earlier = by_task.get(request.continues)
        if earlier is None:
            raise TaskNotFound(f"this session has no task {request.continues!r} to go on with", task=request.continues)
        if earlier.agent != request.agent or earlier.external:
            who = "the host itself" if earlier.external else repr(earlier.agent)
            raise InvalidArgument(
                f"task {request.continues!r} was done by {who}, not by {request.agent!r}: begin a new one, or ask the same",
                task=request.continues,
            )
        if earlier.child in busy:
            raise SessionBusy(
                f"the subagent of task {request.continues!r} still works: wait until it has ended", task=request.continues
            )
        try:
            await store.session(earlier.child)
        except SessionNotFound:
            raise InvalidArgument(
                f"task {request.continues!r} never began, or its session was deleted: begin a new one",
                task=request.continues,
            ) from None
        busy.add(earlier.child)
        found.append((earlier.child, sum(data.child == earlier.child for data in started)))
    return found


async def at_work(store: EventStore, session: SessionId, seen: frozenset[SessionId] = frozenset()) -> bool:
    """Whether this session goes on without an answer of somebody: it is driven, or about to be, or waits for children or
    workers of which one does."""
    try:
        if (await store.session(session)).status != "waiting":
            return True
        gate = (await load_state(store, session)).gate
    except SessionNotFound:
        return True  # not made yet, or run by the host its own way
    if any(action.lane is not None and not action.answered for action in gate.actions):
        return True
    seen |= {session}
    for task in gate.tasks:
        if task.session not in seen and await at_work(store, task.session, seen):
            return True
    return False


async def is_of_tenant(store: EventStore, session: SessionId, tenant: str | None) -> bool:
    """Whether this session is there and of this tenant. A host may name any session as that of a child that it runs its own
    way; one of somebody else's is then not looked at and not stopped."""
    try:
        return (await store.session(session)).labels.tenant == tenant
    except SessionNotFound:
        return False


async def cancellation(
    store: EventStore, session: SessionId, task: OpenTask, reason: str, *, told: bool = False
) -> SubagentFinished:
    """How a task ends that is cancelled. `told`: the model knows, so no notice tells it."""
    notice = ""
    if task.action is None and not task.external and not told:
        notice = notice_of(await started_event(store, session, task.id), reason)
    return SubagentFinished(task.id, task.session, "cancelled", reason, notice=notice)


async def started_event(store: EventStore, session: SessionId, task: TaskId) -> SubagentStarted:
    """The event with which a task began. TaskNotFound."""
    for event in await store.read(session, types=("subagent.started",), newest_first=True):
        if isinstance(event.data, SubagentStarted) and event.data.task == task:
            return event.data
    raise TaskNotFound(f"session {session!r} has no task {task!r}", task=task)
