"""Promises about the index of sessions: it shows the state, in pages, by filters."""

from __future__ import annotations

from typing import Any

from ...core.agent import AgentRef
from ...core.events import Labels, RunStarted, SessionArchived, SessionConfigured, SessionPaused, UserAnswer, UserMessage
from ...core.ids import AgentName, InputId, SessionId
from ...core.messages import Image
from ..words import ACTION, AGENT, RUN, T0, S, drafts, message, new_session, park
from .suite import StoreSuite


class Index(StoreSuite):
    """Rows of sessions, and finding them."""

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
