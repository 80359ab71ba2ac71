"""`godwit login`, `logout` and `auth status`: keys of model providers on this machine.

Rule: no key is shown, not even in parts.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import sys
import webbrowser
from typing import TYPE_CHECKING, Any

import msgspec

from ..core.ids import SystemClock
from ..core.keys import KeyStatus, OAuthSettings
from .cli_exit import DONE, FAILED, NOT_FOUND, CliError
from .cli_keyboard import Keyboard
from .cli_view import write_json
from .cli_words import clean, date_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..host.auth_store import AuthStore
    from ..host.oauth_login import DeviceCode
    from ..models.registry import Registry

MOST_BYTES = 65_536
"""What is read of standard input."""


async def log_in(
    provider: str | None,
    *,
    key_stdin: bool,
    key: bool,
    keyring: bool | None,
    device: bool,
    browser: bool,
    check: bool,
    as_json: bool,
) -> int:
    from ..host import openrouter_login
    from ..host.oauth_login import WAIT_S

    registry, store = _opened()
    try:
        name = provider or _asked_provider(registry)
        known = {one.name: one for one in registry.providers}
        if name not in known:
            raise CliError(
                f"there is no provider {name!r}; known are {', '.join(sorted(known))}",
                hint=f"[providers.{name}] in your configuration adds one",
            )
        account = registry.account(name)
        oauth = known[name].oauth
        if oauth is not None and not (key_stdin or key):
            status = await _by_oauth(store, account, oauth, device=device, browser=browser, keyring=keyring)
        elif device:
            raise CliError(f"provider {name!r} has no oauth in your configuration, which says where one logs in")
        elif name == openrouter_login.PROVIDER and not (key_stdin or key):
            base = registry.base_url(name) or openrouter_login.BASE_URL
            made = await openrouter_login.sign_in(
                shower(browser=browser), base_url=base, ask=None if browser else Keyboard().line, wait_s=WAIT_S
            )
            status = await store.set(account, made, keyring=keyring)
        elif not browser:
            raise CliError(f"provider {name!r} has no login in a browser, so there is none to be done elsewhere")
        else:
            status = await store.set(account, _read_key(name, key_stdin), keyring=keyring)
        where = "the keyring" if status.place == "keyring" else store.path
        print(f"stored for {name} in {where}", file=sys.stderr)
        counts = registry.key_status(name)
        if counts.missing:
            print(f"note: {' and '.join(counts.missing)} is not set", file=sys.stderr)
        return await _told(registry, [counts], check=check, as_json=as_json, strict=True) if check or as_json else DONE
    finally:
        await registry.close()
        await store.close()


async def log_out(provider: str, *, as_json: bool) -> int:
    registry, store = _opened()
    account = registry.account(provider)
    removed = await store.remove(account)
    if as_json:
        write_json({"provider": account, "removed": removed})
    elif not removed:
        print(f"nothing is stored for {clean(provider)}; godwit auth status shows what is", file=sys.stderr)
    else:
        print(f"forgot the key of {clean(account)}", file=sys.stderr)
        with contextlib.suppress(Exception):
            if (variable := registry.key_status(provider).variable) is not None:
                print(f"note: the key in {variable} counts now", file=sys.stderr)
    return DONE if removed else NOT_FOUND


async def show(provider: str | None, *, check: bool, as_json: bool) -> int:
    registry, store = _opened()
    try:
        statuses = [registry.key_status(one.name) for one in registry.providers if provider in (None, one.name)]
        known = {status.provider for status in statuses}
        # What is stored for a provider that this folder's configuration does not have is there all the same.
        beside = [one for one in await store.list() if one.provider not in known and provider in (None, one.provider)]
        if not statuses and not beside:
            registry.key_status(provider or "")  # raises
        if as_json or provider is not None:
            return await _told(registry, statuses + beside, check=check, as_json=as_json, strict=provider is not None)
        having = [one for one in statuses + beside if one.origin is not None]
        if not having:
            print("no provider has a key; godwit login PROVIDER stores one", file=sys.stderr)
        code = await _told(registry, having, check=check, as_json=False, strict=False)
        if lacking := [one.provider for one in statuses if one.missing]:
            print(f"without a key: {', '.join(lacking)}", file=sys.stderr)
        return code
    finally:
        await registry.close()
        await store.close()


def _opened() -> tuple[Registry, AuthStore]:
    from ..host.auth_store import auth_of
    from ..host.configured import registry_of
    from .cli_settings import load

    registry = registry_of(load(os.getcwd()))
    return registry, auth_of(registry, None)


async def _told(registry: Registry, statuses: list[KeyStatus], *, check: bool, as_json: bool, strict: bool) -> int:
    """One line for each. `strict`: fail for one that cannot be asked."""
    from ..models.key_check import check_key

    code = DONE
    known = {one.name for one in registry.providers}
    for status in statuses:
        verdict: tuple[str, str] | None = None
        if check and not status.missing and status.provider in known:
            verdict = await check_key(registry.connection(status.provider))
        if (strict and status.missing) or (verdict is not None and verdict[0] == "refused"):
            code = FAILED
        if as_json:
            shown: dict[str, Any] = {**msgspec.to_builtins(status), "ready": not status.missing}
            write_json(shown if verdict is None else {**shown, "check": verdict[0], "said": verdict[1]})
        else:
            print("  ".join([status.provider, _in_words(status), *([] if verdict is None else [clean(verdict[1])])]))
    return code


def _in_words(status: KeyStatus) -> str:
    if status.missing:
        named = " and ".join(status.missing) if status.origin else " or ".join(status.missing)
        return f"no key: {named}" if named.startswith("godwit ") else f"no key: set {named}"
    match status.origin:
        case None:
            return "needs no key"
        case "environment":
            return f"key in {status.variable}"
        case "explicit":
            return "key given by the configuration"
    where = "in the keyring" if status.place == "keyring" else "in the file"
    if status.kind == "oauth":
        if status.expires_ms is None:
            return f"token stored {where}"
        over = status.expires_ms <= SystemClock().now_ms()
        ends = f"{'ended' if over else 'ends'} {date_of(status.expires_ms)}"
        return f"token stored {where}, {ends}" + (", renewed when it is needed" if status.renewable else "")
    how = {"command": f"by a command {where}", "variable": f"as ${status.variable}"}.get(status.form or "", where)
    return f"key stored {how}"


def _asked_provider(registry: Registry) -> str:
    if not sys.stdin.isatty():
        raise CliError("login needs the name of a provider, as in provider:model", hint="godwit auth status lists them")
    print(", ".join(sorted(one.name for one in registry.providers)), file=sys.stderr)
    return input("Provider: ").strip()


def _read_key(provider: str, from_stdin: bool) -> str:
    if from_stdin:
        raw = sys.stdin.buffer.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise CliError(f"standard input has more than {MOST_BYTES} bytes: this is no key")
        return raw.decode("utf-8", "replace")
    if not sys.stdin.isatty():
        raise CliError("there is no terminal to ask for the key", hint="--key-stdin reads it from standard input")
    return getpass.getpass(f"Key of {provider} (not shown): ")


async def _by_oauth(
    store: AuthStore, provider: str, oauth: OAuthSettings, *, device: bool, browser: bool, keyring: bool | None
) -> KeyStatus:
    from ..host.oauth_login import log_in_by_browser, log_in_by_device

    secret = os.environ.get(oauth.client_secret_env, "").strip() if oauth.client_secret_env else None
    if secret == "":
        raise CliError(f"the client's secret is to be in {oauth.client_secret_env}, which is not set")
    if device and oauth.device_url is None:
        raise CliError(f"provider {provider!r} has no device_url in its oauth; without --device the browser is used")
    if oauth.authorize_url is None or device:
        tokens = await log_in_by_device(provider, oauth, secret, _show_code)
    else:
        ask = None if browser else Keyboard().line
        tokens = await log_in_by_browser(provider, oauth, secret, shower(browser=browser), ask=ask)
    return await store.set_tokens(provider, tokens, oauth, keyring=keyring)


def _show_code(code: DeviceCode) -> None:
    print(f"Open {clean(code.url)} and type {clean(code.user_code)}", file=sys.stderr)
    if code.complete is not None:
        print(f"or open {clean(code.complete)}", file=sys.stderr)


def shower(*, browser: bool) -> Callable[[str], None]:
    """Shows where to log in, and opens it where there is a browser."""

    def show(url: str) -> None:
        print(f"Log in at {url}", file=sys.stderr, flush=True)
        if not browser:
            text = "then paste here the code, or the address that the browser was sent to, also if it shows no page:"
            print(text, file=sys.stderr, flush=True)
        elif os.environ.get("BROWSER") or sys.stderr.isatty():
            # A browser may write where we do, and take its time.
            asyncio.get_running_loop().run_in_executor(None, webbrowser.open, url)

    return show
