"""TLS with real certificates."""

from __future__ import annotations

import os
import select
import socket
import ssl
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from godwit.core.errors import ConfigurationError
from godwit.surfaces.cli_serve import ServeFlags, settings_of
from godwit.surfaces.server import ServerSettings
from godwit.surfaces.server.retries import COUNT
from godwit.surfaces.server.tls import Certificate
from tests.parts.web_site import certificate
from tests.patience import PATIENCE_S

from .echo import Echo
from .process import serving
from .running import running


def files(folder: Path) -> tuple[str, str, ssl.SSLContext]:
    """A certificate and its key, each in a file, and a client's context that trusts it."""
    _, client = certificate(folder, "127.0.0.1", "localhost")
    both = (folder / "certificate.pem").read_text()
    at = both.index("-----BEGIN PRIVATE KEY")
    for name, text in (("cert.pem", both[:at]), ("key.pem", both[at:])):
        (folder / name).write_text(text)
    return str(folder / "cert.pem"), str(folder / "key.pem"), client


def test_everything_goes_over_tls(tmp_path: Path) -> None:
    cert, key, trusting = files(tmp_path / "tls")
    settings = ServerSettings(tls_cert=cert, tls_key=key, heartbeat_s=0.05)
    with running(tmp_path / "g.db", models={}, settings=settings, dialects=[Echo]) as server:
        assert server.url.startswith("https://127.0.0.1:")
        with httpx2.Client(verify=trusting, base_url=server.url) as client:
            assert client.post("/echo", json={"said": "x" * 200_000}).json()["number"] == 1
            assert len(client.get("/echo/large").content) == 64 << 20
            with client.stream("GET", "/echo/stream") as stream:
                lines = stream.iter_lines()
                assert [next(lines) for _ in range(4)] == ["retry: 1000", "id: 1", "event: tick", "data: 1"]
            # Repetitions are told over TLS as well.
            for number, count in enumerate((0, 1)):
                with httpx2.Client(verify=trusting) as own:
                    answer = own.post(f"{server.url}/echo", json="hi", headers={COUNT: str(count)})
                    assert answer.headers.get("idempotent-replayed") == (None if number == 0 else "true")
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"{server.url}/healthz")  # it trusts nobody by that name
        with pytest.raises(httpx2.HTTPError):
            httpx2.get(f"{server.url.replace('https', 'http')}/healthz")
        assert httpx2.get(f"{server.url}/healthz", verify=trusting).status_code == 200


def test_a_client_that_takes_nothing_is_cut_off_over_tls_too(tmp_path: Path) -> None:
    cert, key, trusting = files(tmp_path / "tls")
    settings = ServerSettings(tls_cert=cert, tls_key=key, send_s=0.3)
    with running(tmp_path / "g.db", models={}, settings=settings, dialects=[Echo]) as server:
        address = urlsplit(server.url)
        with socket.create_connection(("127.0.0.1", int(address.port or 0)), timeout=PATIENCE_S) as plain:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with trusting.wrap_socket(plain, server_hostname="localhost") as client:
                client.sendall(b"GET /echo/large HTTP/1.1\r\nhost: localhost\r\n\r\n")
                poll = select.poll()
                poll.register(client, select.POLLHUP | select.POLLERR)
                assert poll.poll(20_000), "it is still connected"


def test_a_renewed_certificate_is_used_and_a_broken_one_is_not(tmp_path: Path) -> None:
    cert, key, first = files(tmp_path / "one")
    _, _, second = files(tmp_path / "two")
    settings = ServerSettings(tls_cert=cert, tls_key=key)
    with running(tmp_path / "g.db", models={}, settings=settings, dialects=[Echo]) as server:

        def answers(trusting: ssl.SSLContext) -> bool:
            try:
                return httpx2.get(f"{server.url}/healthz", verify=trusting).status_code == 200
            except httpx2.ConnectError:
                return False

        (job,) = [job for job, _ in server.app.upkeep._more]
        assert (answers(first), answers(second)) == (True, False)
        Path(cert).write_bytes((tmp_path / "two" / "cert.pem").read_bytes())  # and not yet its key
        assert server.call(job) is False  # type: ignore[arg-type]
        assert (answers(first), answers(second)) == (True, False)
        os.replace(tmp_path / "two" / "key.pem", key)
        assert server.call(job) is True  # type: ignore[arg-type]
        assert (answers(first), answers(second)) == (False, True)
        assert server.call(job) is False  # type: ignore[arg-type]
        Path(key).unlink()
        assert server.call(job) is False  # type: ignore[arg-type]
        assert answers(second)


def test_what_cannot_be_used_is_told(tmp_path: Path) -> None:
    cert, key, _ = files(tmp_path / "one")
    _, other, _ = files(tmp_path / "two")
    locked = tmp_path / "locked.pem"
    subprocess.run(["openssl", "pkcs8", "-topk8", "-in", key, "-out", str(locked), "-passout", "pass:secret"], check=True)
    for wrong in ((cert, other), (cert, str(locked)), (cert, None), (str(tmp_path / "absent"), key), (key, cert)):
        with pytest.raises(ConfigurationError) as caught:
            Certificate(*wrong)
        assert "PRIVATE" not in caught.value.message
    assert Certificate(str(tmp_path / "one" / "certificate.pem")).context.minimum_version == ssl.TLSVersion.TLSv1_2
    with pytest.raises(ConfigurationError, match="tls_cert"):
        ServerSettings(tls_key=key)


def test_flags_and_files_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[server]\ntls_cert = "/a.pem"\ntls_key = "/b.pem"\n')
    monkeypatch.setenv("GODWIT_CONFIG", str(config))
    assert (settings_of(ServeFlags()).tls_cert, settings_of(ServeFlags()).tls_key) == ("/a.pem", "/b.pem")
    typed = settings_of(ServeFlags(tls_cert=Path("/c.pem")))
    assert (typed.tls_cert, typed.tls_key) == ("/c.pem", None)


@pytest.mark.slow
def test_the_command_line_serves_over_tls(tmp_path: Path) -> None:
    cert, key, trusting = files(tmp_path / "tls")
    with serving(tmp_path, "--tls-cert", cert, "--tls-key", key) as served:
        assert served.url.startswith("https://")
        assert httpx2.get(f"{served.url}/readyz", verify=trusting).status_code == 200
