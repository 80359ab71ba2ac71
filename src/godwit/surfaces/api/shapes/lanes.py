"""Shapes of calls that workers do, and of the room for them."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from ....core.lanes import DeadLetter, ExternalTask, ExternalTaskResult, MetricsSnapshot
from ....core.messages import ResultBlock
from ....host.lane_tasks import Leased
from .common import Shape


class TaskList(Shape, frozen=True):
    data: list[ExternalTask]


class ResultBody(Shape, frozen=True):
    result: ExternalTaskResult
    sender: str | None = None


class MetricsView(Shape, frozen=True):
    metrics: MetricsSnapshot | None


class DeadLetterList(Shape, frozen=True):
    data: list[DeadLetter]


class LeaseBody(Shape, frozen=True):
    """`tools`: the ones the worker can run, null for any. `wait_s`: how long to wait for a task."""

    lanes: Annotated[list[str], Meta(min_length=1, max_length=64)]
    worker: Annotated[str, Meta(min_length=1, max_length=255)]
    labels: dict[str, str] = {}
    tools: list[str] | None = None
    wait_s: Annotated[float, Meta(ge=0, le=60)] = 0.0


class LeaseView(Shape, frozen=True):
    leased: Leased | None


class TokenBody(Shape, frozen=True):
    """`token`: of the lease."""

    token: str


class HeartbeatView(Shape, frozen=True):
    """`lease_ms`: the wall time until which the task is this worker's."""

    lease_ms: int


class CompleteBody(Shape, frozen=True):
    token: str
    content: list[ResultBlock] = []
    is_error: bool = False
    metadata: dict[str, Any] = {}


class FailBody(Shape, frozen=True):
    token: str
    error: str
