"""Several processes on one PostgreSQL database: they wake each other, show each other's deltas, and see each other die.

The other process is this file run as a script: `python test_store_postgres_processes.py <role> <url>`. The two talk in lines
over its standard input and output. No store polls, so that what arrives came over NOTIFY.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from godwit.core.errors import SessionNotFound, StaleEpoch
from godwit.core.events import AgentMessage, Delta, SessionConfigured
from godwit.core.ids import MessageId, SessionId
from godwit.core.messages import Assistant, Text
from godwit.stores.postgres.store import PostgresStore
from godwit.testing import S, drafts, drive, eventually, folded, new_session, prompt, refused, seqs, within

if TYPE_CHECKING:
    from tests.postgres_server import Server

Role = Callable[[PostgresStore], Awaitable[None]]
ROUNDS = 60
SESSIONS = 4
BIG = "The godwit flies, \0 and Ünïcode \U0001f9ed too. " * 8_000
_numbers = itertools.count()


def named(name: str) -> SessionConfigured:
    return SessionConfigured(name=name)


# --- what the other process does ---


def say(text: object) -> None:
    print(text, flush=True)


async def heard() -> None:
    await asyncio.to_thread(sys.stdin.readline)


async def appends(store: PostgresStore) -> None:
    say("ready")
    await heard()
    for number in range(100):
        await store.append(S, drafts(named(f"child {number}")))
    say("done")


async def waits(store: PostgresStore) -> None:
    await store.listening()
    cursor = await store.wait(S, 0)
    say(f"ready {cursor}")
    while cursor >= 0:
        cursor = await store.wait(S, cursor)
        say(cursor)


async def echoes(store: PostgresStore) -> None:
    """Answers each append with one of its own, in each session; says when a session is through."""
    await store.listening()

    async def answer(session: SessionId) -> None:
        cursor = 1
        for _ in range(ROUNDS):
            cursor = await store.wait(session, cursor)
            cursor = (await store.append(session, drafts(named("back")))).last
        say(session)

    say("ready")
    await asyncio.gather(*(answer(SessionId(f"s{number}")) for number in range(SESSIONS)))
    await heard()


async def claims(store: PostgresStore) -> None:
    lease = await store.claim(S, store.owner, 3600)
    say("refused" if lease is None else lease.epoch)
    await heard()


async def publishes(store: PostgresStore) -> None:
    """Half of a message before the parent looks, half after, then it is stored."""
    store.publish(Delta(S, "progress", "call", text="here"))
    await store.listening()
    for at in range(0, 50, 5):
        store.publish(Delta(S, "text", "m", at, f"{at:05}"))
    say("half")
    await heard()
    for at in range(50, 1000, 5):
        store.publish(Delta(S, "text", "m", at, f"{at:05}"))
    store.publish(Delta(S, "text", "m2", 0, BIG))
    store.publish(Delta(S, "tool_output", "call", 0, "out", name="bash"))
    say("sent")
    await heard()
    lease = await store.claim(S, store.owner, 60)
    assert lease is not None
    await store.append(S, drafts(AgentMessage(Assistant(MessageId("m2"), (Text("stored"),)))), epoch=lease.epoch)
    say("stored")
    await heard()


async def flies(store: PostgresStore) -> None:
    """On and on, until it is killed."""
    while True:
        done = await asyncio.gather(*(store.append(S, drafts(named("x" * 400))) for _ in range(4)))
        say(max(one.last for one in done))


ROLES: dict[str, Role] = {role.__name__: role for role in (appends, waits, echoes, claims, publishes, flies)}


async def run_role(name: str, url: str) -> None:
    async with await PostgresStore.open(url, poll_s=None) as store:
        await ROLES[name](store)


# --- the tests ---


class Child:
    def __init__(self, role: Role, url: str) -> None:
        import godwit

        source = os.path.dirname(os.path.dirname(os.path.abspath(godwit.__file__)))
        self.process = subprocess.Popen(
            [sys.executable, __file__, role.__name__, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": source},
        )

    async def says(self) -> str:
        assert self.process.stdout is not None
        return (await within(asyncio.to_thread(self.process.stdout.readline))).strip()

    def tell(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def end(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self.process.kill()
        self.process.wait()


@contextlib.asynccontextmanager
async def child(role: Role, url: str) -> AsyncIterator[Child]:
    one = Child(role, url)
    try:
        yield one
    finally:
        one.end()


@pytest.fixture
def url(postgres_server: Server) -> str:
    return postgres_server.url(f"p{next(_numbers)}")


@contextlib.asynccontextmanager
async def opened(url: str, *, session: bool = True) -> AsyncIterator[PostgresStore]:
    async with await PostgresStore.open(url, poll_s=None) as store:
        await store.listening()
        if session:
            await new_session(store)
        yield store


async def test_two_processes_append_to_one_log_and_one_feed(url: str) -> None:
    async with opened(url) as store, child(appends, url) as other:
        await store.set_feed_types(["session.configured"])
        await other.says()
        other.tell()

        async def write() -> None:
            for number in range(100):
                await store.append(S, drafts(named(f"parent {number}")))

        writing = asyncio.create_task(write())
        position, fed = 0, list[int]()
        while len(fed) < 200:
            await within(store.wait_feed(position))
            entries = await store.feed(position, limit=7)
            fed += [entry.seq for entry in entries]
            if entries:
                position = entries[-1].position
                await store.trim_feed(position)
        await writing
        assert fed == list(range(2, 202))
        events = await store.read(S)
        assert seqs(events) == list(range(1, 202))
        assert folded(events).seq == (await store.session(S)).head
        names = [e.data.name for e in events if isinstance(e.data, SessionConfigured)]
        assert [n for n in names if n and n.startswith("p")] == [f"parent {n}" for n in range(100)]
        assert [n for n in names if n and n.startswith("c")] == [f"child {n}" for n in range(100)]


async def test_an_append_wakes_the_other_process(url: str) -> None:
    async with opened(url) as store, child(waits, url) as other:
        assert await other.says() == "ready 1"
        for head in range(2, 6):
            await store.append(S, drafts(named(str(head))))
            assert await other.says() == str(head)
        other.process.send_signal(signal.SIGSTOP)
        for number in range(100):
            await store.append(S, drafts(named(str(number))))
        other.process.send_signal(signal.SIGCONT)
        while int(await other.says()) < 105:
            pass


async def test_no_wake_up_is_lost_between_two_processes_that_take_turns(url: str) -> None:
    async with opened(url, session=False) as store:
        for number in range(SESSIONS):
            await new_session(store, session=SessionId(f"s{number}"))
        async with child(echoes, url) as other:
            assert await other.says() == "ready"

            async def ask(session: SessionId) -> None:
                for turn in range(ROUNDS):
                    own = (await store.append(session, drafts(named("forth")))).last
                    for _ in range(turn % 5):  # begin to wait sooner or later
                        await asyncio.sleep(0)
                    assert await within(store.wait(session, own)) == own + 1

            await asyncio.gather(*(ask(SessionId(f"s{number}")) for number in range(SESSIONS)))
            assert {await other.says() for _ in range(SESSIONS)} == {f"s{number}" for number in range(SESSIONS)}


async def test_a_delete_ends_the_other_waiting(url: str) -> None:
    async with opened(url) as one, opened(url, session=False) as two:
        assert await one.wait(S, 0) == 1
        waiting = asyncio.create_task(one.wait(S, 5))
        await asyncio.sleep(0)
        await two.delete(S)
        await refused(SessionNotFound, within(waiting))


async def test_a_killed_owner_is_seen_to_be_dead_before_its_lease_is_over(url: str) -> None:
    async with opened(url) as store:
        async with child(claims, url) as other:
            assert await other.says() == "1"
            owner = (await store.session(S)).owner
            assert owner is not None
            assert await store.alive(owner)
            assert await store.claim(S, store.owner, 60) is None
            other.process.kill()
            lease = await eventually(lambda: store.claim(S, store.owner, 60))
            assert lease.epoch == 2
            assert store.has_ended(owner)
            assert await store.others() == frozenset()


async def test_an_owner_that_closed_is_dead_at_once(url: str) -> None:
    async with opened(url) as store:
        async with opened(url, session=False) as other:
            assert await other.claim(S, other.owner, 3600) is not None
            assert await store.claim(S, store.owner, 60) is None
        assert await store.claim(S, store.owner, 60) is not None


async def test_a_killed_writer_loses_nothing_it_was_told(url: str) -> None:
    async with opened(url) as store:
        async with child(flies, url) as other:
            acknowledged = 0
            while acknowledged < 100:
                acknowledged = int(await other.says())
            other.process.kill()
            assert other.process.stdout is not None
            for line in other.process.stdout.read().splitlines():
                acknowledged = max(acknowledged, int(line))
        events = await store.read(S)
        assert len(events) >= acknowledged
        assert seqs(events) == list(range(1, len(events) + 1))
        assert (await store.append(S, drafts(named("goes on")))).first == len(await store.read(S))


async def test_a_driver_elsewhere_is_fenced(url: str) -> None:
    async with opened(url) as one, opened(url, session=False) as two:
        await prompt(one)
        old = await drive(one)
        assert await two.claim(S, two.owner, 60, force=True) is not None
        await refused(StaleEpoch, one.append(S, drafts(named("late")), epoch=old.epoch))
        assert not await one.renew(old)


async def test_deltas_cross_from_their_beginning(url: str) -> None:
    async with opened(url) as store, child(publishes, url) as other:
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
        assert text("text", "m2") == BIG
        # Who joins here gets it without asking the other process again.
        late: list[Delta] = []
        store.watch(S, late.append)()
        assert {(d.id, d.kind, d.offset, len(d.text)) for d in late if d.id != "m"} == {
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


async def test_nobody_is_told_who_does_not_watch(url: str) -> None:
    async with opened(url) as one, opened(url, session=False) as two:
        seen: list[Delta] = []
        end = two.watch(S, seen.append)
        one.publish(Delta(S, "text", "m", 0, "a"))

        async def shown() -> bool:
            return bool(seen)

        await eventually(shown)
        end()

        async def forgotten() -> bool:
            return not one._bus.wanted(S)

        await eventually(forgotten)
        one.publish(Delta(S, "text", "m", 1, "b"))
        assert len(seen) == 1
        assert S not in two._underway


async def test_many_follow_many(url: str) -> None:
    sessions = [SessionId(f"s{n}") for n in range(40)]
    async with opened(url, session=False) as one, opened(url, session=False) as two:
        await asyncio.gather(*(new_session(one, session=session) for session in sessions))

        async def follow(session: SessionId) -> list[int]:
            seen: list[int] = []
            while len(seen) < 6:
                events = await two.read(session, len(seen))
                if not events:
                    await two.wait(session, len(seen))
                seen += seqs(events)
            return seen

        following = [asyncio.create_task(follow(session)) for session in sessions for _ in range(3)]
        for number in range(5):
            await asyncio.gather(*(one.append(session, drafts(named(str(number)))) for session in sessions))
        assert await within(asyncio.gather(*following)) == [[1, 2, 3, 4, 5, 6]] * 120


if __name__ == "__main__":
    asyncio.run(run_role(*sys.argv[1:]))
