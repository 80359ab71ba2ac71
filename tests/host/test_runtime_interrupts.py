"""Interrupting by a session's id (defect 3 of the original, see `by_id`)."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from tests.acceptance.stopped_script import SESSION as STOPPED
from tests.engine.conftest import Bench, within
from tests.host.by_id import Held, asked, begin, data, outcome, says, stopped_driver, until

from godwit.core.errors import NoOpenRun, SessionNotFound, ToolNotFound
from godwit.core.events import ToolStarted, UserInterrupt, UserMessage
from godwit.core.ids import SessionId
from godwit.host.runtime import Runtime
from godwit.models.script import Script, call, hold, say


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
