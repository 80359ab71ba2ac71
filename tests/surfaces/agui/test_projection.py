"""The projection of any log: what leaves is legal, and what is on the screen at the end is the conversation, from wherever
one follows it and however much of what was on its way was seen."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, given, settings, strategies as st

import godwit
from godwit.core.agent import AgentSpec, ToolDefinition
from godwit.core.errors import Conflict, NotFound
from godwit.core.events import (
    AgentMessage,
    Delta,
    Draft,
    Event,
    HookBlocked,
    HookReported,
    McpResourceUpdated,
    McpUnavailable,
    MemoryFailed,
    ModelStarted,
    RunRetrying,
    RunStarted,
    RunYielded,
    SessionArchived,
    SessionImported,
    SessionPaused,
    TasksCancelled,
    WorkspaceCheckpointed,
    WorkspaceRestored,
)
from godwit.core.ids import AgentName, CallId, SessionId
from godwit.core.messages import Text, Thinking, ToolCall
from godwit.core.state import State, fold
from godwit.surfaces.agui import events as e
from godwit.surfaces.agui.conversation import Conversation, Conversations, arguments_text
from godwit.surfaces.agui.cursors import decoded
from godwit.surfaces.agui.following import Reader, Stream
from godwit.surfaces.agui.inputs import read
from godwit.surfaces.agui.projection import Projection
from godwit.surfaces.agui.verifier import Verifier
from godwit.surfaces.server import ServerSettings
from godwit.surfaces.server.service import Service
from tests.core.walk import CREATED, SESSION, Walk, candidates, choice, ending, picker

from .screen import Screen, said


def _drawn(seed: int) -> list[int]:
    """Numbers enough for a log in which much happens: what hypothesis draws by itself is mostly short."""
    drawn = random.Random(seed)
    return [drawn.randrange(1 << 16) for _ in range(280)]


NUMBERS = st.integers(0, 1 << 32).map(_drawn)


def walked(numbers: list[int]) -> list[Event]:
    """A log in which no run is open at the end."""
    walk, pick = Walk(), picker(numbers)
    walk.take(CREATED)
    for _ in range(len(numbers) // 2):
        if walk.step(pick) is None:
            break
    if walk.gate.run is not None:
        for data in ending(walk.state):
            walk.take(data)
    return walk.events


def coming(message: AgentMessage, after: int, pick: Any) -> Iterator[Delta]:
    """What was on its way before an answer was stored, in pieces, some of which are lost."""
    answer = message.message
    for place, block in enumerate(answer.content):
        match block:
            case Text(text=text):
                yield from _pieces("text", answer.id, place, text, after, pick)
            case Thinking(text=text):
                yield from _pieces("thinking", answer.id, place, text, after, pick)
            case ToolCall():
                pieces = list(_pieces("tool_arguments", answer.id, place, arguments_text(block), after, pick))
                if pieces and pieces[0].offset == 0:
                    call = block.id if pick(4) else CallId("another")
                    pieces[0] = msgspec.structs.replace(pieces[0], name=block.name, call=call)
                yield from pieces
            case _:
                pass
        if pick(12) == 0:
            yield Delta(SESSION, "discard", answer.id, after=after)


def _pieces(kind: Any, name: str, block: int, text: str, after: int, pick: Any) -> Iterator[Delta]:
    at = 0
    while at < len(text) and pick(8):
        size = 1 + pick(5)
        if pick(10):
            yield Delta(SESSION, kind, name, at, text[at : at + size], block, after=after)
        at += size


def with_deltas(events: list[Event], pick: Any) -> list[Event | Delta]:
    """A log as a reader sees it that looks on."""
    found: list[Event | Delta] = []
    asked = 0
    for event in events:
        if isinstance(event.data, ModelStarted):
            asked = event.seq
        if isinstance(event.data, AgentMessage) and pick(3):
            found += coming(event.data, asked, pick)
        found.append(event)
    return found


class Teller:
    """Does with a projection what a stream does, but for the reading."""

    def __init__(self) -> None:
        self.conversation = Conversation()
        self.projection = Projection(SESSION, set())
        self.verifier = Verifier()
        self.screen = Screen()
        self.run = 0
        self.told: list[e.AnyEvent] = []

    def out(self, events: list[e.AnyEvent]) -> None:
        for event in events:
            self.verifier.apply(event)
            self.screen.take(event)
            self.told.append(event)

    def begin(self) -> None:
        self.run += 1
        self.out([e.RunStarted(thread_id="t", run_id=f"r{self.run}", protocol_version="1.0")])

    def end(self, outcome: e.Outcome | None) -> None:
        if outcome is None:
            self.out([e.RunError(message="it failed")])
            return
        self.out(self.projection.close())
        self.out([e.RunFinished(thread_id="t", run_id=f"r{self.run}", outcome=outcome)])

    def join(self, before: list[Event]) -> None:
        """Follow from here on, with all that was said before on the screen."""
        for event in before:
            self.conversation.apply(event)
            self.projection.apply(event)
        self.projection.ended, self.projection.stale = None, False
        self.screen = Screen(self.conversation.bodies())
        self.projection.known.clear()
        self.projection.known.update(one["id"] for one in self.screen.messages)
        if self.projection.root.run is not None:
            self.begin()
            self.out(self.projection.reopen())

    def take(self, item: Event | Delta) -> None:
        projection = self.projection
        if isinstance(item, Delta):
            if self.verifier.running:
                self.out(projection.delta(item))
            return
        if isinstance(item.data, RunStarted):
            self.begin()
            self.out(projection.reopen())
        self.conversation.apply(item)
        found = projection.apply(item)
        if self.verifier.running:
            self.out(found)
        if projection.stale and self.verifier.running:
            projection.stale = False
            self.out([e.MessagesSnapshot(messages=self.conversation.bodies())])
        if projection.ended is not None:
            self.end(projection.ended.outcome)
            projection.ended = None


@settings(max_examples=12, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(NUMBERS, NUMBERS, st.floats(0, 1))
def test_what_leaves_is_legal_and_says_the_conversation(numbers: list[int], more: list[int], where: float) -> None:
    events, pick = walked(numbers), picker(more)
    place = int(where * len(events))
    teller = Teller()
    teller.join(events[:place])
    for item in with_deltas(events[place:], pick):
        teller.take(item)
    messages = [event.data.message for event in events if isinstance(event.data, AgentMessage)]
    ids = [message.id for message in messages] + [call.id for message in messages for call in message.calls]
    if len(set(ids)) < len(ids):
        return  # the walk gives an id twice now and then, which no session does: then being legal is all there is
    shown, meant = said(teller.screen.messages), said(teller.conversation.bodies())
    rewound = any(event.type == "session.rewound" for event in events[place:])
    for name, told in meant.items():
        assert shown[name] == told
    if not rewound:  # what was left behind stays on a screen that is not told, until the next run
        children = {one["id"] for one in teller.screen.messages if "subagentRunId" in one}
        assert set(shown) - children == set(meant)


NOISE = (
    HookReported,
    HookBlocked,
    McpResourceUpdated,
    McpUnavailable,
    MemoryFailed,
    RunRetrying,
    RunYielded,
    SessionArchived,
    SessionImported,
    SessionPaused,
    TasksCancelled,
    WorkspaceCheckpointed,
    WorkspaceRestored,
)
"""Of these nothing is told."""


# --- the stream itself ---------------------------------------------------------------------------------------------------


async def grown(runtime: godwit.Runtime, session: SessionId, numbers: list[int]) -> bool:
    """A log in a real store; whether no run is open at its end."""
    store = runtime.store
    for name, *tools in (("coder", "read"), ("other", "bash0"), ("other", "bash1")):
        definitions = tuple(ToolDefinition(tool, "", {"type": "object"}) for tool in tools)
        await store.put_agent(AgentSpec(AgentName(name), ("scripted:any",), external_tools=definitions))
    await store.create(session, [Draft(CREATED, at_ms=1_000)])
    lease = await store.claim(session, store.owner, 1000.0)
    assert lease is not None
    state, pick = State(), picker(numbers)

    async def catch_up(state: State) -> State:
        for event in await store.read(session, state.seq):
            state = fold(state, event)
        return state

    async def take(state: State, data: Any) -> State:
        try:
            await store.append(session, [Draft(data, at_ms=1_000 * (state.seq + 1))], epoch=lease.epoch)
        except (Conflict, NotFound):
            return state
        return await catch_up(state)

    state = await catch_up(state)
    for _ in range(len(numbers) // 2):
        wanted = [data for data in candidates(state) if type(data) not in NOISE and legal(state, session, data)]
        chosen = choice(state, wanted, pick)
        if chosen is None:
            break
        state = await take(state, chosen)
    if state.gate.run is not None:
        for data in list(ending(state)):
            if legal(state, session, data):
                state = await take(state, data)
    await store.release(lease)
    return state.gate.run is None


def legal(state: State, session: SessionId, data: Any) -> bool:
    draft = Draft(data, at_ms=0)
    try:
        fold(state, Event(session, state.seq + 1, 0, draft.run, draft.type, draft.body))
    except (Conflict, NotFound):
        return False
    return True


def frames_in(chunks: list[bytes]) -> list[tuple[str | None, e.AnyEvent]]:
    """Each frame with its cursor."""
    found: list[tuple[str | None, e.AnyEvent]] = []
    for frame in b"".join(chunks).split(b"\n\n"):
        fields = dict(line.split(b": ", 1) for line in frame.split(b"\n") if line)
        if b"data" in fields:
            cursor = fields.get(b"id")
            found.append((None if cursor is None else cursor.decode(), e.decode(fields[b"data"])))
    return found


@settings(max_examples=4, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(NUMBERS, st.floats(0, 1))
async def test_a_stream_that_is_cut_anywhere_goes_on_where_it_was(numbers: list[int], start: float) -> None:
    async with await godwit.Runtime.open(":memory:", models={"scripted:any": godwit.ScriptedModel([])}) as runtime:
        session = SessionId("ses_walk")
        if not await grown(runtime, session, numbers):
            return  # its stream would not end
        service, conversations = Service(runtime, ServerSettings()), Conversations(runtime.store)
        row = await runtime.store.session(session)
        runs = await runtime.store.read(session, types=("run.started",))
        begin = runs[int(start * (len(runs) - 1))].seq - 1 if runs else 1

        async def told(cursor: str) -> list[tuple[str | None, e.AnyEvent]]:
            reader = Reader("t", "r", cursor=decoded(cursor), replays=True)
            stream = Stream(service, conversations, row, reader)
            frames = frames_in([chunk async for chunk in stream.frames()])
            assert not any(isinstance(event, e.RunError) and event.code == "illegal_stream" for _, event in frames)
            return frames

        first = await told(_cursor(begin))
        verifier, whole = Verifier(), Screen()
        for _, event in first:
            verifier.apply(event)
            whole.take(event)
        verifier.end()
        before = Screen()
        for cursor, event in first:
            before.take(event)
            if cursor is None:
                continue
            screen, verifier = Screen(before.messages), Verifier()
            for _, later in await told(cursor):
                verifier.apply(later)
                screen.take(later)
            verifier.end()
            assert screen.messages == whole.messages, event


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
async def test_many_logs(seed: int) -> None:
    drawn = random.Random(seed)
    says: Any = test_what_leaves_is_legal_and_says_the_conversation
    goes_on: Any = test_a_stream_that_is_cut_anywhere_goes_on_where_it_was
    for number in range(40):
        numbers, where = _drawn(drawn.randrange(1 << 32)), drawn.random()
        says.hypothesis.inner_test(numbers, _drawn(drawn.randrange(1 << 32)), where)
        if number % 4 == 0:
            await goes_on.hypothesis.inner_test(numbers, where)


def _cursor(seq: int) -> str:
    import base64

    return base64.urlsafe_b64encode(msgspec.json.encode({"s": {"": seq}})).decode().rstrip("=")


def test_an_input_is_read_strictly() -> None:
    given = read(b'{"threadId":"t","runId":"r","messages":[{"id":"1","role":"user","content":"x","odd":1}],"odd":2}')
    assert given.thread_id == "t"
    assert [message.id for message in given.messages] == ["1"]
