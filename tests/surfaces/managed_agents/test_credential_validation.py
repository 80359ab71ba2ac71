"""mcp_oauth_validate asks a real MCP server and a real token endpoint, on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import pytest

from godwit.surfaces.server import ServerSettings
from tests.parts.web_site import Request, Site, page, site
from tests.surfaces.managed_agents.conftest import Start


@asynccontextmanager
async def connected(start: Start, here: Site | None) -> AsyncIterator[anthropic.AsyncAnthropic]:
    server = start(settings=ServerSettings(port=0, reach=() if here is None else (here.here,)))
    async with anthropic.AsyncAnthropic(
        base_url=server.url, api_key="any", max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


def mcp_server(here: Site, *, takes: str, fails: str | None = None) -> list[str]:
    """An MCP server that takes this token, and answers 500 to one method; which methods it was asked for."""
    asked: list[str] = []

    async def answer(request: Request, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        message = json.loads(request.body)
        asked.append(message["method"])
        token = request.headers["authorization"].removeprefix("Bearer ")
        if token != takes:
            writer.write(page(f"no {token}", "text/plain", status="401 Unauthorized"))
        elif message["method"] == fails:
            writer.write(page("broken " * 1000, "text/plain", status="500 Broken"))
        elif message["method"] == "initialize":
            # An open stream: only its head tells.
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nMcp-Session-Id: s1\r\n\r\n")
        elif request.headers.get("mcp-session-id") != "s1":
            writer.write(page("no session", status="400 Bad Request"))
        else:
            writer.write(page("{}", "application/json", status="202 Accepted"))
        await writer.drain()

    here.answers["/mcp"] = answer
    return asked


async def kept(client: anthropic.AsyncAnthropic, here: Site, token: str, refresh: bool = False) -> Any:
    vault = await client.beta.vaults.create(display_name="v")
    auth: Any = {"type": "mcp_oauth", "access_token": token, "mcp_server_url": here.url("/mcp")}
    if refresh:
        auth["refresh"] = {
            "client_id": "c",
            "refresh_token": "refresh-secret",
            "token_endpoint": here.url("/token"),
            "token_endpoint_auth": {"type": "none"},
        }
    return await client.beta.vaults.credentials.create(vault.id, auth=auth)


async def validated(client: anthropic.AsyncAnthropic, credential: Any) -> Any:
    found = await client.beta.vaults.credentials.mcp_oauth_validate(credential.id, vault_id=credential.vault_id)
    assert (found.credential_id, found.vault_id, found.type) == (
        credential.id,
        credential.vault_id,
        "vault_credential_validation",
    )
    return found


async def test_a_token_that_the_server_takes_is_valid(start: Start) -> None:
    async with site() as here, connected(start, here) as client:
        asked = mcp_server(here, takes="good")
        found = await validated(client, await kept(client, here, "good"))
        assert (found.status, found.mcp_probe, found.refresh, found.has_refresh_token) == ("valid", None, None, False)
        assert asked == ["initialize", "notifications/initialized", "tools/list"]


async def test_a_token_that_is_refused_is_renewed(start: Start) -> None:
    async with site() as here, connected(start, here) as client:
        mcp_server(here, takes="good")
        here.answers["/token"] = page('{"access_token": "good"}', "application/json")
        credential = await kept(client, here, "old", refresh=True)
        found = await validated(client, credential)
        assert (found.status, found.refresh.status, found.has_refresh_token) == ("valid", "succeeded", True)
        here.answers["/token"] = page("", status="500 Not Asked")
        assert (await validated(client, credential)).refresh is None


async def test_what_refuses_is_shown_without_the_token(start: Start) -> None:
    async with site() as here, connected(start, here) as client:
        mcp_server(here, takes="good")
        found = await validated(client, await kept(client, here, "bad-token"))
        assert (found.status, found.refresh.status) == ("invalid", "no_refresh_token")
        assert (found.mcp_probe.method, found.mcp_probe.http_response.status_code) == ("initialize", 401)
        assert found.mcp_probe.http_response.body == "no [hidden]"
        here.answers["/token"] = page('{"error": "invalid_grant: refresh-secret"}', status="400 Bad Request")
        found = await validated(client, await kept(client, here, "bad-token", refresh=True))
        assert (found.status, found.refresh.status) == ("invalid", "failed")
        assert found.refresh.http_response.body == '{"error": "invalid_grant: [hidden]"}'


async def test_what_tells_nothing_is_unknown(start: Start) -> None:
    async with site() as here, connected(start, here) as client:
        mcp_server(here, takes="good", fails="tools/list")
        found = await validated(client, await kept(client, here, "good"))
        assert (found.status, found.mcp_probe.method) == ("unknown", "tools/list")
        assert found.mcp_probe.http_response.body_truncated
        assert len(found.mcp_probe.http_response.body) == 2048


async def test_a_server_in_a_private_network_is_not_asked(start: Start) -> None:
    async with site() as here, connected(start, None) as client:
        asked = mcp_server(here, takes="good")
        found = await validated(client, await kept(client, here, "good"))
        assert (found.status, found.mcp_probe.http_response, asked) == ("unknown", None, [])


async def test_only_oauth_is_validated(start: Start) -> None:
    async with connected(start, None) as client:
        vault = await client.beta.vaults.create(display_name="v")
        auth: Any = {"type": "static_bearer", "token": "t", "mcp_server_url": "https://m.example/"}
        credential = await client.beta.vaults.credentials.create(vault.id, auth=auth)
        with pytest.raises(anthropic.BadRequestError, match="static_bearer"):
            await validated(client, credential)
