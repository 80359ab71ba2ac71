"""Logging in to a provider by OAuth: with a code typed elsewhere (RFC 8628), or in a browser here (RFC 8252 with PKCE).

Owns the two ways; leaves out asking a token endpoint (`oauth.py`) and what becomes of the tokens (`auth_store.py`). Rules:
what comes to the loopback address counts only with the `state` that was sent, once, and no answer shows what came; a code is
bound to this process by PKCE.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec

from ..core.errors import AuthenticationFailed, ToolFailed
from ..core.keys import OAuthSettings
from ..tools.fetch import Fetcher
from ..tools.url import parse
from .auth_store import client_of, error_code, fetcher_for, is_word
from .oauth import Refreshed, RefreshFailed, granted

WAIT_S = 600.0
"""How long a person may take in a browser."""
_DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_MOST_HEAD = 16_384
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
    provider: str, settings: OAuthSettings, client_secret: str | None, show: Callable[[str], None], *, wait_s: float = WAIT_S
) -> Refreshed:
    """Tokens, once the browser has come back to an address of this machine. `show`: is called with where to go.
    AuthenticationFailed."""
    assert settings.authorize_url is not None
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    came: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            async with asyncio.timeout(10):
                line = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n", 1)[0].decode("ascii", "replace").split(" ")
            writer.write(_page(*_took(line)))
            await writer.drain()
        writer.close()

    def _took(line: list[str]) -> tuple[int, str]:
        target = urlsplit(line[1]) if len(line) == 3 and line[0] == "GET" else None
        if target is None or target.path != "/callback":
            return 404, "There is nothing here."
        query = {name: values[0] for name, values in parse_qs(target.query).items()}
        if not hmac.compare_digest(query.get("state", "").encode(), state.encode()):
            return 400, "This is not the login that was begun."
        if not came.done():
            came.set_result(query)
        return 200, "You can close this window and go back to the terminal."

    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=_MOST_HEAD)
    async with server:
        redirect = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/callback"
        query = {
            "response_type": "code",
            "client_id": settings.client_id,
            "redirect_uri": redirect,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **_asked_for(settings),
        }
        show(f"{settings.authorize_url}{'&' if '?' in settings.authorize_url else '?'}{urlencode(query)}")
        try:
            async with asyncio.timeout(wait_s):
                back = await came
        except TimeoutError:
            raise _failed(provider, f"nobody came back from the browser in {wait_s:g} seconds") from None
    code = back.get("code")
    if not code:
        word = back.get("error", "")
        known = f" ({word})" if is_word(word) else ""
        raise _failed(provider, f"it was refused{known}")
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect, "code_verifier": verifier}
    found = await granted(fetcher_for(settings.token_url), client_of(settings), form, client_secret, [code, verifier])
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


def _page(status: int, text: str) -> bytes:
    body = f"<!doctype html><meta charset=utf-8><title>godwit</title><p>{text}</p>".encode()
    head = f"HTTP/1.1 {status} {'OK' if status == 200 else 'Not Found' if status == 404 else 'Bad Request'}\r\n"
    head += f"Content-Type: text/html; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
    # The address has the code in it: it is told to nobody, and nothing of the page is kept.
    return f"{head}Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n".encode() + body


def _failed(provider: str, what: str) -> AuthenticationFailed:
    return AuthenticationFailed(f"the login to provider {provider!r} failed: {what}", provider=provider)


def _refused(provider: str, failed: RefreshFailed) -> AuthenticationFailed:
    return _failed(provider, f"{failed.message}{error_code(failed)}")
