"""What waits for a reader of a session's deltas is bounded."""

from __future__ import annotations

import asyncio

import pytest

from godwit.core.errors import SessionNotFound
from godwit.core.events import Delta
from godwit.core.ids import Seq
from godwit.engine.receiver import EventReceiver, LiveDeltas
from tests.patience import PATIENCE_S

from .conftest import Bench


async def test_a_reader_that_does_not_read_misses_the_oldest_deltas(bench: Bench) -> None:
    session = await bench.start(["Hi."])
    store = bench.runtimes[0].store
    head = (await store.session(session.id)).head
    live = LiveDeltas(store, session.id, limit=100)
    for number in range(1000):
        store.publish(Delta(session.id, "text", "m", number, ".", after=head))
    await live.wait(EventReceiver(store, session.id, head))
    assert len(live) == 100
    assert [d.offset for d in live.take(Seq(head + 1))] == list(range(900, 1000))
    assert len(live) == 0
    live.begin()
    store.publish(Delta(session.id, "text", "m", 1000, ".", after=Seq(head + 5)))
    assert live.take(Seq(head + 1)) == [], "what was shown after an event waits for it"
    assert len(live) == 1
    live.close()
    store.publish(Delta(session.id, "text", "m", 1001, ".", after=head))
    assert len(live) == 1


async def test_a_reader_is_woken_by_deltas_and_events_alike(bench: Bench) -> None:
    session = await bench.start(["Hi."])
    store = bench.runtimes[0].store
    head = (await store.session(session.id)).head
    live, receiver = LiveDeltas(store, session.id), EventReceiver(store, session.id, head)

    async def woken() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await live.wait(receiver)
        live.begin()

    async def until_it_is_gone() -> None:
        while True:
            await woken()

    store.publish(Delta(session.id, "text", "m", 0, ".", after=head))
    await woken()
    for number in range(3):
        waiting = asyncio.create_task(woken())
        await asyncio.sleep(0)
        store.publish(Delta(session.id, "text", "m", number + 1, ".", after=head))
        await waiting
        await session.configure(name=f"{number}")
        # It is told while nobody waits, and then while somebody does.
        for _ in range(10):
            await asyncio.sleep(0)
        await woken()
        while await receiver.next_stored() is not None:
            pass
        waiting = asyncio.create_task(woken())
        await asyncio.sleep(0)
        await session.configure(name=f"{number} again")
        await waiting
        while await receiver.next_stored() is not None:
            pass
    await bench.runtimes[0].archive(session.id)
    await bench.runtimes[0].delete_session(session.id)
    with pytest.raises(SessionNotFound):
        await until_it_is_gone()
    live.close()
