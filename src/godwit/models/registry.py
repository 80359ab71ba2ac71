"""Names to models: `provider:model` for the providers godwit knows, hints for those, and whatever a user registers or says.

Whether there is a key (`connections`) is known when a name is resolved. Resolving opens no connection and imports no SDK, so
a wrong name or a missing key is told at once. Models of one provider share one HTTP client. What is known of a model is the
`catalogue`'s, and what a user says of it stands before that.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec

from ..contracts import KeySource, Model, SupportsClose, SupportsInfo, SupportsPrice
from ..core.budget import Price
from ..core.errors import ConfigurationError, InvalidArgument, ModelNotFound
from ..core.keys import KeyStatus, OAuthSettings, checked_value
from ..core.messages import Usage
from ..core.model_info import ModelInfo
from .catalogue import info_of, listed_model, listed_models
from .connections import Connections
from .entry import ModelEntry
from .hints import ALIASES, expanded
from .live import LiveModel
from .prices import prices_of
from .providers import KNOWN_PROVIDERS, Connection, Provider, ProviderKind
from .thinking import profile_for

_SAME = ("openai-responses", "openai-chat")
"""Other ways to ask OpenAI's models, which are listed once."""


class Registry:
    """A `ModelRegistry`. `environment`: where keys and addresses are looked up, the process's by default.

    `read_timeout_s`: the longest silence within an answer. `cache`: mark prompts for Anthropic's cache. `prices`: what
    models cost, by name, in place of what is listed and of what GODWIT_PRICES says. `entries`: what a user says of models,
    by the names that are to mean them; of two that mean the same model both count, the later one first. `keys`: where keys
    are stored; by default nowhere, until a runtime is opened with this registry.
    ConfigurationError when the prices cannot be read, and for entries that mean each other.
    """

    def __init__(
        self,
        *,
        environment: Mapping[str, str] | None = None,
        connect_timeout_s: float = 10.0,
        read_timeout_s: float = 600.0,
        cache: bool = True,
        prices: Mapping[str, Price] | None = None,
        entries: Mapping[str, ModelEntry] | None = None,
        keys: KeySource | None = None,
    ) -> None:
        self._environment = os.environ if environment is None else environment
        self._connections = Connections(
            self._environment,
            keys,
            account=self.account,
            profiles=self._profiles,
            connect_timeout_s=connect_timeout_s,
            read_timeout_s=read_timeout_s,
        )
        self._prices = {**prices_of(self._environment.get("GODWIT_PRICES", "")), **(prices or {})}
        self._cache = cache
        self._providers = {p.name: p for p in KNOWN_PROVIDERS}
        self._models: dict[str, Model] = {}
        self._own: dict[str, Model | Callable[[], Model]] = {}
        self._entries = dict(entries or {})
        self._named = {alias: name for name, entry in self._entries.items() for alias in entry.aliases}
        self._infos: dict[str, ModelInfo] = {}
        for name in self._entries:
            self._meant(name)

    def register(self, name: str, model: Model | Callable[[], Model]) -> None:
        """Let `name` mean this model, or what the function makes at the first `resolve`. It wins over `provider:model`."""
        if not name.strip():
            raise InvalidArgument("a registered model needs a name")
        self._own[name] = model
        self._models.pop(name, None)
        self._infos.clear()

    def register_provider(
        self,
        name: str,
        *,
        kind: ProviderKind | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        api_key_env: str | None = None,
        oauth: OAuthSettings | None = None,
    ) -> None:
        """Add a provider, or give a known one another address: `name:model` resolves to it from now on.

        `kind`: by default the known provider's own, else OpenAI's chat completions. `api_key`: the key, or `!command` or
        `$NAME`. `oauth`: how `godwit login` gets a token. Without these and `api_key_env` no key is asked for; one that
        is stored for this name is sent all the same. InvalidArgument when the name, kind or key cannot be used.
        """
        known = self._providers.get(name)
        kind = kind or (known.kind if known is not None else "openai-chat")
        needs_url = kind in ("openai-chat", "openai-responses") and known is None
        if needs_url and base_url is None:
            raise InvalidArgument(f"provider {name!r} of kind {kind!r} needs a base_url")
        api_key = checked_value(api_key) if api_key and api_key.strip() else None
        variables = (api_key_env,) if api_key_env else ()
        self._providers[name] = Provider(name, kind, base_url, variables, None, False, api_key, oauth)
        self._connections.forget(name)
        self._infos.clear()
        for model in [m for m in self._models if m.partition(":")[0] == name and m not in self._own]:
            del self._models[model]

    def canonical(self, hint: str) -> str:
        """The name that a hint means: `provider:model`, or that of a registered model. ModelNotFound.

        Taken are, in this order, the names of registered models, names and aliases of entries, and hints (`hints.expanded`).
        Whether there is such a model is not asked, nor whether it has a key.
        """
        meant = self._meant(hint)
        if meant in self._own:
            return meant
        name = expanded(meant, self._providers)
        if name is None:
            raise self._unknown(meant)
        return name

    def resolve(self, name: str) -> Model:
        """The model of this name or hint. ModelNotFound, AuthenticationFailed (no key)."""
        model = self._models.get(name)
        if model is None:
            name = self.canonical(name)
            model = self._models.get(name)
            if model is None:
                model = self._models[name] = self._make(name)
        return model

    def find(self, hint: str) -> ModelInfo:
        """What is known of the model that this hint means; whether it can be asked stands in it. ModelNotFound.

        The first time it loads the provider's SDK and the list of prices: call it off the event loop.
        """
        name = self.canonical(hint)
        info = self._infos.get(name)
        if info is None:
            info = self._infos[name] = self._described(name)
        if name in self._own:
            return info
        # A key may have come or gone since it was looked at.
        missing = self._connections.missing(self._providers[name.partition(":")[0]])
        return info if info.missing == missing else msgspec.structs.replace(info, ready=not missing, missing=missing)

    def known(self, name: str) -> ModelInfo | None:
        """What `find` gave for this name before, or can give at once since it is a registered model's; else None."""
        info = self._infos.get(name)
        return self.find(name) if info is None and name in self._own else info

    def list(self, provider: str | None = None, *, ready: bool = False, deprecated: bool = False) -> tuple[ModelInfo, ...]:
        """The models that are known, by their names: those of entries, registered ones, and what is listed for each
        provider, or for this one. `ready`: only those that can be asked here. `deprecated`: also those their provider
        gives up.

        A provider may have more than are listed; those are asked for by their names all the same. ModelNotFound for an
        unknown provider. Call it off the event loop.
        """
        if provider is not None and provider not in {*self._providers, *(name.partition(":")[0] for name in self._own)}:
            raise ModelNotFound(
                f"there is no provider {provider!r}; known are {', '.join(sorted(self._providers))}", provider=provider
            )
        found = {info.name: info for info in map(self.find, dict.fromkeys(self._names(provider, ready)))}
        shown = [i for i in found.values() if (i.ready or not ready) and (deprecated or not i.deprecated)]
        return tuple(sorted(shown, key=lambda info: info.name))

    def set_price(self, name: str, price: Price) -> None:
        """This is what the model of this name costs from now on."""
        name = self._known_as(name)
        self._prices[name] = price
        self._infos.pop(name, None)
        if name not in self._own:
            self._models.pop(name, None)

    def cost_usd(self, name: str, usage: Usage) -> float | None:
        """What this usage of the model costs: by the price that was given, else as the model itself tells; None when no
        price is known. It may have to load a list: call it off the event loop when nothing was asked yet.
        """
        name = self._known_as(name)
        price = self._price(name)
        if price is not None:
            return price.of(usage)
        model = self.resolve(name)
        return model.cost_usd(usage) if isinstance(model, SupportsPrice) else None

    @property
    def providers(self) -> tuple[Provider, ...]:
        """Those that can be named: the known ones, then those that were added."""
        return tuple(self._providers.values())

    @property
    def environment(self) -> Mapping[str, str]:
        """Where keys and addresses are looked up."""
        return self._environment

    @property
    def keys(self) -> KeySource | None:
        """Where keys are stored."""
        return self._connections.keys

    def use_keys(self, keys: KeySource) -> None:
        """From now on these are the stored keys."""
        self._connections.keys = keys
        self._infos.clear()

    def key_status(self, provider: str) -> KeyStatus:
        """What may be told of the key that is sent to this provider. ModelNotFound for an unknown one; ConfigurationError
        when what is stored cannot be read."""
        known = self._providers.get(provider)
        if known is None:
            raise ModelNotFound(
                f"there is no provider {provider!r}; known are {', '.join(sorted(self._providers))}", provider=provider
            )
        return self._connections.status(known)

    def base_url(self, provider: str) -> str | None:
        """Where this provider is asked, None for its SDK's own address. ModelNotFound for an unknown one."""
        self.key_status(provider)
        return self._connections.url(self._providers[provider])

    def account(self, provider: str) -> str:
        """Under which name the key of this provider is stored: OpenAI has one, in whichever format it is asked."""
        known = self._providers.get(provider)
        return "openai" if provider in _SAME and (known is None or known in KNOWN_PROVIDERS) else provider

    def available(self) -> Sequence[tuple[str, bool]]:
        """Each provider by name, and whether all it needs to be asked is set."""
        return [(p.name, not self._connections.missing(p)) for p in sorted(self._providers.values(), key=lambda p: p.name)]

    async def close(self) -> None:
        """Close the HTTP clients, and registered models that can be closed."""
        models, self._models = list(self._models.values()), {}
        await self._connections.close()
        for model in models:
            if isinstance(model, SupportsClose):
                await model.close()

    def _make(self, name: str) -> Model:
        own = self._own.get(name)
        if own is not None:
            return cast("Model", own) if hasattr(own, "stream") else own()
        provider = self._providers[name.partition(":")[0]]
        return LiveModel(
            name, self._connections.connect(provider), cache=self._cache, price=self._price(name), info=self._info_soon(name)
        )

    def _info_soon(self, name: str) -> Callable[[], ModelInfo]:
        return lambda: self.find(name)

    def _unknown(self, hint: str) -> ModelNotFound:
        known = ", ".join(sorted(self._providers))
        head, colon, rest = hint.partition(":")
        if colon and rest.strip() and head not in self._providers:
            return ModelNotFound(f"model {hint!r}: no provider {head!r}; known are {known}", model=hint, provider=head)
        names = [*self._own, *self._entries, *self._named, *ALIASES]
        near = difflib.get_close_matches(hint, names, 1)
        meant = f"; did you mean {near[0]!r}?" if near and hint.strip() else ""
        text = f"model {hint!r} is neither registered nor a known alias nor of the form provider:model (providers: {known})"
        return ModelNotFound(f"{text}{meant}", model=hint)

    # --- entries and what is known ------------------------------------------------------------------------------------

    def _meant(self, hint: str) -> str:
        """What the entries make of a hint."""
        seen = [hint]
        while hint not in self._own:
            entry = self._entries.get(hint)
            meant = entry.model if entry is not None else self._named.get(hint)
            if meant is None or meant == hint:
                break
            if meant in seen:
                raise ConfigurationError(f"models mean each other: {' -> '.join([*seen, meant])}", models=seen)
            seen.append(meant)
            hint = meant
        return hint

    def _entries_of(self, name: str) -> Iterator[tuple[str, ModelEntry]]:
        for given, entry in self._entries.items():
            try:
                if self.canonical(given) == name:
                    yield given, entry
            except ModelNotFound:
                continue

    def _known_as(self, name: str) -> str:
        """Its name, also of a model that only has a price so far."""
        try:
            return self.canonical(name)
        except ModelNotFound:
            return name

    def _price(self, name: str) -> Price | None:
        given = self._prices.get(name)
        said = [entry.price for _, entry in self._entries_of(name) if entry.price is not None]
        return given if given is not None else said[-1] if said else None

    def _names(self, provider: str | None, ready: bool) -> Iterator[str]:
        for given in self._entries:
            try:
                name = self.canonical(given)
            except ModelNotFound:
                continue
            if provider is None or name.partition(":")[0] == provider:
                yield name
        yield from (name for name in self._own if provider is None or name.partition(":")[0] == provider)
        for one in self._providers.values():
            wanted = one.name not in _SAME if provider is None else one.name == provider
            if wanted and not (ready and self._connections.missing(one)):
                yield from (f"{one.name}:{line.id}" for line in listed_models(one))

    def _described(self, name: str) -> ModelInfo:
        head, _, model = name.partition(":")
        if name in self._own:
            own = self.resolve(name)
            info = own.info if isinstance(own, SupportsInfo) else ModelInfo(name, head, origin="configured")
        else:
            provider = self._providers[head]
            missing = self._connections.missing(provider)
            # The one that it will be asked over, where there can be one: making a second costs time.
            connection = self._connections.aside(provider) if missing else self._connections.connect(provider)
            info = info_of(name, connection, listed_model(provider, model))
            info = msgspec.structs.replace(info, ready=not missing, missing=missing)
        aliases = [alias for alias, meant in ALIASES.items() if meant == name]
        for given, entry in self._entries_of(name):
            info = entry.over(info)
            aliases += [alias for alias in (given, *entry.aliases) if alias != name]
        price = self._prices.get(name)
        changed: dict[str, Any] = {} if price is None else {"price": price, "tiered": False}
        return msgspec.structs.replace(info, aliases=tuple(dict.fromkeys(aliases)), **changed)

    def _profiles(self, provider: Provider) -> dict[str, dict[str, Any]]:
        """What the entries say of the provider's models, as pydantic-ai calls it."""
        found: dict[str, dict[str, Any]] = {}
        for given, entry in self._entries.items():
            try:
                head, _, model = self.canonical(given).partition(":")
            except ModelNotFound:
                continue
            if head == provider.name and given not in self._own:
                told = found.setdefault(model, {})
                if entry.thinking is not None:
                    told.update(profile_for(provider.kind, entry.thinking))
                if entry.context_window is not None:
                    told["context_window"] = entry.context_window
        return found

    # --- connections --------------------------------------------------------------------------------------------------

    def connection(self, provider: str) -> Connection:
        """The connection to this provider, over which its models are asked. ModelNotFound, AuthenticationFailed (no key)."""
        self.key_status(provider)
        return self._connections.connect(self._providers[provider])
