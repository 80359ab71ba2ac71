"""Budgets of sessions that work for another: one tree spends of the limits of all above."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

import godwit
from godwit.core.budget import Budget, Spent
from godwit.core.events import SessionConfigured
from godwit.engine.session import Session
from tests.engine.budget_words import DENY, Guard, look, parked, turns
from tests.engine.conftest import MODEL, Bench, data, within
from tests.patience import PATIENCE_S


async def family(bench: Bench, script: Any, *, parent: Any = None, child: Any = None) -> tuple[Session, Session]:
    runtime = await bench.runtime(script)
    above = await runtime.start_session(godwit.Agent("parent", model=MODEL, tools=[look], **(parent or {})))
    below = await runtime.start_session(godwit.Agent("child", model=MODEL, tools=[look], **(child or {})), parent=above.id)
    return above, below


async def test_a_child_spends_of_its_parents_tree(bench: Bench) -> None:
    above, below = await family(bench, turns(2), parent={"budget": {"turns": 4, "scope": "tree"}})
    assert (await below.state()).parent == (await below.state()).root == above.id
    assert (await below.send("go")).outcome == "done"
    assert await above.spent() == Spent()
    assert (await above.spent(tree=True)).turns == 3
    result = await above.send("go")
    assert (result.outcome, result.turns) == ("limited", 1)
    assert result.error is not None
    assert result.error.details["scope"] == "tree"
    refused = await below.send("go")
    assert refused.outcome == "limited"
    assert refused.error is not None
    assert refused.error.details["scope"] == f"tree of {above.id}"
    await above.set_budget(Budget(turns=100, scope="tree"))
    bench.model._turns = ["x"] * 9  # type: ignore[union-attr]
    assert (await below.send("go")).outcome == "done"


async def test_a_grandchild_is_governed_by_every_one_above(bench: Bench) -> None:
    above, below = await family(bench, ["x"] * 9, parent={"budget": {"turns": 2, "scope": "tree"}})
    runtime = bench.runtimes[0]
    last = await runtime.start_session(godwit.Agent("grandchild", model=MODEL), parent=below.id)
    assert ((await last.state()).parent, (await last.state()).root) == (below.id, above.id)
    for _ in range(2):
        assert (await last.send("go")).outcome == "done"
    assert (await last.send("go")).outcome == "limited"
    # What worked for the parent counts also when it was deleted.
    await runtime.delete_session(last.id)
    assert (await above.spent(tree=True)).turns == 2
    assert (await below.send("go")).outcome == "limited"


async def test_a_child_asks_for_more_of_its_parents_budget(bench: Bench) -> None:
    budget = {"turns": 1, "scope": "tree", "on_limit": "ask"}
    above, below = await family(bench, turns(2), parent={"budget": budget})
    run = await below.prompt("go")
    asked = await parked(below)
    assert asked.arguments["scope"] == f"tree of {above.id}"
    seq = (await below.state()).seq
    await below.approve(asked.action)
    asked = await parked(below, seq)
    assert asked.arguments["turns"] == 1
    await below.approve(asked.action, arguments={"turns": 5})
    assert (await within(below.wait(run))).outcome == "done"
    assert await above.budget("tree") == Budget(turns=7, scope="tree", on_limit="ask")
    assert [c.raised_by is not None for c in await data(above, SessionConfigured)] == [True, True]
    assert await data(below, SessionConfigured) == []


async def test_a_guard_of_the_parent_guards_its_children(bench: Bench) -> None:
    guard, own = Guard(DENY), Guard()
    above, below = await family(bench, ["x"] * 9, child={"budget_guard": own})
    assert (await below.send("go")).outcome == "done"
    above.set_budget_guard(guard)
    assert (await below.send("go")).outcome == "limited"
    assert (len(guard.checks), len(guard.records)) == (1, 0)
    assert guard.checks[0].session == below.id
    assert len(own.checks) == 2
    above.set_budget_guard(None)
    assert (await below.send("go")).outcome == "done"


SPENDER = """
import asyncio, sys
import godwit
from godwit.models.script import ScriptedModel

async def main(path, parent, name):
    model = ScriptedModel(["x"] * 99, "scripted:test")
    async with await godwit.Runtime.open(path, models={"scripted:test": model}) as runtime:
        session = await runtime.start_session(godwit.Agent(name, model="scripted:test"), parent=parent)
        print("ready", flush=True)
        sys.stdin.readline()
        answers = 0
        while (await session.send("go")).outcome == "done":
            answers += 1
        print(answers, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_two_processes_spend_of_one_tree_at_once(bench: Bench) -> None:
    runtime = await bench.runtime(["x"])
    agent = godwit.Agent("parent", model=MODEL, budget={"turns": 9, "scope": "tree"})
    above = await runtime.start_session(agent)

    async def start(name: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        words = ("-c", SPENDER, str(bench.path), above.id, name)
        process = await asyncio.create_subprocess_exec(sys.executable, *words, stdin=pipe, stdout=pipe)
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), PATIENCE_S) == b"ready\n"
        return process

    spenders = [await start("one"), await start("two")]
    said = await asyncio.wait_for(asyncio.gather(*(s.communicate(b"go\n") for s in spenders)), PATIENCE_S)
    answers = [int(out) for out, _ in said]
    # Each sees what the other has committed, so together they are over by less than one step each.
    assert 9 <= sum(answers) <= 10
    assert (await above.spent(tree=True)).turns == sum(answers)
    for row in await runtime.sessions():
        assert row.parent == (None if row.id == above.id else above.id)


async def test_a_parent_is_a_session_or_its_id(bench: Bench) -> None:
    runtime = await bench.runtime(["x"])
    agent = godwit.Agent("a", model=MODEL)
    parent = await runtime.start_session(agent)
    for given in (parent, parent.id):
        child = await runtime.start_session(agent, parent=given)
        assert (await runtime.row(child.id)).parent == parent.id
    with pytest.raises(godwit.errors.InvalidArgument, match="neither a session nor the id of one"):
        await runtime.start_session(agent, parent=7)  # type: ignore[arg-type]  # what it is about


async def test_a_parent_that_does_not_exist(bench: Bench) -> None:
    runtime = await bench.runtime(["x"])
    with pytest.raises(godwit.errors.SessionNotFound):
        await runtime.start_session(godwit.Agent("a", model=MODEL), parent="ses_nobody")
    assert await runtime.sessions() == []
