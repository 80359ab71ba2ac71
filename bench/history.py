"""Sessions with a long past, made quickly: the events a driver would have logged, appended straight to the store.

Four messages make one run (prompt, call, result, answer), two a run without a call. The snapshot stands at the head, as
after any finished run.
"""

from __future__ import annotations

from collections.abc import Iterator

from godwit.contracts import Snapshot
from godwit.core.agent import AgentRef
from godwit.core.events import (
    AgentMessage,
    Draft,
    Event,
    EventData,
    InputDelivered,
    ModelStarted,
    RunClaimed,
    RunFinished,
    RunStarted,
    SessionCreated,
    SessionOpened,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    TurnStarted,
    UserMessage,
)
from godwit.core.ids import CallId, InputId, MessageId, RunId, SessionId
from godwit.core.messages import Assistant, Message, Text, ToolCall, ToolResult, Usage, User
from godwit.core.state import SNAPSHOT_VERSION, State, encode_state, fold
from godwit.stores.sqlite import SqliteStore

from .provider import TOOL

_AT_MS = 1_700_000_000_000
_PORTION = 500
WORDS = "the quick brown fox jumps over the lazy dog and then it goes on to jump over yet another dog that did not see it "
"""About the length of a short paragraph; a number in front makes each message another one."""


def messages_of(count: int) -> list[Message]:
    """`count` messages, an even number, as the model sees them."""
    made: list[Message] = []
    for run in range(count):
        left = count - len(made)
        if left <= 0:
            return made
        made.append(User((Text(f"{run} {WORDS}"),)))
        if left >= 4:
            asked = ToolCall(CallId(f"call_{run}"), TOOL, {"a": run, "b": 1})
            made.append(Assistant(MessageId(f"msg_{run}_0"), (asked,), "bench:history", "tool_use", usage=_USAGE))
            made.append(ToolResult(asked.id, TOOL, (Text(f"{run + 1} {WORDS}"),)))
        made.append(Assistant(MessageId(f"msg_{run}_1"), (Text(f"{run} {WORDS}"),), "bench:history", usage=_USAGE))
    return made


_USAGE = Usage(100, 20, requests=1)


def _log(messages: list[Message], agent: AgentRef) -> Iterator[tuple[EventData, RunId | None]]:
    yield SessionCreated(agent), None
    yield SessionOpened(), None
    turn, number = 0, 0
    run: RunId | None = None
    for place, message in enumerate(messages):
        match message:
            case User():
                number += 1
                run, given = RunId(f"run_{number}"), InputId(f"in_{number}")
                yield UserMessage(given, message.content), run
                yield RunStarted(run, given), run
                yield RunClaimed(run, 1), run
                yield InputDelivered(given), run
            case Assistant():
                turn += 1
                yield TurnStarted(turn), run
                yield ModelStarted(message.id, message.model), run
                yield AgentMessage(message), run
                if not message.calls:
                    yield TurnFinished(turn), run
            case ToolResult():
                yield ToolStarted(message.call_id, message.name, {"a": 1, "b": 1}, f"key/{message.call_id}"), run
                yield ToolFinished(message.call_id, message.name, "ok", message.content, {}, 1), run
                yield TurnFinished(turn), run
        last = place + 1 == len(messages) or isinstance(messages[place + 1], User)
        if last and run is not None:
            yield RunFinished(run, "done", None, _USAGE, 1, 1), run


async def make_session(store: SqliteStore, session: str, messages: list[Message], agent: AgentRef) -> int:
    """Store a session that said these messages; returns the number of its events."""
    name = SessionId(session)
    drafts = [Draft(data, at_ms=_AT_MS, run=run) for data, run in _log(messages, agent)]
    state = State()
    for seq, draft in enumerate(drafts, 1):
        state = fold(state, Event(name, seq, draft.at_ms, draft.run, draft.type, draft.body, draft.data))
    await store.create(name, drafts[:1])
    lease = await store.claim(name, "bench", 60.0)
    assert lease is not None
    for start in range(1, len(drafts), _PORTION):
        await store.append(name, drafts[start : start + _PORTION], epoch=lease.epoch)
    await store.put_snapshot(name, Snapshot(state.seq, SNAPSHOT_VERSION, encode_state(state)))
    await store.release(lease)
    return len(drafts)
