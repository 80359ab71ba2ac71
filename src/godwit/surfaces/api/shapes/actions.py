"""Shapes of answers to pending actions."""

from __future__ import annotations

from typing import Any

from ....core.events import Remember
from ....core.facts import PendingAction
from ....core.messages import ResultBlock
from .common import Shape


class ActionList(Shape, frozen=True):
    data: list[PendingAction]


class ApproveBody(Shape, frozen=True):
    arguments: dict[str, Any] | None = None
    remember: Remember | None = None
    rule: str | None = None
    sender: str | None = None


class DenyBody(Shape, frozen=True):
    reason: str | None = None
    remember: Remember | None = None
    rule: str | None = None
    sender: str | None = None


class AnswerBody(Shape, frozen=True):
    result: str | list[ResultBlock] | dict[str, Any]
    is_error: bool = False
    sender: str | None = None
    metadata: dict[str, Any] = {}
