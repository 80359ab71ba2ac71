"""Vaults: which credential fits an address, and that its token is renewed in time."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import pytest
from tests.parts.web_site import Request, Site, page, site

from godwit.core.errors import InvalidArgument, NotFound, ToolFailed
from godwit.core.ids import ManualClock, RandomIds
from godwit.host.oauth import Authentication, Client
from godwit.host.secret_keys import GivenKeys, SecretKey
from godwit.host.secrets import Secrets
from godwit.host.vaults import Vaults
from godwit.stores.sqlite import SqliteStore
from godwit.tools.address import AddressGuard
from godwit.tools.fetch import Fetcher

URL = "https://mcp.example.com/sse"


@asynccontextmanager
async def made(here: Site | None = None, clock: ManualClock | None = None) -> AsyncIterator[Vaults]:
    clock = clock or ManualClock()
    async with SqliteStore.open(":memory:", clock=clock) as store:
        fetcher = Fetcher(AddressGuard([] if here is None else [here.here]))
        yield Vaults(store, Secrets(store, GivenKeys([SecretKey.new()])), fetcher, RandomIds(), clock)


def tokens(here: Site, body: str, status: str = "200 OK") -> list[dict[str, list[str]]]:
    """A token endpoint that answers this; what it was asked with."""
    asked: list[dict[str, list[str]]] = []

    async def answer(request: Request, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append({**parse_qs(request.body.decode()), "authorization": [request.headers.get("authorization", "")]})
        writer.write(page(body, "application/json", status=status))
        await writer.drain()

    here.answers["/token"] = answer
    return asked


async def test_the_first_vault_that_has_one_for_just_this_address() -> None:
    async with made() as vaults:
        one, two = [(await vaults.create(name, {}, tenant="t")).id for name in "ab"]
        await vaults.add(one, "bearer", URL, {"token": "one"}, tenant="t")
        await vaults.add(two, "bearer", URL, {"token": "two"}, tenant="t")
        credential = await vaults.add(two, "bearer", "https://other.example", {"token": "other"}, tenant="t")

        async def found(url: str, *vaults_of_session: str, tenant: str | None = "t") -> str | None:
            return await vaults.bearer_for(url, vaults_of_session, tenant=tenant)

        assert await found(URL, one, two) == "one"
        assert await found(URL, two, one) == "two"
        assert await found("HTTPS://other.example:443", one, two) == "other"
        for url in (URL + "/", URL + "?x=1", "http://mcp.example.com/sse", "https://mcp.example.com:444/sse"):
            assert await found(url, one, two) is None
        assert await found(URL) is None
        assert await found(URL, one, tenant=None) is None
        assert await found(URL, "vlt_gone", two) == "two"
        await vaults.archive(one, tenant="t")
        assert await found(URL, one, two) == "two"
        await vaults.archive_credential(two, credential.id, tenant="t")
        assert await found("https://other.example", two) is None


async def test_a_session_is_made_with_vaults_that_are_there() -> None:
    async with made() as vaults:
        one, two = [(await vaults.create(name, {}, tenant="t")).id for name in "ab"]
        await vaults.check([one, two], tenant="t")
        await vaults.check([], tenant=None)
        await vaults.archive(two, tenant="t")
        for wrong, kind in (([one, one], InvalidArgument), ([two], InvalidArgument), (["vlt_none"], NotFound)):
            with pytest.raises(kind):
                await vaults.check(wrong, tenant="t")
        with pytest.raises(NotFound):
            await vaults.check([one], tenant="other")


@pytest.mark.parametrize("way", ["none", "client_secret_basic", "client_secret_post"])
async def test_a_token_that_ends_is_renewed_and_kept(way: Authentication) -> None:
    clock = ManualClock()
    async with site() as here, made(here, clock) as vaults:
        asked = tokens(here, '{"access_token": "second", "refresh_token": "r2", "expires_in": 3600, "token_type": "bearer"}')
        client = Client("id one", here.url("/token"), way, "read", "https://mcp.example.com/")
        vault = (await vaults.create("v", {}, tenant=None)).id
        await vaults.add(
            vault,
            "oauth",
            URL,
            {"access_token": "first", "refresh_token": "r1", "client_secret": "s&1"},
            tenant=None,
            client=client,
            expires_ms=clock.now_ms() + 3_600_000,
        )

        async def found() -> str | None:
            return await vaults.bearer_for(URL, [vault], tenant=None)

        assert (await found(), asked) == ("first", [])
        clock.advance(3600 - 59)
        assert [await found(), await found()] == ["second", "second"]
        (form,) = asked
        assert (form["grant_type"], form["refresh_token"]) == (["refresh_token"], ["r1"])
        assert (form["scope"], form["resource"]) == (["read"], ["https://mcp.example.com/"])
        basic = "Basic " + base64.b64encode(b"id%20one:s%261").decode()
        assert form["authorization"] == [basic if way == "client_secret_basic" else ""]
        assert form.get("client_id") == (None if way == "client_secret_basic" else ["id one"])
        assert form.get("client_secret") == (["s&1"] if way == "client_secret_post" else None)
        clock.advance(3600)
        await found()
        assert asked[1]["refresh_token"] == ["r2"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('{"error": "invalid_grant", "hint": "r1 s1"}', "400 Bad Request"),
        ("<html>", "200 OK"),
        ('{"access_token": ""}', "200 OK"),
        ('{"access_token": 5}', "200 OK"),
        ('{"access_token": "a", "expires_in": "soon"}', "200 OK"),
        ('{"access_token": "a", "expires_in": 1e300}', "200 OK"),
        ('{"access_token": "a", "expires_in": "nan"}', "200 OK"),
    ],
)
async def test_a_token_that_cannot_be_renewed_is_told_without_secrets(body: str, status: str) -> None:
    clock = ManualClock()
    async with site() as here, made(here, clock) as vaults:
        tokens(here, body, status)
        vault = (await vaults.create("v", {}, tenant=None)).id
        secret = {"access_token": "first", "refresh_token": "r1", "client_secret": "s1"}
        more: dict[str, Any] = {"client": Client("c", here.url("/token"), "client_secret_post"), "expires_ms": 1}
        await vaults.add(vault, "oauth", URL, secret, tenant=None, **more)
        with pytest.raises(ToolFailed, match="cannot be renewed") as caught:
            await vaults.bearer_for(URL, [vault], tenant=None)
        assert "r1" not in repr((caught.value, caught.value.details))


async def test_a_token_endpoint_in_a_private_network_is_not_asked() -> None:
    async with site() as here, made() as vaults:
        asked = tokens(here, "{}")
        vault = (await vaults.create("v", {}, tenant=None)).id
        secret = {"access_token": "first", "refresh_token": "r1"}
        await vaults.add(vault, "oauth", URL, secret, tenant=None, client=Client("c", here.url("/token")), expires_ms=1)
        with pytest.raises(ToolFailed, match="an address of this machine"):
            await vaults.bearer_for(URL, [vault], tenant=None)
        assert asked == []


async def test_without_a_way_to_renew_it_the_token_is_used_as_it_is() -> None:
    async with made() as vaults:
        vault = (await vaults.create("v", {}, tenant=None)).id
        await vaults.add(vault, "oauth", URL, {"access_token": "first"}, tenant=None, expires_ms=1)
        assert await vaults.bearer_for(URL, [vault], tenant=None) == "first"
