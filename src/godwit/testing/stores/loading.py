"""Promises about whole logs that come from elsewhere: seen by nobody before they are whole, and then as others are."""

from __future__ import annotations

from ...core.errors import ArtifactNotFound, IllegalEvent, InvalidArgument, SessionExists, SessionNotFound
from ...core.events import (
    Draft,
    InputDelivered,
    Labels,
    RunClaimed,
    RunFinished,
    RunStarted,
    SessionConfigured,
    SessionCreated,
    SessionRewound,
    TurnStarted,
    UsageRecorded,
)
from ...core.ids import InputId, RunId, SessionId
from ...core.messages import Usage
from ..words import AGENT, RUN, T0, S, drafts, message, new_session, prompt, refused
from .suite import StoreSuite

CHILD = SessionId("child")


def _whole(*, at_ms: int = T0) -> list[Draft]:
    """A session that was talked to once, with all that only a driver writes."""
    return drafts(
        SessionCreated(AGENT, "/nest", labels=Labels(tenant="t")),
        message(1, "where to?"),
        RunStarted(RUN, InputId("input-1")),
        RunClaimed(RUN, 1),
        InputDelivered(InputId("input-1")),
        UsageRecorded("map", "test:model", Usage(10, 5, cost_usd=0.25)),
        RunFinished(RUN, "done"),
        SessionConfigured(name="south"),
        at_ms=at_ms,
        run=RUN,
    )


class Loads(StoreSuite):
    """Loading logs."""

    async def test_a_log_is_there_once_it_was_committed_and_not_before(self) -> None:
        async with self.opened() as store:
            whole = _whole(at_ms=T0 - 5000)
            loading = await store.load()
            assert await loading.add(S, whole[:3]) == 3
            assert await loading.add(S, whole[3:]) == 8
            await refused(SessionNotFound, store.read(S))
            await refused(SessionNotFound, store.session(S))
            assert (await store.sessions(), await store.session_counts(), await store.log_bytes("t")) == ([], {}, 0)
            await loading.commit()
            events = await store.read(S)
            assert [(e.seq, e.type, e.body, e.at_ms, e.run) for e in events] == [
                (n, d.type, d.body, d.at_ms, d.run) for n, d in enumerate(whole, 1)
            ]
            (row,) = await store.sessions()
            assert (row.id, row.status, row.head, row.name, row.first_prompt) == (S, "idle", 8, "south", "where to?")
            assert (row.created_ms, row.updated_ms, row.workspace, row.labels) == (
                T0 - 5000,
                T0 - 5000,
                "/nest",
                Labels("t"),
            )
            spent = await store.spent(S)
            assert (spent.tokens, spent.usd) == (15, 0.25)
            assert (await prompt(store, S, RunId("run-2"), number=2)).first == 9
            await loading.discard()
            assert (await store.session(S)).head == 10

    async def test_what_was_discarded_leaves_nothing(self) -> None:
        async with self.opened() as store:
            loading = await store.load()
            await loading.add(S, _whole())
            ref = await loading.add_artifact(S, b"a map", "text/plain")
            await refused(SessionNotFound, loading.add_artifact(CHILD, b"", "text/plain"))
            await loading.discard()
            await loading.discard()
            await refused(SessionNotFound, store.read(S))
            await refused(ArtifactNotFound, store.get_artifact(ref))
            await new_session(store)
            assert len(await store.read(S)) == 1

    async def test_sessions_that_begin_meanwhile_keep_their_own_logs(self) -> None:
        async with self.opened() as store:
            first, second = await store.load(), await store.load()
            await first.add(S, _whole())
            await new_session(store, SessionId("new"))
            await second.add(CHILD, _whole())
            await new_session(store, SessionId("newer"))
            await second.commit()
            await first.commit()
            found = [(row.id, row.head, len(await store.read(row.id))) for row in await store.sessions()]
            assert sorted(found) == [(CHILD, 8, 8), ("new", 1, 1), ("newer", 1, 1), (S, 8, 8)]

    async def test_several_logs_are_there_at_once_with_what_they_hold(self) -> None:
        async with self.opened() as store:
            loading = await store.load()
            await loading.add(CHILD, drafts(SessionCreated(AGENT, parent=S, root=S, depth=1)))
            await loading.add(S, _whole())
            await loading.add(CHILD, drafts(UsageRecorded("map", "test:model", Usage(1, 1))))
            ref = await loading.add_artifact(CHILD, b"a map", "text/plain")
            await loading.commit()
            assert (await store.get_artifact(ref))[1] == b"a map"
            assert [held.ref for held in await store.artifacts(CHILD)] == [ref]
            assert await store.descendants(S) == [CHILD]
            assert (await store.spent(S)).tokens == 17

    async def test_a_log_must_be_one_and_new(self) -> None:
        async with self.opened() as store:
            loading = await store.load()
            await refused(InvalidArgument, loading.add(S, []))
            await refused(IllegalEvent, loading.add(S, drafts(SessionConfigured(name="x"))))
            await refused(
                IllegalEvent, loading.add(S, drafts(SessionCreated(AGENT), TurnStarted(1), InputDelivered(InputId("x"))))
            )
            await loading.add(S, drafts(SessionCreated(AGENT)))
            await refused(IllegalEvent, loading.add(S, drafts(SessionRewound(2))))
            await refused(IllegalEvent, loading.add(S, drafts(SessionCreated(AGENT))))
            await new_session(store, CHILD)
            await refused(SessionExists, loading.add(CHILD, drafts(SessionCreated(AGENT))))
            await new_session(store)
            await refused(SessionExists, loading.commit())
            await loading.discard()
            assert (await store.session(S)).head == 1
            orphan = await store.load()
            await orphan.add(SessionId("lost"), drafts(SessionCreated(AGENT, parent=SessionId("nobody"))))
            await refused(SessionNotFound, orphan.commit())
            await orphan.discard()

    async def test_only_its_beginning_is_news(self) -> None:
        async with self.opened() as store:
            await store.set_feed_types(("session.created", "run.finished"))
            loading = await store.load()
            await loading.add(S, _whole())
            assert await store.feed() == []
            await loading.commit()
            assert [(e.type, e.subject, e.tenant) for e in await store.feed()] == [("session.created", S, "t")]

    async def test_another_sees_what_was_loaded(self) -> None:
        async with self.opened() as store:
            second = await self.make_second(store)
            if second is None:
                return
            try:
                loading = await store.load()
                await loading.add(S, _whole())
                await second.load()
                await refused(SessionNotFound, second.read(S))
                await loading.commit()
                assert len(await second.read(S)) == 8
            finally:
                await second.close()
