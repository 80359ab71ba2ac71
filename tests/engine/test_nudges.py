"""A model that stops in the middle of its work: when it is told to go on, how often, what comes first, and what is told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import godwit
from godwit.core.errors import ConfigurationError
from godwit.core.events import InputDelivered, RunFinished, RunNudged, UserMessage
from godwit.core.messages import text_of
from godwit.core.nudges import NudgePolicy
from godwit.host.agents import nudges_of
from godwit.models.script import Script, call, end, hold, say

from .conftest import Bench, data, within

LIST = call("todo", todos=[{"content": "look", "status": "in_progress"}, {"content": "mend it"}])
ALL_DONE = call("todo", update=[{"item": 1, "status": "completed"}, {"item": 2, "status": "completed"}])


def last_told(bench: Bench, request: int = -1) -> str:
    assert bench.model is not None
    return text_of(bench.model.requests[request].entries[-1].message.content)


async def reasons(session: Any) -> list[tuple[str, ...]]:
    return [one.reasons for one in await data(session, RunNudged)]


async def test_open_items_send_a_run_on_until_they_are_done(bench: Bench) -> None:
    session = await bench.start([LIST, "I have looked.", ALL_DONE, "Mended."], "todo")
    assert (await within(session.send("Mend it."))).text == "Mended."
    assert await reasons(session) == [("todos",)]
    told = last_told(bench, 2)
    assert "1. [>] look\n2. [ ] mend it" in told
    (nudge,) = await data(session, RunNudged)
    said = [m for m in await data(session, UserMessage) if m.sender == "nudge"]
    assert [m.id for m in said] == [nudge.input]
    assert [m.id for m in await data(session, InputDelivered)].count(nudge.input) == 1


async def test_a_model_that_does_not_come_on_is_told_so_often_and_no_more(bench: Bench) -> None:
    session = await bench.start([LIST, "1", "2", "3", "4"], "todo")
    result = await within(session.send("Mend it."))
    assert (result.outcome, result.text) == ("done", "4")
    assert [one.attempt for one in await data(session, RunNudged)] == [1, 2, 3]
    assert await bench_requests(bench) == 5


async def bench_requests(bench: Bench) -> int:
    assert bench.model is not None
    return len(bench.model.requests)


@pytest.mark.parametrize(
    ("between", "counts_anew"),
    [
        (call("todo", update=[{"item": 1, "status": "completed"}]), True),
        (call("todo", update=[{"item": 1, "status": "pending"}]), False),
        (call("todo"), False),
        (call("look"), True),
        (call("fails"), False),
    ],
)
async def test_only_progress_counts_anew(bench: Bench, between: Any, counts_anew: bool) -> None:
    @godwit.tool
    def look() -> str:
        """Look."""
        return "seen"

    @godwit.tool
    def fails() -> str:
        """Fail."""
        raise godwit.errors.ToolFailed("no")

    script: Script = [LIST, "1", between, "2", "3", "4", "5", "6", "7"]
    session = await bench.start(script, "todo", look, fails, nudges=2)
    await within(session.send("Mend it."))
    attempts = [one.attempt for one in await data(session, RunNudged)]
    assert attempts == ([1, 1, 2] if counts_anew else [1, 2])


@pytest.mark.parametrize(
    ("stopped", "reason", "says"),
    [
        (say(""), "empty", "empty"),
        (say("It is so lo") + end("max_tokens"), "cut_off", "cut off at the limit"),
        (say("I will look.") + end("tool_use"), "no_call", "no call came"),
    ],
)
async def test_how_an_answer_ended_says_that_it_is_none(bench: Bench, stopped: Any, reason: str, says: str) -> None:
    session = await bench.start([stopped, "All is well."])
    assert (await within(session.send("Look."))).text == "All is well."
    assert await reasons(session) == [(reason,)]
    assert says in last_told(bench)


@pytest.mark.parametrize("stopped", [say("No.") + end("refusal"), say("Half") + end("stop_sequence"), "I will look next:"])
async def test_other_ends_are_ends_whatever_the_words(bench: Bench, stopped: Any) -> None:
    session = await bench.start([stopped])
    await within(session.send("Look."))
    assert await reasons(session) == []


@pytest.mark.parametrize(
    "nudges", [False, 0, NudgePolicy(max_nudges=0), {"todos": False}, NudgePolicy(todos=False, goal=True)]
)
async def test_it_can_be_turned_off(bench: Bench, nudges: Any) -> None:
    session = await bench.start([LIST, "I have looked."], "todo", nudges=nudges)
    assert (await within(session.send("Mend it."))).text == "I have looked."
    assert await reasons(session) == []


def test_what_is_no_policy_is_refused() -> None:
    wrongs: list[Any] = [-1, 101, {"often": 3}, {"max_nudges": "x"}]
    for wrong in wrongs:
        with pytest.raises(ConfigurationError):
            nudges_of(wrong)
    assert nudges_of(True) == nudges_of(None) == NudgePolicy()


async def test_an_answer_with_a_form_is_held_to_that_and_not_continued(bench: Bench) -> None:
    session = await bench.start([say('{"n": 1') + end("max_tokens"), '{"n": 1}'], output={"type": "object"})
    assert (await within(session.send("Count."))).output == {"n": 1}
    assert await reasons(session) == []


async def test_in_plan_mode_the_list_nudges_nobody(bench: Bench) -> None:
    session = await bench.start([LIST, "This is the plan.", "Go.", ALL_DONE, "Done."], "todo")
    await session.set_mode("plan")
    await within(session.send("Plan it."))
    assert await reasons(session) == []
    await session.set_mode("build")
    assert (await within(session.send("Do it."))).text == "Done."
    assert await reasons(session) == [("todos",)]


async def test_a_run_with_a_history_of_its_own_is_not_about_the_list(bench: Bench) -> None:
    session = await bench.start(["An aside."], "todo")
    await session.set_todos(["something"])
    assert (await within(session.send("By the way?", history=()))).text == "An aside."
    assert await reasons(session) == []


async def test_what_a_person_says_comes_before_a_nudge(bench: Bench) -> None:
    """A follow-up that waits is delivered where the nudge would have been; only after it the list is asked for again."""
    stand = asyncio.Event()
    script: Script = [LIST, hold(stand) + say("I have looked."), "And that.", ALL_DONE, "Mended."]
    session = await bench.start(script, "todo")
    run = await session.prompt("Mend it.")
    assert bench.model is not None
    await until_asked(bench, 2)
    await session.follow_up("And that as well.")
    stand.set()
    assert (await within(session.wait(run))).text == "Mended."
    said = [m.sender for m in await data(session, UserMessage)]
    assert said == [None, None, "nudge"]
    assert "And that as well." in last_told(bench, 2)


async def until_asked(bench: Bench, times: int) -> None:
    assert bench.model is not None
    while len(bench.model.requests) < times:  # noqa: ASYNC110 - it is the model of the test that is asked
        await asyncio.sleep(0)


async def test_a_pause_and_an_interrupt_keep_it_from_being_said(bench: Bench) -> None:
    stand = asyncio.Event()
    session = await bench.start([LIST, hold(stand) + say("I have looked."), ALL_DONE, "Mended."], "todo")
    run = await session.prompt("Mend it.")
    await until_asked(bench, 2)
    pausing = asyncio.ensure_future(session.pause())
    while not (await session.state()).gate.paused:  # noqa: ASYNC110 - it is stored by another task
        await asyncio.sleep(0)
    stand.set()
    await within(pausing)
    assert await reasons(session) == []
    await session.resume()
    assert (await within(session.wait(run))).text == "Mended."
    assert await reasons(session) == [("todos",)]


async def test_turns_and_budgets_end_it_as_ever(bench: Bench) -> None:
    limits = godwit.Limits(max_turns=3)
    session = await bench.start([LIST, "1", "2", "3"], "todo", limits=limits)
    result = await within(session.send("Mend it."))
    assert (result.outcome, result.turns) == ("limited", 3)
    assert len(await data(session, RunNudged)) == 2


async def test_checks_come_when_nothing_is_left_to_do(bench: Bench) -> None:
    """Nudges end before a run is verified, and what a check sends back is no word of a person's."""
    session = await bench.start([LIST, "1", ALL_DONE, "Mended."], "todo", "bash", verification=["true"])
    await within(session.send("Mend it."))
    types = [e.type for e in await session.events()]
    assert types.index("run.nudged") < types.index("run.finished")
    assert [f.outcome for f in await data(session, RunFinished)] == ["done"]


async def test_exports_show_it_as_no_users_word(bench: Bench) -> None:
    session = await bench.start([LIST, "I have looked.", ALL_DONE, "Mended."], "todo")
    await within(session.send("Mend it."))
    page = (await session.export("md")).decode()
    assert page.count("## User") == 1
    assert "was told to go on" in page
    html = (await session.export("html")).decode()
    assert html.count("<article class=user") == 1
