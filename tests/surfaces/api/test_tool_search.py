"""Which tools a model has to look for, over HTTP: by the remote handle, and in an agent that is sent."""

from __future__ import annotations

import pytest

import godwit
from godwit.core.errors import ConfigurationError
from godwit.core.tool_search import DeferredTool
from godwit.models.script import Script, call
from tests.engine.conftest import MODEL, within

from .remote import RemoteBench


async def test_a_remote_handle_tells_which_tools_are_looked_for(bench: RemoteBench) -> None:
    policy = godwit.ToolSearchPolicy("always", also=("g*", "read"))
    script: Script = [call("tool_search", query="select:grep"), "Done."]
    session = await bench.start(script, "read", "grep", "ls", tool_search=policy)
    assert await session.deferred_tools() == [DeferredTool("read"), DeferredTool("grep")]
    await within(session.send("Go."))
    assert await session.deferred_tools() == [DeferredTool("read"), DeferredTool("grep", True)]
    assert session.config.spec.tool_search == policy
    assert [event.data.metadata["found"] for event in await session.events() if event.type == "tool.finished"] == [["grep"]]


def test_a_policy_that_is_none_is_refused_before_it_is_sent() -> None:
    with pytest.raises(ConfigurationError, match="tool_search"):
        godwit.Agent("tester", model=MODEL, tool_search={"share": 7})
