"""What the writer is asked to do: an append, or a call of a function within its transaction.

Owns the checks each append must pass: keys, heads, epochs, and the gate of `core.gate`. Leaves out when it is committed, and
with what else (`writer`). Rule: a request is checked as a whole before anything of it is written, so that a refused one
leaves no trace and does not spoil the others of its transaction.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

from ..contracts import Appended
from ..core.errors import HeadMoved, IllegalEvent, InvalidArgument, KeyReused, SessionExists, SessionNotFound, StaleEpoch
from ..core.events import (
    Draft,
    SessionCompacted,
    SessionCreated,
    SessionForked,
    SessionLabelled,
    SessionRewound,
    from_outside,
)
from ..core.gate import Gate, admit, consequence
from ..core.ids import Seq, SessionId
from ..core.meter import Meter, metered
from .batch import Appending, Row, Unit

T = TypeVar("T")

ARTIFACTS, FEEDS, TEXTS = "artifacts", "feed", "texts"
"""What functions may be about, see `Call`."""


class Request(Generic[T]):
    """Something to do within a transaction: it checks, then writes. Settled once, by the writer."""

    __slots__ = ("error", "future", "loop", "result")

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.future: asyncio.Future[T] | None = None
        self.result: T | None = None
        self.error: Exception | None = None

    def settle(self) -> None:
        """On the loop: tell whoever waits."""
        future = self.future
        if future is None or future.done():
            return
        if self.error is not None:
            future.set_exception(self.error)
        else:
            future.set_result(self.result)  # type: ignore[arg-type]


class Call(Request[T]):
    """A request made of a function; it must check before it writes. `about`: functions about one thing, as `ARTIFACTS`,
    come one after the other, also where others write at the same time."""

    __slots__ = ("about", "function")

    def __init__(self, function: Callable[[Unit], Coroutine[Any, Any, T]], *, about: str | None = None) -> None:
        super().__init__()
        self.function = function
        self.about = about


def done(work: Coroutine[Any, Any, T]) -> T:
    """What comes of work that never waits."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    work.close()
    raise AssertionError("work within a transaction of this process waited")


class Append(Request[Appended]):
    """`create`: the session must not exist yet."""

    __slots__ = ("create", "epoch", "events", "expect", "key", "session")

    def __init__(
        self,
        session: SessionId,
        events: Sequence[Draft],
        *,
        create: bool = False,
        epoch: int | None = None,
        expect: Seq | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__()
        self.session = session
        self.events = events
        self.create = create
        self.epoch = epoch
        self.expect = expect
        self.key = key

    def apply(self, transaction: Appending) -> Appended:
        session, events = self.session, self.events
        if not events:
            raise InvalidArgument("an append needs at least one event", session=session)
        row = transaction.row(session)
        digest = None if self.key is None else _digest(events)
        # The key comes first: a repeated request gets its first answer, whatever the session has become since.
        if self.key is not None and digest is not None and row is not None:
            known = _known(transaction, row, self.key, digest)
            if known is not None:
                return known
        if self.create:
            if row is not None:
                raise SessionExists(f"session {session!r} exists already", session=session)
            if not isinstance(events[0].data, SessionCreated):
                raise IllegalEvent(f"a log begins with session.created, not {events[0].type}", type=events[0].type)
        elif row is None:
            raise SessionNotFound(f"there is no session {session!r}", session=session)
        if self.epoch is None:
            for draft in events:
                if not from_outside(draft.data):
                    raise IllegalEvent(f"{draft.type} needs the driver's epoch", type=draft.type)
        elif row is None or row.epoch != self.epoch:
            raise StaleEpoch(
                f"epoch {self.epoch} of session {session!r} is over",
                epoch=self.epoch,
                newest=0 if row is None else row.epoch,
            )
        head = 0 if row is None else row.head
        if self.expect is not None and self.expect != head:
            raise HeadMoved(f"the head of session {session!r} is {head}, not {self.expect}", head=head, expect=self.expect)

        gate, meter = (Gate(), Meter()) if row is None else (row.gate, row.meter)
        parent = transaction.parent(events[0]) if row is None else None
        drafts, gate, meter = _admitted(events, head, gate, meter)
        if row is None:
            row = transaction.create(session, drafts[0], parent)
        first, last = head + 1, head + len(drafts)
        if self.key is not None and digest is not None:
            transaction.put_key(row, self.key, first, last, digest)
        transaction.write(row, drafts, gate, meter)
        return Appended(first, last)


class Fork(Request[Appended]):
    """A new session, whose log begins as that of `origin` does up to `at`, and goes on with `events`."""

    __slots__ = ("at", "events", "key", "origin", "session")

    def __init__(
        self, session: SessionId, origin: SessionId, at: Seq, events: Sequence[Draft], *, key: str | None = None
    ) -> None:
        super().__init__()
        self.session = session
        self.origin = origin
        self.at = at
        self.events = events
        self.key = key

    def apply(self, transaction: Appending) -> Appended:
        session, at, events = self.session, self.at, self.events
        data = events[0].data if events else None
        if not isinstance(data, SessionForked) or data.origin != self.origin:
            raise IllegalEvent(f"a fork of {self.origin!r} begins with session.forked, which names it", session=session)
        digest = _digest(events)
        row = transaction.row(session)
        if row is not None:
            known = None if self.key is None else _known(transaction, row, self.key, digest)
            if known is not None:
                return known
            raise SessionExists(f"session {session!r} exists already", session=session)
        origin = transaction.row(self.origin)
        if origin is None:
            raise SessionNotFound(f"there is no session {self.origin!r} to fork", session=self.origin)
        if data.labels.tenant != origin.tenant:
            raise IllegalEvent("a fork is of the tenant that its origin is of", session=session)
        if not 1 <= at <= origin.head:
            raise InvalidArgument(f"session {self.origin!r} has no event {at} to fork at: it has 1 to {origin.head}", at=at)
        for draft in events[1:]:
            if not from_outside(draft.data):
                raise IllegalEvent(f"{draft.type} needs the driver's epoch", type=draft.type)
        drafts, gate, meter = _admitted(events, at, Gate(), Meter(), fork=True)
        transaction.flush()
        # Who was deleted has left its children to the one above it.
        parent = None if data.parent is None else origin.parent
        row = transaction.create(session, drafts[0], parent, origin=origin, at=at)
        first, last = at + 1, at + len(drafts)
        if self.key is not None:
            transaction.put_key(row, self.key, first, last, digest)
        transaction.write(row, drafts, gate, meter)
        return Appended(first, last)


def _known(transaction: Appending, row: Row, key: str, digest: bytes) -> Appended | None:
    """What was stored under this key, None when nothing was. KeyReused when that was something else."""
    known = transaction.key(row, key)
    if known is None:
        return None
    first, last, stored = known
    if stored != digest:
        raise KeyReused(f"idempotency key {key!r} was used for other events: take a new key", session=row.id, key=key)
    return Appended(first, last, duplicate=True)


def _admitted(
    events: Sequence[Draft], head: Seq, gate: Gate, meter: Meter, *, fork: bool = False
) -> tuple[list[Draft], Gate, Meter]:
    """The events with what follows from them, and what they lead to; they come behind `head`. Raises what `admit` does."""
    drafts: list[Draft] = []
    for draft in events:
        data = draft.data
        seq = head + len(drafts) + 1
        if isinstance(data, SessionCreated) and seq > 1:
            raise IllegalEvent("a log begins with session.created, once", seq=seq)
        if isinstance(data, SessionForked) and (drafts or not fork):
            raise IllegalEvent("session.forked comes first of what a fork adds, and nowhere else", seq=seq)
        if isinstance(data, SessionRewound) and not 0 < data.to < seq:
            raise IllegalEvent(f"there is no event {data.to} to rewind to", to=data.to, head=seq - 1)
        if isinstance(data, SessionLabelled) and data.target >= seq:
            raise IllegalEvent(f"there is no event {data.target} to label", target=data.target, head=seq - 1)
        if isinstance(data, SessionCompacted) and data.kept_from > seq:
            raise IllegalEvent(
                f"there is no event {data.kept_from} to keep messages from", kept_from=data.kept_from, head=seq - 1
            )
        phase = gate.phase
        gate = admit(gate, data)
        meter = metered(meter, phase, gate.phase, data, draft.at_ms)
        drafts.append(draft)
        follows = consequence(gate, data)
        if follows is not None:
            phase = gate.phase
            gate = admit(gate, follows)
            meter = metered(meter, phase, gate.phase, follows, draft.at_ms)
            drafts.append(Draft(follows, at_ms=draft.at_ms, run=gate.run))
    return drafts, gate, meter


def _digest(events: Sequence[Draft]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for draft in events:
        digest.update(len(draft.body).to_bytes(8, "big"))
        digest.update(draft.type.encode())
        digest.update(b"\0")
        digest.update(draft.body)
    return digest.digest()


__all__ = ["ARTIFACTS", "FEEDS", "TEXTS", "Append", "Call", "Fork", "Request", "done"]
