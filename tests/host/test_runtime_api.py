"""Sessions by their ids (seed 003): the whole life of a session through `Runtime` alone, and each defect of the original.

Nothing here holds a handle. Where a test says "defect", it shows that we do not have the one the original has.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.stopped_script import SESSION as STOPPED, make_agent as make_stopped_agent
from tests.engine.conftest import MODEL, Bench, within
from tests.host.by_id import Held, begin, data, log, says, types, until

import godwit
from godwit.core.checkpoint import CheckpointPolicy
from godwit.core.errors import (
    ActionNotFound,
    ArtifactNotFound,
    InboxFull,
    ModelRefused,
    NoOpenRun,
    RateLimited,
    SessionArchived,
    SessionBusy,
    SessionNotFound,
    SessionOwned,
    StoreClosed,
    ToolNotFound,
)
from godwit.core.events import (
    ActionOpened,
    AgentMessage,
    Delta,
    Event,
    InputDelivered,
    Labels,
    RunClaimed,
    RunFinished,
    SessionConfigured,
    ToolFinished,
    ToolStarted,
    UserAnswer,
    UserInterrupt,
    UserMessage,
)
from godwit.core.gate import INBOX_LIMIT
from godwit.core.ids import ActionId, RunId, SessionId
from godwit.core.messages import Text, text_of
from godwit.engine.log import append_outside
from godwit.host.runtime import Runtime
from godwit.models.script import Script, ScriptedModel, call, hold, say, tries

ROOT = Path(__file__).parents[2]
LOOKUP = godwit.ToolDefinition("lookup", "Look it up.", {"type": "object", "properties": {}})


@godwit.tool
def note(text: str) -> str:
    """Write a note."""
    return f"noted {text}"


def asked(bench: Bench) -> int:
    """How often the model was asked."""
    assert bench.model is not None
    return len(bench.model.requests)


def told(bench: Bench, number: int = -1) -> list[str]:
    """What the model was shown in that request, message by message."""
    assert bench.model is not None
    return [text_of(e.message.content) for e in bench.model.requests[number].entries]


async def outcome(runtime: Runtime, session: str, times: int = 1) -> RunFinished:
    event = await until(runtime, session, "run.finished", times=times)
    assert isinstance(event.data, RunFinished)
    return event.data


# --- the life of a session ------------------------------------------------------------------------------------------


async def test_subscribed_first_a_message_is_seen_from_its_acceptance_to_the_rest(bench: Bench) -> None:
    """S003-15, 17, 21, 23. The stream begins when it was asked for, and not when it is first read."""
    runtime, session = await begin(bench, ["Hello."])
    assert await runtime.status(session) == "queued"
    stream = await runtime.stream_events(session)
    await runtime.send_event(session, says("Hi."))
    await outcome(runtime, session)
    kinds = []
    async for event in stream:
        assert isinstance(event, Event)
        kinds.append(event.type)
        if event.type == "run.finished":
            break
    assert kinds[0] == "user.message"
    wanted = ["run.started", "run.claimed", "input.delivered", "agent.message", "run.finished"]
    assert [k for k in kinds if k in wanted] == wanted
    assert await runtime.status(session) == "idle"


async def test_two_definitions_have_two_handles_and_two_sessions_two_ids(bench: Bench) -> None:
    runtime, one = await begin(bench, ["a"], name="one")
    _, two = await begin(bench, ["a"], runtime=runtime, name="two")
    assert one != two
    assert await runtime.create(godwit.Agent("one", model=MODEL)) != await runtime.create(godwit.Agent("two", model=MODEL))


async def test_every_method_says_that_an_unknown_session_is_not_found(bench: Bench) -> None:
    runtime = await bench.runtime()
    unknown: list[Callable[[], Awaitable[Any]]] = [
        lambda: runtime.send_event("ses_none", says("x")),
        lambda: runtime.send_event("ses_none", UserInterrupt(RunId("run_none"))),
        lambda: runtime.send_event("ses_none", UserAnswer(ActionId("act_none"), "approve")),
        lambda: runtime.stream_events("ses_none"),
        lambda: runtime.stream_events("ses_none", 0, deltas=True),
        lambda: runtime.interrupt("ses_none"),
        lambda: runtime.pause("ses_none"),
        lambda: runtime.resume("ses_none"),
        lambda: runtime.status("ses_none"),
        lambda: runtime.archive("ses_none"),
        lambda: runtime.delete_session("ses_none"),
        lambda: runtime.open_session("ses_none"),
        lambda: runtime.head("ses_none"),
    ]
    for method in unknown:
        with pytest.raises(SessionNotFound):
            await within(method())
    assert len(runtime.desk) == 0


async def test_archived_then_deleted_and_deleted_twice(bench: Bench) -> None:
    runtime, session = await begin(bench, ["Hello."])
    await runtime.send_event(session, says("Hi."))
    await outcome(runtime, session)
    await runtime.archive(session)
    assert await runtime.status(session) == "archived"
    await runtime.delete_session(session)
    for method in (runtime.status, runtime.delete_session, runtime.archive):
        with pytest.raises(SessionNotFound):
            await method(session)
    assert await runtime.sessions() == []


async def test_two_tenants_have_lists_of_their_own(bench: Bench) -> None:
    """Defect 10: all sessions of the original have one user. Here labels say whose a session is, in lists and in events."""
    runtime, ours = await begin(bench, ["a"], labels=Labels("acme", "ada"))
    _, theirs = await begin(bench, ["a"], runtime=runtime, labels=Labels("other", "bob"))
    assert [row.id for row in await runtime.sessions(tenant="acme")] == [ours]
    assert [row.id for row in await runtime.sessions(tenant="other")] == [theirs]
    assert [row.id for row in await runtime.store.session_page(tenant="acme")] == [ours]
    for session, who in ((ours, "ada"), (theirs, "bob")):
        stream = await runtime.stream_events(session, 0)
        event = await within(anext(stream))
        assert isinstance(event, Event)
        assert event.labels is not None
        assert event.labels.principal == who
        await stream.aclose()


# --- streams --------------------------------------------------------------------------------------------------------


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
    stream = await runtime.stream_events(session, deltas=True)
    await runtime.send_event(session, says("Hi."))
    await within(reached.wait())
    async for item in stream:
        if isinstance(item, Delta):
            break
    await stream.aclose()
    store: Any = runtime.store
    assert not [shows for hub in store._hubs.values() for shows in hub.watchers.values() if shows], "still watching"
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


# --- answers to parked runs (defects 1 and 2) -----------------------------------------------------------------------


async def test_a_custom_tools_result_reaches_the_model_at_once_and_with_its_content(bench: Bench) -> None:
    """S003-19; defect 1: the original reads the answer when its wait of 300 s is over, and gives the model another text.

    Nothing waits here: the run is parked, in words a client can act on before it answers.
    """
    runtime, session = await begin(bench, [call("lookup"), "It is 42."], LOOKUP)
    await runtime.send_event(session, says("Go."))
    opened = await until(runtime, session, "action.opened")
    assert isinstance(opened.data, ActionOpened)
    assert opened.data.kind == "external"
    await until(runtime, session, "run.parked")
    assert await runtime.status(session) == "waiting"
    await runtime.send_event(session, UserAnswer(opened.data.action, "result", content=(Text("forty-two"),)))
    assert (await outcome(runtime, session)).outcome == "done"
    assert told(bench)[-1] == "forty-two"
    kinds = await types(runtime, session)
    assert kinds.index("action.opened") < kinds.index("run.parked") < kinds.index("user.answer")
    with pytest.raises(ActionNotFound):
        await runtime.send_event(session, UserAnswer(ActionId("act_none"), "result"))


async def test_an_action_without_an_answer_times_out_and_the_run_goes_on(bench: Bench) -> None:
    """Seed 003's parking: a call that nobody answers ends as timed out, and an answer that comes later changes nothing."""
    runtime, session = await begin(
        bench, [call("note", text="a"), "Not then."], note, permissions={"note": "ask"}, approvals={"timeout_s": 0.05}
    )
    await runtime.send_event(session, says("Go."))
    opened = await until(runtime, session, "action.opened")
    assert (await outcome(runtime, session)).outcome == "done"
    assert [d.status for d in await data(runtime, session, ToolFinished)] == ["denied"]
    assert isinstance(opened.data, ActionOpened)
    await runtime.send_event(session, UserAnswer(opened.data.action, "approve"))
    assert [d.status for d in await data(runtime, session, ToolFinished)] == ["denied"]


@pytest.mark.parametrize(("decision", "status"), [("approve", "ok"), ("deny", "denied")])
async def test_a_confirmation_reaches_the_call_it_is_for(bench: Bench, decision: Any, status: str) -> None:
    """S003-20; defect 2: in the original nothing ever waits for it, and deny does what confirm does."""
    runtime, session = await begin(bench, [call("note", text="a"), "Done."], note, permissions={"note": "ask"})
    await runtime.send_event(session, says("Go."))
    opened = await until(runtime, session, "action.opened")
    assert isinstance(opened.data, ActionOpened)
    await until(runtime, session, "run.parked")
    assert not await data(runtime, session, ToolStarted), "it ran before it was allowed"
    await runtime.send_event(session, UserAnswer(opened.data.action, decision, reason="not on a Friday"))
    assert (await outcome(runtime, session)).outcome == "done"
    assert [d.status for d in await data(runtime, session, ToolFinished)] == [status]
    assert told(bench)[-1] == "noted a" if status == "ok" else "not on a Friday" in told(bench)[-1]


async def test_the_mode_deny_denies_without_asking(bench: Bench) -> None:
    """Defect 2."""
    runtime, session = await begin(bench, [call("note", text="a"), "Done."], note, permissions={"note": "deny"})
    await runtime.send_event(session, says("Go."))
    await outcome(runtime, session)
    assert [d.status for d in await data(runtime, session, ToolFinished)] == ["denied"]
    assert not await data(runtime, session, ActionOpened)


# --- interrupting (defect 3) ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["method", "event"])
@pytest.mark.parametrize("where", ["answer", "tool"])
async def test_an_interrupt_stops_a_running_turn_and_the_session_stays_usable(bench: Bench, form: str, where: str) -> None:
    """S003-18, 24, 25; defect 3: the original reads the event between turns only, and either form ends the loop for good."""
    held = Held()
    reached, never = asyncio.Event(), asyncio.Event()
    first = call("held") if where == "tool" else say("Half ") + hold(never, reached=reached) + say("an answer.")
    runtime, session = await begin(bench, [first, "Usable."], held.tool)
    await runtime.send_event(session, says("Go."))
    await within((held.entered if where == "tool" else reached).wait())
    row = await runtime.store.session(SessionId(session))
    assert row.run is not None
    if form == "event":
        await within(runtime.send_event(session, UserInterrupt(row.run)))
    else:
        assert await within(runtime.interrupt(session)) is True
    assert (await outcome(runtime, session)).outcome == "interrupted"
    assert await runtime.status(session) == "idle"
    assert await runtime.interrupt(session) is False
    with pytest.raises(NoOpenRun):
        await runtime.send_event(session, UserInterrupt(row.run))
    await runtime.send_event(session, says("Again."))
    assert (await outcome(runtime, session, times=2)).outcome == "done"


async def test_what_interrupts_a_run_that_nobody_drives_does_not_go_on_with_it_first(bench: Bench) -> None:
    """The process that had it is gone. Opening a session goes on with its run, which is not what was asked for."""
    for form in ("method", "event", "pause", "archive", "delete"):
        held = Held()
        script: Script = [call("held"), "Never asked."]
        runtime, session = await begin(bench, script, held.tool)
        await runtime.send_event(session, says("Go."))
        await within(held.entered.wait())
        closing = asyncio.create_task(runtime.close())
        held.release.set()
        await within(closing)
        runtime, _ = await begin(bench, script, held.tool)
        row = await runtime.store.session(SessionId(session))
        assert (row.owner, row.run is not None) == (None, True)
        assert row.run is not None
        if form == "method":
            assert await within(runtime.interrupt(session)) is True
        elif form == "event":
            await within(runtime.send_event(session, UserInterrupt(row.run)))
        elif form == "pause":
            assert await within(runtime.pause(session)) is True
        elif form == "archive":
            await within(runtime.archive(session))
        else:
            await within(runtime.delete_session(session))
        assert asked(bench) == 0, form
        if form != "delete":
            status = {"pause": "paused", "archive": "archived"}.get(form, "idle")
            assert await runtime.status(session) == status
            assert len(await data(runtime, session, ToolStarted)) == 1
        await bench.close()


async def test_control_needs_none_of_the_tools(bench: Bench) -> None:
    """Whoever watches over sessions has not got the functions of their agents."""
    held = Held()
    runtime, session = await begin(bench, [call("held"), "Usable."], held.tool)
    await runtime.send_event(session, says("Go."))
    await within(held.entered.wait())
    elsewhere = await bench.runtime()
    with pytest.raises(ToolNotFound):
        await elsewhere.send_event(session, says("x", "follow_up"))
    assert not [d for d in await data(runtime, session, UserMessage) if d.delivery == "follow_up"], "refused and yet stored"
    assert await within(elsewhere.interrupt(session, reason="enough")) is True
    assert await elsewhere.pause(session) is True
    with pytest.raises(ToolNotFound):
        await elsewhere.resume(session)
    assert await elsewhere.status(session) == "paused"
    await within(elsewhere.archive(session))
    await within(elsewhere.delete_session(session))
    with pytest.raises(SessionNotFound):
        await runtime.status(session)


async def test_force_takes_a_session_from_a_process_that_does_not_answer(tmp_path: Path) -> None:
    """By one that has not got its tools either."""
    database = tmp_path / "godwit.db"
    process = await stopped_driver(database)
    async with await Runtime.open(database) as runtime:
        await until(runtime, STOPPED, "tool.started")
        process.send_signal(signal.SIGSTOP)
        try:
            assert await within(runtime.interrupt(STOPPED, force=True)) is True
            assert await runtime.status(STOPPED) == "idle"
        finally:
            process.kill()
            await process.wait()


# --- archiving (defect 4) -------------------------------------------------------------------------------------------


async def test_archived_stays_archived_and_takes_nothing_more(bench: Bench) -> None:
    """S003-32, 33, 34; defect 4: in the original the loop's last words overwrite it, and resume makes it run again."""
    held = Held()
    runtime, session = await begin(bench, [call("held"), "Never."], held.tool)
    await runtime.send_event(session, says("Go."))
    await within(held.entered.wait())
    await within(runtime.archive(session))
    await runtime.settle(SessionId(session))
    assert await runtime.status(session) == "archived"
    refused: list[Callable[[], Awaitable[Any]]] = [
        lambda: runtime.resume(session),
        lambda: runtime.pause(session),
        lambda: runtime.archive(session),
        lambda: runtime.send_event(session, says("x")),
        lambda: runtime.send_event(session, says("x", "steer")),
        lambda: runtime.send_event(session, says("x", "follow_up")),
        lambda: runtime.send_event(session, UserInterrupt(RunId("run_none"))),
    ]
    for method in refused:
        with pytest.raises(SessionArchived):
            await within(method())
    assert await runtime.interrupt(session) is False
    await runtime.settle(SessionId(session))
    assert await runtime.status(session) == "archived"
    events = await log(runtime, session)
    assert events[-1].type == "session.archived"
    assert (await data(runtime, session, RunFinished))[0].outcome == "interrupted"
    assert asked(bench) == 1


async def test_a_session_that_never_ran_can_be_archived_and_is_left_alone(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    runtime, session = await begin(bench, ["Hello."])
    await runtime.archive(session)
    handle = await runtime.desk.session(session)
    await runtime.settle(SessionId(session))
    assert runtime.failure(SessionId(session)) is None
    with pytest.raises(SessionArchived):
        await handle.send("x")
    assert await types(runtime, session) == ["session.created", "session.archived"]
    assert not caplog.records


async def test_archiving_wins_over_those_who_go_on_sending(bench: Bench) -> None:
    runtime, session = await begin(bench, [f"Answer {n}." for n in range(400)])
    sent = 0

    async def sender() -> None:
        nonlocal sent
        while True:
            with contextlib.suppress(SessionBusy):
                await runtime.send_event(session, says(f"{sent}"))
                sent += 1
            await asyncio.sleep(0)

    senders = [asyncio.create_task(sender()) for _ in range(3)]
    await outcome(runtime, session)
    await within(runtime.archive(session))
    for task in senders:
        with pytest.raises(SessionArchived):
            await within(task)
    assert sent == len(await data(runtime, session, RunFinished)) == len(await data(runtime, session, UserMessage))
    assert (await log(runtime, session))[-1].type == "session.archived"


async def test_a_tool_cannot_archive_its_own_session_and_does_not_hang(bench: Bench) -> None:
    found: list[BaseException] = []

    @godwit.tool
    async def finish() -> str:
        """Archive the session it works for."""
        try:
            await runtime.archive(session)
        except SessionBusy as error:
            found.append(error)
            raise
        return "archived"

    runtime, session = await begin(bench, [call("finish"), "Done."], finish)
    await runtime.send_event(session, says("Go."))
    assert (await outcome(runtime, session)).outcome == "done"
    assert len(found) == 1
    await runtime.archive(session)


# --- pausing (defects 5 and 6) --------------------------------------------------------------------------------------


async def test_a_pause_while_running_stops_at_a_checkpoint_and_resume_goes_on(bench: Bench) -> None:
    """S003-26 to 30; defect 5: the original neither stops the running turn nor keeps anything."""
    held = Held()
    runtime, session = await begin(bench, [call("held", n=1), call("held", n=2), "Both."], held.tool)
    await runtime.send_event(session, says("Go."))
    await within(held.entered.wait())
    pausing = asyncio.create_task(runtime.pause(session, "lunch"))
    await until(runtime, session, "session.paused")
    held.release.set()
    assert await within(pausing) is True
    assert await runtime.status(session) == "paused"
    assert (await types(runtime, session))[-1] == "run.yielded"
    assert (held.calls, asked(bench)) == (1, 1)
    assert (await runtime.store.session(SessionId(session))).owner is None, "no process has it"
    assert await runtime.pause(session) is False
    reached, release = asyncio.Event(), asyncio.Event()
    assert bench.model is not None
    bench.model._turns[1] = hold(release, reached=reached) + call("held", n=2)
    assert await runtime.resume(session) is True
    await within(reached.wait())
    assert await runtime.status(session) == "running"
    release.set()
    assert (await outcome(runtime, session)).outcome == "done"
    assert [c.attempt for c in await data(runtime, session, RunClaimed)] == [1, 1]
    assert held.calls == 2
    assert await runtime.resume(session) is False


async def test_a_message_to_a_session_that_was_paused_while_idle_waits_for_resume(bench: Bench) -> None:
    """Defect 5: the original has begun to wait for input before it looks at the flag, and processes the next message."""
    runtime, session = await begin(bench, ["One.", "Two."])
    await runtime.send_event(session, says("First."))
    await outcome(runtime, session)
    assert await runtime.pause(session) is True
    await runtime.send_event(session, says("Second."))
    await runtime.settle(SessionId(session))
    assert (asked(bench), len(await data(runtime, session, InputDelivered))) == (1, 1)
    assert await runtime.status(session) == "paused"
    with pytest.raises(SessionBusy):
        await runtime.send_event(session, says("Third."))
    await runtime.resume(session)
    assert (await outcome(runtime, session, times=2)).outcome == "done"
    assert told(bench)[-1] == "Second."


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("end", ["interrupt", "interrupt_event", "archive", "delete"])
async def test_a_paused_session_can_be_interrupted_archived_and_deleted(bench: Bench, end: str, running: bool) -> None:
    """Defect 5: a loop that has seen the flag waits for resume alone, and its task is left hanging."""
    held = Held()
    runtime, session = await begin(bench, [call("held") if running else "One.", "Usable.", "Usable."], held.tool)
    await runtime.send_event(session, says("Go."))
    if running:
        await within(held.entered.wait())
        pausing = asyncio.create_task(runtime.pause(session))
        await until(runtime, session, "session.paused")
        held.release.set()
        await within(pausing)
    else:
        await outcome(runtime, session)
        await runtime.pause(session)
        await runtime.send_event(session, says("While paused."))
    row = await runtime.store.session(SessionId(session))
    assert row.run is not None
    ended = 1 if running else 2
    if end == "interrupt":
        assert await within(runtime.interrupt(session)) is True
    elif end == "interrupt_event":
        await within(runtime.send_event(session, UserInterrupt(row.run)))
        await outcome(runtime, session, times=ended)
    elif end == "archive":
        await within(runtime.archive(session))
    else:
        await within(runtime.delete_session(session))
        assert await runtime.sessions() == []
        return
    assert (await outcome(runtime, session, times=ended)).outcome == "interrupted"
    if end == "archive":
        assert await runtime.status(session) == "archived"
        return
    assert await runtime.status(session) == "paused", "an interrupt ends the run and not the pause"
    await runtime.resume(session)
    await runtime.send_event(session, says("Again."))
    assert (await outcome(runtime, session, times=ended + 1)).outcome == "done"


async def test_more_messages_than_a_channel_holds_block_nobody_while_paused(bench: Bench) -> None:
    """Defect 6: with the 65th message to a paused session, every method of the original blocks, resume included."""
    runtime, session = await begin(bench, ["Answer."] * (INBOX_LIMIT + 2), limits=godwit.Limits(max_turns=1000))
    await runtime.pause(session)
    sent = await within(
        asyncio.gather(
            *(runtime.send_event(session, says(str(n), "follow_up")) for n in range(INBOX_LIMIT + 40)),
            return_exceptions=True,
        )
    )
    refused = [error for error in sent if error is not None]
    assert len(refused) == 40
    assert all(isinstance(error, InboxFull) for error in refused), refused
    _, other = await begin(bench, [], runtime=runtime, name="other")
    await within(runtime.send_event(other, says("Hi.")))
    assert (await outcome(runtime, other)).outcome == "done"
    await within(runtime.delete_session(other))
    assert await runtime.status(session) == "paused"
    assert await within(runtime.resume(session)) is True
    await until(runtime, session, "input.delivered", times=65)
    await within(runtime.interrupt(session))
    await within(runtime.delete_session(session))


# --- failures (defect 8) --------------------------------------------------------------------------------------------


async def test_a_model_that_fails_is_recorded_and_the_session_stays_usable(bench: Bench) -> None:
    """Defect 8: the original ends its loop without a word, and the status stays running."""
    runtime, session = await begin(bench, [tries(ModelRefused("no such thing"), "Usable.")])
    await runtime.send_event(session, says("Go."))
    failed = await outcome(runtime, session)
    assert (failed.outcome, failed.error.code if failed.error else None) == ("failed", "model_refused")
    assert await runtime.status(session) == "idle"
    await runtime.send_event(session, says("Again."))
    assert (await outcome(runtime, session, times=2)).outcome == "done"


async def test_a_model_that_is_not_there_is_recorded_and_can_be_replaced(bench: Bench) -> None:
    """Defect 8: a start that cannot work. The agent is stored before its model is known."""
    runtime = await bench.runtime(["Usable."])
    agent = await runtime.create(godwit.Agent("tester", model="nowhere:model"))
    session = (await runtime.start_session(agent, drive=False)).id
    await runtime.send_event(session, says("Go."))
    failed = await outcome(runtime, session)
    assert (failed.outcome, failed.error.code if failed.error else None) == ("failed", "model_not_found")
    assert await runtime.status(session) == "idle"
    await (await runtime.desk.session(session)).set_model(MODEL)
    await runtime.send_event(session, says("Again."))
    assert (await outcome(runtime, session, times=2)).outcome == "done"


async def test_a_run_that_is_tried_again_says_so(bench: Bench) -> None:
    """Defect 8: "rescheduling" is never set. Here a run that waits for its next try is retrying, and can be ended then."""
    runtime, session = await begin(bench, [tries(RateLimited(retry_after_s=60), "Usable.")])
    await runtime.send_event(session, says("Go."))
    await until(runtime, session, "run.retrying")
    assert await runtime.status(session) == "retrying"
    assert await within(runtime.interrupt(session)) is True
    await runtime.send_event(session, says("Again."))
    assert (await outcome(runtime, session, times=2)).outcome == "done"


async def test_a_session_whose_tools_are_missing_says_so_and_stores_nothing(bench: Bench) -> None:
    """Defect 10: what cannot be had is refused, and not accepted and passed over."""
    runtime, session = await begin(bench, ["Hello."], note)
    elsewhere = await bench.runtime(["Hello."])
    with pytest.raises(ToolNotFound):
        await elsewhere.send_event(session, says("Hi."))
    assert await types(runtime, session) == ["session.created"]
    with pytest.raises(ToolNotFound):
        await elsewhere.create(godwit.Agent("other", model=MODEL, tools=["no_such_tool"]))


# --- death (defect 9) -----------------------------------------------------------------------------------------------


async def stopped_driver(database: Path) -> asyncio.subprocess.Process:
    """A process that has prompted a session and works on it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.acceptance.stopped_script",
        str(database),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 30) == b"going\n"
    return process


async def test_a_killed_process_loses_nothing_and_another_goes_on(tmp_path: Path) -> None:
    """Defect 9: no path of the original reads its store after a restart, and its test of a kill never kills."""
    database = tmp_path / "godwit.db"
    ledger = database.with_suffix(".ledger")
    process = await stopped_driver(database)
    model = ScriptedModel([call("slow"), call("effect"), "done"], "scripted:test")
    async with await Runtime.open(database, models={"scripted:test": model}) as runtime:
        before = [e async for e in _until(await runtime.stream_events(STOPPED, 0), "tool.started")]
        assert await runtime.desk.recover() == [], "a living process drives it"
        process.kill()
        assert await process.wait() == -signal.SIGKILL
        assert await runtime.desk.recover() == [], "its tools are not here yet"
        assert await runtime.status(STOPPED) == "running"
        await runtime.create(make_stopped_agent(ledger))
        stream = await runtime.stream_events(STOPPED, before[-1].seq)
        assert await runtime.desk.recover() == [STOPPED]
        after = [e async for e in _until(stream, "run.finished")]
        assert [e.seq for e in (*before, *after)] == list(range(1, await runtime.head(STOPPED) + 1))
        assert [d.status for d in await data(runtime, STOPPED, ToolFinished)] == ["unknown", "ok"]
        assert ledger.read_text().split() == [str(os.getpid())]
        assert await runtime.status(STOPPED) == "idle"
        assert await runtime.desk.recover() == []


async def _until(stream: AsyncIterator[Event | Delta], kind: str) -> AsyncIterator[Event]:
    async for item in stream:
        if isinstance(item, Event):
            yield item
            if item.type == kind:
                return


async def test_a_parked_run_outlives_its_process_and_its_answer_is_heard(bench: Bench) -> None:
    """Defect 1 and 9: nothing is parked in memory."""
    script: Script = [call("lookup"), "It is 42."]
    runtime, session = await begin(bench, script, LOOKUP)
    await runtime.send_event(session, says("Go."))
    opened = await until(runtime, session, "action.opened")
    await until(runtime, session, "run.parked")
    await bench.close()
    runtime = await bench.runtime(script)
    assert await runtime.desk.recover() == [session]
    # The answer comes from a process that drives nothing.
    elsewhere = await bench.runtime()
    watching = await elsewhere.open_session(session, drive=False)
    assert isinstance(opened.data, ActionOpened)
    await watching.send_event(UserAnswer(opened.data.action, "result", content=(Text("forty-two"),)))
    assert (await outcome(runtime, session)).outcome == "done"


# --- deleting -------------------------------------------------------------------------------------------------------


def rows_of(database: Path) -> dict[str, int]:
    """How many rows each table has."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as file:
        tables = [t for (t,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {t: file.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in tables}


async def test_deleting_leaves_nothing_behind(bench: Bench) -> None:
    """S003-35, 36, 37; defect 10: the original leaves the conversation. Events, snapshot, artifacts, keys, kept files."""

    @godwit.tool
    def much() -> str:
        return "line\n" * 50_000

    (bench.workspace / "a.txt").write_text("one\n")
    script: Script = [call("much"), call("bash", command="echo two > a.txt"), "Done."]
    runtime = await bench.runtime(script)
    agent = await runtime.create(godwit.Agent("tester", model=MODEL, tools=[much, "bash"], checkpoints=CheckpointPolicy()))
    before = rows_of(bench.path)
    session = (await runtime.start_session(agent, workspace=bench.workspace, drive=False)).id
    await runtime.send_event(session, says("Go."), key="once")
    assert (await outcome(runtime, session)).outcome == "done"
    await runtime.settle(SessionId(session))
    await append_outside(
        runtime.store, SessionId(session), [SessionConfigured(name=str(n)) for n in range(200)], runtime.clock
    )
    await runtime.send_event(session, says("Again.", "follow_up"))  # the log is long enough now for a snapshot
    await outcome(runtime, session, times=2)
    await runtime.settle(SessionId(session))
    ref = (await data(runtime, session, ToolFinished))[0].metadata["artifact"]
    checkpoints: Any = runtime.parts.checkpoints
    assert await checkpoints.kept(SessionId(session))
    full = rows_of(bench.path)
    for table in ("sessions", "events", "snapshots", "artifacts", "artifact_uses", "idempotency_keys"):
        assert full[table] > before[table], table
    await within(runtime.delete_session(session))
    assert rows_of(bench.path) == before
    with pytest.raises(ArtifactNotFound):
        await runtime.get_artifact(ref)
    assert await checkpoints.kept(SessionId(session)) == []
    with checkpoints._contents().reading() as reading:
        assert reading._db.execute("SELECT count(*) FROM objects").fetchone() == (0,)
    assert len(runtime.desk) == 0
    assert not runtime.hosts(SessionId(session))


async def test_a_session_that_another_process_works_on_can_be_deleted(bench: Bench) -> None:
    """Its run is ended there; that it lets go of the session a moment later is waited for."""
    held = Held()
    runtime, session = await begin(bench, [call("held"), "Never."], held.tool)
    await runtime.send_event(session, says("Go."))
    await within(held.entered.wait())
    elsewhere = await bench.runtime()
    await within(elsewhere.delete_session(session))
    with pytest.raises(SessionNotFound):
        await runtime.send_event(session, says("x"))
    assert await runtime.sessions() == []


async def test_deleting_gives_up_on_a_process_that_never_lets_go(bench: Bench) -> None:
    runtime, session = await begin(bench, ["Hello."], runtime=await bench.runtime(["Hello."], lease_ttl_s=0.3))
    elsewhere = await bench.runtime()
    lease = await elsewhere.store.claim(SessionId(session), elsewhere.store.owner, 3600)
    assert lease is not None
    with pytest.raises(SessionOwned):
        await within(runtime.delete_session(session))
    assert await runtime.status(session) == "archived"
    await elsewhere.store.release(lease)
    await within(runtime.delete_session(session))


async def test_two_who_delete_at_once_both_see_it_gone(bench: Bench) -> None:
    held = Held()
    runtime, session = await begin(bench, [call("held"), "Never."], held.tool)
    await runtime.send_event(session, says("Go."))
    await within(held.entered.wait())
    done = await within(asyncio.gather(*(runtime.delete_session(session) for _ in range(4)), return_exceptions=True))
    assert None in done
    assert all(error is None or isinstance(error, SessionNotFound) for error in done), done
    assert await runtime.sessions() == []


async def test_a_deleted_sessions_id_may_be_used_for_another(bench: Bench) -> None:
    runtime, session = await begin(bench, ["Hello."], session="ses_mine")
    await runtime.send_event(session, says("Hi."))
    await outcome(runtime, session)
    await runtime.delete_session(session)
    await begin(bench, ["Hello."], runtime=runtime, session="ses_mine", name="another")
    assert await runtime.status(session) == "queued"
    await runtime.send_event(session, says("Hi."))
    assert (await outcome(runtime, session)).outcome == "done"
    assert (await runtime.store.session(SessionId(session))).agent.name == "another"


# --- many at once ---------------------------------------------------------------------------------------------------


async def test_many_tasks_work_through_one_runtime(bench: Bench) -> None:
    """S003-07."""
    runtime = await bench.runtime(["Hello."])
    agent = await runtime.create(godwit.Agent("tester", model=MODEL))

    async def life(number: int) -> str:
        session = (await runtime.start_session(agent, drive=False)).id
        stream = await runtime.stream_events(session)
        await runtime.send_event(session, says(f"I am {number}."))
        kinds = [e.type async for e in _until(stream, "run.finished")]
        await runtime.archive(session)
        await runtime.delete_session(session)
        return " ".join(kinds)

    assert len(set(await within(asyncio.gather(*(life(n) for n in range(60)))))) == 1
    assert await runtime.sessions() == []
    assert len(runtime.desk) == 0


async def test_the_key_of_an_event_makes_sending_it_again_harmless(bench: Bench) -> None:
    runtime, session = await begin(bench, ["Hello."])
    for _ in range(3):
        await runtime.send_event(session, says("Hi."), key="once")
        await outcome(runtime, session)
    assert len(await data(runtime, session, UserMessage)) == 1
    assert [text_of(d.message.content) for d in await data(runtime, session, AgentMessage)] == ["Hello."]
