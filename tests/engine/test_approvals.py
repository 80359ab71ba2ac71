"""Pending actions: approvals and external results, answered once, surviving restarts."""

from __future__ import annotations

import asyncio

import pytest

import godwit
from godwit.core.errors import ActionNotFound
from godwit.core.events import ActionClosed, ToolFinished, ToolStarted
from godwit.core.messages import ToolResult
from godwit.core.transcript import problems
from godwit.models.script import Script, call

from .conftest import Bench, data, types, until_type, within


@godwit.tool
def write(text: str) -> str:
    """Write."""
    return f"wrote {text}"


@godwit.tool
def free() -> str:
    """Free."""
    return "free"


ASK = {"write": "ask"}


async def test_ask_parks_the_run_and_approval_goes_on(bench: Bench) -> None:
    session = await bench.start([call("write", text="a") + call("free"), "done"], write, free, permissions=ASK)
    run = await session.prompt("Go.")
    await until_type(session, "run.parked")
    assert await session.status() == "waiting"
    pending = await session.approvals.pending()
    assert [(p.name, p.kind, p.arguments) for p in pending] == [("write", "approval", {"text": "a"})]
    assert pending[0].age_s >= 0
    assert [d.name for d in await data(session, ToolFinished)] == ["free"], "the sibling did not wait"
    assert await session.approve(pending[0].id) is True
    assert (await within(session.wait(run))).text == "done"
    assert await session.approve(pending[0].id) is False, "a repeated answer changes nothing"
    assert await session.approvals.pending() == []
    assert [m.text for m in await session.history() if isinstance(m, ToolResult)] == ["wrote a", "free"]


async def test_deny_tells_the_model_why(bench: Bench) -> None:
    session = await bench.start([call("write", text="a"), "I see"], write, permissions=ASK)
    await session.prompt("Go.")
    parked = await until_type(session, "run.parked")
    call_id = (await session.approvals.pending())[0].call
    assert call_id is not None
    assert parked.seq > 0
    assert await session.confirm_tool_use(call_id, False, "not on Fridays") is True
    await within(session.wait())
    result = next(m for m in await session.history() if isinstance(m, ToolResult))
    assert (result.status, "not on Fridays" in result.text) == ("denied", True)
    assert not await data(session, ToolStarted)


async def test_edited_arguments_are_run_and_told(bench: Bench) -> None:
    session = await bench.start([call("write", text="a"), "done"], write, permissions=ASK)
    await session.prompt("Go.")
    await until_type(session, "run.parked")
    await session.approve((await session.approvals.pending())[0].id, arguments={"text": "b"})
    await within(session.wait())
    result = next(m for m in await session.history() if isinstance(m, ToolResult))
    assert "wrote b" in result.text
    assert "changed the arguments" in result.text
    assert '"b"' in result.text
    started = (await data(session, ToolStarted))[0]
    assert (started.arguments, started.edited) == ({"text": "b"}, True)


async def test_an_edit_that_does_not_fit_denies_the_call(bench: Bench) -> None:
    session = await bench.start([call("write", text="a"), "done"], write, permissions=ASK)
    await session.prompt("Go.")
    await until_type(session, "run.parked")
    await session.approve((await session.approvals.pending())[0].id, arguments={"nothing": 1})
    await within(session.wait())
    assert [d.status for d in await data(session, ToolFinished)] == ["denied"]


async def test_a_pending_action_survives_a_restart(bench: Bench) -> None:
    script: Script = [call("write", text="a"), "done"]
    session = await bench.start(script, write, permissions=ASK)
    await session.prompt("Go.")
    await until_type(session, "run.parked")
    await bench.close()
    runtime = await bench.runtime(script)
    agent = godwit.Agent("tester", model="scripted:test", tools=[write], permissions=ASK)
    again = await runtime.open_session(session.id, agent=agent)
    assert await again.status() == "waiting"
    pending = (await again.approvals.pending())[0]
    await again.approve(pending.id)
    assert (await within(again.wait())).text == "done"


async def test_an_answer_from_a_handle_that_only_controls_wakes_the_driver(bench: Bench) -> None:
    session = await bench.start([call("write", text="a"), "done"], write, permissions=ASK)
    await session.prompt("Go.")
    await until_type(session, "run.parked")
    other = await bench.runtime()
    control = await other.open_session(session.id, drive=False)
    await control.approve((await control.approvals.pending())[0].id)
    assert (await within(session.wait())).text == "done"


async def test_several_actions_are_answered_one_by_one(bench: Bench) -> None:
    session = await bench.start(
        [call("write", text="a") + call("write", text="b") + call("write", text="c"), "done"], write, permissions=ASK
    )
    await session.prompt("Go.")
    await until_type(session, "run.parked")
    a, b, c = await session.approvals.pending()
    await session.approve(b.id)
    await until_type(session, "tool.finished")
    assert len(await session.approvals.pending()) == 2
    await session.deny(a.id)
    await session.approve(c.id)
    assert (await within(session.wait())).text == "done"
    assert [m.status for m in await session.history() if isinstance(m, ToolResult)] == ["denied", "ok", "ok"]


async def test_unknown_actions_are_not_found(bench: Bench) -> None:
    session = await bench.start(["x"])
    with pytest.raises(ActionNotFound):
        await session.approve("act_unknown")
    assert await session.confirm_tool_use("unknown", True) is False


async def test_interrupt_closes_what_is_pending(bench: Bench) -> None:
    session = await bench.start([call("write", text="a"), "again"], write, permissions=ASK)
    run = await session.prompt("Go.")
    await until_type(session, "run.parked")
    await within(session.interrupt())
    assert (await within(session.wait(run))).outcome == "interrupted"
    assert [d.reason for d in await data(session, ActionClosed)] == ["interrupted"]
    assert not list(problems(await session.history()))
    assert (await within(session.send("Again."))).text == "again"


async def test_a_skipping_steer_skips_what_is_pending(bench: Bench) -> None:
    session = await bench.start([call("write", text="a"), "instead"], write, permissions=ASK)
    await session.prompt("Go.")
    await until_type(session, "run.parked")
    await session.steer("Do something else.")
    assert (await within(session.wait())).text == "instead"
    assert [d.status for d in await data(session, ToolFinished)] == ["skipped"]
    assert [d.reason for d in await data(session, ActionClosed)] == ["skipped"]


async def test_denied_tools_are_hidden_and_refused(bench: Bench) -> None:
    session = await bench.start([call("write", text="a"), "ok"], write, free, permissions={"write": "deny"})
    await within(session.send("Go."))
    assert bench.model is not None
    assert [t.name for t in bench.model.requests[0].tools] == ["free"]
    assert [d.status for d in await data(session, ToolFinished)] == ["denied"]


async def test_a_tool_without_a_body_is_answered_from_outside(bench: Bench) -> None:
    lookup = godwit.ToolDefinition(
        "lookup", "Look it up.", {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
    )
    session = await bench.start([call("lookup", q="x") + call("lookup", q="y"), "done"], lookup)
    await session.prompt("Go.")
    await until_type(session, "run.parked")
    first, second = await session.approvals.pending()
    assert first.kind == "external"
    await session.answer(first.id, "found x")
    await session.answer(second.id, "no such thing", is_error=True)
    assert (await within(session.wait())).text == "done"
    results = [m for m in await session.history() if isinstance(m, ToolResult)]
    assert [(r.text, r.status) for r in results] == [("found x", "ok"), ("no such thing", "error")]


async def test_an_external_tool_may_need_an_approval_first(bench: Bench) -> None:
    lookup = godwit.ToolDefinition("lookup", "Look it up.", {"type": "object", "properties": {}})
    session = await bench.start([call("lookup"), "done"], lookup, permissions={"lookup": "ask"})
    await session.prompt("Go.")
    await until_type(session, "run.parked")
    approval = (await session.approvals.pending())[0]
    assert approval.kind == "approval"
    await session.approve(approval.id)

    async def wait_external() -> str:
        async for event in session.follow():
            if event.type == "action.opened" and getattr(event.data, "kind", "") == "external":
                return str(event.data.action)  # type: ignore[union-attr]
        raise AssertionError

    await session.answer(await within(wait_external()), "here")
    assert (await within(session.wait())).text == "done"
    assert "tool.started" not in await types(session)


async def test_concurrent_answers_count_once(bench: Bench) -> None:
    session = await bench.start([call("write", text="a"), "done"], write, permissions=ASK)
    await session.prompt("Go.")
    await until_type(session, "run.parked")
    action = (await session.approvals.pending())[0].id
    answers = await asyncio.gather(*(session.approve(action) for _ in range(10)))
    assert sum(answers) == 1
    await within(session.wait())
    assert len(await data(session, ToolStarted)) == 1
