"""What a host does to sessions: closing, opening again, failing stores."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

import godwit
from godwit.contracts import Appended
from godwit.core.errors import StoreFull
from godwit.core.events import Draft, RunClaimed, RunYielded, ToolFinished
from godwit.core.ids import Seq, SessionId
from godwit.core.transcript import problems
from godwit.models.script import Script, call, hold, say
from godwit.stores.sqlite import SqliteStore

from .conftest import MODEL, Bench, data, until_type, within
from .test_control import Gate, note


class FullStore(SqliteStore):
    """The real store on a disk that is full whenever the test says so."""

    full = False

    async def append(
        self,
        session: SessionId,
        events: Sequence[Draft],
        *,
        epoch: int | None = None,
        expect: Seq | None = None,
        key: str | None = None,
    ) -> Appended:
        if FullStore.full:
            raise StoreFull()
        return await super().append(session, events, epoch=epoch, expect=expect, key=key)


async def test_a_full_disk_is_told_and_the_run_goes_on_afterwards(bench: Bench) -> None:
    gate = Gate()
    runtime = await bench.runtime([call("gate"), "went on"], store=FullStore.open(bench.path))
    session = await bench.start([call("gate"), "went on"], gate.tool, runtime=runtime)
    run = await session.prompt("Go.")
    await within(gate.entered.wait())
    FullStore.full = True
    try:
        gate.release.set()
        with pytest.raises(StoreFull):
            await within(session.wait(run))
        with pytest.raises(StoreFull):
            await session.steer("Hello?")
    finally:
        FullStore.full = False
    result = await within(session.wait(run))
    assert (result.outcome, result.text) == ("done", "went on")
    # The call ran once, its result could not be stored: it is in doubt, and says so.
    assert [d.status for d in await data(session, ToolFinished)] == ["unknown"]
    assert not list(problems(await session.history()))


async def test_closing_the_host_in_mid_answer_leaves_the_run_to_the_next(bench: Bench) -> None:
    release, reached = asyncio.Event(), asyncio.Event()
    script: Script = [say("half ") + hold(release, reached=reached) + say("an answer")]
    runtime = await bench.runtime(script, grace_s=0.1)
    session = await bench.start(script, runtime=runtime)
    run = await session.prompt("Go.")
    await within(reached.wait())
    await within(bench.close())
    release.set()
    again = await (await bench.runtime(["a whole answer"])).open_session(session.id)
    assert (await within(again.wait(run))).text == "a whole answer"
    assert [d.reason for d in await data(again, RunYielded)] == ["shutdown"]
    assert [d.attempt for d in await data(again, RunClaimed)] == [1, 1], "nobody died"


async def test_closing_the_host_in_mid_tool_waits_for_its_grace(bench: Bench) -> None:
    gate = Gate()
    script: Script = [call("gate") + call("note", text="a"), "done"]
    runtime = await bench.runtime(script, grace_s=20.0)
    session = await bench.start(script, gate.tool, note, runtime=runtime)
    run = await session.prompt("Go.")
    await within(gate.entered.wait())
    closing = asyncio.create_task(bench.close())
    await asyncio.sleep(0)
    gate.release.set()
    await within(closing)
    again = await (await bench.runtime(script)).open_session(
        session.id, agent=godwit.Agent("tester", model=MODEL, tools=[gate.tool, note])
    )
    assert (await within(again.wait(run))).text == "done"
    assert [d.status for d in await data(again, ToolFinished)] == ["ok", "ok"]


async def test_ending_an_iteration_early_does_not_stop_the_run(bench: Bench) -> None:
    gate = Gate()
    session = await bench.start([call("gate"), "done"], gate.tool)
    stream = session.stream("Go.")
    async for item in stream:
        if isinstance(item, godwit.Event) and item.type == "tool.started":
            break
    await stream.aclose()  # type: ignore[attr-defined]  # it is a generator
    gate.release.set()
    assert (await within(session.wait())).text == "done"


async def test_a_thousand_sessions_on_one_runtime(bench: Bench) -> None:
    runtime = await bench.runtime(["hello"])
    agent = godwit.Agent("tester", model=MODEL)
    sessions = [await runtime.start_session(agent) for _ in range(200)]
    results = await within(asyncio.gather(*(s.send("Hi.") for s in sessions)))
    assert {r.text for r in results} == {"hello"}


async def test_missing_function_tools_are_told_on_opening(bench: Bench) -> None:
    from godwit.core.errors import ToolNotFound

    session = await bench.start(["hello"], note)
    await bench.close()
    runtime = await bench.runtime(["hello"])
    with pytest.raises(ToolNotFound, match="note"):
        await runtime.open_session(session.id)
    watching = await runtime.open_session(session.id, drive=False)
    assert await watching.status() == "queued"


async def test_a_workspace_that_is_no_folder_is_refused(bench: Bench, tmp_path: Path) -> None:
    from godwit.core.errors import InvalidArgument

    runtime = await bench.runtime(["hello"])
    with pytest.raises(InvalidArgument):
        await runtime.start_session(godwit.Agent("tester", model=MODEL), workspace=tmp_path / "nothing")
    assert await runtime.sessions() == []


async def test_an_unknown_model_fails_the_run_with_its_code(bench: Bench) -> None:
    from godwit.core.errors import RunFailed

    runtime = await bench.runtime(["hello"], check_models=False)
    session = await bench.start(["hello"], runtime=runtime, model="nowhere:model")
    with pytest.raises(RunFailed) as failed:
        await within(session.send("Hi."))
    assert failed.value.details["reason"] == "model_not_found"
    await until_type(session, "run.finished")
    await session.set_model(MODEL)
    assert (await within(session.send("Hi."))).text == "hello"
