"""The words the suites are written in: a small session as its parts append it, and what is asserted of it.

Leaves out what a contract promises: each has a module of its own beside this one. Nothing here needs pytest.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Awaitable, Iterable
from typing import Any, TypeVar

from ..contracts import Appended, EventStore, Lease
from ..core.agent import AgentRef
from ..core.errors import GodwitError
from ..core.events import (
    ActionOpened,
    AgentMessage,
    Delivery,
    Draft,
    Event,
    EventData,
    InputDelivered,
    Labels,
    ModelStarted,
    RunClaimed,
    RunParked,
    RunStarted,
    SessionCreated,
    ToolStarted,
    TurnStarted,
    UsageRecorded,
    UserMessage,
)
from ..core.ids import ActionId, AgentName, CallId, InputId, MessageId, RunId, SessionId
from ..core.messages import Assistant, Text, ToolCall, Usage
from ..core.state import State, fold

T = TypeVar("T")

S = SessionId("session")
RUN = RunId("run-1")
CALL = CallId("call-1")
ACTION = ActionId("action-1")
AGENT = AgentRef(AgentName("bird"), 1)
T0 = 1_700_000_000_000
_PATIENCE_S = 60.0
"""How long a test waits for what must happen; no test takes that long unless it fails."""


def drafts(*data: EventData, at_ms: int = T0, run: RunId | None = None) -> list[Draft]:
    return [Draft(one, at_ms=at_ms, run=run) for one in data]


def message(number: int = 1, text: str = "hello", delivery: Delivery = "prompt") -> UserMessage:
    return UserMessage(InputId(f"input-{number}"), (Text(text),), delivery)


async def new_session(
    store: EventStore, session: SessionId = S, *, at_ms: int = T0, workspace: str | None = None, labels: Labels | None = None
) -> Appended:
    """A log with nothing but its session.created."""
    return await store.create(session, drafts(SessionCreated(AGENT, workspace, labels=labels or Labels()), at_ms=at_ms))


async def prompt(store: EventStore, session: SessionId = S, run: RunId = RUN, number: int = 1) -> Appended:
    """A prompt and its run, as the inbox appends them."""
    return await store.append(session, drafts(message(number), RunStarted(run, InputId(f"input-{number}")), run=run))


async def drive(store: EventStore, session: SessionId = S, run: RunId = RUN) -> Lease:
    """Claim the session and its queued run."""
    lease = await store.claim(session, "driver", 60)
    assert lease is not None
    await store.append(session, drafts(RunClaimed(run, 1), run=run), epoch=lease.epoch)
    return lease


async def park(store: EventStore, session: SessionId = S) -> Lease:
    """Take a new session to where its run waits for an approval; the log has 9 events then."""
    await new_session(store, session)
    await prompt(store, session)
    lease = await drive(store, session)
    answer = Assistant(MessageId("message-1"), (ToolCall(CALL, "bash", {"command": "ls"}),), "test:model", "tool_use")
    steps = drafts(
        InputDelivered(InputId("input-1")),
        TurnStarted(1),
        ModelStarted(answer.id, answer.model),
        AgentMessage(answer),
        ActionOpened(ACTION, "approval", CALL, "bash"),
        RunParked(RUN, (ACTION,)),
        run=RUN,
    )
    await store.append(session, steps, epoch=lease.epoch)
    return lease


async def new_child(store: EventStore, session: str, parent: str, *, at_ms: int = T0) -> SessionId:
    child = SessionId(session)
    await store.create(child, drafts(SessionCreated(AGENT, parent=SessionId(parent)), at_ms=at_ms))
    return child


async def spend(
    store: EventStore, session: SessionId, tokens: int, usd: float | None = None, *, key: str | None = None
) -> None:
    """Use up so much, in a call beside a model step."""
    used = UsageRecorded("test", "test:model", Usage(tokens - 1, 1, requests=1, cost_usd=usd))
    await store.append(session, drafts(used, ToolStarted(CallId("own"), "look", {}, "key", origin="direct")), key=key)


async def refused(error: type[GodwitError], call: Awaitable[Any]) -> GodwitError:
    """Assert that `call` raises exactly this error, with a message that says more than its class does by name, and give it
    back."""
    raised: GodwitError | None = None
    result: Any = None
    try:
        result = await call
    except GodwitError as refusal:
        raised = refusal
    assert type(raised) is error, f"expected {error.__name__}, got {raised or result!r}"
    assert raised.message
    return raised


async def within(call: Awaitable[T], timeout_s: float = _PATIENCE_S) -> T:
    """The result, or TimeoutError: a test must fail rather than hang."""
    return await asyncio.wait_for(call, timeout_s)


async def eventually(call: Any, timeout_s: float = _PATIENCE_S) -> Any:
    """Call it until it gives something true, for what happens in another process or by a clock."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not (result := await call()):
        assert asyncio.get_running_loop().time() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)
    return result


def seqs(events: Iterable[Event]) -> list[int]:
    return [event.seq for event in events]


def folded(events: Iterable[Event]) -> State:
    """The fold of a whole log; raises when the log is not legal."""
    state = State()
    for event in events:
        state = fold(state, event)
    return state


def tree(root: str | os.PathLike[str]) -> dict[str, tuple[str, int, bytes]]:
    """All that lies in a folder, by path: its kind, its mode (0 for links), its content or where a link leads."""
    found: dict[str, tuple[str, int, bytes]] = {}
    base = os.fspath(root)
    for folder, names, files in os.walk(base):
        for name in (*names, *files):
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            inner = os.path.relpath(path, base)
            if stat.S_ISLNK(mode):
                found[inner] = ("link", 0, os.fsencode(os.readlink(path)))
            elif stat.S_ISDIR(mode):
                found[inner] = ("folder", stat.S_IMODE(mode), b"")
            elif stat.S_ISREG(mode):
                with open(path, "rb") as file:
                    found[inner] = ("file", stat.S_IMODE(mode), file.read())
            else:
                found[inner] = ("other", stat.S_IMODE(mode), b"")
    return found
