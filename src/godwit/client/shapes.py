"""Answers of the server as types, where they are not the engine's own. The other side is `surfaces/api/shapes/`."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from ..contracts import SessionRow
from ..core.agent import AgentSpec, ToolDefinition
from ..core.budget import Budget, Spent
from ..core.facts import CommandResult, SessionConfig
from ..core.goal import Goal
from ..core.lanes import MetricsSnapshot
from ..core.memory import MemoryStats
from ..core.record import RunSnapshot
from ..core.todos import Todo
from ..core.verification import VerificationReport, VerificationSummary

T = TypeVar("T")


class Listed(msgspec.Struct, Generic[T], frozen=True):
    data: list[T]
    next: str | None = None


class StoredAgent(msgspec.Struct, frozen=True):
    """One version of an agent, as a server keeps it. `id`: by which events name it. `newest`: its newest version. `spec` has
    the name; times in ms."""

    name: str
    id: str
    version: int
    newest: int
    spec: AgentSpec
    created_ms: int
    updated_ms: int
    archived_ms: int | None = None


class Opened(msgspec.Struct, frozen=True):
    session: SessionRow
    config: SessionConfig
    tools: list[ToolDefinition]
    metadata: dict[str, str]


class Started(msgspec.Struct, frozen=True):
    run: str
    after: int


class Accepted(msgspec.Struct, frozen=True):
    input: str


class Commanded(msgspec.Struct, frozen=True):
    executed: CommandResult | None


class Deleted(msgspec.Struct, frozen=True):
    deleted: int


class MemoryStatus(msgspec.Struct, frozen=True):
    """Whether a server has memory, why not, and how much of it."""

    available: bool
    warning: str | None = None
    stats: MemoryStats = MemoryStats(0)


class Counted(msgspec.Struct, frozen=True):
    count: int


class TodosTold(msgspec.Struct, frozen=True):
    todos: list[Todo]


class SharedStateTold(msgspec.Struct, frozen=True):
    value: Any


class GoalTold(msgspec.Struct, frozen=True):
    goal: Goal | None


class Changed(msgspec.Struct, frozen=True):
    changed: bool


class RunsListed(msgspec.Struct, frozen=True):
    data: list[RunSnapshot]
    count: int


class PageOfRun(msgspec.Struct, frozen=True):
    events: list[msgspec.Raw]
    first_available_seq: int | None
    latest_seq: int
    next_after: int
    retention_gap: bool
    has_more: bool
    event_count: int


class Cancelled(msgspec.Struct, frozen=True):
    count: int


class Output(msgspec.Struct, frozen=True):
    output: str


class EventsListed(msgspec.Struct, frozen=True):
    data: list[msgspec.Raw]
    head: int


class BudgetTold(msgspec.Struct, frozen=True):
    budget: Budget | None


class SpentTold(msgspec.Struct, frozen=True):
    spent: Spent


class Verified(msgspec.Struct, frozen=True):
    reports: list[VerificationReport]
    summary: VerificationSummary
    text: str


class MetricsTold(msgspec.Struct, frozen=True):
    metrics: MetricsSnapshot | None


class Found(msgspec.Struct, frozen=True):
    ref: str


class NotYet(msgspec.Struct, frozen=True):
    run: str | None
