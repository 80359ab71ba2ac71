"""The SQLite store keeps every promise of the contract, on a file at each level of durability and in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from godwit.contracts import BlobStore, EventStore
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
