"""Shapes of what is remembered."""

from __future__ import annotations

from typing import Any, Literal

from ....core.memory import FoundMemory, MemoryKind, MemoryScope, MemoryStats, PrunePolicy
from .common import Shape


class Deleted(Shape, frozen=True):
    """How many there were."""

    deleted: int


class MemoryList(Shape, frozen=True):
    """Scores are 0 where nothing was searched for."""

    data: list[FoundMemory]


class MemoryStatus(Shape, frozen=True):
    """`available`: whether there is memory; if not, `warning` may say why."""

    available: bool
    warning: str | None = None
    stats: MemoryStats = MemoryStats(0)


class RememberBody(Shape, frozen=True):
    content: str
    kind: MemoryKind = "episodic"
    scope: MemoryScope = "user"
    importance: float = 0.5
    tags: list[str] = []
    metadata: dict[str, Any] = {}
    id: str | None = None
    key: str | None = None


class OutcomeBody(Shape, frozen=True):
    outcome: Literal["success", "failure"]
    prompt: str
    tools: list[str] = []
    result: str = ""
    error: str = ""


class PruneMemoriesBody(Shape, frozen=True):
    policy: PrunePolicy | None = None
    scopes: list[MemoryScope] | None = None


class ClearMemoriesBody(Shape, frozen=True):
    scope: MemoryScope
