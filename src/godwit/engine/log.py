"""Log: the only writer, and the way everything is read. Nothing else in godwit calls `store.append`.

The driver's `Log` keeps the folded state beside the stored log. `commit` makes events durable; `stage` holds one back so
that it travels with the next commit, and is only for events that would be decided again in the same way after a crash, or
that lose nothing by it. Between a `stage` and the next `commit` nothing may be waited for and no effect may begin. An append
that fails takes back all that was staged but `FACTS`.

Inputs of other writers come in between: the store orders everything, and the log folds what it finds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from ..contracts import Appended, EventStore, Lease, SessionRow, Snapshot
from ..core.errors import Conflict, HeadMoved, NotFound, StaleEpoch, StoreError
from ..core.events import (
    ActionClosed,
    AgentMessage,
    ArtifactStored,
    BudgetExceeded,
    Data,
    Draft,
    Event,
    EventData,
    GoalUpdated,
    SessionForked,
    SessionRewound,
    StateUpdated,
    TodosUpdated,
    ToolFinished,
    VerificationReported,
)
from ..core.goal import Goal
from ..core.ids import Clock, RunId, Seq, SessionId
from ..core.shared_state import folded
from ..core.state import SNAPSHOT_VERSION, State, decode_state, encode_state, fold
from ..core.todos import Todo
from ..core.transcript import TRANSCRIPT_TYPES, Transcript
from .hooks import Hooks

SNAPSHOT_EVERY = 100
"""A snapshot is stored when the log has grown by this many events since the last one."""
PAGE = 512
"""Events read at a time."""
FOLDS = 256
"""States kept by `load_state`."""

FACTS = (
    AgentMessage,
    TodosUpdated,
    GoalUpdated,
    ToolFinished,
    ArtifactStored,
    ActionClosed,
    VerificationReported,
    BudgetExceeded,
)
"""What has happened and cannot be decided again: it stays staged when an append fails, all else is decided anew."""

D = TypeVar("D", bound=Data)


async def append_outside(
    store: EventStore,
    session: SessionId,
    data: Sequence[EventData],
    clock: Clock,
    *,
    run: RunId | None = None,
    key: str | None = None,
    expect: Seq | None = None,
    epoch: int | None = None,
) -> Appended:
    """Append inputs and control events, which need no lease. Durable when it returns.

    `epoch`: that of the driver for which it is done beside its log; StaleEpoch when it has lost the session.
    """
    now = clock.now_ms()
    drafts = [Draft(d, at_ms=now, run=run) for d in data]
    return await store.append(session, drafts, key=key, expect=expect, epoch=epoch)


async def record_reports(store: EventStore, session: SessionId, hooks: Hooks, clock: Clock) -> None:
    """Store what hooks that were asked outside a drive have to report; a session that is gone or final keeps none."""
    reports = hooks.take_reports()
    if reports:
        with contextlib.suppress(Conflict, NotFound, StoreError):
            await append_outside(store, session, reports, clock)


async def create_log(
    store: EventStore, session: SessionId, data: Sequence[EventData], clock: Clock, *, key: str | None = None
) -> Appended:
    now = clock.now_ms()
    return await store.create(session, [Draft(d, at_ms=now) for d in data], key=key)


class _Folds:
    """States that were asked for last, of one store, so that asking again folds only what is new.

    A log may be deleted and another begun under its id: those here begin at the same moment only if both happened within a
    millisecond, in another process; what this one deletes is forgotten (`forget_state`).
    """

    def __init__(self) -> None:
        self._states: OrderedDict[SessionId, State] = OrderedDict()

    def of(self, row: SessionRow) -> State | None:
        state = self._states.get(row.id)
        return state if state is not None and state.created_ms == row.created_ms and state.seq <= row.head else None

    def keep(self, session: SessionId, state: State) -> None:
        self._states.pop(session, None)
        self._states[session] = state
        while len(self._states) > FOLDS:
            self._states.popitem(last=False)

    def forget(self, session: SessionId) -> None:
        self._states.pop(session, None)


_folds: WeakKeyDictionary[EventStore, _Folds] = WeakKeyDictionary()


async def load_state(store: EventStore, session: SessionId) -> State:
    """The fold of the whole log: what is known of it, else the newest snapshot, and the rest. SessionNotFound."""
    folds = _folds.get(store)
    if folds is None:
        folds = _folds[store] = _Folds()
    row = await store.session(session)
    state = folds.of(row)
    if state is None:
        state = State()
        snapshot = await store.get_snapshot(session)
        if snapshot is not None and snapshot.version == SNAPSHOT_VERSION:
            state = decode_state(snapshot.state)
    while state.seq < row.head:
        events = await store.read(session, state.seq, limit=PAGE)
        for event in events:
            state = fold(state, event)
        if len(events) < PAGE:
            break
    folds.keep(session, state)
    return state


async def state_at(store: EventStore, session: SessionId, seq: Seq) -> State:
    """The fold of the log up to `seq`. SessionNotFound."""
    state = await load_state(store, session)
    if state.seq == seq:
        return state
    state = State()
    snapshot = await store.get_snapshot(session)
    if snapshot is not None and snapshot.version == SNAPSHOT_VERSION and snapshot.seq <= seq:
        state = decode_state(snapshot.state)
    while state.seq < seq:
        for event in await store.read(session, state.seq, limit=PAGE, to_seq=seq):
            state = fold(state, event)
    return state


async def rewound_to(store: EventStore, session: SessionId, to: Seq) -> SessionRewound:
    """A rewind to there, which carries the todos, the goal and the shared state as they were. Since it does, what was
    written last is how each was."""
    todos, goal = await _todos_and_goal_at(store, session, to)
    return SessionRewound(to, todos=todos, goal=goal, shared=await _shared_at(store, session, to))


async def _shared_at(store: EventStore, session: SessionId, seq: Seq) -> Any:
    """The shared state as it was at `seq`: what was set last, with the patches since."""
    patches: list[StateUpdated] = []
    value: Any = None
    while seq > 0:
        types = ("state.updated", "session.rewound")
        events = await store.read(session, to_seq=seq, types=types, newest_first=True, limit=PAGE)
        for event in events:
            data = event.data
            if isinstance(data, StateUpdated) and data.patch:
                patches.append(data)
            elif isinstance(data, StateUpdated | SessionRewound):
                value = folded(None, (), data.value) if isinstance(data, StateUpdated) else data.shared
                break
        else:
            if len(events) == PAGE:
                seq = events[-1].seq - 1
                continue
        break
    for one in reversed(patches):
        value = folded(value, one.patch, None)
    return value


async def _todos_and_goal_at(store: EventStore, session: SessionId, seq: Seq) -> tuple[tuple[Todo, ...], Goal | None]:
    todos: tuple[Todo, ...] = ()
    goal: Goal | None = None
    for event in await store.read(
        session, to_seq=seq, types=("todos.updated", "session.rewound"), newest_first=True, limit=1
    ):
        if isinstance(event.data, TodosUpdated | SessionRewound):
            todos = event.data.todos
    for event in await store.read(
        session, to_seq=seq, types=("goal.updated", "session.rewound"), newest_first=True, limit=1
    ):
        if isinstance(event.data, GoalUpdated | SessionRewound):
            goal = event.data.goal
    return todos, goal


async def fork_log(
    store: EventStore,
    session: SessionId,
    origin: State,
    at: Seq,
    data: Sequence[EventData],
    clock: Clock,
    *,
    key: str | None,
) -> Appended:
    """A log that begins as that of `data[0].origin` does up to `at`, where that one's state is `origin`; who opens it need
    not fold all that again."""
    forked = data[0]
    assert isinstance(forked, SessionForked)
    now = clock.now_ms()
    drafts = [Draft(d, at_ms=now) for d in data]
    appended = await store.fork(session, forked.origin, at, drafts, key=key)
    if not appended.duplicate:
        state = origin
        for draft in drafts:
            state = fold(state, _as_event(session, state.seq + 1, draft))
        await store.put_snapshot(session, Snapshot(state.seq, SNAPSHOT_VERSION, encode_state(state)))
    return appended


def forget_state(store: EventStore, session: SessionId) -> None:
    """The session was deleted."""
    folds = _folds.get(store)
    if folds is not None:
        folds.forget(session)


async def load_transcript(store: EventStore, session: SessionId, to_seq: Seq | None = None) -> Transcript:
    """The messages up to `to_seq`, or up to the head."""
    transcript = Transcript()
    for number, event in enumerate(await store.read(session, 0, types=TRANSCRIPT_TYPES, to_seq=to_seq), 1):
        transcript.apply(event)
        if number % PAGE == 0:
            await asyncio.sleep(0)  # a long history is decoded in portions, so that other sessions are not held up
    return transcript


class Log:
    """The log of one session in the hands of its driver. `state` includes staged events, `transcript` only stored ones."""

    def __init__(self, store: EventStore, session: SessionId, clock: Clock, state: State) -> None:
        self.session = session
        self.state = state
        self.lease: Lease | None = None
        self._store = store
        self._clock = clock
        self._base = state
        self._staged: list[Draft] = []
        self._dropped = False
        self._lock = asyncio.Lock()
        self._snapshot_seq = state.seq
        self._transcript: Transcript | None = None

    @classmethod
    async def open(cls, store: EventStore, session: SessionId, clock: Clock) -> Log:
        """The state alone; the transcript is read when a driver asks for it."""
        return cls(store, session, clock, await load_state(store, session))

    @property
    def transcript(self) -> Transcript:
        """The messages, after `load_transcript`."""
        assert self._transcript is not None, "the transcript was not loaded"
        return self._transcript

    async def load_transcript(self) -> None:
        """Read the messages, unless they are here."""
        if self._transcript is None:
            async with self._lock:
                self._transcript = await load_transcript(self._store, self.session, self._base.seq)

    @property
    def seq(self) -> Seq:
        """The newest stored event this log has folded."""
        return self._base.seq

    def staged(self, kind: type[D]) -> D | None:
        """The newest staged event of this class, if any."""
        return next((d.data for d in reversed(self._staged) if isinstance(d.data, kind)), None)

    def accept_losses(self) -> None:
        """What was staged and became impossible is known to be gone: a decision is made on the state as it is."""
        self._dropped = False

    def drop_staged(self) -> None:
        """Forget what was staged: the state is what is stored."""
        self._staged, self.state, self._dropped = [], self._base, False

    def stage(self, *data: EventData, at_ms: int | None = None) -> None:
        """Fold these now and store them with the next commit. Raises IllegalEvent and stages nothing. `at_ms`: when they
        happened; by default now."""
        state, drafts = self.state, []
        for item in data:
            draft = self._draft(item, state, at_ms)
            state = fold(state, _as_event(self.session, state.seq + 1, draft))
            drafts.append(draft)
        self.state = state
        self._staged += drafts

    async def commit(self, *data: EventData, seen: Seq | None = None) -> None:
        """Store what was staged and these. Durable when it returns.

        `seen`: the head the decision was made at; HeadMoved, and nothing changed, when anything has arrived since, folded
        or not.
        Cancelling the caller does not tear the log: the append is finished and folded all the same.
        """
        if data or self._staged or self._dropped:
            await asyncio.shield(self._commit(data, seen))

    async def _commit(self, data: Sequence[EventData], seen: Seq | None) -> None:
        async with self._lock:
            if self._dropped:
                self._dropped = False
                self._restage([d for d in self._staged if isinstance(d.data, FACTS)])
                raise HeadMoved("what was staged has become impossible and is decided anew", head=self._base.seq)
            if seen is not None and seen != self._base.seq:
                self._restage([d for d in self._staged if isinstance(d.data, FACTS)])
                raise HeadMoved(head=self._base.seq, seen=seen)
            self.stage(*data)
            drafts = self._staged
            if not drafts:
                return
            epoch = self.lease.epoch if self.lease is not None else None
            try:
                appended = await self._store.append(self.session, drafts, epoch=epoch, expect=seen)
            except BaseException as error:
                self._restage([d for d in drafts[: len(drafts) - len(data)] if isinstance(d.data, FACTS)])
                if isinstance(error, Conflict | NotFound) and not isinstance(error, StaleEpoch):
                    await self._catch_up()
                raise
            self._staged = []
            if appended.first == self._base.seq + 1 and appended.last == self._base.seq + len(drafts):
                if self._transcript is not None:
                    for number, draft in enumerate(drafts):
                        self._transcript.apply(_as_event(self.session, appended.first + number, draft))
                self._base = self.state
            else:
                await self._catch_up()
        if self._base.seq - self._snapshot_seq >= SNAPSHOT_EVERY:
            await self.snapshot()

    async def sync(self, up_to: Seq | None = None) -> bool:
        """Fold what other writers have appended, if the log is not folded up to there. True when there was something."""
        async with self._lock:
            if up_to is not None and self._base.seq >= up_to:
                return False
            return await self._catch_up()

    async def snapshot(self) -> None:
        """Store the fold, so that opening the session needs only what follows."""
        base = self._base
        self._snapshot_seq = base.seq
        # It can always be made again, so a store that cannot take it costs nothing but time.
        with contextlib.suppress(StoreError):
            await self._store.put_snapshot(self.session, Snapshot(base.seq, SNAPSHOT_VERSION, encode_state(base)))

    async def _catch_up(self) -> bool:
        head = self._base.seq
        while True:
            events = await self._store.read(self.session, self._base.seq, limit=PAGE)
            for event in events:
                # One by one, so that a read that fails later leaves both folds at the same place.
                self._base = fold(self._base, event)
                if self._transcript is not None:
                    self._transcript.apply(event)
            if len(events) < PAGE:
                break
        if self._base.seq == head:
            return False
        staged = self._staged
        if not self._restage(staged):
            # What arrived has made some of it impossible (a claim by a pause, a delivery by a withdrawal): but for facts,
            # what was staged is decided anew, and the next commit says so, since its caller counts on what is gone.
            self._dropped = True
            self._restage([d for d in staged if isinstance(d.data, FACTS)])
        return True

    def _restage(self, drafts: list[Draft]) -> bool:
        """Fold these over what is stored, in place of what was staged. False when one of them is impossible: it and what
        follows it are left out."""
        self.state, self._staged = self._base, []
        for draft in drafts:
            try:
                self.state = fold(self.state, _as_event(self.session, self.state.seq + 1, draft))
            except (Conflict, NotFound):
                return False
            self._staged.append(draft)
        return True

    def _draft(self, data: EventData, state: State, at_ms: int | None = None) -> Draft:
        at_ms = self._clock.now_ms() if at_ms is None else at_ms
        return Draft(data, at_ms=at_ms, run=state.run.id if state.run is not None else None)


def _as_event(session: SessionId, seq: Seq, draft: Draft) -> Event:
    return Event(session, seq, draft.at_ms, draft.run, draft.type, draft.body, draft.data)
