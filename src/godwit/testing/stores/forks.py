"""Promises about forks: a log begins as another's did, nothing of it is copied, and whatever becomes of that one it
stays."""

from __future__ import annotations

import asyncio

from ...contracts import Appended, EventStore
from ...core.errors import ArtifactNotFound, IllegalEvent, InvalidArgument, KeyReused, SessionExists, SessionNotFound
from ...core.events import (
    Draft,
    Event,
    Labels,
    SessionArchived,
    SessionConfigured,
    SessionCreated,
    SessionForked,
    SessionLabelled,
)
from ...core.ids import Seq, SessionId
from ...core.state import State, fold
from ..words import AGENT, RUN, T0, S, drafts, drive, message, new_session, park, prompt, refused
from .suite import StoreSuite

FORK = SessionId("fork")


def forked(origin: SessionId = S, name: str | None = None, labels: Labels | None = None) -> list[Draft]:
    return drafts(SessionForked(origin, AGENT, name=name, labels=labels or Labels()), at_ms=T0 + 50)


async def talk(store: EventStore, session: SessionId, number: int, count: int = 3) -> None:
    """Some more events, which tell by their names whose they are."""
    for one in range(count):
        await store.append(session, drafts(SessionConfigured(name=f"{session} {number} {one}")))


def told(events: list[Event]) -> list[tuple[Seq, str, bytes]]:
    return [(event.seq, event.type, event.body) for event in events]


class Forks(StoreSuite):
    """Logs that begin as others did."""

    async def test_a_fork_begins_as_its_origin_did(self) -> None:
        async with self.opened() as store:
            await park(store)  # 9 events, in the middle of a turn, with an action open
            before = told(await store.read(S))
            assert await store.fork(FORK, S, 7, forked(name="other")) == Appended(8, 8)
            await talk(store, S, 1)
            await talk(store, FORK, 1)
            events = await store.read(FORK)
            assert [event.session for event in events] == [FORK] * 11
            assert told(events)[:7] == before[:7]
            assert [event.type for event in events[7:]] == ["session.forked", *["session.configured"] * 3]
            state = State()
            for event in events:
                state = fold(state, event)
            assert (state.gate.run, state.run, state.turn, state.gate.actions, state.gate.queue) == (
                None,
                None,
                None,
                (),
                (),
            )
            row = await store.session(FORK)
            assert (row.head, row.status, row.run, row.actions, row.queued) == (11, "queued", None, 0, 0)
            assert (row.origin, row.name, row.first_prompt, row.created_ms) == (S, "fork 1 2", "hello", T0 + 50)
            assert (await store.spent(FORK)).tokens == 0
            # It is a session as any other.
            await prompt(store, FORK, number=7)
            await drive(store, FORK)
            assert (await store.session(FORK)).status == "running"
            assert (await store.session(S)).status == "waiting"

    async def test_every_way_of_reading_crosses_the_fork(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            await talk(store, S, 1, 9)
            await store.fork(FORK, S, 6, forked())
            await talk(store, FORK, 1, 4)
            whole = told(await store.read(FORK))
            assert [seq for seq, _, _ in whole] == list(range(1, 12))
            for after in range(12):
                assert told(await store.read(FORK, after)) == whole[after:]
                for to in range(12):
                    assert told(await store.read(FORK, after, to_seq=to)) == whole[after : max(to, after)]
                for limit in (0, 1, 3, 20):
                    assert told(await store.read(FORK, after, limit=limit)) == whole[after : after + limit]
                    newest = told(await store.read(FORK, after, limit=limit, newest_first=True))
                    assert newest == list(reversed(whole[after:]))[:limit]
                    some = [one for one in whole[after:] if one[1] == "session.configured"]
                    types = ["session.configured"]
                    assert told(await store.read(FORK, after, types=types, limit=limit)) == some[:limit]
                    newest = told(await store.read(FORK, after, types=types, limit=limit, newest_first=True))
                    assert newest == list(reversed(some))[:limit]

    async def test_forks_of_forks_and_what_they_keep(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            await talk(store, S, 1, 9)  # 10
            a, b, c, d = (SessionId(name) for name in "abcd")
            await store.fork(a, S, 8, forked(S))  # 9
            await talk(store, a, 1, 5)  # 14
            await store.fork(b, a, 12, forked(a))  # 13, of three logs
            await talk(store, b, 1, 2)  # 15
            await store.fork(c, b, 5, forked(b))  # 6, of what is the first one's
            await talk(store, c, 1)
            await store.fork(d, b, 8, forked(b))  # just at the seam
            all_of = {one: told(await store.read(one)) for one in (a, b, c, d)}
            assert all_of[b][:12] == all_of[a][:12]
            assert all_of[c][:5] == all_of[a][:5]
            left = [a, b, c, d]
            # Whoever goes, and in whatever order, the others stay whole.
            for gone in (S, a, c, b):
                await store.delete(gone)
                await refused(SessionNotFound, store.read(gone))
                left = [one for one in left if one != gone]
                for one in left:
                    assert told(await store.read(one)) == all_of[one], (gone, one)
                    assert told(await store.read(one, types=["session.created"])) == all_of[one][:1]
            await talk(store, d, 2)
            assert told(await store.read(d))[:9] == all_of[d]
            again = SessionId("again")
            await new_session(store, again)
            assert [event.type for event in await store.read(again)] == ["session.created"]
            await store.delete(d)
            await store.delete(again)
            assert await store.log_bytes(None) == 0

    async def test_reading_while_the_origin_is_deleted(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            for number in range(30):
                await store.append(S, drafts(*(SessionConfigured(name=f"{number} {one}") for one in range(100))))
            await store.fork(FORK, S, 2900, forked())
            whole = told(await store.read(FORK))
            reading = [asyncio.create_task(store.read(FORK)) for _ in range(3)]
            await asyncio.sleep(0)
            await store.delete(S)
            for one in reading:
                assert told(await one) == whole
            assert told(await store.read(FORK)) == whole

    async def test_followers_of_a_fork_get_its_own_events(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            await talk(store, S, 1)
            await store.fork(FORK, S, 3, forked())
            waiting = asyncio.create_task(store.wait(FORK, 4, 20))
            await asyncio.sleep(0)
            await talk(store, S, 2)
            await talk(store, FORK, 1, 1)
            assert await waiting == 5
            assert [event.seq for event in await store.read(FORK, 2)] == [3, 4, 5]

    async def test_a_fork_holds_the_artifacts_of_its_origin(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            kept = await store.put_artifact(S, b"kept", "text/plain", pinned=True)
            gone = await store.put_artifact(S, b"gone", "text/plain")
            await store.release_artifact(S, gone.ref)
            await store.fork(FORK, S, 1, forked())
            await store.delete(S)
            assert [(one.ref, one.pinned) for one in await store.artifacts(FORK)] == [(kept.ref, True)]
            assert (await store.get_artifact(kept.ref))[1] == b"kept"
            await store.delete(FORK)
            await refused(ArtifactNotFound, store.get_artifact(kept.ref))

    async def test_what_is_no_fork(self) -> None:
        async with self.opened() as store:
            await new_session(store, labels=Labels(tenant="t"))
            mine = Labels(tenant="t")
            for at in (0, 2, -1):
                await refused(InvalidArgument, store.fork(FORK, S, at, forked(labels=mine)))
            await refused(IllegalEvent, store.fork(FORK, S, 1, []))
            await refused(IllegalEvent, store.fork(FORK, S, 1, forked(labels=Labels(tenant="other"))))
            await refused(IllegalEvent, store.fork(FORK, S, 1, forked(SessionId("other"), labels=mine)))
            await refused(IllegalEvent, store.fork(FORK, S, 1, [*forked(labels=mine), *forked(labels=mine)]))
            await refused(IllegalEvent, store.append(S, forked(labels=mine)))
            await refused(SessionNotFound, store.fork(FORK, SessionId("other"), 1, forked(SessionId("other"))))
            await refused(SessionNotFound, store.session(FORK))
            assert await store.fork(FORK, S, 1, forked(labels=mine), key="k") == Appended(2, 2)
            assert await store.fork(FORK, S, 1, forked(labels=mine), key="k") == Appended(2, 2, duplicate=True)
            await refused(KeyReused, store.fork(FORK, S, 1, forked(name="x", labels=mine), key="k"))
            await refused(SessionExists, store.fork(FORK, S, 1, forked(labels=mine)))
            assert (await store.session(FORK)).labels == mine

    async def test_labels_of_events(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            await store.append(S, drafts(SessionLabelled(1, "the beginning")))
            for seq in (0, 3, 4):
                await refused(IllegalEvent, store.append(S, drafts(SessionLabelled(seq, "x"))))
            await store.append(S, drafts(message(), SessionLabelled(1)))
            assert (await store.session(S)).head == 4

    async def test_an_archived_session_can_be_forked(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            await store.append(S, drafts(SessionArchived()))
            await store.fork(FORK, S, 2, forked())
            await prompt(store, FORK)
            assert (await store.session(FORK)).run == RUN

    async def test_the_fork_of_a_child_works_for_the_same_session(self) -> None:
        child, other, late = SessionId("child"), SessionId("other"), SessionId("late")
        async with self.opened() as store:
            await new_session(store)
            await store.create(child, drafts(SessionCreated(AGENT, parent=S, root=S, depth=1)))
            begins = drafts(SessionForked(child, AGENT, parent=S, root=S, depth=1), at_ms=T0)
            await store.fork(FORK, child, 1, begins)
            await store.fork(other, child, 1, forked(child))  # one that names no parent has none
            assert ((await store.session(FORK)).parent, (await store.session(other)).parent) == (S, None)
            assert set(await store.descendants(S)) == {child, FORK}
            # Whom it names is gone: then it stands where its origin does by now.
            await store.delete(S)
            await store.fork(late, child, 1, begins)
            assert ((await store.session(FORK)).parent, (await store.session(late)).parent) == (None, None)
