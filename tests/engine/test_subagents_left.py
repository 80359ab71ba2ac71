"""What an ended task has left in the background: it still asks at the top, and a cancel above reaches it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

import godwit
from godwit.contracts import ModelRequest
from godwit.core.events import RunFinished, SubagentAsked, TasksCancelled
from godwit.engine.log import append_outside
from godwit.engine.session import Session
from godwit.host.runtime import Runtime
from godwit.models.script import Reply, call, hold, say

from .conftest import Bench, data, until_type, within
from .task_words import Team, asked, home, last, rest


@pytest.fixture
def team(bench: Bench) -> Team:
    return Team(bench)


async def working(session: Session) -> list[str]:
    """The agents that work, by their first names."""
    rows = await home(session).store.sessions(limit=100)
    return sorted(row.agent.name.partition("-")[0] for row in rows if row.run is not None)


def with_a_leaf_left(team: Team, *, gate: asyncio.Event, reached: asyncio.Event, going: asyncio.Event) -> None:
    """The twig's task has ended, its leaf works in the background; the branch that gave it works on."""
    team.add("leaf", [hold(gate, reached=reached) + "leaf"])
    team.add("twig", [call("task", agent="leaf", prompt="x", background=True), "twig", *["Heard."] * 3], subagents=["leaf"])
    team.add("branch", [call("task", agent="twig", prompt="x"), hold(gate, reached=going) + "branch"], subagents=["twig"])
    team.add("boss", [call("task", agent="branch", prompt="x"), "Fine."], subagents=["branch"])


async def test_a_cancel_above_reaches_it(team: Team) -> None:
    gate, reached, going = asyncio.Event(), asyncio.Event(), asyncio.Event()
    with_a_leaf_left(team, gate=gate, reached=reached, going=going)
    session = await team.start()
    run = await session.prompt("Go.")
    await within(asyncio.gather(reached.wait(), going.wait()))
    (task,) = await session.tasks.pending()
    assert await session.tasks.cancel(task.id) is True
    assert (await within(session.wait(run))).outcome == "done"
    await rest(home(session))
    assert await working(session) == []
    assert not gate.is_set()


Way = Callable[[Session], Awaitable[object]]
WAYS: dict[str, Way] = {
    "cancel_all": lambda session: session.tasks.cancel_all(),
    "close": lambda session: session.close(),
    "archive": lambda session: home(session).archive(session.id),
}


@pytest.mark.parametrize("how", WAYS)
async def test_ending_all_reaches_it_when_no_task_is_open_any_more(team: Team, how: str) -> None:
    gate, reached = asyncio.Event(), asyncio.Event()
    team.add("leaf", [hold(gate, reached=reached) + "leaf"])
    team.add("twig", [call("task", agent="leaf", prompt="x", background=True), "twig", *["Heard."] * 3], subagents=["leaf"])
    team.add("boss", [call("task", agent="twig", prompt="x"), "Fine."], subagents=["twig"])
    session = await team.start()
    runtime = home(session)
    await within(session.send("Go."))
    await within(reached.wait())
    assert await session.tasks.pending() == []
    await within(WAYS[how](session))
    await rest(runtime)
    assert [row.id for row in await runtime.store.sessions(limit=100) if row.run is not None] == []
    assert not gate.is_set()


async def left_behind(team: Team, gate: asyncio.Event) -> Session:
    """A session at rest, none of whose tasks is open, and below an ended one of which a leaf works."""
    reached = asyncio.Event()
    team.add("leaf", [lambda r: hold(gate, reached=reached) + "leaf" if asked(r) == "x" else say("again")])
    team.add("twig", [call("task", agent="leaf", prompt="x", background=True), "twig", *["Heard."] * 5], subagents=["leaf"])
    team.add("boss", [call("task", agent="twig", prompt="x"), "Fine."], subagents=["twig"])
    session = await team.start()
    await within(session.send("Go."))
    await within(reached.wait())
    assert await session.tasks.pending() == []
    return session


async def leafs_end(runtime: Runtime) -> str:
    """How its first run ends."""
    leaf = next(row for row in await runtime.sessions(limit=100) if row.agent.name.startswith("leaf"))
    event = await within(until_type(await runtime.open_session(leaf.id, drive=False), "run.finished"))
    assert isinstance(event.data, RunFinished)
    return event.data.outcome


async def test_a_cancel_of_all_that_was_recorded_reaches_it_though_its_process_died(team: Team) -> None:
    """All that a process had time for was to record it: whoever drives what is left carries it out."""
    session = await left_behind(team, asyncio.Event())
    runtime = home(session)
    await append_outside(runtime.store, session.id, [TasksCancelled("enough")], runtime.clock)
    assert await leafs_end(runtime) == "interrupted"


async def test_a_cancel_of_all_holds_when_it_is_gone_on_with(team: Team) -> None:
    gate = asyncio.Event()
    session = await left_behind(team, gate)
    runtime = home(session)
    await runtime.close()  # what was under way goes on with the next process
    gate.set()
    again = await team.runtime()
    await append_outside(again.store, session.id, [TasksCancelled("enough")], again.clock)
    await again.desk.recover()
    assert await leafs_end(again) == "interrupted"


async def test_it_is_recorded_only_where_something_is_left(team: Team) -> None:
    gate = asyncio.Event()
    session = await left_behind(team, gate)
    assert await session.tasks.cancel_all("enough") == 0
    assert await data(session, TasksCancelled) == [TasksCancelled("enough")]
    await rest(home(session))
    assert await session.tasks.cancel_all() == 0
    assert len(await data(session, TasksCancelled)) == 1


async def test_what_a_person_asks_for_after_it_goes_on(team: Team) -> None:
    session = await left_behind(team, asyncio.Event())
    runtime = home(session)
    await session.tasks.cancel_all()
    await rest(runtime)
    twig = next(row for row in await runtime.sessions(limit=100) if row.agent.name.startswith("twig"))
    handle = await runtime.desk.session(twig.id)
    begun = await handle.tasks.start("leaf", "y")
    (ended,) = await within(handle.tasks.wait([begun.id]))
    assert ended.status == "completed"


async def test_what_it_asks_is_told_and_answered_at_the_top(team: Team) -> None:
    done = []

    @godwit.tool
    async def work() -> str:
        """Work."""
        done.append("work")
        return "worked"

    team.add("leaf", [call("work"), "leaf"], work, permissions={"work": "ask"})
    team.add("twig", [call("task", agent="leaf", prompt="x", background=True), "twig", "Heard."], subagents=["leaf"])
    team.add("boss", [call("task", agent="twig", prompt="x"), "Fine."], subagents=["twig"])
    session = await team.start()
    await within(session.send("Go."))
    await until_type(session, "subagent.asked")
    assert await session.tasks.pending() == []
    (asked,) = await data(session, SubagentAsked)
    (action,) = await session.approvals.pending()
    assert (action.id, action.path, asked.path) == (asked.action, ("twig", "leaf"), ("twig", "leaf"))
    assert await session.approve(action.id) is True
    await rest(home(session))
    assert done == ["work"]
    assert await session.approvals.pending() == []


async def test_what_a_person_asks_a_child_whose_task_was_cancelled_is_no_orphan(team: Team) -> None:
    gate, reached = asyncio.Event(), [asyncio.Event(), asyncio.Event()]

    def answer(request: ModelRequest) -> Reply:
        asked = last(request) == "And you?"
        return hold(gate if asked else asyncio.Event(), reached=reached[asked]) + "Hello."

    team.add("leaf", [answer, answer])
    team.add("boss", [call("task", agent="leaf", prompt="x"), "Fine."], subagents=["leaf"])
    session = await team.start()
    run = await session.prompt("Go.")
    await within(reached[0].wait())
    (task,) = await session.tasks.pending()
    assert await session.tasks.cancel(task.id) is True
    await within(session.wait(run))
    await rest(home(session))
    child = await home(session).open_session(task.session)
    talk = await child.prompt("And you?")
    await within(reached[1].wait())
    await team.bench.close()
    runtime = await team.runtime()
    await runtime.create(team.agents["boss"])
    assert await runtime.desk.recover() == [task.session]
    gate.set()
    child = await runtime.desk.session(task.session)
    assert (await within(child.wait(talk))).outcome == "done"
    assert [d.outcome for d in await data(child, RunFinished)] == ["interrupted", "done"]
