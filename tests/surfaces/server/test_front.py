"""What the front does before any dialect is asked: names, pages of others, limits of size and time and rate."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from godwit.core.errors import ConfigurationError
from godwit.surfaces.server import ServerSettings
from godwit.surfaces.server.settings import TenantLimits

from .echo import Echo
from .running import RunningServer, running


def test_a_server_answers_and_names_its_requests(tmp_path: Path) -> None:
    with running(tmp_path / "g.db", models={}) as server:
        answer = httpx2.get(f"{server.url}/healthz", headers={"x-request-id": "mine"})
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        assert answer.headers["request-id"].startswith("req_")
        assert answer.headers["x-request-id"] == answer.headers["request-id"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
        assert httpx2.get(f"{server.url}/readyz").status_code == 200
        nothing = httpx2.get(f"{server.url}/nothing")
        assert (nothing.status_code, nothing.json()["error"]["code"]) == (404, "not_found")
        assert httpx2.post(f"{server.url}/healthz").status_code == 405


def test_a_server_that_others_can_reach_needs_keys() -> None:
    assert ServerSettings(host="0.0.0.0").asks_for_keys
    assert not ServerSettings().asks_for_keys
    with pytest.raises(ConfigurationError):
        ServerSettings(host="0.0.0.0", keys=False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": 70000},
        {"max_body": 0},
        {"heartbeat_s": -1.0},
        {"origins": ("*",)},
        {"origins": ("https://a.example/path",)},
        {"archived_days": 0.0},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        ServerSettings(**wrong)  # type: ignore[arg-type]


def test_a_model_is_found_by_its_longest_name() -> None:
    settings = ServerSettings(models={"claude-*": "a:b", "claude-sonnet*": "c:d", "x": "e:f"})
    assert [settings.model(n) for n in ("claude-opus", "claude-sonnet-5", "x", "y:z")] == ["a:b", "c:d", "e:f", "y:z"]


def test_a_model_whose_name_tells_its_provider_needs_no_setting() -> None:
    settings = ServerSettings(models={"gpt-5": "azure:five"})
    names = ("claude-opus-5", "gpt-5", "gpt-6-mini", "o4-mini", "gemini-3", "ollama:gpt-oss", "local")
    assert [settings.model(n) for n in names] == [
        "anthropic:claude-opus-5",
        "azure:five",
        "openai:gpt-6-mini",
        "openai:o4-mini",
        "google:gemini-3",
        "ollama:gpt-oss",
        "local",
    ]


# --- pages of others --------------------------------------------------------------------------------------------------


def test_a_web_page_cannot_drive_a_server_without_keys(tmp_path: Path) -> None:
    with running(tmp_path / "g.db", models={}, dialects=[Echo]) as server:
        port = urlsplit(server.url).port

        def status(**headers: str) -> int:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            return httpx2.post(
                f"{server.url}/echo", content=b"1", headers={"content-type": "text/plain", **given}
            ).status_code

        assert status() == 200
        assert status(host=f"localhost:{port}") == 200
        assert status(host=f"[::1]:{port}") == 200
        assert status(origin=f"http://127.0.0.1:{port}", sec_fetch_site="same-origin") == 200
        rebound = ("attacker.example", f"attacker.example:{port}", "127.0.0.1.attacker.example", "8.8.8.8", "")
        assert [status(host=host) for host in rebound] == [403] * len(rebound)
        pages = ("https://attacker.example", "http://localhost:3000", "null", f"https://127.0.0.1:{port}.attacker.example")
        assert [status(origin=page) for page in pages] == [403] * len(pages)
        assert status(sec_fetch_site="cross-site") == 403
        assert status(sec_fetch_site="same-site") == 403
        assert httpx2.get(f"{server.url}/metrics", headers={"host": "attacker.example"}).status_code == 403


def test_pages_that_are_listed_may_ask_and_no_others(tmp_path: Path) -> None:
    settings = ServerSettings(origins=("https://app.example.org",), names=("box.local",), keys=False)
    with running(tmp_path / "g.db", models={}, dialects=[Echo], settings=settings) as server:
        ours, others = {"origin": "https://app.example.org"}, {"origin": "https://else.example.org"}
        asked = {"access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}
        preflight = httpx2.request("OPTIONS", f"{server.url}/echo", headers={**ours, **asked})
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == "https://app.example.org"
        assert preflight.headers["access-control-allow-headers"] == "x-api-key"
        answer = httpx2.post(f"{server.url}/echo", json=1, headers=ours)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://app.example.org"
        assert answer.headers["vary"] == "origin"
        refused = httpx2.request("OPTIONS", f"{server.url}/echo", headers={**others, **asked})
        assert refused.status_code == 403
        assert "access-control-allow-origin" not in refused.headers
        assert httpx2.post(f"{server.url}/echo", json=1, headers={"host": "box.local"}).status_code == 200


def test_with_keys_the_host_may_be_any_and_a_page_still_gets_nothing(tmp_path: Path) -> None:
    with running(tmp_path / "g.db", models={}, dialects=[Echo], settings=ServerSettings(keys=True)) as server:
        headers = {"x-api-key": str(server.key), "host": "godwit.example.org", "origin": "https://attacker.example"}
        answer = httpx2.get(f"{server.url}/echo/things/1", headers=headers)
        assert answer.status_code == 200
        assert "access-control-allow-origin" not in answer.headers


# --- sizes and times --------------------------------------------------------------------------------------------------


SMALL = ServerSettings(
    max_body=1000, max_upload=5000, max_header=4096, header_s=0.4, body_s=0.4, request_s=0.8, send_s=0.5, keep_alive_s=1.0
)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[RunningServer]:
    with running(tmp_path / "g.db", models={}, dialects=[Echo], settings=SMALL) as server:
        yield server


@contextlib.contextmanager
def connected(server: RunningServer, timeout_s: float = 10.0) -> Iterator[socket.socket]:
    found = urlsplit(server.url)
    with socket.create_connection((found.hostname, found.port), timeout=timeout_s) as connection:
        yield connection


def all_of(connection: socket.socket) -> bytes:
    """Until the server ends the connection."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(1 << 16):
            found += chunk
    return found


def test_a_body_that_is_too_large_is_refused_in_the_dialects_words(small: RunningServer) -> None:
    told = httpx2.post(f"{small.url}/echo", content=b"1" * 1001)
    assert (told.status_code, told.json()["echo"]["code"]) == (413, "too_large")
    untold = httpx2.post(f"{small.url}/echo", content=iter([b"1" * 600, b"1" * 600]))
    assert (untold.status_code, untold.json()["echo"]["code"]) == (413, "too_large")
    files = {"file": b"1" * 3000}
    assert httpx2.post(f"{small.url}/echo", files=files).status_code == 400  # it came through, and is no JSON
    assert httpx2.post(f"{small.url}/echo", files={"file": b"1" * 6000}).status_code == 413
    lying = b"POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n123456"
    with connected(small) as connection:
        connection.sendall(lying)
        assert connection.recv(1000).startswith(b"HTTP/1.1 400")


def test_headers_that_are_too_large_are_refused(small: RunningServer) -> None:
    with connected(small) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-much: " + b"1" * 8000)
        assert all_of(connection).startswith(b"HTTP/1.1 400")


def test_who_sends_headers_drop_by_drop_is_cut_off(small: RunningServer) -> None:
    with connected(small) as connection:
        began = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-slow: " + b"1" * 1000:
                connection.sendall(bytes([byte]))
                connection.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    if connection.recv(10) == b"":
                        break
        assert 0.3 < time.monotonic() - began < 30  # to the end it would send for a minute
    with connected(small) as silent:
        assert all_of(silent) == b""


def test_a_connection_may_rest_and_be_used_again(small: RunningServer) -> None:
    with connected(small) as connection:
        for _ in range(2):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
            answer = b""
            while not answer.endswith(b'{"status":"ok"}'):
                answer += connection.recv(4000)
            connection.settimeout(0.6)  # longer than headers may take, which begins with their first byte
            with pytest.raises(TimeoutError):
                connection.recv(1)
            connection.settimeout(10)
        assert all_of(connection) == b""  # at rest for too long


def test_who_sends_a_body_drop_by_drop_is_refused(small: RunningServer) -> None:
    head = b"POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 900\r\n\r\n"
    with connected(small) as connection:
        connection.sendall(head + b'"')
        answer = connection.recv(4000)
        assert answer.startswith(b"HTTP/1.1 400")
    with connected(small) as connection:
        connection.sendall(head + b'"')
        for _ in range(20):  # often enough for the pieces, too slow for the whole
            connection.settimeout(0.1)
            try:
                answer = connection.recv(4000)
                break
            except TimeoutError:
                connection.sendall(b"1")
        assert answer.startswith(b"HTTP/1.1 504")


def test_headers_that_are_too_large_are_refused_also_where_they_come_at_once(small: RunningServer) -> None:
    assert httpx2.get(f"{small.url}/echo/things/1", headers={"x-long": "a" * 3000}).status_code == 200
    refused = httpx2.get(f"{small.url}/echo/things/1", headers={"x-long": "a" * 4200})
    assert (refused.status_code, refused.json()["echo"]["code"]) == (400, "invalid_argument")


def test_a_request_that_takes_too_long_is_given_up(small: RunningServer) -> None:
    answer = httpx2.post(f"{small.url}/echo/slow", content=b"x")
    assert (answer.status_code, answer.json()["echo"]["code"]) == (504, "error")


def test_a_client_that_takes_nothing_is_cut_off(small: RunningServer) -> None:
    with connected(small) as connection:
        connection.sendall(b"GET /echo/large HTTP/1.1\r\nhost: localhost\r\n\r\n")

        cut_off = select.poll()
        cut_off.register(connection, select.POLLERR | select.POLLHUP)
        assert cut_off.poll(20_000), "it is still sending"
        assert len(all_of(connection)) < 64 << 20


def test_what_is_no_http_is_refused(small: RunningServer) -> None:
    for raw in (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"HELO\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"):
        with connected(small) as connection:
            connection.sendall(raw)
            assert all_of(connection).startswith(b"HTTP/1.1 40")
    upgrade = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-key": "x", "sec-websocket-version": "13"}
    assert httpx2.get(f"{small.url}/echo/things/1", headers=upgrade).status_code == 200


def test_faults_of_ours_say_nothing_of_the_inside(small: RunningServer) -> None:
    answer = httpx2.post(f"{small.url}/echo/broken")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.headers["request-id"] in answer.json()["echo"]["message"]


# --- rates ------------------------------------------------------------------------------------------------------------


def test_a_tenant_that_asks_too_often_waits_and_others_do_not(tmp_path: Path) -> None:
    limits = TenantLimits(requests_per_s=0.5, burst=3, streams=1)
    with running(tmp_path / "g.db", models={}, dialects=[Echo], settings=ServerSettings(keys=True, tenant=limits)) as server:
        with contextlib.ExitStack() as stack:
            operator = stack.enter_context(httpx2.Client(base_url=server.url, headers={"x-api-key": str(server.key)}))
            other = operator.post("/admin/keys", json={"name": "a", "tenant": "acme"}).json()["key"]
            assert [operator.get("/echo/things/1").status_code for _ in range(3)] == [200, 200, 429]
            refused = operator.get("/echo/things/1")
            assert refused.json()["echo"]["code"] == "too_many"
            assert 1 <= int(refused.headers["retry-after"]) <= 2
            acme = stack.enter_context(httpx2.Client(base_url=server.url, headers={"x-api-key": other}))
            assert acme.get("/echo/things/1").status_code == 200
            with acme.stream("GET", "/echo/stream") as first:
                assert first.status_code == 200
                second = acme.get("/echo/stream")
                assert (second.status_code, "streams" in second.json()["echo"]["message"]) == (429, True)


def test_what_was_asked_is_logged_as_one_line_of_json(tmp_path: Path) -> None:
    import io
    import logging

    from godwit.surfaces.server.access import log_as_json

    out = io.StringIO()
    root, levels = logging.getLogger(), {n: logging.getLogger(n).level for n in ("", "godwit", "uvicorn", "uvicorn.error")}
    before = root.handlers[:]
    try:
        log_as_json(out)
        with running(tmp_path / "g.db", models={}, dialects=[Echo], settings=ServerSettings(keys=True)) as server:
            headers = {"x-api-key": str(server.key), "x-request-id": "mine-1"}
            answer = httpx2.get(f"{server.url}/echo/things/42?token=secret", headers=headers)
            httpx2.post(f"{server.url}/echo/broken", headers={"x-api-key": str(server.key)})
    finally:
        root.handlers[:] = before
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
    assert "secret" not in out.getvalue().replace("a secret of the inside", "")
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    asked = next(line for line in lines if line.get("path") == "/echo/things/42")
    assert asked["at"].endswith("Z")
    assert {k: asked[k] for k in ("id", "client_id", "dialect", "method", "route", "status", "peer")} == {
        "id": answer.headers["request-id"],
        "client_id": "mine-1",
        "dialect": "echo",
        "method": "GET",
        "route": "/echo/things/{id}",
        "status": 200,
        "peer": "127.0.0.1",
    }
    assert asked["principal"].startswith("key_")
    assert any("trace" in line for line in lines)
