"""The limit of sessions below the first one: that of one piece of work, and not of a conversation's whole life."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import godwit
from godwit.core.errors import SubagentLimit
from godwit.models.script import call, hold, say

from .conftest import Bench, within
from .task_words import Team, asked, home, rest, told

ECHO = [lambda request: say(f"({asked(request)})")]


@pytest.fixture
def team(bench: Bench) -> Team:
    return Team(bench)


def boss(team: Team, script: Any, limit: int) -> None:
    team.add("leaf", ECHO * 20)
    team.add("boss", script, subagents=["leaf"], limits=godwit.Limits(max_descendants=limit))


async def test_each_prompt_has_the_whole_number(team: Team) -> None:
    pair = [{"agent": "leaf", "prompt": "a"}, {"agent": "leaf", "prompt": "b"}]
    boss(team, [call("task", tasks=pair), "Done."] * 4, 2)
    session = await team.start()
    for _ in range(4):
        await within(session.send("Two, please."))
    assert [t.status for t in await session.tasks.all()] == ["completed"] * 8
    assert len(await home(session).store.descendants(session.id)) == 8


async def test_what_ends_of_tasks_begin_is_the_same_work(team: Team) -> None:
    """A session that is woken by each end, and begins the next task, would go on for ever."""
    wrong: list[str] = []
    again = call("task", agent="leaf", prompt="again", background=True)

    def note(request: Any) -> Any:
        if "limit is 3" in told(request):
            wrong.append(told(request))
        return say("Later.")

    boss(team, [again, note] * 8, 3)
    session = await team.start()
    await within(session.send("Go on and on."))
    await rest(home(session))
    assert len(await home(session).store.descendants(session.id)) == 3
    assert wrong
    # A person who says something begins another piece of work.
    await within(session.send("Once more."))
    await rest(home(session))
    assert len(await home(session).store.descendants(session.id)) > 3


async def test_a_steer_is_a_part_of_the_work(team: Team) -> None:
    gate = asyncio.Event()
    boss(team, [call("task", agent="leaf", prompt="a"), hold(gate) + call("task", agent="leaf", prompt="b"), told_back], 1)
    session = await team.start()
    run = await session.prompt("Go.")
    async for event in session.follow():
        if event.type == "subagent.finished":
            break
    await session.steer("Another one.", mode="batch")
    gate.set()
    assert "limit is 1" in (await within(session.wait(run))).text


def told_back(request: Any) -> Any:
    return say(told(request))


async def test_a_host_that_waits_for_the_end_may_begin_as_often_as_it_likes(team: Team) -> None:
    boss(team, ["Heard."] * 9, 1)
    session = await team.start()
    for n in range(4):
        await session.tasks.start("leaf", f"{n}")
        await rest(home(session))
    assert [t.status for t in await session.tasks.all()] == ["completed"] * 4


async def test_a_host_is_told_while_its_tasks_are_open(team: Team) -> None:
    gate = asyncio.Event()
    team.add("leaf", [hold(gate) + "leaf"] * 9)
    team.add("boss", ["Heard."] * 9, subagents=["leaf"], limits=godwit.Limits(max_descendants=2, max_children=1))
    session = await team.start()
    for n in range(2):
        await session.tasks.start("leaf", f"{n}")
    with pytest.raises(SubagentLimit, match="limit is 2"):
        await session.tasks.start("leaf", "3")
    gate.set()
    await rest(home(session))


async def test_a_child_that_is_asked_itself_has_the_limit_as_well(team: Team) -> None:
    team.add("leaf", ECHO * 9)
    many = [{"agent": "leaf", "prompt": f"{n}"} for n in range(3)]
    team.add("branch", [say("Ready."), call("task", tasks=many), told_back] * 2, subagents=["leaf"])
    team.add(
        "boss",
        [call("task", agent="branch", prompt="b"), "Done."],
        subagents=["branch"],
        limits=godwit.Limits(max_descendants=2),
    )
    session = await team.start()
    await within(session.send("Go."))
    (branch,) = await home(session).store.descendants(session.id)
    child = await home(session).open_session(branch)
    assert "limit is 2" in (await within(child.send("Three, please."))).text
