"""Shapes of tasks that subagents have."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from ....core.tasks import TaskEnd, TaskRecord
from .common import Key, Shape


class TaskRecordList(Shape, frozen=True):
    data: list[TaskRecord]


class StartTaskBody(Shape, frozen=True):
    """As for `tasks.start`. `key`: in place of the header Idempotency-Key."""

    agent: str
    prompt: str
    description: str = ""
    max_turns: Annotated[int, Meta(ge=1, le=1 << 31)] | None = None
    output_schema: dict[str, Any] | None = None
    continue_task: str | None = None
    key: Key | None = None


class CancelTaskBody(Shape, frozen=True):
    reason: str | None = None


class ReadTasksBody(Shape, frozen=True):
    tasks: list[str]


class Cancelled(Shape, frozen=True):
    """`count`: how many tasks there were to cancel."""

    count: int


class TaskOutput(Shape, frozen=True):
    output: str


class RecordTaskBody(Shape, frozen=True):
    """As for `tasks.record_start`. `session`: where the child has its log, if it has one."""

    agent: Annotated[str, Meta(min_length=1)]
    description: str = ""
    session: str | None = None
    prompt: str = ""


class ProgressBody(Shape, frozen=True):
    status: str
    metadata: dict[str, Any] = {}


class EndTaskBody(Shape, frozen=True):
    status: TaskEnd = "completed"
    output: str = ""
