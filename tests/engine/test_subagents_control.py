"""Stopping, pausing, steering, leaving and going back, of parents and children, at every phase: a cancel reaches every leaf,
and nobody waits for what will not come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import godwit
from godwit.core.errors import TaskNotFound
from godwit.core.events import InputDelivered, RunFinished, SubagentFinished, ToolFinished, UserMessage
from godwit.core.messages import text_of
from godwit.core.transcript import problems
from godwit.engine.log import append_outside
from godwit.host.runtime import Runtime
from godwit.models.script import call, hold, say
from tests.patience import PATIENCE_S

from .conftest import Bench, data, until, within
from .task_words import Team, answer, asked, ended, ends, home, rest, results

ECHO = [lambda request: say(f"({asked(request)})")]


@pytest.fixture
def team(bench: Bench) -> Team:
    return Team(bench)


class Held:
    """A tree of three levels whose leaves are held: two that are waited for, and one in the background."""

    def __init__(self, team: Team) -> None:
        self.gate = asyncio.Event()
        self.reached = [asyncio.Event() for _ in range(3)]

        def leaf(request: Any) -> Any:
            return hold(self.gate, reached=self.reached[int(asked(request))]) + f"leaf {asked(request)}"

        def hand_on(request: Any) -> Any:
            return call("task", agent="leaf", prompt=asked(request))

        team.add("leaf", [leaf, "Again."])
        team.add("branch", [hand_on, "branch"], subagents=["leaf"])
        team.add(
            "boss",
            [
                call("task", agent="branch", prompt="2", background=True),
                call("task", tasks=[{"agent": "branch", "prompt": "0"}, {"agent": "branch", "prompt": "1"}]),
                *["Fine."] * 5,
            ],
            subagents=["branch"],
        )

    async def all_held(self) -> None:
        await within(asyncio.gather(*(event.wait() for event in self.reached)))


async def nothing_is_left(runtime: Runtime, rows: int) -> None:
    """No run is open, no task is, and no transcript is one that a provider would refuse."""
    await rest(runtime)
    found = await runtime.store.sessions(limit=500)
    assert len(found) == rows
    assert [row.id for row in found if row.run is not None] == []
    for row in found:
        session = await runtime.open_session(row.id, drive=False)
        assert list(problems(await session.history())) == []


async def test_an_interrupt_ends_what_is_waited_for_down_to_the_leaves(team: Team) -> None:
    held = Held(team)
    session = await team.start()
    run = await session.prompt("Go.")
    await held.all_held()
    assert await session.interrupt() is True
    result = await within(session.wait(run))
    assert result.outcome == "interrupted"
    await ended(session, 2)
    assert [t.agent for t in await session.tasks.pending()] == ["branch"], "what is in the background goes on"
    await until_idle_leaves(home(session), 1)
    held.gate.set()
    await nothing_is_left(home(session), 7)
    assert [t.status for t in await session.tasks.all()] == ["completed", "cancelled", "cancelled"]


async def until_idle_leaves(runtime: Runtime, working: int) -> None:
    async def look() -> None:
        while True:
            rows = await runtime.store.sessions(limit=50)
            busy = [row for row in rows if row.run is not None and row.agent.name.startswith("leaf")]
            if len(busy) == working:
                return
            await runtime.store.wait(busy[0].id, busy[0].head, 0.1)

    await within(look())


async def test_closing_the_session_ends_all_of_it(team: Team) -> None:
    held = Held(team)
    session = await team.start()
    await session.prompt("Go.")
    await held.all_held()
    runtime = home(session)
    await within(session.close())
    await nothing_is_left(runtime, 7)
    again = await runtime.open_session(session.id)
    assert [t.status for t in await again.tasks.all()] == ["cancelled"] * 3


async def test_archiving_ends_all_of_it(team: Team) -> None:
    held = Held(team)
    session = await team.start()
    await session.prompt("Go.")
    await held.all_held()
    runtime = home(session)
    await within(runtime.archive(session.id))
    await nothing_is_left(runtime, 7)
    assert [t.status for t in await session.tasks.all()] == ["cancelled"] * 3


async def test_cancel_all_reaches_every_leaf_and_late_ends_change_nothing(team: Team) -> None:
    held = Held(team)
    session = await team.start()
    run = await session.prompt("Go.")
    await held.all_held()
    assert await session.tasks.cancel_all("enough") == 3
    assert (await within(session.wait(run))).outcome == "done"
    held.gate.set()
    await nothing_is_left(home(session), 7)
    assert [t.status for t in await session.tasks.all()] == ["cancelled"] * 3
    assert await session.tasks.cancel_all() == 0
    assert {r.status for r in await results(session)} <= {"ok", "error"}


async def test_an_interrupt_before_the_children_are_made(team: Team) -> None:
    held = Held(team)
    session = await team.start()
    runtime = home(session)
    run = await session.prompt("Go.")
    await until(session, lambda e: e.type == "subagent.started")
    await session.interrupt()
    result = await within(session.wait(run))
    assert result.outcome == "interrupted"
    await session.tasks.cancel_all()
    await rest(runtime)
    assert [row.id for row in await runtime.store.sessions(limit=50) if row.run is not None] == []
    held.gate.set()


async def test_pausing_the_parent_holds_what_comes_and_pausing_a_child_holds_the_parent(team: Team) -> None:
    held = Held(team)
    session = await team.start()
    runtime = home(session)
    run = await session.prompt("Go.")
    await held.all_held()
    child = await runtime.desk.session((await session.tasks.all())[1].session)
    await child.pause()
    await session.pause()
    held.gate.set()
    await ended(session, 2)
    assert await session.status() == "paused"
    await session.resume()
    assert (await session.tasks.pending())[0].session == child.id
    await child.resume()
    assert (await within(session.wait(run))).outcome == "done"
    await nothing_is_left(runtime, 7)


@pytest.mark.parametrize("mode", ["skip", "batch"])
async def test_a_steer_to_a_parent_that_waits_is_heard_when_its_children_have_ended(team: Team, mode: Any) -> None:
    held = Held(team)
    session = await team.start()
    run = await session.prompt("Go.")
    await held.all_held()
    await session.steer("And be quick.", mode=mode)
    held.gate.set()
    assert (await within(session.wait(run))).outcome == "done"
    await nothing_is_left(home(session), 7)
    delivered = [e.data.id for e in await session.events() if isinstance(e.data, InputDelivered)]
    assert len(delivered) == 3
    assert (await results(session))[1].text.count("completed") == 2


async def test_a_person_interrupts_a_child(team: Team) -> None:
    held = Held(team)
    session = await team.start()
    run = await session.prompt("Go.")
    await held.all_held()
    task = (await session.tasks.all())[1]
    await home(session).interrupt(task.session)
    held.gate.set()
    assert (await within(session.wait(run))).outcome == "done"
    await nothing_is_left(home(session), 7)
    assert sorted(t.status for t in await session.tasks.all()) == ["cancelled", "completed", "completed"]


async def test_a_person_talks_to_a_child_and_its_task_ends_with_its_own_answer(team: Team) -> None:
    held = Held(team)
    session = await team.start()
    runtime = home(session)
    run = await session.prompt("Go.")
    await held.all_held()
    branch = (await session.tasks.all())[0].session
    leaf = await runtime.desk.session((await runtime.store.descendants(branch))[0])
    await leaf.follow_up("And what else?")
    held.gate.set()
    assert (await within(session.wait(run))).outcome == "done"
    await nothing_is_left(runtime, 7)
    assert [t.status for t in await session.tasks.all()] == ["completed"] * 3


async def test_a_handle_that_is_let_go_of_ends_nothing(team: Team) -> None:
    held = Held(team)
    session = await team.start()
    runtime = home(session)
    await session.prompt("Go.")
    await held.all_held()
    await session.detach()
    held.gate.set()
    await runtime.desk.recover()
    await nothing_is_left(runtime, 7)
    again = await runtime.open_session(session.id)
    assert [d.status for d in await ends(again)] == ["completed"] * 3
    assert {d.outcome for d in await data(again, RunFinished)} == {"done"}
    assert len(await data(again, InputDelivered)) == 2, "the report was heard, in the run or in one of its own"


async def test_cancels_and_ends_that_race_leave_one_end(team: Team) -> None:
    for _ in range(20):
        gate = asyncio.Event()
        reached = asyncio.Event()
        team.add("leaf", [hold(gate, reached=reached) + "leaf"])
        team.add("boss", [call("task", agent="leaf", prompt="x"), "Fine."], subagents=["leaf"])
        runtime = await team.runtime()
        session = await team.start(runtime=runtime)
        run = await session.prompt("Go.")
        await within(reached.wait())
        (task,) = await session.tasks.all()
        gate.set()
        cancelled = await asyncio.gather(*(session.tasks.cancel(task.id) for _ in range(3)))
        assert (await within(session.wait(run))).outcome == "done"
        await rest(runtime)
        assert sum(cancelled) <= 1
        (end,) = await ends(session)
        assert end.status == ("cancelled" if any(cancelled) else "completed")
        await runtime.close()
        team.bench.runtimes.remove(runtime)


# --- two processes --------------------------------------------------------------------------------------------------


@pytest.fixture
async def both(team: Team) -> Callable[[], Any]:
    async def two() -> tuple[Runtime, Runtime]:
        one, other = await team.runtime(), await team.runtime()
        await one.create(team.agents["boss"])
        await other.create(team.agents["boss"])
        return one, other

    return two


async def test_an_interrupt_from_another_process_reaches_the_leaves(team: Team, both: Any) -> None:
    held = Held(team)
    one, other = await both()
    session = await team.start(runtime=one)
    await session.prompt("Go.")
    await held.all_held()
    assert await other.interrupt(session.id) is True
    await ended(session, 2)
    await until_idle_leaves(one, 1)
    held.gate.set()
    await nothing_is_left(one, 7)


async def test_a_cancel_from_another_process_reaches_the_leaves(team: Team, both: Any) -> None:
    held = Held(team)
    one, other = await both()
    session = await team.start(runtime=one)
    run = await session.prompt("Go.")
    await held.all_held()
    there = await other.open_session(session.id, drive=False)
    assert await there.tasks.cancel_all() == 3
    assert (await within(session.wait(run))).outcome == "done"
    await nothing_is_left(one, 7)
    held.gate.set()


async def test_another_process_that_looks_at_the_same_does_nothing_twice(team: Team, both: Any) -> None:
    held = Held(team)
    one, other = await both()
    session = await team.start(runtime=one)
    run = await session.prompt("Go.")
    await held.all_held()
    await other.desk.recover()
    await within(other.subagents.settle())
    held.gate.set()
    assert (await within(session.wait(run))).outcome == "done"
    await nothing_is_left(one, 7)
    messages = await data(session, UserMessage)
    assert len(messages) == 2
    assert [d.status for d in await ends(session)] == ["completed"] * 3


async def test_where_its_tools_are_missing_a_task_is_left_to_others(team: Team) -> None:
    gate, reached = asyncio.Event(), asyncio.Event()

    @godwit.tool(repeatable=True)
    async def work() -> str:
        """Work."""
        reached.set()
        await gate.wait()
        return "worked"

    team.add("leaf", [call("work"), "leaf"], work)
    team.add("boss", [call("task", agent="leaf", prompt="x", background=True), "On.", "Heard."], subagents=["leaf"])
    session = await team.start()
    await within(session.send("Go."))
    await within(reached.wait())
    await team.bench.close()
    stranger = await team.runtime()
    await stranger.desk.recover()
    await within(stranger.subagents.settle())
    assert await stranger.store.sessions_with_tasks() == [session.id], "it is not lost"
    gate.set()
    knows = await team.runtime()
    await knows.create(team.agents["boss"])
    await knows.desk.recover()
    await rest(knows)
    again = await knows.open_session(session.id)
    assert [t.status for t in await again.tasks.all()] == ["completed"]


# --- going back -----------------------------------------------------------------------------------------------------


async def test_going_back_undoes_what_children_wrote_while_the_turn_waited(team: Team) -> None:
    team.add("leaf", [call("write", file_path="made.txt", content="by a child"), "leaf"], "files")
    team.add("boss", [call("task", agent="leaf", prompt="x"), "Fine."], subagents=["leaf"])
    session = await team.start()
    before = (await session.state()).seq
    await within(session.send("Go."))
    made = team.bench.workspace / "made.txt"
    assert made.read_text() == "by a child"
    await rest(home(session))
    await within(session.rewind(before, files=True))
    assert not made.exists()


async def test_the_same_call_after_going_back_is_a_new_task(team: Team) -> None:
    answers = iter(["first", "second"])
    team.add("leaf", [lambda _: say(next(answers))])
    team.add("boss", [call("task", id="same", agent="leaf", prompt="x"), "Fine."], subagents=["leaf"])
    session = await team.start()
    before = (await session.state()).seq
    await within(session.send("Go."))
    await within(session.rewind(before))
    await within(session.send("Go."))
    assert [t.output for t in await session.tasks.all()] == ["first", "second"]
    assert [answer(r) for r in await results(session)] == ["second"]


async def test_going_back_to_before_a_task_in_the_background(team: Team) -> None:
    gate, reached = asyncio.Event(), asyncio.Event()
    team.add("leaf", [hold(gate, reached=reached) + "leaf"])
    team.add("boss", [call("task", agent="leaf", prompt="x", background=True), "On.", "Heard."], subagents=["leaf"])
    session = await team.start()
    before = (await session.state()).seq
    await within(session.send("Go."))
    await within(reached.wait())
    await within(session.rewind(before))
    gate.set()
    # The report finds a conversation that knows nothing of it, in which the script begins anew.
    await nothing_is_left(home(session), 3)
    assert [t.status for t in await session.tasks.all()] == ["completed"] * 2


async def test_compacting_while_a_task_works(team: Team) -> None:
    gate = asyncio.Event()

    def begin(request: Any) -> Any:
        if asked(request) != "Go.":
            return say("A summary, or an answer.")
        return call("task", agent="leaf", prompt="x", background=True)

    team.add("leaf", [hold(gate) + "leaf"])
    team.add("boss", [begin, "On.", "Heard."], subagents=["leaf"])
    session = await team.start()
    await within(session.send("Go."))
    await within(session.compact(keep_tokens=1))
    gate.set()
    await nothing_is_left(home(session), 2)
    assert [d.status for d in await ends(session)] == ["completed"]


# --- agents that change, children of the host's own ------------------------------------------------------------------------


async def test_an_agent_that_has_changed_meanwhile_works_on_as_it_was(team: Team) -> None:
    gate, reached = asyncio.Event(), asyncio.Event()
    team.add("leaf", [hold(gate, reached=reached) + "leaf"])
    team.add("boss", [call("task", agent="leaf", prompt="x"), "Fine."], subagents=["leaf"])
    session = await team.start()
    run = await session.prompt("Go.")
    await within(reached.wait())
    await home(session).create(godwit.Agent("leaf", model="scripted:leaf", instructions="Otherwise."))
    gate.set()
    assert (await within(session.wait(run))).text == "Fine."
    assert answer((await results(session))[0]) == "leaf"


async def test_children_that_a_host_runs_its_own_way(team: Team) -> None:
    """Seed 001: start, progress and end are recorded; an end that comes late never lifts a cancel."""
    team.add("leaf", ECHO)
    team.add("boss", ["Fine."], subagents=["leaf"])
    session, other = await team.start(), await team.start(runtime=team.bench.runtimes[0])
    tasks = session.tasks
    await tasks.record_start("t1", agent="explore", description="Look.")
    await tasks.record_start("t1", agent="explore", description="Look.")
    (task,) = await tasks.all()
    assert (task.status, task.parent, task.external, task.pending) == ("running", session.id, True, True)
    await tasks.record_progress("t1", "tool_completed", {"tool": "read"})
    await tasks.record_progress("t1", "turn_completed", {"turn": 1})
    found = await tasks.get("t1")
    assert found is not None
    assert [(p.status, p.metadata) for p in found.progress] == [
        ("tool_completed", {"tool": "read"}),
        ("turn_completed", {"turn": 1}),
    ]
    assert await tasks.record_end("t1", "completed", "seen") is True
    found = await tasks.get("t1")
    assert found is not None
    assert (found.status, found.success, found.output) == ("completed", True, "seen")
    assert await tasks.pending() == []
    await tasks.record_start("t2", agent="explore")
    assert await tasks.cancel("t2") is True
    assert await tasks.record_end("t2", "failed") is False
    assert await tasks.cancel("t2") is False
    found = await tasks.get("t2")
    assert found is not None
    assert found.status == "cancelled"
    assert await other.tasks.all() == []


async def test_an_end_is_taken_once_whoever_brings_it(team: Team) -> None:
    gate, reached = asyncio.Event(), asyncio.Event()
    team.add("leaf", [hold(gate, reached=reached) + "leaf"])
    team.add("boss", [call("task", agent="leaf", prompt="x"), "Fine."], subagents=["leaf"])
    session = await team.start()
    run = await session.prompt("Go.")
    await within(reached.wait())
    (task,) = await session.tasks.all()
    store, clock = home(session).store, home(session).clock
    await append_outside(store, session.id, [SubagentFinished(task.id, task.session, "completed", "mine")], clock)
    with pytest.raises(TaskNotFound):
        await append_outside(store, session.id, [SubagentFinished(task.id, task.session, "failed")], clock)
    gate.set()
    assert (await within(session.wait(run))).text == "Fine."
    assert answer((await results(session))[0]) == "mine"


# --- many -----------------------------------------------------------------------------------------------------------


async def test_hundreds_of_children_leave_nothing_running_and_cost_no_more_each(team: Team) -> None:
    team.add("leaf", ECHO)
    many = [{"agent": "leaf", "prompt": f"{n}"} for n in range(32)]
    rounds = 6
    limits = godwit.Limits(max_descendants=500, max_repeated_calls=99)
    team.add("boss", [call("task", tasks=many)] * rounds + ["Fine."], subagents=["leaf"], limits=limits)
    session = await team.start()
    assert (await asyncio.wait_for(session.send("Go."), PATIENCE_S)).text == "Fine."
    runtime = home(session)
    await rest(runtime)
    assert len(await runtime.store.sessions(limit=500)) == 1 + 32 * rounds
    left = [t.get_name() for t in asyncio.all_tasks() if t.get_name().startswith("tasks of")]
    assert left == []
    finished = await data(session, ToolFinished)
    assert [d.status for d in finished] == ["ok"] * rounds
    host = runtime.subagents
    assert (host._busy, host._again, host._questions._announced, host._timers) == ({}, set(), {}, {})
    assert (host._seen, host._begun) == ({}, {})


async def test_a_tool_in_a_thread_sees_the_tasks_and_the_memories_of_its_session(team: Team) -> None:
    @godwit.tool
    def ask_around(context: godwit.ToolContext) -> str:
        """In a thread, which has no event loop of its own."""

        async def look() -> str:
            (task,) = await context.tasks.all()
            (ended,) = await context.tasks.wait([task.id])
            await context.memory.remember("Leaves say yes.", key="leaf")
            return f"{ended.status}: {await context.tasks.output(task.id)}, {len(await context.memory.recent())} memory"

        return asyncio.run(look())

    team.add("leaf", [say("yes")])
    calls = [call("task", agent="leaf", prompt="?", background=True), call("ask_around")]
    team.add("boss", [*calls, "Done.", "Heard."], ask_around, subagents=["leaf"], memory=godwit.MemoryPolicy())
    session = await team.start()
    await within(session.send("Go."))
    assert text_of((await results(session))[1].content) == "completed: yes, 1 memory"
