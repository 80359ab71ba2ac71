"""Shapes of the shared state."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from ....core.shared_state import STATE_OPERATIONS
from .common import Key, Shape


class SharedStateView(Shape, frozen=True):
    """The whole value."""

    value: Any


class SetStateBody(Shape, frozen=True):
    """`tell`: whether the model is told of it; null: when the agent has the tool `update_state`."""

    value: Any
    sender: str | None = None
    key: Key | None = None
    tell: bool | None = None


class PatchStateBody(Shape, frozen=True):
    """`operations`: of a JSON Patch, each with `op`, `path` and what it needs. The rest as for setting it."""

    operations: Annotated[list[dict[str, Any]], Meta(max_length=STATE_OPERATIONS)]
    sender: str | None = None
    key: Key | None = None
    tell: bool | None = None
