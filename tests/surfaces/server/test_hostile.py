"""What somebody tries who means harm, or is careless: with what is counted, what is believed, and what is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from godwit.core.errors import Unauthenticated
from godwit.core.ids import ManualClock
from godwit.surfaces.server import ServerSettings
from godwit.surfaces.server.service import Service
from godwit.surfaces.server.settings import JwtSettings
from godwit.surfaces.server.tokens import KEPT_S, TRUSTED_S, Tokens
from tests.patience import PATIENCE_S

from .echo import Echo
from .issuer import issuing
from .running import RunningServer, running

KEYED = ServerSettings(keys=True)


def keyed(server: RunningServer, key: str | None = None) -> httpx2.Client:
    return httpx2.Client(base_url=server.url, headers={"x-api-key": key or str(server.key)})


def status_of_raw(server: RunningServer, request: bytes) -> int:
    """The status that these bytes are answered with; 0 when the connection just ends."""
    address = urlsplit(server.url)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=PATIENCE_S) as client:
        client.sendall(request)
        first = client.makefile("rb").readline()
    return int(first.split()[1]) if first else 0


def test_methods_that_nobody_knows_are_counted_as_one(tmp_path: Path) -> None:
    """Otherwise whoever reaches the server, key or none, makes it keep as many counters as they like."""
    with running(tmp_path / "g.db", models={}, dialects=[Echo]) as server:
        for number in range(20):
            status_of_raw(server, b"BREW%d /echo HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n" % number)
        text = httpx2.get(f"{server.url}/metrics").text
        assert "BREW" not in text
        assert 'godwit_http_requests_total{dialect="echo",method="-",route="/echo",status="405"} 20.0' in text


def test_an_address_that_a_client_made_up_is_not_believed(tmp_path: Path) -> None:
    """A proxy may add a line of its own behind what the client sent, which is one list together (RFC 9110, 5.3)."""
    settings = ServerSettings(proxies=("127.0.0.1",))
    with running(tmp_path / "g.db", models={}, settings=settings, dialects=[Echo]) as server:
        forwarded = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "8.8.8.8")]
        httpx2.post(f"{server.url}/echo", json=1, headers=forwarded)
        assert httpx2.get(f"{server.url}/admin/audit").json()["data"][0]["peer"] == "8.8.8.8"


@pytest.mark.parametrize(
    "wrong",
    [
        "limit=00000000000000001999999",
        f"limit={'0' * 16}1{'0' * 5000}",
        f"from_ms={'0' * 16}1{'9' * 30}",
        "to_ms=9223372036854775808",
        "page=9999999999999999.",
    ],
)
def test_numbers_that_are_too_large_are_refused(tmp_path: Path, wrong: str) -> None:
    with running(tmp_path / "g.db", models={}) as server:
        answer = httpx2.get(f"{server.url}/admin/audit?{wrong}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_argument")


@pytest.mark.parametrize("expires", ["1e308", "1e300", "1e17", "-1", "0", "1e-9"])
def test_a_key_that_ends_at_no_time_is_refused(tmp_path: Path, expires: str) -> None:
    with running(tmp_path / "g.db", models={}) as server:
        body = b'{"name": "a", "expires_in_s": %s}' % expires.encode()
        answer = httpx2.post(f"{server.url}/admin/keys", content=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_argument")
        assert httpx2.get(f"{server.url}/admin/keys").json()["data"] == []


def test_what_all_tenants_do_is_the_operators_alone(tmp_path: Path) -> None:
    with running(tmp_path / "g.db", models={}, settings=KEYED) as server, keyed(server) as operator:
        made = operator.post("/admin/keys", json={"name": "a", "tenant": "acme", "scopes": ["admin"]}).json()
        assert operator.get("/metrics").status_code == 200
        with keyed(server, made["key"]) as acme:
            refused = acme.get("/metrics")
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "permission_denied")


def test_a_method_that_is_not_there_is_told_in_our_words(tmp_path: Path) -> None:
    with running(tmp_path / "g.db", models={}) as server:
        answer = httpx2.delete(f"{server.url}/admin/keys")
        assert (answer.status_code, answer.json()["error"]["code"]) == (405, "not_found")
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}


def test_a_tenant_called_none_is_not_the_one_without_a_tenant(tmp_path: Path) -> None:
    made: list[Echo] = []

    def make(service: Service) -> Echo:
        made.append(Echo(service))
        return made[-1]

    with running(tmp_path / "g.db", models={}, settings=KEYED, dialects=[make]) as server, keyed(server) as operator:
        key = operator.post("/admin/keys", json={"name": "a", "tenant": "None"}).json()["key"]
        headers = {"idempotency-key": "k"}
        with keyed(server, key) as other:
            assert operator.post("/echo", json=1, headers=headers).json()["number"] == 1
            assert other.post("/echo", json=1, headers=headers).json()["number"] == 2
        assert len({engine_key for _, engine_key in made[0].done}) == 2


def test_a_length_that_no_number_holds_is_refused(tmp_path: Path) -> None:
    with running(tmp_path / "g.db", models={}, dialects=[Echo]) as server:
        head = b"POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: %s\r\n\r\n"
        for length in (b"9" * 30, b"9" * 5000, b"+5", b"1_0", b"5, 6"):
            assert status_of_raw(server, head % length) in (400, 413)
        assert httpx2.get(f"{server.url}/healthz").status_code == 200


@pytest.mark.parametrize("claim", ["sub", "tenant"])
@pytest.mark.parametrize("value", ["\ud800", "a\0b", "a\nb", "a" * 201, " ", "\u202eada"])
async def test_a_token_that_names_nobody_is_not_taken(claim: str, value: str) -> None:
    """What it names goes into logs and documents, where it must not be taken for something else or stop them."""
    with issuing() as issuer:
        tokens = Tokens(JwtSettings(issuer.url, "https://issuer.example", "godwit"), ManualClock())
        with pytest.raises(Unauthenticated, match=f"does not say {claim}"):
            await tokens.principal(issuer.token(**{claim: value}))


async def test_keys_that_cannot_be_read_again_are_not_believed_for_ever() -> None:
    with issuing() as issuer:
        clock = ManualClock()
        tokens = Tokens(JwtSettings(issuer.url, "https://issuer.example", "godwit"), clock)
        await tokens.principal(issuer.token())
        issuer.answer = (500, b"")
        clock.advance(KEPT_S + 1)
        await tokens.principal(issuer.token())
        clock.advance(TRUSTED_S)
        with pytest.raises(Unauthenticated, match="cannot be read"):
            await tokens.principal(issuer.token())
        issuer.answer = None
        clock.advance(KEPT_S)
        await tokens.principal(issuer.token())


async def test_an_issuer_that_answers_drop_by_drop_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("godwit.surfaces.server.tokens.TIMEOUT_S", 0.2)
    with dripping() as url:
        tokens = Tokens(JwtSettings(url, "https://issuer.example", "godwit"), ManualClock())
        with issuing() as issuer:
            async with asyncio.timeout(PATIENCE_S):
                with pytest.raises(Unauthenticated, match="cannot be read"):
                    await tokens.principal(issuer.token())


@contextlib.contextmanager
def dripping() -> Iterator[str]:
    """An address that answers for ever, a space at a time."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            client, _ = listening.accept()
            with client, contextlib.suppress(OSError):
                client.recv(4096)
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                while True:
                    client.sendall(b" ")
                    time.sleep(0.01)

        answering = threading.Thread(target=answer)
        answering.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/keys"
        answering.join(PATIENCE_S)
        assert not answering.is_alive(), "its reader goes on reading"


@pytest.mark.parametrize("path", ["/v1/agents", "/v1/sessions", "/v1/sessions/s/events", "/godwit/v1/sessions"])
def test_what_says_it_is_a_file_and_is_none_has_the_limits_of_any_body(tmp_path: Path, path: str) -> None:
    settings = ServerSettings(max_body=1000, max_upload=100_000)
    headers = {"content-type": "multipart/form-data; boundary=x"}
    with running(tmp_path / "g.db", models={}, settings=settings) as server:
        for more in ({}, {"openai-beta": "agents=v1"}):
            answer = httpx2.post(f"{server.url}{path}", content=b" " * 5000, headers={**headers, **more})
            assert answer.status_code == 413, answer.text
        assert httpx2.post(f"{server.url}/v1/files", files={"file": b"x" * 5000}).status_code == 200
