"""Shapes of going back, and of a session's kept files."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ....core.checkpoint import Checkpoint, OnConflict, Turning
from ....core.facts import KEEP_TOKENS
from .common import Place, Shape


class RewindBody(Shape, frozen=True):
    seq: Place
    files: bool = False
    on_conflict: OnConflict = "refuse"


class RedoBody(Shape, frozen=True):
    on_conflict: OnConflict = "refuse"


class CompactBody(Shape, frozen=True):
    focus: Annotated[str, Meta(max_length=10_000)] | None = None
    keep_tokens: Annotated[int, Meta(ge=0, le=100_000_000)] = KEEP_TOKENS


class TurningList(Shape, frozen=True):
    data: list[Turning]


class CheckpointList(Shape, frozen=True):
    data: list[Checkpoint]
