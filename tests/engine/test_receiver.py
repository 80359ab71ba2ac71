"""What waits for a reader of a session's deltas is bounded."""

from __future__ import annotations

from godwit.core.events import Delta
from godwit.core.ids import Seq
from godwit.engine.receiver import EventReceiver, LiveDeltas

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
