"""A session whose tool is an agent of another godwit: what that asks, the person of this one is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import godwit
from godwit import Agent, McpServer, McpSettings
from godwit.core.events import ToolFinished
from godwit.core.messages import text_of
from godwit.models.script import ScriptedModel, call, say
from tests.patience import PATIENCE_S
from tests.surfaces.server.running import RunningServer, running

from .clients import MODEL, put


@pytest.fixture
def other(tmp_path: Path) -> Iterator[RunningServer]:
    model = ScriptedModel([say("I look.") + call("bash", command="echo hi"), say("It says hi.")])
    coder = Agent("coder", model=MODEL, tools=["bash"], permissions={"bash": "ask"})
    models = {MODEL: model, "scripted:talk": ScriptedModel(["Hello."])}
    talker = Agent("talker", model="scripted:talk")
    with running(tmp_path / "other.db", models=models, prepare=lambda runtime: put(runtime, coder, talker)) as found:
        yield found


def reaching(other: RunningServer) -> McpSettings:
    return McpSettings(reach=(other.url.removeprefix("http://"),))


async def test_an_agent_of_another_is_a_tool_of_a_session(other: RunningServer, tmp_path: Path) -> None:
    model = ScriptedModel([call("mcp__other__talker", prompt="hello"), "It greets."])
    async with await godwit.Runtime.open(tmp_path / "own.db", models={MODEL: model}, mcp=reaching(other)) as runtime:
        agent = Agent("asker", model=MODEL, mcp_servers=[McpServer("other", f"{other.url}/mcp")])
        session = await runtime.start_session(agent)
        assert (await asyncio.wait_for(session.send("go"), PATIENCE_S)).text == "It greets."
        (result,) = [event.data for event in await session.events() if isinstance(event.data, ToolFinished)]
    assert text_of(result.content) == "Hello."
    assert result.metadata["structured"]["outcome"] == "done"


@pytest.mark.skipif(find_spec("godwit.host.mcp.asking") is None, reason="sessions do not ask for their MCP servers yet")
async def test_an_approval_travels_through_both(other: RunningServer, tmp_path: Path) -> None:
    model = ScriptedModel([call("mcp__other__coder", prompt="do it"), "The other one is done."])
    settings = reaching(other)
    async with await godwit.Runtime.open(tmp_path / "own.db", models={MODEL: model}, mcp=settings) as runtime:
        agent = Agent("asker", model=MODEL, mcp_servers=[McpServer("other", f"{other.url}/mcp")])
        session = await runtime.start_session(agent)
        await session.prompt("go")

        async def parked() -> None:
            async for event in session.follow():
                if event.type == "run.parked":
                    return

        await asyncio.wait_for(parked(), PATIENCE_S)
        (action,) = await session.approvals.pending()
        assert action.kind == "question"
        assert action.message is not None
        assert "command: echo hi" in action.message
        assert await session.answer(action.id, {"decision": "approve"})
        result = await asyncio.wait_for(session.wait(), PATIENCE_S)
        assert result.text == "The other one is done."
        (done,) = [event.data for event in await session.events() if isinstance(event.data, ToolFinished)]
    assert text_of(done.content) == "It says hi."
