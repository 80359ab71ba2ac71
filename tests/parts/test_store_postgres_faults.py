"""A PostgreSQL store whose server dies, and whose connections break at the worst moments: nothing that was acknowledged is
lost, nothing is stored twice, and whoever waits is woken.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import pytest
from tests.postgres_proxy import Fate, proxied
from tests.postgres_server import Server, programs, running

from godwit.core.errors import SessionNotFound, StoreUnreachable
from godwit.core.events import SessionConfigured
from godwit.core.ids import SessionId
from godwit.stores.postgres.store import PostgresStore
from godwit.testing import S, drafts, new_session, refused, seqs, within

_numbers = itertools.count()


@pytest.fixture
def url(postgres_server: Server) -> str:
    return postgres_server.url(f"f{next(_numbers)}")


@pytest.fixture
def own_server() -> Iterator[Server]:
    """One that a test may kill."""
    found = programs()
    if found is None:
        pytest.skip("no PostgreSQL server here: install one, or run scripts/clients")
    with running(found) as server:
        yield server


def named(name: str) -> SessionConfigured:
    return SessionConfigured(name=name)


async def names(store: PostgresStore, session: SessionId = S) -> list[str | None]:
    events = await store.read(session)
    assert seqs(events) == list(range(1, len(events) + 1))
    return [event.data.name for event in events if isinstance(event.data, SessionConfigured)]


@pytest.mark.parametrize("fate", ["lose", "lose the answer"])
async def test_a_commit_whose_answer_is_lost_is_asked_about(
    url: str, postgres_server: Server, short_path: Path, fate: Fate
) -> None:
    """Whether it was lost before the commit or behind it: what was given is stored once, and acknowledged."""
    lost: list[bytes] = []

    def decide(data: bytes) -> Fate:
        if b"COMMIT\0" in data and b"ROLLBACK" not in data and armed and not lost:
            lost.append(data)
            return fate
        return "pass"

    armed = False
    async with proxied(short_path, postgres_server.socket, decide) as proxy:
        async with await PostgresStore.open(proxy.url(url.rpartition("=")[2])) as store:
            await new_session(store)
            armed = True
            # Without a key or an expected head nothing else would tell a repetition from a new event.
            done = await within(asyncio.gather(*(store.append(S, drafts(named(str(n)))) for n in range(20))))
            assert lost
            assert sorted(one.first for one in done) == list(range(2, 22))
            assert sorted(map(str, await names(store))) == sorted(map(str, range(20)))
            lost.clear()
            assert await within(store.claim(S, "me", 60)) is not None
            assert lost
            assert (await store.session(S)).epoch == 1


async def test_a_server_that_is_killed_loses_and_doubles_nothing(own_server: Server) -> None:
    url = own_server.url("godwit")
    sessions = [SessionId(f"s{n}") for n in range(4)]
    async with await PostgresStore.open(url, wait_s=100) as store:
        for session in sessions:
            await new_session(store, session)
        acknowledged: dict[SessionId, list[str]] = {session: [] for session in sessions}
        begun = asyncio.Event()
        ended = False

        async def write(session: SessionId, writer: int) -> None:
            number = 0
            while not ended:
                name = f"{writer}-{number}"
                await store.append(session, drafts(named(name)))
                acknowledged[session].append(name)
                number += 1
                if number == 5:
                    begun.set()

        writers = [asyncio.create_task(write(session, writer)) for session in sessions for writer in range(3)]
        for _ in range(3):
            begun.clear()
            before = sum(map(len, acknowledged.values()))
            await asyncio.to_thread(own_server.kill)
            await asyncio.to_thread(own_server.start)
            while sum(map(len, acknowledged.values())) < before + 50:
                await asyncio.sleep(0.01)
                for writer in writers:
                    assert not writer.done() or writer.result() is None
        ended = True
        await within(asyncio.gather(*writers))
        for session in sessions:
            assert sorted(map(str, await names(store, session))) == sorted(acknowledged[session])
    # And it is all there for who opens it anew.
    async with await PostgresStore.open(url) as again:
        assert sum([len(await names(again, session)) for session in sessions]) == sum(map(len, acknowledged.values()))


async def test_a_server_that_stays_away_is_told_and_comes_back(own_server: Server) -> None:
    async with await PostgresStore.open(own_server.url("godwit"), wait_s=1) as store:
        await new_session(store)
        assert await store.wait(S, 0) == 1
        waiting = asyncio.create_task(store.wait(S, 1))
        await store.listening()
        await asyncio.to_thread(own_server.kill)
        await refused(StoreUnreachable, within(store.append(S, drafts(named("lost")))))
        await refused(StoreUnreachable, within(store.session(S)))
        await refused(StoreUnreachable, within(store.claim(S, "me", 60)))
        await asyncio.to_thread(own_server.start)
        assert (await within(store.append(S, drafts(named("found"))))).last == 2
        assert await within(waiting) == 2
        assert await names(store) == ["found"]


async def cut(server: Server, name: str) -> int:
    db: Any = await asyncpg.connect(f"postgresql://godwit@/postgres?host={server.folder}&port={server.port}")
    try:
        ended = await db.fetch("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", name)
        return len(ended)
    finally:
        await db.close()


async def test_a_listener_that_was_cut_off_listens_again(url: str, postgres_server: Server) -> None:
    """Nobody polls: what was told while it did not listen is found when it does again, and after that it is told."""
    async with await PostgresStore.open(url, poll_s=None) as one, await PostgresStore.open(url, poll_s=None) as two:
        await new_session(one)
        await two.listening()
        waiting = asyncio.create_task(two.wait(S, 1))
        await asyncio.sleep(0)
        for turn in range(3):
            assert await cut(postgres_server, "godwit listener") >= 1
            await one.append(S, drafts(named(str(turn))))
            assert await within(waiting) == turn + 2
            waiting = asyncio.create_task(two.wait(S, turn + 2))
        await two.listening()
        await one.append(S, drafts(named("told")))
        assert await within(waiting) == 5


async def test_a_writer_that_was_cut_off_goes_on(url: str, postgres_server: Server) -> None:
    async with await PostgresStore.open(url) as store:
        await new_session(store)
        for turn in range(3):
            assert await cut(postgres_server, "godwit writer") >= 1
            assert (await within(store.append(S, drafts(named(str(turn)))))).last == turn + 2
            await store.rules()  # there is a connection for reads
            assert await cut(postgres_server, "godwit") >= 1
            assert (await within(store.session(S))).head == turn + 2


async def test_hints_that_are_lost_are_found_by_looking(url: str, postgres_server: Server, short_path: Path) -> None:
    lost = 0

    def decide(data: bytes) -> Fate:
        nonlocal lost
        if b"pg_notify" in data:
            lost += 1
            return "lose"
        return "pass"

    async with proxied(short_path, postgres_server.socket, decide) as proxy:
        writer = await PostgresStore.open(proxy.url(url.rpartition("=")[2]), poll_s=None)
        async with writer, await PostgresStore.open(url, poll_s=0.05) as reader:
            await new_session(writer)
            await writer.set_feed_types(["session.configured"])
            feed = asyncio.create_task(reader.wait_feed(0))
            for head in range(2, 6):
                waiting = asyncio.create_task(reader.wait(S, head - 1))
                await asyncio.sleep(0)
                await writer.append(S, drafts(named(str(head))))
                assert await within(waiting) == head
            assert await within(feed) >= 1
            gone = asyncio.create_task(reader.wait(S, 5))
            await asyncio.sleep(0)
            await writer.delete(S)
            await refused(SessionNotFound, within(gone))
            assert lost
