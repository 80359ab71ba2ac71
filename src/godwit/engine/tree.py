"""Following a session and all that works for it: one stream of their logs, with one cursor.

The order is that of time as far as it may be, and these always hold: events of one session come in its order; those of a
child come after its parent's `subagent.started`, and all of them up to `subagent.finished.up_to` before that. What a child
does later (another task, work of its own in the background) comes as it happens.

The cursor says how far each log was read, and leaves out children of which that follows from their parents' logs: those that
have ended where their task did. So it names few sessions however many there were. Rule: the place moves only as an event is
returned, and nothing is awaited in between, so a reader that is cancelled loses nothing.

Children are those of tasks (`subagent.started`); sessions that somebody has started with a `parent` are not announced in its
log, and so not followed. Nor are those of another tenant, which a host may name as where a child of its own works.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import weakref
from typing import Final

import msgspec

from ..contracts import EventStore
from ..core.errors import InvalidArgument, SessionNotFound
from ..core.events import Event, Labels, SubagentFinished, SubagentStarted
from ..core.ids import Seq, SessionId

PAGE: Final = 256
"""Events of one session read at a time."""
ABSENT_S: Final = 0.25
"""How often it is looked for a child that was announced and is not made yet: it waits for room, or was made elsewhere."""


class _Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    """`r`: the seq in the first session; `c`: in others, where it does not follow from their parents' logs."""

    r: Seq = 0
    c: dict[SessionId, Seq] = {}


_decoder = msgspec.json.Decoder(_Cursor)


class _Branch:
    """One session's log. `place`: the last event returned. `rest`: what that is where the cursor leaves it out. `working`:
    its task has not ended."""

    __slots__ = ("at", "checked", "idle", "ours", "page", "place", "rest", "session", "there", "working")

    def __init__(self, session: SessionId, place: Seq = 0, rest: Seq = 0) -> None:
        self.session = session
        self.place = place
        self.rest = rest
        self.working = True
        self.there = True
        self.idle = False
        self.checked = False
        self.ours = True
        self.page: list[Event] = []
        self.at = 0

    @property
    def next(self) -> Event | None:
        return self.page[self.at] if self.at < len(self.page) else None


class TreeReceiver:
    """The events of a session and of its descendants behind the cursor, then each new one: once each, for ever.

    `Event.session` says whose an event is. An async iterator that is safe to cancel, as `EventReceiver`. `aclose` it, unless
    it is forgotten. InvalidArgument from the first event on for a cursor that is none; SessionNotFound when the session is
    gone.
    """

    def __init__(
        self, store: EventStore, session: SessionId, cursor: str | None = None, *, labels: Labels | None = None
    ) -> None:
        self._store = store
        self._labels = labels
        self._root = _Branch(session)
        self._branches: dict[SessionId, _Branch] = {session: self._root}
        self._begin = cursor or ""
        self._begun = False
        self._waiting: dict[SessionId, asyncio.Future[Seq]] = {}
        self._stop = weakref.finalize(self, _cancel, self._waiting)
        self._stop.atexit = False

    @property
    def seq(self) -> Seq:
        """The last event of the first session that was returned."""
        return self._root.place

    @property
    def cursor(self) -> str:
        """The place behind the last event returned, opaque: give it to `follow_tree` to go on there."""
        if not self._begun:
            return self._begin
        apart = {b.session: b.place for b in self._branches.values() if b is not self._root and b.place != b.rest}
        return _encoded(_Cursor(self._root.place, apart))

    def __aiter__(self) -> TreeReceiver:
        return self

    async def __anext__(self) -> Event:
        while True:
            event = await self.next_stored()
            if event is not None:
                return event
            await self.wait()

    async def next_stored(self) -> Event | None:
        """The next event if it is there already."""
        if not self._begun:
            await self._go_to(self._begin)
        for branch in self._branches.values():
            if branch.next is None and not branch.idle:
                await self._fill(branch)
        best: tuple[int, _Branch, Event] | None = None
        for branch in self._branches.values():
            event = branch.next
            if event is not None and (best is None or event.at_ms < best[0]) and not await self._too_early(event):
                best = (event.at_ms, branch, event)
        if best is None:
            return None
        _, branch, event = best
        branch.at += 1
        branch.place = event.seq
        match event.data:
            case SubagentStarted(child=child):
                self._branches.setdefault(child, _Branch(child)).working = True
            case SubagentFinished(child=child, up_to=up_to) if child in self._branches:
                below = self._branches[child]
                below.working, below.rest = False, max(below.rest, up_to)
            case _:
                pass
        event.labels = self._labels
        return event

    async def wait(self) -> None:
        """Return when there may be a next event."""
        absent = False
        for branch in self._branches.values():
            if branch.there and branch.ours and branch.idle and branch.session not in self._waiting:
                waiting = asyncio.ensure_future(self._store.wait(branch.session, branch.place))
                self._waiting[branch.session] = waiting
            absent = absent or (not branch.there and branch.working)
        await asyncio.wait(self._waiting.values(), timeout=ABSENT_S if absent else None, return_when=asyncio.FIRST_COMPLETED)
        for branch in self._branches.values():
            waited = self._waiting.get(branch.session)
            if waited is not None and waited.done():
                del self._waiting[branch.session]
                if isinstance(waited.exception(), SessionNotFound) and branch is not self._root:
                    branch.there = False
                    continue
                waited.result()
                branch.idle = False
            elif not branch.there and branch.working:
                branch.idle = False

    async def aclose(self) -> None:
        """Read no more. Safe to repeat."""
        left = list(self._waiting.values())
        self._stop()
        await asyncio.gather(*left, return_exceptions=True)

    async def _too_early(self, event: Event) -> bool:
        """Whether a child has yet to be read as far as the end of its task tells."""
        data = event.data
        if not isinstance(data, SubagentFinished):
            return False
        child = self._branches.get(data.child)
        if child is None or child.place >= data.up_to:
            return False
        if child.next is None:
            # It was read before its end was there, unless its log is there no more.
            await self._fill(child)
        return child.next is not None

    async def _fill(self, branch: _Branch) -> None:
        try:
            if branch is not self._root and not branch.checked:
                branch.ours = await self._is_ours(branch.session)
                branch.checked = True
            page = await self._store.read(branch.session, branch.place, to_seq=branch.place + PAGE) if branch.ours else []
        except SessionNotFound:
            if branch is self._root:
                raise
            branch.there, branch.idle = False, True
            return
        branch.there, branch.idle = True, not page
        branch.page, branch.at = page, 0

    async def _is_ours(self, session: SessionId) -> bool:
        tenants = [(await self._store.session(one)).labels.tenant for one in (session, self._root.session)]
        return tenants[0] == tenants[1]

    async def _go_to(self, cursor: str) -> None:
        """Find the children that were announced up to there."""
        place = decoded(cursor)
        root = _Branch(self._root.session, place.r)
        found = {root.session: root}
        look = [root]
        while look:
            above = look.pop()
            if not above.place:
                continue
            types = ("subagent.started", "subagent.finished")
            try:
                events = await self._store.read(above.session, to_seq=above.place, types=types)
            except SessionNotFound:
                if above is root:
                    raise
                continue
            below: dict[SessionId, _Branch] = {}
            for event in events:
                match event.data:
                    case SubagentStarted(child=child) if child not in found:
                        below.setdefault(child, _Branch(child)).working = True
                    case SubagentFinished(child=child, up_to=up_to) if child in below:
                        below[child].working, below[child].rest = False, max(below[child].rest, up_to)
                    case _:
                        pass
            for branch in below.values():
                branch.place = place.c.get(branch.session, branch.rest)
            found |= below
            look += below.values()
        self._root, self._branches, self._begun = root, found, True


def cursor_behind(seq: Seq) -> str:
    """The place behind this event of the first session; children stand where that one's log says they do."""
    return _encoded(_Cursor(seq)) if seq else ""


def _encoded(cursor: _Cursor) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor, order="sorted")).decode().rstrip("=")


def decoded(cursor: str) -> _Cursor:
    """InvalidArgument when it is no cursor of ours."""
    if not cursor:
        return _Cursor()
    try:
        place = _decoder.decode(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        place = None
    if place is None or any(not 0 <= seq < 2**53 for seq in (place.r, *place.c.values())):
        raise InvalidArgument("this is no cursor of a tree of sessions: take one as it was given", cursor=cursor[:100])
    return place


def _cancel(waiting: dict[SessionId, asyncio.Future[Seq]]) -> None:
    for one in waiting.values():
        one.cancel()
    waiting.clear()


__all__ = ["TreeReceiver", "cursor_behind", "decoded"]
