"""The list of todos and the goal in sessions: the tools, a host's part, restarts, rewinds, forks, compactions, prefixes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

import pytest

import godwit
from godwit.contracts import Appended, ModelRequest
from godwit.core.errors import InvalidArgument
from godwit.core.events import Draft, GoalUpdated, RunNudged, SessionCompacted, TodosUpdated, ToolFinished
from godwit.core.ids import SessionId
from godwit.core.messages import text_of
from godwit.core.todos import Todo
from godwit.models.script import Script, ScriptTurn, call, hold
from godwit.stores.sqlite import SqliteStore

from .conftest import Bench, data, within

FIRST = [{"content": "look", "status": "in_progress"}, {"content": "mend it"}]
LOOK, MEND = Todo("look", "in_progress"), Todo("mend it")
DONE = call("todo", update=[{"item": 1, "status": "completed"}, {"item": 2, "status": "cancelled"}])


def texts(bench: Bench, request: int = -1) -> list[str]:
    assert bench.model is not None
    return [text_of(entry.message.content) for entry in bench.model.requests[request].entries]


async def test_a_model_keeps_a_list_and_each_event_is_the_whole_of_it(bench: Bench) -> None:
    session = await bench.start([call("todo", todos=FIRST), DONE, "Done."], "todo")
    assert await session.todos() == []
    await within(session.send("Mend it."))
    assert await session.todos() == [Todo("look", "completed"), Todo("mend it", "cancelled")]
    first, second = await data(session, TodosUpdated)
    assert first.todos == (LOOK, MEND)
    assert second.todos == (Todo("look", "completed"), Todo("mend it", "cancelled"))
    # With its result in one append: whoever has the one has the other.
    types = [e.type for e in await session.events()]
    assert [types[n + 1] for n, name in enumerate(types) if name == "todos.updated"] == ["tool.finished"] * 2
    results = [text_of(f.content) for f in await data(session, ToolFinished)]
    assert results == [
        "0 of 2 done, now: look\n1. [>] look\n2. [ ] mend it",
        "2 of 2 done\n1. [x] look\n2. [-] mend it",
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"todos": FIRST, "update": []}, "not both"),
        (
            {"todos": [{"content": "a", "status": "in_progress"}, {"content": "b", "status": "in_progress"}]},
            "items 1, 2 are",
        ),
        ({"update": [{"item": 1, "status": "completed"}]}, "the list is empty"),
        ({"todos": [{"content": "a", "status": "doing"}]}, "doing"),
        ({"todos": [{"content": " "}]}, "item 1 is empty"),
        ({"todos": [{"content": "a", "priority": "high"}]}, "unknown parameter 'todos[0].priority'"),
    ],
)
async def test_what_is_no_list_changes_nothing_and_says_what_to_do(
    bench: Bench, arguments: dict[str, Any], says: str
) -> None:
    session = await bench.start([call("todo", **arguments), "So be it."], "todo")
    await within(session.send("Mend it."))
    assert await session.todos() == []
    (result,) = await data(session, ToolFinished)
    assert result.status in ("error", "invalid")
    assert says in text_of(result.content)


async def test_two_calls_of_one_turn_see_each_other(bench: Bench) -> None:
    both = call("todo", todos=FIRST) + call("todo", update=[{"item": 1, "status": "completed"}])
    session = await bench.start([both, "So be it."], "todo", nudges=False)
    await within(session.send("Mend it."))
    assert await session.todos() == [Todo("look", "completed"), MEND]


async def test_it_survives_a_restart_and_goes_back_with_a_rewind_and_along_with_a_fork(bench: Bench) -> None:
    session = await bench.start([call("todo", todos=FIRST), "So far.", DONE, "Done."], "todo", "goal", nudges=False)
    goal = await session.set_goal("It works.")
    await within(session.send("Mend it."))
    there = (await session.events())[-1].seq
    await within(session.send("Go on."))
    await session.end_goal("never mind")
    await bench.close()
    runtime = await bench.runtime([call("todo"), "Seen."] * 3)
    again = await runtime.open_session(session.id)
    assert await again.todos() == [Todo("look", "completed"), Todo("mend it", "cancelled")]
    assert (await again.goal()) == godwit.Goal(goal.id, "It works.", "abandoned", "never mind")
    forked = await again.fork(there)
    assert await forked.todos() == [LOOK, MEND]
    assert await forked.goal() == goal
    await again.rewind(there)
    assert await again.todos() == [LOOK, MEND]
    assert await again.goal() == goal
    await again.redo()
    assert await again.todos() == [Todo("look", "completed"), Todo("mend it", "cancelled")]
    assert (await again.state()).goal == godwit.Goal(goal.id, "It works.", "abandoned", "never mind")


async def test_a_compaction_carries_both_word_for_word_whatever_the_summary_says(bench: Bench) -> None:
    def first(request: ModelRequest) -> ScriptTurn:
        said = text_of(request.entries[0].message.content)
        return (
            "They talked." if "<conversation>" in said else "Going on." if "<summary>" in said else call("todo", todos=FIRST)
        )

    session = await bench.start([first, "So far."], "todo", "goal", nudges=False)
    await session.set_goal("All tests of the parser pass.")
    await within(session.send("Mend it."))
    await within(session.compact(keep_tokens=0))
    asked = texts(bench)[-1]
    assert "All tests of the parser pass." in asked.partition("<conversation>")[0]
    assert "1. [>] look\n2. [ ] mend it" in asked.partition("<conversation>")[0]
    (event,) = await data(session, SessionCompacted)
    assert event.todos == (LOOK, MEND)
    assert event.goal is not None
    await within(session.send("And now?"))
    summary = texts(bench)[0]
    assert "They talked." in summary
    assert "<goal>\nAll tests of the parser pass.\n</goal>" in summary
    assert "<todos>\n1. [>] look\n2. [ ] mend it\n</todos>" in summary
    assert len(texts(bench)) == 2  # told in the summary, and not again


async def test_a_host_writes_the_list_and_the_model_is_told_once(bench: Bench) -> None:
    session = await bench.start([call("todo", todos=FIRST), "So far.", "Yes.", "And yes."], "todo", nudges=False)
    await within(session.send("Mend it."))
    assert await session.set_todos(["look", {"content": "tell", "status": "in_progress"}]) == [
        Todo("look"),
        Todo("tell", "in_progress"),
    ]
    await within(session.send("Go on."))
    assert "was changed by the user. It is now:\n1. [ ] look\n2. [>] tell" in texts(bench)[-2]
    await within(session.send("And?"))
    assert sum("was changed by the user" in text for text in texts(bench)) == 1
    wrongs: list[Any] = ["look", [""], [3], [None], [{"content": "a", "done": True}], [{"status": "pending"}]]
    for wrong in wrongs:
        with pytest.raises(InvalidArgument):
            await session.set_todos(wrong)


@pytest.mark.parametrize(
    ("wanted", "written", "lost"),
    [
        (["look", "mend it", "sing"], [{"content": "look", "status": "completed"}, {"content": "mend it"}], True),
        (["mend it"], [{"content": "look", "status": "in_progress"}, {"content": "mend it"}], True),
        ([], [{"content": "look", "status": "completed"}, {"content": "mend it"}], True),
        (["look", "mend it", "sing"], [{"content": "look"}, {"content": "mend it"}, {"content": "sing"}], False),
    ],
    ids=["added", "taken-out", "emptied", "the-same"],
)
async def test_a_list_that_a_model_has_overwritten_unseen_is_told_to_it(
    bench: Bench, wanted: list[str], written: list[dict[str, str]], lost: bool
) -> None:
    """The host writes while the model is answering, which replaces the list as it knew it."""
    go, reached = asyncio.Event(), asyncio.Event()
    script: Script = [call("todo", todos=FIRST), hold(go, reached=reached) + call("todo", todos=written), "Done.", "Yes."]
    session = await bench.start(script, "todo", nudges=False)
    run = await session.prompt("Mend it.")
    await within(reached.wait())
    await session.set_todos(wanted)
    go.set()
    await within(session.wait(run))
    told = [text for text in texts(bench) if "has taken the place of theirs" in text]
    assert len(told) == (1 if lost else 0)
    if lost and wanted:
        assert f"They wanted:\n1. [ ] {wanted[0]}" in told[0]
    await within(session.send("And?"))
    assert sum("has taken the place of theirs" in text for text in texts(bench)) == len(told), "told once"


async def test_a_host_calls_the_tool_as_a_model_does(bench: Bench) -> None:
    session = await bench.start([], "todo")
    done = await session.tool("todo", {"todos": FIRST})
    assert done.ok
    assert await session.todos() == [LOOK, MEND]
    (event,) = await data(session, TodosUpdated)
    assert event.call is None


async def test_a_goal_is_told_and_kept_at_until_it_is_met(bench: Bench) -> None:
    met = call("goal", status="met", reason="pytest: 3 passed")
    session = await bench.start(["I think so.", met, "It works."], "goal")
    goal = await session.set_goal("The tests pass.")
    assert (await within(session.send("Mend it."))).text == "It works."
    assert "<goal>\nThe tests pass.\n</goal>" in texts(bench, 0)[0]
    assert texts(bench, 0)[1] == "Mend it."
    assert [one.reasons for one in await data(session, RunNudged)] == [("goal",)]
    assert await session.goal() == godwit.Goal(goal.id, "The tests pass.", "met", "pytest: 3 passed", "model")
    assert not await session.end_goal()


async def test_a_goal_that_is_taken_back_is_told_and_nudges_nobody(bench: Bench) -> None:
    session = await bench.start(["Yes.", "No.", "Well."], "goal", nudges=1)
    await session.set_goal("The tests pass.")
    await within(session.send("Begin."))
    assert await session.end_goal("too dear")
    await within(session.send("And?"))
    assert "The goal of this session is taken back: too dear" in texts(bench)[-2]
    assert len(await data(session, RunNudged)) == 1
    assert [e.goal.status for e in await data(session, GoalUpdated)] == ["open", "abandoned"]


@pytest.mark.parametrize(
    ("before", "says"),
    [(None, "no goal is set"), ("met", "the goal is met already")],
)
async def test_a_model_ends_only_a_goal_that_is_open(bench: Bench, before: Any, says: str) -> None:
    session = await bench.start([call("goal", status="blocked", reason="no key"), "So be it."], "goal")
    if before is not None:
        await session.set_goal("It works.")
        await session.end_goal(status=before)
    await within(session.send("Go."))
    (result,) = await data(session, ToolFinished)
    assert result.status == "error"
    assert says in text_of(result.content)


async def test_goals_that_cannot_be_are_refused(bench: Bench) -> None:
    session = await bench.start(["Yes."], "goal")
    for wrong in ("", "  ", "x" * 10_001):
        with pytest.raises(InvalidArgument):
            await session.set_goal(wrong)
    with pytest.raises(InvalidArgument, match="met, blocked or abandoned"):
        await session.end_goal(status="done")  # type: ignore[arg-type]
    without = await bench.start(["Yes."], runtime=bench.runtimes[0])
    with pytest.raises(InvalidArgument, match="no tool 'goal'"):
        await without.set_goal("It works.")
    agent = godwit.Agent("other", model="scripted:test")
    with pytest.raises(InvalidArgument, match="no tool 'goal'"):
        await bench.runtimes[0].start_session(agent, goal="It works.")
    nothing: Any = None
    with pytest.raises(InvalidArgument, match="a goal is a text, not NoneType"):
        await session.set_goal(nothing)


async def test_each_request_begins_as_the_one_before_it(bench: Bench) -> None:
    """Goals, lists and nudges are said at the end: what a provider has kept of a request stays good."""
    script: Script = [call("todo", todos=FIRST), "1", "2", "3", "4", DONE, "5", "6"]
    session = await bench.start(script, "todo", "goal", nudges=1)
    await session.set_goal("It works.")
    await within(session.send("Mend it."))
    await session.set_todos(["sing"])
    await session.set_goal("It sings.")
    await within(session.send("Go on."))
    assert bench.model is not None
    requests = bench.model.requests
    assert len(requests) > 4
    for earlier, later in itertools.pairwise(requests):
        before, after = [e.message for e in earlier.entries], [e.message for e in later.entries]
        assert after[: len(before)] == before
        assert (later.instructions, later.tools) == (earlier.instructions, earlier.tools)


async def test_of_many_who_end_a_goal_at_once_one_does(bench: Bench) -> None:
    session = await bench.start(["Yes."], "goal")
    await session.set_goal("It works.")
    ended = await within(asyncio.gather(*(session.end_goal(f"as {n} says") for n in range(8))))
    assert sorted(ended) == [False] * 7 + [True]
    events = await data(session, GoalUpdated)
    assert [e.goal.status for e in events] == ["open", "abandoned"]
    assert events[1].goal.reason == f"as {ended.index(True)} says"


async def test_a_goal_that_its_model_has_ended_is_not_taken_back(bench: Bench) -> None:
    """The model ends it between the look at the log and the append of who takes it back."""
    ends = asyncio.Event()

    class SlowReader(SqliteStore):
        async def append(self, session: SessionId, events: Sequence[Draft], **options: Any) -> Appended:
            goals = [e.data.goal for e in events if isinstance(e.data, GoalUpdated)]
            if [(g.status, g.by) for g in goals] == [("abandoned", "host")]:
                ends.set()
                await sent
            return await super().append(session, events, **options)

    met = hold(ends) + call("goal", status="met", reason="seen")
    runtime = await bench.runtime([met, "Done."], store=SlowReader.open(bench.path))
    session = await runtime.start_session(godwit.Agent("tester", model="scripted:test", tools=["goal"]))
    goal = await session.set_goal("It works.")
    sent = asyncio.ensure_future(session.send("Go."))
    assert await within(session.end_goal("never mind")) is False
    assert await session.goal() == godwit.Goal(goal.id, "It works.", "met", "seen", "model")


async def test_a_goal_that_was_taken_back_is_not_met(bench: Bench) -> None:
    """It is taken back between the model's call and the append of its result."""

    class Meanwhile(SqliteStore):
        async def append(self, session: SessionId, events: Sequence[Draft], **options: Any) -> Appended:
            if any(isinstance(e.data, GoalUpdated) and e.data.goal.by == "model" for e in events):
                taken.append(await begun.end_goal("never mind"))
            return await super().append(session, events, **options)

    taken: list[bool] = []
    runtime = await bench.runtime([call("goal", status="met", reason="seen"), "Done."], store=Meanwhile.open(bench.path))
    begun = await runtime.start_session(godwit.Agent("tester", model="scripted:test", tools=["goal"]))
    goal = await begun.set_goal("It works.")
    assert (await within(begun.send("Go."))).outcome == "done"
    assert taken == [True]
    assert await begun.goal() == godwit.Goal(goal.id, "It works.", "abandoned", "never mind")
    assert [f.status for f in await data(begun, ToolFinished)] == ["ok"]


async def test_a_goal_set_while_the_one_before_is_being_ended_stays(bench: Bench) -> None:
    """The answer to the call is about the goal that the model was told of."""

    @godwit.hook("after_tool", tool="goal")
    async def next_one(_: godwit.HookCall) -> None:
        if not later:
            later.append(await session.set_goal("And it is fast."))

    later: list[godwit.Goal] = []
    met = call("goal", status="met", reason="seen")
    session = await bench.start([met, "Done.", met, "All done."], "goal", hooks=[next_one])
    await session.set_goal("It works.")
    await within(session.send("Go."))
    assert await session.goal() == godwit.Goal(later[0].id, "And it is fast.", "met", "seen", "model")
    assert [e.goal.text for e in await data(session, GoalUpdated)] == ["It works.", "And it is fast.", "And it is fast."]


async def test_a_host_that_calls_the_tool_ends_no_goal_that_was_set_meanwhile(bench: Bench) -> None:
    @godwit.hook("after_tool", tool="goal")
    async def next_one(_: godwit.HookCall) -> None:
        await session.set_goal("And it is fast.")

    session = await bench.start(["Yes."], "goal", hooks=[next_one])
    await session.set_goal("It works.")
    assert (await within(session.tool("goal", {"status": "met", "reason": "seen"}))).status == "ok"
    goal = await session.goal()
    assert goal is not None
    assert (goal.text, goal.status) == ("And it is fast.", "open")
