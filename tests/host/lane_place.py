"""What the tests of calls that workers do share: a runtime whose execute lane is worked on outside."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE_S

import godwit
from godwit.core.events import Labels, ToolFinished
from godwit.core.ids import SystemClock
from godwit.core.lanes import LaneConfig, LaneSettings, RetryPolicy
from godwit.core.messages import Text
from godwit.engine.session import Session
from godwit.host.lane_tasks import LaneTasks, Leased
from godwit.host.runtime import Runtime
from godwit.models.script import Script, ScriptedModel

MODEL = "scripted:test"


class Later(SystemClock):
    """The real time, and what a test lets pass besides."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def now_ms(self) -> int:
        return super().now_ms() + round(self.passed_s * 1000)


class Place:
    """A runtime whose execute lane is worked on outside."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = Later()
        self.ran: list[str] = []
        self.runtimes: list[Runtime] = []

        @godwit.tool
        def build(target: str) -> str:
            """Build."""
            self.ran.append(target)
            return f"built here: {target}"

        @godwit.tool(repeatable=True)
        def fetch(url: str) -> str:
            """Fetch."""
            self.ran.append(url)
            return f"fetched here: {url}"

        self.tools: list[Any] = [build, fetch]

    async def open(self, script: Script = (), **options: Any) -> Runtime:
        retry = RetryPolicy("fixed", retries=1, delay_ms=0)
        options.setdefault("lanes", LaneSettings((LaneConfig("execute", mode="outside", retry=retry),)))
        models = {MODEL: ScriptedModel(script, MODEL)}
        runtime = await Runtime.open(self.path, models=models, clock=self.clock, **options)
        self.runtimes.append(runtime)
        return runtime

    def agent(self, **more: Any) -> godwit.Agent:
        return godwit.Agent("worker", model=MODEL, tools=self.tools, **more)

    async def start(self, script: Script, *, tenant: str | None = None, **options: Any) -> Session:
        runtime = await self.open(script, **options)
        return await runtime.start_session(self.agent(), labels=Labels(tenant=tenant))

    @property
    def tasks(self) -> LaneTasks:
        return self.runtimes[-1].external_tasks

    async def lease(self, *lanes: str, wait_s: float = PATIENCE_S, begins: bool = True, **more: Any) -> Leased:
        more.setdefault("tenant", None)
        leased = await self.tasks.lease(lanes or ("execute",), worker=more.pop("worker", "w1"), wait_s=wait_s, **more)
        assert leased is not None
        if begins:
            await self.tasks.heartbeat(leased.task.id, leased.token, tenant=more["tenant"])
        return leased

    async def nothing(self, **more: Any) -> None:
        more.setdefault("tenant", None)
        assert await self.tasks.lease(("execute",), worker="w", **more) is None


async def within(work: Any) -> Any:
    return await asyncio.wait_for(work, PATIENCE_S)


async def done(place: Place, leased: Leased, text: str = "built outside", **more: Any) -> bool:
    return await place.tasks.complete(leased.task.id, leased.token, (Text(text),), tenant=None, **more)


async def until(session: Session, kind: str, count: int = 1) -> None:
    """Until so many events of this type are in its log."""
    events = session.follow()
    while count:
        count -= (await within(anext(events))).type == kind


async def finished(session: Session) -> list[ToolFinished]:
    return [e.data for e in await session.events() if isinstance(e.data, ToolFinished)]
