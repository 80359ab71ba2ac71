"""The official worker, unmodified, does the tool calls of self-hosted environments, whoever is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic.lib.environments import EnvironmentWorker

from godwit.models.script import call, say
from tests.patience import PATIENCE_S
from tests.surfaces.managed_agents.conftest import Start
from tests.surfaces.managed_agents.talk import TOOLSET, custom, said
from tests.surfaces.server.process import serving, setup
from tests.surfaces.terminal import environment as own_environment

MAX_IDLE_S = 0.05


def async_client(url: str) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=url, api_key="any", _strict_response_validation=True)


@asynccontextmanager
async def working(url: str, environment: str, folder: Path) -> AsyncIterator[None]:
    """A worker for this environment that works in this folder."""
    folder.mkdir(exist_ok=True)
    async with async_client(url) as client:
        worker = EnvironmentWorker(
            client, environment_id=environment, environment_key="any", workdir=folder, max_idle=MAX_IDLE_S
        )
        running = asyncio.ensure_future(worker.run())
        try:
            yield
        finally:
            running.cancel()
            await asyncio.wait({running})


async def finished(client: anthropic.AsyncAnthropic, session: str) -> list[Any]:
    """The session's events, once its turn has ended."""
    async with asyncio.timeout(PATIENCE_S), await client.beta.sessions.events.stream(session) as stream:
        listed = [event async for event in client.beta.sessions.events.list(session)]
        if not _ended(listed[-1:]):
            async for event in stream:
                if _ended([event]):
                    break
    return [event async for event in client.beta.sessions.events.list(session)]


def _ended(events: list[Any]) -> bool:
    return any(e.type == "session.status_idle" and e.stop_reason.type == "end_turn" for e in events)


def results(events: list[Any]) -> list[str]:
    return [event.content[0].text for event in events if event.type == "user.tool_result"]


async def a_place(client: anthropic.AsyncAnthropic, *tools: Any) -> tuple[str, str]:
    """An agent and an environment of workers."""
    agent = await client.beta.agents.create(name="far", model="m", tools=list(tools) or [TOOLSET])
    environment = await client.beta.environments.create(name="here", config={"type": "self_hosted"})
    return agent.id, environment.id


# --- whole ------------------------------------------------------------------------------------------------------------


async def test_a_worker_does_what_the_model_asks_for(start: Start, tmp_path: Path) -> None:
    server = start(
        call("write", file_path="nest/egg.txt", content="blue\n"),
        call("bash", command="cat nest/egg.txt") + call("glob", pattern="**/*.txt") + call("grep", pattern="bl.e"),
        call("edit", file_path="nest/egg.txt", old_string="blue", new_string="white"),
        call("read", file_path="nest/egg.txt"),
        say("An egg."),
        call("bash", command="echo again"),
        say("Again."),
    )
    async with async_client(server.url) as client:
        agent, environment = await a_place(client)
        session = await client.beta.sessions.create(
            agent=agent, environment_id=environment, initial_events=[said("Build a nest.")]
        )
        async with working(server.url, environment, tmp_path / "there"):
            events = await finished(client, session.id)
            done = results(events)
            assert len(done) == 6
            assert done[1] == "blue"
            assert "nest/egg.txt" in done[2]
            assert "blue" in done[3]
            assert "white" in done[5]
            assert (tmp_path / "there/nest/egg.txt").read_text() == "white\n"
            assert [e.is_error for e in events if e.type == "user.tool_result"] == [False] * 6
            await client.beta.sessions.events.send(session.id, events=[said("Once more.")])
            assert results(await finished(client, session.id))[-1] == "again"
        listed = [one async for one in client.beta.environments.work.list(environment)]
        assert {one.data.id for one in listed} == {session.id}
        assert {one.state for one in listed} == {"stopped"}
        assert await client.beta.environments.work.poll(environment) is None


async def test_a_call_of_the_clients_own_is_left_to_the_client(start: Start, tmp_path: Path) -> None:
    server = start(call("bash", command="echo mine") + call("look"), say("Done."))
    async with async_client(server.url) as client:
        agent, environment = await a_place(client, TOOLSET, custom("look"))
        session = await client.beta.sessions.create(agent=agent, environment_id=environment)
        async with working(server.url, environment, tmp_path / "there"):
            async with asyncio.timeout(PATIENCE_S), await client.beta.sessions.events.stream(session.id) as stream:
                await client.beta.sessions.events.send(session.id, events=[said("Go.")])
                left: list[str] = []
                async for event in stream:
                    if event.type == "user.tool_result":
                        listed = [one async for one in client.beta.sessions.events.list(session.id)]
                        left = [one.id for one in listed if one.type == "agent.custom_tool_use"]
                        break
            assert len(left) == 1
            answer: Any = {
                "type": "user.custom_tool_result",
                "custom_tool_use_id": left[0],
                "content": [{"type": "text", "text": "seen"}],
            }
            await client.beta.sessions.events.send(session.id, events=[answer])
            events = await finished(client, session.id)
        assert results(events) == ["mine"]


async def test_each_of_many_sessions_has_one_of_many_workers(start: Start, tmp_path: Path) -> None:
    server = start(*[call("bash", command="echo x >> done") + say("."), say("Done.")])
    async with async_client(server.url) as client:
        agent, environment = await a_place(client)
        sessions = [
            await client.beta.sessions.create(agent=agent, environment_id=environment, initial_events=[said("Go.")])
            for _ in range(4)
        ]
        async with (
            working(server.url, environment, tmp_path / "a"),
            working(server.url, environment, tmp_path / "b"),
            working(server.url, environment, tmp_path / "c"),
        ):
            await asyncio.gather(*(finished(client, session.id) for session in sessions))
        done = [(tmp_path / name / "done") for name in "abc"]
        assert sum(len(one.read_text().split()) for one in done if one.exists()) == len(sessions)


# --- processes --------------------------------------------------------------------------------------------------------

WORKER = """
import asyncio, os
import anthropic
from anthropic.lib.environments import EnvironmentWorker

async def main():
    async with anthropic.AsyncAnthropic(base_url=os.environ["SERVER"], api_key="any") as client:
        await EnvironmentWorker(
            client, environment_id=os.environ["PLACE"], environment_key="any", workdir=os.environ["WORKDIR"], max_idle=0.05
        ).run()

asyncio.run(main())
"""

HOLDING = """
    from godwit.models.script import ScriptedModel, call, say

    def runtime():
        command = "bash -c 'echo $$ > {begun}; exec cat {hold}'"
        return {{"models": {{"scripted:any": ScriptedModel([call("bash", command=command), say("Done.")])}}}}
"""


class Fifos:
    """A command that tells when it has begun and ends when it is told a word."""

    def __init__(self, folder: Path) -> None:
        self.begun, self.hold = folder / "begun", folder / "hold"
        os.mkfifo(self.begun)
        os.mkfifo(self.hold)

    async def wait(self) -> int:
        """Its process, once it has begun."""
        return int(await asyncio.wait_for(asyncio.to_thread(self.begun.read_text), PATIENCE_S))

    async def end(self, word: str) -> None:
        await asyncio.wait_for(asyncio.to_thread(self.hold.write_text, word), PATIENCE_S)


@contextmanager
def a_worker(url: str, environment: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    folder.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER],
        env=own_environment(SERVER=url, PLACE=environment, WORKDIR=str(folder)),
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE_S)


@pytest.fixture
def fifos(tmp_path: Path) -> Fifos:
    return Fifos(tmp_path)


@pytest.fixture
def flags(tmp_path: Path, fifos: Fifos) -> list[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "work").mkdir()
    own = setup(tmp_path / "work", HOLDING.format(begun=fifos.begun, hold=fifos.hold))
    return ["--setup", own, "--model", "*=scripted:any", "--port", str(port)]


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A lease that runs out soon. Not in the folder that is worked in, where it would not be heeded."""
    (tmp_path / "config.toml").write_text("[server]\nworker_lease_s = 3\n")
    return str(tmp_path / "config.toml")


@pytest.mark.slow
async def test_a_worker_that_is_killed_gives_way_to_another(
    tmp_path: Path, fifos: Fifos, flags: list[str], config: str
) -> None:
    with serving(tmp_path / "work", *flags, GODWIT_CONFIG=config) as server:
        async with async_client(server.url) as client:
            agent, environment = await a_place(client)
            session = await client.beta.sessions.create(
                agent=agent, environment_id=environment, initial_events=[said("Go.")]
            )
            with a_worker(server.url, environment, tmp_path / "one") as first:
                command = await fifos.wait()
                first.kill()
                first.wait(PATIENCE_S)
                os.kill(command, signal.SIGKILL)  # what it has left
            with a_worker(server.url, environment, tmp_path / "two"):
                await fifos.wait()
                (item,) = [one async for one in client.beta.environments.work.list(environment)]
                assert item.state in ("starting", "active")
                await fifos.end("words")
                assert results(await finished(client, session.id)) == ["words"]


@pytest.mark.slow
async def test_a_server_that_is_killed_finds_its_worker_again(
    tmp_path: Path, fifos: Fifos, flags: list[str], config: str
) -> None:
    with serving(tmp_path / "work", *flags, GODWIT_CONFIG=config) as server:
        async with async_client(server.url) as client:
            agent, environment = await a_place(client)
            session = await client.beta.sessions.create(
                agent=agent, environment_id=environment, initial_events=[said("Go.")]
            )
        async with working(server.url, environment, tmp_path / "there"):
            await fifos.wait()
            await asyncio.to_thread(server.end, signal.SIGKILL)
            await fifos.end("words")
            with serving(tmp_path / "work", *flags, GODWIT_CONFIG=config) as again:
                async with async_client(again.url) as client:
                    assert results(await finished(client, session.id)) == ["words"]
                    (item,) = [one async for one in client.beta.environments.work.list(environment)]
                    assert item.data.id == session.id


@pytest.mark.slow
async def test_what_was_queued_when_the_server_was_killed_is_handed_out_by_the_next(
    tmp_path: Path, fifos: Fifos, flags: list[str], config: str
) -> None:
    with serving(tmp_path / "work", *flags, GODWIT_CONFIG=config) as server:
        async with async_client(server.url) as client:
            agent, environment = await a_place(client)
            session = await client.beta.sessions.create(
                agent=agent, environment_id=environment, initial_events=[said("Go.")]
            )
        await asyncio.to_thread(server.end, signal.SIGKILL)
    with serving(tmp_path / "work", *flags, GODWIT_CONFIG=config) as server:
        async with async_client(server.url) as client, working(server.url, environment, tmp_path / "there"):
            await fifos.wait()
            await fifos.end("words")
            assert results(await finished(client, session.id)) == ["words"]
