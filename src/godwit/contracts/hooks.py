"""Hooks: what one is told, and what the engine asks of its host for them. Points and results stand in `core.hooks`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from ..core.events import Labels
from ..core.hooks import HookPoint, HookResult, HookSpec
from ..core.ids import RunId, SessionId


class HookCall(msgspec.Struct, frozen=True):
    """What a hook is told. `payload` is JSON; its keys by point stand in docs/hooks.md. `labels` are the session's."""

    point: HookPoint
    session: SessionId
    run: RunId | None
    labels: Labels
    workspace: str | None
    payload: dict[str, Any]


HookHandler = Callable[[HookCall], HookResult | Awaitable[HookResult | None] | None]
"""A hook in the process: returns a result, or None for `continue`."""


class HookKit(Protocol):
    """What the engine asks of its host for hooks."""

    def matcher(self, spec: HookSpec) -> Callable[[str | None, str | None, str | None], bool]:
        """The spec's matcher compiled: whether it matches a tool, its file and its shell command, each None where there is
        none. Takes time linear in their length. ConfigurationError, naming the hook, the pattern and why."""
        ...

    def command(self, spec: HookSpec) -> HookHandler:
        """What runs the spec's command. ConfigurationError when it has none."""
        ...
