"""What is put ahead costs no commit of its own: it waits for the next one, for a flush, or for the end."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from godwit.core.document import Document
from godwit.core.errors import StoreClosed
from godwit.stores.database import Durability
from godwit.stores.sqlite import SqliteStore


def ids(path: Path) -> list[str]:
    """What a process that looks now finds."""
    with closing(sqlite3.connect(path)) as database:
        return [found for (found,) in database.execute("SELECT id FROM documents ORDER BY id")]


@pytest.mark.parametrize("durability", ["disk", "process"])
async def test_it_waits_for_the_next_and_is_committed_with_it(tmp_path: Path, durability: Durability) -> None:
    path = tmp_path / "g.db"
    async with SqliteStore.open(path, durability=durability) as store:
        await store.put_documents([Document("k", "0", b"{}")])
        ahead = asyncio.ensure_future(store.put_documents([Document("k", "1", b"{}")], ahead=True))
        await store.get_document("k", "0", tenant=None)
        for _ in range(10):
            await asyncio.sleep(0)
        assert (ahead.done(), ids(path)) == (False, ["0"])
        await store.put_documents([Document("k", "2", b"{}")])
        assert ids(path) == ["0", "1", "2"]
        (stored,) = await ahead
        assert stored.revision == 1


@pytest.mark.parametrize("durability", ["disk", "process"])
async def test_the_end_of_the_store_is_late_enough(tmp_path: Path, durability: Durability) -> None:
    path = tmp_path / "g.db"
    store = SqliteStore.open(path, durability=durability)
    ahead = asyncio.ensure_future(store.put_documents([Document("k", "1", b"{}")], ahead=True))
    await asyncio.sleep(0)
    await store.close()
    await ahead
    assert ids(path) == ["1"]
    with pytest.raises(StoreClosed):
        await store.put_documents([Document("k", "2", b"{}")], ahead=True)


async def test_another_writer_of_the_file_keeps_it_in_its_place(tmp_path: Path) -> None:
    """The caller's thread cannot have the file at once and leaves both to the other thread, in their order."""
    path = tmp_path / "g.db"
    async with SqliteStore.open(path, durability="process") as store:
        await store.put_documents([Document("k", "0", b"{}")])
        ahead = asyncio.ensure_future(store.put_documents([Document("k", "1", b"{}")], ahead=True))
        await asyncio.sleep(0)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            following = asyncio.ensure_future(store.put_documents([Document("k", "2", b"{}")]))
            await asyncio.sleep(0)
            other.execute("COMMIT")
        await following
        assert ahead.done()
        assert ids(path) == ["0", "1", "2"]
