"""Hints: short names for models, and which provider a bare model id belongs to.

A hint becomes `provider:model` once, when a person gives it; that is what is stored, so a session means the same model
when the table below has moved on. Leaves out what is known of a model (`catalogue.py`) and whether it can be asked
(`registry.py`). Nothing here is read from anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Collection

ALIASES: dict[str, str] = {
    "sonnet": "anthropic:claude-sonnet-5-5",
    "opus": "anthropic:claude-opus-5-5",
    "haiku": "anthropic:claude-haiku-5-5",
    "fable": "anthropic:claude-fable-5-2",
    "gpt": "openai:gpt-6.1-sol",
    "gpt5": "openai:gpt-5",
    "gpt6": "openai:gpt-6-sol",
    "codex": "openai:gpt-5.3-codex",
    "gemini": "google:gemini-3.8-flash",
    "flash": "google:gemini-3.8-flash",
    "flash-lite": "google:gemini-3.5-flash-lite",
    "gemini-pro": "google:gemini-3.1-pro-preview",
    "deepseek": "deepseek:deepseek-flash",
    "mistral": "mistral:mistral-large-4",
    "codestral": "mistral:codestral-2508",
    "grok": "xai:grok-4.7",
}
"""The newest of each family that genai-prices 0.2.3 lists (2026-11-26)."""

_PREFIXES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), provider)
    for pattern, provider in (
        (r"claude-", "anthropic"),
        (r"(gpt-|chatgpt-|codex-|o\d(-|$))", "openai"),
        (r"(gemini-|gemma-)", "google"),
        (r"(mistral-|ministral-|magistral-|codestral-|devstral-|pixtral-|voxtral-|open-mi)", "mistral"),
        (r"deepseek-", "deepseek"),
        (r"grok-", "xai"),
    )
)
"""How ids begin that only one provider has. Open models that many serve (`llama-...`, `qwen...`) are not among them."""


def provider_by_prefix(model: str) -> str | None:
    """The provider whose models have ids like this one."""
    return next((provider for pattern, provider in _PREFIXES if pattern.match(model)), None)


def expanded(hint: str, providers: Collection[str]) -> str | None:
    """`provider:model` for a hint, None when it says too little.

    Taken are, in this order: `provider:model` and `provider/model` of a known provider, where the model may be an alias of
    this provider's (`anthropic:sonnet`); an alias; an id whose beginning tells the provider.
    """
    hint = hint.strip()
    head, separator, rest = _split(hint)
    if separator and head in providers:
        rest = rest.strip()
        if not rest:
            return None
        meant = ALIASES.get(rest.lower(), "").partition(":")
        return f"{head}:{meant[2] if meant[0] == head else rest}"
    if ":" in hint:
        return None
    if (alias := ALIASES.get(hint.lower())) is not None:
        return alias
    provider = provider_by_prefix(hint)
    return None if provider is None or provider not in providers else f"{provider}:{hint}"


def _split(hint: str) -> tuple[str, str, str]:
    """At the first colon or slash."""
    found = re.search(r"[:/]", hint)
    return (hint, "", "") if found is None else (hint[: found.start()], found[0], hint[found.end() :])


__all__ = ["ALIASES", "expanded", "provider_by_prefix"]
