"""Wild requests over a raw socket: whatever comes, the answer is a refusal and never a fault of ours."""

from __future__ import annotations

import random
import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from godwit.surfaces.server import ServerSettings
from tests.patience import PATIENCE_S

from .running import RunningServer, running

HOSTS = [b"localhost", b"[::1", b"[", b"a b", b"localhost:99999999", b"localhost:x", b"\xff\xfe", b"", b"@", b"x" * 3000]
PATHS = [
    b"/v1/agents", b"/v1/sessions/%00", b"/v1/sessions/..%2f..", b"/v1/sessions/ses_x/events", b"/godwit/v1/sessions/a%20b",
    b"/%ff%fe", b"//", b"/v1/agents?limit=%ff", b"/v1/sessions?page=%00", b"/v1/agents/agent_x/versions?limit=1e9",
    b"/admin/keys/%00", b"/admin/audit?limit=99999999999999999999", b"/admin/audit?page=1.%00", b"*", b"http://x/y",
    b"/readyz",
    b"/v1/sessions/" + b"a" * 3000, b"/" + b"%2e%2e/" * 50, b"/v1/agents;x=1", b"/v1/agents/\xc3\xa4",
]  # fmt: skip
HEADERS = [
    b"authorization: Bearer \xff", b"authorization: Bearer", b"authorization: Basic Og==", b"x-api-key: gw_\x7f",
    b"idempotency-key: \xff", b"idempotency-key: " + b"k" * 300, b"idempotency-key:", b"x-stainless-retry-count: 1",
    b"x-stainless-retry-count: \xb2", b"x-stainless-retry-count: 99999999999", b"content-type: \xff",
    b"content-type: multipart/form-data", b"content-type: application/json; charset=utf-7", b"last-event-id: \xff",
    b"last-event-id: 99999999999999999999999", b"origin: null", b"origin: [", b"sec-fetch-site: \xff", b"cookie: a=b; =; ;",
    b"x-request-id: \xff", b"x-forwarded-for: \xff, 1, ,", b"openai-beta: agents=v1", b"openai-beta: \xff",
    b"anthropic-beta: \xff", b"accept: \xff", b"expect: 100-continue", b"connection: close", b"transfer-encoding: chunked",
]  # fmt: skip
BODIES = [
    b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"a":' * 200, b'{"name": "\\ud800"}', b"[" * 100_000, b'{"events": null}',
    b'{"events": [{"type": 1}]}', b'{"name": "' + b"a" * 100_000 + b'"}', b'{"limit": 1e999}', b"0\r\n\r\n", b"5\r\nab",
]  # fmt: skip


@pytest.fixture(params=[False, True], ids=["open", "keyed"])
def server(tmp_path: Path, request: pytest.FixtureRequest) -> object:
    settings = ServerSettings(keys=request.param, models={"*": "scripted:x"}, body_s=0.2, proxies=("127.0.0.1",))
    with running(tmp_path / "g.db", models={}, settings=settings) as found:
        yield found


def wild(chance: random.Random, key: str | None) -> bytes:
    method = chance.choice([b"GET", b"POST", b"DELETE", b"PUT", b"PATCH", b"OPTIONS", b"HEAD", b"BREW"])
    host = HOSTS[0] if chance.random() < 0.6 else chance.choice(HOSTS)
    lines = [method + b" " + chance.choice(PATHS) + b" HTTP/1.1", b"host: " + host]
    if key is not None and chance.random() < 0.8:
        lines.append(b"x-api-key: " + key.encode())
    lines += chance.sample(HEADERS, chance.randrange(5))
    body = chance.choice(BODIES) if method not in (b"GET", b"HEAD") else b""
    if body and not any(line.startswith(b"transfer") for line in lines):
        lines.append(b"content-length: %d" % (len(body) + chance.choice([0, 0, 0, 5])))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def answered(server: RunningServer, raw: bytes) -> bytes:
    """The first line of the answer; empty when the connection was ended."""
    found = urlsplit(server.url)
    with socket.create_connection((found.hostname, found.port), timeout=PATIENCE_S) as connection:
        try:
            connection.sendall(raw)
            first = connection.recv(1 << 16)
            if first.startswith(b"HTTP/1.1 100"):
                first = first.partition(b"\r\n\r\n")[2] or connection.recv(1 << 16)
        except ConnectionError:
            return b""
        return first.partition(b"\r\n")[0]


@pytest.mark.parametrize("seed", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 12))])
def test_nothing_wild_is_a_fault_of_ours(server: RunningServer, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(80):
        raw = wild(chance, server.key)
        first = answered(server, raw)
        status = first[9:12]
        assert status[:1] != b"5" or status == b"501", (first, raw[:2000])
    assert httpx2.get(f"{server.url}/readyz").status_code == 200
