"""KeySource: where models get the keys that are stored for their providers."""

from __future__ import annotations

from typing import Protocol

from ..core.keys import KeyStatus, ProviderKey


class KeySource(Protocol):
    def lookup(self, provider: str) -> KeyStatus | None:
        """What is stored for this provider, without reading the key itself; None for nothing. Quick: it is called on the
        event loop. ConfigurationError when what is stored cannot be read."""
        ...

    async def current(self, provider: str, *, refused: str | None = None) -> ProviderKey | None:
        """The key as it is to be sent now; None when nothing is stored.

        Asked before each request, so it may be another one each time. `refused`: the provider does not take this one, so
        another is wanted if there can be one. AuthenticationFailed when there is one that cannot be
        had; ModelUnavailable when it may be had later; ConfigurationError as above.
        """
        ...
