"""A runtime on a real SQLite file with a scripted model, and the few words engine tests are written in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

import godwit
from godwit.contracts import SessionHandle
from godwit.core.events import Event, EventData
from godwit.engine.session import Session
from godwit.host.runtime import Runtime
from godwit.models.script import Script, ScriptedModel
from tests.patience import PATIENCE_S

T = TypeVar("T")
MODEL = "scripted:test"


class Bench:
    """Opens runtimes on one database and starts sessions whose model is scripted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.workspace = path.parent / "workspace"
        self.workspace.mkdir(exist_ok=True)
        self.runtimes: list[Runtime] = []
        self.model: ScriptedModel | None = None

    async def runtime(self, script: Script = (), **options: Any) -> Runtime:
        self.model = ScriptedModel(script, MODEL)
        options.setdefault("models", {MODEL: self.model})
        options.setdefault("lease_ttl_s", 3600.0)  # a driver that is lost without a word is not helped by a lease that ends
        runtime = await Runtime.open(self.path, **options)
        self.runtimes.append(runtime)
        return runtime

    async def start(self, script: Script, *tools: Any, runtime: Runtime | None = None, **agent: Any) -> Session:
        runtime = runtime or await self.runtime(script)
        if self.model is not None and script:
            self.model._turns = list(script)
        made = godwit.Agent("tester", model=agent.pop("model", MODEL), tools=list(tools), **agent)
        return await runtime.start_session(made, workspace=self.workspace)

    async def close(self) -> None:
        for runtime in self.runtimes:
            await runtime.close()
        self.runtimes.clear()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path / "godwit.db")
    yield made
    await made.close()


async def until(session: SessionHandle, wanted: Callable[[Event], bool], from_seq: int = 0) -> Event:
    """The first event that is wanted, once it is there."""

    async def find() -> Event:
        async for event in session.follow(from_seq):
            if wanted(event):
                return event
        raise AssertionError("unreachable")

    return await asyncio.wait_for(find(), PATIENCE_S)


async def until_type(session: SessionHandle, kind: str, from_seq: int = 0) -> Event:
    return await until(session, lambda e: e.type == kind, from_seq)


async def within(work: Awaitable[T]) -> T:
    return await asyncio.wait_for(work, PATIENCE_S)


async def types(session: SessionHandle) -> list[str]:
    return [e.type for e in await session.events()]


async def data(session: SessionHandle, kind: type[EventData]) -> list[Any]:
    return [e.data for e in await session.events() if isinstance(e.data, kind)]
