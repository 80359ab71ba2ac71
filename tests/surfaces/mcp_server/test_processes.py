"""MCP with real processes: `godwit mcp serve` over its standard streams, and servers and clients that are killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import mcp
import mcp_types as types
import pytest
from mcp.client.stdio import stdio_client

from tests.patience import PATIENCE_S
from tests.surfaces.server.process import serving
from tests.surfaces.terminal import environment

from .clients import MODEL, MODES, Mode, approving, over_http, over_stdio, stdio_parameters, structured, text_of

SETUP = """
    import asyncio
    import sys

    from godwit.models.script import ScriptedModel, call, hold, say

    if "mcp" in sys.argv:
        print("noise that is not the protocol")


    def runtime():
        asks = ScriptedModel([say("I look.") + call("bash", command="echo hi"), say("It says hi.")])
        return {"models": {"scripted:any": asks, "scripted:slow": ScriptedModel([say("so") + hold(asyncio.Event())])}}
"""
SLOW = """\
---
name: slow
description: Takes its time.
model: scripted:slow
---
Take your time.
"""
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    made.mkdir()
    (made / "own_setup.py").write_text(textwrap.dedent(SETUP))
    return made


FLAGS = ("--setup", "own_setup:runtime")


class Raw:
    """`godwit mcp serve`, spoken to by hand."""

    def __init__(self, folder: Path, *flags: str, **env: str) -> None:
        parameters = stdio_parameters(folder, *FLAGS, *flags)
        self.process = subprocess.Popen(
            [parameters.command, *parameters.args],
            cwd="/",
            env={**environment(), **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def say(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def ended(self) -> tuple[int, bytes, bytes]:
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, out, err


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
async def test_a_server_that_is_killed_while_an_approval_waits_loses_nothing(folder: Path, mode: Mode) -> None:
    async with over_stdio(folder, mode, *FLAGS) as client:
        waiting = structured(await client.call_tool("coder", {"prompt": "do it"}))
        assert waiting["status"] == "waiting"
        pid = next(int(name) for name in os.listdir("/proc") if name.isdigit() and _serves(name, folder))
        os.kill(pid, signal.SIGKILL)
    async with over_stdio(folder, mode, *FLAGS, answers=lambda _: approving()) as client:
        result = await client.call_tool("session_wait", {"session": waiting["session"]})
        assert text_of(result) == "It says hi."


def _serves(pid: str, folder: Path) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"serve" in words and os.fsencode(folder) in words


async def test_a_state_is_good_after_its_server_was_killed(folder: Path) -> None:
    """The client of the newer protocol holds its call; another process on the same database goes on with it."""
    (folder / "make.py").write_text(
        "import asyncio, msgspec, godwit\n"
        "from godwit.host.agent_registry import AgentRegistry\n"
        "async def main():\n"
        "    async with await godwit.Runtime.open('g.db', check_models=False) as runtime:\n"
        f"        spec = godwit.Agent('coder', model='{MODEL}', tools=['bash'], permissions={{'bash': 'ask'}}).spec\n"
        "        await AgentRegistry(runtime.store).create(msgspec.structs.replace(spec, title='coder'), tenant=None)\n"
        "asyncio.run(main())\n"
    )
    made = await asyncio.create_subprocess_exec(sys.executable, "make.py", cwd=folder, env=environment())
    assert await made.wait() == 0
    flags = ("--setup", "own_setup:runtime")
    env = {"GODWIT_DB": os.fspath(folder / "g.db")}
    with serving(folder, *flags, **env) as server:
        async with over_http(server.url, answers=lambda _: approving()) as client:
            await client.list_tools()
            asked = await client.session.call_tool("coder", {"prompt": "do it"}, allow_input_required=True)
            assert isinstance(asked, types.InputRequiredResult)
            assert asked.input_requests is not None
            server.process.kill()
            server.process.wait(PATIENCE_S)
    (action,) = asked.input_requests
    with serving(folder, *flags, **env) as server:
        async with over_http(server.url, answers=lambda _: approving()) as client:
            await client.list_tools()
            result = await client.session.call_tool(
                "coder", {"prompt": "do it"}, request_state=asked.request_state, input_responses={action: approving()}
            )
            assert text_of(result) == "It says hi."
            sessions = structured(await client.call_tool("session_list", {}))["sessions"]
            assert len(sessions) == 1
        assert server.end() == 0


@pytest.mark.parametrize("mode", [pytest.param("auto", marks=pytest.mark.slow), "legacy"])
async def test_the_agents_of_a_folder(folder: Path, mode: Mode) -> None:
    agents = folder / ".godwit" / "agents"
    agents.mkdir(parents=True)
    (agents / "slow.md").write_text(SLOW)
    asked: list[str] = []

    def answers(params: types.ElicitRequestFormParams) -> types.ElicitResult:
        asked.append(params.message)
        return approving()

    async with over_stdio(folder, mode, *FLAGS, answers=answers) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert "slow" not in tools  # what a folder brings does not count before it is trusted
        coder = tools["coder"]
        assert coder.description is not None
        assert os.fspath(folder) in coder.description
        result = await client.call_tool("coder", {"prompt": "do it"})
        assert text_of(result) == "It says hi."
        assert "echo hi" in asked[0]
    assert (folder / ".godwit" / "godwit.db").exists()


@pytest.mark.slow
async def test_what_a_trusted_folder_brings(folder: Path, tmp_path: Path) -> None:
    brought = folder / ".godwit"
    for name in ("agents", "commands"):
        (brought / name).mkdir(parents=True)
    (brought / "agents" / "slow.md").write_text(SLOW)
    (brought / "commands" / "greet.md").write_text("---\ndescription: Greets.\n---\nSay hello to $ARGUMENTS.\n")
    trust = os.fspath(tmp_path / "trust")
    trusting = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "godwit", "trust", os.fspath(folder), env=environment(GODWIT_TRUST=trust)
    )
    assert await trusting.wait() == 0
    parameters = stdio_parameters(folder, *FLAGS, "-m", "scripted:slow")
    parameters.env = environment(GODWIT_TRUST=trust)
    async with mcp.Client(stdio_client(parameters)) as client:
        assert {"coder", "slow"} <= {tool.name for tool in (await client.list_tools()).tools}
        assert [prompt.name for prompt in (await client.list_prompts()).prompts] == ["delegate", "greet"]
        said = await client.get_prompt("greet", {"arguments": "Ada"})
        assert "Say hello to Ada." in str(said.messages[0].content)
        calling = asyncio.create_task(client.call_tool("slow", {"prompt": "go"}))
        while not (sessions := structured(await client.call_tool("session_list", {}))["sessions"]):
            await asyncio.wait([calling], timeout=0.05)
        calling.cancel()  # over standard streams both generations say that
        await asyncio.gather(calling, return_exceptions=True)
        result = await client.call_tool("session_wait", {"session": sessions[0]["session"]})
        assert structured(result)["outcome"] == "interrupted"


def test_nothing_but_the_protocol_is_said_and_it_ends_with_its_client(folder: Path) -> None:
    server = Raw(folder)
    server.say(INITIALIZE)
    assert server.hear()["result"]["serverInfo"]["name"] == "godwit"
    server.say({"jsonrpc": "2.0", "method": "notifications/initialized"})
    server.say({"jsonrpc": "2.0", "id": 2, "method": "ping"})
    assert server.hear() == {"jsonrpc": "2.0", "id": 2, "result": {}}
    code, out, err = server.ended()
    assert (code, out) == (0, b"")
    assert b"noise" in err


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_it_ends_when_it_is_told_to_while_it_works(folder: Path, number: int) -> None:
    server = Raw(folder, "-m", "scripted:slow")
    server.say(INITIALIZE)
    server.hear()
    server.say({"jsonrpc": "2.0", "method": "notifications/initialized"})
    meta = {"progressToken": "p"}
    called = {"name": "coder", "arguments": {"prompt": "go"}, "_meta": meta}
    server.say({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": called})
    assert server.hear()["method"] == "notifications/progress"
    server.process.send_signal(number)
    code, _, err = server.ended()
    assert (code, b"Traceback" in err) == (0, False), err.decode()


@pytest.mark.slow
def test_what_keeps_it_from_serving_is_told(folder: Path) -> None:
    for flags, words in (
        (("--agent", "nobody"), b"there is no agent 'nobody'"),
        (("-m", "nowhere:none"), b"nowhere"),
        (("extra",), b"means nothing to serve"),
    ):
        code, out, err = Raw(folder, *flags).ended()
        assert code != 0
        assert out == b""
        assert words in err, err.decode()
