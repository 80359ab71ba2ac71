"""Task progress: the steps of a task's child, as the child's own log tells them.

Leaves out what a host records of a child that it runs its own way (`subagent.progressed`), and how the task ended. Rule: a
step belongs to the task in whose run it was done, since a child may have worked on others before, and may later.
"""

from __future__ import annotations

from ..contracts import EventStore
from ..core.events import AgentMessage, Event, ToolFinished, TurnFinished
from ..core.ids import SessionId
from ..core.messages import text_of
from ..core.tasks import TaskProgress, TaskRecord, run_of

PROGRESS_KEPT = 100
"""Steps of a child that its record tells, the newest."""
_TYPES = ("run.started", "tool.finished", "turn.finished", "agent.message")


async def steps_of(store: EventStore, record: TaskRecord) -> tuple[TaskProgress, ...]:
    """The newest steps, oldest first. SessionNotFound when the child has no log here."""
    events = await store.read(SessionId(record.session), types=_TYPES)
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


__all__ = ["PROGRESS_KEPT", "steps_of"]
