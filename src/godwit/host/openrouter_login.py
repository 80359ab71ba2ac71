"""Signing in to OpenRouter, which gives any application a key of the person's who agrees (OAuth PKCE of its own make).

    GET  https://openrouter.ai/auth?callback_url=...&code_challenge=...&code_challenge_method=S256   in the browser
    POST https://openrouter.ai/api/v1/auth/keys   {"code", "code_verifier", "code_challenge_method"} -> {"key", "user_id"}

After https://openrouter.ai/docs/guides/overview/auth/oauth: no client id, no registration, a callback on localhost with any
port, and no `state`, so that a secret stands in the callback's path. What comes of it is a key as any other, without an end,
which the person can take back at OpenRouter. Leaves out where it is kept (`auth_store`).
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

import msgspec

from ..core.errors import AuthenticationFailed, ToolFailed
from ..tools.url import parse
from .auth_store import fetcher_for, is_word
from .oauth_callback import Ask, Callback, Proof

PROVIDER = "openrouter"
BASE_URL = "https://openrouter.ai/api/v1"


class _Key(msgspec.Struct):
    key: str


async def sign_in(show: Callable[[str], None], *, base_url: str = BASE_URL, ask: Ask | None = None, wait_s: float) -> str:
    """A new key, once the person has agreed. `show`: is called with where to go. `ask`: gets a line the person types: the
    code, or the address that the browser was sent to. AuthenticationFailed."""
    proof, site = Proof.new(), urlsplit(base_url)
    async with Callback(in_path=True).open() as callback:
        query = {
            "callback_url": callback.url,
            "code_challenge": proof.challenge,
            "code_challenge_method": "S256",
        }
        show(f"{site.scheme}://{site.netloc}/auth?{urlencode(query)}")
        try:
            back = await callback.answer(wait_s, ask)
        except TimeoutError:
            raise _failed(f"nobody came back from the browser in {wait_s:g} seconds") from None
    code = back.get("code")
    if not code:
        word = back.get("error", "")
        raise _failed(f"it was refused{f' ({word})' if is_word(word) else ''}")
    return await _exchanged(f"{base_url.rstrip('/')}/auth/keys", code, proof)


async def _exchanged(endpoint: str, code: str, proof: Proof) -> str:
    body = {"code": code, "code_verifier": proof.verifier, "code_challenge_method": "S256"}
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    url = parse(endpoint)
    try:
        answer = await fetcher_for(endpoint).send("POST", url, headers=headers, body=msgspec.json.encode(body))
    except ToolFailed as error:
        raise _failed(error.message) from None
    if answer.status != 200:
        why = {400: ": it does not take the way of proof", 403: ": the code is wrong, was used, or is too old"}
        raise _failed(f"{url.brief} answers {answer.status}{why.get(answer.status, '')}")
    try:
        key = msgspec.json.decode(answer.body, type=_Key).key
    except msgspec.MsgspecError:
        key = ""
    # What is stored may stand for a command or a variable: a service's word never does.
    if not key.isascii() or not key.isprintable() or not key.strip() or key.strip()[0] in "!$":
        raise _failed(f"{url.brief} answers without a key")
    return key.strip()


def _failed(what: str) -> AuthenticationFailed:
    return AuthenticationFailed(f"the login to provider {PROVIDER!r} failed: {what}", provider=PROVIDER)


__all__ = ["BASE_URL", "PROVIDER", "sign_in"]
