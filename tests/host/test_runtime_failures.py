"""Failing models and dying processes, seen by a session's id (defects 8 and 9 of the original, see `by_id`)."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from tests.acceptance.stopped_script import SESSION as STOPPED, make_agent as make_stopped_agent
from tests.engine.conftest import MODEL, Bench, within
from tests.host.by_id import LOOKUP, begin, data, note, outcome, says, stopped_driver, types, until, up_to

import godwit
from godwit.core.errors import ModelRefused, RateLimited, ToolNotFound
from godwit.core.events import ActionOpened, ToolFinished, UserAnswer
from godwit.core.messages import Text
from godwit.host.runtime import Runtime
from godwit.models.script import Script, ScriptedModel, call, tries


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
    runtime = await bench.runtime(["Usable."], check_models=False)
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


async def test_a_killed_process_loses_nothing_and_another_goes_on(tmp_path: Path) -> None:
    """Defect 9: no path of the original reads its store after a restart, and its test of a kill never kills."""
    database = tmp_path / "godwit.db"
    ledger = database.with_suffix(".ledger")
    process = await stopped_driver(database)
    model = ScriptedModel([call("slow"), call("effect"), "done"], "scripted:test")
    async with await Runtime.open(database, models={"scripted:test": model}) as runtime:
        before = [e async for e in up_to(await runtime.stream_events(STOPPED, 0), "tool.started")]
        assert await runtime.desk.recover() == [], "a living process drives it"
        process.kill()
        assert await process.wait() == -signal.SIGKILL
        assert await runtime.desk.recover() == [], "its tools are not here yet"
        assert await runtime.status(STOPPED) == "running"
        await runtime.create(make_stopped_agent(ledger))
        stream = await runtime.stream_events(STOPPED, before[-1].seq)
        assert await runtime.desk.recover() == [STOPPED]
        after = [e async for e in up_to(stream, "run.finished")]
        assert [e.seq for e in (*before, *after)] == list(range(1, await runtime.head(STOPPED) + 1))
        assert [d.status for d in await data(runtime, STOPPED, ToolFinished)] == ["unknown", "ok"]
        assert ledger.read_text().split() == [str(os.getpid())]
        assert await runtime.status(STOPPED) == "idle"
        assert await runtime.desk.recover() == []


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
