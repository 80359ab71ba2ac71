"""How sessions of godwit's own, with whatever happens to them, read as events of the protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import godwit
from godwit.core.budget import Budget
from godwit.core.errors import RunFailed
from godwit.core.hooks import HookPoint, HookResult
from godwit.core.ids import Seq
from godwit.engine.session import Session
from godwit.models.script import call, end, hold, say
from godwit.surfaces.managed_agents.calls import asked_by
from godwit.surfaces.managed_agents.history import BEHIND, History
from tests.engine.conftest import Bench, until_type, within
from tests.engine.test_hook_points import answer
from tests.surfaces.managed_agents.legal import check


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path / "godwit.db")
    yield made
    await made.close()


async def shown(bench: Bench, session: Session) -> list[dict[str, Any]]:
    """All of it, once it was looked at from every place."""
    history = History(bench.runtimes[-1].store, session.id, "tester")
    whole = [p async for p in history.behind((Seq(0), BEHIND))]
    check(whole)
    assert [p async for p in history.before(None)] == whole[::-1]
    for at in whole:
        assert [p async for p in history.behind(at.place)] == [p for p in whole if p.place > at.place]
    return [p.body for p in whole if not p.quiet and not p.body["type"].startswith("session.thread_")]


def kinds(bodies: list[dict[str, Any]]) -> list[str]:
    return [b["type"] for b in bodies]


def last(bodies: list[dict[str, Any]]) -> str:
    assert bodies[-1]["type"] == "session.status_idle"
    kind: str = bodies[-1]["stop_reason"]["type"]
    return kind


@pytest.mark.parametrize("point", ["before_run", "before_prompt", "before_turn", "before_model", "before_finish"])
async def test_a_hook_that_asks_a_person_is_a_call_that_waits(bench: Bench, point: HookPoint) -> None:
    session = await bench.start(["done"], hooks=[answer(point, HookResult("escalate", reason="sure?"))])
    run = await session.prompt("go")
    await within(until_type(session, "run.parked"))
    bodies = await shown(bench, session)
    (use,) = (b for b in bodies if b["type"] == "agent.tool_use")
    assert (use["name"], use["evaluated_permission"]) == ("hook h", "ask")
    assert (use["input"]["point"], use["input"]["message"]) == (point, "sure?")
    assert bodies[-1]["stop_reason"] == {"type": "requires_action", "event_ids": [use["id"]]}
    asked = await asked_by(bench.runtimes[0].store, session.id, use["id"])
    await session.approve(asked.action)
    assert (await within(session.wait(run))).text == "done"
    bodies = await shown(bench, session)
    confirmed = next(b for b in bodies if b["type"] == "user.tool_confirmation")
    assert (confirmed["tool_use_id"], confirmed["result"]) == (use["id"], "allow")
    (result,) = (b for b in bodies if b["type"] == "agent.tool_result")
    assert (result["tool_use_id"], result["is_error"]) == (use["id"], False)
    assert last(bodies) == "end_turn"


async def test_a_person_who_says_no_ends_the_turn(bench: Bench) -> None:
    session = await bench.start(["never"], hooks=[answer("before_turn", HookResult("escalate", reason="sure?"))])
    run = await session.prompt("go")
    await within(until_type(session, "run.parked"))
    (pending,) = await session.approvals.pending()
    await session.deny(pending.id, "too late")
    await within(session.wait(run))
    bodies = await shown(bench, session)
    assert last(bodies) == "end_turn"
    assert next(b for b in bodies if b["type"] == "user.tool_confirmation")["deny_message"] == "too late"


async def test_a_session_that_is_paused_goes_on_by_itself(bench: Bench) -> None:
    release, reached = asyncio.Event(), asyncio.Event()
    session = await bench.start([call("bash", command="true") + hold(release, reached=reached), "done"], "bash")
    run = await session.prompt("go")
    await within(reached.wait())
    pausing = asyncio.ensure_future(session.pause())
    await within(until_type(session, "session.paused"))
    release.set()
    await within(pausing)
    assert (await shown(bench, session))[-1]["type"] == "session.status_rescheduled"
    await session.resume()
    await within(session.wait(run))
    bodies = await shown(bench, session)
    assert kinds(bodies).count("session.status_running") == 2
    assert last(bodies) == "end_turn"


async def test_how_runs_end(bench: Bench) -> None:
    refusal = await bench.start([say("I cannot.") + end("refusal")])
    await within(refusal.send("go"))
    bodies = await shown(bench, refusal)
    assert last(bodies) == "refusal"
    assert bodies[-1]["stop_details"] == {"type": "refusal"}

    turns = await bench.start([call("bash", command="true")] * 3, "bash", limits=godwit.Limits(max_turns=1))
    await within(turns.send("go"))
    bodies = await shown(bench, turns)
    assert last(bodies) == "retries_exhausted"
    assert bodies[-2]["error"]["type"] == "tool_use_limit_reached_error"

    failing = await bench.start([])
    with pytest.raises(RunFailed):
        await within(failing.send("go"))
    bodies = await shown(bench, failing)
    assert last(bodies) == "retries_exhausted"
    assert bodies[-2]["error"]["type"] == "model_request_failed_error"
    assert kinds(bodies).count("span.model_request_end") == 1


async def test_a_budget_that_ends_the_run(bench: Bench) -> None:
    session = await bench.start(["never"])
    await session.set_budget(Budget(turns=0))
    await within(session.send("go"))
    assert last(await shown(bench, session)) == "budget_reached"


async def test_a_session_taken_over_by_another_process_ends_its_span(bench: Bench) -> None:
    release = asyncio.Event()
    reached = asyncio.Event()
    session = await bench.start([say("half") + hold(release, reached=reached) + say("whole")])
    run = await session.prompt("go")
    await within(reached.wait())
    await bench.close()
    release.set()
    again = await bench.runtime(["whole"])
    handle = await again.open_session(session.id)
    await within(handle.wait(run))
    bodies = await shown(bench, handle)
    spans = [b for b in bodies if b["type"].startswith("span.")]
    assert len(spans) % 2 == 0
    assert last(bodies) in ("end_turn", "retries_exhausted")
