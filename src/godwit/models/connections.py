"""Connections to providers, one each: over which address, and with which key.

A key is the one that was given with the provider, else a stored one, else that of the environment; it is read anew for each
request, and whether there is one is known before any. Making a connection opens none. Leaves out which providers there are
and what their models are called (`registry`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ..contracts import KeySource
from ..core.errors import AuthenticationFailed
from ..core.keys import KeyStatus, ProviderKey, form_of, variable_of
from .key_value import key_of
from .providers import Connection, Provider


class Connections:
    """`keys`: where keys are stored, if anywhere; `account`: under which name a provider's is; `profiles`: what is said of a
    provider's models, as pydantic-ai calls it."""

    def __init__(
        self,
        environment: Mapping[str, str],
        keys: KeySource | None,
        *,
        account: Callable[[str], str],
        profiles: Callable[[Provider], dict[str, dict[str, Any]]],
        connect_timeout_s: float,
        read_timeout_s: float,
    ) -> None:
        self.keys = keys
        self._environment = environment
        self._account = account
        self._profiles = profiles
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._connections: dict[str, Connection] = {}
        self._asides: dict[str, Connection] = {}
        self._replaced: list[Connection] = []

    def forget(self, provider: str) -> None:
        """The next one to this provider is a new one; the one there was is closed with the others."""
        for those in (self._connections, self._asides):
            if (replaced := those.pop(provider, None)) is not None:
                self._replaced.append(replaced)

    async def close(self) -> None:
        those = [*self._replaced, *self._connections.values(), *self._asides.values()]
        self._replaced, self._connections, self._asides = [], {}, {}
        for connection in those:
            await connection.close()

    def aside(self, provider: Provider) -> Connection:
        """A connection to look at what is known of models without a key; nothing is asked over it."""
        connection = self._asides.get(provider.name)
        if connection is None:
            url, profiles = self.url(provider), self._profiles(provider)
            connection = self._asides[provider.name] = Connection(provider, base_url=url, profiles=profiles)
        return connection

    def connect(self, provider: Provider) -> Connection:
        """The one over which its models are asked. AuthenticationFailed when there is no key."""
        connection = self._connections.get(provider.name)
        if missing := self.missing(provider):
            raise self._no_key(provider, missing)
        if connection is None:
            connection = self._connections[provider.name] = Connection(
                provider,
                key=lambda refused: self._current(provider, refused),
                base_url=self.url(provider),
                connect_timeout_s=self._connect_timeout_s,
                read_timeout_s=self._read_timeout_s,
                profiles=self._profiles(provider),
            )
        return connection

    def _no_key(self, provider: Provider, missing: tuple[str, ...]) -> AuthenticationFailed:
        text = f"provider {provider.name!r} has no key: "
        stored = f"godwit login {provider.name}"
        if missing == (stored,):
            return AuthenticationFailed(f"{text}{stored} gets one", provider=provider.name, variables=[])
        or_stored = f", or store one with {stored}" if self.keys is not None else ""
        return AuthenticationFailed(
            f"{text}set {' or '.join(missing)}{or_stored}", provider=provider.name, variables=list(missing)
        )

    def missing(self, provider: Provider) -> tuple[str, ...]:
        """What would give it a key; empty when it has all it needs."""
        return self.status(provider).missing

    def status(self, provider: Provider) -> KeyStatus:
        """What may be told of its key. ConfigurationError when what is stored cannot be read."""
        name = provider.name
        if provider.api_key is not None:
            variable = variable_of(provider.api_key)
            missing = (variable,) if variable and not self._environment.get(variable, "").strip() else ()
            return KeyStatus(name, "explicit", "api_key", form_of(provider.api_key), variable, missing=missing)
        if self.keys is not None and (stored := self.keys.lookup(self._account(provider.name))) is not None:
            return msgspec.structs.replace(stored, provider=name)
        for variable in provider.key_env:
            if self._environment.get(variable, "").strip():
                return KeyStatus(name, "environment", "api_key", variable=variable)
        if provider.key_optional_with_url and self.url(provider) != provider.base_url:
            return KeyStatus(name)
        if not provider.key_env and provider.oauth is not None:
            return KeyStatus(name, missing=(f"godwit login {name}",))
        return KeyStatus(name, missing=provider.key_env)

    async def _current(self, provider: Provider, refused: str | None) -> ProviderKey | None:
        """The key for the next request. AuthenticationFailed."""
        status = self.status(provider)
        if status.missing:
            raise self._no_key(provider, status.missing)
        match status.origin:
            case "explicit":
                return ProviderKey(await key_of(provider.api_key or "", provider.name, self._environment))
            case "stored" if self.keys is not None:
                return await self.keys.current(self._account(provider.name), refused=refused)
            case "environment":
                return ProviderKey(await key_of(f"${status.variable}", provider.name, self._environment))
        return None

    def url(self, provider: Provider) -> str | None:
        """Where it is asked, None for its SDK's own address."""
        replaced = self._environment.get(provider.url_env) if provider.url_env else None
        return replaced or provider.base_url
