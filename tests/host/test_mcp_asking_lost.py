"""Questions of servers whose process, connection or server is gone when they are answered, and servers that do not wait."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.engine.conftest import MODEL, Bench, data, until_type
from tests.parts.mcp_asker import asker_site
from tests.parts.mcp_asking import ROOT, answers, asked, asking, calling, failure, heard, server_over, until_heard
from tests.parts.mcp_asking_script import SESSION

from godwit import Agent, McpServer, McpSettings
from godwit.core.events import ToolStarted
from godwit.engine.session import Session
from godwit.models.script import call

FIRST = ["accept", {"name": "Ada", "size": 3}]


@contextmanager
def killed_while_asking(database: Path, server: McpServer, settings: McpSettings, tool: str, steps: Any) -> Iterator[None]:
    """A process whose session has parked with a question, killed at once."""
    told = {**msgspec.to_builtins(server), "reach": list(settings.reach)}
    arguments = [str(database), json.dumps(told), tool, json.dumps(steps)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.parts.mcp_asking_script", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "parked\n"
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        yield
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "heard"


async def opened(bench: Bench, server: McpServer, settings: McpSettings) -> Session:
    """The session in this process."""
    runtime = await bench.runtime(["", "done"], mcp=settings)
    return await runtime.open_session(SESSION, agent=Agent("tester", model=MODEL, mcp_servers=[server]))


STEPS = [{"form": "Who?"}, {"say": "half"}, {"form": "Who else?"}]


@pytest.mark.parametrize(("way", "tool"), [("new-http", "ask"), ("new-stdio", "ask"), ("new-http", "read_mcp_resource")])
async def test_killed_and_answered_in_another_process_where_the_server_gave_its_state(
    bench: Bench, log: Path, way: str, tool: str
) -> None:
    with server_over(way, log) as (server, settings), killed_while_asking(bench.path, server, settings, tool, STEPS):
        session = await opened(bench, server, settings)
        (action,) = await session.approvals.pending()
        assert action.message == "The MCP server 'desk' asks: Who?"
        await session.answer(action.id, {"name": "Ada"})
        await session.answer((await asked(session, 2)).action, {"name": "Bea"})
        status, text = await failure(session)
        assert (status, json.loads(text)) == ("ok", [FIRST, ["accept", {"name": "Bea", "size": 3}]])
        await bench.close()
    assert heard(log) == ["call ", "resumed", "answered", "half", "resumed", "answered"], "it was begun once"


@pytest.mark.parametrize("way", ["old-http", "old-stdio"])
async def test_killed_and_answered_in_another_process_where_the_server_waited(
    bench: Bench,
    log: Path,
    way: str,
) -> None:
    with server_over(way, log) as (server, settings), killed_while_asking(bench.path, server, settings, "ask", STEPS):
        session = await opened(bench, server, settings)
        (action,) = await session.approvals.pending()
        await session.answer(action.id, {"name": "Ada"})
        status, text = await failure(session)
        assert status == "unknown"
        assert "Its outcome is unknown: it may or may not have taken effect." in text
        await bench.close()
    assert heard(log).count("call ") == 1, "it was not begun again"


@pytest.mark.parametrize("way", ["old-http", "old-stdio"])
async def test_killed_and_called_anew_with_the_answers_that_are_known(
    bench: Bench,
    log: Path,
    way: str,
) -> None:
    with server_over(way, log) as (server, settings), killed_while_asking(bench.path, server, settings, "again", STEPS):
        session = await opened(bench, server, settings)
        (action,) = await session.approvals.pending()
        await session.answer(action.id, {"name": "Ada"})
        second = await asked(session, 2)
        assert second.message == "The MCP server 'desk' asks: Who else?", "the first is not asked again"
        await session.answer(second.action, {"name": "Bea"})
        status, text = await failure(session)
        assert (status, json.loads(text)) == ("ok", [FIRST, ["accept", {"name": "Bea", "size": 3}]])
        await bench.close()
    assert [line for line in heard(log) if line != "cancelled"] == ["call ", "call ", "answered", "half", "answered"]


@pytest.mark.parametrize("way", ["old-stdio", "new-http"])
async def test_a_fork_of_a_session_that_waits_leaves_its_call_alone(bench: Bench, log: Path, way: str) -> None:
    with server_over(way, log) as (server, settings):
        runtime = await bench.runtime([calling("ask", [{"form": "Who?"}]), "done"], mcp=settings)
        session = await runtime.start_session(Agent("tester", model=MODEL, mcp_servers=[server]), workspace=bench.workspace)
        await session.prompt("Go.")
        action = await asked(session)
        await until_type(session, "run.parked")
        fork = await session.fork()
        assert await fork.approvals.pending() == []
        await fork.interrupt()
        await runtime.archive(fork.id)
        await session.answer(action.action, {"name": "Ada"})
        assert await answers(session) == [FIRST]
        await bench.close()
    assert heard(log).count("call ") == 1


@pytest.mark.parametrize("tool", ["ask", "again"])
async def test_a_server_dies_while_a_person_thinks(bench: Bench, log: Path, tool: str) -> None:
    async with asking(bench, log, "old-stdio", STEPS, tool=tool) as session:
        await session.prompt("Go.")
        action = await asked(session)
        await until_type(session, "run.parked")
        os.kill(int(Path(f"{log}.pid").read_text()), signal.SIGKILL)
        await session.answer(action.action, {"name": "Ada"})
        if tool == "again":
            await session.answer((await asked(session, 2)).action, {"name": "Bea"})
        status, text = await failure(session)
        if tool == "ask":
            assert (status, "outcome is unknown" in text) == ("unknown", True)
        else:
            assert (status, json.loads(text)[0]) == ("ok", FIRST)


@pytest.mark.parametrize("way", ["old-http", "old-stdio", "old-sse"])
async def test_a_server_that_does_not_wait_has_its_result(bench: Bench, log: Path, way: str) -> None:
    steps = [{"form": "Too late?", "impatient": 0.2}, {"say": "over"}]
    async with asking(bench, log, way, steps) as session:
        await session.prompt("Go.")
        action = await asked(session)
        await until_heard(log, "over")
        await session.answer(action.action, {"name": "Ada"})
        assert await failure(session) == ("ok", "[]")
        assert [one.resumed for one in await data(session, ToolStarted)] == [False, True]


@pytest.mark.parametrize("wants", [True, False])
async def test_a_server_that_wants_an_address_to_be_opened_before_it_does_anything(
    bench: Bench,
    log: Path,
    wants: bool,
) -> None:
    url = "https://login.example/start"
    steps = [{"required": {"mode": "url", "message": "Log in first.", "url": url, "elicitationId": "e"}}]
    async with asking(bench, log, "old-http", steps) as session:
        await session.prompt("Go.")
        for number in (1, 2):
            action = await asked(session, number)
            assert (action.url, action.message[-13:]) == (url, "Log in first.")
            if not wants:
                break
            await session.answer(action.action, "done")
        action = await asked(session, 3) if wants else action
        await session.deny(action.action, "no time")
        status, text = await failure(session)
        assert (status, text) == (
            "error",
            "the MCP server wants an address to be opened first, and the user does not want that: no time",
        )
    assert heard(log).count("call ") == (3 if wants else 1), "it was called again once the address had been opened"


async def test_a_held_call_outlives_an_idle_connection_and_silence(
    bench: Bench,
    log: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("godwit.host.mcp.http.READ_S", 0.3)
    with asker_site(old=True) as site:
        site.asker.log = str(log)
        settings = McpSettings(reach=(site.here,), connect_s=60, wait_s=60, idle_s=0.2)
        runtime = await bench.runtime([call("mcp__desk__ask", steps=[{"form": "Who?"}]), "done"], mcp=settings)
        agent = Agent("tester", model=MODEL, mcp_servers=[McpServer("desk", site.url)])
        session = await runtime.start_session(agent)
        await session.prompt("Go.")
        action = await asked(session)
        await until_type(session, "run.parked")
        await asyncio.sleep(1.5)  # longer than either, which is what this is about
        await session.answer(action.action, {"name": "Ada"})
        assert await failure(session) == ("ok", json.dumps([FIRST]))
        await bench.close()


async def test_a_call_is_held_for_so_long_alone(bench: Bench, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("godwit.host.mcp.held.HELD_S", 0.05)
    async with asking(bench, log, "old-http", STEPS) as session:
        await session.prompt("Go.")
        action = await asked(session)
        await until_heard(log, "cancelled")
        await session.answer(action.action, {"name": "Ada"})
        assert (await failure(session))[0] == "unknown"


async def test_a_session_that_is_archived_lets_go_of_its_calls(bench: Bench, log: Path) -> None:
    async with asking(bench, log, "old-http", STEPS) as session:
        await session.prompt("Go.")
        await asked(session)
        await until_type(session, "run.parked")
        await bench.runtimes[0].archive(session.id)
        await until_heard(log, "cancelled")
