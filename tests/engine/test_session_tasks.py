"""`session.tasks`: what a session has handed to others, told and changed by its holder; and what is asked below."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import godwit
from godwit.contracts import SessionHandle
from godwit.core.errors import AgentNotFound, ConfigurationError, InvalidArgument, SessionNotFound, TaskNotFound
from godwit.core.events import SubagentAsked, UserMessage
from godwit.core.messages import text_of
from godwit.models.script import Script, ScriptedModel, call, hold, say
from tests.engine.conftest import MODEL, Bench, until, until_type, within


async def started(bench: Bench, script: Script, *subagents: Any, **models: Script) -> Any:
    """A session whose model answers `script`; each of `models` is a subagent of that name."""
    known = {f"scripted:{name}": ScriptedModel(given, f"scripted:{name}") for name, given in models.items()}
    runtime = await bench.runtime(models={MODEL: ScriptedModel(script, MODEL), **known})
    made = [godwit.Agent(name, model=f"scripted:{name}", description=f"Is a {name}.") for name in models]
    return await bench.start([], runtime=runtime, subagents=subagents or made)


async def test_a_task_of_the_hosts_is_told_from_its_beginning_to_its_end(bench: Bench) -> None:
    session = await started(bench, ["Heard."], poet=["Rain falls."])
    given = await session.tasks.start("poet", "A line on rain.", description="rain", key="k")
    assert (given.parent, given.agent, given.description, given.prompt) == (session.id, "poet", "rain", "A line on rain.")
    assert (given.background, given.depth, given.success) == (True, 1, None)
    (ended,) = await within(session.tasks.wait([given.id]))
    assert (ended.status, ended.output, ended.success, ended.turns) == ("completed", "Rain falls.", True, 1)
    assert ended.finished_ms is not None
    assert await session.tasks.output(given.id) == "Rain falls."
    assert await session.tasks.get(given.id) == ended
    assert await session.tasks.all() == [ended]
    assert await session.tasks.pending() == []
    assert (await session.tasks.start("poet", "A line on rain.", description="rain", key="k")).id == given.id
    assert len(await session.tasks.all()) == 1
    await until_type(session, "run.finished")
    told = [e.data for e in await session.events() if isinstance(e.data, UserMessage)]
    assert ["Rain falls." in text_of(message.content) for message in told] == [True]


async def test_a_task_that_works_is_waited_for_as_long_as_is_said_and_cancelled_once(bench: Bench) -> None:
    gate = asyncio.Event()
    session = await started(bench, ["Heard.", "Heard."], poet=[hold(gate) + say("never")], other=["x"])
    first = await session.tasks.start("poet", "A line on rain.")
    second = await session.tasks.start("poet", "A line on sun.")
    (still,) = await within(session.tasks.wait([first.id], 0.05))
    assert still.pending
    assert await session.tasks.output(first.id) == ""
    assert [t.id for t in await session.tasks.pending()] == [first.id, second.id]
    assert await session.tasks.cancel(first.id, "no rain") is True
    assert await session.tasks.cancel(first.id) is False
    assert await session.tasks.cancel_all() == 1
    assert await session.tasks.cancel_all() == 0
    assert [t.status for t in await session.tasks.all()] == ["cancelled", "cancelled"]
    for task in (first, second):
        child = await bench.runtimes[-1].open_session(task.session, drive=False)
        if await child.is_running():
            await until_type(child, "run.finished")
    assert [t.status for t in await session.tasks.all()] == ["cancelled", "cancelled"]


async def test_what_is_no_task_and_no_subagent_is_told(bench: Bench) -> None:
    session = await started(bench, [], poet=[])
    assert await session.tasks.all() == []
    assert await session.tasks.get("task_x") is None
    assert await session.tasks.cancel("task_x") is False
    assert await session.tasks.record_end("task_x") is False
    assert await session.tasks.wait([]) == []
    await session.tasks.read(["task_x"])
    with pytest.raises(TaskNotFound):
        await session.tasks.wait(["task_x"])
    with pytest.raises(TaskNotFound):
        await session.tasks.output("task_x")
    with pytest.raises(AgentNotFound):
        await session.tasks.start("painter", "A picture.")
    with pytest.raises(ConfigurationError):
        await session.tasks.start("poet", " ")
    assert await session.tasks.all() == []


async def test_children_that_are_run_elsewhere_are_recorded(bench: Bench) -> None:
    session = await started(bench, [], poet=[])
    for _ in range(2):
        await session.tasks.record_start("t1", agent="far", description="rain", prompt="A line.")
    await session.tasks.record_start("t2", agent="far")
    await session.tasks.record_progress("t1", "tool_completed", {"tool": "bash"})
    (one, _) = await session.tasks.all()
    assert (one.id, one.agent, one.description, one.prompt, one.external) == ("t1", "far", "rain", "A line.", True)
    assert [(step.status, step.metadata) for step in one.progress] == [("tool_completed", {"tool": "bash"})]
    assert await session.tasks.record_end("t1", output="Rain.") is True
    assert await session.tasks.record_end("t1", "failed") is False
    await session.tasks.record_progress("t1", "late")
    assert await session.tasks.cancel("t2") is True
    assert await session.tasks.record_end("t2") is False
    first, second = await session.tasks.all()
    assert (first.status, first.output, len(first.progress)) == ("completed", "Rain.", 1)
    assert (second.status, second.output) == ("cancelled", "")


async def test_a_child_that_the_host_runs_in_a_session_shows_its_steps(bench: Bench) -> None:
    session = await started(bench, [], poet=["Rain.", "Sun."])
    runtime = bench.runtimes[-1]
    far = await runtime.start_session(godwit.Agent("far", model="scripted:poet"), parent=session.id)
    await session.tasks.record_start("t1", agent="far", session=far.id)
    await session.tasks.record_progress("t1", "thinking", {"deep": True})
    await within(far.send("A line."))
    (one,) = await session.tasks.all()
    assert [step.status for step in one.progress] == ["thinking", "turn_completed"]
    assert await session.tasks.record_end("t1", output="Rain.") is True
    await within(far.send("Another one, for somebody else."))
    (one,) = await session.tasks.all()
    assert [step.status for step in one.progress] == ["thinking", "turn_completed"]


async def test_a_task_that_goes_on_with_a_child_shows_its_own_steps(bench: Bench) -> None:
    session = await started(bench, ["Heard."] * 3, poet=["One.", "Two."])
    first = await session.tasks.start("poet", "A line.")
    await within(session.tasks.wait([first.id]))
    second = await session.tasks.start("poet", "Another.", continue_task=first.id)
    found = await within(session.tasks.wait([first.id, second.id]))
    assert [[(s.status, s.metadata["turn"]) for s in r.progress] for r in found] == [
        [("turn_completed", 1)],
        [("turn_completed", 2)],
    ]


async def test_a_message_that_tells_what_is_known_already_is_withdrawn(bench: Bench) -> None:
    gate = asyncio.Event()
    session = await started(bench, [hold(gate) + say("Done.")], poet=["Rain falls."])
    run = await session.prompt("Go.")
    task = await session.tasks.start("poet", "A line.")
    await within(session.tasks.wait([task.id]))
    await session.tasks.read([task.id])
    gate.set()
    await within(session.wait(run))
    assert [entry.status for entry in await session.queue.list(all=True) if entry.delivery == "follow_up"] == ["withdrawn"]


async def test_all_of_a_long_answer_can_be_read(bench: Bench) -> None:
    long = "".join(f"line {n}\n" for n in range(2000))
    session = await started(bench, ["Heard."], poet=[long])
    task = await session.tasks.start("poet", "Many lines.")
    (ended,) = await within(session.tasks.wait([task.id]))
    assert ended.output is not None
    assert ended.artifact is not None
    assert len(ended.output) < 5000
    assert await session.tasks.output(task.id) == long


@pytest.mark.parametrize("approved", [True, False])
async def test_a_question_from_two_levels_down_is_answered_at_the_top(bench: Bench, approved: bool) -> None:
    ask: Script = [call("bash", id="c1", command="echo deep"), "Leaf done."]
    models = {
        MODEL: ScriptedModel([call("task", id="t", agent="branch", prompt="Go on."), "All done."], MODEL),
        "scripted:branch": ScriptedModel(
            [call("task", id="t", agent="leaf", prompt="Do it."), "Branch done."], "scripted:branch"
        ),
        "scripted:leaf": ScriptedModel(ask, "scripted:leaf"),
    }
    runtime = await bench.runtime(models=models)
    leaf = godwit.Agent("leaf", model="scripted:leaf", tools=["bash"], permissions={"bash": "ask"})
    branch = godwit.Agent("branch", model="scripted:branch", subagents=[leaf])
    session: SessionHandle = await bench.start([], runtime=runtime, subagents=[branch])
    run = await session.prompt("Go.")
    asked = await until_type(session, "subagent.asked")
    assert isinstance(asked.data, SubagentAsked)
    (action,) = await session.approvals.pending()
    assert (action.name, action.arguments, action.path) == ("bash", {"command": "echo deep"}, ("branch", "leaf"))
    assert (action.id, action.path) == (asked.data.action, asked.data.path)
    (task,) = await session.tasks.all()
    assert action.session not in (session.id, task.session)
    assert task.status == "waiting"
    answer = session.approvals.approve if approved else session.approvals.deny
    assert await answer(action.id) is True
    assert (await within(session.wait(run))).text == "All done."
    assert await session.approvals.pending() == []
    assert await answer(action.id) is False
    assert action.session is not None
    below = await bench.runtimes[-1].open_session(action.session, drive=False)
    ended = await until(below, lambda e: e.type == "tool.finished")
    assert ended.data.status == ("ok" if approved else "denied")  # type: ignore[union-attr]


async def test_a_session_of_somebody_else_is_not_reached_by_naming_it(bench: Bench) -> None:
    """A host that records a child of its own may name any session as where that works."""
    runtime = await bench.runtime([call("bash", id="c1", command="echo secret"), "Done."])
    other = await runtime.start_session(
        godwit.Agent("other", model=MODEL, tools=["bash"], permissions={"bash": "ask"}),
        workspace=bench.workspace,
        labels=godwit.Labels(tenant="other"),
    )
    run = await other.prompt("Go.")
    await until_type(other, "run.parked")
    session = await runtime.start_session(godwit.Agent("tester", model=MODEL), labels=godwit.Labels(tenant="own"))
    await session.tasks.record_start("t1", agent="far", session=other.id)
    assert await session.approvals.pending() == []
    assert await session.tasks.output("t1") == ""
    assert (await session.tasks.all())[0].progress == ()
    assert await session.tasks.cancel("t1") is True
    own = await session.events()
    tree = session.follow_tree()
    assert [(e.session, e.seq) for e in [await within(anext(tree)) for _ in own]] == [(session.id, e.seq) for e in own]
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(anext(tree), 0.3)
    await tree.aclose()
    assert [a.call for a in await other.approvals.pending()] == ["c1"]
    assert await other.approve("c1")
    assert (await within(other.wait(run))).text == "Done."


async def test_sessions_of_subagents_are_listed_by_their_parent(bench: Bench) -> None:
    session = await started(bench, ["Heard."], poet=["Rain falls."])
    runtime = bench.runtimes[-1]
    task = await session.tasks.start("poet", "A line.")
    await within(session.tasks.wait([task.id]))
    await until_type(session, "run.finished")
    assert {row.id for row in await runtime.sessions()} == {session.id, task.session}
    assert [row.id for row in await runtime.sessions(top_level=True)] == [session.id]
    assert [(row.id, row.parent) for row in await runtime.sessions(parent=session.id)] == [(task.session, session.id)]
    with pytest.raises(InvalidArgument):
        await runtime.sessions(parent=session.id, top_level=True)
    with pytest.raises(SessionNotFound):
        await runtime.row("ses_unknown")
