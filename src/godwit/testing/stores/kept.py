"""Promises about what is kept beside the logs: snapshots, agents, and rules that were saved."""

from __future__ import annotations

import asyncio

from ...contracts import Snapshot
from ...core.agent import AgentRef, AgentSpec
from ...core.errors import AgentNotFound, ConfigurationError, RevisionConflict
from ...core.ids import AgentName
from ..words import S, new_session, refused
from .suite import StoreSuite


class Kept(StoreSuite):
    """Snapshots, the versions of agents, saved rules."""

    async def test_the_newest_snapshot_is_kept(self) -> None:
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

    async def test_agents_have_immutable_versions(self) -> None:
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

    async def test_of_many_who_make_the_next_version_one_wins(self) -> None:
        def spec(text: str) -> AgentSpec:
            return AgentSpec(AgentName("bird"), ("test:model",), text)

        async with self.opened() as store:
            await refused(RevisionConflict, store.put_agent(spec("Fly."), expect=1))
            assert (await store.put_agent(spec("Fly."), expect=0)).version == 1
            assert (await store.put_agent(spec("Fly."), expect=1)).version == 1
            await refused(RevisionConflict, store.put_agent(spec("Fly."), expect=0))
            made = [store.put_agent(spec(str(n)), expect=1) for n in range(8)]
            results = await asyncio.gather(*made, return_exceptions=True)
            assert sorted(type(r).__name__ for r in results) == ["AgentRef", *["RevisionConflict"] * 7]
            assert [r.version for r in await store.agent_versions("bird")] == [1, 2]

    async def test_rules_are_saved_for_a_folder_and_a_tenant(self) -> None:
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

    async def test_a_saved_rule_has_one_verdict(self) -> None:
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

    async def test_a_rule_that_cannot_be_read_is_not_saved(self) -> None:
        async with self.opened() as store:
            for rule in ("", "bash(", "bash(rm", "a b"):
                await refused(ConfigurationError, store.save_rule("allow", rule))
            assert await store.rules() == []

    async def test_saved_rules_are_seen_by_others_and_outlive_a_session(self) -> None:
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
