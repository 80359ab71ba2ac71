"""Promises about logs: how one begins, what an append does and does not do, and how it is read."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from ...contracts import Appended, Lease, Snapshot
from ...core.errors import (
    ActionNotFound,
    AlreadyAnswered,
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
    StoreClosed,
)
from ...core.events import (
    ActionOpened,
    Delta,
    EventData,
    InputDelivered,
    InputWithdrawn,
    RunClaimed,
    RunFinished,
    RunStarted,
    SessionArchived,
    SessionConfigured,
    SessionCreated,
    SessionPaused,
    SessionResumed,
    SessionRewound,
    Unknown,
    UserAnswer,
    UserInterrupt,
    UserMessage,
)
from ...core.gate import INBOX_LIMIT
from ...core.ids import ActionId, InputId, RunId, SessionId
from ...core.messages import Text
from ..words import (
    ACTION,
    AGENT,
    CALL,
    RUN,
    T0,
    S,
    drafts,
    drive,
    folded,
    message,
    new_session,
    park,
    prompt,
    refused,
    seqs,
    within,
)
from .suite import Store, StoreSuite


class Logs(StoreSuite):
    """Creating, appending, keys, reading, deleting, closing."""

    async def test_a_log_begins_at_1(self) -> None:
        async with self.opened() as store:
            assert await new_session(store) == Appended(1, 1)
            assert await prompt(store) == Appended(2, 3)
            events = await store.read(S)
            assert seqs(events) == [1, 2, 3]
            assert [e.type for e in events] == ["session.created", "user.message", "run.started"]
            assert [e.run for e in events] == [None, RUN, RUN]
            assert {(e.session, e.at_ms) for e in events} == {(S, T0)}
            assert folded(events).status == "queued"

    async def test_create_makes_a_log_once(self) -> None:
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

    async def test_an_unknown_session_is_not_found(self) -> None:
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

    async def test_seqs_have_no_gap_under_concurrent_writers(self) -> None:
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

    async def test_an_append_is_all_or_nothing(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            before = await store.session(S)
            await refused(
                InputNotFound,
                store.append(S, drafts(message(), RunStarted(RUN), InputWithdrawn(InputId("nobody")), at_ms=T0 + 9)),
            )
            assert await store.session(S) == before
            assert seqs(await store.read(S)) == [1]

    async def test_what_the_gate_refuses_leaves_no_trace(self) -> None:
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

    async def test_consequences_stand_right_behind_their_cause(self) -> None:
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

    async def test_expect_is_the_head(self) -> None:
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

    async def test_a_key_stores_once(self) -> None:
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

    async def test_a_key_covers_its_consequences(self) -> None:
        async with self.opened() as store:
            await park(store)
            answer = drafts(UserAnswer(ACTION, "approve"))
            first = await store.append(S, answer, key="k")
            assert first.last == first.first + 1
            assert await store.append(S, answer, key="k") == Appended(first.first, first.last, True)
            await refused(AlreadyAnswered, store.append(S, answer))

    async def test_reading_by_window_and_type(self) -> None:
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

    async def test_unknown_types_are_kept_to_the_byte(self) -> None:
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

    async def test_a_deleted_session_is_gone(self) -> None:
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

    async def test_a_closed_store_says_so(self) -> None:
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
