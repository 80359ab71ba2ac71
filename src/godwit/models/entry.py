"""ModelEntry and ProviderEntry: what a user says of models and of who serves them, in a configuration file or in Python, in
place of what is known."""

from __future__ import annotations

from typing import Any

import msgspec

from ..core.agent import ThinkingLevel
from ..core.budget import Price
from ..core.errors import ConfigurationError
from ..core.keys import OAuthSettings
from ..core.model_info import THINKING_LEVELS, ModelInfo
from .providers import ProviderKind


class ModelEntry(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is said of a model under a name; None leaves what is known.

    `model`: what the name means: `provider:model` or a hint; by default the name itself. The other fields are those of
    `ModelInfo`, in its units; `price` in USD per million tokens. ConfigurationError.
    """

    model: str | None = None
    aliases: tuple[str, ...] = ()
    title: str | None = None
    context_window: int | None = None
    max_output: int | None = None
    price: Price | None = None
    images: bool | None = None
    documents: bool | None = None
    tools: bool | None = None
    parallel_tools: bool | None = None
    structured_output: bool | None = None
    thinking: tuple[ThinkingLevel, ...] | None = None

    def __post_init__(self) -> None:
        if self.model is not None and not self.model.strip():
            raise ConfigurationError("model is empty: leave it out, or name a provider:model", field="model")
        if any(not alias.strip() for alias in self.aliases):
            raise ConfigurationError("an alias is empty", field="aliases")
        for name in ("context_window", "max_output"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigurationError(f"{name}={value!r} must be 1 token or more", field=name)
        if self.thinking is not None:
            if not self.thinking:
                raise ConfigurationError('thinking lists no level: ["off"] says that it does not think', field="thinking")
            ordered = tuple(level for level in THINKING_LEVELS if level in self.thinking)
            msgspec.structs.force_setattr(self, "thinking", ordered)

    def said(self) -> dict[str, Any]:
        """The fields of `ModelInfo` that are set."""
        names = [name for name in self.__struct_fields__ if name not in ("model", "aliases")]
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def over(self, info: ModelInfo) -> ModelInfo:
        """What is known of the model, with what is said here in its place."""
        said = self.said()
        tiered = info.tiered and "price" not in said
        return msgspec.structs.replace(info, **said, tiered=tiered, origin="configured")


class ProviderEntry(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A provider of the user's, or another address for a known one; as for `Registry.register_provider`. `key_env`: the
    variable that holds its key; without one only a stored key is sent. `oauth`: how to log in to it."""

    base_url: str | None = None
    kind: ProviderKind | None = None
    key_env: str | None = None
    oauth: OAuthSettings | None = None


__all__ = ["ModelEntry", "ProviderEntry"]
