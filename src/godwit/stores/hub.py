"""Waking inside one process: who waits for a session's log, what it got last, and the deltas on their way.

A `Hub` belongs to one event loop and is touched only there, save for `interested`, which any thread may ask. The writer
hands it each commit; it wakes the waiters and keeps the newest events (the hot tail) for a moment, so that many followers
of one session share one set of decoded events instead of reading each its own.
`Underway` belongs to the store, has a lock, and keeps the text of unfinished messages and calls for watchers that join late.

Rules: a topic is registered before the head is read from the database, or a wake-up could be lost in between. A tail is
contiguous and ends at or before the head; what it holds is never older than what its reader asked for.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import msgspec

from ..core.errors import SessionNotFound, StoreClosed
from ..core.events import Delta, Event
from ..core.ids import Seq, SessionId

Show = Callable[[Delta], None]

_TAIL_EVENTS = 512
_TAIL_BYTES = 1 << 20
_LINGER_S = 1.0
_GROWING_LIMIT = 1 << 20


class Topic:
    """What one loop knows of one session that somebody waits for. `head` is -1 until it was read, 0 when it is gone.

    `fresh`: the head was compared with the database in this very turn of the loop.
    """

    __slots__ = ("fresh", "gone", "head", "size", "tail", "used", "waiters")

    def __init__(self) -> None:
        self.head: Seq = -1
        self.gone = False
        self.fresh = False
        self.waiters: set[asyncio.Future[None]] = set()
        self.tail: deque[Event] | tuple[()] = ()  # a deque from its first event on: most topics of idle sessions have none
        self.size = 0
        self.used = 0.0

    def extend(self, events: Iterable[Event]) -> None:
        """Take newer events in; those it has are passed over, and a hole starts the tail anew."""
        tail = self.tail if isinstance(self.tail, deque) else deque()
        self.tail = tail
        for event in events:
            if tail:
                end = tail[-1].seq
                if event.seq <= end:
                    continue
                if event.seq != end + 1:
                    tail.clear()
                    self.size = 0
            tail.append(event)
            self.size += len(event.body)
        while len(tail) > _TAIL_EVENTS or (self.size > _TAIL_BYTES and len(tail) > 1):
            self.size -= len(tail.popleft().body)

    def slice(self, after: Seq, to: Seq) -> list[Event] | None:
        """The events behind `after` up to `to`, or None when the tail does not hold all of them."""
        tail = self.tail
        if not tail or tail[0].seq > after + 1 or tail[-1].seq < to or to <= after:
            return None
        first = tail[0].seq
        if to - after == 1:
            return [tail[to - first]]
        return [tail[i] for i in range(after + 1 - first, to + 1 - first)]

    def wake(self) -> None:
        waiters, self.waiters = self.waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class Hub:
    """The waiters and delta watchers of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.topics: dict[SessionId, Topic] = {}
        self.watchers: dict[SessionId, list[Show]] = {}
        self.closed = False
        self._sweeper: asyncio.TimerHandle | None = None
        self._fresh: list[Topic] = []

    def interested(self, session: SessionId) -> bool:
        return session in self.topics

    def topic(self, session: SessionId) -> Topic:
        """The session's topic, made when there is none; it lives a moment longer than its last use."""
        topic = self.topics.get(session)
        if topic is None:
            topic = self.topics[session] = Topic()
        topic.used = self.loop.time()
        self._arm()
        return topic

    async def wait(self, session: SessionId, topic: Topic, after: Seq, timeout_s: float | None) -> Seq:
        """The topic's head once it is greater than `after`, or when the time is over. `topic.head` must be known."""
        deadline = None if timeout_s is None else self.loop.time() + timeout_s
        while topic.head <= after:
            self._check(session, topic)
            if deadline is not None and self.loop.time() >= deadline:
                break
            waiter: asyncio.Future[None] = self.loop.create_future()
            timer = None if deadline is None else self.loop.call_at(deadline, _let_go, waiter)
            topic.waiters.add(waiter)
            try:
                await waiter
            finally:
                topic.waiters.discard(waiter)
                if timer is not None:
                    timer.cancel()
                topic.used = self.loop.time()
        self._check(session, topic)
        return topic.head

    def committed(self, session: SessionId, head: Seq, events: Sequence[Event]) -> None:
        """`head` is durable; `events` are those up to it, none when another process wrote them. `head` 0: it is gone."""
        topic = self.topics.get(session)
        if topic is None:
            return
        if head == 0:
            topic.gone = True
            del self.topics[session]
            topic.wake()
            return
        if events:
            topic.extend(events)
            self._arm()
        # Before the head was read once, a waiter is still about to compare; it must not take an older head for it.
        if head > topic.head:
            topic.head = head
            topic.wake()

    def refreshed(self, topic: Topic) -> None:
        """Its head is right until the loop turns: what other processes tell comes no sooner."""
        topic.fresh = True
        self._fresh.append(topic)
        if len(self._fresh) == 1:
            self.loop.call_soon(self._turn)

    def _turn(self) -> None:
        for topic in self._fresh:
            topic.fresh = False
        self._fresh.clear()

    def close(self) -> None:
        """End every wait with StoreClosed."""
        self.closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for topic in self.topics.values():
            topic.wake()
        self.topics.clear()
        self.watchers.clear()

    def _check(self, session: SessionId, topic: Topic) -> None:
        if self.closed:
            raise StoreClosed()
        if topic.gone:
            raise SessionNotFound(f"session {session!r} was deleted", session=session)

    def _arm(self) -> None:
        if self._sweeper is None and not self.closed:
            self._sweeper = self.loop.call_later(_LINGER_S, self._sweep)

    def _sweep(self) -> None:
        """Drop tails that were read by everybody and topics nobody waits for."""
        self._sweeper = None
        before = self.loop.time() - _LINGER_S
        for session, topic in list(self.topics.items()):
            if topic.used < before:
                topic.tail = ()
                topic.size = 0
                if not topic.waiters:
                    del self.topics[session]
        if any(topic.tail or not topic.waiters for topic in self.topics.values()):
            self._arm()


def _let_go(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class _Growing:
    """The text so far of one block: `offset` is where the kept part begins, 0 unless it grew past the limit."""

    __slots__ = ("after", "call", "end", "name", "offset", "pieces", "remote")

    def __init__(self, first: Delta, remote: bool) -> None:
        self.offset = first.offset
        self.end = first.offset
        self.name = first.name
        self.call = first.call
        self.after = first.after
        self.remote = remote
        self.pieces: list[str] = []

    def add(self, text: str) -> None:
        self.pieces.append(text)
        self.end += len(text)
        if self.end - self.offset > _GROWING_LIMIT:
            kept = "".join(self.pieces)[_GROWING_LIMIT // 2 :]
            self.offset, self.pieces = self.end - len(kept), [kept]

    def text(self) -> str:
        if len(self.pieces) > 1:
            self.pieces = ["".join(self.pieces)]
        return self.pieces[0] if self.pieces else ""


_Key = tuple[str, int, str]  # id, block, kind


class Underway:
    """What has been shown of messages and calls that are not stored yet. Its owner holds `lock` around each use."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._sessions: dict[SessionId, dict[_Key, _Growing]] = {}

    def __contains__(self, session: SessionId) -> bool:
        return session in self._sessions

    def grow(self, delta: Delta, *, remote: bool = False) -> Delta | None:
        """Take a delta in; returns what of it is new, None when nothing is or when text before it is missing.

        Only `remote` ones are held back: they may come twice, or after one that was lost.
        """
        if delta.kind == "progress":
            return delta
        growing = self._sessions.get(delta.session)
        if delta.kind == "discard":
            if growing is not None:
                for key in [k for k in growing if k[0] == delta.id]:
                    del growing[key]
                self._drop_empty(delta.session)
            return delta
        key = (delta.id, delta.block, delta.kind)
        text = growing.get(key) if growing is not None else None
        if text is None:
            if delta.offset:
                return None if remote else delta
            if growing is None:
                growing = self._sessions[delta.session] = {}
            text = growing[key] = _Growing(delta, remote)
        if remote and delta.offset < text.end:
            known = text.end - delta.offset
            if known >= len(delta.text):
                return None
            delta = msgspec.structs.replace(delta, text=delta.text[known:], offset=text.end)
        if delta.offset != text.end:
            if remote:
                return None
            text.offset = text.end = delta.offset
            text.pieces = []
        text.name, text.call = text.name or delta.name, text.call or delta.call
        text.add(delta.text)
        return delta

    def missing(self, delta: Delta) -> bool:
        """True when text before this delta has not been seen."""
        if delta.kind in ("progress", "discard"):
            return False
        text = self._sessions.get(delta.session, {}).get((delta.id, delta.block, delta.kind))
        return delta.offset > (0 if text is None else text.end)

    def begin(self, delta: Delta) -> None:
        """What comes before this delta from elsewhere is nowhere kept any more: the block begins with it."""
        self._sessions.setdefault(delta.session, {})[delta.id, delta.block, delta.kind] = _Growing(delta, True)

    def backlog(self, session: SessionId, *, remote: bool = True) -> list[Delta]:
        """One delta per block, each from its beginning; without `remote` only what this process published itself."""
        return [
            Delta(session, kind, id_, text.offset, text.text(), block, text.name, text.after, text.call)  # type: ignore[arg-type]
            for (id_, block, kind), text in self._sessions.get(session, {}).items()
            if remote or not text.remote
        ]

    def forget(self, session: SessionId, ended: Iterable[str]) -> None:
        """`ended`: "message" (its text, thinking and arguments are stored), a call's id as "call:<id>", or "all"."""
        growing = self._sessions.get(session)
        if growing is None:
            return
        for end in ended:
            if end == "all":
                growing.clear()
            elif end == "message":
                # A session has one message on its way at most, so this also clears what a dead driver left behind.
                for key in [k for k in growing if k[2] != "tool_output"]:
                    del growing[key]
            else:
                for key in [k for k in growing if k[2] == "tool_output" and k[0] == end[5:]]:
                    del growing[key]
        self._drop_empty(session)

    def forget_remote(self, session: SessionId) -> None:
        growing = self._sessions.get(session)
        if growing is not None:
            for key in [k for k, text in growing.items() if text.remote]:
                del growing[key]
            self._drop_empty(session)

    def _drop_empty(self, session: SessionId) -> None:
        if not self._sessions.get(session):
            self._sessions.pop(session, None)
