"""AuthStore: keys and tokens of model providers, as a person has stored them on this machine.

Owns what is stored for each provider, where its secret part is (file or keyring), and that an access token is renewed
before it ends, once for all tasks and processes. Leaves out the file itself (`auth_file.py`), how a person logs in
(`oauth_login.py`) and which of several keys counts (`models/registry.py`). Rule: only `current` gives a key out; nothing
else shows one, neither whole nor in parts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from ..core.errors import AuthenticationFailed, ConfigurationError, InvalidArgument, ModelUnavailable
from ..core.ids import Clock, SystemClock
from ..core.keys import KeyStatus, OAuthSettings, ProviderKey, checked_value, form_of, variable_of
from ..models.key_value import key_of
from ..models.registry import Registry
from .auth_file import AuthFile, Entry, default_file
from .keyring_secrets import KeyringSecrets, usable
from .oauth import Client, Refreshed, RefreshFailed, refresh
from .token_renewal import CLOSE_S, SOON_S

if TYPE_CHECKING:
    from ..contracts import ModelRegistry
    from ..tools.fetch import Fetcher

logger = logging.getLogger("godwit")

NO_KEYRING = "GODWIT_KEYRING"
"""Set to 0, new keys go into the file although there is a keyring."""


class AuthStore:
    """The keys that are stored on this machine; a `contracts.KeySource`, of which all processes see the same.

    `path`: the file, by default `auth_file.default_file`. `keyring`: whether new keys go to the keyring of the system; None
    for when there is one. `environment`: where variables are looked up, the process's by default.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        keyring: bool | None = None,
        environment: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._environment = os.environ if environment is None else environment
        self._file = AuthFile(default_file(environment) if path is None else os.path.abspath(os.fspath(path)))
        self._keyring = keyring
        self._clock = clock or SystemClock()
        self._renewing: dict[str, asyncio.Task[Refreshed]] = {}
        self._secrets: dict[str, tuple[str, dict[str, str]]] = {}

    def __repr__(self) -> str:
        return f"AuthStore({self._file.path!r})"

    @property
    def path(self) -> str | None:
        """The file; None where nothing can be stored."""
        return self._file.path

    # --- what is stored -----------------------------------------------------------------------------------------------

    async def get(self, provider: str) -> KeyStatus | None:
        """What may be told of the stored key; None when there is none. ConfigurationError when the file cannot be read."""
        return self.lookup(provider)

    async def list(self) -> tuple[KeyStatus, ...]:
        """What is stored, by the names of providers. ConfigurationError."""
        found = (self._told(name, entry) for name, entry in sorted(self._file.read().items()))
        return tuple(status for status in found if status is not None)

    async def set(self, provider: str, key: str, *, keyring: bool | None = None) -> KeyStatus:
        """Store a key in place of what is stored: the key itself, `!command` that prints it, or `$NAME` of the variable that
        holds it. `keyring`: other than the store does with new keys.

        InvalidArgument for what is no key, ConfigurationError where it cannot be stored.
        """
        value = checked_value(key)
        variable = variable_of(value)
        entry = Entry("api_key", _revision(), form=form_of(value), variable=variable)
        # The name of a variable is no secret.
        return await self._put(provider, entry, {"key": value}, False if variable else keyring)

    async def set_tokens(
        self, provider: str, tokens: Refreshed, settings: OAuthSettings, *, keyring: bool | None = None
    ) -> KeyStatus:
        """Store what a login has granted, with what is needed to renew it. ConfigurationError where it cannot be stored."""
        entry = Entry(
            "oauth",
            _revision(),
            expires_ms=self._expiry(tokens),
            renewable=tokens.refresh_token is not None,
            client=client_of(settings),
            client_secret_env=settings.client_secret_env,
        )
        secret = {"access": tokens.access_token}
        if tokens.refresh_token is not None:
            secret["refresh"] = tokens.refresh_token
        return await self._put(provider, entry, secret, keyring)

    async def remove(self, provider: str) -> bool:
        """Forget what is stored; False when there was nothing. ConfigurationError."""

        def work() -> bool:
            entry = self._file.read().get(provider)
            if entry is not None and entry.place == "keyring":
                self._in_keyring().remove(provider)
            return entry is not None and self._file.change(provider, lambda _: None) is not None

        return await asyncio.to_thread(work)

    async def close(self) -> None:
        """Let renewals under way end: what a token endpoint answers now is the only way to the next token."""
        if self._renewing:
            await asyncio.wait(self._renewing.values(), timeout=CLOSE_S)

    # --- KeySource ----------------------------------------------------------------------------------------------------

    def lookup(self, provider: str) -> KeyStatus | None:
        """See `KeySource.lookup`."""
        entry = self._file.read().get(provider)
        return None if entry is None else self._told(provider, entry)

    async def current(self, provider: str, *, refused: str | None = None) -> ProviderKey | None:
        """See `KeySource.current`."""
        entry = self._file.read().get(provider)
        if entry is None or self._told(provider, entry) is None:
            return None
        secret = await self._secret(provider, entry)
        if entry.kind == "api_key":
            return ProviderKey(await key_of(secret.get("key", ""), provider, self._environment))
        access = secret.get("access", "")
        if self._ends(entry) or (access == refused and entry.renewable):
            access = (await self._renewed(provider, refused)).access_token
        return ProviderKey(access, bearer=True)

    # --- within -------------------------------------------------------------------------------------------------------

    def _told(self, provider: str, entry: Entry) -> KeyStatus | None:
        """None for an entry that holds nothing, as when a person has emptied it."""
        form, variable = entry.form, entry.variable
        if entry.place == "file":
            value = (entry.secret or {}).get("key" if entry.kind == "api_key" else "access", "").strip()
            if not value:
                return None
            if entry.kind == "api_key":
                form, variable = form_of(value), variable_of(value)
        missing = (variable,) if variable and not self._environment.get(variable, "").strip() else ()
        return KeyStatus(
            provider, "stored", entry.kind, form, variable, entry.place, entry.expires_ms, entry.renewable, missing
        )

    async def _put(self, provider: str, entry: Entry, secret: dict[str, str], keyring: bool | None) -> KeyStatus:
        if not provider.strip() or ":" in provider:
            raise InvalidArgument(f"provider name {provider!r} must be a word without a colon")
        return await asyncio.to_thread(self._store, provider, entry, secret, keyring)

    def _store(self, provider: str, entry: Entry, secret: dict[str, str], keyring: bool | None) -> KeyStatus:
        self._file.read()  # a file that cannot be read is an error before anything goes to the keyring
        if self._file.path is not None and self.takes_keyring(keyring):
            self._in_keyring().put(provider, {**secret, "revision": entry.revision})
            entry = msgspec.structs.replace(entry, place="keyring")
        else:
            entry = msgspec.structs.replace(entry, secret=secret)
        before = self._file.change(provider, lambda _: entry)
        if before is not None and before.place == "keyring" and entry.place == "file":
            with contextlib.suppress(ConfigurationError):  # it may be gone with its library; the file is what counts
                self._in_keyring().remove(provider)
        told = self._told(provider, entry)
        assert told is not None
        return told

    def takes_keyring(self, wanted: bool | None = None) -> bool:
        """Whether new keys go to the keyring of the system. `wanted`: other than the store does."""
        wanted = self._keyring if wanted is None else wanted
        if wanted is None:
            return self._environment.get(NO_KEYRING) != "0" and usable()
        return wanted

    def _in_keyring(self) -> KeyringSecrets:
        return KeyringSecrets(self._file.path or "")

    async def _secret(self, provider: str, entry: Entry) -> dict[str, str]:
        if entry.place == "file":
            return entry.secret or {}
        kept = self._secrets.get(provider)
        if kept is None or kept[0] != entry.revision:
            found = await asyncio.to_thread(self._in_keyring().get, provider)
            if found is None:
                raise AuthenticationFailed(
                    f"the key of provider {provider!r} is no longer in the keyring: godwit login {provider} stores it anew",
                    provider=provider,
                )
            kept = self._secrets[provider] = (entry.revision, found)
        return kept[1]

    # --- tokens -------------------------------------------------------------------------------------------------------

    def _expiry(self, tokens: Refreshed) -> int | None:
        return None if tokens.expires_s is None else self._clock.now_ms() + int(tokens.expires_s * 1000)

    def _ends(self, entry: Entry, within_s: float = SOON_S) -> bool:
        return entry.expires_ms is not None and entry.expires_ms <= self._clock.now_ms() + within_s * 1000

    async def _renewed(self, provider: str, refused: str | None) -> Refreshed:
        """Once for all who want it, and to its end whoever stops waiting: many endpoints take a refresh token once."""
        renewing = self._renewing.get(provider)
        if renewing is None:
            renewing = asyncio.create_task(self._renew(provider, refused), name=f"renew {provider}")
            self._renewing[provider] = renewing

            def ended(task: asyncio.Task[Refreshed]) -> None:
                del self._renewing[provider]
                if not task.cancelled() and task.exception() is not None:
                    logger.info("the token of provider %s was not renewed", provider)  # those who wait are told why

            renewing.add_done_callback(ended)
        return await asyncio.shield(renewing)

    async def _renew(self, provider: str, refused: str | None) -> Refreshed:
        async with self._file.alone(provider):
            entry = self._file.read().get(provider)
            if entry is None:
                raise self._log_in(provider, "was removed meanwhile")
            secret = await self._secret(provider, entry)
            current = Refreshed(secret.get("access", ""))
            good = current.access_token != refused
            if good and not self._ends(entry):
                return current  # another process was faster
            failed: str | None = None
            if entry.client is not None and secret.get("refresh"):
                found = await refresh(
                    fetcher_for(entry.client.token_endpoint), entry.client, secret["refresh"], self._client_secret(entry)
                )
                if isinstance(found, Refreshed):
                    await asyncio.to_thread(self._keep, provider, entry, secret, found)
                    return found
                failed = f"{found.message}{error_code(found)}"
                if good and not self._ends(entry, 0):
                    logger.warning("the token of provider %s cannot be renewed and soon ends: %s", provider, failed)
                    return current
                if not found.reached or (
                    found.answer is not None and (found.answer.status >= 500 or found.answer.status == 429)
                ):
                    raise ModelUnavailable(
                        f"the token of provider {provider!r} cannot be renewed now: {failed}",
                        retryable=True,
                        provider=provider,
                    )
            elif not self._ends(entry, 0):
                return current
            raise self._log_in(
                provider, ("has ended" if good else "is refused") + (f" and cannot be renewed: {failed}" if failed else "")
            )

    def _log_in(self, provider: str, what: str) -> AuthenticationFailed:
        return AuthenticationFailed(
            f"the token of provider {provider!r} {what}; godwit login {provider} gets another", provider=provider
        )

    def _client_secret(self, entry: Entry) -> str | None:
        return self._environment.get(entry.client_secret_env, "").strip() if entry.client_secret_env else None

    def _keep(self, provider: str, used: Entry, secret: dict[str, str], found: Refreshed) -> None:
        """Unless a person has logged in or out meanwhile: what they said counts."""
        new = {**secret, "access": found.access_token}
        if found.refresh_token is not None:
            new["refresh"] = found.refresh_token
        entry = msgspec.structs.replace(used, revision=_revision(), expires_ms=self._expiry(found))
        if used.place == "file":
            entry = msgspec.structs.replace(entry, secret=new)

        def change(now: Entry | None) -> Entry | None:
            if now is None or now.revision != used.revision:
                return now
            if used.place == "keyring":
                self._in_keyring().put(provider, new)
            return entry

        self._file.change(provider, change)


def auth_of(models: ModelRegistry, auth: AuthStore | None) -> AuthStore:
    """The store of keys for these models: this one, else the one they have, else this machine's. It is theirs from then on,
    unless they are a registry that takes none."""
    if not isinstance(models, Registry):
        return auth or AuthStore()
    if auth is None and isinstance(models.keys, AuthStore):
        return models.keys
    auth = auth or AuthStore(environment=models.environment)
    models.use_keys(auth)
    return auth


def client_of(settings: OAuthSettings) -> Client:
    """How tokens of these settings are renewed."""
    return Client(
        settings.client_id,
        settings.token_url,
        "client_secret_post" if settings.client_secret_env else "none",
        resource=settings.resource,
    )


def fetcher_for(*urls: str | None) -> Fetcher:
    """Goes out to these addresses, wherever they lead, and to no other: a person has named them. ToolFailed."""
    from ..tools.address import AddressGuard
    from ..tools.fetch import Fetcher
    from ..tools.url import parse

    found = [parse(url) for url in urls if url is not None]
    return Fetcher(AddressGuard([f"[{u.host}]:{u.port}" if ":" in u.host else f"{u.host}:{u.port}" for u in found]))


def error_code(failed: RefreshFailed, text: Callable[[str], str] = " ({})".format) -> str:
    """The word of RFC 6749 section 5.2 with which an endpoint refuses, as `text` puts it; "" for none."""
    if failed.answer is None:
        return ""
    try:
        code = msgspec.json.decode(failed.answer.body, type=dict[str, object]).get("error")
    except msgspec.MsgspecError:
        return ""
    return text(code) if isinstance(code, str) and is_word(code) else ""


def is_word(code: str) -> bool:
    """Whether it is like an error of RFC 6749, so that it may be shown."""
    return code.isascii() and code.replace("_", "").isalpha() and len(code) <= 40


def _revision() -> str:
    return os.urandom(8).hex()
