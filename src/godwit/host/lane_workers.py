"""Workers: who asks for tasks, in this process and others, and how those who wait are woken.

What a worker asks for counts for a while as its being there. Asking and waking go by the store's deltas, which may be lost:
whoever waits looks again by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping

import msgspec

from ..contracts import Store
from ..core.events import Delta
from ..core.ids import Clock, SessionId

POLLING_S = 30.0
"""How long a worker that asked counts as one that is there."""
_BELL = SessionId("godwit:tasks")
"""No session: what is shown under this name wakes those who wait for tasks in other processes."""
_DOOR = SessionId("godwit:workers")
"""No session either: here the workers of other processes say what they ask for."""


class Asked(msgspec.Struct, frozen=True):
    """What a worker has asked for. `tools`: None for any."""

    tenant: str | None
    worker: str
    lanes: tuple[str, ...]
    labels: dict[str, str]
    tools: tuple[str, ...] | None

    def takes(self, lane: str, tool: str, labels: Mapping[str, str], tenant: str | None) -> bool:
        fits = labels.items() <= self.labels.items() and (self.tools is None or tool in self.tools)
        return fits and lane in self.lanes and tenant == self.tenant


class Workers:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._bells: set[asyncio.Event] = set()
        self._asked: dict[tuple[str | None, str, tuple[str, ...]], tuple[Asked, float]] = {}
        self._unwatch: list[Callable[[], None]] = []
        self._closed = False

    def listen(self) -> None:
        """From the first time on, hear what other processes say."""
        if not self._unwatch and not self._closed:
            self._unwatch.append(self._store.watch(_BELL, lambda _: self.ring(others=False)))
            self._unwatch.append(self._store.watch(_DOOR, self._heard))

    def ask(self, asked: Asked) -> None:
        """This one is there, for this process and others."""
        self._note(asked)
        self._store.publish(Delta(_DOOR, "progress", asked.worker, text=msgspec.json.encode(asked).decode()))

    def there(self, lane: str, *, tool: str, labels: Mapping[str, str], tenant: str | None) -> bool:
        """Somebody asked lately for what such a task is."""
        self.listen()
        since_s = self._clock.monotonic() - POLLING_S
        self._asked = {key: (asked, at_s) for key, (asked, at_s) in self._asked.items() if at_s > since_s}
        return any(asked.takes(lane, tool, labels, tenant) for asked, _ in self._asked.values())

    @contextlib.contextmanager
    def bell(self) -> Iterator[asyncio.Event]:
        """It is set when there may be something to do."""
        bell = asyncio.Event()
        self._bells.add(bell)
        self.listen()
        try:
            yield bell
        finally:
            self._bells.discard(bell)

    def ring(self, *, others: bool = True) -> None:
        """Wake who waits; `others`: in other processes as well."""
        for bell in self._bells:
            bell.set()
        if others:
            self._store.publish(Delta(_BELL, "progress", "tasks"))

    def close(self) -> None:
        self._closed = True
        while self._unwatch:
            self._unwatch.pop()()
        self.ring(others=False)

    def _heard(self, delta: Delta) -> None:
        with contextlib.suppress(msgspec.DecodeError):
            self._note(msgspec.json.decode(delta.text, type=Asked))

    def _note(self, asked: Asked) -> None:
        self._asked[asked.tenant, asked.worker, asked.lanes] = (asked, self._clock.monotonic())


__all__ = ["Asked", "Workers"]
