"""Logging in to a provider by OAuth: with a code typed elsewhere (RFC 8628), or in a browser here (RFC 8252 with PKCE).

Owns the two ways; leaves out how a browser comes back (`oauth_callback.py`), asking a token endpoint (`oauth.py`) and what
becomes of the tokens (`auth_store.py`). Rule: a code is bound to this process by PKCE.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import msgspec

from ..core.errors import AuthenticationFailed, ToolFailed
from ..core.keys import OAuthSettings
from ..tools.fetch import Fetcher
from ..tools.url import parse
from .auth_store import client_of, error_code, fetcher_for, is_word
from .oauth import Refreshed, RefreshFailed, granted
from .oauth_callback import Ask, Callback, Proof

WAIT_S = 600.0
"""How long a person may take in a browser."""
_DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_SLOWER_S = 5.0


class DeviceCode(msgspec.Struct, frozen=True):
    """What a person has to type, and where. `complete`: an address that has the code in it already."""

    user_code: str
    url: str
    complete: str | None
    expires_s: float


async def log_in_by_device(
    provider: str, settings: OAuthSettings, client_secret: str | None, show: Callable[[DeviceCode], None]
) -> Refreshed:
    """Tokens, once the person has said yes elsewhere. `show`: is called once. AuthenticationFailed."""
    assert settings.device_url is not None
    fetcher = fetcher_for(settings.token_url, settings.device_url)
    form = {"client_id": settings.client_id, **_asked_for(settings)}
    said = await _form(provider, fetcher, settings.device_url, form)
    try:
        device_code, user_code, url = said["device_code"], said["user_code"], said["verification_uri"]
        interval_s, expires_s = float(said.get("interval", 5)), float(said.get("expires_in", WAIT_S))
        if not all(isinstance(text, str) and text for text in (device_code, user_code, url)):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise _failed(provider, "the device endpoint's answer cannot be read") from None
    complete = said.get("verification_uri_complete")
    show(DeviceCode(user_code, url, complete if isinstance(complete, str) else None, expires_s))
    asking = {"grant_type": _DEVICE_GRANT, "device_code": device_code}
    try:
        async with asyncio.timeout(expires_s):
            while True:
                await asyncio.sleep(interval_s)
                found = await granted(fetcher, client_of(settings), asking, client_secret, [device_code])
                if isinstance(found, Refreshed):
                    return found
                match error_code(found, str):
                    case "authorization_pending":
                        pass
                    case "slow_down":
                        interval_s += _SLOWER_S
                    case _ if not found.reached:
                        interval_s *= 2  # RFC 8628 section 3.5
                    case _:
                        raise _refused(provider, found)
    except TimeoutError:
        raise _failed(provider, "the code was not used in time") from None


async def log_in_by_browser(
    provider: str,
    settings: OAuthSettings,
    client_secret: str | None,
    show: Callable[[str], None],
    *,
    ask: Ask | None = None,
    wait_s: float = WAIT_S,
) -> Refreshed:
    """Tokens, once the browser has come back to an address of this machine. `show`: is called with where to go. `ask`: gets
    a line that the person types, where the browser is elsewhere: the code, or the address that it was sent to.
    AuthenticationFailed."""
    assert settings.authorize_url is not None
    proof = Proof.new()
    async with Callback().open() as callback:
        redirect = callback.url
        query = {
            "response_type": "code",
            "client_id": settings.client_id,
            "redirect_uri": redirect,
            "state": callback.secret,
            "code_challenge": proof.challenge,
            "code_challenge_method": "S256",
            **_asked_for(settings),
        }
        show(f"{settings.authorize_url}{'&' if '?' in settings.authorize_url else '?'}{urlencode(query)}")
        try:
            back = await callback.answer(wait_s, ask)
        except TimeoutError:
            raise _failed(provider, f"nobody came back from the browser in {wait_s:g} seconds") from None
    code = back.get("code")
    if not code:
        word = back.get("error", "")
        known = f" ({word})" if is_word(word) else ""
        raise _failed(provider, f"it was refused{known}")
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect, "code_verifier": proof.verifier}
    found = await granted(fetcher_for(settings.token_url), client_of(settings), form, client_secret, [code, proof.verifier])
    if isinstance(found, Refreshed):
        return found
    raise _refused(provider, found)


def _asked_for(settings: OAuthSettings) -> dict[str, str]:
    asked = {"scope": " ".join(settings.scopes), "resource": settings.resource}
    return {name: value for name, value in asked.items() if value}


async def _form(provider: str, fetcher: Fetcher, endpoint: str, form: dict[str, str]) -> dict[str, Any]:
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    url = parse(endpoint)
    try:
        answer = await fetcher.send("POST", url, headers=headers, body=urlencode(form).encode())
    except ToolFailed as error:
        raise _failed(provider, error.message) from None
    if answer.status != 200:
        raise _failed(provider, f"{url.brief} answers {answer.status}")
    try:
        return msgspec.json.decode(answer.body, type=dict[str, Any])
    except msgspec.MsgspecError:
        raise _failed(provider, f"{url.brief} answers with no JSON") from None


def _failed(provider: str, what: str) -> AuthenticationFailed:
    return AuthenticationFailed(f"the login to provider {provider!r} failed: {what}", provider=provider)


def _refused(provider: str, failed: RefreshFailed) -> AuthenticationFailed:
    return _failed(provider, f"{failed.message}{error_code(failed)}")
