"""Subagents: tasks handed to children one, many and beside; what comes back of them, and that none of it is lost."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

import godwit
from godwit.core.errors import AgentNotFound, TaskNotFound
from godwit.core.events import RunFinished, RunParked, SubagentStarted, UserMessage
from godwit.models.script import call, fail, hold, say

from .conftest import Bench, data, until, within
from .task_words import Team, answer, asked, ended, ends, first_task, home, last, rest, results

ECHO = [lambda request: say(f"({asked(request)})")]


@pytest.fixture
def team(bench: Bench) -> Team:
    return Team(bench)


async def test_a_task_is_done_by_a_child_whose_answer_is_the_result(team: Team) -> None:
    team.add("poet", ECHO, description="Writes.")
    team.add("boss", [call("task", agent="poet", prompt="rain", description="a line"), "Fine."], subagents=["poet"])
    session = await team.start()
    assert (await within(session.send("Go."))).text == "Fine."
    (result,) = await results(session)
    (task,) = await session.tasks.all()
    assert (result.text, result.status) == (f"(rain)\n\n[{task.id}]", "ok")
    assert (task.agent, task.description, task.status, task.output) == ("poet", "a line", "completed", "(rain)")
    assert (task.parent, task.depth, task.background, task.success, task.pending) == (session.id, 1, False, True, False)
    assert task.finished_ms is not None
    assert task.started_ms <= task.updated_ms <= task.finished_ms
    assert task.turns == 1
    child = await home(session).desk.session(task.session)
    assert (child.labels, child.workspace) == (session.labels, session.workspace)
    assert [(p.status, p.metadata["turn"]) for p in task.progress] == [("turn_completed", 1)]
    assert await session.tasks.pending() == []
    assert await session.tasks.get(task.id) == task
    assert await session.tasks.get("task_nobody") is None
    assert (await data(session, RunParked))[0].children is True


async def test_results_come_in_the_order_of_the_tasks_and_one_that_fails_is_one_that_fails(team: Team) -> None:
    gate = asyncio.Event()
    team.add("slow", [hold(gate) + "slow"])
    team.add("bad", [fail(godwit.errors.ModelRefused("no"))])
    team.add("quick", ["quick"])
    tasks = [{"agent": name, "prompt": name} for name in ("slow", "bad", "quick")]
    team.add("boss", [call("task", tasks=tasks), "All."], subagents=["slow", "bad", "quick"])
    session = await team.start()
    run = await session.prompt("Go.")
    await ended(session, 2)
    gate.set()
    assert (await within(session.wait(run))).text == "All."
    (result,) = await results(session)
    told = result.text
    ids = [task.id for task in await session.tasks.all()]
    heads = [f"## 1. slow: completed [{ids[0]}]", f"## 2. bad: failed [{ids[1]}]", f"## 3. quick: completed [{ids[2]}]"]
    assert [line for line in told.splitlines() if line.startswith("##")] == heads
    assert result.status == "ok"
    assert [t.status for t in await session.tasks.all()] == ["completed", "failed", "completed"]
    (failed,) = [t for t in await session.tasks.all() if t.status == "failed"]
    assert (failed.success, failed.error is not None) == (False, True)


async def test_a_task_that_fails_is_an_error_for_the_model(team: Team) -> None:
    team.add("bad", [fail(godwit.errors.ModelRefused("I will not"))])
    team.add("boss", [call("task", agent="bad", prompt="x"), "Sorry."], subagents=["bad"])
    session = await team.start()
    assert (await within(session.send("Go."))).text == "Sorry."
    (result,) = await results(session)
    assert result.status == "error"
    assert "failed" in result.text
    assert "I will not" in result.text


async def test_one_that_hangs_can_be_cancelled_and_the_others_count(team: Team) -> None:
    never = asyncio.Event()
    reached = asyncio.Event()
    team.add("stuck", [hold(never, reached=reached) + "late"])
    team.add("quick", ["quick"])
    tasks = [{"agent": "stuck", "prompt": "s"}, {"agent": "quick", "prompt": "q"}]
    team.add("boss", [call("task", tasks=tasks), "On."], subagents=["stuck", "quick"])
    session = await team.start()
    run = await session.prompt("Go.")
    await ended(session, 1)
    await within(reached.wait())
    stuck = (await session.tasks.pending())[0]
    assert (stuck.agent, stuck.status) == ("stuck", "running")
    assert await session.tasks.cancel(stuck.id, "too slow") is True
    assert await session.tasks.cancel(stuck.id) is False
    assert (await within(session.wait(run))).text == "On."
    await rest(home(session))
    never.set()
    assert [t.status for t in await session.tasks.all()] == ["cancelled", "completed"]
    assert len(await ends(session)) == 2, "an end that comes late changes nothing"


# --- in the background ----------------------------------------------------------------------------------------------


def beside(agent: str = "poet", prompt: str = "rain", **more: Any) -> Any:
    return call("task", agent=agent, prompt=prompt, background=True, **more)


async def test_the_end_of_one_in_the_background_wakes_the_parent(team: Team) -> None:
    gate = asyncio.Event()
    team.add("poet", [hold(gate) + "a line"])
    team.add("boss", [beside(), "It works on it.", lambda r: say(f"heard: {last(r)}")], subagents=["poet"])
    session = await team.start()
    assert (await within(session.send("Go."))).text == "It works on it."
    assert await session.status() == "idle"
    gate.set()
    await rest(home(session))
    messages = await data(session, UserMessage)
    assert len(messages) == 2
    assert messages[1].sender == f"task {(await session.tasks.all())[0].id}"
    finished = [d async for d in aiter_runs(session)]
    assert len(finished) == 2
    assert "a line" in finished[1]


async def aiter_runs(session: Any) -> Any:
    """The last answer of each run."""
    for run in [d.run for d in await data(session, RunFinished)]:
        yield (await session.wait(run)).text


async def test_it_wakes_the_parent_after_a_restart_as_well(team: Team) -> None:
    gate = asyncio.Event()
    reached = asyncio.Event()
    team.add("poet", [hold(gate, reached=reached) + "a line"])
    team.add("boss", [beside(), "It works on it.", "Heard."], subagents=["poet"])
    session = await team.start()
    await within(session.send("Go."))
    await within(reached.wait())
    await team.bench.close()
    gate.set()
    again = await team.runtime()
    await again.create(team.agents["boss"])
    await again.desk.recover()
    await rest(again)
    session = await again.open_session(session.id)
    assert [t.status for t in await session.tasks.all()] == ["completed"]
    assert [d.outcome for d in await data(session, RunFinished)] == ["done", "done"]


async def test_a_paused_parent_is_told_when_it_goes_on(team: Team) -> None:
    gate = asyncio.Event()
    team.add("poet", [hold(gate) + "a line"])
    team.add("boss", [beside(), "It works on it.", "Heard."], subagents=["poet"])
    session = await team.start()
    await within(session.send("Go."))
    await session.pause()
    gate.set()
    await ended(session, 1)
    assert await session.status() == "paused"
    await session.resume()
    await rest(home(session))
    assert [text async for text in aiter_runs(session)] == ["It works on it.", "Heard."]


async def test_archiving_the_parent_ends_what_works_for_it(team: Team) -> None:
    never, reached = asyncio.Event(), asyncio.Event()
    team.add("leaf", [hold(never, reached=reached) + "late"])
    team.add("branch", [call("task", agent="leaf", prompt="l"), "b"], subagents=["leaf"])
    team.add("boss", [beside("branch"), "Under way."], subagents=["branch"])
    session = await team.start()
    await within(session.send("Go."))
    await within(reached.wait())
    runtime = home(session)
    await within(runtime.archive(session.id))
    await rest(runtime)
    assert [d.status for d in await ends(session)] == ["cancelled"]
    rows = await runtime.sessions()
    assert len(rows) == 3
    assert all(row.run is None for row in rows)
    never.set()


async def test_deleting_the_parent_ends_what_works_for_it(team: Team) -> None:
    never, reached = asyncio.Event(), asyncio.Event()
    team.add("leaf", [hold(never, reached=reached) + "late"])
    team.add("branch", [call("task", agent="leaf", prompt="l"), "b"], subagents=["leaf"])
    team.add("boss", [beside("branch"), "Under way."], subagents=["branch"])
    session = await team.start()
    await within(session.send("Go."))
    await within(reached.wait())
    runtime = home(session)
    await within(runtime.delete_session(session.id))
    await rest(runtime)
    rows = await runtime.sessions()
    assert len(rows) == 2
    assert all(row.run is None for row in rows)
    for row in rows:  # what is left can still be opened
        await runtime.open_session(row.id)


@pytest.mark.parametrize("how", ["archive", "delete"])
async def test_a_child_that_is_archived_or_deleted_ends_its_task(team: Team, how: str) -> None:
    never, reached = asyncio.Event(), asyncio.Event()
    team.add("poet", [hold(never, reached=reached) + "late"])
    team.add("boss", [call("task", agent="poet", prompt="x"), "Then without."], subagents=["poet"])
    session = await team.start()
    run = await session.prompt("Go.")
    await within(reached.wait())
    (task,) = await session.tasks.all()
    runtime = home(session)
    await within(runtime.archive(task.session) if how == "archive" else runtime.delete_session(task.session))
    assert (await within(session.wait(run))).text == "Then without."
    await rest(runtime)
    (task,) = await session.tasks.all()
    assert task.status == "cancelled"
    assert len(await runtime.sessions()) == (2 if how == "archive" else 1), "it is not made again"


async def test_a_report_waits_for_room_in_a_full_inbox(team: Team) -> None:
    gate, held, reached = asyncio.Event(), asyncio.Event(), asyncio.Event()
    team.add("poet", [hold(gate) + "a line"])
    answers: list[Any] = [beside(), hold(held, reached=reached) + "It works on it."]
    team.add("boss", [*answers, *["More."] * 300], subagents=["poet"])
    session = await team.start()
    await session.prompt("Go.")
    await within(reached.wait())
    for n in range(256):
        await session.follow_up(f"{n}")
    gate.set()
    (task,) = await session.tasks.all()
    runtime = home(session)
    child = await runtime.desk.session(task.session)
    await within(child.wait())
    await within(runtime.subagents.settle())
    assert len(await session.tasks.pending()) == 1
    held.set()
    await ended(session, 1)
    await rest(runtime)
    senders = [d.sender for d in await data(session, UserMessage)]
    assert senders.count(f"task {task.id}") == 1


# --- the tools ------------------------------------------------------------------------------------------------------


async def test_a_task_that_was_waited_for_is_not_told_again(team: Team) -> None:
    gate = asyncio.Event()
    team.add("poet", [hold(gate) + "a line"])
    team.add(
        "boss",
        [
            beside(),
            call("task_list"),
            lambda r: call("task_wait", tasks=[first_task(r)]),
            lambda r: call("task_output", task=first_task(r)),
            lambda r: call("task_cancel", task=first_task(r)),
            "Done.",
        ],
        subagents=["poet"],
    )
    session = await team.start()
    run = await session.prompt("Go.")
    await until(session, lambda e: e.type == "tool.started" and e.data.name == "task_wait")  # type: ignore[union-attr]
    gate.set()
    assert (await within(session.wait(run))).text == "Done."
    await rest(home(session))
    begun, listed, waited, output, cancelled = [r.text for r in await results(session)]
    assert "has begun: poet" in begun
    assert "poet: running" in listed
    assert "a line" in waited
    assert output == "a line"
    assert "had ended already" in cancelled
    assert len(await data(session, RunFinished)) == 1, "its message was withdrawn"
    assert await session.queue.list() == []


async def test_waiting_for_what_takes_long_and_for_what_is_not_there(team: Team) -> None:
    never = asyncio.Event()
    team.add("poet", [hold(never) + "late"])
    team.add(
        "boss",
        [
            beside(),
            lambda r: call("task_wait", tasks=[first_task(r)], timeout_s=0.1),
            call("task_wait", tasks=["task_nobody"]),
            call("task_output", task="task_nobody"),
            call("task_cancel", task="task_nobody"),
            lambda r: call("task_cancel", task=first_task(r)),
            "Done.",
        ],
        subagents=["poet"],
    )
    session = await team.start()
    assert (await within(session.send("Go."))).text == "Done."
    texts = [(r.status, r.text) for r in await results(session)]
    assert texts[1][0] == "ok"
    assert "running" in texts[1][1]
    assert texts[2][0] == "error"
    assert "task_nobody" in texts[2][1]
    assert texts[3][0] == "error"
    assert "there is none" in texts[4][1]
    assert "is cancelled" in texts[5][1]
    await rest(home(session))
    assert [r.status for r in await session.tasks.all()] == ["cancelled"]
    assert all(row.run is None for row in await home(session).sessions())


async def test_the_host_hands_out_and_waits(team: Team) -> None:
    team.add("poet", ECHO)
    team.add("boss", ["Heard."] * 3, subagents=["poet"])
    session = await team.start()
    task = await session.tasks.start("poet", "rain", key="k")
    assert (await session.tasks.start("poet", "rain", key="k")).id == task.id
    (found,) = await within(session.tasks.wait([task.id]))
    assert (found.status, found.output, found.call) == ("completed", "(rain)", None)
    await rest(home(session))
    assert len(await data(session, RunFinished)) == 1
    with pytest.raises(TaskNotFound):
        await session.tasks.wait(["task_nobody"])
    with pytest.raises(TaskNotFound):
        await session.tasks.output("task_nobody")
    with pytest.raises(AgentNotFound):
        await session.tasks.start("stranger", "x")
    assert await session.tasks.cancel("task_nobody") is False


async def test_a_direct_call_says_how_it_is_done_instead(team: Team) -> None:
    team.add("poet", ECHO)
    team.add("boss", ["Heard."], subagents=["poet"])
    session = await team.start()
    result = await session.tool("task", {"agent": "poet", "prompt": "x"})
    assert not result.ok
    assert "session.tasks.start" in result.output
    assert await session.tasks.all() == []
    listed = await session.tool("task_list")
    assert listed.output == "There are no tasks."


# --- what is answered -----------------------------------------------------------------------------------------------


async def test_of_a_long_answer_the_parent_reads_head_and_tail(team: Team) -> None:
    text = "h" * 3000 + "m" * 5000 + "t" * 800
    team.add("poet", [text])
    team.add("boss", [call("task", agent="poet", prompt="x"), "Fine."], subagents=["poet"])
    session = await team.start()
    await within(session.send("Go."))
    (result,) = await results(session)
    assert result.text.startswith("h" * 3000 + "\n")
    assert answer(result).endswith("\n" + "t" * 800)
    assert "m" not in result.text.replace("more", "").replace("omitted", "").replace("8,800 characters", "")[3000:3001]
    assert len(result.text) < 4000
    (task,) = await session.tasks.all()
    assert task.artifact is not None
    assert task.artifact in result.text
    assert (await home(session).get_artifact(task.artifact)).decode() == text
    assert await session.tasks.output(task.id) == text


async def test_an_answer_of_just_the_limit_is_whole(team: Team) -> None:
    team.add("poet", ["x" * 4000])
    team.add("boss", [call("task", agent="poet", prompt="x"), "Fine."], subagents=["poet"])
    session = await team.start()
    await within(session.send("Go."))
    assert answer((await results(session))[0]) == "x" * 4000
    assert (await session.tasks.all())[0].artifact is None


SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("said", "status", "data_", "turns"),
    [
        (['{"n": 3}'], "completed", {"n": 3}, 1),
        (['```json\n{"n": 3}\n```'], "completed", {"n": 3}, 1),
        (["three", '{"n": "3"}', '{"n": 3}'], "completed", {"n": 3}, 3),
        (["three", "drei", "trois"], "failed", None, 3),
        (["[1]", "2", "null"], "failed", None, 3),
    ],
)
async def test_an_answer_that_is_to_be_data(team: Team, said: list[str], status: str, data_: Any, turns: int) -> None:
    team.add("poet", said)
    team.add("boss", [call("task", agent="poet", prompt="x", output_schema=SCHEMA), "Fine."], subagents=["poet"])
    session = await team.start()
    assert (await within(session.send("Go."))).text == "Fine."
    (task,) = await session.tasks.all()
    assert (task.status, task.structured) == (status, data_)
    (result,) = await results(session)
    if data_ is not None:
        assert json.loads(answer(result)) == data_
    else:
        assert task.error is not None
        assert task.error.code == "output_schema"
        assert "3 tries" in result.text
    requests = team.models["scripted:poet"].requests
    assert len(requests) == turns
    assert '"n"' in asked(requests[0])
    if turns > 1:
        assert "does not fit" in last(requests[1])


@pytest.mark.parametrize("schema", [{"type": "array"}, {"type": "nonsense"}, {"properties": 3}])
async def test_a_schema_that_is_none_for_an_object_is_refused(team: Team, schema: dict[str, Any]) -> None:
    team.add("poet", ["[1]"])
    team.add("boss", [call("task", agent="poet", prompt="x", output_schema=schema), "Fine."], subagents=["poet"])
    session = await team.start()
    assert (await within(session.send("Go."))).text == "Fine."
    (result,) = await results(session)
    assert result.status == "error"
    assert "output_schema" in result.text
    assert await session.tasks.all() == []


@godwit.tool
def look() -> str:
    """Look."""
    return "nothing"


async def test_a_task_may_have_fewer_turns_than_its_agent(team: Team) -> None:
    team.add(
        "poet", [lambda r: call("look", id=f"c{len(r.entries)}")] * 50, look, limits=godwit.Limits(max_repeated_calls=99)
    )
    team.add("boss", [call("task", agent="poet", prompt="x", max_turns=2), "Fine."], subagents=["poet"])
    session = await team.start()
    assert (await within(session.send("Go."))).text == "Fine."
    (task,) = await session.tasks.all()
    assert (task.status, task.turns) == ("failed", 2), task.error
    assert task.error is not None
    assert "2" in (await results(session))[0].text


@pytest.mark.parametrize(
    "arguments",
    [
        {"agent": "poet"},
        {"prompt": "x"},
        {},
        {"agent": "poet", "prompt": "  "},
        {"agent": "stranger", "prompt": "x"},
        {"agent": "poet", "prompt": "x", "tasks": [{"agent": "poet", "prompt": "y"}]},
        {"agent": "poet", "prompt": "x", "unknown": 1},
        {"agent": "poet", "prompt": "x", "max_turns": 0},
        {"tasks": [{"agent": "poet", "prompt": "x"}] * 33},
        {"tasks": [{"agent": "poet", "prompt": "x"}, {"agent": "stranger", "prompt": "x"}]},
    ],
)
async def test_arguments_that_do_not_fit_begin_nothing(team: Team, arguments: dict[str, Any]) -> None:
    team.add("poet", ECHO)
    team.add("boss", [call("task", **arguments), "Fine."], subagents=["poet"])
    session = await team.start()
    assert (await within(session.send("Go."))).text == "Fine."
    assert (await results(session))[0].status == "invalid"
    assert await session.tasks.all() == []
    assert await data(session, SubagentStarted) == []
