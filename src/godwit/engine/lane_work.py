"""LaneWork: the part of a session's handle that says who does its calls, and what is done outside (seed 001)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import msgspec

from ..contracts import EventStore
from ..core.errors import ActionNotFound, ConfigurationError, InvalidArgument
from ..core.events import ActionOpened, Labels
from ..core.ids import SessionId
from ..core.lanes import (
    DeadLetter,
    ExternalTask,
    ExternalTaskResult,
    LaneConfig,
    LaneHandler,
    LaneMode,
    MetricsSnapshot,
    QueueStats,
)
from ..core.messages import Text
from ..core.state import State
from .handle import Home
from .inbox import Inbox
from .outside import handler_of


class LaneWork(ABC):
    """Lanes as one session sees them."""

    id: SessionId
    labels: Labels
    _home: Home
    _store: EventStore
    _inbox: Inbox

    @abstractmethod
    def _check_open(self) -> None:
        """Raise SessionClosed when the handle is."""

    @abstractmethod
    def _wake(self) -> None:
        """See to it that the session is driven here, if this handle drives."""

    @abstractmethod
    async def state(self) -> State:
        """The fold of the log as it stands."""

    async def set_lane_handler(self, lane: str, handler: LaneHandler | LaneMode | Mapping[str, Any]) -> None:
        """From the next call on this is who does the session's calls of the lane, in whatever process it is driven.

        A mode alone is a handler with its defaults. LaneNotFound; ConfigurationError for a lane of other steps
        than tool calls.
        """
        self._check_open()
        self._home.parts.lanes.config(lane)
        given = handler_given(handler)
        LaneConfig(lane, mode=given.mode)
        await self._inbox.configure(lanes={lane: given})

    async def pending_external_tasks(self) -> list[ExternalTask]:
        """Calls that wait for somebody outside: workers, or, of tools without a body, a client. The oldest first, and behind
        them dead letters that were put back (`requeued`)."""
        state = await self.state()
        waiting = {a.id for a in state.gate.actions if a.kind == "external" and not a.answered}
        parts = self._home.parts
        known: dict[str, ExternalTask] = {}
        if parts.task_queue is not None:
            known = {t.id: t for t in await parts.task_queue.of_session(self.id, tenant=self.labels.tenant)}
        requeued = [task for task in known.values() if task.requeued]
        if not waiting:
            return requeued
        found = []
        for event in await self._store.read(self.id, types=("action.opened",)):
            opened = event.data
            if isinstance(opened, ActionOpened) and opened.action in waiting:
                found.append(known.get(opened.action) or _task(self.id, opened, event.at_ms))
        return found + requeued

    async def complete_external_task(
        self, task_id: str, result: ExternalTaskResult | Mapping[str, Any], *, sender: str | None = None
    ) -> bool:
        """Answer a pending external task, whoever works on it. False when there is none of that id, or none any more.
        InvalidArgument for what is no result."""
        self._check_open()
        given = _result_given(result)
        pending = next((t for t in await self.pending_external_tasks() if task_id in (t.id, t.call)), None)
        if pending is None:
            return False
        content, is_error, metadata = (Text(given.text()),), not given.success, given.metadata()
        tasks, tenant = self._home.parts.task_queue, self.labels.tenant
        if pending.requeued:
            assert tasks is not None
            answered = await tasks.settle(pending.id, content, tenant=tenant, is_error=is_error, metadata=metadata)
            self._wake()
            return answered
        try:
            answered = await self._inbox.answer(
                pending.id, "result", content=content, is_error=is_error, sender=sender, metadata=metadata
            )
        except ActionNotFound:
            return False
        if answered and tasks is not None:
            await tasks.forget(pending.id, tenant=tenant)
        self._wake()
        return answered

    async def queue_stats(self) -> QueueStats:
        """What of this session waits, runs, and is done outside, in each lane of this process."""
        lanes, state = self._home.parts.lanes, await self.state()
        outside = [task.lane for task in await self.pending_external_tasks()]
        found = []
        for one in lanes.stats(self.id).lanes.values():
            handler = await handler_of(self._store, lanes, state, one.lane)
            found.append(msgspec.structs.replace(one, external=outside.count(one.lane), mode=handler.mode))
        return QueueStats.of(found)

    async def queue_metrics(self) -> MetricsSnapshot | None:
        """What became of all steps of this process since it began; None unless its lanes are set to tell (`metrics`)."""
        lanes = self._home.parts.lanes
        return lanes.metrics() if lanes.settings.metrics else None

    async def dead_letters(self) -> list[DeadLetter]:
        """The session's calls whose last try outside failed, the oldest first."""
        tasks = self._home.parts.task_queue
        return [] if tasks is None else await tasks.dead_letters(tenant=self.labels.tenant, session=self.id)

    async def requeue_dead_letter(self, task_id: str) -> bool:
        """Hand it out again. The model has been told of the failure, and gets the result as a follow-up. False when there is
        none of that id."""
        self._check_open()
        tasks = self._home.parts.task_queue
        return tasks is not None and await tasks.requeue(task_id, tenant=self.labels.tenant, session=self.id)

    async def drop_dead_letter(self, task_id: str) -> bool:
        """Remove it, also when it was put back and has not been done yet; False when there is none of that id."""
        self._check_open()
        tasks = self._home.parts.task_queue
        return tasks is not None and await tasks.drop(task_id, tenant=self.labels.tenant, session=self.id)


def handler_given(handler: LaneHandler | LaneMode | Mapping[str, Any]) -> LaneHandler:
    """As a handler. ConfigurationError."""
    if isinstance(handler, LaneHandler):
        return handler
    try:
        return msgspec.convert({"mode": handler} if isinstance(handler, str) else dict(handler), LaneHandler)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"no handler of a lane: {error}", value=repr(handler)) from None


def _result_given(result: ExternalTaskResult | Mapping[str, Any]) -> ExternalTaskResult:
    if isinstance(result, ExternalTaskResult):
        return result
    try:
        return msgspec.convert(dict(result), ExternalTaskResult)
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        raise InvalidArgument(f"no result of an external task: {error}", value=repr(result)) from None


def _task(session: SessionId, opened: ActionOpened, at_ms: int) -> ExternalTask:
    """One that no worker's queue knows."""
    lane = opened.lane or "execute"
    return ExternalTask(
        opened.action,
        session,
        opened.call,
        lane,
        opened.name,
        opened.arguments,
        created_ms=at_ms,
        expires_ms=opened.expires_ms,
    )
