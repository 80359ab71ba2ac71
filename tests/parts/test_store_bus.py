"""Several processes on one database: they wake each other, show each other's deltas, and see each other die.

The other process is this file run as a script: `python test_store_bus.py <role> <path>`. The two talk in lines over its
standard input and output; it does without pytest, which takes longer to load than all the rest. Unless a test says so no
store polls, so that what arrives came over the socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from godwit.core.errors import SessionNotFound, SessionOwned, StaleEpoch
from godwit.core.events import AgentMessage, Delta, SessionConfigured
from godwit.core.ids import MessageId, SessionId
from godwit.core.messages import Assistant, Text
from godwit.stores.database import Durability
from godwit.stores.owners import Owners
from godwit.stores.sqlite import SqliteStore
from godwit.testing import S, drafts, drive, eventually, folded, new_session, prompt, refused, seqs, within

Role = Callable[[SqliteStore], Awaitable[None]]
ROUNDS = 350
SESSIONS = 6
BIG = "The godwit flies. " * 20_000


def named(name: str) -> SessionConfigured:
    return SessionConfigured(name=name)


# --- what the other process does ---


def say(text: object) -> None:
    print(text, flush=True)


async def heard() -> None:
    await asyncio.to_thread(sys.stdin.readline)


async def appends(store: SqliteStore) -> None:
    say("ready")
    await heard()
    for number in range(150):
        await store.append(S, drafts(named(f"child {number}")))
    say("done")


async def waits(store: SqliteStore) -> None:
    cursor = await store.wait(S, 0)
    say(f"ready {cursor}")
    while cursor >= 0:
        cursor = await store.wait(S, cursor)
        say(cursor)


async def echoes(store: SqliteStore) -> None:
    """Answers each append with one of its own, in each session; says when a session is through."""

    async def answer(session: SessionId) -> None:
        cursor = 1
        for _ in range(ROUNDS):
            cursor = await store.wait(session, cursor)
            cursor = (await store.append(session, drafts(named("back")))).last
        say(session)

    say("ready")
    await asyncio.gather(*(answer(SessionId(f"s{number}")) for number in range(SESSIONS)))
    await heard()


async def claims(store: SqliteStore) -> None:
    lease = await store.claim(S, store.owner, 3600)
    say("refused" if lease is None else lease.epoch)
    await heard()


async def publishes(store: SqliteStore) -> None:
    """Half of a message before the parent looks, half after, then it is stored."""
    for at in range(0, 50, 5):
        store.publish(Delta(S, "text", "m", at, f"{at:05}"))
    say("half")
    await heard()
    for at in range(50, 1000, 5):
        store.publish(Delta(S, "text", "m", at, f"{at:05}"))
    store.publish(Delta(S, "progress", "call", text="almost"))
    store.publish(Delta(S, "discard", "m"))
    store.publish(Delta(S, "text", "m2", 0, BIG))
    store.publish(Delta(S, "tool_output", "call", 0, "out", name="bash"))
    say("sent")
    await heard()
    lease = await store.claim(S, store.owner, 60)
    assert lease is not None
    await store.append(S, drafts(AgentMessage(Assistant(MessageId("m2"), (Text(BIG),)))), epoch=lease.epoch)
    say("stored")
    await heard()


async def flies(store: SqliteStore) -> None:
    """On and on, until it is killed."""
    while True:
        done = await asyncio.gather(*(store.append(S, drafts(named("x" * 400))) for _ in range(4)))
        say(max(one.last for one in done))


async def watches(store: SqliteStore) -> None:
    """Says how much of the text "m" it has seen without a hole."""
    known = 0

    def show(delta: Delta) -> None:
        nonlocal known
        if delta.id == "m" and delta.offset == known:
            known += len(delta.text)
            say(known)

    store.watch(S, show)
    say("ready")
    await heard()


ROLES: dict[str, Role] = {role.__name__: role for role in (appends, waits, echoes, claims, publishes, flies, watches)}


async def run_role(name: str, path: str, durability: Durability = "disk") -> None:
    async with SqliteStore.open(path, poll_s=None, durability=durability) as store:
        await ROLES[name](store)


# --- the tests ---


class Child:
    def __init__(self, role: Role, path: Path, **environment: str) -> None:
        import godwit

        source = str(Path(godwit.__file__).parent.parent)
        self.process = subprocess.Popen(
            [sys.executable, __file__, role.__name__, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": source, **environment},
        )

    async def says(self) -> str:
        assert self.process.stdout is not None
        return (await within(asyncio.to_thread(self.process.stdout.readline))).strip()

    def tell(self, text: str = "go") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        """Kill it, if it has not ended."""
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self.process.kill()
        self.process.wait()


@contextlib.asynccontextmanager
async def child(role: Role, path: Path, **environment: str) -> AsyncIterator[Child]:
    one = Child(role, path, **environment)
    try:
        yield one
    finally:
        one.end()


async def made(folder: Path) -> Path:
    """A database with one new session."""
    path = folder / "godwit.db"
    async with SqliteStore.open(path) as store:
        await new_session(store)
    return path


def opened(path: Path, poll_s: float | None = None) -> SqliteStore:
    return SqliteStore.open(path, poll_s=poll_s)


async def test_two_processes_append_to_one_log(short_path: Path) -> None:
    path = await made(short_path)
    async with opened(path) as store, child(appends, path) as other:
        await other.says()
        other.tell()
        for number in range(150):
            await store.append(S, drafts(named(f"parent {number}")))
        assert await other.says() == "done"
        events = await store.read(S)
        assert seqs(events) == list(range(1, 302))
        assert folded(events).seq == (await store.session(S)).head
        names = [e.data.name for e in events if isinstance(e.data, SessionConfigured)]
        assert [n for n in names if n and n.startswith("p")] == [f"parent {n}" for n in range(150)]
        assert [n for n in names if n and n.startswith("c")] == [f"child {n}" for n in range(150)]


async def test_a_feed_of_two_processes_has_all_that_both_committed_once(short_path: Path) -> None:
    """Read and trimmed while both write; no store polls, so it is the other process's hints that wake."""
    path = await made(short_path)
    async with opened(path) as store, child(appends, path) as other:
        await store.set_feed_types(["session.configured"])
        await other.says()
        other.tell()

        async def write() -> None:
            for number in range(150):
                await store.append(S, drafts(named(f"parent {number}")))

        writing = asyncio.create_task(write())
        position, found = 0, list[int]()
        while len(found) < 300:
            await within(store.wait_feed(position))
            entries = await store.feed(position, limit=7)
            found += [entry.seq for entry in entries]
            if entries:
                position = entries[-1].position
                await store.trim_feed(position)
        await writing
        assert found == list(range(2, 302))
        assert await store.feed() == []


async def test_an_append_wakes_the_other_process(short_path: Path) -> None:
    path = await made(short_path)
    async with opened(path) as store, child(waits, path) as other:
        assert await other.says() == "ready 1"
        for head in range(2, 6):
            await store.append(S, drafts(named(str(head))))
            assert await other.says() == str(head)


async def test_the_other_process_wakes_us(short_path: Path) -> None:
    path = await made(short_path)
    async with opened(path) as store, child(appends, path) as other:
        await other.says()
        waiting = asyncio.create_task(store.wait(S, 150))
        await asyncio.sleep(0)
        other.tell()
        assert await within(waiting) > 150
        cursor = 0
        while cursor < 151:
            cursor = await within(store.wait(S, cursor))
            assert seqs(await store.read(S, to_seq=cursor)) == list(range(1, cursor + 1))


async def test_a_full_queue_loses_no_wake_up(short_path: Path) -> None:
    """The kernel keeps a handful of datagrams; a process that slept through hundreds still learns the newest head."""
    path = await made(short_path)
    async with opened(path) as store, child(waits, path) as other:
        assert await other.says() == "ready 1"
        other.signal(signal.SIGSTOP)
        for number in range(300):
            await store.append(S, drafts(named(str(number))))
        other.signal(signal.SIGCONT)
        while int(await other.says()) < 301:
            pass


async def test_no_wake_up_is_lost_between_two_processes_that_take_turns(short_path: Path) -> None:
    """Each side appends only once the other's append has woken it, thousands of times, so a single wake-up that is lost is
    the end; nobody polls. Meanwhile a third process writes as fast as it can, so that queues of datagrams are full."""
    path = short_path / "godwit.db"
    async with SqliteStore.open(path, poll_s=None, durability="process") as store:
        await new_session(store)
        for number in range(SESSIONS):
            await new_session(store, session=SessionId(f"s{number}"))
        async with child(echoes, path) as other, child(flies, path) as busy:
            assert await other.says() == "ready"
            noise = asyncio.create_task(store.wait(S, 1 << 40))  # so that hints of it are read here as well
            reading = threading.Thread(target=_drain, args=(busy,), daemon=True)
            reading.start()

            async def ask(session: SessionId) -> None:
                cursor = 1
                for turn in range(ROUNDS):
                    own = (await store.append(session, drafts(named("forth")))).last
                    for _ in range(turn % 5):  # begin to wait sooner or later
                        await asyncio.sleep(0)
                    cursor = await within(store.wait(session, own))
                    assert cursor == own + 1

            await asyncio.gather(*(ask(SessionId(f"s{number}")) for number in range(SESSIONS)))
            assert {await other.says() for _ in range(SESSIONS)} == {f"s{number}" for number in range(SESSIONS)}
            noise.cancel()
            busy.process.kill()
            reading.join()
        for number in range(SESSIONS):
            assert (await store.session(SessionId(f"s{number}"))).head == 1 + 2 * ROUNDS


def _drain(one: Child) -> None:
    """Read what it says, or it stands still."""
    assert one.process.stdout is not None
    for _ in one.process.stdout:
        pass


async def test_a_delete_ends_the_other_process_waiting(short_path: Path) -> None:
    path = await made(short_path)
    async with opened(path) as one, opened(path) as two:
        waiting = asyncio.create_task(one.wait(S, 5))
        await asyncio.sleep(0)
        await two.delete(S)
        await refused(SessionNotFound, within(waiting))


async def test_a_killed_owner_is_dead_at_once(short_path: Path) -> None:
    path = await made(short_path)
    async with opened(path) as store:
        async with child(claims, path) as other:
            assert await other.says() == "1"
            row = await store.session(S)
            assert row.owner is not None
            assert str(other.process.pid) in row.owner
            assert await store.claim(S, store.owner, 60) is None
            await refused(SessionOwned, store.delete(S))
            # One that is stopped is alive, only slow.
            other.signal(signal.SIGSTOP)
            assert await store.claim(S, store.owner, 60) is None
            other.signal(signal.SIGKILL)
            other.process.wait()
            assert (await store.session(S)).owner is None
            lease = await store.claim(S, store.owner, 60)
            assert lease is not None
            assert lease.epoch == 2
            assert (await store.session(S)).owner == store.owner
        async with child(claims, path) as third:
            assert await third.says() == "refused"


async def test_an_owner_that_closed_is_dead_at_once(short_path: Path) -> None:
    path = await made(short_path)
    async with opened(path) as store, child(claims, path) as other:
        assert await other.says() == "1"
        other.tell("end")
        await asyncio.to_thread(other.process.wait)
        assert (await store.session(S)).owner is None
        assert await store.claim(S, store.owner, 60) is not None
        await store.delete(S)


async def test_a_killed_writer_loses_nothing_it_was_told(short_path: Path) -> None:
    path = await made(short_path)
    for level in ("disk", "process"):
        async with child(flies, path, LEVEL=level) as other:
            while int(told := await other.says()) < 500:
                pass
            other.signal(signal.SIGKILL)
            while line := await other.says():
                told = line
        async with opened(path) as store:
            events = await store.read(S)
            assert len(events) >= int(told)
            assert folded(events).seq == (await store.session(S)).head == len(events)
            await store.delete(S)
            await new_session(store)


async def test_deltas_cross_from_their_beginning(short_path: Path) -> None:
    path = await made(short_path)
    async with opened(path) as store, child(publishes, path) as other:
        await prompt(store)
        assert await other.says() == "half"
        seen: list[Delta] = []
        arrived = asyncio.Event()

        def show(delta: Delta) -> None:
            seen.append(delta)
            arrived.set()

        async def until(condition: Callable[[], bool]) -> None:
            while not condition():
                arrived.clear()
                await within(arrived.wait())

        def text(kind: str, id_: str) -> str:
            known = ""
            for delta in seen:
                if (delta.kind, delta.id) == (kind, id_):
                    assert delta.offset == len(known), "a piece came twice, or one is missing"
                    known += delta.text
            return known

        end = store.watch(S, show)
        await until(lambda: len(text("text", "m")) == 50)
        other.tell()
        await until(lambda: text("tool_output", "call") == "out")
        assert text("text", "m") == "".join(f"{at:05}" for at in range(0, 1000, 5))
        kinds = [(d.kind, d.id) for d in seen]
        assert kinds.index(("discard", "m")) > kinds.index(("progress", "call"))
        await until(lambda: len(text("text", "m2")) == len(BIG))
        assert text("text", "m2") == BIG
        assert len(seen) < 400, "single pieces should travel together"

        # Who joins here gets it without asking the other process again.
        late: list[Delta] = []
        store.watch(S, late.append)()
        assert {(d.id, d.kind, d.offset, len(d.text)) for d in late} == {
            ("m2", "text", 0, len(BIG)),
            ("call", "tool_output", 0, 3),
        }
        waiting = asyncio.create_task(store.wait(S, 3))
        other.tell()
        assert await other.says() == "sent"
        assert await other.says() == "stored"
        await within(waiting)
        late.clear()
        store.watch(S, late.append)()
        assert [d.id for d in late] == ["call"]
        end()


async def test_a_text_does_not_come_after_its_event(short_path: Path) -> None:
    path = await made(short_path)
    async with opened(path) as one, opened(path) as two:
        await prompt(one)
        lease = await drive(one)
        seen: list[Delta] = []
        end = two.watch(S, seen.append)

        async def wanted() -> bool:
            one.publish(Delta(S, "progress", "call", text="begin"))
            return bool(seen)

        await eventually(wanted)
        one.publish(Delta(S, "text", "m", 0, "Hello"))
        stored = drafts(AgentMessage(Assistant(MessageId("m"), (Text("Hello"),))))
        await one.append(S, stored, epoch=lease.epoch)
        one.publish(Delta(S, "progress", "call", text="end"))

        async def over() -> bool:
            return seen[-1].text == "end"

        await eventually(over)
        late: list[Delta] = []
        two.watch(S, late.append)()
        assert late == []
        end()


async def test_a_hole_in_the_deltas_is_filled(short_path: Path) -> None:
    """A process that slept through most of a message asks for the text so far when the next piece shows the hole."""
    path = await made(short_path)
    async with opened(path) as store, child(watches, path) as other:
        assert await other.says() == "ready"
        at = 0

        def publish(pieces: int) -> None:
            nonlocal at
            for _ in range(pieces):
                store.publish(Delta(S, "text", "m", at, "x" * 1000))
                at += 1000

        async def first() -> str | None:
            publish(1)
            return await other.says()

        assert int(await eventually(first)) > 0
        other.signal(signal.SIGSTOP)
        publish(50)
        for noise in range(5000):  # more than is kept for a peer that does not read
            store.publish(Delta(S, "tool_output", "call", noise * 1000, "y" * 1000))
        publish(50)
        other.signal(signal.SIGCONT)
        # Each further piece shows the hole again, until nothing is missing.
        known = 0
        while known < at:
            publish(1)
            with contextlib.suppress(asyncio.TimeoutError):
                known = int(await other.says())


async def test_nobody_is_told_who_does_not_watch(short_path: Path) -> None:
    path = await made(short_path)
    async with opened(path) as one, opened(path) as two:
        seen: list[Delta] = []
        end = two.watch(S, seen.append)
        one.publish(Delta(S, "text", "m", 0, "a"))

        async def shown() -> bool:
            return bool(seen)

        await eventually(shown)
        end()
        assert one._bus is not None

        async def forgotten() -> bool:
            return not one._bus.wanted(S)  # type: ignore[union-attr]

        await eventually(forgotten)
        one.publish(Delta(S, "text", "m", 1, "b"))
        assert len(seen) == 1
        assert S not in two._underway


async def test_sockets_of_the_dead_are_removed(short_path: Path) -> None:
    path = await made(short_path)
    async with opened(path) as store:
        async with child(waits, path) as other:
            assert await other.says() == "ready 1"
        sockets = list(Path(f"{path}.d").glob("*.sock"))
        assert len(sockets) == 1
        await store.append(S, drafts(named("x")))
        await store.flush()
        assert not sockets[0].exists()


async def test_a_long_path_meets_elsewhere(short_path: Path) -> None:
    folder = short_path / ("long" * 30)
    folder.mkdir()
    path = folder / "godwit.db"
    with tempfile.TemporaryDirectory(prefix="gw") as elsewhere:
        async with opened(path) as store:
            await new_session(store)
            async with child(waits, path, TMPDIR=tempfile.gettempdir()) as other:
                assert await other.says() == "ready 1"
                await store.append(S, drafts(named("x")))
                assert await other.says() == "2"
            met = store._bus._folder  # type: ignore[union-attr]
            assert met is not None
            assert met.parent == Path(tempfile.gettempdir())
            assert met.stat().st_mode & 0o777 == 0o700
            # One that meets yet elsewhere is out of reach of hints; then the look once in a while finds its commits.
            polling = opened(path, poll_s=0.01)
            waiting = asyncio.create_task(polling.wait(S, 2))
            async with child(appends, path, TMPDIR=elsewhere) as stranger:
                await stranger.says()
                stranger.tell()
                assert await within(waiting) > 2
                assert await stranger.says() == "done"
            await polling.close()


async def test_an_odd_letter_is_passed_over(short_path: Path) -> None:
    path = await made(short_path)
    async with opened(path) as one, opened(path) as two:
        waiting = asyncio.create_task(one.wait(S, 1))
        await asyncio.sleep(0)
        odd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        for name in Path(f"{path}.d").glob("*.sock"):
            for letter in (b"", b"hello", bytes(range(256)), b"\x92\xa5heads\x01"):
                odd.sendto(letter, str(name))
        odd.close()
        await two.append(S, drafts(named("x")))
        assert await within(waiting) == 2


async def test_many_sessions_in_one_commit(short_path: Path) -> None:
    path = await made(short_path)
    async with opened(path) as one, opened(path) as two:
        names = [SessionId(f"session {n} " + "x" * 100) for n in range(300)]
        await asyncio.gather(*(new_session(one, name) for name in names))
        waits = [asyncio.create_task(two.wait(name, 1)) for name in names]
        await asyncio.sleep(0)
        await asyncio.gather(*(one.append(name, drafts(named("x"))) for name in names))
        assert await within(asyncio.gather(*waits)) == [2] * 300


async def test_a_driver_elsewhere_is_fenced(short_path: Path) -> None:
    path = await made(short_path)
    async with opened(path) as one, opened(path) as two:
        await prompt(one)
        old = await drive(one)
        new = await two.claim(S, two.owner, 60, force=True)
        assert new is not None
        await refused(StaleEpoch, one.append(S, drafts(named("late")), epoch=old.epoch))
        assert not await one.renew(old)


def test_owners(short_path: Path) -> None:
    folder = short_path / "run"
    one, two = Owners(folder), Owners(folder)
    assert one.dead(two.name), "who holds no lock is not alive"
    two.hold()
    two.hold()
    assert not one.dead(two.name)
    assert not two.dead(two.name)
    assert not one.dead("somebody-else")
    assert not one.dead("")
    two.close()
    assert one.dead(two.name)
    assert list(folder.iterdir()) == []
    assert not Owners(None).dead(two.name)


if __name__ == "__main__":
    asyncio.run(run_role(sys.argv[1], sys.argv[2], os.environ.get("LEVEL", "disk")))  # type: ignore[arg-type]


async def test_topics_that_come_while_others_are_looked_at_end_no_look(tmp_path: Path) -> None:
    """The bus looks from a thread of its own. Garbage that is collected while it does lets the loop go on."""
    async with SqliteStore.open(tmp_path / "godwit.db") as store:
        hub = store._hub()
        for number in range(2000):
            hub.topic(SessionId(f"s{number}"))
        came: list[SessionId] = []

        def come(_phase: str, _info: object) -> None:
            if len(came) < 10_000:
                came.append(SessionId(f"new{len(came)}"))
                hub.topic(came[-1])

        before = gc.get_threshold()
        gc.callbacks.append(come)
        gc.set_threshold(1)
        try:
            store.look(sure=True)
        finally:
            gc.set_threshold(*before)
            gc.callbacks.remove(come)
        assert came
