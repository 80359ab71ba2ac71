"""Cancel: the switch that goes one way, and whose children fall with it. Lives on one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from weakref import WeakSet

from ..core.ids import SessionId

WITHIN: ContextVar[SessionId | None] = ContextVar("godwit_within", default=None)
"""The session whose tool or hook the current task is: what such a one asks of its own session must not wait for itself."""


class Cancel:
    """Implements `godwit.contracts.CancelToken`."""

    __slots__ = ("__weakref__", "_calls", "_cancelled", "_children", "_parent", "_waiter")

    def __init__(self, parent: Cancel | None = None) -> None:
        self._cancelled = parent is not None and parent.cancelled
        self._parent = parent
        self._children: WeakSet[Cancel] | None = None  # made with the first child: idle sessions have none
        self._calls: list[Callable[[], None]] = []
        self._waiter: asyncio.Event | None = None
        if parent is not None and not self._cancelled:
            if parent._children is None:
                parent._children = WeakSet()
            parent._children.add(self)

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    def cancel(self) -> None:
        """Switch it. Doing so again changes nothing."""
        if self._cancelled:
            return
        self._cancelled = True
        if self._waiter is not None:
            self._waiter.set()
        calls, self._calls = self._calls, []
        for call in calls:
            call()
        for child in list(self._children or ()):
            child.cancel()

    async def wait(self) -> None:
        """Return once it is cancelled."""
        if self._cancelled:
            return
        if self._waiter is None:
            self._waiter = asyncio.Event()
        await self._waiter.wait()

    def child(self) -> Cancel:
        return Cancel(self)

    def on_cancel(self, call: Callable[[], None]) -> Callable[[], None]:
        if self._cancelled:
            call()
            return lambda: None
        self._calls.append(call)

        def take_back() -> None:
            if call in self._calls:
                self._calls.remove(call)

        return take_back
