"""A cancel reaches every leaf, whoever dies: the process that says it is killed at each of its appends, while others drive
what is to end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import godwit
from godwit.contracts import SessionRow
from godwit.core.events import SubagentFinished, SubagentStarted, UserInterrupt
from godwit.core.ids import SessionId
from godwit.models.script import ScriptedModel, call, hold
from tests.patience import PATIENCE_S

from .cancel_script import SESSION
from .deaths import Ended, Mortal, log_of


class Tree:
    """A first session with a branch that is waited for and one in the background, each with one leaf of either kind."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self.release = asyncio.Event()
        self.reached = [asyncio.Event() for _ in range(4)]
        self._held = iter(self.reached)

    def _leaf(self, _: Any) -> Any:
        return hold(self.release, reached=next(self._held, None)) + "leaf"

    def models(self) -> dict[str, godwit.ScriptedModel]:
        root = [
            call("task", id="beside", agent="branch", prompt="b", background=True),
            call("task", id="on", agent="branch", prompt="a"),
            *["Fine."] * 4,
        ]
        branch = [
            call("task", id="beside", agent="leaf", prompt="b", background=True),
            call("task", id="on", agent="leaf", prompt="a"),
            *["Fine."] * 4,
        ]
        scripts: dict[str, Any] = {"root": root, "branch": branch, "leaf": [self._leaf, *["Again."] * 4]}
        return {f"scripted:{name}": ScriptedModel(script, f"scripted:{name}") for name, script in scripts.items()}

    async def runtime(self) -> godwit.Runtime:
        runtime = await godwit.Runtime.open(self.database, models=self.models(), lease_ttl_s=2.0)
        leaf = godwit.Agent("leaf", model="scripted:leaf")
        branch = godwit.Agent("branch", model="scripted:branch", subagents=[leaf])
        await runtime.create(godwit.Agent("root", model="scripted:root", subagents=[branch]))
        return runtime

    async def begin(self) -> None:
        """Have all of it at work, and then driven by nobody."""
        async with await self.runtime() as runtime:
            session = await runtime.start_session("root", session=SESSION)
            await session.prompt("Go.")
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.gather(*(event.wait() for event in self.reached))
        self.reached = [asyncio.Event() for _ in range(4)]
        self._held = iter(self.reached)


async def rows_of(runtime: godwit.Runtime) -> list[SessionRow]:
    return await runtime.store.sessions(limit=100)


SCRIPT: Mortal[list[Any]] = Mortal("cancel_script", lambda database: log_of(database, SESSION))


async def end_and_die(tree: Tree, point: str) -> Ended:
    return await asyncio.to_thread(SCRIPT.run, tree.database, point)


async def to_end(runtime: godwit.Runtime) -> tuple[set[SessionId], set[SessionId]]:
    """By what the logs say: the sessions whose work is to end, and those whose work is to go on."""
    rows = sorted(await rows_of(runtime), key=lambda row: row.created_ms)
    ends: set[SessionId] = set()
    for row in rows:
        log = await runtime.store.read(row.id)
        started = [e.data for e in log if isinstance(e.data, SubagentStarted)]
        cancelled = {e.data.task for e in log if isinstance(e.data, SubagentFinished) and e.data.status == "cancelled"}
        interrupted = any(isinstance(e.data, UserInterrupt) for e in log)
        if interrupted:
            ends.add(row.id)
        for data in started:
            waited_for = interrupted and data.action is not None
            if data.task in cancelled or waited_for or (row.id in ends and row.id != SESSION):
                ends.add(data.child)
    return ends, {row.id for row in rows} - ends


async def until_carried_out(runtime: godwit.Runtime) -> None:
    """Return when all that is to end has ended; nothing else may have."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            ends, goes_on = await to_end(runtime)
            rows = await rows_of(runtime)
            working = {row.id for row in rows if row.run is not None}
            left = working & ends
            if not left and not (ends & set(await runtime.store.sessions_with_tasks()) - {SESSION}):
                break
            row = next((row for row in rows if row.id in left), rows[0])
            await runtime.store.wait(row.id, row.head, 0.05)
    assert ends, "nothing was to end"
    assert goes_on - working <= {SESSION}, "more was ended than was said"


POINTS = {
    "interrupt": ("after:1", "before:2", "after:2", "none"),
    "cancel": ("after:1", "before:2", "after:2", "none"),
    "archive": ("after:1", "before:3", "after:2", "none"),  # its first append is refused
}
DRIVEN = {"leaves": ("leaf",), "children": ("branch", "leaf"), "all": ("root", "branch", "leaf")}
QUICK = {("interrupt", "leaves", "after:1"), ("cancel", "children", "after:1"), ("archive", "all", "after:2")}
CASES = [
    pytest.param(how, driven, point, marks=() if (how, driven, point) in QUICK else pytest.mark.slow)
    for how, points in POINTS.items()
    for driven in DRIVEN
    for point in points
]


@pytest.mark.parametrize(("how", "driven", "point"), CASES)
async def test_what_was_recorded_is_carried_out_by_those_who_drive(
    tmp_path: Path, how: str, driven: str, point: str
) -> None:
    """`driven`: of what the other process has handles. Nobody recovers anything here."""
    tree = Tree(tmp_path / "tree.db")
    tree.database.with_suffix(".how").write_text(how)
    await tree.begin()
    async with await tree.runtime() as runtime:
        rows = await rows_of(runtime)
        for row in rows:
            if row.agent.name.startswith(DRIVEN[driven]):
                await runtime.open_session(row.id)
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(event.wait() for event in tree.reached))
        ended = await end_and_die(tree, point)
        assert ended.killed or point != "after:1"  # those who drive may be faster with the rest
        await until_carried_out(runtime)
        tree.release.set()
