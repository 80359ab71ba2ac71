"""Callers: who asks. By an API key or a token, in `Authorization: Bearer` or in `X-Api-Key`; by nothing on a loopback."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from ...core.errors import ConfigurationError, Unauthenticated
from ...core.principal import LOCAL, Principal
from ...host.api_keys import PREFIX, ApiKeys
from .service import Service
from .tokens import Tokens

MAX_CREDENTIAL = 16 * 1024
"""Bytes."""


class Callers:
    """Tells callers apart for one server."""

    def __init__(self, service: Service) -> None:
        settings = service.settings
        self.keys = ApiKeys(service.store, service.runtime.clock, service.runtime.ids)
        self._asks = settings.asks_for_keys
        self._tokens = None if settings.jwt is None else Tokens(settings.jwt, service.runtime.clock)

    @property
    def ask(self) -> bool:
        """Whether a key is asked for."""
        return self._asks

    async def principal(self, request: HTTPConnection) -> Principal:
        """Unauthenticated. Without keys it is whoever can reach this server, whatever was sent: clients insist on sending
        something."""
        if not self._asks:
            return LOCAL
        given = credential(request)
        if self._tokens is not None and not given.startswith(PREFIX) and given.count(".") == 2:
            return await self._tokens.principal(given)
        return await self.keys.principal(given)

    async def check(self) -> None:
        """Before it listens: somebody has to be able to get in. ConfigurationError."""
        if self._asks and self._tokens is None and not await self.keys.any_active():
            raise ConfigurationError(
                "this server asks for keys and there are none: make one with godwit keys create, or set jwt", field="keys"
            )


def credential(request: HTTPConnection) -> str:
    """The key or token as it was sent. Unauthenticated."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        given = request.headers.get("x-api-key", "")
    given = given.strip()
    if not given:
        raise Unauthenticated("no key was given: send it as Authorization: Bearer KEY, or as X-Api-Key")
    if len(given) > MAX_CREDENTIAL:
        raise Unauthenticated("this is no key: it is too long")
    return given
