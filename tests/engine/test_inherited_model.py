"""An agent whose model is `inherit` works with the model that the session above works with just then."""

from __future__ import annotations

from typing import Any

import pytest

import godwit
from godwit import SubagentSession
from godwit.core.messages import User
from godwit.engine.session import Session
from godwit.models.script import call, say

from .conftest import Bench, within
from .task_words import Team, asked, home


@pytest.fixture
def team(bench: Bench) -> Team:
    return Team(bench)


async def boss(team: Team) -> Session:
    """Each of its models plays both parts: told "Go." it hands a task on, as the child it says which model it is."""

    def play(name: str) -> Any:
        def answer(request: Any) -> Any:
            if asked(request) != "Go.":
                return say(name)
            again = isinstance(request.entries[-1].message, User)
            return call("task", agent="mate", prompt="Which are you?") if again else say("Done.")

        return answer

    team.add("first", [play("first")] * 20)
    team.add("other", [play("other")] * 20)
    team.agents["mate"] = godwit.Agent("mate", model="inherit")
    team.agents["boss"] = godwit.Agent("boss", model=["scripted:first", "scripted:other"], subagents=[team.agents["mate"]])
    return await team.start()


async def answers(session: Session) -> list[str | None]:
    return [task.output for task in await session.tasks.all()]


async def test_a_change_of_the_sessions_model_is_inherited_by_its_next_children(team: Team) -> None:
    session = await boss(team)
    await within(session.send("Go."))
    await session.set_model("scripted:other")
    await within(session.send("Go."))
    assert await answers(session) == ["first", "other"]
    # The one that was asked before keeps what it began with.
    first = (await session.tasks.all())[0]
    kept = await session.tasks.start("mate", "And now?", continue_task=first.id)
    (kept,) = await within(session.tasks.wait([kept.id]))
    assert kept.output == "first"


async def test_a_subagent_session_inherits_it_as_well(team: Team) -> None:
    session = await boss(team)
    await session.set_model("scripted:other")
    mate = SubagentSession(home(session), team.agents["mate"], parent=session)
    assert (await within(mate.send("Which are you?"))).text == "other"
