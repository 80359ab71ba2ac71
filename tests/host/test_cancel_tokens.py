"""The cancel token of a handle ends the run that was open when it fell, as far as its process knew, and no later one."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from tests.engine.conftest import MODEL, Bench, until_type, within

import godwit
from godwit.contracts import Appended, Lease
from godwit.core.events import Draft, Event, RunFinished, UserInterrupt
from godwit.core.ids import Seq, SessionId
from godwit.models.script import call
from godwit.stores.sqlite import SqliteStore

ROOT = Path(__file__).resolve().parents[2]
LOOKUP = godwit.ToolDefinition("lookup", "Look it up.", {"type": "object", "properties": {}})


class Slow(SqliteStore):
    """The real store; the next call of the method that `held` names waits, before or behind what it does."""

    held: ClassVar[str] = ""
    reached = asyncio.Event()
    go_on = asyncio.Event()

    async def _wait(self, name: str) -> None:
        if Slow.held == name:
            Slow.held = ""
            Slow.reached.set()
            await Slow.go_on.wait()

    async def claim(self, session: SessionId, owner: str, ttl_s: float, *, force: bool = False) -> Lease | None:
        await self._wait("claim")
        return await super().claim(session, owner, ttl_s, force=force)

    async def read(
        self,
        session: SessionId,
        from_seq: Seq = 0,
        *,
        to_seq: Seq | None = None,
        types: Sequence[str] | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> list[Event]:
        await self._wait("read")
        return await super().read(session, from_seq, to_seq=to_seq, types=types, limit=limit, newest_first=newest_first)

    async def append(
        self,
        session: SessionId,
        events: Sequence[Draft],
        *,
        epoch: int | None = None,
        expect: Seq | None = None,
        key: str | None = None,
    ) -> Appended:
        appended = await super().append(session, events, epoch=epoch, expect=expect, key=key)
        await self._wait("append")
        return appended


@pytest.fixture(autouse=True)
def anew() -> None:
    Slow.held, Slow.reached, Slow.go_on = "", asyncio.Event(), asyncio.Event()


async def test_a_run_that_begins_before_the_token_is_heeded_goes_on(bench: Bench) -> None:
    """Given no open run, when a token falls and another handle prompts before this process looks, then nothing is cut."""
    runtime = await bench.runtime(store=Slow.open(bench.path))
    session = await bench.start(["hello"], runtime=runtime)
    await within(runtime.settle(session.id))
    elsewhere = await (await bench.runtime(["hello"])).open_session(session.id, drive=False)
    Slow.held = "read"
    session.session_cancel_token.cancel()
    for _ in range(20):  # it looks in a task of its own, if it does
        await asyncio.sleep(0)
    run = await elsewhere.prompt("Go.")
    Slow.go_on.set()
    assert (await within(elsewhere.wait(run))).outcome == "done"


async def test_a_run_that_takes_the_place_of_the_cut_one_before_the_claim_goes_on(bench: Bench) -> None:
    """Given a parked run that a token is to end, when it ends otherwise and another run begins before this process has
    claimed the session, then that one is not cut."""
    runtime = await bench.runtime(store=Slow.open(bench.path))
    session = await bench.start([call("lookup"), "found", "hello"], LOOKUP, runtime=runtime)
    first = await session.prompt("Go.")
    await until_type(session, "run.parked")
    await within(runtime.settle(session.id))
    other = await bench.runtime([call("lookup"), "found", "hello"])
    elsewhere = await other.open_session(session.id, drive=False)
    Slow.held = "claim"
    session.session_cancel_token.cancel()
    await within(Slow.reached.wait())
    await within(elsewhere.interrupt(run=first))
    second = await elsewhere.prompt("Once more.")
    Slow.go_on.set()
    assert (await within(elsewhere.wait(second))).outcome == "done"
    assert [e.data.run for e in await elsewhere.events() if isinstance(e.data, UserInterrupt)] == [first]


async def test_a_parked_run_that_this_process_knows_of_is_ended(bench: Bench) -> None:
    runtime = await bench.runtime([call("lookup"), "found"])
    agent = godwit.Agent("tester", model=MODEL, tools=[LOOKUP])
    session = await runtime.start_session(agent)
    await (await (await bench.runtime()).open_session(session.id, drive=False)).prompt("Go.")
    await until_type(session, "run.parked")
    await within(runtime.settle(session.id))
    session.session_cancel_token.cancel()
    ended = await until_type(session, "run.finished")
    assert isinstance(ended.data, RunFinished)
    assert ended.data.outcome == "interrupted"


async def test_a_prompt_that_is_being_stored_while_the_token_falls_is_ended(bench: Bench) -> None:
    runtime = await bench.runtime(store=Slow.open(bench.path))
    session = await bench.start(["hello"], runtime=runtime)
    await within(runtime.settle(session.id))
    Slow.held = "append"
    prompting = asyncio.create_task(session.prompt("Go."))
    await within(Slow.reached.wait())
    session.session_cancel_token.cancel()
    Slow.go_on.set()
    run = await within(prompting)
    other = await runtime.open_session(session.id)
    assert (await within(other.wait(run))).outcome == "interrupted"


@pytest.mark.parametrize("turns", range(24))
async def test_however_soon_after_a_token_the_next_prompt_comes_it_is_answered(bench: Bench, turns: int) -> None:
    runtime = await bench.runtime(["hello"] * 4)
    session = await bench.start((), runtime=runtime)
    for _ in range(4):
        handle, other = await runtime.open_session(session.id), await runtime.open_session(session.id)
        handle.session_cancel_token.cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
        assert (await within(other.send("Go."))).outcome == "done"


@pytest.mark.parametrize("heard", [True, pytest.param(False, marks=pytest.mark.slow)])
async def test_a_process_that_dies_as_its_token_falls_takes_no_later_run_with_it(bench: Bench, heard: bool) -> None:
    """`heard`: it is killed once it has said that the token fell, and not when it was told to let it fall."""
    runtime = await bench.runtime(["unused", *["hello"] * 20])
    agent = godwit.Agent("tester", model=MODEL, tools=[LOOKUP])
    watching = await runtime.start_session(agent, drive=False)
    command = [sys.executable, "-m", "tests.host.cancel_script", str(bench.path), watching.id]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    assert await within(process.stdout.readline()) == b"ready\n"
    first = await watching.prompt("Go.")
    await until_type(watching, "run.parked")
    process.stdin.write(b"now\n")
    if heard:
        assert await within(process.stdout.readline()) == b"fired\n"
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await within(watching.interrupt(run=first))
    session = await runtime.open_session(watching.id)
    second = await watching.prompt("Once more.")
    assert (await within(session.wait(second))).outcome == "done"
    assert {e.data.run for e in await watching.events() if isinstance(e.data, UserInterrupt)} == {first}
