"""Vaults: which credential fits an address, and that its token is renewed in time."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from tests.parts.web_site import Request, Site, page, site

from godwit.core.errors import InvalidArgument, NotFound, ToolFailed
from godwit.core.ids import ManualClock, RandomIds, SystemClock
from godwit.host.oauth import HIDDEN, Authentication, Client, RefreshFailed, refresh
from godwit.host.secret_keys import GivenKeys, SecretKey
from godwit.host.secrets import Secrets
from godwit.host.vaults import MOST, Vaults
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


# --- when things happen at once, or break off ------------------------------------------------------------------------------


@dataclass
class Rotating:
    """A token endpoint that takes each refresh token once, as RFC 9700 section 4.14.2 asks for. `hold`: it answers when that
    is set. `refused`: how often it was asked with an old one."""

    given: int = 1
    refused: int = 0
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    def serve(self, here: Site) -> Client:
        async def answer(request: Request, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if parse_qs(request.body.decode())["refresh_token"] != [f"r{self.given}"]:
                self.refused += 1
                writer.write(page('{"error": "invalid_grant"}', "application/json", status="400 Bad Request"))
                return
            self.given += 1
            now = self.given
            self.asked.set()
            await self.hold.wait()
            body = f'{{"access_token": "a{now}", "refresh_token": "r{now}", "expires_in": 3600}}'
            writer.write(page(body, "application/json"))
            await writer.drain()

        here.answers["/token"] = answer
        return Client("c", here.url("/token"))


async def ended(vaults: Vaults, client: Client) -> tuple[str, str]:
    vault = (await vaults.create("v", {}, tenant="t")).id
    secret = {"access_token": "a1", "refresh_token": "r1"}
    made = await vaults.add(vault, "oauth", URL, secret, tenant="t", client=client, expires_ms=1)
    return vault, made.id


async def test_a_token_that_many_want_is_renewed_once() -> None:
    async with site() as here, made(here) as vaults:
        endpoint = Rotating()
        vault, credential = await ended(vaults, endpoint.serve(here))
        wanted = [asyncio.create_task(vaults.bearer_for(URL, [vault], tenant="t")) for _ in range(5)]
        await endpoint.asked.wait()
        endpoint.hold.set()
        assert await asyncio.gather(*wanted) == ["a2"] * 5
        assert (endpoint.given, endpoint.refused) == (2, 0)
        assert await vaults.renew(vault, credential, tenant="t") == "a3"


async def test_who_gives_up_waiting_does_not_lose_the_new_token() -> None:
    async with site() as here, made(here) as vaults:
        endpoint = Rotating()
        vault, _ = await ended(vaults, endpoint.serve(here))
        waiting = asyncio.create_task(vaults.bearer_for(URL, [vault], tenant="t"))
        await endpoint.asked.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        endpoint.hold.set()
        assert await vaults.bearer_for(URL, [vault], tenant="t") == "a2"
        assert endpoint.refused == 0


async def test_what_another_process_has_renewed_is_used(tmp_path: Path) -> None:
    clock = SystemClock()
    key = GivenKeys([SecretKey.new()])
    async with site() as here, SqliteStore.open(tmp_path / "g.db") as one, SqliteStore.open(tmp_path / "g.db") as two:
        endpoint = Rotating()
        fetcher = Fetcher(AddressGuard([here.here]))
        first, second = (Vaults(store, Secrets(store, key), fetcher, RandomIds(), clock) for store in (one, two))
        vault, _ = await ended(first, endpoint.serve(here))
        waiting = asyncio.create_task(first.bearer_for(URL, [vault], tenant="t"))
        await endpoint.asked.wait()
        # The endpoint has taken r1, and the other process knows nothing of its answer yet.
        late = asyncio.create_task(second.bearer_for(URL, [vault], tenant="t"))
        await asyncio.wait({late}, timeout=0.3)
        endpoint.hold.set()
        assert await waiting == "a2"
        assert await late == "a2"
        assert await second.bearer_for(URL, [vault], tenant="t") == "a2"
        assert endpoint.refused == 0


@pytest.mark.parametrize("change", ["title", "secret", "archived"])
async def test_a_credential_that_is_changed_while_it_is_renewed(change: str) -> None:
    async with site() as here, made(here) as vaults:
        endpoint = Rotating()
        vault, credential = await ended(vaults, endpoint.serve(here))
        waiting = asyncio.create_task(vaults.bearer_for(URL, [vault], tenant="t"))
        await endpoint.asked.wait()
        if change == "title":
            await vaults.change(vault, credential, {}, tenant="t", title="new")
        elif change == "secret":
            given = {"access_token": "b1", "refresh_token": "b-r1"}
            await vaults.change(vault, credential, given, tenant="t", expires_ms=None)
        else:
            await vaults.archive_credential(vault, credential, tenant="t")
        endpoint.hold.set()
        assert await waiting == ("b1" if change == "secret" else "a2")
        again = await vaults.bearer_for(URL, [vault], tenant="t")
        assert again == {"title": "a2", "secret": "b1", "archived": None}[change]
        assert (await vaults.credential(vault, credential, tenant="t")).title == ("new" if change == "title" else None)


@pytest.mark.parametrize(
    "told",
    [
        "c2VjcmV0JTIwY2xpZW50OnMlMkIlMjIlMkYlMjAx",
        'a client secret of "s+\\"/ 1" is wrong',
        "client_secret=s%2B%22%2F+1",
        "client_secret=s%2b%22%2f%201",
        "s+&quot;/ 1",
        "s+\\u0022\\/ 1",
    ],
)
async def test_an_endpoint_that_repeats_what_it_was_sent_gives_no_secret_away(told: str) -> None:
    """Whatever way it writes it."""
    secret = 's+"/ 1'
    async with site() as here:
        tokens(here, f"you sent {told} and that is wrong", "401 Unauthorized")
        client = Client("secret client", here.url("/token"), "client_secret_basic")
        found = await refresh(Fetcher(AddressGuard([here.here])), client, "r-1", secret)
        assert isinstance(found, RefreshFailed)
        assert found.answer is not None
        assert HIDDEN in found.answer.body
        assert told not in found.answer.body


@pytest.mark.parametrize("status", ["201 Created", "203 Changed", "299 Odd"])
async def test_no_token_that_came_is_shown(status: str) -> None:
    async with site() as here:
        tokens(here, '{"access_token": "new-one", "refresh_token": "r-2"}', status)
        found = await refresh(Fetcher(AddressGuard([here.here])), Client("c", here.url("/token")), "r-1", None)
        assert isinstance(found, RefreshFailed)
        assert "new-one" not in repr(found)


@asynccontextmanager
async def on_disk(path: Path) -> AsyncIterator[tuple[Vaults, SqliteStore]]:
    """Where others have their turn while one waits for a commit."""
    async with SqliteStore.open(path / "g.db") as store:
        keys = GivenKeys([SecretKey.new()])
        yield Vaults(store, Secrets(store, keys), Fetcher(AddressGuard()), RandomIds(), SystemClock()), store


async def bearers(vaults: Vaults, vault: str, count: int) -> list[str]:
    return [
        (await vaults.add(vault, "bearer", f"https://s{n}.example", {"token": "x"}, tenant="t")).id for n in range(count)
    ]


async def test_many_who_add_at_once_do_not_pass_the_limit(tmp_path: Path) -> None:
    async with on_disk(tmp_path) as (vaults, _):
        vault = (await vaults.create("v", {}, tenant="t")).id
        first = (await bearers(vaults, vault, MOST - 2))[0]

        async def add(number: int) -> str:
            url = f"https://late{number}.example"
            return (await vaults.add(vault, "bearer", url, {"token": "x"}, tenant="t")).id

        ended = await asyncio.gather(*(add(number) for number in range(6)), return_exceptions=True)
        assert sum(isinstance(one, str) for one in ended) == 2
        assert {type(one) for one in ended} == {str, InvalidArgument}
        await vaults.archive_credential(vault, first, tenant="t")
        await add(9)  # in the place of the archived one
        assert len(await vaults.credentials(vault, tenant="t", limit=99, archived=False)) == MOST


@pytest.mark.parametrize("end", ["archive", "delete"])
async def test_a_vault_ends_whole_or_not_at_all(tmp_path: Path, end: str) -> None:
    """Whoever asks for it may die after the first commit."""
    async with on_disk(tmp_path) as (vaults, store):
        vault = (await vaults.create("v", {}, tenant="t")).id
        await bearers(vaults, vault, 3)
        ending = asyncio.create_task(getattr(vaults, end)(vault, tenant="t"))
        await asyncio.sleep(0)  # until it waits for a commit
        ending.cancel()
        await asyncio.wait([ending])
        await store.flush()
        assert await store.documents("secret", tenant="t") == []
        live = await store.documents("credential", tenant="t", archived=False)
        left = await store.documents("credential", tenant="t")
        assert (len(live), len(left)) == (0, 3 if end == "archive" else 0)
        assert len(await store.documents("vault", tenant="t")) == (1 if end == "archive" else 0)


@pytest.mark.parametrize("end", ["archive", "delete"])
async def test_what_is_added_while_its_vault_ends_is_not_left_behind(tmp_path: Path, end: str) -> None:
    async with on_disk(tmp_path) as (vaults, store):
        vault = (await vaults.create("v", {}, tenant="t")).id
        await bearers(vaults, vault, 1)
        adding = asyncio.create_task(vaults.add(vault, "bearer", URL, {"token": "x"}, tenant="t"))
        ending = asyncio.create_task(getattr(vaults, end)(vault, tenant="t"))
        await asyncio.wait([adding, ending])
        assert isinstance(adding.exception(), InvalidArgument | NotFound | None)
        assert await store.documents("secret", tenant="t") == []
        assert await store.documents("credential", tenant="t", archived=False) == []
