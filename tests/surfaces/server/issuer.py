"""An issuer of tokens with a real JWKS address on loopback."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm


class Issuer:
    """`read`: how often its keys were read. `answer`: sent instead of them, where set: a status and a body."""

    def __init__(self) -> None:
        self.url = ""
        self.read = 0
        self.answer: tuple[int, bytes] | None = None
        self._keys: dict[str, Any] = {}
        self._shown: dict[str, dict[str, Any]] = {}
        self.add("first")

    def add(self, kid: str, *, shown: bool = True, curve: bool = False) -> None:
        """A new key pair."""
        key: Any
        if curve:
            key = ec.generate_private_key(ec.SECP256R1())
            public = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        else:
            key = rsa.generate_private_key(65537, 2048)
            public = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        self._keys[kid] = key
        if shown:
            self._shown[kid] = {**public, "kid": kid, "use": "sig"}

    def take_back(self, kid: str) -> None:
        del self._shown[kid]

    def public(self, kid: str) -> dict[str, Any]:
        return self._shown[kid]

    def token(self, kid: str = "first", algorithm: str = "RS256", **claims: Any) -> str:
        """A good one, with these claims in place of its own; None leaves one out."""
        now = int(time.time())
        given: dict[str, Any] = {
            "iss": "https://issuer.example",
            "aud": "godwit",
            "sub": "ada",
            "tenant": "acme",
            "scope": "operate email",
            "iat": now,
            "exp": now + 600,
            **claims,
        }
        given = {name: value for name, value in given.items() if value is not None}
        return jwt.encode(given, self._keys[kid], algorithm, headers={"kid": kid})

    def document(self) -> bytes:
        return json.dumps({"keys": list(self._shown.values())}).encode()


@contextmanager
def issuing() -> Iterator[Issuer]:
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.read += 1
            status, body = issuer.answer or (200, issuer.document())
            self.send_response(status)
            if status == 302:
                self.send_header("location", issuer.url + "/elsewhere")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    issuer.url = f"http://127.0.0.1:{server.server_port}/keys"
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
