"""Promises about the index of sessions: it shows the state, in pages, by filters."""

from __future__ import annotations

import contextlib
from typing import Any

from ...core.agent import AgentRef, base_of, variant_name
from ...core.errors import GodwitError, InvalidArgument
from ...core.events import (
    Labels,
    RunStarted,
    SessionArchived,
    SessionConfigured,
    SessionCreated,
    SessionPaused,
    UserAnswer,
    UserMessage,
)
from ...core.ids import AgentName, InputId, RunId, SessionId
from ...core.messages import Image
from ..words import ACTION, AGENT, RUN, T0, S, drafts, drive, message, new_session, park, prompt, refused
from .suite import StoreSuite


class Index(StoreSuite):
    """Rows of sessions, and finding them."""

    async def test_the_index_shows_the_state(self) -> None:
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

    async def test_listing_in_pages(self) -> None:
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

    async def test_listing_with_filters(self) -> None:
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

    async def test_children_are_listed_by_their_parent_and_left_out_at_the_top(self) -> None:
        async with self.opened() as store:
            for number, (name, parent) in enumerate([("a", None), ("b", "a"), ("c", "b"), ("d", None), ("e", "a")]):
                above = None if parent is None else SessionId(parent)
                data = SessionCreated(AgentRef(AgentName("bird"), 1), parent=above)
                await store.create(SessionId(name), drafts(data, at_ms=T0 + number))

            async def listed(**filters: Any) -> list[tuple[str, str | None]]:
                return [(row.id, row.parent) for row in await store.sessions(**filters)]

            assert await listed(top_level=True) == [("d", None), ("a", None)]
            assert await listed(top_level=True, prefix="a") == [("a", None)]
            assert await listed(top_level=True, prefix="b") == []
            assert await listed(parent=SessionId("a")) == [("e", "a"), ("b", "a")]
            assert await listed(parent=SessionId("a"), limit=1, before=(T0 + 4, SessionId("e"))) == [("b", "a")]
            assert await listed(parent=SessionId("a"), prefix="e") == [("e", "a")]
            assert await listed(parent=SessionId("b"), statuses=["paused"]) == []
            assert await listed(parent=SessionId("unknown")) == []
            await refused(InvalidArgument, store.sessions(parent=SessionId("a"), top_level=True))
            for ascending in (False, True):
                page = await store.session_page(tenant=None, top_level=True, ascending=ascending)
                assert [row.id for row in page] == (["a", "d"] if ascending else ["d", "a"])
            # Whose parent is gone works for that one's own, or for none.
            await store.delete(SessionId("a"))
            assert await listed(top_level=True) == [("e", None), ("d", None), ("b", None)]
            assert await listed(parent=SessionId("b")) == [("c", "b")]

    async def test_sessions_are_paged_as_they_were_made(self) -> None:
        def made(
            name: str, at_ms: int, tenant: str | None, agent: str = "bird", version: int = 1
        ) -> tuple[str, list[object]]:
            data = SessionCreated(AgentRef(AgentName(agent), version), labels=Labels(tenant=tenant))
            return name, list(drafts(data, at_ms=at_ms))

        async with self.opened() as store:
            for name, events in (
                made("a", T0, "one"),
                made("b", T0 + 1, "one", "ant", 2),
                made("c", T0 + 1, "one"),
                made("d", T0 + 2, "two"),
                made("e", T0 + 3, None),
                made("f", T0 + 4, "one"),
            ):
                await store.create(SessionId(name), events)  # type: ignore[arg-type]
            await store.append(SessionId("a"), drafts(SessionArchived(), at_ms=T0 + 9))

            async def ids(tenant: str | None = "one", **options: object) -> list[str]:
                return [row.id for row in await store.session_page(tenant=tenant, **options)]  # type: ignore[arg-type]

            assert await ids() == ["f", "c", "b", "a"]
            assert await ids(ascending=True) == ["a", "b", "c", "f"]
            assert await ids(None) == ["e"]
            assert await ids(limit=2, after=(T0 + 1, "c")) == ["b", "a"]
            assert await ids(limit=2, after=(T0 + 1, "b"), ascending=True) == ["c", "f"]
            assert await ids(agent="ant") == ["b"]
            assert await ids(agent="ant", agent_version=1) == []
            assert await ids(agent_version=2) == ["b"]
            assert await ids(created_from_ms=T0 + 1, created_to_ms=T0 + 1) == ["c", "b"]
            assert await ids(include_archived=False) == ["f", "c", "b"]
            assert await ids(statuses=["archived"]) == ["a"]
            await refused(InvalidArgument, store.session_page(tenant=None, limit=-1))

    async def test_sessions_of_an_agent_are_found_with_those_of_its_variants(self) -> None:
        bird = AgentRef(AgentName("bird"), 2)
        varied = AgentRef(variant_name(bird, "wet"), 1)
        assert (base_of(varied), base_of(bird)) == (bird, bird)
        agents = [bird, varied, AgentRef(AgentName("bird"), 21), AgentRef(AgentName("birdie"), 2)]
        async with self.opened() as store:
            for number, agent in enumerate(agents):
                await store.create(SessionId(str(number)), drafts(SessionCreated(agent), at_ms=T0 + number))

            async def ids(**options: object) -> list[str]:
                return [row.id for row in await store.session_page(tenant=None, **options)]  # type: ignore[arg-type]

            for ascending in (False, True):
                assert sorted(await ids(agent="bird", ascending=ascending)) == ["0", "1", "2"]
                assert sorted(await ids(agent="bird", agent_version=2, ascending=ascending)) == ["0", "1"]

    async def test_sessions_are_counted(self) -> None:
        async with self.opened() as store:
            assert (await store.session_counts(), await store.working_sessions("one")) == ({}, 0)
            for name, tenant in (("a", "one"), ("b", "one"), ("c", "two"), ("d", "one")):
                await new_session(store, SessionId(name), labels=Labels(tenant=tenant))
            await prompt(store, SessionId("a"))
            await prompt(store, SessionId("b"), RunId("run-b"))
            await drive(store, SessionId("b"), RunId("run-b"))
            await store.append(SessionId("d"), drafts(SessionArchived()))
            assert await store.session_counts() == {"queued": 2, "running": 1, "archived": 1}
            assert [await store.working_sessions(tenant) for tenant in ("one", "two", None)] == [2, 0, 0]
            assert await store.open_runs() == {"queued": 1, "running": 1}

    async def test_bytes_of_logs_are_counted(self) -> None:
        async with self.opened() as store:

            async def kept(*sessions: str) -> int:
                return sum([sum([len(e.body) for e in await store.read(SessionId(one))]) for one in sessions])

            async def counted(tenant: str | None, *sessions: str) -> bool:
                found, size = await store.log_bytes(tenant), await kept(*sessions)
                return size - len(sessions) * 16 * 1024 <= found <= size

            assert await store.log_bytes("one") == 0
            for name, tenant in (("a", "one"), ("b", "one"), ("c", None)):
                await new_session(store, SessionId(name), labels=Labels(tenant=tenant))
                for number in range(40):
                    said = drafts(SessionConfigured(name=f"{number}" + "x" * 2500))
                    await store.append(SessionId(name), said)
                    with contextlib.suppress(GodwitError):  # nothing of what is refused
                        await store.append(SessionId(name), said, expect=0)
            assert await counted("one", "a", "b")
            assert await counted(None, "c")
            assert await store.log_bytes("two") == 0
            await store.delete(SessionId("a"))
            assert await counted("one", "b")
            await store.delete(SessionId("b"))
            assert await store.log_bytes("one") == 0
