"""The way of somebody else's HTTP client to one server: where it connects, and what it takes."""

from __future__ import annotations

import gzip
from pathlib import Path

import httpx2
import pytest
from tests.parts.web_site import certificate, page, redirect, site

from godwit.tools import guarded
from godwit.tools.address import AddressGuard
from godwit.tools.fetch import Fetcher
from godwit.tools.guarded import SEEN, GuardedTransport, Seen
from godwit.tools.url import parse


async def asked(fetcher: Fetcher, url: str, to: str | None = None, *, follow: bool = False) -> httpx2.Response:
    transport = GuardedTransport(fetcher, parse(url))
    async with httpx2.AsyncClient(transport=transport, trust_env=False, follow_redirects=follow) as client:
        return await client.get(to or url)


async def test_a_name_is_judged_and_connected_to_at_the_address_that_was_judged(tmp_path: Path) -> None:
    server, client = certificate(tmp_path, "mcp.example")
    async with site(tls=server) as here:
        there = [["127.0.0.1"], ["10.1.2.3"]]

        async def resolve(host: str) -> list[str]:
            assert host == "mcp.example"
            return there.pop(0)

        guard = AddressGuard([f"127.0.0.1:{here.port}", "127.0.0.0/8"], [here.port])
        fetcher = Fetcher(guard, resolve=resolve, tls=client)
        here.answers["/"] = page("well")
        url = here.url("/", host="mcp.example")
        assert (await asked(fetcher, url)).text == "well"
        assert here.requests[0].headers["host"] == f"mcp.example:{here.port}"
        with pytest.raises(httpx2.ConnectError, match="private network"):
            await asked(fetcher, url)
        assert len(here.requests) == 1


async def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    server, client = certificate(tmp_path, "other.example")
    async with site(tls=server) as here:

        async def resolve(_: str) -> list[str]:
            return ["127.0.0.1"]

        guard = AddressGuard(["127.0.0.0/8"], [here.port])
        with pytest.raises(httpx2.ConnectError):
            await asked(Fetcher(guard, resolve=resolve, tls=client), here.url("/", host="mcp.example"))
        assert here.requests == []


async def test_no_other_server_is_asked_and_what_is_packed_or_too_long_is_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guarded, "MOST_BYTES", 1000)
    async with site() as here, site() as other:
        fetcher = Fetcher(AddressGuard([here.here, other.here]))
        here.answers["/away"] = redirect(other.url("/"), 307)
        here.answers["/packed"] = page(gzip.compress(b"0" * 100_000), "application/json", Content_Encoding="gzip")
        here.answers["/long"] = page("0" * 1001, "application/json")
        here.answers["/events"] = page("0" * 1001, "text/event-stream")
        with pytest.raises(httpx2.ConnectError, match="another server"):
            await asked(fetcher, here.url("/"), here.url("/away"), follow=True)
        assert other.requests == []
        with pytest.raises(httpx2.RemoteProtocolError, match="packs"):
            await asked(fetcher, here.url("/packed"))
        with pytest.raises(httpx2.ReadError, match="more than 1000 bytes"):
            await asked(fetcher, here.url("/long"))
        assert len((await asked(fetcher, here.url("/events"))).text) == 1001


async def test_who_asks_can_see_what_came_of_it() -> None:
    async with site() as here:
        fetcher = Fetcher(AddressGuard([here.here]))
        seen = Seen()
        SEEN.set(seen)
        await asked(fetcher, here.url("/none"))
        assert (seen.status, seen.failure) == (404, "")
        with pytest.raises(httpx2.ConnectError):
            await asked(Fetcher(AddressGuard()), here.url("/none"))
        assert seen.status == 0
        assert "an address of this machine" in seen.failure
