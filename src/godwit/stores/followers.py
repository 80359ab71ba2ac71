"""Who follows a session: waits for its next event, or watches its deltas. A part of every store here.

Brings together what `hub` knows of each loop of this process, what the store's bus hears from others, and what its writer
has committed. May be used from any number of event loops and threads; each loop gets its own waiters.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ..core.errors import StoreClosed
from ..core.events import Delta, Event
from ..core.ids import Seq, SessionId
from .batch import FEED, Written
from .hub import Hub, Show, Underway
from .letters import Hint
from .part import StorePart
from .requests import Request


class Tells(Protocol):
    """What others are told, and asked for: a bus. Nothing of it blocks, and all of it may be lost."""

    def start(self) -> None:
        """Begin to listen. Idempotent."""
        ...

    def look_soon(self) -> None:
        """Somebody began to wait."""
        ...

    def hint(self, heads: list[Hint]) -> None:
        """Tell the others that these sessions have grown."""
        ...

    def wanted(self, session: SessionId) -> bool:
        """Whether another process watches the session."""
        ...

    def post(self, delta: Delta) -> None:
        """Send a delta to those that watch."""
        ...

    def watch(self, session: SessionId) -> None:
        """Ask the others for the session's deltas and the text so far."""
        ...

    def unwatch(self, session: SessionId) -> None: ...


class FollowersPart(StorePart):
    """What a store does for those who follow; and what its bus asks, on whatever thread that has."""

    _hubs: dict[asyncio.AbstractEventLoop, Hub]
    _hubs_lock: threading.Lock
    _underway: Underway
    _bus: Tells | None

    async def wait(self, session: SessionId, after: Seq, timeout_s: float | None = None) -> Seq:
        """Return the head as soon as it is greater than `after`, or when the time is over. SessionNotFound."""
        hub = self._hub()
        topic = hub.topic(session)
        if topic.head > after:
            return topic.head
        if self._bus is not None:
            # Listening begins before the head is looked up, so that no commit falls between the two.
            self._bus.start()
            self._bus.look_soon()
        if topic.head < 0 or (timeout_s is not None and timeout_s <= 0):
            await self._refresh(hub, session)
        return await hub.wait(session, topic, after, timeout_s)

    async def wait_feed(self, after: int, timeout_s: float | None = None) -> int:
        """Return the feed's last position as soon as it is greater than `after`, or when the time is over."""
        return await self.wait(FEED, after + 1, timeout_s) - 1

    def publish(self, delta: Delta) -> None:
        """Show a delta to whoever watches the session now, in this process and others. Never blocks, may drop."""
        if self._closed:
            return
        with self._underway.lock:
            self._underway.grow(delta)
            targets = self._targets(delta.session)
        self._show(targets, delta)
        bus = self._bus
        if bus is not None:
            bus.start()
            if bus.wanted(delta.session):
                bus.post(delta)

    def watch(self, session: SessionId, show: Show) -> Callable[[], None]:
        """Call `show` with each delta of the session from now on; what is on its way is first shown from its beginning.

        Returns the function that ends it. `show` runs on the event loop and must not block.
        """
        hub = self._hub()
        with self._underway.lock:
            backlog = self._underway.backlog(session)
            first = not self._targets(session)
            hub.watchers.setdefault(session, []).append(show)
        for delta in backlog:
            show(delta)
        if self._bus is not None:
            self._bus.start()
            if first:
                self._bus.watch(session)
        ended = False

        def end() -> None:
            nonlocal ended
            if ended:
                return
            ended = True
            with self._underway.lock:
                shows = hub.watchers.get(session, [])
                with contextlib.suppress(ValueError):
                    shows.remove(show)
                if not shows:
                    hub.watchers.pop(session, None)
                last = not self._targets(session)
                if last:
                    self._underway.forget_remote(session)
            if last and self._bus is not None and not self._closed:
                self._bus.unwatch(session)

        return end

    def moved(self, session: SessionId, head: Seq, ended: Sequence[str]) -> None:
        if ended:
            with self._underway.lock:
                self._underway.forget(session, ended)
        for hub in list(self._hubs.values()):
            if hub.interested(session):
                self._call(hub, hub.committed, session, head, ())

    def shown(self, delta: Delta, *, anew: bool) -> bool:
        with self._underway.lock:
            targets = self._targets(delta.session)
            if not targets:
                return True
            if self._underway.missing(delta):
                if not anew:
                    return False
                self._underway.begin(delta)
            new = self._underway.grow(delta, remote=True)
        if new is not None:
            self._show(targets, new)
        return True

    def backlog(self, session: SessionId) -> list[Delta]:
        with self._underway.lock:
            return self._underway.backlog(session, remote=False)

    def waiting(self) -> bool:
        return any(hub.topics for hub in list(self._hubs.values()))

    def _committed(self, written: list[Written], batch: list[Request[Any]]) -> bool:
        """On the thread that committed: wake waiters, answer the requests, tell the other processes."""
        for one in written:
            if one.ended and one.session in self._underway:
                with self._underway.lock:
                    self._underway.forget(one.session, one.ended)
        news: dict[asyncio.AbstractEventLoop, list[tuple[Hub, SessionId, Seq, list[Event]]]] = {}
        if written:
            for hub in list(self._hubs.values()):
                for one in written:
                    if hub.interested(one.session):
                        news.setdefault(hub.loop, []).append((hub, one.session, one.head, one.events()))
        settled: dict[asyncio.AbstractEventLoop, list[Request[Any]]] = {}
        for request in batch:
            if request.loop is not None:
                settled.setdefault(request.loop, []).append(request)
        here = _running_loop()
        for loop in {*news, *settled}:
            if loop is here:
                _deliver(news.get(loop, ()), settled.get(loop, ()))
                continue
            # A loop that has been closed in the meantime has nobody left to tell.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_deliver, news.get(loop, ()), settled.get(loop, ()))
        if written and self._bus is not None:
            self._bus.hint([(one.session, one.head, one.ended) for one in written])
        return bool(news)

    def _hub(self) -> Hub:
        if self._closed:
            raise StoreClosed()
        loop = asyncio.get_running_loop()
        hub = self._hubs.get(loop)
        if hub is None:
            with self._hubs_lock:
                for gone in [one for one in self._hubs if one.is_closed()]:
                    del self._hubs[gone]
                hub = self._hubs[loop] = Hub(loop)
        return hub

    async def _refresh(self, hub: Hub, session: SessionId) -> None:
        """Tell the hub the head as the database has it. SessionNotFound."""
        raise AssertionError("a store says how it looks")

    def _call(self, hub: Hub, function: Callable[..., None], *arguments: Any) -> None:
        if hub.loop is _running_loop():
            function(*arguments)
            return
        with contextlib.suppress(RuntimeError):
            hub.loop.call_soon_threadsafe(function, *arguments)

    def _targets(self, session: SessionId) -> list[tuple[Hub, tuple[Show, ...]]]:
        return [(hub, tuple(shows)) for hub in list(self._hubs.values()) if (shows := hub.watchers.get(session))]

    def _show(self, targets: list[tuple[Hub, tuple[Show, ...]]], delta: Delta) -> None:
        for hub, shows in targets:
            self._call(hub, _show, hub, shows, delta)


def _deliver(news: Sequence[tuple[Hub, SessionId, Seq, list[Event]]], settled: Sequence[Request[Any]]) -> None:
    for hub, session, head, events in news:
        hub.committed(session, head, events)
    for request in settled:
        request.settle()


def _show(hub: Hub, shows: Sequence[Show], delta: Delta) -> None:
    for show in shows:
        try:
            show(delta)
        except Exception as error:
            # A broken watcher must neither stop the publisher nor the other watchers.
            hub.loop.call_exception_handler({"message": f"a watcher of {delta.session} failed", "exception": error})


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


__all__ = ["FollowersPart", "Tells"]
