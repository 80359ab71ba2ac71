"""A login to an MCP server that a model asks for: a person is asked, and the server's tools are there with the next step."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.engine.conftest import MODEL, Bench, data, until_type, within
from tests.parts.login_site import LoginSite, browse, login_site

from godwit import Agent, McpServer, McpSettings, Runtime
from godwit.core.events import ActionOpened, ToolFinished
from godwit.core.messages import text_of
from godwit.engine.session import Session
from godwit.host.auth_store import AuthStore
from godwit.models.script import call, say


@pytest.fixture
async def site() -> AsyncIterator[LoginSite]:
    with login_site() as made:
        yield made


async def asking(bench: Bench, site: LoginSite, then: str = "mcp__docs__read") -> Session:
    """Its model calls for a login, and then for a tool of the server."""
    auth = AuthStore(bench.path.parent / "auth" / "auth.json", keyring=False)
    script = [call("mcp__docs__authenticate"), call(then), say("Done.")]
    runtime = await bench.runtime(script, mcp=McpSettings(reach=(site.here,)), auth=auth)
    agent = Agent("a", model=MODEL, mcp_servers=[McpServer("docs", site.url)])
    return await runtime.start_session(agent, workspace=bench.workspace)


async def test_a_person_is_asked_and_the_tools_are_there_with_the_next_step(bench: Bench, site: LoginSite) -> None:
    session = await asking(bench, site)
    await session.prompt("Read.")
    asked = (await until_type(session, "action.opened")).data
    assert isinstance(asked, ActionOpened)
    assert (asked.kind, asked.message) == ("question", f"Log in to the MCP server docs at {site.issuer}")
    assert asked.url is not None
    await browse(asked.url)
    await session.answer(asked.action, "done")
    await within(session.wait())
    results = [text_of(event.content) for event in await data(session, ToolFinished)]
    assert results == ["Logged in: the MCP server docs has 2 tools, which are there from now on.", "read: done"]
    assert bench.model is not None
    shown = [[tool.name for tool in request.tools] for request in bench.model.requests]
    assert shown == [["mcp__docs__authenticate"], *[["mcp__docs__read", "mcp__docs__write"]] * 2]


async def test_where_a_person_declines_the_model_is_told(bench: Bench, site: LoginSite) -> None:
    session = await asking(bench, site)
    await session.prompt("Read.")
    asked = (await until_type(session, "action.opened")).data
    assert isinstance(asked, ActionOpened)
    await session.deny(asked.action)
    await within(session.wait())
    results = [text_of(event.content) for event in await data(session, ToolFinished)]
    assert "a person has declined to log in" in results[0]
    assert site.logins == 0


async def until_asked(session: Session, number: int) -> ActionOpened:
    """The question of this number."""

    async def find() -> ActionOpened:
        seen = 0
        async for event in session.follow(0):
            if isinstance(event.data, ActionOpened):
                seen += 1
                if seen == number:
                    return event.data
        raise AssertionError

    return await within(find())


async def test_a_call_that_needs_more_than_the_login_allows_asks_for_one_and_goes_on(bench: Bench, site: LoginSite) -> None:
    session = await asking(bench, site, "mcp__docs__write")
    await session.prompt("Write.")
    first = await until_asked(session, 1)
    assert first.url is not None
    await browse(first.url)
    await session.answer(first.action, "done")
    second = await until_asked(session, 2)
    assert second.message == f"The MCP server docs wants another login for write, at {site.issuer}"
    assert second.url is not None
    assert "docs%3Awrite" in second.url or "docs:write" in second.url
    await browse(second.url)
    await session.answer(second.action, "done")
    await within(session.wait())
    finished = await data(session, ToolFinished)
    assert [(one.status, text_of(one.content)) for one in finished[1:]] == [("ok", "write: done")]


async def test_a_login_that_allows_no_more_is_asked_for_twice_and_no_further(bench: Bench, site: LoginSite) -> None:
    session = await asking(bench, site, "mcp__docs__write")
    await session.prompt("Write.")
    first = await until_asked(session, 1)
    assert first.url is not None
    await browse(first.url)
    await session.answer(first.action, "done")
    for number in (2, 3):
        await session.answer((await until_asked(session, number)).action, "done")  # and nobody has logged in
    await within(session.wait())
    (_, refused) = await data(session, ToolFinished)
    assert (refused.status, "wants more than the login allows" in text_of(refused.content)) == ("error", True)


async def reopened(bench: Bench, site: LoginSite, session: Session) -> Session:
    """The session in another process, whose model goes on where it was."""
    await bench.close()
    auth = AuthStore(bench.path.parent / "auth" / "auth.json", keyring=False)
    script = [call("mcp__docs__authenticate"), call("mcp__docs__authenticate"), call("mcp__docs__read"), say("Done.")]
    runtime = await bench.runtime(script, mcp=McpSettings(reach=(site.here,)), auth=auth)
    agent = Agent("a", model=MODEL, mcp_servers=[McpServer("docs", site.url)])
    return await runtime.open_session(session.id, agent=agent)


async def test_a_restart_between_the_question_and_its_answer(bench: Bench, site: LoginSite) -> None:
    first = await asking(bench, site)
    await first.prompt("Read.")
    asked = await until_asked(first, 1)
    await until_type(first, "run.parked")
    session = await reopened(bench, site, first)
    # Nobody listens any more where the browser was to come back: the model is told, and may have another login begun.
    await session.answer(asked.action, "done")
    again = await until_asked(session, 2)
    assert again.url is not None
    assert again.url != asked.url
    (told,) = await data(session, ToolFinished)
    assert told.status == "error"
    assert "godwit mcp login docs logs in" in text_of(told.content)
    await browse(again.url)
    await session.answer(again.action, "done")
    await within(session.wait())
    results = [text_of(event.content) for event in await data(session, ToolFinished)]
    assert results[1:] == ["Logged in: the MCP server docs has 2 tools, which are there from now on.", "read: done"]


async def test_a_login_made_elsewhere_while_the_process_was_away_counts(bench: Bench, site: LoginSite) -> None:
    first = await asking(bench, site)
    await first.prompt("Read.")
    asked = await until_asked(first, 1)
    await until_type(first, "run.parked")
    await bench.close()
    auth = AuthStore(bench.path.parent / "auth" / "auth.json", keyring=False)
    async with await Runtime.open(":memory:", mcp=McpSettings(reach=(site.here,)), auth=auth) as command:
        await command.mcp_login(McpServer("docs", site.url), browse)
    session = await reopened(bench, site, first)
    await session.answer(asked.action, "done")
    await within(session.wait())
    results = [text_of(event.content) for event in await data(session, ToolFinished)]
    assert results[0] == "Logged in: the MCP server docs has 2 tools, which are there from now on."
