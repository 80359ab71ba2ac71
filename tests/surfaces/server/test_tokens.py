"""Tokens of an issuer, whose keys are read from a real address."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import jwt
import pytest

from godwit.core.errors import ConfigurationError, Unauthenticated
from godwit.core.ids import ManualClock
from godwit.core.principal import Principal
from godwit.surfaces.server import ServerSettings
from godwit.surfaces.server.settings import JwtSettings
from godwit.surfaces.server.tokens import AGAIN_S, KEPT_S, Tokens

from .echo import Echo
from .issuer import Issuer, issuing
from .running import running


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with issuing() as found:
        yield found


def signed_with_the_public_key(issuer: Issuer, exp: int) -> str:
    """As if what everybody may read were a shared secret."""

    def encoded(content: bytes) -> bytes:
        return base64.urlsafe_b64encode(content).rstrip(b"=")

    claims = {"iss": "https://issuer.example", "aud": "godwit", "sub": "ada", "tenant": "acme", "exp": exp}
    head = {"alg": "HS256", "kid": "first"}
    signed = encoded(json.dumps(head).encode()) + b"." + encoded(json.dumps(claims).encode())
    secret = json.dumps(issuer.public("first")).encode()
    return (signed + b"." + encoded(hmac.digest(secret, signed, "sha256"))).decode()


def settings(issuer: Issuer, **more: object) -> JwtSettings:
    return JwtSettings(issuer.url, "https://issuer.example", "godwit", **more)  # type: ignore[arg-type]


async def test_a_token_says_who_asks_and_for_whom(issuer: Issuer) -> None:
    tokens = Tokens(settings(issuer), ManualClock())
    ada = Principal("ada", "acme", frozenset({"operate"}))
    assert await tokens.principal(issuer.token()) == ada
    assert await tokens.principal(issuer.token(scope=["read", "answer"])) == Principal(
        "ada", "acme", frozenset({"read", "answer"})
    )
    assert (await tokens.principal(issuer.token(scope=None))).scopes == frozenset()
    assert issuer.read == 1
    named = Tokens(settings(issuer, tenant_claim="org", scopes_claim="roles", principal_claim="email"), ManualClock())
    token = issuer.token(org="acme", roles="admin", email="ada@acme.example")
    assert await named.principal(token) == Principal("ada@acme.example", "acme", frozenset({"admin"}))


async def test_a_token_that_is_not_all_right_is_not_taken(issuer: Issuer) -> None:
    issuer.add("curve", curve=True)
    tokens = Tokens(settings(issuer, leeway_s=5), ManualClock())
    now = int(time.time())
    await tokens.principal(issuer.token(exp=now - 2))  # within the leeway
    await tokens.principal(issuer.token("curve", "ES256"))
    forged = signed_with_the_public_key(issuer, now + 60)
    unsigned = jwt.encode({"sub": "ada", "tenant": "acme", "exp": now + 60}, "", "none", headers={"kid": "first"})
    good = issuer.token()
    head, body, signature = good.split(".")
    wrong = {
        "expired": issuer.token(exp=now - 60),
        "not yet": issuer.token(nbf=now + 60),
        "no end": issuer.token(exp=None),
        "other audience": issuer.token(aud="somebody"),
        "other issuer": issuer.token(iss="https://else.example"),
        "no tenant": issuer.token(tenant=None),
        "no tenant's name": issuer.token(tenant=""),
        "a tenant that is no text": issuer.token(tenant=["acme"]),
        "nobody": issuer.token(sub=None),
        "another algorithm": issuer.token(algorithm="PS256"),
        "a shared secret": forged,
        "unsigned": unsigned,
        "changed": f"{head}.{issuer.token(tenant='other').split('.')[1]}.{signature}",
        "without signature": f"{head}.{body}.",
        "no token": "a.b.c",
        "empty": "..",
    }
    for what, token in wrong.items():
        with pytest.raises(Unauthenticated) as refused:
            await tokens.principal(token)
        assert token not in str(refused.value), what
    assert (await tokens.principal(good)).id == "ada"


async def test_keys_are_read_again_for_an_unknown_one_but_not_at_will(issuer: Issuer) -> None:
    clock = ManualClock()
    tokens = Tokens(settings(issuer), clock)
    await tokens.principal(issuer.token())
    issuer.add("second")
    with pytest.raises(Unauthenticated, match="does not have"):
        await tokens.principal(issuer.token("second"))
    assert issuer.read == 1  # the first reading was just now
    clock.advance(AGAIN_S)
    await tokens.principal(issuer.token("second"))
    assert issuer.read == 2
    issuer.add("hidden", shown=False)
    clock.advance(AGAIN_S)
    unknown = [tokens.principal(issuer.token("hidden")) for _ in range(20)]
    assert all(isinstance(r, Unauthenticated) for r in await asyncio.gather(*unknown, return_exceptions=True))
    assert issuer.read == 3


async def test_a_key_that_was_taken_back_is_forgotten(issuer: Issuer) -> None:
    clock = ManualClock()
    tokens = Tokens(settings(issuer), clock)
    issuer.add("second")
    old = issuer.token()
    await tokens.principal(old)
    issuer.take_back("first")
    await tokens.principal(old)
    clock.advance(KEPT_S + 1)
    with pytest.raises(Unauthenticated):
        await tokens.principal(old)
    await tokens.principal(issuer.token("second"))


async def test_an_issuer_that_fails_keeps_nobody_out_that_was_in(issuer: Issuer) -> None:
    clock = ManualClock()
    tokens = Tokens(settings(issuer), clock)
    for answer in ((500, b""), (302, b""), (200, b"nothing"), (200, b'{"keys": 1}'), (200, b"x" * (1 << 21))):
        issuer.answer = answer
        clock.advance(AGAIN_S)
        with pytest.raises(Unauthenticated, match="cannot be checked now"):
            await tokens.principal(issuer.token())
    issuer.answer = None
    clock.advance(AGAIN_S)
    await tokens.principal(issuer.token())
    issuer.answer = (500, b"")
    clock.advance(KEPT_S + 1)
    await tokens.principal(issuer.token())


def test_what_cannot_be_safe_is_refused(issuer: Issuer) -> None:
    for wrong in (
        {"jwks_url": "http://issuer.example/keys"},
        {"jwks_url": "file:///etc/passwd"},
        {"algorithms": ("HS256",)},
        {"algorithms": ("none",)},
        {"algorithms": ()},
        {"issuer": ""},
        {"audience": ""},
        {"leeway_s": -1.0},
    ):
        given = {"jwks_url": issuer.url, "issuer": "i", "audience": "a", **wrong}
        with pytest.raises(ConfigurationError):
            JwtSettings(**given)  # type: ignore[arg-type]


def test_a_server_takes_tokens_and_keys(tmp_path: Path, issuer: Issuer) -> None:
    asked = ServerSettings(jwt=settings(issuer))
    assert asked.asks_for_keys  # although it is loopback
    with running(tmp_path / "g.db", models={}, settings=asked, dialects=[Echo]) as server:
        token = issuer.token()
        for headers in ({"authorization": f"Bearer {token}"}, {"x-api-key": token}):
            answer = httpx2.post(f"{server.url}/echo", json="hi", headers=headers)
            assert (answer.status_code, answer.json()["tenant"]) == (200, "acme")
        reader = {"authorization": f"Bearer {issuer.token(scope='read')}"}
        assert httpx2.post(f"{server.url}/echo", json="hi", headers=reader).status_code == 403
        assert httpx2.post(f"{server.url}/echo", json="hi").status_code == 401
