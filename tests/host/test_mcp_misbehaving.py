"""A server that does what a server should not, as a program and over HTTP: bounds, and what only a program can do. What each
kind of fault costs is in `test_mcp_faults.py`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
from tests.engine.conftest import MODEL, Bench, data, within
from tests.parts import mcp_program

from godwit import Agent, McpServer, McpSettings
from godwit.core.events import ArtifactStored, McpUnavailable, ToolFinished
from godwit.core.messages import text_of
from godwit.engine.session import Session
from godwit.host.mcp import connection as mcp_connection, stdio as mcp_stdio
from godwit.models.script import call, say

PROGRAM = mcp_program.__file__

Serve = Callable[[str], Awaitable[tuple[McpServer, McpSettings]]]


@pytest.fixture(params=["stdio", "http"])
async def serve(request: pytest.FixtureRequest) -> AsyncIterator[Serve]:
    """Makes the server that misbehaves in a mode."""
    started: list[subprocess.Popen[bytes]] = []

    def start(words: list[str]) -> int:
        command = [sys.executable, PROGRAM, "--http", *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        started.append(process)
        assert process.stdout is not None
        return int(process.stdout.readline() or 9)

    async def made(mode: str) -> tuple[McpServer, McpSettings]:
        words = [mode] if mode else []
        if request.param == "stdio":
            server = McpServer("prog", command=sys.executable, args=(PROGRAM, *words), timeout_s=0.7, connect_timeout_s=1.5)
            return server, McpSettings()
        port = await asyncio.to_thread(start, words)
        here = f"127.0.0.1:{port}"
        server = McpServer("prog", f"http://{here}/mcp", timeout_s=0.7, connect_timeout_s=1.5)
        return server, McpSettings(reach=(here,))

    yield made
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


async def session_of(bench: Bench, serve: Serve, mode: str = "", *calls: Any, wait_s: float = 5.0) -> Session:
    server, settings = await serve(mode)
    settings = msgspec.structs.replace(settings, wait_s=wait_s)
    runtime = await bench.runtime([*calls, say("Done.")], mcp=settings)
    return await runtime.start_session(Agent("tester", model=MODEL, mcp_servers=[server]))


async def run(session: Session) -> list[ToolFinished]:
    result = await within(session.prompt_and_wait("Go."))
    assert result.text == "Done.", result
    return await data(session, ToolFinished)


async def test_one_that_never_answers_keeps_a_run_waiting_only_shortly(bench: Bench, serve: Serve) -> None:
    session = await session_of(bench, serve, "mute", wait_s=0.3)
    await run(session)
    (told,) = await data(session, McpUnavailable)
    assert told.retrying
    assert "it has not answered yet" in told.message


async def test_a_large_result_becomes_an_artifact(bench: Bench, serve: Serve) -> None:
    session = await session_of(bench, serve, "", call("mcp__prog__large"))
    (large,) = await run(session)
    assert len(text_of(large.content)) < 100_000
    assert await data(session, ArtifactStored)


# --- what only a program can do ---------------------------------------------------------------------------------------


async def program_session(bench: Bench, mode: str, *calls: Any) -> Session:
    server = McpServer("prog", command=sys.executable, args=(PROGRAM, *([mode] if mode else [])), timeout_s=0.7)
    runtime = await bench.runtime([*calls, say("Done.")])
    return await runtime.start_session(Agent("tester", model=MODEL, mcp_servers=[server]))


async def test_what_is_no_message_on_its_stdout_is_passed_over(bench: Bench) -> None:
    session = await program_session(bench, "chatty", call("mcp__prog__junk"), call("mcp__prog__echo", text="here"))
    junk, echo = await run(session)
    assert [text_of(one.content) for one in (junk, echo)] == ["after junk", "here"]


async def test_a_line_without_end_ends_the_connection_and_no_more(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_stdio, "LINE_BYTES", 200_000)
    script = [
        call("mcp__prog__huge", bytes=150_000),
        call("mcp__prog__huge", bytes=1_000_000),
        call("mcp__prog__echo", text="here"),
    ]
    session = await program_session(bench, "", *script)
    fits, huge, echo = await run(session)
    assert fits.status == "ok"
    assert "it says more than 200000 bytes in one line" in text_of(huge.content)
    assert text_of(echo.content) == "here"


async def test_nothing_but_junk_has_an_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_stdio, "JUNK_BYTES", 100_000)
    server = McpServer("prog", command=sys.executable, args=("-c", "while True: print('debug ' * 100)"))
    runtime = await bench.runtime([say("Done.")])
    session = await runtime.start_session(Agent("tester", model=MODEL, mcp_servers=[server]))
    await run(session)
    (told,) = await data(session, McpUnavailable)
    assert "it has said 100000 bytes on its stdout that are no message" in told.message


async def test_one_that_reads_nothing_holds_up_nobody(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_stdio, "UNREAD_BYTES", 100_000)
    texts = [letter * 200_000 for letter in "abc"]
    session = await program_session(bench, "deaf", *(call("mcp__prog__echo", text=text) for text in texts))
    results = await run(session)
    assert "ok" not in [one.status for one in results]
    assert any("it does not read what it is told" in text_of(one.content) for one in results)


async def test_a_list_that_changes_all_the_time_is_read_at_a_pace(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_connection, "RELIST_S", 0.05)
    calls = [call("mcp__prog__echo", text=str(n)) for n in range(12)]
    session = await program_session(bench, "changing", *calls)
    results = await run(session)
    assert [text_of(one.content) for one in results] == [str(n) for n in range(12)]
