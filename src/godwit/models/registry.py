"""Names to models: `provider:model` for the providers godwit knows, and whatever a user registers.

Keys and addresses come from the environment when a name is resolved. Resolving opens no connection and imports no SDK,
so a wrong name or a missing key is told at once. Models of one provider share one HTTP client.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import cast

from ..contracts import Model, SupportsClose, SupportsPrice
from ..core.budget import Price
from ..core.errors import AuthenticationFailed, InvalidArgument, ModelNotFound
from ..core.messages import Usage
from .live import LiveModel
from .prices import prices_of
from .providers import KNOWN_PROVIDERS, Connection, Provider, ProviderKind


class Registry:
    """A `ModelRegistry`. `environment`: where keys and addresses are looked up, the process's by default.

    `read_timeout_s`: the longest silence within an answer. `cache`: mark prompts for Anthropic's cache. `prices`: what
    models cost, by name, in place of what is listed and of what GODWIT_PRICES says. ConfigurationError when that cannot be
    read.
    """

    def __init__(
        self,
        *,
        environment: Mapping[str, str] | None = None,
        connect_timeout_s: float = 10.0,
        read_timeout_s: float = 600.0,
        cache: bool = True,
        prices: Mapping[str, Price] | None = None,
    ) -> None:
        self._environment = os.environ if environment is None else environment
        self._prices = {**prices_of(self._environment.get("GODWIT_PRICES", "")), **(prices or {})}
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._cache = cache
        self._providers = {p.name: p for p in KNOWN_PROVIDERS}
        self._connections: dict[str, Connection] = {}
        self._replaced: list[Connection] = []
        self._models: dict[str, Model] = {}
        self._own: dict[str, Model | Callable[[], Model]] = {}

    def register(self, name: str, model: Model | Callable[[], Model]) -> None:
        """Let `name` mean this model, or what the function makes at the first `resolve`. It wins over `provider:model`."""
        if not name.strip():
            raise InvalidArgument("a registered model needs a name")
        self._own[name] = model
        self._models.pop(name, None)

    def register_provider(
        self,
        name: str,
        *,
        kind: ProviderKind | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        api_key_env: str | None = None,
    ) -> None:
        """Add a provider, or give a known one another address: `name:model` resolves to it from now on.

        `kind`: by default the known provider's own, else OpenAI's chat completions. Without `api_key` and `api_key_env`
        no key is asked for. InvalidArgument when the name or kind cannot be used.
        """
        known = self._providers.get(name)
        kind = kind or (known.kind if known is not None else "openai-chat")
        needs_url = kind in ("openai-chat", "openai-responses") and known is None
        if needs_url and base_url is None:
            raise InvalidArgument(f"provider {name!r} of kind {kind!r} needs a base_url")
        self._providers[name] = Provider(name, kind, base_url, (api_key_env,) if api_key_env else (), None, False, api_key)
        if (replaced := self._connections.pop(name, None)) is not None:
            self._replaced.append(replaced)
        for model in [m for m in self._models if m.partition(":")[0] == name and m not in self._own]:
            del self._models[model]

    def resolve(self, name: str) -> Model:
        model = self._models.get(name)
        if model is None:
            model = self._models[name] = self._make(name)
        return model

    def set_price(self, name: str, price: Price) -> None:
        """This is what the model of this name costs from now on."""
        self._prices[name] = price
        if name not in self._own:
            self._models.pop(name, None)

    def cost_usd(self, name: str, usage: Usage) -> float | None:
        """What this usage of the model costs: by the price that was given, else as the model itself tells; None when no
        price is known. It may have to load a list: call it off the event loop when nothing was asked yet.
        """
        price = self._prices.get(name)
        if price is not None:
            return price.of(usage)
        model = self.resolve(name)
        return model.cost_usd(usage) if isinstance(model, SupportsPrice) else None

    def available(self) -> list[tuple[str, bool]]:
        """Each provider by name, and whether all it needs to be asked is set."""
        return [(p.name, not self._missing(p)) for p in sorted(self._providers.values(), key=lambda p: p.name)]

    async def close(self) -> None:
        """Close the HTTP clients, and registered models that can be closed."""
        connections = [*self._replaced, *self._connections.values()]
        self._replaced, self._connections = [], {}
        models, self._models = list(self._models.values()), {}
        for connection in connections:
            await connection.close()
        for model in models:
            if isinstance(model, SupportsClose):
                await model.close()

    def _make(self, name: str) -> Model:
        own = self._own.get(name)
        if own is not None:
            return cast("Model", own) if hasattr(own, "stream") else own()
        prefix, colon, model = name.partition(":")
        known = ", ".join(sorted(self._providers))
        if not colon or not model.strip():
            raise ModelNotFound(
                f"model {name!r} is neither registered nor of the form provider:model (providers: {known})", model=name
            )
        provider = self._providers.get(prefix)
        if provider is None:
            raise ModelNotFound(f"model {name!r}: no provider {prefix!r}; known are {known}", model=name, provider=prefix)
        return LiveModel(name, self._connect(provider), cache=self._cache, price=self._prices.get(name))

    def _connect(self, provider: Provider) -> Connection:
        connection = self._connections.get(provider.name)
        if connection is None:
            if missing := self._missing(provider):
                raise AuthenticationFailed(
                    f"provider {provider.name!r} has no key: set {' or '.join(missing)}",
                    provider=provider.name,
                    variables=list(missing),
                )
            connection = self._connections[provider.name] = Connection(
                provider,
                api_key=self._key(provider),
                base_url=self._url(provider),
                connect_timeout_s=self._connect_timeout_s,
                read_timeout_s=self._read_timeout_s,
            )
        return connection

    def _missing(self, provider: Provider) -> tuple[str, ...]:
        if not provider.key_env or self._key(provider):
            return ()
        if provider.key_optional_with_url and self._url(provider) != provider.base_url:
            return ()
        return provider.key_env

    def _key(self, provider: Provider) -> str | None:
        if provider.api_key:
            return provider.api_key
        return next((self._environment[v] for v in provider.key_env if self._environment.get(v)), None)

    def _url(self, provider: Provider) -> str | None:
        replaced = self._environment.get(provider.url_env) if provider.url_env else None
        return replaced or provider.base_url
