"""Watch: what may run out is looked at in time, although no worker asks for it. What looking comes to is its caller's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ..core.ids import Clock

MOST_S = 30.0
"""How long nobody looks at most."""


class Watch:
    """`look`: asked of a task and its tenant, it says when to look again; None: never. It never raises."""

    def __init__(self, look: Callable[[str, str | None], Awaitable[int | None]], clock: Clock) -> None:
        self._look = look
        self._clock = clock
        self._watched: dict[str, _Watched] = {}
        self._woken = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None

    def put(self, task: str, tenant: str | None, due_ms: int = 0) -> None:
        """Look at this one at that time; at once if nothing is said."""
        self._watched[task] = _Watched(tenant, due_ms)
        self._woken.set()
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._keep_watch(), name="tasks of lanes")

    async def close(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait({self._watcher})

    async def _keep_watch(self) -> None:
        while True:
            self._woken.clear()
            now = self._clock.now_ms()
            for task, watched in [(t, w) for t, w in self._watched.items() if w.due_ms <= now]:
                due = await self._look(task, watched.tenant)
                if self._watched.get(task) is not watched:
                    continue  # it was put back meanwhile
                if due is None:
                    del self._watched[task]
                else:
                    self._watched[task] = _Watched(watched.tenant, due)
            next_ms = min((w.due_ms for w in self._watched.values()), default=None)
            pause_s = None if next_ms is None else min(max(0.05, (next_ms - self._clock.now_ms()) / 1000), MOST_S)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), pause_s)


@dataclass(frozen=True, eq=False)
class _Watched:
    """A task that is looked after: whose it is, and when to look."""

    tenant: str | None
    due_ms: int


__all__ = ["Watch"]
