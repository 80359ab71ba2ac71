"""MCP servers that are programs: real processes, spoken to over stdin and stdout."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.engine.conftest import MODEL, Bench, data, within
from tests.parts import mcp_program

from godwit import Agent, Labels, McpServer, McpSettings
from godwit.core.errors import ConfigurationError
from godwit.core.events import McpUnavailable, ToolFinished
from godwit.core.messages import text_of
from godwit.engine.session import Session
from godwit.host.auth_store import AuthStore
from godwit.host.mcp import stdio as mcp_stdio
from godwit.models.script import call, say

PROGRAM = mcp_program.__file__


def program(mode: str = "", **more: Any) -> McpServer:
    return McpServer("prog", command=sys.executable, args=(PROGRAM, *([mode] if mode else [])), **more)


async def session_of(bench: Bench, script: list[Any], server: McpServer, **more: Any) -> Session:
    runtime = await bench.runtime(script, mcp=more.pop("settings", McpSettings()))
    agent = Agent("tester", model=MODEL, mcp_servers=[server])
    return await runtime.start_session(agent, **more)


async def run(session: Session) -> list[ToolFinished]:
    await within(session.prompt_and_wait("Go."))
    return await data(session, ToolFinished)


async def about(session: Session, *names: str) -> dict[str, Any]:
    result = await session.tool("mcp__prog__about", {"names": list(names)})
    assert result.status == "ok", result
    return dict(json.loads(result.output))


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


async def until_true(condition: Callable[[], bool]) -> None:
    async def wait() -> None:
        while not condition():  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.01)

    await within(wait())


async def until_dead(pid: int) -> None:
    await until_true(lambda: not is_alive(pid))


async def test_a_program_is_a_server_whose_tools_are_called(bench: Bench) -> None:
    session = await session_of(
        bench, [call("mcp__prog__echo", text="hello"), call("mcp__prog__broken"), say("Done.")], program()
    )
    echo, broken = await run(session)
    assert (echo.status, text_of(echo.content)) == ("ok", "hello")
    assert (broken.status, text_of(broken.content)) == ("error", "it broke")


async def test_an_argument_that_is_null_in_place_of_being_left_out_is_left_out(bench: Bench) -> None:
    session = await session_of(bench, [], program())
    result = await session.tool("mcp__prog__keys", {"word": "w", "count": None, "maybe": None, "free": None})
    assert json.loads(result.output) == ["free", "maybe", "word"]
    refused = await session.tool("mcp__prog__keys", {"word": None})
    assert refused.status == "invalid"


async def test_it_gets_what_it_is_given_and_no_credential_of_ours(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "of this process")
    monkeypatch.setenv("SOME_WORD", "for all")
    monkeypatch.setenv("TICKETS", "secret-of-the-environment")
    server = program(env={"PLAIN": "yes", "TICKETS_TOKEN": "${TICKETS}", "MORE": "${OTHER}/${NONE:-nothing}"})
    settings = McpSettings(secrets={"OTHER": "secret-of-the-program"})
    session = await session_of(bench, [say("Done.")], server, settings=settings, workspace=str(tmp_path))
    told = await about(session, "SOME_API_KEY", "SOME_WORD", "PLAIN", "TICKETS_TOKEN", "MORE")
    assert told["env"] == {
        "SOME_API_KEY": None,
        "SOME_WORD": "for all",
        "PLAIN": "yes",
        "TICKETS_TOKEN": "secret-of-the-environment",
        "MORE": "secret-of-the-program/nothing",
    }
    assert told["cwd"] == str(tmp_path)
    _, spec = await session._store.get_agent(session.agent.name, session.agent.version)
    assert "secret-of-the" not in str(spec)


async def test_a_secret_may_be_a_stored_key(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    keys = AuthStore(tmp_path / "keys.json", keyring=False)
    await keys.set("tickets", "secret-of-the-store")
    await keys.set("docs", "also-stored")
    monkeypatch.setenv("docs", "secret-of-the-environment")
    server = program(env={"TICKETS_TOKEN": "${tickets}", "DOCS_TOKEN": "${docs}"})
    runtime = await bench.runtime([], auth=keys)
    session = await runtime.start_session(Agent("tester", model=MODEL, mcp_servers=[server]))
    told = await about(session, "TICKETS_TOKEN", "DOCS_TOKEN")
    assert told["env"] == {"TICKETS_TOKEN": "secret-of-the-store", "DOCS_TOKEN": "secret-of-the-environment"}


async def test_a_secret_that_is_nowhere_is_named(bench: Bench) -> None:
    session = await session_of(bench, [say("Done.")], program(env={"X_TOKEN": "${NOWHERE_TO_BE_FOUND}"}))
    await run(session)
    (told,) = await data(session, McpUnavailable)
    assert "env X_TOKEN refers to NOWHERE_TO_BE_FOUND" in told.message


async def test_a_secret_that_it_says_on_its_way_out_is_hidden(bench: Bench) -> None:
    settings = McpSettings(secrets={"OTHER": "secret-of-the-program"})
    script = "import os, sys; sys.exit('cannot log in with ' + os.environ['X_TOKEN'])"
    server = McpServer("prog", command=sys.executable, args=("-c", script), env={"X_TOKEN": "${OTHER}"})
    session = await session_of(bench, [say("Done.")], server, settings=settings)
    await run(session)
    (told,) = await data(session, McpUnavailable)
    assert "its program ended with exit code 1: cannot log in with [hidden]" in told.message


async def test_each_session_has_a_process_of_its_own_that_ends_with_the_runtime(bench: Bench) -> None:
    runtime = await bench.runtime([])
    one = await bench.start([], runtime=runtime, mcp_servers=[program()])
    two = await bench.start([], runtime=runtime, mcp_servers=[program()])
    first, again, second = [(await about(session))["pid"] for session in (one, one, two)]
    assert first == again != second
    left = int((await one.tool("mcp__prog__leave_child", {})).output)
    await within(runtime.close())
    assert not any(is_alive(pid) for pid in (first, second, left))


async def test_one_that_does_not_want_to_end_is_killed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_stdio, "GRACE_S", (0.05, 0.05))
    runtime = await bench.runtime([])
    session = await bench.start([], runtime=runtime, mcp_servers=[program("stays")])
    pid = (await about(session))["pid"]
    await within(runtime.close())
    assert not is_alive(pid)


def test_none_outlives_this_process_however_it_dies(tmp_path: Path) -> None:
    script = f"""
import asyncio, json, godwit
from godwit.models.script import ScriptedModel, say

async def main():
    runtime = await godwit.Runtime.open("{tmp_path}/g.db", models={{"scripted:x": ScriptedModel([say("Done.")])}})
    server = godwit.McpServer("prog", command={sys.executable!r}, args=({PROGRAM!r},))
    session = await runtime.start_session(godwit.Agent("a", model="scripted:x", mcp_servers=[server]))
    print((await session.tool("mcp__prog__about", {{}})).output, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        pid = json.loads(child.stdout.readline())["pid"]
        assert is_alive(pid)
        child.kill()
    asyncio.run(until_dead(pid))


async def test_one_that_dies_between_calls_is_started_again(bench: Bench) -> None:
    session = await session_of(bench, [say("Done.")], program())
    first = (await about(session))["pid"]
    os.kill(first, signal.SIGKILL)
    await until_dead(first)
    second = (await about(session))["pid"]
    assert second != first


async def test_one_that_dies_again_and_again_is_given_a_rest(bench: Bench) -> None:
    session = await session_of(bench, [], program())
    first = await session.tool("mcp__prog__crash", {})
    second = await session.tool("mcp__prog__crash", {})
    third = await session.tool("mcp__prog__crash", {})
    assert [one.status for one in (first, second, third)] == ["error"] * 3
    assert "its program ended with exit code 3: the disk is full" in first.output
    assert "its program ended with exit code 3" in second.output
    assert "is not connected: its program ended with exit code 3" in third.output


async def test_one_that_ends_at_a_message_it_does_not_know_is_spoken_to_as_of_old(bench: Bench) -> None:
    session = await session_of(bench, [call("mcp__prog__echo", text="hello"), say("Done.")], program("strict"))
    (echo,) = await run(session)
    assert (echo.status, text_of(echo.content)) == ("ok", "hello")


async def test_an_interrupt_is_told_to_it(bench: Bench, tmp_path: Path) -> None:
    mark = str(tmp_path / "waits")
    session = await session_of(bench, [call("mcp__prog__wait", path=mark), say("Done.")], program())
    running = asyncio.create_task(run(session))

    await until_true(lambda: os.path.exists(mark))
    await session.interrupt()
    await within(running)
    await until_true(lambda: os.path.exists(f"{mark}.cancelled"))


async def test_a_program_that_is_not_there_and_a_folder_that_is_not(bench: Bench) -> None:
    session = await session_of(bench, [say("Done.")], McpServer("prog", command="no-such-program-anywhere"))
    await run(session)
    (told,) = await data(session, McpUnavailable)
    assert "'no-such-program-anywhere' could not be started: no such file or directory" in told.message


async def test_none_is_started_for_a_tenant(bench: Bench) -> None:
    session = await session_of(bench, [say("Done.")], program(), labels=Labels(tenant="acme"))
    await run(session)
    (told,) = await data(session, McpUnavailable)
    assert "no programs are started on this host for sessions of tenants" in told.message


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"command": "x", "url": "https://x.example"}, "reached by one of the two"),
        ({"command": "x", "env": {"API_KEY": "abc"}}, "write ${NAME}"),
        ({"url": "https://x.example", "headers": {"Authorization": "Bearer abc"}}, "write ${NAME}"),
        ({"url": "https://x.example", "headers": {"Mcp-Session-Id": "abc"}}, "no name of a header"),
        ({"url": "https://x.example", "args": ("x",)}, "has no command"),
        ({"transport": "stdio"}, "needs a command"),
        ({"transport": "sse", "command": "x"}, "has no command"),
        ({}, "or it has a command"),
        ({"command": "x", "args": ("a\0b",)}, "zero byte"),
        ({"url": "https://x.example", "connect_timeout_s": 0}, "more than 0 seconds"),
    ],
)
def test_servers_are_checked_where_they_are_written_down(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words.replace("$", r"\$").replace("{", r"\{")):
        McpServer("docs", **wrong)
