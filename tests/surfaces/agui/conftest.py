"""A server with scripted models, and AG-UI's own clients: one process with them for all tests of a worker."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol, cast

import pytest

import godwit
from godwit.core.events import Event, ToolFinished
from godwit.models.script import Reply, Script, ScriptedModel, hold
from godwit.surfaces.server import ServerSettings
from tests.patience import PATIENCE_S
from tests.surfaces.mcp_server.clients import put
from tests.surfaces.server.running import RunningServer, running

from .front import Agent, Front, Json, Version, front as made
from .wire import Wire

MODEL = "scripted:any"
ASKING = {"bash": "ask"}


class Gate:
    """A place where the model stands still until a test lets it go on."""

    def __init__(self) -> None:
        self._release = asyncio.Event()
        self._reached = threading.Event()

    def hold(self) -> Reply:
        """The place, for a script."""
        return hold(self._release, reached=cast(asyncio.Event, self._reached))

    async def reached(self) -> None:
        assert await asyncio.to_thread(self._reached.wait, PATIENCE_S)

    def open(self, site: Site) -> None:
        async def set_it() -> None:
            self._release.set()

        site.server.call(set_it)


class Site:
    """A server with one agent, `bird`, of a script."""

    def __init__(self, server: RunningServer, model: ScriptedModel, front: Front | None) -> None:
        self.server = server
        self.model = model
        self.url = f"{server.url}/agui/bird"
        self._front = front

    async def client(self, thread: str = "t1", *, version: Version = "1.0", **options: Any) -> Agent:
        """A client of it."""
        assert self._front is not None
        return await self._front.agent(self.url, thread, version=version, **options)

    def wire(self) -> Wire:
        return Wire(self.url)

    def session(self) -> godwit.Session:
        """A handle on the newest session, to be used inside `call` only."""

        async def look() -> godwit.Session:
            runtime = self.server.runtime
            return await runtime.open_session((await runtime.sessions(limit=1))[0].id, drive=False)

        return self.server.call(look)

    def log(self) -> list[Event]:
        """The events of the newest session."""
        session = self.session()
        return self.server.call(session.events)

    def count(self, kind: str) -> int:
        return sum(event.type == kind for event in self.log())

    def results(self) -> list[ToolFinished]:
        """Of the calls of the newest session."""
        return [event.data for event in self.log() if isinstance(event.data, ToolFinished)]

    async def settled(self) -> str:
        """Wait until the newest session's run has ended; returns its outcome."""
        session = self.session()

        async def wait() -> str:
            return (await session.wait()).outcome

        return await asyncio.to_thread(self.server.call, wait)


class Start(Protocol):
    def __call__(self, *script: Any, tools: Any = ..., host_tools: Any = ..., **agent: Any) -> Site: ...


@pytest.fixture
def start(tmp_path: Path, front: Front) -> Iterator[Start]:
    """Starts a server: `start(*script, **options of the agent)`."""
    with ExitStack() as stack:

        def start(*script: Any, tools: Any = ("bash",), host_tools: Any = (), **agent: Any) -> Site:
            models = agent.pop("models", {})
            model = ScriptedModel(cast(Script, list(script)), MODEL)
            given = {"permissions": {}, "sandbox": None, **agent}
            bird = godwit.Agent("bird", model=MODEL, tools=list(tools), **given)
            server = stack.enter_context(
                running(
                    tmp_path / "g.db",
                    models={MODEL: model, **models},
                    settings=ServerSettings(port=0),
                    prepare=lambda runtime: put(runtime, bird),
                    tools=list(host_tools),
                )
            )
            return Site(server, model, front)

        yield start


@pytest.fixture(scope="session")
def front() -> Iterator[Front]:
    with made() as front:
        yield front


def entry(interrupt: Json, **payload: Any) -> Json:
    """What resolves an interrupt."""
    return {"interruptId": interrupt["id"], "status": "resolved", "payload": payload}


def approved(interrupt: Json, **more: Any) -> Json:
    return entry(interrupt, approved=True, **more)


def denied(interrupt: Json, **more: Any) -> Json:
    return entry(interrupt, approved=False, **more)


def cancelled(interrupt: Json) -> Json:
    return {"interruptId": interrupt["id"], "status": "cancelled"}
