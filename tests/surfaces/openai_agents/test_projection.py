"""The projection of any log: what it gives is valid, the same from wherever it begins, and each piece of it comes once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from hypothesis import given, settings, strategies as st
from openai.types.beta import AgentSession, AgentSessionEvent
from openai.types.beta.agent_session_item import AgentSessionItem
from openai.types.beta.agents.sessions import Turn
from pydantic import TypeAdapter

from godwit.core.agent import AgentSpec, ToolDefinition
from godwit.core.errors import Conflict, NotFound
from godwit.core.events import AgentMessage, Delta, Draft, Event, ModelStarted, RunStarted
from godwit.core.ids import AgentName, SessionId
from godwit.core.messages import Text, Thinking
from godwit.core.state import State, fold
from godwit.stores.sqlite import SqliteStore
from godwit.surfaces.openai_agents.frames import Frame
from godwit.surfaces.openai_agents.history import History
from godwit.surfaces.openai_agents.ids import Cursor, cursor_of
from godwit.surfaces.openai_agents.live import Cut, Live
from godwit.surfaces.openai_agents.projection import Projection
from godwit.surfaces.openai_agents.views import turn_body
from godwit.surfaces.server import ServerSettings
from tests.core.walk import CREATED, candidates, choice, picker

EVENT: TypeAdapter[Any] = TypeAdapter(AgentSessionEvent)
ITEM: TypeAdapter[Any] = TypeAdapter(AgentSessionItem)
SESSION = SessionId("ses_walk")
NUMBERS = st.lists(st.integers(0, 1 << 16), min_size=8, max_size=160)


class Log:
    """A log in a real store, grown by legal events that numbers choose."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.state = State()
        self.events: list[Event] = []

    @classmethod
    async def grown(cls, store: SqliteStore, numbers: list[int]) -> Log:
        await store.put_agent(_agent("coder", "read", "x"))
        for number in range(2):
            await store.put_agent(_agent("other", f"bash{number}"))
        await store.create(SESSION, [Draft(CREATED, at_ms=1_000)])
        lease = await store.claim(SESSION, store.owner, 1000.0)
        assert lease is not None
        log = cls(store)
        await log._catch_up()
        pick = picker(numbers)
        for _ in range(len(numbers) // 2):
            legal = [data for data in candidates(log.state) if log._may(data)]
            chosen = choice(log.state, legal, pick)
            if chosen is None:
                break
            draft = Draft(chosen, at_ms=1_000 * (log.state.seq + 1))
            try:
                await store.append(SESSION, [draft], epoch=lease.epoch)
            except (Conflict, NotFound):
                continue  # what follows from it at once is not legal here
            await log._catch_up()
        return log

    async def _catch_up(self) -> None:
        for event in await self.store.read(SESSION, self.state.seq):
            self.state = fold(self.state, event)
            self.events.append(event)

    def _may(self, data: Any) -> bool:
        draft = Draft(data, at_ms=0)
        event = Event(SESSION, self.state.seq + 1, 0, draft.run, draft.type, draft.body)
        try:
            fold(self.state, event)
        except (Conflict, NotFound):
            return False
        return True

    def boundaries(self) -> Iterator[int]:
        """The places between two runs."""
        state = State()
        for event in self.events:
            state = fold(state, event)
            if state.run is None:
                yield event.seq


def _agent(name: str, *external: str) -> AgentSpec:
    tools = tuple(ToolDefinition(one, one, {"type": "object"}) for one in external)
    return AgentSpec(AgentName(name), ("p:m",), external_tools=tools)


async def _frames(history: History, projection: Projection, events: Iterable[Event]) -> list[tuple[int, Frame]]:
    found: list[tuple[int, Frame]] = []
    for event in events:
        await history.know(event)
        found += [(event.seq, frame) for frame in projection.apply(event)]
    return found


@settings(deadline=None, max_examples=40)
@given(NUMBERS)
def test_all_that_is_shown_is_valid_and_named_once(numbers: list[int]) -> None:
    async def check() -> None:
        async with SqliteStore.open(":memory:") as store:
            log = await Log.grown(store, numbers)
            history = History(store, SESSION, ServerSettings())
            projection = Projection(SESSION, history.agents)
            frames = await _frames(history, projection, log.events)
            for _, frame in frames:
                EVENT.validate_json(msgspec.json.encode(frame.data), strict=True)
            names = [frame.data["event_id"] for _, frame in frames]
            assert len(set(names)) == len(names)
            AgentSession.model_validate_json(msgspec.json.encode(projection.session_body()), strict=True)
            running = log.state.run is not None
            assert projection.status == (
                "failed"
                if log.state.gate.archived
                else "idle"
                if not running
                else "requires_action"
                if log.state.gate.phase == "waiting"
                else "in_progress"
            )
            assert set(projection.actions) == {a.id for a in log.state.gate.actions if not a.answered and _shown(log, a.id)}

    asyncio.run(check())


def _shown(log: Log, action: str) -> bool:
    """What the run itself asks and is not to be approved has no word in the protocol."""
    return any(
        getattr(e.data, "action", None) == action and (e.data.call is not None or e.data.kind == "approval")  # type: ignore[union-attr]
        for e in log.events
        if e.type == "action.opened"
    )


@settings(deadline=None, max_examples=40)
@given(NUMBERS)
def test_from_between_two_runs_it_is_the_same(numbers: list[int]) -> None:
    async def check() -> None:
        async with SqliteStore.open(":memory:") as store:
            log = await Log.grown(store, numbers)
            whole = await _whole(store, log)
            for at in [0, *log.boundaries()]:
                history = History(store, SESSION, ServerSettings())
                projection = await history.begin(at)
                rest = await _frames(history, projection, log.events[at:])
                assert [f.data for _, f in rest] == [f.data for seq, f in whole if seq > at], at
                assert await history.boundary(at) <= at

    asyncio.run(check())


async def _whole(store: SqliteStore, log: Log) -> list[tuple[int, Frame]]:
    history = History(store, SESSION, ServerSettings())
    return await _frames(history, Projection(SESSION, history.agents), log.events)


@settings(deadline=None, max_examples=40)
@given(NUMBERS)
def test_lists_say_what_streams_have_said(numbers: list[int]) -> None:
    async def check() -> None:
        async with SqliteStore.open(":memory:") as store:
            log = await Log.grown(store, numbers)
            history = History(store, SESSION, ServerSettings())
            projection = Projection(SESSION, history.agents)
            said: dict[str, tuple[Any, Any]] = {}
            for event in log.events:
                await history.know(event)
                projection.apply(event)
                if projection.turn is not None:
                    turn = turn_body(projection.turn, SESSION)
                    said[projection.turn.id] = (turn, sorted(projection.items.items()))
            told = {}
            for start in await History(store, SESSION, ServerSettings()).starts(ascending=True):
                assert isinstance(start.data, RunStarted)
                found = await History(store, SESSION, ServerSettings()).turn(start)
                told[start.data.run] = (turn_body(found.turn, SESSION), list(found.items))
                Turn.model_validate_json(msgspec.json.encode(told[start.data.run][0]), strict=True)
                for _, item in found.items:
                    ITEM.validate_json(msgspec.json.encode(item), strict=True)
            assert told == said

    asyncio.run(check())


@settings(deadline=None, max_examples=60)
@given(NUMBERS, st.integers(1, 6), st.integers(0, 1 << 16))
def test_a_stream_that_is_cut_anywhere_goes_on_at_that_place(numbers: list[int], size: int, cut: int) -> None:
    async def check() -> None:
        async with SqliteStore.open(":memory:") as store:
            log = await Log.grown(store, numbers)
            whole = await _whole(store, log)
            first = [one async for one in _live(store, log, Cursor(0), size)]
            at = cut % (len(first) + 1)
            cursor = cursor_of(str(first[at - 1].cursor)) if at else Cursor(0)
            rest = [one async for one in _live(store, log, cursor, size)]
            both = [one.frame.data for one in (*first[:at], *rest)]
            names = [data["event_id"] for data in both]
            assert len(set(names)) == len(names)
            wanted = [frame.data for _, frame in whole]
            assert _but_deltas(both) == _but_deltas(wanted)
            assert _texts(both) == _texts(wanted)

    asyncio.run(check())


async def _live(store: SqliteStore, log: Log, cursor: Cursor, size: int) -> Any:
    """What a reader is shown that begins here, and sees answers as they come, in pieces of this size."""
    history = History(store, SESSION, ServerSettings())
    projection = await history.begin(await history.boundary(cursor.seq))
    live = Live(projection, cursor)
    asked: ModelStarted | None = None
    for event in log.events[projection.seq :]:
        if isinstance(event.data, AgentMessage) and asked is not None and event.seq > cursor.seq:
            for delta in _deltas(event.data, event.seq - 1, size):
                for one in live.delta(delta):
                    yield one
        asked = event.data if isinstance(event.data, ModelStarted) else asked
        await history.know(event)
        for one in (*live.before(event), *live.event(event)):
            yield Cut(msgspec.structs.replace(one.frame, data=dict(one.frame.data)), one.cursor)


def _deltas(data: AgentMessage, after: int, size: int) -> Iterator[Delta]:
    """The answer's text as it comes; the end of each block is told with the stored event."""
    for number, block in enumerate(data.message.content):
        if isinstance(block, Text | Thinking):
            kind: Any = "text" if isinstance(block, Text) else "thinking"
            for start in range(0, max(0, len(block.text) - 1), size):
                text = block.text[start : start + size]
                yield Delta(SESSION, kind, data.message.id, start, text, number, after=after)


def _but_deltas(frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = [data for data in frames if not data["type"].endswith(".delta")]
    return sorted(found, key=lambda data: str(data["event_id"]))


def _texts(frames: list[dict[str, Any]]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for data in frames:
        if data["type"].endswith(".delta"):
            texts[data["item_id"]] = texts.get(data["item_id"], "") + data["delta"]
    return texts
