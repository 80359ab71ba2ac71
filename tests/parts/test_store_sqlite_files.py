"""The SQLite store when its file is full, locked, read-only, damaged, cut short, too new; and what is on the disk."""

from __future__ import annotations

import asyncio
import random
import re
import resource
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from godwit.core.agent import AgentSpec
from godwit.core.artifact import ArtifactLimits
from godwit.core.budget import Spent
from godwit.core.errors import (
    IllegalEvent,
    InvalidArgument,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
    StoreTooNew,
)
from godwit.core.events import (
    AgentMessage,
    Labels,
    ModelStarted,
    SessionConfigured,
    SessionPaused,
    SessionResumed,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    TurnStarted,
)
from godwit.core.ids import AgentName, ManualClock, MessageId, RunId, SessionId
from godwit.core.messages import Assistant, ToolCall, Usage
from godwit.stores import sql
from godwit.stores.database import Durability
from godwit.stores.sqlite import SqliteStore
from godwit.testing import CALL, T0, S, drafts, drive, eventually, folded, message, new_session, prompt, seqs, within


def named(name: str) -> SessionConfigured:
    return SessionConfigured(name=name)


async def grown(path: Path, events: int = 60, size: int = 200) -> None:
    """A closed store whose log has so many events."""
    async with SqliteStore.open(path) as store:
        await new_session(store)
        for number in range(events - 1):
            await store.append(S, drafts(named(f"{number} " + "x" * size)))


@contextmanager
def page_limit(store: SqliteStore, spare: int) -> Iterator[None]:
    """As if the disk had room for `spare` more pages."""
    writer = store._writer
    with writer.lock:
        pages = writer.connection.execute("PRAGMA page_count").fetchone()[0]
        writer.connection.execute(f"PRAGMA max_page_count = {pages + spare}")
    try:
        yield
    finally:
        with writer.lock:
            writer.connection.execute("PRAGMA max_page_count = 1073741823")


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """As if the disk took no byte beyond `size` in a file: every write there fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_new_database_is_its_owners_alone(tmp_path: Path) -> None:
    async with SqliteStore.open(tmp_path / "g.db") as store:
        await new_session(store)
        beside = {path.name: path.stat().st_mode & 0o077 for path in tmp_path.iterdir()}
    assert beside == dict.fromkeys(("g.db", "g.db-wal", "g.db-shm"), 0)
    (tmp_path / "g.db").chmod(0o640)
    await SqliteStore.open(tmp_path / "g.db").close()
    assert (tmp_path / "g.db").stat().st_mode & 0o777 == 0o640  # whoever wants it otherwise says so once


async def test_full_then_room_again(tmp_path: Path) -> None:
    async with SqliteStore.open(tmp_path / "godwit.db") as store:
        await new_session(store)
        acknowledged = 1
        with page_limit(store, 4):
            full: StoreFull | None = None
            while full is None:
                try:
                    acknowledged = (await store.append(S, drafts(named("x" * 500)))).last
                except StoreFull as error:
                    full = error
            assert str(tmp_path) in full.message
            assert acknowledged > 1
            assert seqs(await store.read(S)) == list(range(1, acknowledged + 1))
            with pytest.raises(IllegalEvent):
                await store.append(S, drafts(SessionResumed()))
        assert (await store.append(S, drafts(named("room again")))).first == (await store.session(S)).head
        assert folded(await store.read(S)).name == "room again"


async def test_what_does_not_fit_does_not_spoil_what_does(tmp_path: Path) -> None:
    async with SqliteStore.open(tmp_path / "godwit.db") as store:
        names = [SessionId(f"s{n}") for n in range(8)]
        for name in names:
            await new_session(store, name)
        with page_limit(store, 8):
            big = drafts(named("x" * 400_000))
            outcomes = await asyncio.gather(
                *(store.append(n, big if n == "s3" else drafts(named("small"))) for n in names), return_exceptions=True
            )
        assert [isinstance(o, StoreFull) for o in outcomes] == [n == "s3" for n in names]
        assert [(await store.session(n)).head for n in names] == [1 if n == "s3" else 2 for n in names]


async def test_a_write_the_system_refuses(tmp_path: Path) -> None:
    path = tmp_path / "godwit.db"
    async with SqliteStore.open(path) as store:
        await new_session(store)
        with largest_file((tmp_path / "godwit.db-wal").stat().st_size + 1000):
            with pytest.raises(StoreFull):
                await store.append(S, drafts(named("x" * 20_000)))
        assert (await store.append(S, drafts(named("after")))).first == 2
    async with SqliteStore.open(path) as store:
        assert folded(await store.read(S)).name == "after"


async def test_read_only(tmp_path: Path) -> None:
    path = tmp_path / "godwit.db"
    await grown(path, 3)
    other = SessionId("other")
    async with SqliteStore.open(path) as writing, SqliteStore.open(f"file:{path}?mode=ro", poll_s=0.01) as store:
        assert seqs(await store.read(S)) == [1, 2, 3]
        for call in (store.append(S, drafts(SessionPaused())), store.claim(S, store.owner, 1), new_session(store, other)):
            with pytest.raises(StoreReadOnly):
                await call
        waiting = asyncio.create_task(store.wait(S, 3))
        await asyncio.sleep(0)
        await writing.append(S, drafts(SessionPaused()))
        assert await within(waiting) == 4
        assert (await store.session(S)).status == "paused"
    assert not (tmp_path / "godwit.db.d").exists()


@pytest.mark.parametrize("level", ["disk", "process"])
async def test_locked_then_free(tmp_path: Path, level: Durability) -> None:
    path = tmp_path / "godwit.db"
    async with SqliteStore.open(path, wait_s=0.05, durability=level) as store:
        await new_session(store)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            with pytest.raises(StoreLocked):
                await store.append(S, drafts(SessionPaused()))
            assert seqs(await store.read(S)) == [1]
            async with SqliteStore.open(path, wait_s=0.05) as second:
                assert seqs(await second.read(S)) == [1], "opening and reading need no lock"
        finally:
            other.execute("ROLLBACK")
            other.close()
        assert (await store.append(S, drafts(SessionPaused()))).first == 2


async def test_waits_for_a_short_lock(tmp_path: Path) -> None:
    path = tmp_path / "godwit.db"
    async with SqliteStore.open(path, wait_s=20) as store:
        await new_session(store)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        appending = asyncio.create_task(store.append(S, drafts(SessionPaused())))
        await asyncio.sleep(0)
        other.execute("ROLLBACK")
        other.close()
        assert (await within(appending)).first == 2


async def test_damaged_pages_then_restored(tmp_path: Path) -> None:
    path = tmp_path / "godwit.db"
    await grown(path, 300)
    whole = path.read_bytes()
    async with SqliteStore.open(path) as store:
        # All but the first pages, which hold the schema and the session, are overwritten.
        path.write_bytes(whole[: 4096 * 20] + random.Random(1).randbytes(len(whole) - 4096 * 20))
        with pytest.raises(StoreCorrupt):
            await store.read(S)
        with pytest.raises(StoreCorrupt):
            await store.append(S, drafts(named("x" * 300)))
        path.write_bytes(whole)
        assert seqs(await store.read(S)) == list(range(1, 301))
        assert (await store.append(S, drafts(named("x")))).first == 301


@pytest.mark.parametrize("content", [b"This is a diary, no database.\n" * 300, b"SQLite format 3\0" + b"\xff" * 8000])
def test_no_database(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "diary.txt"
    path.write_bytes(content)
    with pytest.raises(StoreCorrupt):
        SqliteStore.open(path)
    assert path.read_bytes() == content


def test_the_database_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "photos.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE photos (name TEXT)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreCorrupt, match="another program"):
        SqliteStore.open(path)
    assert path.read_bytes() == before


async def test_too_new(tmp_path: Path) -> None:
    path = tmp_path / "godwit.db"
    await grown(path, 2)
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {len(sql.MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(StoreTooNew):
        SqliteStore.open(path)


def test_no_folder_and_no_level(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="folder"):
        SqliteStore.open(tmp_path / "missing" / "godwit.db")
    with pytest.raises(InvalidArgument):
        SqliteStore.open(tmp_path / "godwit.db", durability="paper")  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", ["cut", "zeros", "noise"])
async def test_a_torn_write_ahead_log(tmp_path: Path, ending: str) -> None:
    """A copy made at any moment, its last writes lost or garbled, opens with all that was acknowledged before."""
    source, wal = tmp_path / "godwit.db", tmp_path / "godwit.db-wal"
    chance = random.Random(ending)
    async with SqliteStore.open(source) as store:
        await new_session(store)
        acknowledged = [(wal.stat().st_size, 1)]
        for number in range(80):
            done = await store.append(S, drafts(*(named("x" * chance.randrange(2000)) for _ in range(1 + number % 3))))
            acknowledged.append((wal.stat().st_size, done.last))
        base, log = source.read_bytes(), wal.read_bytes()
        events = await store.read(S)
    sizes = [size for size, _ in acknowledged]
    assert sizes == sorted(sizes), "the log was checkpointed in between: write less"
    for number in range(25):
        cut = chance.randrange(acknowledged[0][0], len(log) + 1)
        rest = {"cut": b"", "zeros": bytes(len(log) - cut), "noise": chance.randbytes(len(log) - cut)}[ending]
        copy = tmp_path / f"copy-{number}.db"
        copy.write_bytes(base)
        Path(f"{copy}-wal").write_bytes(log[:cut] + rest)
        async with SqliteStore.open(copy) as store:
            found = await store.read(S)
            assert len(found) >= max(last for size, last in acknowledged if size <= cut)
            assert found == events[: len(found)]
            assert (await store.session(S)).head == folded(found).seq == len(found)
            assert (await store.append(S, drafts(named("goes on")))).first == len(found) + 1


def test_schema_is_the_sum_of_its_migrations() -> None:
    def tables(statements: list[str]) -> set[tuple[str, ...]]:
        db = sqlite3.connect(":memory:")
        for statement in statements:
            db.execute(statement)
        found = db.execute("SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_master").fetchall()
        db.close()
        return {(*names, plain(text)) for *names, text in found}

    def plain(text: str) -> str:
        """Without comments and layout: a column that a migration adds stands behind the others on one line."""
        return re.sub(r"\s*([,()])\s*", r"\1", " ".join(re.sub(r"--.*", "", text).split()))

    migrated = tables([statement for migration in sql.MIGRATIONS for statement in migration])
    assert migrated == tables(sql.schema())
    assert len(migrated) > 7


def test_each_query_fits_the_schema() -> None:
    db = sqlite3.connect(":memory:")
    for statement in sql.schema():
        db.execute(statement)
    for name in sql.names():
        text = sql.query(name)
        parameters = {word.strip(":"): None for word in re.findall(r":[a-z_]+", text)}
        db.execute(f"EXPLAIN QUERY PLAN {text}", parameters or (None,) * text.count("?")).fetchall()
    db.close()


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("page_sessions", "sessions_by_creation (tenant=? AND created_ms>?)"),
        ("page_sessions_newest_first", "sessions_by_creation (tenant=? AND created_ms<?)"),
        ("list_documents", "documents_by_creation (tenant=? AND kind=? AND created_ms>?)"),
        ("list_documents_newest_first", "documents_by_creation (tenant=? AND kind=? AND created_ms<?)"),
    ],
)
def test_a_page_is_read_in_the_order_of_an_index(name: str, index: str) -> None:
    """Nothing is sorted for it, however many there are."""
    db = sqlite3.connect(":memory:")
    for statement in sql.schema():
        db.execute(statement)
    text = sql.query(name)
    parameters = {word.strip(":"): None for word in re.findall(r":[a-z_]+", text)}
    plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {text}", parameters)]
    db.close()
    assert plan[0].endswith(f"USING INDEX {index}"), plan
    assert not [step for step in plan if "ORDER BY" in step]


@pytest.mark.parametrize(
    ("one", "other"), [("page_sessions", "page_sessions_newest_first"), ("list_documents", "list_documents_newest_first")]
)
def test_the_two_orders_of_a_page_are_mirrors(one: str, other: str) -> None:
    mirrored = re.sub(r"(created_ms|id) > (:at_ms|:at_id)", r"\1 < \2", sql.query(one))
    mirrored = mirrored.replace("ORDER BY created_ms, id", "ORDER BY created_ms DESC, id DESC")
    assert _statement(mirrored) == _statement(sql.query(other))


def _statement(text: str) -> str:
    return re.sub(r"^--.*\n", "", text, flags=re.MULTILINE)


async def test_an_older_file_learns_what_was_spent(tmp_path: Path) -> None:
    """A file from before sessions counted their spending: the migration reads it from the logs."""
    path = tmp_path / "godwit.db"
    other = SessionId("other")
    async with SqliteStore.open(path) as store:
        for session, tokens in ((S, 10), (other, 70)):
            await new_session(store, session)
            await prompt(store, session)
            lease = await drive(store, session)
            answers = [
                Assistant(MessageId("m1"), (ToolCall(CALL, "bash"),), usage=Usage(tokens, 5, cost_usd=0.25)),
                Assistant(MessageId("m2"), (), usage=Usage(0, tokens)),
            ]
            await store.append(session, drafts(TurnStarted(1), ModelStarted(MessageId("m1"), "m")), epoch=lease.epoch)
            await store.append(
                session, drafts(AgentMessage(answers[0]), ToolStarted(CALL, "bash", {}, "k")), epoch=lease.epoch
            )
            ended = drafts(
                ToolFinished(CALL, "bash", "ok"), TurnFinished(1), TurnStarted(2), ModelStarted(MessageId("m2"), "m")
            )
            await store.append(session, [*ended, *drafts(AgentMessage(answers[1]))], epoch=lease.epoch)
        counted = {session: await store.spent(session) for session in (S, other)}
    as_of(path, 1)
    async with SqliteStore.open(path) as store:
        assert {session: await store.spent(session) for session in (S, other)} == counted
        assert counted[other] == Spent(145, 0.25, 2, 1)
        assert (await store.session(S)).parent is None


async def test_an_older_file_keeps_its_artifacts_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "godwit.db"
    async with SqliteStore.open(path) as store:
        await new_session(store)
        await new_session(store, SessionId("other"))
        refs = [(await store.put_artifact(S, content, "text/plain")).ref for content in (b"one", b"two", b"three")]
        await store.put_artifact(SessionId("other"), b"two", "text/plain")
    as_of(path, 2)
    async with SqliteStore.open(path) as store:
        assert [a.ref for a in await store.artifacts(S)] == refs
        assert {(a.pinned, a.stored_ms) for a in await store.artifacts(S)} == {(False, T0)}
        await store.put_artifact(S, b"four", "text/plain", limits=ArtifactLimits(max_artifacts=2))
        assert (await store.artifacts(S))[0].ref == refs[2]
        assert (await store.get_artifact(refs[1]))[1] == b"two"  # which the other session holds


def as_of(path: Path, version: int) -> None:
    """Make the file what an older godwit, of so many migrations, would have written."""
    old = sqlite3.connect(path.with_suffix(".old"))
    for statement in [statement for migration in sql.MIGRATIONS[:version] for statement in migration]:
        old.execute(statement)
    old.execute("ATTACH ? AS new", (str(path),))
    for (table,) in old.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall():
        columns = ", ".join(column for _, column, *_ in old.execute(f"PRAGMA main.table_info({table})"))
        old.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}")
    application = old.execute("PRAGMA new.application_id").fetchone()[0]
    old.commit()
    old.execute(f"PRAGMA main.application_id = {application}")
    old.execute(f"PRAGMA main.user_version = {version}")
    old.execute("DETACH new")
    old.close()
    path.with_suffix(".old").replace(path)


async def test_what_an_older_file_had_indexed_is_indexed_anew(tmp_path: Path) -> None:
    """Up to migration 13 texts were indexed as they stand, and a script without spaces was one word."""
    path = tmp_path / "godwit.db"
    async with SqliteStore.open(path) as store:
        await new_session(store)
        await store.append(S, drafts(message(1, "日本語を勉強")))
    with sqlite3.connect(path) as old:
        (position,) = old.execute("SELECT position FROM events WHERE type = 'user.message'").fetchone()
        old.execute("INSERT INTO texts (rowid, text) VALUES (?, '日本語を勉強')", (position,))
        old.execute("UPDATE sessions SET searched = head, stale = 0")
        old.execute("PRAGMA user_version = 13")
    async with SqliteStore.open(path) as store:
        assert [found.seq for found in await store.search("勉強")] == [2]


async def test_logs_of_an_older_store_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "godwit.db"
    sessions = [(S, "acme"), (SessionId("other"), None), (SessionId("third"), "acme")]
    async with SqliteStore.open(path) as store:
        for session, tenant in sessions:
            await new_session(store, session, labels=Labels(tenant=tenant))
            await store.append(session, drafts(named("x" * 20_000)))
        counted = [await store.log_bytes(tenant) for tenant in ("acme", None, "none")]
    as_of(path, 7)
    async with SqliteStore.open(path) as store:
        assert [await store.log_bytes(tenant) for tenant in ("acme", None, "none")] == counted
        await store.delete(S)
        await store.delete(SessionId("third"))
        assert await store.log_bytes("acme") == 0
    assert counted[0] > counted[1] > counted[2] == 0


async def test_many_may_make_one_store(tmp_path: Path) -> None:
    """A new file opened from many threads at once is migrated once."""
    path = tmp_path / "godwit.db"
    stores: list[SqliteStore] = []
    faults: list[BaseException] = []

    def open_it() -> None:
        try:
            stores.append(SqliteStore.open(path))
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    await new_session(stores[0])
    assert [seqs(await store.read(S)) for store in stores] == [[1]] * 8
    for store in stores:
        await store.close()


async def test_it_is_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "godwit.db"
    synchronous = {"disk": 2, "process": 1, "memory": 0}
    for level, number in synchronous.items():
        async with SqliteStore.open(path, durability=level) as store:  # type: ignore[arg-type]
            assert store.durability == level
            with store._writer.lock:
                db = store._writer.connection
                assert db.execute("PRAGMA synchronous").fetchone() == (number,)
                assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    async with SqliteStore.open(":memory:") as store:
        assert store.durability == "memory"


async def test_the_write_ahead_log_is_moved_into_the_file(tmp_path: Path) -> None:
    """Also when commits happen on the caller's thread, which never waits for a checkpoint."""
    path = tmp_path / "godwit.db"
    async with SqliteStore.open(path, durability="process") as store:
        await new_session(store)
        for _ in range(2000):
            await store.append(S, drafts(named("x" * 1000)))

        async def moved() -> bool:
            return path.stat().st_size > 1_000_000

        await eventually(moved)
        assert (tmp_path / "godwit.db-wal").stat().st_size < 16_000_000


async def test_closed_it_leaves_one_file(short_path: Path) -> None:
    path = short_path / "godwit.db"
    async with SqliteStore.open(path) as store:
        await new_session(store)
        await store.claim(S, store.owner, 60)
        await store.wait(S, 1, 0.001)
        assert {p.suffix for p in (short_path / "godwit.db.d").iterdir()} == {".owner", ".sock"}
    assert [p.name for p in short_path.iterdir()] == ["godwit.db"]
    shutil.copy(path, short_path / "copy.db")
    async with SqliteStore.open(short_path / "copy.db") as store:
        assert (await store.session(S)).owner is None


async def test_one_store_in_two_threads(tmp_path: Path) -> None:
    for path in (tmp_path / "godwit.db", ":memory:"):
        store = SqliteStore.open(path)
        await new_session(store)
        seen: list[int] = []
        ready = threading.Event()

        async def follow(store: SqliteStore = store, seen: list[int] = seen, ready: threading.Event = ready) -> None:
            waiting = asyncio.create_task(store.wait(S, 1))
            await asyncio.sleep(0)
            ready.set()
            seen.append(await within(waiting))
            seen.append((await store.append(S, drafts(named("from the thread")))).last)

        thread = threading.Thread(target=asyncio.run, args=(follow(),))
        thread.start()
        await asyncio.to_thread(ready.wait)
        await store.append(S, drafts(SessionPaused()))
        await asyncio.to_thread(thread.join)
        assert seen == [2, 3]
        # The other loop is closed now; what it had asked for troubles nobody.
        assert (await store.append(S, drafts(named("on")))).last == 4
        await store.close()


async def test_a_lease_runs_out_by_the_clock_it_was_given(tmp_path: Path) -> None:
    clock = ManualClock()
    async with SqliteStore.open(tmp_path / "godwit.db", clock=clock) as store:
        await new_session(store)
        lease = await store.claim(S, "one", 10)
        assert lease is not None
        clock.advance(9.9)
        assert await store.claim(S, "two", 10) is None
        assert await store.renew(lease)
        clock.advance(9.9)
        assert (await store.session(S)).owner == "one"
        clock.advance(0.2)
        assert (await store.session(S)).owner is None
        assert await store.renew(lease)
        clock.advance(11)
        two = await store.claim(S, "two", 10)
        assert two is not None
        assert not await store.renew(lease)


async def test_an_odd_value_is_refused_alone(tmp_path: Path) -> None:
    async with SqliteStore.open(tmp_path / "godwit.db") as store:
        await new_session(store)
        good, bad, late = await asyncio.gather(
            store.append(S, drafts(named("a"))),
            store.append(S, drafts(named("b"), run=RunId("\ud800"))),
            store.append(S, drafts(named("c"))),
            return_exceptions=True,
        )
        assert isinstance(bad, UnicodeEncodeError)
        assert not isinstance(good, BaseException)
        assert not isinstance(late, BaseException)
        assert folded(await store.read(S)).name == "c"
        assert seqs(await store.read(S)) == [1, 2, 3]


async def test_a_cancelled_append_is_whole_or_absent(tmp_path: Path) -> None:
    async with SqliteStore.open(tmp_path / "godwit.db") as store:
        await new_session(store)
        tasks = [asyncio.create_task(store.append(S, drafts(named("a"), named("b")))) for _ in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store.flush()
        head = (await store.session(S)).head
        assert head % 2 == 1
        assert seqs(await store.read(S)) == list(range(1, head + 1))


async def test_agents_made_by_two_stores_at_once(tmp_path: Path) -> None:
    path = tmp_path / "godwit.db"
    async with SqliteStore.open(path) as one, SqliteStore.open(path) as two:
        specs = [AgentSpec(AgentName("bird"), ("test:model",), f"Instruction {n}") for n in range(10)]
        refs = await asyncio.gather(*(s.put_agent(spec) for spec in specs for s in (one, two)))
        found = [(await one.get_agent("bird", ref.version))[1] for ref in refs]
        assert found == [spec for spec in specs for _ in (one, two)]
        assert [r.version for r in await two.agent_versions("bird")] == list(range(1, max(r.version for r in refs) + 1))


async def test_deleting_one_of_two_lets_the_second_store_forget(tmp_path: Path) -> None:
    path = tmp_path / "godwit.db"
    async with SqliteStore.open(path, poll_s=None) as one, SqliteStore.open(path, poll_s=None) as two:
        await new_session(one)
        await two.append(S, drafts(message()))
        await one.delete(S)
        await new_session(one)
        # Its row is another one now; a store that trusted its memory would write behind the old head.
        assert (await two.append(S, drafts(message()))).first == 2
        assert (await one.append(S, drafts(SessionPaused()))).first == 3


async def test_who_saw_the_row_reads_that_far(tmp_path: Path) -> None:
    """Reads share one look at the head within a turn of the loop, unless the caller has learnt of a newer one in it."""
    path = tmp_path / "godwit.db"
    async with (
        SqliteStore.open(path, poll_s=None, durability="process") as one,
        SqliteStore.open(path, poll_s=None, durability="process") as two,
    ):
        await new_session(one)
        await two.wait(S, 0)
        # At this level nothing here gives way to the loop, so the other store's hints have not been taken in.
        await one.append(S, drafts(SessionPaused()))
        assert seqs(await two.read(S, 1)) == [2]
        await one.append(S, drafts(SessionResumed()))
        assert (await two.session(S)).head == 3
        assert seqs(await two.read(S, 2)) == [3]
