"""The words tests of the runtime's methods by id are written in (seed 003): nothing here holds a handle.

Where a test says "defect", it shows that we do not have the one the original has.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.engine.conftest import MODEL, Bench
from tests.patience import PATIENCE_S

import godwit
from godwit.core.events import Delivery, Delta, Event, RunFinished, UserMessage
from godwit.core.ids import InputId, SessionId
from godwit.core.messages import Text, text_of
from godwit.host.runtime import Runtime
from godwit.models.script import Script

ROOT = Path(__file__).parents[2]
LOOKUP = godwit.ToolDefinition("lookup", "Look it up.", {"type": "object", "properties": {}})


class Held:
    """A tool that waits until the test lets it go, or until it is told to end."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.release = asyncio.Event()
        self.calls = 0

        @godwit.tool
        async def held(n: int = 0) -> str:
            """Wait."""
            self.calls += 1
            self.entered.set()
            await self.release.wait()
            return f"went through {n}"

        self.tool = held


async def begin(
    bench: Bench, script: Script, *tools: Any, runtime: Runtime | None = None, **more: Any
) -> tuple[Runtime, str]:
    """A runtime and the id of a session nobody has a driving handle of."""
    runtime = runtime or await bench.runtime(script)
    started = {name: more.pop(name) for name in ("workspace", "labels", "session", "environment") if name in more}
    agent = await runtime.create(godwit.Agent(more.pop("name", "tester"), model=MODEL, tools=list(tools), **more))
    return runtime, (await runtime.start_session(agent, drive=False, **started)).id


def says(text: str, delivery: Delivery = "prompt") -> UserMessage:
    return UserMessage(InputId(""), (Text(text),), delivery)


async def until(runtime: Runtime, session: str, kind: str, from_seq: int = 0, times: int = 1) -> Event:
    """The first event of that type behind `from_seq`, or the so manieth."""

    async def find() -> Event:
        left = times
        async with contextlib.aclosing(await runtime.stream_events(session, from_seq)) as stream:
            async for event in stream:
                assert isinstance(event, Event)
                left -= event.type == kind
                if left == 0:
                    return event
        raise AssertionError(f"the stream ended without {kind}")

    return await asyncio.wait_for(find(), PATIENCE_S)


async def log(runtime: Runtime, session: str) -> list[Event]:
    return await runtime.store.read(SessionId(session))


async def types(runtime: Runtime, session: str) -> list[str]:
    return [e.type for e in await log(runtime, session)]


async def data(runtime: Runtime, session: str, kind: type[Any]) -> list[Any]:
    return [e.data for e in await log(runtime, session) if isinstance(e.data, kind)]


@godwit.tool
def note(text: str) -> str:
    """Write a note."""
    return f"noted {text}"


def asked(bench: Bench) -> int:
    """How often the model was asked."""
    assert bench.model is not None
    return len(bench.model.requests)


def told(bench: Bench, number: int = -1) -> list[str]:
    """What the model was shown in that request, message by message."""
    assert bench.model is not None
    return [text_of(e.message.content) for e in bench.model.requests[number].entries]


async def outcome(runtime: Runtime, session: str, times: int = 1) -> RunFinished:
    event = await until(runtime, session, "run.finished", times=times)
    assert isinstance(event.data, RunFinished)
    return event.data


async def stopped_driver(database: Path) -> asyncio.subprocess.Process:
    """A process that has prompted a session and works on it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.acceptance.stopped_script",
        str(database),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), PATIENCE_S) == b"going\n"
    return process


async def up_to(stream: AsyncIterator[Event | Delta], kind: str) -> AsyncIterator[Event]:
    """The events of the stream, the first of that type the last."""
    async for item in stream:
        if isinstance(item, Event):
            yield item
            if item.type == kind:
                return
