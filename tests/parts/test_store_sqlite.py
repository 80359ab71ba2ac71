"""The SQLite store keeps every promise of the contract, on a file at each level of durability and in memory."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from godwit.contracts import BlobStore, EventStore
from godwit.core.agent import AgentSpec
from godwit.core.ids import AgentName
from godwit.stores.database import Durability
from godwit.stores.sqlite import SqliteStore
from godwit.testing import Store, StoreConformance


class TestMemory(StoreConformance):
    async def make_store(self) -> SqliteStore:
        return SqliteStore.open(":memory:")


class TestFile(StoreConformance):
    durability: Durability = "disk"

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    async def make_store(self) -> SqliteStore:
        # No polling: what wakes a waiter here is the hint of the other store.
        return SqliteStore.open(self.folder / "godwit.db", durability=self.durability, poll_s=None)

    async def make_second(self, store: Store) -> SqliteStore:
        return await self.make_store()


class TestFileAtProcessLevel(TestFile):
    durability: Durability = "process"


async def test_is_both_contracts() -> None:
    async with SqliteStore.open(":memory:") as store:
        events: EventStore = store
        blobs: BlobStore = store
        assert id(events) == id(blobs)  # what matters here is that the type checker agrees


async def test_sessions_of_one_agent_share_what_it_is(tmp_path: Path) -> None:
    """Thousands of idle handles hold the agent; another text under the same name and version is another agent."""
    spec = AgentSpec(AgentName("bird"), ("test:model",), "Fly.")
    async with SqliteStore.open(tmp_path / "one.db") as store, SqliteStore.open(tmp_path / "two.db") as other:
        ref = await store.put_agent(spec)
        found = [(await store.get_agent("bird", ref.version))[1] for _ in range(3)]
        assert found[0] == spec
        assert all(one is found[0] for one in found)
        assert await other.put_agent(msgspec.structs.replace(spec, instructions="Dive.")) == ref
        assert (await other.get_agent("bird"))[1].instructions == "Dive."
        assert (await store.get_agent("bird"))[1].instructions == "Fly."
