"""Logging in to MCP servers from the command line, and over our own server, whose page the browser comes back to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from godwit import Agent, AuthStore, Labels, McpServer, McpSettings, ScriptedModel, connect
from godwit.core.errors import ConfigurationError, NotFound
from godwit.surfaces.api import Api
from godwit.surfaces.server import ServerSettings
from godwit.surfaces.server.app import create_app
from tests.engine.conftest import MODEL, Bench
from tests.parts.login_site import LoginSite, browse, login_site, sent_back_to
from tests.surfaces.server.running import running
from tests.surfaces.terminal import Command

HOME = "http://127.0.0.1:8642"


@pytest.fixture
async def site() -> AsyncIterator[LoginSite]:
    with login_site() as made:
        yield made


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path / "godwit.db")
    yield made
    await made.close()


def configured(path: Path, site: LoginSite) -> dict[str, str]:
    own = path / "home" / "config.toml"
    own.parent.mkdir()
    own.write_text(f'[mcp]\nreach = ["{site.here}"]\n[mcp.servers.docs]\nurl = "{site.url}"\n')
    return {"GODWIT_CONFIG": str(own), "GODWIT_AUTH": str(path / "auth" / "auth.json"), "GODWIT_KEYRING": "0"}


async def test_one_logs_in_and_out_on_the_command_line(command: Command, tmp_path: Path, site: LoginSite) -> None:
    env = configured(tmp_path, site)
    before = await command.run("mcp", "status", "--json", **env)
    assert (before.code, before.lines[0]["health"]) == (1, "needs_login")
    process = await command.start("mcp", "login", "docs", stdin=None, **env)
    assert process.stderr is not None
    address = (await process.stderr.readline()).decode().removeprefix("Log in at ").strip()
    assert "close this window" in await browse(address)
    out, err = await process.communicate()
    assert (process.returncode, out.decode()) == (0, "logged in to docs: 2 tools\n"), err
    after = await command.run("mcp", "status", "--json", **env)
    assert (after.code, after.lines[0]["health"]) == (0, "connected")
    assert (await command.run("mcp", "logout", "docs", **env)).code == 0
    assert (await command.run("mcp", "logout", "docs", **env)).code == 5
    assert (await command.run("mcp", "login", "other", **env)).code == 5


async def test_where_a_browser_elsewhere_was_sent_is_pasted(command: Command, tmp_path: Path, site: LoginSite) -> None:
    env = configured(tmp_path, site)
    process = await command.start("mcp", "login", "docs", "--no-browser", "--json", stdin=asyncio.subprocess.PIPE, **env)
    assert process.stderr is not None
    address = (await process.stderr.readline()).decode().removeprefix("Log in at ").strip()
    out, err = await process.communicate(f"{await sent_back_to(address)}\n".encode())
    assert process.returncode == 0, err
    assert json.loads(out)["health"] == "connected"
    assert not any(secret.encode() in out + err for secret in site.secrets)


async def test_a_browser_comes_back_to_our_server_once(bench: Bench, site: LoginSite) -> None:
    runtime = await bench.runtime([], mcp=McpSettings(reach=(site.here,)))
    app = create_app(runtime, ServerSettings(public_url=HOME))
    session = await runtime.start_session(
        Agent("a", model=MODEL, mcp_servers=[McpServer("docs", site.url)]),
        workspace=bench.workspace,
        labels=Labels("acme", "ada"),
    )
    login = await session.begin_mcp_login("docs")
    back = await sent_back_to(login.url)
    assert back.startswith(f"{HOME}/mcp/callback?")
    # Another process of the same server has it as well.
    other = await bench.runtime([], mcp=McpSettings(reach=(site.here,)))
    elsewhere = create_app(other, ServerSettings(public_url=HOME))
    async with (
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=HOME) as here,
        httpx2.AsyncClient(transport=httpx2.ASGITransport(elsewhere), base_url=HOME) as there,
    ):
        target = f"{urlsplit(back).path}?{urlsplit(back).query}"
        for forged in (target.replace("state=", "state=x"), "/mcp/callback", "/mcp/callback?state=&code=x"):
            assert (await here.get(forged)).status_code == 400
        page = await there.get(target)
        assert (page.status_code, page.headers["referrer-policy"]) == (200, "no-referrer")
        assert "logged in to docs" in page.text
        assert (await here.get(target)).status_code == 400
    assert site.logins == 1
    await runtime.mcp.connect(McpServer("docs", site.url), session._served())
    assert (await session.tool("mcp__docs__read", {})).status == "ok"


async def test_a_session_of_a_server_is_logged_in_over_the_wire(tmp_path: Path, site: LoginSite) -> None:
    auth = AuthStore(tmp_path / "auth" / "auth.json", keyring=False)
    options: dict[str, Any] = {"models": {MODEL: ScriptedModel([], MODEL)}, "dialects": [Api], "auth": auth}
    with running(tmp_path / "g.db", **options, mcp=McpSettings(reach=(site.here,))) as server:
        async with connect(server.url) as runtime:
            session = await runtime.start_session(Agent("a", model=MODEL), own_workspace=True)
            await session.add_mcp_server(McpServer("docs", site.url), connect=False)
            login = await session.begin_mcp_login("docs", scopes=["docs:write"])
            assert (login.server, login.issuer) == ("docs", site.issuer)
            assert "docs%3Awrite" in login.url or "docs:write" in login.url
            with pytest.raises(NotFound):
                await session.finish_mcp_login("docs", f"{HOME}/callback?state=x&code=y")
            await session.finish_mcp_login("docs", await sent_back_to(login.url))
            assert (await session.tool("mcp__docs__write", {})).status == "ok"
            assert (await session.mcp_status())["docs"].connected
            assert await session.mcp_logout("docs") is True
            assert await session.mcp_logout("docs") is False
            with pytest.raises(NotFound):
                await session.begin_mcp_login("other")


@pytest.mark.parametrize("wrong", ["http://agents.example", "agents.example", "https://agents.example/?x=1", "javascript:x"])
def test_a_public_address_is_an_https_one(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="public_url"):
        ServerSettings(public_url=wrong)
