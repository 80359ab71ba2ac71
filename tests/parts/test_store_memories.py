"""The SQLite store's memories keep the promises of their contract, in memory and in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from godwit.contracts import MemoryStore
from godwit.core.ids import ManualClock
from godwit.core.memory import Memory, MemoryPlace
from godwit.stores.sqlite import SqliteStore
from godwit.testing import MemoryConformance


async def close(store: MemoryStore) -> None:
    assert isinstance(store, SqliteStore)
    await store.close()


class TestMemory(MemoryConformance):
    async def make_store(self, clock: ManualClock) -> MemoryStore:
        return SqliteStore.open(":memory:", clock=clock)

    async def end(self, store: MemoryStore) -> None:
        await close(store)


class TestFile(MemoryConformance):
    @pytest.fixture(autouse=True)
    def file(self, tmp_path: Path) -> None:
        self.path = tmp_path / "m.db"

    async def make_store(self, clock: ManualClock) -> MemoryStore:
        return SqliteStore.open(self.path, clock=clock, durability="process")

    async def reopened(self, store: MemoryStore, clock: ManualClock) -> MemoryStore:
        await close(store)
        return await self.make_store(clock)

    async def end(self, store: MemoryStore) -> None:
        await close(store)


async def test_a_deleted_memory_leaves_neither_words_nor_vector(tmp_path: Path) -> None:
    async with SqliteStore.open(tmp_path / "m.db") as store:
        place = MemoryPlace("user")
        await store.put_memory(Memory("m", "gone soon", place=place))
        assert await store.delete_memory("m", [place])
        db = store._database.connect()
        for table in ("memories", "memory_words", "memory_vectors"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
        db.close()
