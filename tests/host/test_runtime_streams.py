"""Streams of events by a session's id."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.engine.conftest import Bench, within
from tests.host.by_id import Held, begin, log, note, outcome, says, until

from godwit.core.errors import StoreClosed
from godwit.core.events import Delta, Event, SessionConfigured
from godwit.core.ids import SessionId
from godwit.engine.log import append_outside
from godwit.models.script import call, hold, say


async def test_from_seq_is_exclusive_and_zero_gives_the_first_event(bench: Bench) -> None:
    """S003-22; defect 7: in the original, numbers begin at 0 and nobody can ask for what is greater than -1."""
    runtime, session = await begin(bench, ["Hello."])
    await runtime.send_event(session, says("Hi."))
    head = (await until(runtime, session, "run.finished")).seq
    await runtime.archive(session)
    for start in (0, 3, head, head + 1, head + 100):
        seqs = [e.seq async for e in await runtime.stream_events(session, start) if isinstance(e, Event)]
        assert seqs == list(range(start + 1, head + 2)), start
    assert (await log(runtime, session))[0].type == "session.created"


async def test_a_stream_from_beyond_the_head_waits_for_what_lies_beyond(bench: Bench) -> None:
    runtime, session = await begin(bench, ["Hello."])
    head = await runtime.head(session)
    stream = await runtime.stream_events(session, head + 2)
    await append_outside(
        runtime.store, SessionId(session), [SessionConfigured(name=str(n)) for n in range(4)], runtime.clock
    )
    await runtime.archive(session)
    assert [e.seq async for e in stream if isinstance(e, Event)] == [head + 3, head + 4, head + 5]


async def test_a_broken_client_comes_back_at_its_last_event(bench: Bench) -> None:
    """S003-05, 06: what a stream gives fits server-sent events, and the last id is all a client needs to keep."""
    held = Held()
    runtime, session = await begin(bench, [call("held"), "Done."], held.tool)
    lines: list[bytes] = []

    async def connected(last_id: int, leave_at: str) -> int:
        stream = await runtime.stream_events(session, last_id)
        async with contextlib.aclosing(stream):
            async for event in stream:
                assert isinstance(event, Event)
                frame = event.frame()
                assert b"\n" not in frame, "an event is one line of data"
                lines.append(b"id: %d\ndata: %s\n\n" % (event.seq, frame))
                last_id = event.seq
                if event.type == leave_at:
                    break
        return last_id

    await runtime.send_event(session, says("Go."))
    last = await within(connected(0, "tool.started"))
    held.release.set()
    await outcome(runtime, session)
    await within(connected(last, "run.finished"))
    assert lines == [b"id: %d\ndata: %s\n\n" % (e.seq, e.frame()) for e in await log(runtime, session)]


async def test_replay_joined_with_live_has_no_gap_and_no_repeat_under_load(bench: Bench) -> None:
    """Defect 7: subscribing and then reading what is stored repeats events, or loses them."""
    turns = 40
    runtime, session = await begin(bench, [*(call("note", text=str(n)) for n in range(turns)), "Done."], note)
    chance = random.Random(7)
    await runtime.send_event(session, says("Go."))

    async def follow(start: int, deltas: bool) -> None:
        seqs = []
        async for event in await runtime.stream_events(session, start, deltas=deltas):
            if isinstance(event, Event):
                seqs.append(event.seq)
                if chance.random() < 0.3:
                    await asyncio.sleep(0)  # some are slower than others
        assert seqs == list(range(start + 1, await runtime.head(session) + 1))

    followers = []
    for number in range(30):
        head = await runtime.head(session)
        followers.append(asyncio.create_task(follow(chance.choice([0, 1, head // 2, head]), number % 3 == 0)))
        await until(runtime, session, "turn.finished", times=min(number + 1, turns))
    await outcome(runtime, session)
    await runtime.archive(session)
    await within(asyncio.gather(*followers))


async def test_a_follower_that_lags_by_thousands_loses_nothing(bench: Bench) -> None:
    """Defect 7: beyond 256 events, the original leaves out what a slow reader has not taken."""
    runtime, session = await begin(bench, ["Hello."])
    streams = [await runtime.stream_events(session, 0, deltas=deltas) for deltas in (False, True)]
    for stream in streams:
        assert isinstance(await within(anext(stream)), Event)
    for batch in range(6):
        named = [SessionConfigured(name=f"{batch}.{n}") for n in range(500)]
        await append_outside(runtime.store, SessionId(session), named, runtime.clock)
    await runtime.archive(session)
    for stream in streams:
        rest = [e.seq async for e in stream if isinstance(e, Event)]
        assert rest == list(range(2, await runtime.head(session) + 1))
        assert len(rest) > 3000


async def test_a_stream_of_an_archived_session_ends(bench: Bench) -> None:
    """Defect 5: the original's never does."""
    runtime, session = await begin(bench, ["Hello."])
    await runtime.send_event(session, says("Hi."))
    await outcome(runtime, session)
    await runtime.archive(session)
    for deltas in (False, True):
        replayed = [e async for e in await runtime.stream_events(session, 0, deltas=deltas)]
        assert [e.seq for e in replayed if isinstance(e, Event)] == list(range(1, await runtime.head(session) + 1))
        assert [e async for e in await runtime.stream_events(session, deltas=deltas)] == []


@pytest.mark.parametrize("deltas", [False, True])
@pytest.mark.parametrize("end", ["archive", "delete"])
async def test_a_stream_that_waits_ends_with_its_session(bench: Bench, end: str, deltas: bool) -> None:
    runtime, session = await begin(bench, ["Hello."])
    stream = await runtime.stream_events(session, deltas=deltas)
    waiting = asyncio.create_task(_all(stream))
    lagging = await runtime.stream_events(session, deltas=deltas)  # it is read only when all is over
    await asyncio.sleep(0)
    await (runtime.archive(session) if end == "archive" else runtime.delete_session(session))
    assert [e.type for e in await within(waiting) if isinstance(e, Event)] in (["session.archived"], [])
    assert [e.type for e in await within(_all(lagging)) if isinstance(e, Event)] == (
        ["session.archived"] if end == "archive" else []
    )


async def _all(stream: AsyncIterator[Event | Delta]) -> list[Event | Delta]:
    return [item async for item in stream]


async def test_a_stream_that_is_left_early_leaves_nothing_and_stops_nothing(bench: Bench) -> None:
    reached, release = asyncio.Event(), asyncio.Event()
    runtime, session = await begin(bench, [say("Half ") + hold(release, reached=reached) + say("an answer.")])
    store: Any = runtime.store

    def watchers() -> int:
        return sum(len(shows) for hub in store._hubs.values() for shows in hub.watchers.values())

    stream = await runtime.stream_events(session, deltas=True)
    await runtime.send_event(session, says("Hi."))
    await within(reached.wait())
    async for item in stream:
        if isinstance(item, Delta):
            break
    watching = watchers()  # who drives it watches as well
    await stream.aclose()
    assert watchers() == watching - 1, "still watching"
    unread = await runtime.stream_events(session, deltas=True)
    await unread.aclose()
    release.set()
    assert (await outcome(runtime, session)).outcome == "done"


@pytest.mark.parametrize("deltas", [False, True])
async def test_waiting_for_the_next_event_with_a_timeout_loses_nothing(bench: Bench, deltas: bool) -> None:
    """A stream that is cancelled while it waits has not ended."""
    runtime, session = await begin(bench, ["Hello."])
    stream = await runtime.stream_events(session, 0, deltas=deltas)
    seqs: list[int] = []
    sent = False
    while True:
        try:
            item = await asyncio.wait_for(anext(stream), 0.01)
        except TimeoutError:
            if not sent:
                await runtime.send_event(session, says("Hi."))
                sent = True
            continue
        if isinstance(item, Event):
            seqs.append(item.seq)
            if item.type == "run.finished":
                break
    assert seqs == list(range(1, await runtime.head(session) + 1))
    await stream.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_a_stream_that_is_forgotten_is_shown_nothing_more(bench: Bench) -> None:
    runtime, session = await begin(bench, ["Hello."])
    store: Any = runtime.store

    def watching() -> bool:
        return any(shows for hub in store._hubs.values() for shows in hub.watchers.values())

    stream = await runtime.stream_events(session, 0, deltas=True)
    assert isinstance(await within(anext(stream)), Event)
    assert watching()
    del stream
    gc.collect()
    assert not watching()


async def test_deltas_come_between_the_events_they_belong_to(bench: Bench) -> None:
    runtime, session = await begin(bench, ["One two three."])
    stream = await runtime.stream_events(session, deltas=True)
    await runtime.send_event(session, says("Count."))
    await outcome(runtime, session)
    await runtime.archive(session)
    items = await within(_all(stream))
    shown = "".join(d.text for d in items if isinstance(d, Delta))
    assert shown in ("", "One two three."), "whole, or not at all when it was over before it was read"
    assert [e.seq for e in items if isinstance(e, Event)] == [e.seq for e in (await log(runtime, session))[1:]]


async def test_a_stream_ends_with_an_error_when_the_runtime_is_closed(bench: Bench) -> None:
    """Not silently: the session goes on elsewhere, and its reader has to know that it saw no end."""
    runtime, session = await begin(bench, ["Hello."])
    waiting = asyncio.create_task(_all(await runtime.stream_events(session)))
    await asyncio.sleep(0)
    await bench.close()
    with pytest.raises(StoreClosed):
        await within(waiting)
    for method in (lambda: runtime.status(session), lambda: runtime.send_event(session, says("x"))):
        with pytest.raises(StoreClosed):
            await within(method())
