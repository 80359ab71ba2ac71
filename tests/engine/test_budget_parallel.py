"""Budgets of a whole tree that children spend side by side: the sum of all of them meets the limit, and all of it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import godwit
from godwit.core.budget import RESOURCES, Budget, Price
from godwit.core.messages import Usage
from godwit.models.script import call, end, say

from .conftest import Bench, within
from .task_words import Team, home, rest

CHILDREN = 5
STEPS = 40
STEP_TOKENS = 100
LIMITS: dict[str, float] = {"tokens": 1500, "usd": 0.0015, "turns": 15, "tool_calls": 12, "time_s": 0.4}
"""Each child alone stays below, all of them together do not. A step costs `STEP_TOKENS`, at a dollar per million."""
STEP: dict[str, float] = {"tokens": STEP_TOKENS, "usd": STEP_TOKENS / 1e6, "turns": 1, "tool_calls": 1}


@pytest.fixture
def team(bench: Bench) -> Team:
    return Team(bench)


@pytest.mark.parametrize("resource", LIMITS)
@pytest.mark.parametrize("background", [False, True])
async def test_children_side_by_side_meet_the_limit_of_their_tree(team: Team, resource: str, background: bool) -> None:
    @godwit.tool
    async def work(step: int) -> str:
        """Work for a moment."""
        await asyncio.sleep(0.01)
        return f"worked {step}"

    used_up = end(usage=Usage(STEP_TOKENS // 2, STEP_TOKENS // 2, requests=1))
    # Each call is another one: equal ones in a row are refused before they spend anything.
    team.add("leaf", [*[call("work", step=n) + used_up for n in range(STEPS)], "leaf"], work)
    tasks = [{"agent": "leaf", "prompt": str(n)} for n in range(CHILDREN)]
    last = say("boss") + end(usage=Usage(1, 1, requests=1))
    budget = {resource: LIMITS[resource], "scope": "tree"}
    team.add("boss", [call("task", tasks=tasks, background=background), *[last] * 9], subagents=["leaf"], budget=budget)
    for model in team.models.values():
        model.price = Price(1.0, 1.0)
    session = await team.start()
    await within(session.send("Go."))
    await rest(home(session))
    rows = await home(session).store.sessions(limit=100)
    assert len(rows) == 1 + CHILDREN
    assert [row.id for row in rows if row.run is not None] == []
    records = await session.tasks.all()
    assert [r.status for r in records] == ["failed"] * CHILDREN
    for record in records:
        assert record.error is not None
        assert record.error.details["scope"] == f"tree of {session.id}"
    spent = await session.spent(tree=True)
    used: dict[str, float] = {r: spent.of(r) for r in RESOURCES if r in STEP}
    # No limit is passed by more than one step of each that was in the middle of one.
    if resource in STEP:
        assert LIMITS[resource] <= used[resource] + STEP[resource]
        assert used[resource] <= LIMITS[resource] + STEP[resource] * (CHILDREN + 1)
    # More is a person's to give: then the same conversation goes on.
    await session.set_budget(Budget(scope="tree"))
    assert (await within(session.send("And now?"))).outcome == "done"


async def test_one_that_hands_itself_ever_more_work_in_the_background_comes_to_an_end(team: Team) -> None:
    many = [{"agent": "boss", "prompt": "more"}] * 4
    limits = godwit.Limits(max_depth=4, max_descendants=40, max_children=3)
    script: list[Any] = [call("task", tasks=many, background=True), *["Fine."] * 60]
    team.add("boss", script, subagents=["boss"], limits=limits)
    session = await team.start()
    assert (await within(session.send("Go."))).outcome == "done"
    await rest(home(session))
    rows = await home(session).store.sessions(limit=500)
    assert 5 <= len(rows) <= 41
    assert [row.id for row in rows if row.run is not None] == []
    assert await home(session).store.sessions_with_tasks() == []
