"""CopilotKit's runtime before a server: what a web application with it does, it does against a session of ours.

Its client is the one of before 1.0. The runtime keeps what it has seen of each thread, and hands that to who connects.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from godwit.core.errors import ModelRefused
from godwit.models.script import call, fail, say, think
from tests.patience import PATIENCE_S

from .conftest import ASKING, Gate, Start, approved
from .front import CLIENTS, Json, driver_in
from .wire import Wire, asking, said, text_of, types

pytestmark = pytest.mark.slow  # its packages are large, so only slow tests have them

DRIVER = Path(__file__).parents[2] / "clients" / "copilotkit.mjs"
EMPTY: Json = {"version": None, "tools": [], "context": [], "state": {}, "forwardedProps": {}}
LOOK: Json = {"name": "look", "description": "", "parameters": {"type": "object", "properties": {}}}


@contextmanager
def copilotkit(url: str) -> Iterator[Wire]:
    """The runtime, with the agent at this address as its `default`."""
    folder, node = CLIENTS / "copilotkit", shutil.which("node")
    if node is None or not (folder / ".made").exists():
        pytest.skip("there is no node, or scripts/clients has not made this client")
    process = subprocess.Popen(
        [node, driver_in(folder, DRIVER).name, url],
        cwd=folder,
        env={**os.environ, "NO_PROXY": "127.0.0.1", "COPILOTKIT_TELEMETRY_DISABLED": "true"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        assert port.isdigit(), port
        yield Wire(f"http://127.0.0.1:{port}/api/copilotkit")
    finally:
        process.communicate(timeout=PATIENCE_S)


RUN, CONNECT = "/agent/default/run", "/agent/default/connect"


async def test_it_runs_an_agent(start: Start) -> None:
    site = start(think("Grey.") + say("It rains."), "Still.")
    with copilotkit(site.url) as kit:
        async with kit:
            info = (await kit.get("/info")).json()
            first = await kit.run(asking("t1", said("Oslo?"), **EMPTY), RUN)
            second = await kit.run(asking("t1", said("Oslo?"), said("And now?", "u2"), run="run_2", **EMPTY), RUN)
            replayed = await kit.run(asking("t1", run="run_3", **EMPTY), CONNECT)
    assert list(info["agents"]) == ["default"]
    assert (text_of(first), text_of(second)) == ("It rains.", "Still.")
    assert "REASONING_MESSAGE_CONTENT" in types(first)
    assert text_of(replayed) == "It rains.Still."
    assert site.count("user.message") == 2


async def test_it_tells_of_tools_on_both_sides(start: Start) -> None:
    site = start(call("bash", command="echo hi"), call("look"), "Birds.")
    asked = {**EMPTY, "tools": [LOOK]}
    with copilotkit(site.url) as kit:
        async with kit:
            first = await kit.run(asking("t1", said("Go."), **asked), RUN)
            ids = [event["toolCallId"] for event in first if event["type"] == "TOOL_CALL_START"]
            assert [e["toolCallId"] for e in first if e["type"] == "TOOL_CALL_RESULT"] == ids[:1]
            seen: Json = {"id": "res-1", "role": "tool", "toolCallId": ids[1], "content": "Birds"}
            second = await kit.run(asking("t1", said("Go."), seen, run="run_2", **asked), RUN)
    assert first[-1]["type"] == "RUN_FINISHED"
    assert text_of(second) == "Birds."


async def test_it_answers_an_interrupt(start: Start) -> None:
    site = start(call("bash", command="echo hi"), "It says hi.", permissions=ASKING)
    with copilotkit(site.url) as kit:
        async with kit:
            first = await kit.run(asking("t1", said("Go."), **EMPTY), RUN)
            [asked] = first[-1]["outcome"]["interrupts"]
            again = {**EMPTY, "resume": [approved(asked)]}
            second = await kit.run(asking("t1", said("Go."), run="run_2", **again), RUN)
    assert (text_of(second), second[-1]["type"]) == ("It says hi.", "RUN_FINISHED")


async def test_its_stop_is_a_client_that_has_gone(start: Start) -> None:
    """All it can do is to end its request; whether the run ends with that was said when it began."""
    gate = Gate()
    site = start(say("It is ") + gate.hold() + say("never said."))
    asked = {**EMPTY, "forwardedProps": {"godwit": {"onDisconnect": "stop"}}}
    with copilotkit(site.url) as kit:
        async with kit, kit.opened(asking("t1", said("Go."), **asked), RUN) as reading:
            await reading.until("TEXT_MESSAGE_CONTENT")
            await gate.reached()
            stopped = await kit.post("/agent/default/stop/t1")
            assert stopped.json()["stopped"] is True
            assert await site.settled() == "interrupted"
            await reading.all()


async def test_who_connects_to_it_meanwhile_sees_the_rest(start: Start) -> None:
    gate = Gate()
    site = start(say("It ") + gate.hold() + say("rains."))
    with copilotkit(site.url) as kit:
        async with kit, kit.opened(asking("t1", said("Go."), **EMPTY), RUN) as reading:
            await reading.until("TEXT_MESSAGE_CONTENT")
            async with kit.opened(asking("t1", run="run_2", **EMPTY), CONNECT) as other:
                await other.until("TEXT_MESSAGE_CONTENT")
                gate.open(site)
                assert text_of(await other.all()) == "It rains."
            assert text_of(await reading.all()) == "It rains."


async def test_a_failure_is_an_error_of_the_run(start: Start) -> None:
    site = start(fail(ModelRefused("no such model")))
    with copilotkit(site.url) as kit:
        async with kit:
            events = await kit.run(asking("t1", said("Go."), **EMPTY), RUN)
    assert types(events).count("RUN_ERROR") == 1
