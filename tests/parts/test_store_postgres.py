"""The PostgreSQL store keeps every promise of the contracts, on a real server."""

from __future__ import annotations

import asyncio
import itertools
import re
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import pytest
from tests.postgres_server import Server

from godwit.contracts import MemoryStore
from godwit.core.errors import ConfigurationError, InvalidArgument, StoreError, StoreTooNew, StoreUnreachable
from godwit.core.events import SessionConfigured, SessionCreated, UsageRecorded
from godwit.core.ids import ManualClock, SessionId
from godwit.core.messages import Usage
from godwit.stores.postgres import sql
from godwit.stores.postgres.store import PostgresStore
from godwit.testing import (
    AGENT,
    MemoryConformance,
    S,
    Store,
    StoreConformance,
    drafts,
    drive,
    eventually,
    new_session,
    prompt,
    refused,
)

_numbers = itertools.count()


@pytest.fixture
def url(postgres_server: Server) -> str:
    """Of a schema of the test's own."""
    return postgres_server.url(f"s{next(_numbers)}")


class TestStore(StoreConformance):
    @pytest.fixture(autouse=True)
    def _schema(self, url: str) -> None:
        self.url = url

    async def make_store(self) -> PostgresStore:
        # No polling: what wakes a waiter here is the hint of the other store.
        return await PostgresStore.open(self.url, poll_s=None)

    async def make_second(self, store: Store) -> PostgresStore:
        second = await self.make_store()
        await second.listening()
        return second


class TestMemories(MemoryConformance):
    @pytest.fixture(autouse=True)
    def _schema(self, url: str) -> None:
        self.url = url

    async def make_store(self, clock: ManualClock) -> MemoryStore:
        return await PostgresStore.open(self.url, clock=clock)

    async def reopened(self, store: MemoryStore, clock: ManualClock) -> MemoryStore:
        await self.end(store)
        return await self.make_store(clock)

    async def end(self, store: MemoryStore) -> None:
        assert isinstance(store, PostgresStore)
        await store.close()


async def connected(server: Server) -> Any:
    return await asyncpg.connect(f"postgresql://godwit@/postgres?host={server.folder}&port={server.port}")


async def rows(server: Server, text: str, *values: object) -> list[tuple[Any, ...]]:
    db = await connected(server)
    try:
        return [tuple(row) for row in await db.fetch(text, *values)]
    finally:
        await db.close()


def schema_of(url: str) -> str:
    return url.rpartition("=")[2]


async def test_schema_is_the_sum_of_its_migrations(postgres_server: Server) -> None:
    db = await connected(postgres_server)

    async def made(name: str, *scripts: str) -> list[tuple[Any, ...]]:
        await db.execute(f"CREATE SCHEMA {name}; SET search_path = {name}")
        for script in scripts:
            await db.execute(script)
        found = await db.fetch(
            "SELECT 'column', table_name, column_name, data_type, is_nullable, column_default, collation_name, is_identity"
            " FROM information_schema.columns WHERE table_schema = $1 UNION ALL"
            " SELECT 'index', tablename, indexname, indexdef, '', '', '', '' FROM pg_indexes WHERE schemaname = $1 UNION ALL"
            " SELECT 'table', relname, reloptions::text, relkind::text, '', '', '', '' FROM pg_class"
            "   WHERE relnamespace = $1::regnamespace UNION ALL"
            " SELECT 'function', proname, prosrc, provolatile::text, '', '', '', '' FROM pg_proc"
            "   WHERE pronamespace = $1::regnamespace ORDER BY 1, 2, 3, 4",
            name,
        )
        return [tuple(str(one).replace(f"{name}.", "") for one in row) for row in found]

    try:
        migrated, whole = await made("migrated", *sql.MIGRATIONS), await made("whole", sql.schema())
        assert migrated == whole
        assert len(whole) > 200
    finally:
        await db.execute("DROP SCHEMA migrated CASCADE; DROP SCHEMA whole CASCADE")
        await db.close()


async def test_each_query_fits_the_schema(url: str, postgres_server: Server) -> None:
    async with await PostgresStore.open(url):
        db = await connected(postgres_server)
        try:
            await db.execute(f"SET search_path = {schema_of(url)}")
            for name in sql.names():
                if name not in ("begin_part", "undo_part", "end_part"):
                    await db.prepare(sql.query(name))
        finally:
            await db.close()


def test_both_stores_have_the_queries_that_their_parts_name() -> None:
    from godwit.stores.sql import names as of_sqlite

    own = {"add_log_bytes", "begin_log_bytes", "feed_document", "feed_event", "feed_types", "insert_event", "insert_key"}
    own |= {"find_key", "insert_log_part", "insert_session", "insert_text", "mark_stale", "session_row", "update_session"}
    own |= {"update_session_activity", "update_session_status", "update_session_tasks"}
    assert set(of_sqlite()) - own <= set(sql.names())


@pytest.mark.parametrize(
    ("one", "other"),
    [("page_sessions", "page_sessions_newest_first"), ("list_documents", "list_documents_newest_first")],
)
def test_the_two_orders_of_a_page_are_mirrors(one: str, other: str) -> None:
    turned = sql.query(other).replace(") < (", ") > (").replace(" DESC", "")
    assert re.sub(r"\s+", " ", turned) == re.sub(r"\s+", " ", sql.query(one))


def test_nothing_that_is_committed_notifies() -> None:
    """It would make all commits of the server wait for each other; notices have a transaction of their own."""
    assert not [name for name in sql.names() if "notify" in sql.query(name).lower()]


async def test_appends_of_many_go_in_few_commits(url: str, postgres_server: Server) -> None:
    async with await PostgresStore.open(url) as store:
        sessions = [SessionId(f"s{n}") for n in range(20)]
        await asyncio.gather(*(new_session(store, session) for session in sessions))
        for session in sessions:
            await store.append(session, drafts(SessionConfigured(name="first")))
        work = [store.append(session, drafts(SessionConfigured(name=str(n)))) for n in range(10) for session in sessions]
        await asyncio.gather(*work)
        ((commits, events),) = await rows(
            postgres_server, f"SELECT count(DISTINCT xmin::text), count(*) FROM {schema_of(url)}.events WHERE seq > 2"
        )
        assert events == 200
        assert commits <= 10


async def test_two_that_work_for_one_do_not_lock_each_other_out(url: str) -> None:
    """Each append of a child also changes its parent's row, in another process's transaction at the same time."""
    async with await PostgresStore.open(url) as one, await PostgresStore.open(url) as two:
        await new_session(one)
        children = [SessionId(name) for name in ("A", "z", "m", "b")]
        for child in children:
            await one.create(child, drafts(SessionCreated(AGENT, parent=S, root=S, depth=1)))
        lease = {child: await drive_of(one, child) for child in (*children, S)}
        used = drafts(UsageRecorded("x", "p:m", Usage(1, 1)))
        work = [
            (one, two)[(n + place) % 2].append(session, used, epoch=lease[session])
            for n in range(15)
            for place, session in enumerate(lease)
        ]
        await asyncio.gather(*work)
        assert (await two.spent(S)).tokens == 15 * 5 * 2


async def test_who_holds_a_session_up_holds_up_no_other(url: str, postgres_server: Server) -> None:
    """Somebody else's transaction that does not end: its session is refused after the time that was given, others go on."""
    other = SessionId("other")
    async with await PostgresStore.open(url, wait_s=1) as store:
        await new_session(store)
        await new_session(store, other)
        db = await connected(postgres_server)
        try:
            await db.execute("BEGIN")
            await db.execute(f"SELECT 1 FROM {schema_of(url)}.sessions WHERE id = '{S}' FOR UPDATE")
            held = store.append(S, drafts(SessionConfigured(name="held")))
            free = store.append(other, drafts(SessionConfigured(name="free")))
            found = await asyncio.gather(held, free, return_exceptions=True)
            assert [type(one).__name__ for one in found] == ["StoreLocked", "Appended"]
        finally:
            await db.close()
        assert (await store.append(S, drafts(SessionConfigured(name="later")))).last == 2


async def test_a_flush_waits_for_what_is_being_written(url: str) -> None:
    async with await PostgresStore.open(url) as store:
        await new_session(store)
        writing = [asyncio.ensure_future(store.append(S, drafts(SessionConfigured(name=str(n))))) for n in range(5)]
        for _ in range(3):
            await asyncio.sleep(0)
        await store.flush()
        assert all(one.done() for one in writing)
        assert (await store.session(S)).head == 6


async def drive_of(store: PostgresStore, session: SessionId) -> int:
    lease = await store.claim(session, "driver", 60)
    assert lease is not None
    return lease.epoch


async def test_a_lease_goes_by_the_clock_of_the_server(url: str) -> None:
    """A process whose own clock is wrong by hours takes nothing over, and holds nothing for longer."""
    late, early = ManualClock(4_000_000_000_000), ManualClock(1_000_000)
    async with await PostgresStore.open(url, clock=early) as one, await PostgresStore.open(url, clock=late) as two:
        await new_session(one)
        lease = await one.claim(S, "one", 60)
        assert lease is not None
        assert await two.claim(S, "two", 60) is None
        assert (await two.session(S)).owner == "one"
        assert await one.renew(lease)


async def test_who_lost_only_the_connection_is_not_dead(url: str, postgres_server: Server) -> None:
    """Signs of life and the lock both have to be missing, so neither a busy process nor a broken connection is taken
    over."""
    schema = schema_of(url)
    async with await PostgresStore.open(url) as one, await PostgresStore.open(url) as two:
        await new_session(one)
        owner = one.owner
        assert await one.claim(S, owner, 3600) is not None
        await rows(postgres_server, f"UPDATE {schema}.processes SET seen = seen - interval '1 hour'")
        assert not two.has_ended(owner)
        await rows(postgres_server, f"UPDATE {schema}.processes SET seen = clock_timestamp()")
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'godwit presence'"
        await rows(postgres_server, cut)
        assert not two.has_ended(owner)
        assert await two.claim(S, two.owner, 60) is None
        held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1"

        async def back() -> bool:
            return (await rows(postgres_server, held))[0][0] >= 2  # type: ignore[no-any-return]

        await eventually(back)  # by themselves


async def test_what_no_text_holds_is_kept_or_refused_alone(url: str) -> None:
    async with await PostgresStore.open(url) as store:
        await new_session(store)
        found = await asyncio.gather(
            store.append(S, drafts(SessionConfigured(name="nul \0 in it")), key="k\0"),
            store.append(S, drafts(SessionConfigured(name="lone")), key="\ud800"),
            store.append(S, drafts(SessionConfigured(model="m:n")), key="g"),
            return_exceptions=True,
        )
        assert [type(one).__name__ for one in found] == ["Appended", "InvalidArgument", "Appended"]
        assert (await store.session(S)).head == 3
        assert (await store.append(S, drafts(SessionConfigured(name="nul \0 in it")), key="k\0")).duplicate
        data = [event.data for event in await store.read(S, 1)]
        assert {getattr(one, "name", None) for one in data} == {"nul \0 in it", None}


async def test_long_texts_are_found_as_far_as_the_server_can_hold_their_words(url: str) -> None:
    from godwit.testing import message

    async with await PostgresStore.open(url) as store:
        await new_session(store)
        long = " ".join(f"word{n}" for n in range(150_000))
        await store.append(S, drafts(message(1, f"{long} at the end")))
        assert len(await store.search("word7 word8")) == 1
        assert len(await store.search('"word7 word8"')) == 1
        await store.append(S, drafts(message(2, "a b " * 300_000 + "tail", "prompt"), at_ms=5))
        assert len(await store.search("tail")) == 1


async def test_many_may_make_one_store(url: str) -> None:
    stores = await asyncio.gather(*(PostgresStore.open(url) for _ in range(6)))
    await new_session(stores[0])
    assert [len(await store.read(S)) for store in stores] == [1] * 6
    for store in stores:
        await store.close()


async def test_too_new(url: str, postgres_server: Server) -> None:
    await (await PostgresStore.open(url)).close()
    await rows(postgres_server, f"UPDATE {schema_of(url)}.godwit_schema SET version = 99")
    await refused(StoreTooNew, PostgresStore.open(url))


async def test_addresses_that_lead_nowhere(url: str) -> None:
    await refused(ConfigurationError, PostgresStore.open("mysql://x/y"))
    await refused(ConfigurationError, PostgresStore.open(url + "-DROP"))
    await refused(InvalidArgument, PostgresStore.open(url, connections=0))
    error = await refused(StoreUnreachable, PostgresStore.open("postgresql://godwit:s3cret@127.0.0.1:1/x", wait_s=1))
    assert "s3cret" not in f"{error} {error.details}"
    error = await refused(StoreError, PostgresStore.open(url.replace("/postgres?", "/nowhere?")))
    assert "nowhere" in str(error)


async def test_connections_stay_within_their_budget(url: str, postgres_server: Server) -> None:
    async with await PostgresStore.open(url, connections=3) as store:
        await new_session(store)
        await prompt(store)
        assert store.owner
        waiting = asyncio.create_task(store.wait(S, 99))
        await store.listening()
        await asyncio.gather(*(store.session(S) for _ in range(50)), *(store.rules() for _ in range(50)))
        await drive(store)
        count = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'godwit%'"
        assert (await rows(postgres_server, count))[0][0] <= 3 + 4
        waiting.cancel()
