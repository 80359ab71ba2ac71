"""A task in the background that somebody else cancels: the model is told with what comes next, and not woken."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from godwit.core.ids import MessageId
from godwit.core.messages import Assistant, Text, User, text_of
from godwit.engine.session import Session
from godwit.models.script import call, hold, say

from .conftest import Bench, until, within
from .task_words import Team, first_task, home, rest

BEGIN = call("task", agent="slow", prompt="dig", description="a hole", background=True)


@pytest.fixture
def team(bench: Bench) -> Team:
    return Team(bench)


async def begun(team: Team, script: list[Any], **more: Any) -> Session:
    team.add("slow", [hold(asyncio.Event()) + "never"] * 3)
    team.add("boss", [BEGIN, "Begun.", *script], subagents=["slow"], **more)
    return await team.start()


def said(request: Any) -> list[str]:
    return [text_of(e.message.content) for e in request.entries if isinstance(e.message, User)]


async def test_it_is_told_with_the_next_prompt_and_wakes_nobody(team: Team) -> None:
    seen: list[list[str]] = []

    def note(request: Any) -> Any:
        seen.append(said(request))
        return say("I see.")

    session = await begun(team, [note, note])
    await within(session.send("Dig."))
    (task,) = await session.tasks.pending()
    head = (await session.events())[-1].seq
    assert await session.tasks.cancel(task.id, "it is too dark")
    await rest(home(session))
    assert [e.type for e in await session.events(head)] == ["subagent.finished"], "no message and no run"
    told = f"The task {task.id} that you gave to slow (a hole) was cancelled: it is too dark"
    await within(session.send("And now?"))
    await within(session.send("And then?"))
    assert seen == [["Dig.", told, "And now?"], ["Dig.", told, "And now?", "And then?"]]
    # Places to go back to are what somebody said.
    assert [t.text for t in await session.turnings()] == ["Dig.", "And now?", "And then?"]


async def test_in_an_open_run_it_is_told_behind_the_calls(team: Team) -> None:
    gate = asyncio.Event()
    seen: list[list[str]] = []

    def note(request: Any) -> Any:
        seen.append(said(request))
        return say("I see.")

    session = await begun(team, [hold(gate) + call("task_list"), note])
    await within(session.send("Dig."))
    run = await session.prompt("How far is it?")
    await until(session, lambda e: e.type == "model.started" and e.run == run)
    assert await session.tasks.cancel_all() == 1
    gate.set()
    assert (await within(session.wait(run))).text == "I see."
    assert seen[0][:2] == ["Dig.", "How far is it?"]
    assert seen[0][2].endswith("that you gave to slow (a hole) was cancelled.")


async def test_what_the_model_itself_cancels_it_is_not_told(team: Team) -> None:
    seen: list[list[str]] = []

    def note(request: Any) -> Any:
        seen.append(said(request))
        return say("Gone.")

    session = await begun(team, [lambda r: call("task_cancel", task=first_task(r)), note])
    await within(session.send("Dig."))
    await within(session.send("Enough."))
    assert seen == [["Dig.", "Enough."]]


async def test_a_session_that_was_closed_tells_it_when_it_is_opened_again(team: Team) -> None:
    seen: list[list[str]] = []

    def note(request: Any) -> Any:
        seen.append(said(request))
        return say("I see.")

    session = await begun(team, [note])
    await within(session.send("Dig."))
    runtime = home(session)
    await session.close()
    await rest(runtime)
    again = await runtime.open_session(session.id)
    await within(again.send("Well?"))
    assert seen[0][1].endswith("was cancelled: the session was closed")


async def test_a_task_that_a_call_waits_for_is_told_as_its_result(team: Team) -> None:
    team.add("slow", [hold(asyncio.Event()) + "never"])
    team.add("boss", [call("task", agent="slow", prompt="dig"), "I see."], subagents=["slow"])
    session = await team.start()
    run = await session.prompt("Dig.")
    await until(session, lambda e: e.type == "run.parked")
    await session.tasks.cancel_all("no need")
    assert (await within(session.wait(run))).text == "I see."
    messages = await session.history()
    assert [text_of(m.content) for m in messages if isinstance(m, User)] == ["Dig."]


async def test_a_run_with_a_history_of_its_own_is_told_nothing(team: Team) -> None:
    seen: list[list[str]] = []

    def note(request: Any) -> Any:
        seen.append(said(request))
        return say("I see.")

    session = await begun(team, [note, note])
    await within(session.send("Dig."))
    await session.tasks.cancel_all()
    # The script goes by the answers before: two.
    before = [
        m for text in ("One.", "Two.") for m in (User((Text(text),)), Assistant(MessageId(f"m{text}"), (Text("Yes."),)))
    ]
    await within(session.send("Apart.", history=tuple(before)))
    await within(session.send("And now?"))
    assert seen[0] == ["One.", "Two.", "Apart."]
    assert len(seen[1]) == 3
