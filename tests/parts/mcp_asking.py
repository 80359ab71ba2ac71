"""Sessions whose model calls a tool that asks (`mcp_asker.py`), in a few words."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from tests.engine.conftest import MODEL, Bench, data, until, within

from godwit import Agent, McpServer, McpSettings
from godwit.core.events import ToolFinished
from godwit.core.messages import text_of
from godwit.engine.session import Session
from godwit.models.script import call

from . import mcp_asker
from .mcp_asker import asker_site, uri_of

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def server_over(way: str, log: Path, **more: Any) -> Iterator[tuple[McpServer, McpSettings]]:
    era, _, transport = way.partition("-")
    if transport == "stdio":
        args = (mcp_asker.__file__, *(["--old"] if era == "old" else []), "--log", str(log))
        # It imports from the tests.
        env = {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
        yield McpServer("desk", command=sys.executable, args=args, env=env, **more), McpSettings(connect_s=60, wait_s=60)
        return
    with asker_site(old=era == "old", sse=transport == "sse") as site:
        site.asker.log = str(log)
        kind: Any = "sse" if transport == "sse" else "http"
        settings = McpSettings(reach=(site.here,), connect_s=60, wait_s=60)
        yield McpServer("desk", site.url, transport=kind, **more), settings


@asynccontextmanager
async def asking(
    bench: Bench, log: Path, way: str, steps: list[Any], *, tool: str = "ask", then: str = "done", **more: Any
) -> AsyncIterator[Session]:
    """A session whose model calls a tool that asks."""
    with server_over(way, log, **more) as (server, settings):
        runtime = await bench.runtime([calling(tool, steps), then], mcp=settings)
        yield await runtime.start_session(Agent("tester", model=MODEL, mcp_servers=[server]), workspace=bench.workspace)
        await bench.close()


def calling(tool: str, steps: list[Any]) -> Any:
    """A model's call of a tool of the server, or of `read_mcp_resource`."""
    if tool == "read_mcp_resource":
        return call(tool, server="desk", uri=uri_of(steps))
    return call(f"mcp__desk__{tool}", steps=steps)


def heard(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


async def asked(session: Session, number: int = 1) -> Any:
    """The action for the question of this number of the session."""
    seen = 0

    def is_it(event: Any) -> bool:
        nonlocal seen
        seen += event.type == "action.opened"
        return bool(event.type == "action.opened" and seen == number)

    return (await until(session, is_it)).data


async def answers(session: Session) -> Any:
    """What the tool was answered, as its result says."""
    await within(session.wait())
    (finished,) = await data(session, ToolFinished)
    assert finished.status == "ok", finished
    return json.loads(text_of(finished.content))


async def failure(session: Session) -> tuple[str, str]:
    await within(session.wait())
    (finished,) = await data(session, ToolFinished)
    return finished.status, text_of(finished.content)


async def until_heard(log: Path, line: str) -> None:
    async def wait() -> None:
        while line not in heard(log):  # noqa: ASYNC110 - of another process or thread
            await asyncio.sleep(0.01)

    await within(wait())
