"""MCP servers that are reached by the older HTTP transport, and headers that servers are sent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.engine.conftest import MODEL, Bench, data, within
from tests.parts.mcp_site import McpSite, mcp_site

from godwit import Agent, McpServer, McpSettings
from godwit.core.events import McpUnavailable, ToolFinished
from godwit.core.messages import text_of
from godwit.engine.session import Session
from godwit.models.script import call, say

# The official package's server leaves streams of its own open when its client goes.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


async def session_of(
    bench: Bench, site: McpSite, script: list[Any], settings: dict[str, Any] | None = None, **more: Any
) -> Session:
    runtime = await bench.runtime(script, mcp=McpSettings(reach=(site.here,), **(settings or {})))
    server = McpServer("docs", site.url, **{"transport": "sse", **more})
    return await runtime.start_session(Agent("tester", model=MODEL, mcp_servers=[server]))


async def run(session: Session) -> list[ToolFinished]:
    await within(session.prompt_and_wait("Go."))
    return await data(session, ToolFinished)


async def test_its_tools_are_called_with_the_token_for_its_address(bench: Bench) -> None:
    with mcp_site(sse=True, takes="token-of-the-site") as site:
        script = [call("mcp__docs__echo", text="hello"), call("mcp__docs__broken"), say("Done.")]
        session = await session_of(bench, site, script, {"tokens": {site.url: "token-of-the-site"}})
        echo, broken = await run(session)
        assert (echo.status, text_of(echo.content)) == ("ok", "hello")
        assert (broken.status, text_of(broken.content)) == ("error", "it broke")


async def test_an_interrupt_cancels_the_call_on_it(bench: Bench) -> None:
    with mcp_site(sse=True) as site:
        session = await session_of(bench, site, [call("mcp__docs__wait"), say("Done.")])
        running = asyncio.create_task(run(session))
        assert await asyncio.to_thread(site.waits.wait, 20)
        await session.interrupt()
        await within(running)
        assert await asyncio.to_thread(site.cancelled.wait, 20)


async def test_one_that_is_lost_is_connected_again(bench: Bench) -> None:
    with mcp_site(sse=True) as site:
        session = await session_of(bench, site, [say("Done.")])
        assert (await session.tool("mcp__docs__echo", {"text": "1"})).output == "1"
        await asyncio.to_thread(site.stop)
        site.start()
        assert (await session.tool("mcp__docs__echo", {"text": "2"})).output == "2"


async def test_one_that_refuses_the_credential_needs_another(bench: Bench) -> None:
    with mcp_site(sse=True, takes="another") as site:
        session = await session_of(bench, site, [say("Done.")])
        await run(session)
        (told,) = await data(session, McpUnavailable)
        assert told.trouble == "authentication"
        assert "asks for a credential (401)" in told.message


async def test_an_address_without_such_a_stream_is_told(bench: Bench) -> None:
    with mcp_site() as site:
        session = await session_of(bench, site, [say("Done.")])
        await run(session)
        (told,) = await data(session, McpUnavailable)
        assert "is not connected: it" in told.message


async def test_headers_carry_what_they_refer_to_and_do_not_say_it_back(bench: Bench) -> None:
    with mcp_site(takes="secret-in-a-header") as site:
        script = [call("mcp__docs__says.token"), say("Done.")]
        secrets = {"secrets": {"DOCS": "secret-in-a-header"}}
        more = {"transport": None, "headers": {"Authorization": "Bearer ${DOCS}", "X-Kind": "plain"}}
        session = await session_of(bench, site, script, secrets, **more)
        (said,) = await run(session)
        assert site.tokens[-1] == "secret-in-a-header"
        assert "secret-in-a-header" not in text_of(said.content)
