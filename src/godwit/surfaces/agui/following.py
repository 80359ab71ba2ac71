"""Following: the stream that a front end reads of one run, from where it joins to where that ends for it.

A run of AG-UI ends when the session's run does, or when nothing goes on before somebody answers; the run that goes on then
is another one there, and the same here. Rules a change must keep: what leaves here is legal, whatever the log says
(`verifier.py`); what the front end has already does not come again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...contracts import SessionRow, Store
from ...core.errors import GodwitError, IllegalStream, SessionNotFound
from ...core.events import Delta, Event, InputDelivered, RunStarted, SubagentStarted, UserMessage
from ...core.ids import Seq, SessionId
from ...core.shared_state import same
from ...engine.log import load_state, state_at
from ..server.service import Service
from ..server.stream import frame
from . import events as e
from .conversation import Body, Conversations
from .cursors import Cursor, cursor_of
from .ends import Ends
from .feed import Feed
from .inputs import AnyMessage, UserMessage as UsersMessage
from .ordering import Shown
from .outcome import Ended
from .profiles import Profile, wire
from .projection import Projection, shown
from .snapshots import Snapshots, differs, merged
from .verifier import Verifier

logger = logging.getLogger("godwit.server")

PAGE = 64
AT_ONCE = 128
"""Events that are folded before others have their turn."""

_ONCE = (
    e.TextMessageContent,
    e.ReasoningMessageContent,
    e.ToolCallArgs,
    e.ToolCallResult,
    e.StateDelta,
    e.ActivityDelta,
    e.Custom,
)
"""What must not come twice; of all else clients take no notice when they have it already."""


@dataclass(frozen=True)
class Reader:
    """Who reads. `messages`, `state`: what it has, `raw` the messages as they came. `cursor`: how far it has read before.
    `replays`: it is told of further runs as well, one behind the other, up to where the log ends. `begins`: it has sent
    what begins a run, so there is one to be waited for, which has not ended before `sent`. `told`: what else is said to it
    when the run begins."""

    thread: str
    run: str
    profile: Profile = "1.0"
    parent: str | None = None
    messages: Sequence[AnyMessage] = ()
    state: Any = None
    raw: Sequence[Mapping[str, Any]] = ()
    cursor: Cursor | None = None
    replays: bool = False
    begins: bool = False
    sent: Seq = 0
    warnings: Sequence[str] = ()
    told: Mapping[str, Any] = field(default_factory=dict)


class Stream:
    """One stream. `row`: the session as it stood before whatever the reader has sent."""

    def __init__(self, service: Service, conversations: Conversations, row: SessionRow, reader: Reader) -> None:
        self._service = service
        self._store: Store = service.store
        self._snapshots = Snapshots(service.store, conversations)
        self._row = row
        self._reader = reader
        self._verifier = Verifier()
        known = {one.id for one in reader.messages}
        self._projection = Projection(row.id, known)
        self._ends = Ends(service, row.id)
        self._run = reader.run
        self._shown: Any = reader.state
        self._screen = Shown(reader.messages)
        self._moved = reader.cursor is not None and bool(reader.messages)
        """Messages may stand elsewhere on its screen than in the log."""
        self.over = False
        """The run has ended for the reader, who was told so."""

    async def frames(self) -> AsyncIterator[bytes]:
        """The events, each as a frame with a cursor."""
        try:
            async for chunk in self._told():
                yield chunk
        except IllegalStream as error:
            # A log that this projection does not understand: the reader is told, and everybody else goes on.
            logger.exception("session %s: what a front end is told of it broke off", self._row.id)
            yield self._failed(error)
        except GodwitError as error:
            logger.warning("session %s: what a front end is told of it broke off: %s", self._row.id, error.message)
            yield self._failed(error)

    async def _told(self) -> AsyncIterator[bytes]:
        reader, projection = self._reader, self._projection
        yield self._first(self._begun())
        start, heads = await self._place()
        projection.shared = await self._shared(start)
        if reader.cursor is None:
            yield self._first(await self._messages(heads))
        if not await self._is_open(start):
            await self._catch_up(start, heads)
            yield self._first([*self._state(), *projection.reopen()])
            yield self._first(self._end(await self._nothing()))
            return
        feed = Feed(self._store, self._row.id, start)
        try:
            await self._adopt(start)
            await self._wait_for(start)
            joined, held = False, list[Delta]()
            while True:
                deltas, event = await feed.next()
                if not joined:
                    if event is not None and event.seq <= heads.get(event.session, 0):
                        held += deltas
                        projection.apply(event)
                        if event.seq % AT_ONCE == 0:
                            await asyncio.sleep(0)  # what is at hand is read without waiting, and others want their turn
                        continue
                    joined = True
                    if reader.cursor is not None:
                        reader.cursor.put_into(projection)
                    projection.usage.clear()
                    projection.stale, projection.ended = False, None
                    if reader.cursor is not None or await self._has_set_the_state():
                        self._shown = projection.shared
                    yield self._first([*self._state(), *projection.reopen()])
                    self._watch(feed)
                if not self.over:  # what happens between two runs is told with the next one
                    for delta in [*held, *deltas]:
                        yield self._delta(delta)
                held = []
                if projection.stale and not self.over:
                    projection.stale = False
                    yield self._first(await self._snapshot())
                if event is not None:
                    if self.over and event.session == self._row.id and isinstance(event.data, RunStarted):
                        self._run, self.over = event.data.run, False
                        yield self._first([*self._begun(), *self._state(), *projection.reopen()])
                    yield await self._event(event)
                    if event.type in ("subagent.started", "subagent.finished"):
                        self._watch(feed)
                    if self.over and not reader.replays:
                        return
                if event is not None or deltas:
                    continue
                if self.over:
                    return  # nothing more is there
                if (rests := projection.resting()) is not None:
                    if isinstance(rests.outcome, e.Interrupted):
                        yield self._first(await self._snapshot())
                    elif self._moved:
                        yield self._first(await self._put_right([]))
                    yield self._first(self._end(await self._whole(rests)))
                    return
                await feed.wait()
        finally:
            await feed.close()

    # --- where it begins ----------------------------------------------------------------------------------------------

    async def _place(self) -> tuple[Seq, dict[SessionId, Seq]]:
        """Behind which event of the session reading begins, and up to where each log is known to the reader."""
        cursor = self._reader.cursor
        if cursor is None:
            heads = await self._snapshots.heads(self._row.id, self._row.head)
        else:
            heads = cursor.heads(self._row.id)
        seq = heads[self._row.id]
        started = await self._store.read(self._row.id, types=("run.started",), to_seq=seq, newest_first=True, limit=1)
        if not started:
            return seq, heads
        ended = await self._store.read(self._row.id, started[0].seq, types=("run.finished",), to_seq=seq, limit=1)
        return (seq if ended else started[0].seq - 1), heads

    async def _shared(self, seq: Seq) -> Any:
        """The shared state as it was at a seq."""
        store, session = self._store, self._row.id
        state = await load_state(store, session)
        if state.seq > seq and await store.read(session, seq, types=("state.updated", "session.rewound"), limit=1):
            state = await state_at(store, session, seq)
        return state.shared

    async def _has_set_the_state(self) -> bool:
        """The reader's own state has taken the place of the one before, which it is told of as of any change."""
        state = (await load_state(self._store, self._row.id)).shared
        return self._reader.begins and same(shown(state), shown(self._reader.state))

    async def _is_open(self, start: Seq) -> bool:
        """Whether there is a run to be told of behind that place."""
        if self._reader.begins or start < (self._reader.cursor.seq if self._reader.cursor else self._row.head):
            return True
        return bool(await self._store.read(self._row.id, start, types=("run.started",), limit=1))

    async def _adopt(self, start: Seq) -> None:
        """Subagents that were begun before and work still."""
        working = {task.id for task in (await load_state(self._store, self._row.id)).gate.tasks}
        if not working:
            return
        for event in await self._store.read(self._row.id, types=("subagent.started",), to_seq=start):
            if isinstance(event.data, SubagentStarted) and event.data.task in working:
                self._projection.adopt(event.data)

    async def _wait_for(self, start: Seq) -> None:
        """Know what was accepted before that place and is delivered behind it."""
        store, session = self._store, self._row.id
        wanted = {queued.id for queued in (await load_state(store, session)).gate.queue}
        for event in await store.read(session, start, types=("input.delivered",)):
            if isinstance(event.data, InputDelivered):
                wanted.add(event.data.id)
        for event in await store.read(session, start, types=("user.message",)):
            if isinstance(event.data, UserMessage):
                wanted.discard(event.data.id)
        before = start
        while wanted and before > 0:
            page = await store.read(session, types=("user.message",), to_seq=before, newest_first=True, limit=PAGE)
            for event in page:
                if isinstance(event.data, UserMessage) and event.data.id in wanted:
                    wanted.discard(event.data.id)
                    self._projection.root.waiting[event.data.id] = event.data
            if len(page) < PAGE:
                return
            before = page[-1].seq - 1

    async def _catch_up(self, start: Seq, heads: Mapping[SessionId, Seq]) -> None:
        """Know what waits in the background, where no run is open."""
        await self._adopt(start)
        done = {self._row.id}
        while waiting := [part for part in self._projection.parts.values() if part.session not in done]:
            part = waiting[0]
            done.add(part.session)
            with contextlib.suppress(SessionNotFound):  # not made yet, or deleted
                for event in await self._store.read(part.session, to_seq=heads.get(part.session, 0)):
                    self._projection.apply(event)

    def _watch(self, feed: Feed) -> None:
        for session in self._projection.parts:
            feed.watch(session)
        for session in feed.watched - set(self._projection.parts):
            feed.leave(session)

    # --- what is told -------------------------------------------------------------------------------------------------

    def _begun(self) -> list[e.AnyEvent]:
        reader = self._reader
        about: dict[str, Any] = {"session": self._row.id, **reader.told}
        if reader.warnings:
            about["warnings"] = list(reader.warnings)
        return [
            e.RunStarted(
                thread_id=reader.thread,
                run_id=self._run,
                protocol_version=e.PROTOCOL_VERSION,
                parent_run_id=reader.parent if self._run == reader.run else None,
                metadata={"godwit": about},
            )
        ]

    async def _messages(self, heads: Mapping[SessionId, Seq]) -> list[e.AnyEvent]:
        """Snapshots, where the reader has other messages than there are, or in another order."""
        reader = self._reader
        ours = await self._snapshots.messages(self._row.id, heads)
        if not differs(ours, reader.messages) and not self._screen.is_misplaced(ours):
            return []
        self._projection.known.update(body["id"] for body in ours)
        return self._screen.snapshots(merged(ours, reader.messages, reader.raw), ours)

    async def _snapshot(self, told: Sequence[e.AnyEvent] = ()) -> list[e.AnyEvent]:
        """All messages, as they stand where the projection does. `told`: what the reader is told before."""
        ours = await self._ours()
        self._moved = False
        return self._screen.after(told).snapshots(merged(ours, self._reader.messages, self._reader.raw), ours)

    async def _put_right(self, told: Sequence[e.AnyEvent]) -> list[e.AnyEvent]:
        """The same, where messages stand elsewhere on its screen."""
        self._moved = False
        return [] if self._screen.after(told).is_right(await self._ours()) else await self._snapshot(told)

    def _state(self) -> list[e.AnyEvent]:
        """A snapshot, where the reader has another state than there is."""
        state = shown(self._projection.shared)
        if same(state, shown(self._shown)):
            return []
        self._shown = state
        return [e.StateSnapshot(snapshot=state)]

    async def _ours(self) -> list[Body]:
        heads = {part.session: part.seq for part in self._projection.parts.values()}
        for child, seq in (await self._snapshots.heads(self._row.id, self._projection.root.seq)).items():
            heads.setdefault(child, seq)
        return await self._snapshots.messages(self._row.id, heads)

    async def _nothing(self) -> Ended:
        """How a run ends in which nothing was to be done: as the one did of which a request has come again."""
        asks = self._projection.interrupts()
        ended = await self._whole(Ended(e.Interrupted(interrupts=asks) if asks else e.Success()))
        if isinstance(ended.outcome, e.Interrupted) or self._reader.replays:
            return ended
        theirs = next((one.id for one in reversed(self._reader.messages) if isinstance(one, UsersMessage)), None)
        ours = await self._snapshots.messages(self._row.id, {self._row.id: self._row.head})
        last = next((body["id"] for body in reversed(ours) if body["role"] == "user"), None)
        return ended if theirs is None or theirs != last else await self._ends.of_the_last_run()

    async def _whole(self, ended: Ended) -> Ended:
        """With what is asked by those of whom nothing more is told."""
        return await self._ends.with_all(ended, self._projection.parts)

    def _end(self, ended: Ended) -> list[e.AnyEvent]:
        self.over = True
        usage = self._projection.used()
        self._projection.usage.clear()
        if ended.outcome is None:
            assert ended.error is not None
            return [e.RunError(message=ended.error.message, code=ended.error.code, usage=usage)]
        finished = e.RunFinished(
            thread_id=self._reader.thread, run_id=self._run, result=ended.result, outcome=ended.outcome, usage=usage
        )
        return [*self._projection.close(), finished]

    def _delta(self, delta: Delta) -> bytes:
        """What a delta comes to: beginnings and ends, which may come twice, and at last what is new."""
        before = cursor_of(self._projection)
        found = self._projection.delta(delta)
        return self._framed(found, [before.encoded()] * (len(found) - 1)) if found else b""

    async def _event(self, event: Event) -> bytes:
        """What an event comes to, with the end of the run where it is that."""
        projection = self._projection
        before = cursor_of(projection)
        found = projection.apply(event)
        if self.over:
            return b""
        self._shown = projection.shared
        if projection.stale:
            projection.stale = False
            found += await self._snapshot(found)
        if isinstance(event.data, InputDelivered) and not found and self._screen.grown:
            self._moved = True  # the reader has it already, before what it was told meanwhile
        if projection.ended is not None and event.seq < self._reader.sent:
            projection.ended = None  # it ended while the reader's message was on its way, which began another
        if projection.ended is not None:
            if self._moved:
                found += await self._put_right(found)
            found += self._end(await self._whole(projection.ended))
            projection.ended = None
        ids = [before.within(event.session, event.seq, n).encoded() for n in range(1, len(found))]
        cursor = self._reader.cursor
        if cursor is not None and (told := cursor.p) is not None and (told.session, told.seq) == (event.session, event.seq):
            kept = [n for n, one in enumerate(found) if n >= told.frames or not isinstance(one, _ONCE)]
            found, ids = [found[n] for n in kept], [*ids, ""]
            ids = [ids[n] for n in kept][:-1]
        return self._framed(found, ids)

    def _first(self, events: Sequence[e.AnyEvent]) -> bytes:
        """Frames that come before, or between, what has a place: who gets only some of them begins again where it was."""
        return b"".join(frame(data) for event in events for data in self._checked(event))

    def _framed(self, events: Sequence[e.AnyEvent], ids: Sequence[str]) -> bytes:
        """Frames with these places, the last one with where the projection stands."""
        if not events:
            return b""
        places = [*ids, cursor_of(self._projection).encoded()]
        return b"".join(
            frame(data, id=place) for event, place in zip(events, places, strict=True) for data in self._checked(event)
        )

    def _checked(self, event: e.AnyEvent) -> list[bytes]:
        """The event as its reader reads it. IllegalStream for one that must not leave here."""
        self._verifier.apply(event)
        self._screen.take(event)
        return wire(event, self._reader.profile)

    def _failed(self, error: GodwitError) -> bytes:
        """The end of a stream that cannot go on."""
        self.over = True
        if self._verifier.finished:
            return b""
        event = e.RunError(message=error.message, code=error.code)
        return b"".join(frame(data) for data in wire(event, self._reader.profile))


__all__ = ["Reader", "Stream"]
