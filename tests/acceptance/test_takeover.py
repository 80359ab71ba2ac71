"""Two processes and one session: who drives, who is fenced, and who goes on."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import godwit
from godwit.core.events import RunFinished, ToolFinished
from godwit.models.script import ScriptedModel, call
from tests.patience import PATIENCE_S

from .stopped_script import SESSION, make_agent

ROOT = Path(__file__).parents[2]


async def driver_process(database: Path) -> asyncio.subprocess.Process:
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
    assert await asyncio.wait_for(process.stdout.readline(), PATIENCE_S) == b"going\n"
    return process


async def open_here(database: Path) -> tuple[godwit.Runtime, godwit.Session]:
    model = ScriptedModel([call("slow"), call("effect"), "done"], "scripted:test")
    runtime = await godwit.Runtime.open(database, models={"scripted:test": model})
    agent = make_agent(database.with_suffix(".ledger"))
    return runtime, await runtime.open_session(SESSION, agent=agent)


async def until_started(session: godwit.Session) -> None:
    async for event in session.follow():
        if event.type == "tool.started":
            return


async def test_interrupt_from_another_process_ends_the_run_there(tmp_path: Path) -> None:
    database = tmp_path / "godwit.db"
    process = await driver_process(database)
    async with await godwit.Runtime.open(database) as runtime:
        session = await runtime.open_session(SESSION, drive=False)
        await asyncio.wait_for(until_started(session), PATIENCE_S)
        assert await asyncio.wait_for(session.interrupt(), PATIENCE_S) is True
        assert await session.status() == "idle"
    assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0


async def test_force_takes_the_session_from_a_stopped_driver_which_is_then_fenced(tmp_path: Path) -> None:
    database = tmp_path / "godwit.db"
    process = await driver_process(database)
    runtime, session = await open_here(database)
    try:
        await asyncio.wait_for(until_started(session), PATIENCE_S)
        process.send_signal(signal.SIGSTOP)
        assert await asyncio.wait_for(session.interrupt(force=True), PATIENCE_S) is True
        assert await session.status() == "idle"
        events = await session.events()
        assert [e.data.status for e in events if isinstance(e.data, ToolFinished)] == ["unknown"]
        process.send_signal(signal.SIGCONT)
        # It wakes up, finds its lease gone, and neither writes nor does anything more.
        await asyncio.wait_for(process.wait(), PATIENCE_S)
        assert await session.events() == events
        assert not database.with_suffix(".ledger").exists()
        assert isinstance(events[-1].data, RunFinished)
    finally:
        await runtime.close()


async def test_an_interrupt_of_a_run_nobody_drives_ends_it_without_its_tools(tmp_path: Path) -> None:
    database = tmp_path / "godwit.db"
    process = await driver_process(database)
    async with await godwit.Runtime.open(database) as runtime:
        session = await runtime.open_session(SESSION, drive=False)
        await asyncio.wait_for(until_started(session), PATIENCE_S)
        process.kill()
        await process.wait()
        assert await session.status() == "running"
        assert (await runtime.sessions())[0].owner is None
        assert await asyncio.wait_for(session.interrupt(), PATIENCE_S) is True
        assert await session.status() == "idle"


async def test_a_waiting_process_goes_on_when_the_driver_dies(tmp_path: Path) -> None:
    database = tmp_path / "godwit.db"
    process = await driver_process(database)
    runtime, session = await open_here(database)
    try:
        await asyncio.wait_for(until_started(session), PATIENCE_S)
        waiting = asyncio.create_task(session.wait())
        process.kill()
        await process.wait()
        result = await asyncio.wait_for(waiting, PATIENCE_S)
        assert (result.outcome, result.text) == ("done", "done")
        statuses = [e.data.status for e in await session.events() if isinstance(e.data, ToolFinished)]
        assert statuses == ["unknown", "ok"]
    finally:
        await runtime.close()
