"""Tokens: JSON Web Tokens of an issuer whose public keys are read from its JWKS address (RFC 7517, RFC 7519).

Rules: an algorithm is taken from the settings' list and never from the token alone; a token without an end is not taken; the
keys are read again when a token names one that is not known, but not more often than each `AGAIN_S` however many come.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import math
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, cast, get_args

import jwt

from ...core.errors import Unauthenticated
from ...core.ids import Clock
from ...core.principal import Principal, Scope, names_somebody
from .settings import JwtSettings

logger = logging.getLogger("godwit.server")

AGAIN_S = 30.0
"""Seconds between two readings of the keys because of an unknown one, and after one that failed."""
KEPT_S = 600.0
"""For how long keys are used before they are read again: one that the issuer has taken back is not taken for longer, while
its keys can be read."""
TRUSTED_S = 86_400.0
"""For how long keys are used that cannot be read again."""
TIMEOUT_S = 5.0
"""For each step of reading the keys, and again for all of it: an issuer that answers drop by drop holds nobody up."""
MAX_KEYS = 1024 * 1024
"""Bytes of the keys' document."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Tokens:
    """The tokens of one issuer."""

    def __init__(self, settings: JwtSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._read_s: float | None = None
        self._tried_s: float | None = None
        self._reading = asyncio.Lock()

    async def principal(self, token: str) -> Principal:
        """Whose token this is. Unauthenticated."""
        settings = self._settings
        try:
            head = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise Unauthenticated("this is no token") from None
        name, algorithm = head.get("kid"), head.get("alg")
        if algorithm not in settings.algorithms:
            raise Unauthenticated("the token is signed in a way that is not taken")
        key = await self._key(name if isinstance(name, str) else "")
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=list(settings.algorithms),
                audience=settings.audience,
                issuer=settings.issuer,
                leeway=settings.leeway_s,
                options={"require": ["exp", "iss", "aud", settings.principal_claim]},
            )
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("the token has expired") from None
        except (jwt.InvalidAudienceError, jwt.InvalidIssuerError):
            raise Unauthenticated("the token is from another issuer, or for somebody else") from None
        except jwt.MissingRequiredClaimError as error:
            raise Unauthenticated(f"the token does not say {error.claim}") from None
        except (jwt.PyJWTError, ValueError, TypeError):
            raise Unauthenticated("the token is not valid") from None
        return _principal(claims, settings)

    async def _key(self, name: str) -> jwt.PyJWK:
        await self._refresh(self._age_s() > KEPT_S)
        if self._find(name) is None:
            await self._refresh(True)
        found = self._find(name)
        if self._age_s() > TRUSTED_S:
            raise Unauthenticated("tokens cannot be checked now: the keys of their issuer cannot be read")
        if found is None:
            raise Unauthenticated("the token is signed with a key that its issuer does not have")
        return found

    def _age_s(self) -> float:
        return math.inf if self._read_s is None else self._clock.monotonic() - self._read_s

    def _find(self, name: str) -> jwt.PyJWK | None:
        if not name and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(name)

    async def _refresh(self, wanted: bool) -> None:
        if not wanted:
            return
        async with self._reading:
            now = self._clock.monotonic()
            if self._tried_s is not None and now - self._tried_s < AGAIN_S:
                return
            self._tried_s = now
            try:
                async with asyncio.timeout(2 * TIMEOUT_S):
                    self._keys = await asyncio.to_thread(_read_keys, self._settings.jwks_url)
            except (OSError, ValueError, jwt.PyJWTError, http.client.HTTPException) as error:
                told = str(error) or type(error).__name__
                logger.warning("the keys at %s cannot be read: %s", self._settings.jwks_url, told)
                return
            self._read_s = now


def _read_keys(url: str) -> dict[str, jwt.PyJWK]:
    opener = urllib.request.build_opener(_NoRedirect)
    request = urllib.request.Request(url, headers={"accept": "application/json"})
    content, until_s = b"", time.monotonic() + TIMEOUT_S
    with opener.open(request, timeout=TIMEOUT_S) as answer:
        while more := answer.read1(64 * 1024):
            content += more
            if len(content) > MAX_KEYS:
                raise ValueError(f"they have more than {MAX_KEYS} bytes")
            if time.monotonic() > until_s:
                raise TimeoutError(f"they did not come within {TIMEOUT_S:g} s")
    found = json.loads(content)
    given = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(given, list):
        raise ValueError("there is no list of keys")
    keys: dict[str, jwt.PyJWK] = {}
    for one in given:
        # A key that signs nothing, or in a way that is not known here, is none of ours to complain about.
        if not isinstance(one, dict) or one.get("use", "sig") != "sig" or one.get("kty") == "oct":
            continue
        try:
            keys[str(one.get("kid", ""))] = jwt.PyJWK.from_dict(one)
        except jwt.PyJWTError:
            continue
    return keys


def _principal(claims: Mapping[str, Any], settings: JwtSettings) -> Principal:
    who, tenant = claims.get(settings.principal_claim), claims.get(settings.tenant_claim)
    if not isinstance(who, str) or not names_somebody(who):
        raise Unauthenticated(f"the token does not say {settings.principal_claim}")
    if not isinstance(tenant, str) or not names_somebody(tenant):
        raise Unauthenticated(f"the token does not say {settings.tenant_claim}")
    given = claims.get(settings.scopes_claim, ())
    names = given.split() if isinstance(given, str) else given if isinstance(given, list) else ()
    known = get_args(Scope)
    return Principal(who, tenant, frozenset(cast("Scope", name) for name in names if name in known))
