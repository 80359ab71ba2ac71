"""Conformance suites: what a part must do to be a part of godwit. Our own parts run them, and so can yours.

    from godwit.testing import StoreConformance

    class TestMyStore(StoreConformance):
        async def make_store(self) -> MyStore:
            return MyStore(...)          # a new, empty one for each test; the suite closes it

The tests are coroutines: run them with pytest-asyncio in auto mode, or put its mark on your class. Each is a promise of the
contract; the number in its name is the promise's. Nothing here needs pytest to be imported.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from .contracts import Appended, BlobStore, Checkpoints, EventStore, Lease, Snapshot
from .core.agent import AgentRef, AgentSpec
from .core.artifact import ArtifactLimits
from .core.budget import Spent
from .core.checkpoint import CheckpointPolicy, CheckpointRef, LeftAlone
from .core.errors import (
    ActionNotFound,
    AgentNotFound,
    AlreadyAnswered,
    ArtifactNotFound,
    CheckpointFailed,
    CheckpointNotFound,
    ConfigurationError,
    GodwitError,
    HeadMoved,
    IllegalEvent,
    InboxFull,
    InputNotFound,
    InvalidArgument,
    KeyReused,
    NoOpenRun,
    SessionArchived as SessionArchivedError,
    SessionBusy,
    SessionExists,
    SessionNotFound,
    SessionOwned,
    SessionPaused as SessionPausedError,
    StaleEpoch,
    StoreClosed,
)
from .core.events import (
    ActionClosed,
    ActionOpened,
    AgentMessage,
    Delivery,
    Delta,
    Draft,
    Event,
    EventData,
    InputDelivered,
    InputWithdrawn,
    Labels,
    ModelStarted,
    RunClaimed,
    RunFinished,
    RunParked,
    RunStarted,
    SessionArchived,
    SessionConfigured,
    SessionCreated,
    SessionPaused,
    SessionResumed,
    SessionRewound,
    ToolFinished,
    ToolStarted,
    TurnStarted,
    Unknown,
    UsageRecorded,
    UserAnswer,
    UserInterrupt,
    UserMessage,
)
from .core.gate import INBOX_LIMIT
from .core.ids import ActionId, AgentName, ArtifactRef, CallId, InputId, MessageId, RunId, SessionId
from .core.messages import Assistant, Image, Text, ToolCall, Usage
from .core.state import State, fold
from .testing_sandbox import SandboxConformance

T = TypeVar("T")

S = SessionId("session")
RUN = RunId("run-1")
CALL = CallId("call-1")
ACTION = ActionId("action-1")
AGENT = AgentRef(AgentName("bird"), 1)
T0 = 1_700_000_000_000
_PATIENCE_S = 20.0
"""How long a test waits for what must happen; no test takes that long unless it fails."""


class Store(EventStore, BlobStore, Protocol):
    """What the suite tests: both contracts in one object."""


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


class StoreConformance:
    """The promises of `EventStore` and `BlobStore`. Subclass it, and give `make_store`."""

    async def make_store(self) -> Store:
        """A new, empty store."""
        raise AssertionError("a subclass of StoreConformance says how its store is made")

    async def make_second(self, store: Store) -> Store | None:
        """Another store on the same data, as another process would open it; None when there can be none."""
        return None

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[Store]:
        store = await self.make_store()
        try:
            yield store
        finally:
            await store.close()

    # --- logs ---

    async def test_01_a_log_begins_at_1(self) -> None:
        async with self.opened() as store:
            assert await new_session(store) == Appended(1, 1)
            assert await prompt(store) == Appended(2, 3)
            events = await store.read(S)
            assert seqs(events) == [1, 2, 3]
            assert [e.type for e in events] == ["session.created", "user.message", "run.started"]
            assert [e.run for e in events] == [None, RUN, RUN]
            assert {(e.session, e.at_ms) for e in events} == {(S, T0)}
            assert folded(events).status == "queued"

    async def test_02_create_makes_a_log_once(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            await refused(SessionExists, new_session(store))
            other = SessionId("other")
            await refused(IllegalEvent, store.create(other, drafts(SessionPaused())))
            await refused(IllegalEvent, store.create(other, drafts(SessionCreated(AGENT), SessionCreated(AGENT))))
            await refused(InvalidArgument, store.create(other, []))
            await refused(SessionNotFound, store.session(other))
            await refused(IllegalEvent, store.append(S, drafts(SessionCreated(AGENT))))
            await refused(InvalidArgument, store.append(S, []))
            assert await store.create(other, drafts(SessionCreated(AGENT), message(), RunStarted(RUN))) == Appended(1, 3)

    async def test_03_an_unknown_session_is_not_found(self) -> None:
        async with self.opened() as store:
            await refused(SessionNotFound, store.append(S, drafts(SessionPaused())))
            await refused(SessionNotFound, store.append(S, drafts(SessionPaused()), epoch=1))
            await refused(SessionNotFound, store.read(S))
            await refused(SessionNotFound, store.wait(S, 0))
            await refused(SessionNotFound, store.session(S))
            await refused(SessionNotFound, store.delete(S))
            await refused(SessionNotFound, store.claim(S, "me", 1))
            await refused(SessionNotFound, store.put_snapshot(S, Snapshot(1, 1, b"")))
            await refused(SessionNotFound, store.get_snapshot(S))
            await refused(SessionNotFound, store.put_artifact(S, b"", "text/plain"))
            assert not await store.renew(Lease(S, 1, "me", 1))
            await store.release(Lease(S, 1, "me", 1))

    async def test_04_seqs_have_no_gap_under_concurrent_writers(self) -> None:
        names = [SessionId(f"session-{n}") for n in range(4)]
        async with self.opened() as store:
            for name in names:
                await new_session(store, name)
            acknowledged: dict[SessionId, list[int]] = {name: [] for name in names}

            async def write(writer: int) -> None:
                for turn in range(6):
                    name = names[(writer + turn) % len(names)]
                    # Each pair is legal by itself; the refused ones in between must not leave holes.
                    done = await store.append(name, drafts(SessionConfigured(name=f"{writer}"), SessionConfigured(name="x")))
                    acknowledged[name] += [done.first, done.last]
                    with contextlib.suppress(GodwitError):
                        await store.append(name, drafts(SessionConfigured(name="no"), SessionResumed()))

            await asyncio.gather(*(write(n) for n in range(32)))
            for name in names:
                events = await store.read(name)
                assert seqs(events) == list(range(1, len(events) + 1))
                assert sorted(acknowledged[name]) == list(range(2, len(events) + 1))
                assert folded(events).seq == (await store.session(name)).head == len(events)

    async def test_05_an_append_is_all_or_nothing(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            before = await store.session(S)
            await refused(
                InputNotFound,
                store.append(S, drafts(message(), RunStarted(RUN), InputWithdrawn(InputId("nobody")), at_ms=T0 + 9)),
            )
            assert await store.session(S) == before
            assert seqs(await store.read(S)) == [1]

    async def test_06_what_the_gate_refuses_leaves_no_trace(self) -> None:
        async with self.opened() as store:
            lease = await park(store)
            steer = message(2, delivery="steer")
            outside: list[tuple[type[GodwitError], list[EventData]]] = [
                (SessionBusy, [message(2)]),
                (SessionBusy, [RunStarted(RunId("run-2"))]),
                (SessionBusy, [SessionArchived()]),
                (SessionBusy, [SessionRewound(1)]),
                (NoOpenRun, [UserInterrupt(RunId("run-2"))]),
                (ActionNotFound, [UserAnswer(ActionId("action-2"), "approve")]),
                (AlreadyAnswered, [UserAnswer(ACTION, "approve"), UserAnswer(ACTION, "approve")]),
                (IllegalEvent, [UserAnswer(ACTION, "result")]),
                (IllegalEvent, [steer, steer]),
                (IllegalEvent, [SessionResumed()]),
                (SessionPausedError, [SessionPaused(), SessionPaused()]),
                (InputNotFound, [InputWithdrawn(InputId("input-1"))]),
                (InboxFull, [message(n, delivery="follow_up") for n in range(INBOX_LIMIT + 1)]),
            ]
            driver: list[tuple[type[GodwitError], list[EventData]]] = [
                (IllegalEvent, [RunClaimed(RUN, 1)]),
                (IllegalEvent, [RunFinished(RUN, "done")]),
                (IllegalEvent, [InputDelivered(InputId("input-1"))]),
                (IllegalEvent, [ActionOpened(ActionId("action-2"), "question", CALL, "ask")]),
            ]
            before, row = await store.read(S), await store.session(S)
            for error, data in outside:
                await refused(error, store.append(S, drafts(*data)))
            for error, data in driver:
                await refused(error, store.append(S, drafts(*data), epoch=lease.epoch))
            assert await store.read(S) == before
            assert await store.session(S) == row

            second = SessionId("second")
            await new_session(store, second)
            await refused(NoOpenRun, store.append(second, drafts(steer)))
            await refused(IllegalEvent, store.append(second, drafts(SessionRewound(9))))
            await refused(IllegalEvent, store.append(second, drafts(SessionRewound(0))))
            await store.append(second, drafts(SessionArchived()))
            await refused(SessionArchivedError, store.append(second, drafts(SessionConfigured(name="x"))))
            assert seqs(await store.read(second)) == [1, 2]

    async def test_07_consequences_stand_right_behind_their_cause(self) -> None:
        causes: list[EventData] = [UserAnswer(ACTION, "deny"), UserInterrupt(RUN), message(2, delivery="steer")]
        async with self.opened() as store:
            for number, cause in enumerate(causes):
                name = SessionId(f"session-{number}")
                await park(store, name)
                done = await store.append(
                    name, drafts(SessionConfigured(name="x"), cause, SessionConfigured(name="y"), at_ms=T0 + 7)
                )
                tail = await store.read(name, done.first - 1)
                assert done.last - done.first == 3
                assert [e.type for e in tail][2] == "run.unparked"
                assert (tail[2].run, tail[2].at_ms) == (RUN, T0 + 7)
                assert folded(await store.read(name)).status == (await store.session(name)).status == "queued"
            name = SessionId("patient")
            await park(store, name)
            await store.append(
                name, drafts(message(2, delivery="follow_up"), UserMessage(InputId("i"), (), "steer", "batch"))
            )
            assert (await store.session(name)).status == "waiting"

    async def test_08_without_an_epoch_only_events_from_outside(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            await prompt(store)
            inside: list[EventData] = [
                RunClaimed(RUN, 1),
                RunFinished(RUN, "done"),
                InputDelivered(InputId("input-1")),
                ActionClosed(ACTION),
                Unknown("bird.flew", b'{"type":"bird.flew"}'),
            ]
            for data in inside:
                await refused(IllegalEvent, store.append(S, drafts(SessionConfigured(name="x"), data)))
            assert (await store.session(S)).head == 3

    async def test_09_only_the_newest_epoch_drives(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            await prompt(store)
            old = await drive(store)
            new = await store.claim(S, "another", 60, force=True)
            assert new is not None
            assert new.epoch > old.epoch
            done = drafts(InputDelivered(InputId("input-1")), run=RUN)
            for epoch in (old.epoch, new.epoch + 1, 0):
                await refused(StaleEpoch, store.append(S, done, epoch=epoch))
            assert (await store.session(S)).head == 4
            assert await store.append(S, done, epoch=new.epoch) == Appended(5, 5)

    async def test_33_a_claim_between_appends_fences_at_once(self) -> None:
        """Also when the store writes all three in one go, as a group commit may."""
        async with self.opened() as store:
            await new_session(store)
            old = await store.claim(S, "old", 60)
            await prompt(store)
            assert old is not None
            _, lease, _ = await asyncio.gather(
                store.append(S, drafts(message(2, "before", "follow_up"))),
                store.claim(S, "new", 60, force=True),
                store.append(S, drafts(message(3, "behind", "follow_up"))),
            )
            assert lease is not None
            await refused(StaleEpoch, store.append(S, drafts(RunClaimed(RUN, 1), run=RUN), epoch=old.epoch))
            await store.append(S, drafts(RunClaimed(RUN, 1), run=RUN), epoch=lease.epoch)

    async def test_10_expect_is_the_head(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            paused = drafts(SessionPaused())
            for wrong in (0, 2):
                await refused(HeadMoved, store.append(S, paused, expect=wrong))
            assert await store.append(S, paused, expect=1) == Appended(2, 2)
            await refused(HeadMoved, store.append(S, drafts(SessionResumed()), expect=1))
            outcomes = await asyncio.gather(
                *(store.append(S, drafts(SessionConfigured(name=str(n))), expect=2) for n in range(8)),
                return_exceptions=True,
            )
            assert sum(isinstance(o, Appended) for o in outcomes) == 1
            assert sum(isinstance(o, HeadMoved) for o in outcomes) == 7

    async def test_11_a_key_stores_once(self) -> None:
        async with self.opened() as store:
            created = drafts(SessionCreated(AGENT))
            assert await store.create(S, created, key="new") == Appended(1, 1)
            assert await store.create(S, drafts(SessionCreated(AGENT), at_ms=T0 + 5), key="new") == Appended(1, 1, True)
            await refused(KeyReused, store.create(S, drafts(SessionCreated(AGENT, name="x")), key="new"))
            await refused(SessionExists, store.create(S, created, key="newer"))
            await refused(SessionExists, store.create(S, created))

            sent = drafts(message(), RunStarted(RUN))
            again = drafts(message(), RunStarted(RUN), at_ms=T0 + 5)
            # All at once, as a client that lost its connection and tries again might; later the gate would refuse it.
            answers = await asyncio.gather(*(store.append(S, sent, key="k") for _ in range(8)))
            assert sorted(a.duplicate for a in answers) == [False] + [True] * 7
            assert {(a.first, a.last) for a in answers} == {(2, 3)}
            assert await store.append(S, again, key="k", expect=77) == Appended(2, 3, True)
            await refused(SessionBusy, store.append(S, again, key="k2"))
            await refused(KeyReused, store.append(S, drafts(message(text="other"), RunStarted(RUN)), key="k"))
            await refused(KeyReused, store.append(S, drafts(message()), key="k"))
            assert (await store.session(S)).head == 3

            other = SessionId("other")
            await new_session(store, other)
            assert await store.append(other, sent, key="k") == Appended(2, 3)
            # What was refused used no key up.
            await refused(SessionBusy, store.append(other, drafts(message(2)), key="m"))
            assert await store.append(other, drafts(message(2, delivery="follow_up")), key="m") == Appended(4, 4)

    async def test_12_a_key_covers_its_consequences(self) -> None:
        async with self.opened() as store:
            await park(store)
            answer = drafts(UserAnswer(ACTION, "approve"))
            first = await store.append(S, answer, key="k")
            assert first.last == first.first + 1
            assert await store.append(S, answer, key="k") == Appended(first.first, first.last, True)
            await refused(AlreadyAnswered, store.append(S, answer))

    async def test_13_reading_by_window_and_type(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            pairs: list[EventData] = [SessionPaused(), SessionResumed()] * 15
            for _ in range(20):
                await store.append(S, drafts(*pairs))
            head = 601
            assert seqs(await store.read(S)) == list(range(1, head + 1))
            assert seqs(await store.read(S, 590)) == list(range(591, head + 1))
            assert seqs(await store.read(S, head)) == []
            assert seqs(await store.read(S, head + 5)) == []
            assert seqs(await store.read(S, 3, to_seq=6)) == [4, 5, 6]
            assert seqs(await store.read(S, 6, to_seq=3)) == []
            assert seqs(await store.read(S, 598, to_seq=9999)) == [599, 600, 601]
            assert seqs(await store.read(S, 3, limit=2)) == [4, 5]
            assert seqs(await store.read(S, limit=0)) == []
            assert seqs(await store.read(S, 1, limit=400)) == list(range(2, 402))
            assert seqs(await store.read(S, newest_first=True)) == list(range(head, 0, -1))
            assert seqs(await store.read(S, 10, newest_first=True, limit=3)) == [601, 600, 599]
            assert seqs(await store.read(S, 10, to_seq=13, newest_first=True)) == [13, 12, 11]
            assert seqs(await store.read(S, types=["session.paused"])) == list(range(2, head + 1, 2))
            assert seqs(await store.read(S, 4, types=["session.paused", "session.created"], limit=2)) == [6, 8]
            assert seqs(await store.read(S, types=["session.resumed"], newest_first=True, limit=2, to_seq=20)) == [19, 17]
            assert await store.read(S, types=["bird.flew"]) == []
            assert await store.read(S, types=[]) == []
            await refused(InvalidArgument, store.read(S, limit=-1))

    async def test_14_unknown_types_are_kept_to_the_byte(self) -> None:
        bodies = [
            b'{"type":"bird.flew","far":1.50,"\\u00e9":"\\ud83d\\ude00", "spaces" : [ ] }',
            '{"type":"bird.sang","text":"\u00e9\U0001f600\\u0000"}'.encode(),
        ]
        async with self.opened() as store:
            await new_session(store)
            await prompt(store)
            lease = await drive(store)
            unknown = [Unknown("bird.flew", bodies[0]), Unknown("bird.sang", bodies[1])]
            done = await store.append(S, drafts(*unknown, run=RUN), epoch=lease.epoch)
            events = await store.read(S, done.first - 1)
            assert [e.body for e in events] == bodies
            assert [e.type for e in events] == ["bird.flew", "bird.sang"]
            assert events[0].data == unknown[0]
            await refused(KeyReused, self._reuse(store, lease, bodies))
            strange = UserMessage(InputId("i"), (Text("nul \0, emoji \U0001f9ed, line\r\n"),), "follow_up", sender="\u202e")
            done = await store.append(S, drafts(strange))
            assert (await store.read(S, done.first - 1))[0].data == strange

    async def _reuse(self, store: Store, lease: Lease, bodies: Sequence[bytes]) -> None:
        await store.append(S, drafts(Unknown("bird.flew", bodies[0])), epoch=lease.epoch, key="k")
        await store.append(S, drafts(Unknown("bird.flew", bodies[0].replace(b"1.50", b"1.5"))), epoch=lease.epoch, key="k")

    # --- waiting ---

    async def test_15_wait_returns_the_head(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            assert await within(store.wait(S, 0)) == 1
            assert await within(store.wait(S, 1, 0.01)) == 1
            assert await within(store.wait(S, 1, 0)) == 1
            assert await within(store.wait(S, 7, 0.01)) == 1
            waiting = asyncio.create_task(store.wait(S, 1))
            late = asyncio.create_task(store.wait(S, 2))
            given_up = asyncio.create_task(store.wait(S, 1))
            await asyncio.sleep(0)
            given_up.cancel()
            await store.append(S, drafts(SessionPaused()))
            assert await within(waiting) == 2
            await store.append(S, drafts(SessionResumed(), SessionPaused()))
            assert await within(late) == 4
            await asyncio.gather(given_up, return_exceptions=True)
            assert given_up.cancelled()

    async def test_16_followers_see_every_event_once_in_order(self) -> None:
        last = 200
        async with self.opened() as store:
            await new_session(store)

            async def follow(begin: int, by: int) -> list[Event]:
                seen: list[Event] = []
                cursor = begin
                while cursor < last:
                    events = await store.read(S, cursor, limit=by)
                    if not events:
                        await store.wait(S, cursor)
                    seen += events
                    cursor = seen[-1].seq if seen else cursor
                return seen

            followers = [asyncio.create_task(follow(n % 5, 1 + n * 7)) for n in range(20)]
            for number in range(2, last + 1):
                await store.append(S, drafts(SessionConfigured(name=str(number))))
            whole = await store.read(S)
            for number, seen in enumerate(await within(asyncio.gather(*followers))):
                assert seen == whole[number % 5 :]
            assert [e.data for e in whole[1:]] == [SessionConfigured(name=str(n)) for n in range(2, last + 1)]

    # --- the index ---

    async def test_17_the_index_shows_the_state(self) -> None:
        async with self.opened() as store:
            labels = Labels(tenant="t", principal="p", agent_template="a", correlation="c")
            await new_session(store, workspace="/home/bird", labels=labels)
            row = await store.session(S)
            assert (row.id, row.status, row.head, row.agent, row.workspace, row.labels) == (
                S,
                "queued",
                1,
                AGENT,
                "/home/bird",
                labels,
            )
            assert (row.name, row.owner, row.epoch, row.queued, row.actions, row.first_prompt) == (None, None, 0, 0, 0, "")
            await store.append(
                S,
                drafts(
                    UserMessage(InputId("input-0"), (Image("image/png", url="https://example.org/bird.png"),)),
                    RunStarted(RUN, InputId("input-0")),
                    message(1, "first " * 100, "follow_up"),
                    message(2, "second", "follow_up"),
                    SessionConfigured(name="flight", agent=AgentRef(AgentName("crane"), 3)),
                    at_ms=T0 + 90_000,
                ),
            )
            row = await store.session(S)
            assert (row.created_ms, row.updated_ms, row.queued) == (T0, T0 + 90_000, 3)
            assert row.first_prompt == ("first " * 100)[:200]
            assert (row.name, row.agent) == ("flight", AgentRef(AgentName("crane"), 3))
            await store.append(S, drafts(SessionConfigured(model="x:y"), SessionPaused()))
            row = await store.session(S)
            assert (row.name, row.status) == ("flight", "paused")
            parked = SessionId("parked")
            await park(store, parked)
            row = await store.session(parked)
            assert (row.status, row.actions, row.queued, row.owner, row.epoch) == ("waiting", 1, 0, "driver", 1)
            await store.append(parked, drafts(UserAnswer(ACTION, "approve")))
            assert (await store.session(parked)).actions == 0
            assert {r.id for r in await store.sessions()} == {S, parked}

    async def test_18_listing_in_pages(self) -> None:
        async with self.opened() as store:
            for number in range(60):
                # Several share one time, so that the id decides between them.
                await new_session(store, SessionId(f"s{number:02}"), at_ms=T0 + number // 4 * 40_000)
            await store.append(SessionId("s07"), drafts(SessionPaused(), at_ms=T0 + 10_000_000))
            whole = await store.sessions(limit=100)
            order = [(row.updated_ms, row.id) for row in whole]
            assert order == sorted(order, reverse=True)
            assert len(order) == 60
            assert whole[0].id == "s07"
            assert len(await store.sessions()) == 50
            assert await store.sessions(limit=0) == []
            paged = []
            before = None
            while page := await store.sessions(limit=7, before=before):
                paged += page
                before = (page[-1].updated_ms, page[-1].id)
            assert paged == whole

    async def test_19_listing_with_filters(self) -> None:
        async with self.opened() as store:
            for number in range(12):
                await new_session(
                    store,
                    SessionId(f"{'ab'[number % 2]}%_{number}"),
                    at_ms=T0 + number,
                    workspace=f"/w{number % 3}",
                    labels=Labels(tenant=f"t{number % 4}"),
                )
            await store.append(SessionId("a%_0"), drafts(SessionPaused(), at_ms=T0 + 50))
            await store.append(SessionId("a%_2"), drafts(SessionArchived(), at_ms=T0 + 51))

            async def listed(**filters: Any) -> set[str]:
                return {str(row.id) for row in await store.sessions(**filters)}

            assert await listed(statuses=["paused"]) == {"a%_0"}
            assert await listed(statuses=["paused", "archived"]) == {"a%_0", "a%_2"}
            assert await listed(statuses=["paused", "archived"], include_archived=False) == {"a%_0"}
            assert await listed(statuses=[]) == set()
            assert len(await listed(include_archived=False)) == 11
            assert await listed(workspace="/w1") == {"b%_1", "a%_4", "b%_7", "a%_10"}
            assert await listed(tenant="t3") == {"b%_3", "b%_7", "b%_11"}
            assert await listed(tenant="t3", workspace="/w1") == {"b%_7"}
            assert await listed(prefix="a%_1") == {"a%_10"}
            assert await listed(prefix="b") == {f"b%_{n}" for n in range(1, 12, 2)}
            assert await listed(prefix="a_") == set()
            assert len(await listed(prefix="")) == 12
            rows = await store.sessions(prefix="b", limit=2)
            assert [r.id for r in rows] == ["b%_11", "b%_9"]
            rest = await store.sessions(prefix="b", before=(rows[-1].updated_ms, rows[-1].id))
            assert [r.id for r in rest] == ["b%_7", "b%_5", "b%_3", "b%_1"]
            assert await listed(prefix="a", statuses=["paused"]) == {"a%_0"}

    async def test_20_a_deleted_session_is_gone(self) -> None:
        async with self.opened() as store:
            lease = await park(store)
            await refused(SessionOwned, store.delete(S))
            await store.release(lease)
            await store.put_snapshot(S, Snapshot(1, 1, b"state"))
            await store.append(S, drafts(SessionConfigured(name="x")), key="k")
            waiting = asyncio.create_task(store.wait(S, 99))
            await asyncio.sleep(0)
            await store.delete(S)
            await refused(SessionNotFound, within(waiting))
            await refused(SessionNotFound, store.read(S))
            await refused(SessionNotFound, store.append(S, drafts(SessionPaused())))
            assert await store.sessions() == []
            # One of the same name begins from nothing.
            await new_session(store, at_ms=T0 + 1)
            assert [e.at_ms for e in await store.read(S)] == [T0 + 1]
            assert await store.get_snapshot(S) is None
            assert await store.append(S, drafts(SessionConfigured(name="y")), key="k") == Appended(2, 2)
            assert await within(store.wait(S, 1)) == 2

    # --- leases ---

    async def test_21_one_owner_at_a_time(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            one = await store.claim(S, "one", 60)
            assert one == Lease(S, 1, "one", 60)
            assert (await store.session(S)).owner == "one"
            assert await store.claim(S, "two", 60) is None
            assert await store.renew(one)
            again = await store.claim(S, "one", 60)
            assert again is not None
            assert again.epoch == 2
            assert not await store.renew(one)
            await store.release(one)
            assert (await store.session(S)).owner == "one"
            await store.release(again)
            await store.release(again)
            row = await store.session(S)
            assert (row.owner, row.epoch) == (None, 2)
            assert not await store.renew(again)
            two = await store.claim(S, "two", 60)
            assert two is not None
            assert two.epoch == 3
            forced = await store.claim(S, "three", 60, force=True)
            assert forced is not None
            assert forced.epoch == 4
            assert not await store.renew(two)
            racing = await asyncio.gather(*(store.claim(S, f"racer-{n}", 60, force=True) for n in range(8)))
            assert len({lease.epoch for lease in racing if lease is not None}) == 8

    async def test_22_a_lease_runs_out(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            short = await store.claim(S, "one", 0.05)
            assert short is not None
            lease = await eventually(lambda: store.claim(S, "two", 60))
            assert lease.epoch == short.epoch + 1
            assert not await store.renew(short)
            assert await store.renew(lease)
            assert (await store.session(S)).owner == "two"

    async def test_23_claims_of_free_sessions_race_for_one_winner(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            leases = await asyncio.gather(*(store.claim(S, f"racer-{n}", 60) for n in range(16)))
            assert sum(lease is not None for lease in leases) == 1

    # --- snapshots, agents, artifacts ---

    async def test_24_the_newest_snapshot_is_kept(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            assert await store.get_snapshot(S) is None
            await store.put_snapshot(S, Snapshot(5, 1, b"five\0"))
            assert await store.get_snapshot(S) == Snapshot(5, 1, b"five\0")
            await store.put_snapshot(S, Snapshot(9, 1, b"nine"))
            await store.put_snapshot(S, Snapshot(7, 1, b"late"))
            assert await store.get_snapshot(S) == Snapshot(9, 1, b"nine")
            await store.put_snapshot(S, Snapshot(8, 2, b"other version"))
            assert await store.get_snapshot(S) == Snapshot(8, 2, b"other version")

    async def test_25_agents_have_immutable_versions(self) -> None:
        spec = AgentSpec(AgentName("bird"), ("test:model",), "Fly.", metadata={"b": "1", "a": "2"})
        same = AgentSpec(AgentName("bird"), ("test:model",), "Fly.", metadata={"a": "2", "b": "1"})
        other = AgentSpec(AgentName("bird"), ("test:model",), "Rest.")
        async with self.opened() as store:
            assert await store.agents() == []
            assert await store.put_agent(spec) == AgentRef(AgentName("bird"), 1)
            assert await store.put_agent(same) == AgentRef(AgentName("bird"), 1)
            assert await store.put_agent(other) == AgentRef(AgentName("bird"), 2)
            assert await store.put_agent(spec) == AgentRef(AgentName("bird"), 3)
            await store.put_agent(AgentSpec(AgentName("ant"), ("test:model",)))
            assert await store.get_agent("bird") == (AgentRef(AgentName("bird"), 3), spec)
            assert await store.get_agent("bird", 2) == (AgentRef(AgentName("bird"), 2), other)
            assert await store.agents() == [AgentRef(AgentName("ant"), 1), AgentRef(AgentName("bird"), 3)]
            assert [r.version for r in await store.agent_versions("bird")] == [1, 2, 3]
            await refused(AgentNotFound, store.get_agent("bird", 4))
            await refused(AgentNotFound, store.get_agent("cat"))
            await refused(AgentNotFound, store.agent_versions("cat"))

    async def test_26_artifacts_by_their_content(self) -> None:
        import hashlib

        content = bytes(range(256)) * 40
        other = SessionId("other")
        async with self.opened() as store:
            await new_session(store)
            await new_session(store, other)
            stored = await store.put_artifact(S, content, "application/x-bird")
            assert stored.ref == "sha256:" + hashlib.sha256(content).hexdigest()
            assert (stored.size, stored.media_type) == (len(content), "application/x-bird")
            assert await store.put_artifact(S, content, "application/x-bird") == stored
            assert await store.put_artifact(other, content, "application/x-bird") == stored
            own = await store.put_artifact(S, b"", "text/plain")
            assert await store.get_artifact(stored.ref) == (stored, content)
            assert await store.get_artifact(own.ref) == (own, b"")
            await store.delete(S)
            await refused(ArtifactNotFound, store.get_artifact(own.ref))
            assert await store.get_artifact(stored.ref) == (stored, content)
            await store.delete(other)
            await refused(ArtifactNotFound, store.get_artifact(stored.ref))
            await refused(ArtifactNotFound, store.get_artifact(ArtifactRef("sha256:00")))

    async def test_38_artifacts_within_limits(self) -> None:
        one, two, three = b"1" * 10, b"2" * 20, b"3" * 30
        async with self.opened() as store:
            await new_session(store)
            refs = [(await store.put_artifact(S, content, "text/plain")).ref for content in (one, two, three)]
            held = await store.artifacts(S)
            assert [(a.ref, a.size, a.media_type, a.pinned) for a in held] == [
                (ref, size, "text/plain", False) for ref, size in zip(refs, (10, 20, 30), strict=True)
            ]
            assert all(a.stored_ms > 0 for a in held)
            # Put again it is young again, and still there once.
            await store.put_artifact(S, one, "text/plain")
            assert [a.ref for a in await store.artifacts(S)] == [refs[1], refs[2], refs[0]]

            four = await store.put_artifact(S, b"4" * 40, "text/plain", limits=ArtifactLimits(max_artifacts=3))
            assert [a.ref for a in await store.artifacts(S)] == [refs[2], refs[0], four.ref]
            gone = await refused(ArtifactNotFound, store.get_artifact(refs[1]))
            assert gone.details["released_ms"] > 0
            assert "let go of" in gone.message
            gone = await refused(ArtifactNotFound, store.pin_artifact(S, refs[1]))
            assert gone.details["released_ms"] > 0

            five = await store.put_artifact(S, b"5" * 5, "text/plain", limits=ArtifactLimits(max_bytes=60))
            assert [a.ref for a in await store.artifacts(S)] == [refs[0], four.ref, five.ref]
            # What comes back is held again.
            await store.put_artifact(S, two, "text/plain")
            assert (await store.get_artifact(refs[1]))[1] == two
            # Nothing is kept that alone is beyond a limit, and a limit of 0 keeps nothing.
            large = await store.put_artifact(S, b"6" * 99, "text/plain", limits=ArtifactLimits(max_bytes=60))
            await refused(ArtifactNotFound, store.get_artifact(large.ref))
            await store.put_artifact(S, three, "text/plain", limits=ArtifactLimits(max_artifacts=0))
            assert await store.artifacts(S) == []
            await refused(SessionNotFound, store.artifacts(SessionId("none")))

    async def test_39_pinned_artifacts_stay(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            refs = [(await store.put_artifact(S, bytes([n]) * 10, "text/plain")).ref for n in range(4)]
            assert await store.pin_artifact(S, refs[0])
            assert not await store.pin_artifact(S, refs[0])
            assert await store.pin_artifact(S, refs[2])
            new = await store.put_artifact(S, b"new", "text/plain", limits=ArtifactLimits(max_artifacts=3))
            assert [(a.ref, a.pinned) for a in await store.artifacts(S)] == [
                (refs[0], True),
                (refs[2], True),
                (new.ref, False),
            ]
            # Pinned ones count, also when they are too many.
            other = await store.put_artifact(S, b"other", "text/plain", limits=ArtifactLimits(max_artifacts=1, max_bytes=1))
            assert [a.ref for a in await store.artifacts(S)] == [refs[0], refs[2]]
            await refused(ArtifactNotFound, store.get_artifact(other.ref))
            assert await store.pin_artifact(S, refs[0], pinned=False)
            assert not await store.pin_artifact(S, refs[0], pinned=False)
            await store.put_artifact(S, b"more", "text/plain", limits=ArtifactLimits(max_artifacts=2))
            assert (await store.artifacts(S))[0].ref == refs[2]
            await refused(ArtifactNotFound, store.pin_artifact(S, ArtifactRef("sha256:00")))
            await refused(SessionNotFound, store.pin_artifact(SessionId("none"), refs[2]))

    async def test_40_an_artifact_is_there_while_any_session_holds_it(self) -> None:
        other = SessionId("other")
        async with self.opened() as store:
            await new_session(store)
            await new_session(store, other)
            shared = await store.put_artifact(S, b"shared", "text/plain")
            await store.put_artifact(other, b"shared", "text/plain")
            await store.put_artifact(S, b"own", "text/plain", limits=ArtifactLimits(max_artifacts=1))
            assert [a.size for a in await store.artifacts(S)] == [3]
            assert (await store.get_artifact(shared.ref))[1] == b"shared"
            await refused(ArtifactNotFound, store.pin_artifact(S, shared.ref))
            await store.delete(S)
            assert (await store.get_artifact(shared.ref))[1] == b"shared"
            await store.put_artifact(other, b"last", "text/plain", limits=ArtifactLimits(max_artifacts=1))
            await refused(ArtifactNotFound, store.get_artifact(shared.ref))

    async def test_41_limits_of_the_whole_store(self) -> None:
        other = SessionId("other")
        async with self.opened() as store:
            await new_session(store)
            await new_session(store, other)
            old = await store.put_artifact(S, b"a" * 10, "text/plain")
            pinned = await store.put_artifact(S, b"b" * 10, "text/plain")
            await store.pin_artifact(S, pinned.ref)
            await store.put_artifact(other, b"b" * 10, "text/plain")
            third = await store.put_artifact(S, b"c" * 10, "text/plain")
            await store.put_artifact(other, b"a" * 10, "text/plain")
            # Three contents, of which two are held twice. The oldest that nobody has pinned goes from all who hold it.
            fourth = await store.put_artifact(other, b"d" * 10, "text/plain", limits=ArtifactLimits(total_bytes=30))
            await refused(ArtifactNotFound, store.get_artifact(third.ref))
            assert (await store.get_artifact(old.ref))[1] == b"a" * 10
            assert [a.ref for a in await store.artifacts(S)] == [pinned.ref]
            assert [a.ref for a in await store.artifacts(other)] == [pinned.ref, old.ref, fourth.ref]
            await store.put_artifact(S, b"e" * 10, "text/plain", limits=ArtifactLimits(total_artifacts=1))
            await refused(ArtifactNotFound, store.get_artifact(old.ref))
            assert [a.ref for a in await store.artifacts(S)] == [pinned.ref]
            assert [a.ref for a in await store.artifacts(other)] == [pinned.ref]

    # --- deltas ---

    async def test_27_deltas_reach_watchers_at_once(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            seen: list[Delta] = []
            store.publish(Delta(S, "progress", "call-0", text="nobody looks"))
            end = store.watch(S, seen.append)
            sent = [
                Delta(S, "text", "m", 0, "Hel"),
                Delta(S, "text", "m", 3, "lo"),
                Delta(S, "thinking", "m", 0, "hm", 1),
                Delta(S, "tool_output", "c", 0, "out", name="bash"),
                Delta(S, "progress", "c", text="half"),
                Delta(S, "discard", "m"),
            ]
            for delta in sent:
                store.publish(delta)
            store.publish(Delta(SessionId("other"), "text", "m", 0, "elsewhere"))
            assert seen == sent
            end()
            end()
            store.publish(sent[0])
            assert seen == sent

    async def test_28_who_joins_late_gets_the_text_so_far(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            for delta in (
                Delta(S, "text", "m", 0, "Hel", after=4),
                Delta(S, "text", "m", 3, "lo", after=4),
                Delta(S, "tool_arguments", "m", 0, "{", 1, "bash", 4),
                Delta(S, "tool_output", "c", 0, "out", name="bash"),
                Delta(S, "progress", "c", text="half"),
            ):
                store.publish(delta)
            seen: list[Delta] = []
            end = store.watch(S, seen.append)
            assert {(d.kind, d.id, d.block, d.offset, d.text, d.name, d.after) for d in seen} == {
                ("text", "m", 0, 0, "Hello", None, 4),
                ("tool_arguments", "m", 1, 0, "{", "bash", 4),
                ("tool_output", "c", 0, 0, "out", "bash", 0),
            }
            store.publish(Delta(S, "text", "m", 5, "!"))
            assert seen[3:] == [Delta(S, "text", "m", 5, "!")]
            end()
            store.publish(Delta(S, "discard", "m"))
            seen.clear()
            store.watch(S, seen.append)()
            assert [d.kind for d in seen] == ["tool_output"]

    async def test_29_what_is_stored_is_not_shown_again(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            await prompt(store)
            lease = await drive(store)
            for delta in (Delta(S, "text", "m", 0, "Hello"), Delta(S, "thinking", "m", 0, "hm", 1)):
                store.publish(delta)
            for call in ("a", "b"):
                store.publish(Delta(S, "tool_output", call, 0, "out"))
            answer = AgentMessage(Assistant(MessageId("m"), (Text("Hello"),)))
            await store.append(S, drafts(answer, ToolFinished(CallId("a"), "bash", "ok")), epoch=lease.epoch)
            seen: list[Delta] = []
            store.watch(S, seen.append)()
            assert seen == [Delta(S, "tool_output", "b", 0, "out")]

    async def test_30_a_broken_watcher_harms_nobody(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            faults: list[dict[str, Any]] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
            seen: list[Delta] = []

            def fail(delta: Delta) -> None:
                raise RuntimeError(f"cannot show {delta}")

            store.watch(S, fail)
            store.watch(S, seen.append)
            store.publish(Delta(S, "text", "m", 0, "x"))
            assert seen == [Delta(S, "text", "m", 0, "x")]
            assert len(faults) == 1

    # --- the end, and others ---

    async def test_31_a_closed_store_says_so(self) -> None:
        store = await self.make_store()
        await new_session(store)
        waiting = asyncio.create_task(store.wait(S, 1))
        await asyncio.sleep(0)
        await store.flush()
        await store.close()
        await refused(StoreClosed, within(waiting))
        await refused(StoreClosed, store.append(S, drafts(SessionPaused())))
        await refused(StoreClosed, store.read(S))
        await refused(StoreClosed, store.sessions())
        await refused(StoreClosed, store.wait(S, 0))
        await refused(StoreClosed, store.rules())
        await refused(StoreClosed, store.save_rule("allow", "bash"))
        await refused(StoreClosed, store.flush())
        store.publish(Delta(S, "text", "m", 0, "x"))
        await store.close()

    async def test_32_a_second_store_sees_and_wakes(self) -> None:
        async with self.opened() as one:
            two = await self.make_second(one)
            if two is None:
                return
            try:
                await new_session(one)
                assert await within(two.wait(S, 0)) == 1
                waiting = asyncio.create_task(two.wait(S, 1))
                await asyncio.sleep(0)
                await prompt(one)
                assert await within(waiting) == 3
                assert seqs(await two.read(S)) == [1, 2, 3]
                # Each has checked appends of the session before, and must notice the other's.
                lease = await drive(two)
                await refused(StaleEpoch, one.append(S, drafts(InputDelivered(InputId("input-1"))), epoch=lease.epoch + 1))
                await refused(SessionBusy, one.append(S, drafts(message(2))))
                await two.append(
                    S, drafts(InputDelivered(InputId("input-1")), RunFinished(RUN, "done"), run=RUN), epoch=lease.epoch
                )
                assert await one.append(S, drafts(message(2), RunStarted(RunId("run-2")))) == Appended(7, 8)
                await refused(HeadMoved, two.append(S, drafts(SessionPaused()), expect=6))
                assert await two.append(S, drafts(SessionPaused()), expect=8) == Appended(9, 9)
                await refused(SessionPausedError, one.append(S, drafts(SessionPaused())))
                assert folded(await one.read(S)).seq == 9
            finally:
                await two.close()

    # --- what was spent ---

    async def test_33_spending_is_counted_as_the_fold_counts_it(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            assert await store.spent(S) == Spent()
            await refused(SessionNotFound, store.spent(SessionId("nobody")))
            await prompt(store)
            lease = await store.claim(S, "driver", 60)
            assert lease is not None
            answer = Assistant(
                MessageId("m"), (ToolCall(CALL, "bash"),), usage=Usage(900, 100, 500, requests=1, cost_usd=0.1)
            )
            steps: list[tuple[int, list[EventData]]] = [
                (1_000, [RunClaimed(RUN, 1), InputDelivered(InputId("input-1"))]),
                (2_000, [TurnStarted(1), ModelStarted(answer.id, "test:model")]),
                (5_000, [AgentMessage(answer), ToolStarted(CALL, "bash", {}, "key")]),
                (5_500, [ToolFinished(CALL, "bash", "ok"), UsageRecorded("title", "test:model", Usage(7, 3, cost_usd=0.2))]),
                (6_000, [ActionOpened(ACTION, "approval", None, "budget"), RunParked(RUN, (ACTION,))]),
            ]
            for at_ms, data in steps:
                await store.append(S, drafts(*data, at_ms=T0 + at_ms, run=RUN), epoch=lease.epoch)
            spent = await store.spent(S)
            assert spent == Spent(1010, 0.3, 1, 1, 5.0)
            assert spent == folded(await store.read(S)).spent()
            # Time runs only while the run is in a driver's hands.
            await store.append(S, drafts(UserAnswer(ACTION, "approve"), at_ms=T0 + 60_000, run=RUN))
            assert (await store.spent(S)).time_s == 5.0
            claim = drafts(RunClaimed(RUN, 1), ActionClosed(ACTION), at_ms=T0 + 70_000, run=RUN)
            await store.append(S, claim, epoch=lease.epoch)
            await store.append(S, drafts(Unknown("x.y", b'{"type":"x.y"}'), at_ms=T0 + 72_000, run=RUN), epoch=lease.epoch)
            assert (await store.spent(S)).time_s == 7.0
            # A driver has died: what lies between its last word and the next claim does not count.
            await store.append(S, drafts(message(3, delivery="steer"), at_ms=T0 + 500_000))
            await store.append(S, drafts(RunClaimed(RUN, 2), at_ms=T0 + 900_000, run=RUN), epoch=lease.epoch)
            assert (await store.spent(S)).time_s == 7.0
            assert await store.spent(S) == folded(await store.read(S)).spent()

    async def test_34_refused_and_repeated_appends_spend_nothing(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            await spend(store, S, 10, 0.5, key="once")
            await spend(store, S, 10, 0.5, key="once")
            await refused(HeadMoved, store.append(S, drafts(UsageRecorded("a", "m", Usage(1, 1))), expect=1))
            await refused(IllegalEvent, store.append(S, drafts(UsageRecorded("a", "m", Usage(1, 1)), TurnStarted(1))))
            assert await store.spent(S) == Spent(10, 0.5, 0, 1)
            # Rewinding refunds nothing; what no provider would say counts as nothing.
            await store.append(S, drafts(SessionRewound(1), UsageRecorded("a", "m", Usage(-5, 2, cost_usd=-1.0))))
            assert await store.spent(S) == Spent(12, 0.5, 0, 1)

    async def test_35_a_parent_pays_for_its_descendants(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            await refused(SessionNotFound, new_child(store, "lost", "nobody"))
            await refused(SessionNotFound, store.session(SessionId("lost")))
            child = await new_child(store, "child", S)
            other = await new_child(store, "other", S)
            grandchild = await new_child(store, "grandchild", "child")
            assert (await store.session(grandchild)).parent == child
            assert [(r.id, r.parent) for r in await store.sessions(prefix="other")] == [(other, S)]
            assert (await store.session(S)).parent is None
            await spend(store, S, 1)
            await spend(store, child, 10, 0.1)
            await spend(store, other, 100, 0.2)
            await spend(store, grandchild, 1000, 0.4)
            found = {s: await store.spent(s) for s in (S, child, other, grandchild)}
            assert {s: (one.tokens, one.usd, one.tool_calls) for s, one in found.items()} == {
                S: (1111, 0.7, 4),
                child: (1010, 0.5, 2),
                other: (100, 0.2, 1),
                grandchild: (1000, 0.4, 1),
            }

    async def test_36_deleted_descendants_still_count(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            child = await new_child(store, "child", S)
            grandchild = await new_child(store, "grandchild", "child")
            await spend(store, child, 10)
            await spend(store, grandchild, 100)
            await store.delete(child)
            assert (await store.spent(S)).tokens == 110
            # What worked for it works for its own parent now.
            assert (await store.session(grandchild)).parent == S
            await spend(store, grandchild, 1000)
            assert (await store.spent(S)).tokens == 1110
            await store.delete(S)
            assert (await store.session(grandchild)).parent is None
            await spend(store, grandchild, 10_000)
            assert (await store.spent(grandchild)).tokens == 11_100
            # One of the same name begins from nothing, also for those that once worked for it.
            await new_session(store)
            await spend(store, grandchild, 1)
            assert await store.spent(S) == Spent()

    async def test_37_many_spend_at_once(self) -> None:
        async with self.opened() as one:
            two = await self.make_second(one)
            await new_session(one)
            children = [await new_child(one, f"child-{n}", S) for n in range(4)]
            stores = [one] if two is None else [one, two]
            try:
                await asyncio.gather(
                    *(spend(store, child, 10 + n, 0.01) for store in stores for n in range(5) for child in children)
                )
                each = sum(10 + n for n in range(5)) * len(stores)
                for store in stores:
                    assert [(await store.spent(c)).tokens for c in children] == [each] * 4
                    assert await store.spent(S) == Spent(each * 4, 0.01 * 20 * len(stores), 0, 20 * len(stores))
            finally:
                if two is not None:
                    await two.close()

    async def test_38_rules_are_saved_for_a_folder_and_a_tenant(self) -> None:
        async with self.opened() as store:
            assert await store.rules() == []
            for folder, tenant, rule in (("/w", None, "a"), ("/w", "t", "b"), ("/v", None, "c"), (None, None, "d")):
                await store.save_rule("allow", f"bash({rule}:*)", workspace=folder, tenant=tenant)

            async def shown(folder: str | None, tenant: str | None = None) -> list[tuple[str, str]]:
                return [(one.verdict, one.rule) for one in await store.rules(workspace=folder, tenant=tenant)]

            assert await shown("/w") == [("allow", "bash(a:*)")]
            assert await shown("/w", "t") == [("allow", "bash(b:*)")]
            assert await shown("/v") == [("allow", "bash(c:*)")]
            assert await shown(None) == [("allow", "bash(d:*)")]
            assert await shown("/w", "other") == []
            assert await shown("/w/") == []

    async def test_39_a_saved_rule_has_one_verdict(self) -> None:
        async with self.opened() as store:
            await store.save_rule("allow", "write", workspace="/w")
            first = (await store.rules(workspace="/w"))[0]
            await store.save_rule("allow", "write", workspace="/w")
            assert await store.rules(workspace="/w") == [first]
            await store.save_rule("deny", "write", workspace="/w")
            found = await store.rules(workspace="/w")
            assert [(one.verdict, one.rule) for one in found] == [("deny", "write")]
            assert found[0].saved_ms >= first.saved_ms
            assert await store.delete_rule("write", workspace="/v") is False
            assert await store.delete_rule("write", workspace="/w") is True
            assert await store.delete_rule("write", workspace="/w") is False
            assert await store.rules(workspace="/w") == []

    async def test_40_a_rule_that_cannot_be_read_is_not_saved(self) -> None:
        async with self.opened() as store:
            for rule in ("", "bash(", "bash(rm", "a b"):
                await refused(ConfigurationError, store.save_rule("allow", rule))
            assert await store.rules() == []

    async def test_41_saved_rules_are_seen_by_others_and_outlive_a_session(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            await store.save_rule("allow", "bash(ls:*)", workspace="/w")
            two = await self.make_second(store)
            if two is not None:
                try:
                    assert [one.rule for one in await two.rules(workspace="/w")] == ["bash(ls:*)"]
                finally:
                    await two.close()
            await store.delete(S)
            assert [one.rule for one in await store.rules(workspace="/w")] == ["bash(ls:*)"]


# --- checkpoints ------------------------------------------------------------------------------------------------------


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


class CheckpointsConformance:
    """Give `make_checkpoints`, a new and empty one for each test; the suite closes it."""

    async def make_checkpoints(self) -> Checkpoints:
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[tuple[Checkpoints, Path]]:
        """The part, and a workspace with something of everything in it."""
        checkpoints = await self.make_checkpoints()
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder).resolve() / "workspace"
            (root / "src" / "deep").mkdir(parents=True)
            (root / "empty").mkdir(mode=0o750)
            (root / "a.txt").write_text("one\ntwo\nthree\n")
            (root / "src" / "b.bin").write_bytes(bytes(range(256)) * 20)
            (root / "src" / "deep" / "run.sh").write_text("#!/bin/sh\n")
            (root / "src" / "deep" / "run.sh").chmod(0o755)
            (root / "link").symlink_to("src/b.bin")
            (root / "out").symlink_to("/etc")
            (root / "nothing").touch()
            try:
                yield checkpoints, root
            finally:
                await checkpoints.close()

    async def back(self, checkpoints: Checkpoints, root: Path, target: CheckpointRef) -> list[LeftAlone]:
        """Bring the folder from whatever it is to `target`."""
        base = await checkpoints.take(S, str(root), CheckpointPolicy())
        merged, left = await checkpoints.merge(S, base, target)
        return [*left, *await checkpoints.restore(str(root), base, merged)]

    async def test_01_taking_changes_nothing_and_equal_states_are_equal(self) -> None:
        async with self.kept() as (checkpoints, root):
            before = tree(root)
            first = await checkpoints.take(S, str(root), CheckpointPolicy())
            assert await checkpoints.take(S, str(root), CheckpointPolicy()) == first
            assert tree(root) == before
            (root / "a.txt").write_text("another")
            second = await checkpoints.take(S, str(root), CheckpointPolicy())
            assert second != first
            (root / "a.txt").write_text("one\ntwo\nthree\n")
            assert await checkpoints.take(S, str(root), CheckpointPolicy()) == first
            assert [k.ref for k in await checkpoints.kept(S)] == [first, second]

    async def test_02_everything_comes_back(self) -> None:
        async with self.kept() as (checkpoints, root):
            before = tree(root)
            first = await checkpoints.take(S, str(root), CheckpointPolicy())
            shutil.rmtree(root / "src")
            (root / "src").write_text("a file now")
            (root / "a.txt").unlink()
            (root / "a.txt").mkdir()
            (root / "a.txt" / "inner").write_text("x")
            (root / "link").unlink()
            (root / "link").write_text("no link")
            (root / "empty").rmdir()
            (root / "nothing").write_text("something")
            (root / "nothing").chmod(0o600)
            (root / "new" / "folder").mkdir(parents=True)
            (root / "new" / "file").write_text("new")
            after = tree(root)
            second = await checkpoints.take(S, str(root), CheckpointPolicy())
            assert await self.back(checkpoints, root, first) == []
            assert tree(root) == before
            assert await checkpoints.take(S, str(root), CheckpointPolicy()) == first
            assert await self.back(checkpoints, root, second) == []
            assert tree(root) == after

    async def test_03_restoring_again_changes_nothing(self) -> None:
        async with self.kept() as (checkpoints, root):
            first = await checkpoints.take(S, str(root), CheckpointPolicy())
            (root / "a.txt").write_text("changed")
            shutil.rmtree(root / "src")
            second = await checkpoints.take(S, str(root), CheckpointPolicy())
            for _ in range(2):
                assert await checkpoints.restore(str(root), second, first) == []
                assert await checkpoints.take(S, str(root), CheckpointPolicy()) == first

    async def test_04_what_somebody_changed_meanwhile_is_left_and_named(self) -> None:
        async with self.kept() as (checkpoints, root):
            first = await checkpoints.take(S, str(root), CheckpointPolicy())
            for name in ("a.txt", "nothing", "new", "gone"):
                (root / name).write_text("by the agent")
            second = await checkpoints.take(S, str(root), CheckpointPolicy())
            (root / "a.txt").write_text("by a person")
            (root / "new").write_text("by a person")
            (root / "gone").unlink()
            left = await checkpoints.restore(str(root), second, first)
            assert [one.path for one in left] == ["a.txt", "new"]
            assert all(one.reason for one in left)
            assert (root / "a.txt").read_text() == (root / "new").read_text() == "by a person"
            assert (root / "nothing").read_text() == ""
            assert not (root / "gone").exists()

    async def test_05_no_link_leads_out(self) -> None:
        async with self.kept() as (checkpoints, root):
            outside = root.parent / "outside"
            outside.mkdir()
            (outside / "run.sh").write_text("theirs")
            first = await checkpoints.take(S, str(root), CheckpointPolicy())
            (root / "src" / "deep" / "run.sh").write_text("changed")
            second = await checkpoints.take(S, str(root), CheckpointPolicy())
            shutil.rmtree(root / "src" / "deep")
            (root / "src" / "deep").symlink_to(outside)
            third = await checkpoints.take(S, str(root), CheckpointPolicy())
            assert [c.path for c in await checkpoints.changes(second, third)] == ["src/deep", "src/deep/run.sh"]
            left = await checkpoints.restore(str(root), second, first)
            assert [one.path for one in left] == ["src/deep/run.sh"]
            assert tree(outside) == {"run.sh": ("file", 0o666 & ~_umask(), b"theirs")}

    async def test_06_the_repository_is_not_looked_at(self) -> None:
        async with self.kept() as (checkpoints, root):
            for folder in (root / ".git", root / "src" / ".git", root / "new" / ".git"):
                folder.mkdir(parents=True)
                (folder / "HEAD").write_text("ref: refs/heads/main")
            first = await checkpoints.take(S, str(root), CheckpointPolicy())
            (root / ".git" / "HEAD").write_text("another")
            assert await checkpoints.take(S, str(root), CheckpointPolicy()) == first
            (root / "new" / "file").write_text("x")
            second = await checkpoints.take(S, str(root), CheckpointPolicy())
            shutil.rmtree(root / "src")
            shutil.rmtree(root / "new")
            assert await self.back(checkpoints, root, second) == []
            assert (root / "new" / "file").read_text() == "x"
            assert not (root / "new" / ".git").exists()
            assert (root / ".git" / "HEAD").read_text() == "another"

    async def test_07_what_one_session_lets_go_of_another_keeps(self) -> None:
        async with self.kept() as (checkpoints, root):
            other = SessionId("other")
            first = await checkpoints.take(S, str(root), CheckpointPolicy())
            assert await checkpoints.take(other, str(root), CheckpointPolicy()) == first
            (root / "mine").write_text("only the session's" * 100)
            second = await checkpoints.take(S, str(root), CheckpointPolicy())
            assert await checkpoints.release(S) > 0
            assert await checkpoints.kept(S) == []
            await refused(CheckpointNotFound, checkpoints.changes(first, second))
            assert await checkpoints.restore(str(root), first, first) == []
            (root / "a.txt").unlink()
            assert await checkpoints.take(other, str(root), CheckpointPolicy()) != first
            assert await self.back(checkpoints, root, first) == []
            assert (root / "a.txt").read_text() == "one\ntwo\nthree\n"

    async def test_08_a_policy_lets_go_of_the_oldest(self) -> None:
        async with self.kept() as (checkpoints, root):
            refs = []
            for number in range(5):
                (root / "a.txt").write_text(f"{number} " * 100)
                refs.append(await checkpoints.take(S, str(root), CheckpointPolicy()))
            assert await checkpoints.retain(S, CheckpointPolicy()) == 0
            assert await checkpoints.retain(S, CheckpointPolicy(keep_count=3), named=[*refs[:2], *refs[3:]]) > 0
            assert [k.ref for k in await checkpoints.kept(S)] == [refs[4], refs[3], refs[1]]
            await refused(CheckpointNotFound, checkpoints.changes(refs[2], refs[4]))
            assert len(await checkpoints.changes(refs[1], refs[4])) == 1
            await checkpoints.retain(S, CheckpointPolicy(keep_bytes=1))
            assert [k.ref for k in await checkpoints.kept(S)] == [refs[4]]

    async def test_09_some_paths_are_taken_from_one_state_and_the_rest_from_another(self) -> None:
        async with self.kept() as (checkpoints, root):
            first = await checkpoints.take(S, str(root), CheckpointPolicy())
            (root / "a.txt").write_text("changed")
            (root / "nothing").write_text("changed")
            (root / "made").mkdir()
            (root / "made" / "x").write_text("x")
            second = await checkpoints.take(S, str(root), CheckpointPolicy())
            merged, left = await checkpoints.merge(S, second, first, ["a.txt", "made/x", "made"])
            assert left == []
            assert [(c.path, c.change) for c in await checkpoints.changes(second, merged)] == [
                ("a.txt", "modified"),
                ("made", "deleted"),
                ("made/x", "deleted"),
            ]
            assert await checkpoints.merge(S, second, first) == (first, [])
            assert await checkpoints.merge(S, second, first, []) == (second, [])

    async def test_10_a_diff_reads_as_one(self) -> None:
        async with self.kept() as (checkpoints, root):
            first = await checkpoints.take(S, str(root), CheckpointPolicy())
            (root / "a.txt").write_text("one\n2\nthree\nfour")
            (root / "src" / "b.bin").write_bytes(b"\0\1")
            (root / "nothing").unlink()
            (root / "src" / "deep" / "run.sh").chmod(0o644)
            second = await checkpoints.take(S, str(root), CheckpointPolicy())
            found = await checkpoints.diff(first, second)
            assert [(c.path, c.change, c.binary, c.added_lines, c.removed_lines) for c in found.changes] == [
                ("a.txt", "modified", False, 2, 1),
                ("nothing", "deleted", False, 0, 0),
                ("src/b.bin", "modified", True, 0, 0),
                ("src/deep/run.sh", "mode", False, 0, 0),
            ]
            assert "@@ -1,3 +1,4 @@\n one\n-two\n+2\n three\n+four\n\\ No newline at end of file\n" in found.text
            assert "old mode 100755\nnew mode 100644\n" in found.text
            assert (await checkpoints.diff(first, second, paths=["nothing"])).changes[0].path == "nothing"
            assert (await checkpoints.diff(first, second, limit=10)).cut

    async def test_11_a_change_that_leaves_size_and_time_as_they_were_is_seen(self) -> None:
        async with self.kept() as (checkpoints, root):
            path = root / "a.txt"
            for number in range(20):
                path.write_text(f"{number:04}")
                first = await checkpoints.take(S, str(root), CheckpointPolicy())
                times = path.stat()
                path.write_text(f"{number + 1:04}")
                os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
                assert await checkpoints.take(S, str(root), CheckpointPolicy()) != first

    async def test_12_many_at_once(self) -> None:
        async with self.kept() as (checkpoints, root):
            (root / "large").write_bytes(os.urandom(3 << 20))
            sessions = [SessionId(f"session-{n}") for n in range(4)]
            refs = await within(asyncio.gather(*(checkpoints.take(s, str(root), CheckpointPolicy()) for s in sessions)))
            assert len(set(refs)) == 1
            assert await within(asyncio.gather(*(checkpoints.release(s) for s in sessions[1:])))
            before = tree(root)
            (root / "large").unlink()
            assert await self.back(checkpoints, root, refs[0]) == []
            assert tree(root) == before

    async def test_13_what_is_not_kept_is_not_touched(self) -> None:
        async with self.kept() as (checkpoints, root):
            policy = CheckpointPolicy(max_file_bytes=10_000)
            (root / "large").write_bytes(b"1" * 20_000)
            first = await checkpoints.take(S, str(root), policy)
            (root / "large").write_bytes(b"2" * 20_000)
            (root / "larger").write_bytes(b"3" * 30_000)
            (root / "a.txt").write_text("changed")
            second = await checkpoints.take(S, str(root), policy)
            changed = await checkpoints.changes(first, second)
            assert [(c.path, c.kept) for c in changed] == [("a.txt", True), ("large", False), ("larger", False)]
            merged, left = await checkpoints.merge(S, second, first)
            assert [one.path for one in left] == ["large", "larger"]
            assert await checkpoints.restore(str(root), second, merged) == []
            assert (root / "a.txt").read_text() == "one\ntwo\nthree\n"
            assert (root / "large").read_bytes() == b"2" * 20_000
            assert (root / "larger").exists()

    async def test_14_a_workspace_beyond_the_policy_is_refused(self) -> None:
        async with self.kept() as (checkpoints, root):
            await refused(CheckpointFailed, checkpoints.take(S, str(root), CheckpointPolicy(max_files=3)))
            await refused(CheckpointFailed, checkpoints.take(S, str(root), CheckpointPolicy(max_bytes=100)))
            await refused(CheckpointFailed, checkpoints.take(S, str(root / "no such folder"), CheckpointPolicy()))
            await checkpoints.take(S, str(root), CheckpointPolicy())

    async def test_15_an_unknown_ref_says_so(self) -> None:
        async with self.kept() as (checkpoints, root):
            assert await checkpoints.kept(S) == []
            unknown = CheckpointRef("tree:" + "0" * 64)
            await refused(CheckpointNotFound, checkpoints.changes(unknown, CheckpointRef("tree:" + "1" * 64)))
            first = await checkpoints.take(S, str(root), CheckpointPolicy())
            for ref in (unknown, CheckpointRef("nonsense"), CheckpointRef("tree:xyz")):
                await refused(CheckpointNotFound, checkpoints.diff(first, ref))
                await refused(CheckpointNotFound, checkpoints.merge(S, first, ref))
                await refused(CheckpointNotFound, checkpoints.restore(str(root), first, ref))


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


__all__ = ["CheckpointsConformance", "SandboxConformance", "Store", "StoreConformance", "tree"]
