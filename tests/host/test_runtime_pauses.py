"""Pausing and resuming by a session's id (defects 5 and 6 of the original, see `by_id`)."""

from __future__ import annotations

import asyncio

import pytest
from tests.engine.conftest import Bench, within
from tests.host.by_id import Held, asked, begin, data, outcome, says, told, types, until

import godwit
from godwit.core.errors import InboxFull, SessionBusy
from godwit.core.events import InputDelivered, RunClaimed, UserInterrupt
from godwit.core.gate import INBOX_LIMIT
from godwit.core.ids import SessionId
from godwit.models.script import call, hold


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
