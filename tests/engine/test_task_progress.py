"""The steps of tasks: listed again and again, read once, and never those of another task."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

import godwit
from godwit.models.script import call, say

from .conftest import Bench, within
from .task_words import Team, home


@godwit.tool
def work(text: str) -> str:
    """Work."""
    return f"worked {text}"


async def test_ended_tasks_are_read_once_and_one_childs_log_once_for_all_its_tasks(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = Team(bench)
    script = [turn for n in range(3) for turn in (call("work", text=str(n)), say(f"{n}"))]
    leaf = team.add("leaf", script, work)
    team.add("boss", ["Heard."] * 5, subagents=["leaf"])
    session = await team.start()
    runtime = home(session)
    child = godwit.SubagentSession(runtime, leaf, parent=session)
    for number in range(3):
        await within(child.send(f"{number}"))
    reads: Counter[str] = Counter()
    read = runtime.store.read

    async def counting(at: Any, *args: Any, **options: Any) -> Any:
        reads[at] += "tool.finished" in (options.get("types") or ())
        return await read(at, *args, **options)

    monkeypatch.setattr(runtime.store, "read", counting)
    first = await session.tasks.all()
    assert reads[child.id] == 1
    assert await session.tasks.all() == first
    assert [await session.tasks.get(task.id) for task in first] == first
    assert reads[child.id] == 1
    assert [[step.status for step in t.progress] for t in first] == [
        ["tool_completed", "turn_completed", "turn_completed"]
    ] * 3


async def test_what_is_open_is_read_anew(bench: Bench) -> None:
    there, gate = asyncio.Event(), asyncio.Event()

    @godwit.tool
    async def pause() -> str:
        """Wait."""
        there.set()
        await gate.wait()
        return "on"

    team = Team(bench)
    team.add("leaf", [call("work", text="a"), call("pause"), say("done")], work, pause)
    team.add("boss", ["Heard."], subagents=["leaf"])
    session = await team.start()
    task = await session.tasks.start("leaf", "go")

    await within(there.wait())
    works = await session.tasks.get(task.id)
    assert works is not None
    assert len(works.progress) == 2
    gate.set()
    (ended,) = await within(session.tasks.wait([task.id]))
    assert len(ended.progress) == 5
