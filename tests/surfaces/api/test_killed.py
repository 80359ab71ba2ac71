"""A server is killed in the middle of a run, and another takes its place: who has sent and who follows see one run."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import godwit
from godwit.client import connect
from godwit.core.events import Event, RunClaimed, ToolStarted
from tests.engine.conftest import until_type
from tests.patience import PATIENCE_S
from tests.surfaces.server.process import Process, setup

from .proxy import cutting

CODE = """
    import asyncio, os

    from godwit.models.script import ScriptedModel, call, hold, say

    async def runtime():
        last = say("Done.") if "AWAKE" in os.environ else hold(asyncio.Event()) + say("Never.")
        turns = [call("write", file_path="a.txt", content="one"), last]
        return {"models": {"scripted:any": ScriptedModel(turns, "scripted:any")}}
"""


async def test_a_killed_server_is_waited_for(tmp_path: Path) -> None:
    flags = ("--setup", setup(tmp_path, CODE))
    first = await asyncio.to_thread(Process, tmp_path, *flags)
    processes = [first]
    try:
        async with cutting(first.url, 0, most=0) as (url, proxy), connect(url) as client:
            agent = godwit.Agent("writer", model="scripted:any", tools=["files"])
            session = await client.start_session(agent, own_workspace=True)
            seen: list[Event] = []

            async def follow() -> None:
                async for event in session.follow():
                    seen.append(event)
                    if event.type == "run.finished":
                        return

            following = asyncio.ensure_future(follow())
            sending = asyncio.ensure_future(session.send("Go."))
            turn = await until_type(session, "turn.finished")
            await until_type(session, "model.started", turn.seq)
            assert await asyncio.to_thread(first.end, signal.SIGKILL) == -signal.SIGKILL
            second = await asyncio.to_thread(Process, tmp_path, *flags, AWAKE="1")
            processes.append(second)
            proxy.to(second.url)
            result = await asyncio.wait_for(sending, PATIENCE_S)
            await asyncio.wait_for(following, PATIENCE_S)
            assert (result.outcome, result.text) == ("done", "Done.")
            assert [e.seq for e in seen] == list(range(1, result.seq + 1))
            assert seen == await session.events()
            assert [e.type for e in seen].count("user.message") == 1
            assert len([e for e in seen if isinstance(e.data, ToolStarted)]) == 1, "what was done is not done again"
            assert [e.data.attempt for e in seen if isinstance(e.data, RunClaimed)] == [1, 2]
            assert await session.read_file("a.txt") == "     1\tone"
    finally:
        for process in processes:
            await asyncio.to_thread(process.close)


async def test_a_direct_call_that_was_cut_off_is_not_run_again(tmp_path: Path) -> None:
    """The client asks again by itself; what was begun has an outcome that nobody knows."""
    flags = ("--setup", setup(tmp_path, CODE))
    first = await asyncio.to_thread(Process, tmp_path, *flags)
    processes = [first]
    try:
        async with cutting(first.url, 0, most=0) as (url, proxy), connect(url) as client:
            agent = godwit.Agent("writer", model="scripted:any", tools=["bash"])
            session = await client.start_session(agent, own_workspace=True)
            calling = asyncio.ensure_future(session.tool("bash", {"command": "echo ran >> log; sleep 600"}))
            begun = await until_type(session, "tool.started")
            assert session.workspace is not None
            log = Path(session.workspace) / "log"
            while not await asyncio.to_thread(log.exists):
                assert (await session.status()) != "archived"
            assert await asyncio.to_thread(first.end, signal.SIGKILL) == -signal.SIGKILL
            second = await asyncio.to_thread(Process, tmp_path, *flags)
            processes.append(second)
            proxy.to(second.url)
            result = await asyncio.wait_for(calling, PATIENCE_S)
            assert (result.status, result.ok) == ("unknown", False)
            assert isinstance(begun.data, ToolStarted)
            assert result.call == begun.data.call
            assert log.read_text() == "ran\n"
    finally:
        for process in processes:
            await asyncio.to_thread(process.close)
