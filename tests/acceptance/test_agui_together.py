"""One session, four clients at once: AG-UI's of both generations, the official one of Managed Agents, and the command line.

It is sent from one, steered from a second, approved in the two others, followed in all; and its server is killed meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest

from godwit.core.ids import SessionId
from godwit.surfaces.managed_agents.event_ids import place_of_id
from tests.patience import PATIENCE_S
from tests.surfaces.agui.front import Agent, Front, Running, front as made
from tests.surfaces.agui.wire import said
from tests.surfaces.api.proxy import cutting
from tests.surfaces.server.process import Process, setup
from tests.surfaces.terminal import Command

pytestmark = pytest.mark.slow

ASKING: Any = {
    "type": "agent_toolset_20260401",
    "default_config": {"enabled": True, "permission_policy": {"type": "always_ask"}},
}
CODE = """
    import asyncio, os, threading

    from godwit.models.script import Reply, ScriptedModel, call, hold, say

    def gate(name):
        loop, opened = asyncio.get_running_loop(), asyncio.Event()

        def wait():
            with open(name) as pipe:
                pipe.read()
            loop.call_soon_threadsafe(opened.set)

        threading.Thread(target=wait, daemon=True).start()
        return hold(opened)

    async def runtime():
        awake = "AWAKE" in os.environ
        first = Reply() if awake else gate("first")
        last = Reply() if awake else gate("never")
        calls = call("bash", command="echo one >> done") + call("bash", command="echo two >> done")
        turns = [say("I look ") + first + say("around.") + calls, say("Half of it ") + last + say("and the rest.")]
        return {"models": {"scripted:any": ScriptedModel(turns, "scripted:any")}}
"""


class Vendor:
    """The official client of Managed Agents, which follows a session in a thread and comes back when it is cut off."""

    def __init__(self, url: str) -> None:
        self.client = anthropic.Anthropic(
            base_url=url, api_key="any", max_retries=9, _strict_response_validation=True, timeout=PATIENCE_S
        )
        self.heard: list[Any] = []
        self._news = threading.Condition()
        self._over = False

    @contextmanager
    def following(self, session: str) -> Iterator[threading.Thread]:
        thread = threading.Thread(target=self._follow, args=(session,), name="vendor")
        thread.start()
        try:
            yield thread
        finally:
            self._over = True
            self.client.close()
            thread.join(PATIENCE_S)

    def _follow(self, session: str) -> None:
        events = self.client.beta.sessions.events
        while not self._over:
            try:
                with events.stream(session) as stream:
                    for missed in events.list(session):  # what happened while nobody was there
                        self._hear(missed)
                    while not self._over:
                        self._hear(next(stream))
            except (anthropic.APIError, httpx2.HTTPError, StopIteration):
                pass  # cut off

    def _hear(self, event: Any) -> None:
        with self._news:
            if event.id not in [one.id for one in self.heard]:
                self.heard.append(event)
            self._over = self._over or (event.type == "session.status_idle" and event.stop_reason.type == "end_turn")
            self._news.notify_all()

    def until(self, kind: str, times: int = 1) -> list[Any]:
        """Wait for so many events of a kind."""

        def found() -> list[Any]:
            return [event for event in self.heard if event.type == kind]

        with self._news:
            assert self._news.wait_for(lambda: len(found()) >= times, PATIENCE_S), [one.type for one in self.heard]
            return found()


class Follower:
    """The command line, which follows a session and prints what is in its log."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.lines: list[dict[str, Any]] = []
        self._process = process

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        assert self._process.stdout is not None
        while True:
            line = await asyncio.wait_for(self._process.stdout.readline(), PATIENCE_S)
            assert line, self.lines
            self.lines.append(json.loads(line))
            if wanted(self.lines[-1]):
                return self.lines[-1]

    async def end(self) -> None:
        self._process.send_signal(signal.SIGINT)
        await asyncio.wait_for(self._process.communicate(), PATIENCE_S)


@asynccontextmanager
async def following(command: Command, session: str, url: str) -> AsyncIterator[Follower]:
    process = await command.start("log", session, "--follow", "--json", GODWIT_SERVER=url)
    follower = Follower(process)
    try:
        yield follower
    finally:
        await follower.end()


@contextmanager
def servers(folder: Path) -> Iterator[Callable[..., Process]]:
    """Starts one after the other, over the same database."""
    flags = ("--setup", setup(folder, CODE), "--model", "*=scripted:any")
    started: list[Process] = []

    def start(**env: str) -> Process:
        started.append(Process(folder, *flags, **env))
        return started[-1]

    try:
        yield start
    finally:
        for process in started:
            process.close()


@pytest.fixture
def front() -> Iterator[Front]:
    with made() as front:
        yield front


async def follow(agent: Agent) -> Running:
    """Follow what goes on, after what it was asked was answered elsewhere."""
    await agent.forget()
    return agent.connect()


async def test_four_clients_on_one_session(tmp_path: Path, front: Front) -> None:
    for name in ("first", "never"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "cli").mkdir()
    command = Command(tmp_path / "cli")
    with servers(tmp_path) as start:
        server = await asyncio.to_thread(start)
        async with cutting(server.url, 0, most=0) as (url, proxy):
            vendor = Vendor(url)
            sessions = vendor.client.beta.sessions
            agent = await asyncio.to_thread(
                lambda: vendor.client.beta.agents.create(name="Bird", model="claude-opus-5", tools=[ASKING])
            )
            place = await asyncio.to_thread(lambda: vendor.client.beta.environments.create(name="here"))
            session = (await asyncio.to_thread(lambda: sessions.create(agent=agent.id, environment_id=place.id))).id
            new = await front.agent(f"{url}/agui/{agent.id}", session)
            old = await front.agent(f"{url}/agui/{agent.id}", session, version="0.x")
            async with following(command, session, url) as terminal:
                with vendor.following(session) as thread:
                    # Sent from one ...
                    await new.add_message(said("Oslo?"))
                    first = new.start()
                    await first.until("TEXT_MESSAGE_CONTENT")
                    # ... steered from a second ...
                    await old.set_messages([said("Oslo?"), said("No, Bergen.", "u2")])
                    second = old.start()
                    await second.until("TEXT_MESSAGE_CONTENT")
                    await terminal.until(lambda line: line["type"] == "user.message" and "Bergen" in str(line["content"]))
                    await asyncio.to_thread((tmp_path / "first").write_text, "go")
                    asked = [(await one.end()).pending_interrupts for one in (first, second)]
                    assert asked[0] == asked[1]
                    assert len(asked[0]) == 2
                    # ... and approved in the two others.
                    uses = await asyncio.to_thread(vendor.until, "agent.tool_use", 2)
                    allow: Any = {"type": "user.tool_confirmation", "tool_use_id": uses[0].id, "result": "allow"}
                    await asyncio.to_thread(lambda: sessions.events.send(session, events=[allow]))
                    approved = await command.run("approve", session, asked[0][1]["id"], GODWIT_SERVER=url)
                    assert approved.code == 0, approved.err

                    watching = [await follow(one) for one in (new, old)]
                    for one in watching:
                        await one.until(lambda event: event["type"] == "TEXT_MESSAGE_CONTENT" and "Half" in event["delta"])
                    assert await asyncio.to_thread(server.end, signal.SIGKILL) == -signal.SIGKILL
                    for one in watching:
                        assert "RUN_FINISHED" not in (await one.end()).types()
                    second_server = await asyncio.to_thread(start, AWAKE="1")
                    proxy.to(second_server.url)

                    ends = [await (await follow(one)).end() for one in (new, old)]
                    await terminal.until(lambda line: line["type"] == "run.finished")
                    await asyncio.to_thread(thread.join, PATIENCE_S)
                    assert not thread.is_alive()
                    late = await (await front.agent(f"{url}/agui/{agent.id}", session)).connect().end()

    # All have the same messages, under the same ids, in the same order, whenever they came.
    for ran in (*ends, late):
        assert ran.error is None
        assert ran.end["type"] == "RUN_FINISHED"
    assert ends[0].messages == ends[1].messages == late.messages
    messages = late.messages
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool", "user", "assistant"]
    assert [messages[0]["content"], messages[4]["content"]] == ["Oslo?", "No, Bergen."]
    assert messages[-1]["content"] == "Half of it and the rest."
    # The command line has them in the log, at these places ...
    log = terminal.lines
    assert [line["seq"] for line in log] == list(range(1, log[-1]["seq"] + 1))
    answers = [line for line in log if line["type"] == "agent.message"]
    assert [line["message"]["id"] for line in answers] == [messages[1]["id"], messages[5]["id"]]
    results = [line for line in log if line["type"] == "tool.finished"]
    calls = [call["id"] for call in messages[1]["toolCalls"]]
    assert sorted(line["call"] for line in results) == sorted(calls)
    assert [line["call"] for line in results] == [message["toolCallId"] for message in messages[2:4]]
    # ... and the vendor's client has heard of the same places, in their order.
    seqs = []
    for event in vendor.heard:
        at = place_of_id(SessionId(session), event.id)
        assert at is not None
        if event.type in ("agent.message", "agent.tool_result"):
            seqs.append(at[0])
    assert len(seqs) == 4
    assert seqs == sorted(seqs)
    assert {line["seq"] for line in results} <= set(seqs)
    # What was done was done once, and the run is one.
    assert [line["type"] for line in log].count("run.started") == 1
    assert max(line["attempt"] for line in log if line["type"] == "run.claimed") == 2
    assert [line["type"] for line in log].count("tool.started") == 2
