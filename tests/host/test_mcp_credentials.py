"""Tokens for MCP servers: one that is refused is renewed once, and none of them is told to anybody."""

from __future__ import annotations

import asyncio
import base64
import logging
import traceback
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.engine.conftest import MODEL, Bench, data, within
from tests.host.test_mcp_servers import connections, requests, results, run
from tests.parts.mcp_site import McpSite, listed, mcp_site

from godwit import Agent, McpServer, McpSettings, Runtime
from godwit.core.events import McpUnavailable
from godwit.core.mcp import tool_name
from godwit.core.messages import text_of
from godwit.engine.session import Session
from godwit.host.mcp import http as mcp_http
from godwit.host.oauth import Client
from godwit.models.script import Reply, call, say
from godwit.surfaces.server import ServerSettings
from godwit.surfaces.server.app import create_app


@pytest.fixture
async def site() -> AsyncIterator[McpSite]:
    with mcp_site(takes="t-old-token") as made:
        yield made


async def session_with_vault(bench: Bench, site: McpSite, *script: Any, refresh: bool = True) -> Session:
    """Its vault has the token `t-old-token`, which should hold for an hour."""
    runtime = await bench.runtime(list(script), mcp=McpSettings(reach=(site.here,)))
    vault = (await runtime.vaults.create("v", {}, tenant=None)).id
    secret = {"access_token": "t-old-token"} | ({"refresh_token": "r-one-token"} if refresh else {})
    client = Client("c", f"http://{site.here}/token") if refresh else None
    until = runtime.clock.now_ms() + 3_600_000
    await runtime.vaults.add(vault, "oauth", site.url, secret, tenant=None, client=client, expires_ms=until)
    agent = Agent("a", model=MODEL, mcp_servers=[McpServer("docs", site.url)])
    return await runtime.start_session(agent, workspace=bench.workspace, vaults=[vault])


def revoke(site: McpSite, takes: str, then: Reply) -> Any:
    """Before this answer of the model the server takes another token alone."""

    def answer(_: Any) -> Reply:
        site.takes = takes
        return then

    return answer


async def test_a_token_that_is_refused_before_its_time_is_renewed_and_the_call_is_done(bench: Bench, site: McpSite) -> None:
    site.renews = {"access_token": "t-new-token", "refresh_token": "r-two-token", "expires_in": 3600}
    again = revoke(site, "t-new-token", call("mcp__docs__echo", text="2"))
    session = await session_with_vault(bench, site, call("mcp__docs__echo", text="1"), again, say("Done."))
    await run(session)
    assert [(r.status, text_of(r.content)) for r in await results(session)] == [("ok", "1"), ("ok", "2")]
    assert site.calls == ["echo", "echo"]
    assert site.renewed == 1
    assert await data(session, McpUnavailable) == []


async def test_many_calls_that_are_refused_at_once_renew_it_once(bench: Bench, site: McpSite) -> None:
    site.renews = {"access_token": "t-new-token", "expires_in": 3600}
    several = sum((call("mcp__docs__echo", text=str(n)) for n in range(1, 6)), call("mcp__docs__echo", text="0"))
    session = await session_with_vault(bench, site, say("x"), revoke(site, "t-new-token", several), say("Done."))
    await run(session)
    await run(session)
    assert [r.status for r in await results(session)] == ["ok"] * 6
    assert site.renewed == 1


async def test_one_that_is_refused_again_ends_in_a_failed_authentication(bench: Bench, site: McpSite) -> None:
    site.renews = {"access_token": "t-new-token", "expires_in": 3600}
    lost = revoke(site, "none of them", call("mcp__docs__echo", text="2"))
    script = [call("mcp__docs__echo", text="1"), lost, call("mcp__docs__echo", text="3"), say("Done.")]
    session = await session_with_vault(bench, site, *script)
    await run(session)
    one, two, three = await results(session)
    assert [r.status for r in (one, two, three)] == ["ok", "error", "error"]
    assert text_of(two.content) == "the MCP server cannot be used: it refuses the credential (401)"
    assert text_of(three.content) == (
        "The MCP server 'docs' is not connected: it refuses the credential (401); godwit mcp login docs logs in"
    )
    (missing,) = await data(session, McpUnavailable)
    assert (missing.trouble, missing.retrying) == ("authentication", False)
    assert site.calls == ["echo"]
    assert site.renewed == 1


async def test_one_that_cannot_be_renewed_says_so(bench: Bench, site: McpSite) -> None:
    site.takes = "another"
    session = await session_with_vault(bench, site, say("Done."))
    await run(session)
    (missing,) = await data(session, McpUnavailable)
    assert missing.trouble == "authentication"
    assert "is refused, and cannot be renewed" in missing.message


async def test_one_without_a_way_to_another_is_not_asked_for(bench: Bench, site: McpSite) -> None:
    site.takes = "another"
    session = await session_with_vault(bench, site, say("Done."), refresh=False)
    await run(session)
    (missing,) = await data(session, McpUnavailable)
    assert "it refuses the credential (401)" in missing.message
    assert site.renewed == 0


async def test_a_token_that_holds_again_is_renewed_again_when_it_is_refused(
    bench: Bench, site: McpSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_http, "RENEW_S", 0.0)
    site.renews = {"access_token": "t-second-one", "refresh_token": "r", "expires_in": 3600}

    def third(_: Any) -> Reply:
        site.renews = {"access_token": "t-third-one", "expires_in": 3600}
        site.takes = "t-third-one"
        return call("mcp__docs__echo", text="3")

    second = revoke(site, "t-second-one", call("mcp__docs__echo", text="2"))
    session = await session_with_vault(bench, site, call("mcp__docs__echo", text="1"), second, third, say("Done."))
    await run(session)
    assert [r.status for r in await results(session)] == ["ok"] * 3
    assert site.renewed == 2


async def test_no_token_is_told_to_anybody(bench: Bench, site: McpSite, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a server does with it: it says it back in results, errors, lists and headers."""
    caplog.set_level(logging.DEBUG)
    site.renews = {"access_token": "t-new-token", "refresh_token": "r-two-token", "expires_in": 3600}
    site.tools.append(listed("tells"))
    site.tools[0].description = "Come with t-old-token"
    names = ["says.token", "tells", "broken"]
    script = [*(call(tool_name("docs", name)) for name in names), revoke(site, "t-new-token", call("mcp__docs__tells")),
              revoke(site, "none", call("mcp__docs__tells")), say("Done.")]  # fmt: skip
    session = await session_with_vault(bench, site, *script)
    await run(session)
    shown = [text_of(one.content) for one in await results(session)]
    assert shown[1] == "you came with [hidden], see [hidden]"
    assert shown[3] == "you came with [hidden], see [hidden]"
    runtime, held = bench.runtimes[-1], connections(session)
    told = [
        *(
            record.getMessage() + str(record.exc_text)
            for record in caplog.records
            if not record.name.startswith("mcp.server")
        ),
        *shown,
        *(tool.description for request in requests(bench) for tool in request.tools),
        repr([e.data for e in await session.events()]),
        repr((runtime.mcp, runtime.vaults, held.__dict__, *(one.__dict__ for one in held._connections.values()))),
        repr(McpSettings(tokens={site.url: "t-old-token"})),
        repr(await session.trace_events()),
    ]
    await bench.close()
    files = [path for path in bench.path.parent.rglob("*") if path.is_file()]
    assert bench.path in files
    told += [path.read_bytes().decode("latin-1") for path in files]
    for secret in ("t-old-token", "t-new-token", "r-one-token", "r-two-token"):
        for text in told:
            assert secret not in text
            assert base64.b64encode(secret.encode()).decode() not in text


async def test_an_error_on_the_way_does_not_hold_it(bench: Bench, site: McpSite) -> None:
    session = await session_with_vault(bench, site, say("Done."))
    await run(session)
    (connection,) = connections(session)._connections.values()
    site.stop()
    with pytest.raises(Exception, match="MCP server") as caught:
        await within(connection.ask(lambda client: client.call_tool("echo", {"text": "1"})))
    assert "t-old-token" not in "".join(traceback.format_exception(caught.value))


async def test_apps_in_front_of_a_runtime_replace_nothing_of_it(bench: Bench) -> None:
    """Each may widen where it reaches; the runtime's own tokens and credentials stay its own."""
    with mcp_site(takes="t-of-program") as own, mcp_site() as first, mcp_site() as second:
        settings = McpSettings(reach=(own.here,), tokens={own.url: "t-of-program"})
        runtime: Runtime = await bench.runtime([say("x"), say("y")], mcp=settings)
        before = runtime.mcp, runtime.vaults, runtime.fetcher
        apps = [create_app(runtime, ServerSettings(port=0, reach=(site.here,))) for site in (first, second)]
        assert (runtime.mcp, runtime.vaults, runtime.fetcher) == before
        assert all(app.upkeep._service.vaults is runtime.vaults for app in apps)
        servers = [McpServer(name, site.url) for name, site in (("own", own), ("a", first), ("b", second))]
        session = await runtime.start_session(Agent("a", model=MODEL, mcp_servers=servers), workspace=bench.workspace)
        await run(session)
        assert await data(session, McpUnavailable) == []
        assert {name.partition("__echo")[0] for name in session.tool_names() if name.endswith("__echo")} == {
            "mcp__own", "mcp__a", "mcp__b",
        }  # fmt: skip
        await asyncio.gather(*(app.upkeep.stop() for app in apps))
        await run(session)
