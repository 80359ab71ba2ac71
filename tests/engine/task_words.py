"""What tests of subagents are written with: agents by name, each with a script, and words for what has become of tasks."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import godwit
from godwit.contracts import ModelRequest
from godwit.core.events import SubagentFinished
from godwit.core.messages import ToolResult, User, text_of
from godwit.engine.session import Session
from godwit.host.runtime import Runtime
from godwit.models.script import Script, ScriptedModel
from tests.patience import PATIENCE_S

from .conftest import Bench, within

__all__ = ["Team", "answer", "asked", "ended", "ends", "first_task", "home", "last", "rest", "results", "told"]


def asked(request: ModelRequest) -> str:
    """What the session was first asked."""
    first = request.entries[0].message
    assert isinstance(first, User)
    return text_of(first.content)


def last(request: ModelRequest) -> str:
    """The newest message."""
    return next(text_of(e.message.content) for e in reversed(request.entries) if isinstance(e.message, User))


def first_task(request: ModelRequest) -> str:
    """The id of the first task that the model was told of."""
    told = next(e.message.text for e in request.entries if isinstance(e.message, ToolResult))
    return str(told.split()[1])


def told(request: ModelRequest) -> str:
    """The newest result, without the id of a task that stands behind it."""
    return next(answer(e.message) for e in reversed(request.entries) if isinstance(e.message, ToolResult))


def answer(result: ToolResult) -> str:
    """What a call came to, without the id of its task."""
    return re.sub(r"\n\n\[task_\w+\]$", "", result.text)


class Team:
    """Agents with a scripted model each. The first one is the boss; the others are its subagents, unless told otherwise."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.models: dict[str, ScriptedModel] = {}
        self.agents: dict[str, godwit.Agent] = {}

    def add(self, name: str, script: Script, *tools: Any, subagents: Any = (), **options: Any) -> godwit.Agent:
        model = f"scripted:{name}"
        self.models[model] = ScriptedModel(script, model)
        given = [self.agents.get(one, one) if isinstance(one, str) else one for one in subagents]
        made = godwit.Agent(name, model=model, tools=list(tools), subagents=given, **options)
        self.agents[name] = made
        return made

    async def runtime(self, **options: Any) -> Runtime:
        found = await Runtime.open(self.bench.path, models=self.models, **options)
        self.bench.runtimes.append(found)
        return found

    async def start(self, name: str = "boss", *, runtime: Runtime | None = None, **options: Any) -> Session:
        runtime = runtime or await self.runtime()
        options.setdefault("workspace", self.bench.workspace)
        return await runtime.start_session(self.agents[name], **options)


def home(session: Session) -> Runtime:
    """The runtime that the session was opened by."""
    assert isinstance(session._home, Runtime)
    return session._home


async def results(session: Session) -> list[ToolResult]:
    return [m for m in await session.history() if isinstance(m, ToolResult)]


async def ends(session: Session) -> list[SubagentFinished]:
    return [e.data for e in await session.events() if isinstance(e.data, SubagentFinished)]


async def ended(session: Session, number: int) -> list[SubagentFinished]:
    """The ends of its tasks, once there are so many."""

    async def look() -> list[SubagentFinished]:
        found: list[SubagentFinished] = []
        async for event in session.follow(0):
            if isinstance(event.data, SubagentFinished):
                found.append(event.data)
                if len(found) == number:
                    return found
        raise AssertionError("unreachable")

    return await within(look())


async def rest(runtime: Runtime) -> None:
    """Return when no run is open and no task has yet to end."""

    async def look() -> None:
        while True:
            rows = await runtime.store.sessions(limit=500)
            tasks = await runtime.store.sessions_with_tasks()
            busy = [row for row in rows if row.run is not None or row.id in tasks]
            if not busy:
                await runtime.subagents.settle()
                return
            await runtime.store.wait(busy[0].id, busy[0].head, 0.2)

    await asyncio.wait_for(look(), PATIENCE_S)
