"""The same child again: a task that goes on with an earlier one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import godwit
from godwit.contracts import ModelRequest
from godwit.core.errors import ConfigurationError, InvalidArgument, SessionBusy, TaskNotFound
from godwit.core.events import SubagentFinished, SubagentStarted
from godwit.core.messages import ToolResult, User, text_of
from godwit.core.tasks import TaskRequest, run_of
from godwit.engine.session import Session
from godwit.host.runtime import Runtime
from godwit.models.script import Reply, Script, ScriptedModel, call, hold, say, tries

from .conftest import Bench, within


def told(request: ModelRequest) -> list[str]:
    """What the child has been asked so far."""
    return [text_of(e.message.content) for e in request.entries if isinstance(e.message, User)]


def recount(request: ModelRequest) -> Reply:
    return say("heard: " + ", ".join(told(request)))


def last_result(request: ModelRequest) -> ToolResult:
    message = request.entries[-1].message
    assert isinstance(message, ToolResult)
    return message


async def open_tree(bench: Bench, script: Script, *, child: Script | None = None, **limits: int) -> tuple[Runtime, Session]:
    models = {
        "scripted:boss": ScriptedModel(script, "scripted:boss"),
        "scripted:child": ScriptedModel(child or [recount] * 9, "scripted:child"),
    }
    below = [godwit.Agent("poet", model="scripted:child"), godwit.Agent("critic", model="scripted:child")]
    boss = godwit.Agent("boss", model="scripted:boss", subagents=below, limits=godwit.Limits(**limits))
    runtime = await bench.runtime(models=models)
    return runtime, await runtime.start_session(boss)


async def tasks_of(session: Session) -> tuple[list[SubagentStarted], list[SubagentFinished]]:
    events = await session.events()
    return (
        [e.data for e in events if isinstance(e.data, SubagentStarted)],
        [e.data for e in events if isinstance(e.data, SubagentFinished)],
    )


async def test_a_task_goes_on_with_the_child_of_an_earlier_one(bench: Bench) -> None:
    def again(_: ModelRequest) -> Any:
        return call("task", agent="poet", prompt="And two?", continue_task=earlier[0])

    earlier: list[str] = []
    script: list[Any] = [call("task", agent="poet", prompt="One?"), "Good.", again, "Better.", again, "Best."]
    _, session = await open_tree(bench, script, max_descendants=1)
    await within(session.send("Go."))
    earlier.append((await session.tasks.all())[0].id)
    await within(session.send("Again."))
    await within(session.send("And again."))
    started, finished = await tasks_of(session)
    assert [s.reused for s in started] == [0, 1, 2]
    assert len({s.child for s in started}) == 1
    assert len({s.task for s in started}) == 3
    assert [f.output for f in finished] == ["heard: One?", "heard: One?, And two?", "heard: One?, And two?, And two?"]
    assert [r.reused for r in await session.tasks.all()] == [0, 1, 2]
    # Each in the run that follows from task and child; the places in the child's log follow each other.
    child = await bench.runtimes[0].open_session(started[0].child, drive=False)
    assert [r.id for r in await child.runs()] == [run_of(s.task, s.child) for s in started]
    assert finished[0].up_to < finished[1].up_to < finished[2].up_to


async def test_a_task_that_names_none_begins_a_fresh_child(bench: Bench) -> None:
    tasks = [{"agent": "poet", "prompt": "One?"}, {"agent": "poet", "prompt": "Two?"}]
    _, session = await open_tree(bench, [call("task", tasks=tasks), "Good."])
    await within(session.send("Go."))
    started, finished = await tasks_of(session)
    assert len({s.child for s in started}) == 2
    assert sorted(f.output for f in finished) == ["heard: One?", "heard: Two?"]
    assert [s.reused for s in started] == [0, 0]


async def test_what_cannot_be_gone_on_with_is_told_to_the_model(bench: Bench) -> None:
    seen: list[str] = []

    def note(request: ModelRequest) -> Any:
        seen.append(text_of(last_result(request).content))
        return attempts.pop(0) if attempts else "Enough."

    def twice() -> Any:
        one = {"agent": "poet", "prompt": "x", "continue_task": known[0]}
        return call("task", tasks=[one, one])

    known: list[str] = []
    attempts: list[Any] = []
    script: list[Any] = [call("task", agent="poet", prompt="One?"), "Good.", lambda _: attempts.pop(0), *[note] * 4]
    _, session = await open_tree(bench, script)
    await within(session.send("Go."))
    known.append((await session.tasks.all())[0].id)
    attempts += [
        call("task", agent="poet", prompt="x", continue_task="task_none"),
        call("task", agent="critic", prompt="x", continue_task=known[0]),
        call("task", agent="poet", prompt="x", continue_task=known[0], max_turns=2),
        twice(),
    ]
    await within(session.send("Go on."))
    assert "no task 'task_none'" in seen[0]
    assert "done by 'poet', not by 'critic'" in seen[1]
    assert "keeps the turns" in seen[2]
    assert "still works" in seen[3]
    assert len((await tasks_of(session))[0]) == 1


async def test_a_host_goes_on_with_a_task_and_gets_it_once_under_a_key(bench: Bench) -> None:
    _, session = await open_tree(bench, ["Heard."] * 4)
    first = await session.tasks.start("poet", "One?")
    with pytest.raises(SessionBusy):
        await session.tasks.start("poet", "Two?", continue_task=first.id)
    await within(session.tasks.wait([first.id]))
    second = await session.tasks.start("poet", "Two?", continue_task=first.id, key="again")
    same = await session.tasks.start("poet", "Two?", continue_task=first.id, key="again")
    assert (same.id, same.session, same.reused) == (second.id, first.session, 1)
    [ended] = await within(session.tasks.wait([second.id]))
    assert ended.output == "heard: One?, Two?"
    with pytest.raises(TaskNotFound):
        await session.tasks.start("poet", "x", continue_task="task_none")
    with pytest.raises(InvalidArgument, match="'poet'"):
        await session.tasks.start("critic", "x", continue_task=first.id)
    with pytest.raises(ConfigurationError):
        TaskRequest("poet", "x", max_turns=1, continues=first.id)


async def test_a_child_whose_task_was_cancelled_goes_on_and_is_no_orphan_then(bench: Bench) -> None:
    reached = asyncio.Event()
    child: Script = [tries(hold(asyncio.Event(), reached=reached), "heard again"), "never"]
    runtime, session = await open_tree(bench, ["Heard."] * 9, child=child)
    first = await session.tasks.start("poet", "One?")
    await within(reached.wait())
    assert await session.tasks.cancel(first.id)
    assert await runtime.subagents.orphaned(first.session)
    second = await session.tasks.start("poet", "Two?", continue_task=first.id)
    assert not await runtime.subagents.orphaned(first.session)
    [ended] = await within(session.tasks.wait([second.id]))
    assert (ended.status, ended.output) == ("completed", "heard again")
    assert [(r.status, r.reused) for r in await session.tasks.all()] == [("cancelled", 0), ("completed", 1)]


async def test_a_child_whose_session_is_gone_or_archived_fails_the_task_and_is_not_made_anew(bench: Bench) -> None:
    runtime, session = await open_tree(bench, ["Heard."] * 9)
    first = await session.tasks.start("poet", "One?")
    await within(session.tasks.wait([first.id]))
    await runtime.archive(first.session)
    second = await session.tasks.start("poet", "Two?", continue_task=first.id)
    [ended] = await within(session.tasks.wait([second.id]))
    assert (ended.status, ended.error and ended.error.code) == ("failed", "session_archived")
    await runtime.delete_session(first.session)
    with pytest.raises(InvalidArgument, match="deleted"):
        await session.tasks.start("poet", "Three?", continue_task=first.id)
