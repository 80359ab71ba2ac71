"""Agents of a tenant, in versions that stay as they are."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from godwit.core.agent import AgentSpec, base_of
from godwit.core.errors import AgentNotFound, Conflict, InvalidArgument, KeyReused, RevisionConflict
from godwit.core.ids import AgentName, ManualClock
from godwit.host.agent_registry import AgentRegistry
from godwit.stores.sqlite import SqliteStore

BIRD = AgentSpec(AgentName("-"), ("test:model",), "Fly.", title="Bird", extensions={"one": {"colour": "red"}})


def changed(**fields: Any) -> Any:
    return lambda spec: msgspec.structs.replace(spec, **fields)


async def test_every_change_is_a_version_and_no_change_is_none() -> None:
    clock = ManualClock()
    store = SqliteStore.open(":memory:", clock=clock)
    registry = AgentRegistry(store, clock=clock)
    first = await registry.create(BIRD, tenant="t")
    assert first.id.startswith("agent_")
    assert (first.version, first.title, first.spec.name, first.extension("one")) == (1, "Bird", first.id, {"colour": "red"})
    clock.advance(1)
    assert await registry.update(first.id, changed(instructions="Fly."), tenant="t") == first
    second = await registry.update(first.id, changed(instructions="Rest."), tenant="t", expect=1)
    assert (second.version, second.spec.instructions, second.updated_ms - first.updated_ms) == (2, "Rest.", 1000)
    third = await registry.update(first.id, changed(extensions={"one": {"colour": "blue"}}), tenant="t")
    assert [a.version for a in await registry.versions(first.id, tenant="t")] == [3, 2, 1]
    assert [a.version for a in await registry.versions(first.id, tenant="t", before=3, limit=1)] == [2]
    assert await registry.get(first.id, tenant="t") == third
    again = await registry.get(first.id, 1, tenant="t")
    assert (again.spec, again.updated_ms, again.newest) == (first.spec, first.updated_ms, 3)
    with pytest.raises(RevisionConflict):
        await registry.update(first.id, BIRD, tenant="t", expect=2)
    with pytest.raises(AgentNotFound):
        await registry.get(first.id, 4, tenant="t")
    with pytest.raises(InvalidArgument):
        await registry.get(first.id, 0, tenant="t")
    await store.close()


async def test_a_tenant_sees_its_own_agents_alone() -> None:
    store = SqliteStore.open(":memory:")
    registry = AgentRegistry(store)
    mine = await registry.create(BIRD, tenant="mine")
    for tenant in ("other", None):
        for refused in (
            registry.get(mine.id, tenant=tenant),
            registry.update(mine.id, BIRD, tenant=tenant),
            registry.versions(mine.id, tenant=tenant),
            registry.archive(mine.id, tenant=tenant),
        ):
            with pytest.raises(AgentNotFound):
                await refused
        assert await registry.list(tenant=tenant) == []
        assert not await registry.delete(mine.id, tenant=tenant)
    assert await registry.list(tenant="mine") == [mine]
    await store.close()


async def test_an_archived_agent_stays_as_it_is() -> None:
    clock = ManualClock()
    store = SqliteStore.open(":memory:", clock=clock)
    registry = AgentRegistry(store, clock=clock)
    one = await registry.create(BIRD, tenant=None)
    clock.advance(1)
    other = await registry.create(BIRD, tenant=None)
    archived = await registry.archive(one.id, tenant=None)
    assert archived.archived_ms is not None
    assert await registry.archive(one.id, tenant=None) == archived
    with pytest.raises(Conflict):
        await registry.update(one.id, changed(instructions="Rest."), tenant=None)
    assert [a.id for a in await registry.list(tenant=None, archived=False)] == [other.id]
    assert [a.id for a in await registry.list(tenant=None, ascending=True)] == [one.id, other.id]
    assert await registry.delete(one.id, tenant=None)
    with pytest.raises(AgentNotFound):
        await registry.get(one.id, tenant=None)
    await store.close()


async def test_of_many_changes_at_once_none_is_lost() -> None:
    store = SqliteStore.open(":memory:")
    registry = AgentRegistry(store)
    agent = await registry.create(BIRD, tenant=None)

    def noting(number: int) -> Any:
        return lambda spec: msgspec.structs.replace(spec, metadata={**spec.metadata, str(number): ""})

    await asyncio.gather(*(registry.update(agent.id, noting(n), tenant=None) for n in range(8)))
    newest = await registry.get(agent.id, tenant=None)
    assert (newest.version, newest.spec.metadata) == (9, {str(n): "" for n in range(8)})
    await store.close()


async def test_a_variant_is_told_by_what_it_changes() -> None:
    store = SqliteStore.open(":memory:")
    registry = AgentRegistry(store)
    agent = await registry.create(BIRD, tenant=None)
    assert await registry.variant(agent, agent.spec) == agent.ref
    wet = msgspec.structs.replace(agent.spec, instructions="Swim.")
    variant = await registry.variant(agent, wet)
    assert variant != agent.ref
    assert base_of(variant) == agent.ref
    assert await registry.variant(agent, wet) == variant
    assert (await store.get_agent(variant.name, variant.version))[1].instructions == "Swim."
    assert await registry.variant(agent, msgspec.structs.replace(wet, models=("test:other",))) != variant
    assert [a.id for a in await registry.list(tenant=None)] == [agent.id]
    await store.close()


async def test_what_is_made_again_under_its_id_is_there_once() -> None:
    store = SqliteStore.open(":memory:")
    registry = AgentRegistry(store)
    first = await registry.create(BIRD, tenant="t", agent="agent_1")
    assert await registry.create(BIRD, tenant="t", agent="agent_1") == first
    with pytest.raises(KeyReused):
        await registry.create(msgspec.structs.replace(BIRD, instructions="Swim."), tenant="t", agent="agent_1")
    await registry.delete("agent_1", tenant="t")  # as if it had broken off before the document
    again = await registry.create(BIRD, tenant="t", agent="agent_1")
    assert (again.id, again.version, again.spec) == (first.id, 1, first.spec)
    await store.close()
