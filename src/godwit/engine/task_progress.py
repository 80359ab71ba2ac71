"""Task progress: the steps of a task's child, as the child's own log tells them.

Leaves out what a host records of a child that it runs its own way (`subagent.progressed`), and how the task ended. Rule: a
step belongs to the task in whose run it was done, since a child may have worked on others before, and may later.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from ..contracts import EventStore
from ..core.events import AgentMessage, Event, ToolFinished, TurnFinished
from ..core.ids import RunId, SessionId, TaskId
from ..core.messages import text_of
from ..core.tasks import TaskProgress, TaskRecord, run_of

PROGRESS_KEPT = 100
"""Steps of a child that its record tells, the newest."""
_TYPES = ("run.started", "tool.finished", "turn.finished", "agent.message")


TASKS_KNOWN = 1000
"""Tasks whose steps are not read again: those that were asked about last."""


class KnownSteps:
    """The steps of tasks that have ended, which do not change any more. A host lists its tasks again and again, and their
    logs are long."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[SessionId, TaskId], tuple[TaskProgress, ...]] = OrderedDict()

    def reading(self, store: EventStore) -> StepReader:
        """For one look at tasks."""
        return StepReader(store, self)

    def get(self, record: TaskRecord) -> tuple[TaskProgress, ...] | None:
        key = record.session, record.id
        found = self._known.get(key)
        if found is not None:
            self._known.move_to_end(key)
        return found

    def keep(self, record: TaskRecord, steps: tuple[TaskProgress, ...]) -> None:
        self._known[record.session, record.id] = steps
        while len(self._known) > TASKS_KNOWN:
            self._known.popitem(last=False)


class StepReader:
    """Reads each child's log once, however many tasks it had."""

    def __init__(self, store: EventStore, known: KnownSteps) -> None:
        self._store = store
        self._known = known
        self._logs: dict[SessionId, Sequence[Event]] = {}

    async def of(self, record: TaskRecord, open_run: RunId | None) -> tuple[TaskProgress, ...]:
        """The newest steps, oldest first. `open_run`: what the child is at. SessionNotFound when it has no log here."""
        found = self._known.get(record)
        if found is not None:
            return found
        if record.session not in self._logs:
            self._logs[record.session] = await self._store.read(record.session, types=_TYPES)
        steps = _steps_of(self._logs[record.session], record)
        if not record.pending and open_run != run_of(record.id, record.session):
            self._known.keep(record, steps)
        return steps


def _steps_of(events: Sequence[Event], record: TaskRecord) -> tuple[TaskProgress, ...]:
    run = run_of(record.id, record.session)
    own = [e for e in events if e.run == run]
    if not own and record.external:
        # A host's own: it began what run it liked, at its time.
        end_ms = record.finished_ms
        own = [e for e in events if e.at_ms >= record.started_ms and (end_ms is None or e.at_ms <= end_ms)]
    return tuple(_steps(own)[-PROGRESS_KEPT:])


def _steps(events: list[Event]) -> list[TaskProgress]:
    found: list[TaskProgress] = []
    tokens = 0
    for event in events:
        match event.data:
            case ToolFinished(origin="model") as data:
                facts = {"tool": data.name, "status": data.status, "output_bytes": len(text_of(data.content).encode())}
                found.append(TaskProgress(event.at_ms, "tool_completed", facts))
            case TurnFinished(index):
                found.append(TaskProgress(event.at_ms, "turn_completed", {"turn": index, "total_tokens": tokens}))
            case AgentMessage(message=message):
                tokens = message.usage.total_tokens
            case _:
                pass
    return found


__all__ = ["PROGRESS_KEPT", "KnownSteps", "StepReader"]
