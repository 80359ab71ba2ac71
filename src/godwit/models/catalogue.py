"""Catalogue: which models providers have, and what is known of each.

Windows, prices and lists come with genai-prices, abilities and thinking levels with pydantic-ai; both are part of the
installation, and nothing here asks the network. What neither of them knows stands here, each with its source: how long
an answer can be, and which models see no images or do not think.

Sources: the vendors' pages that are named below, as models.dev quotes them model by model (`limit.output` and
`modalities.input` in https://github.com/anomalyco/models.dev, `models/` and `providers/`), read on 2026-11-26. Rule to keep:
what is not known stays None, and what no such source says is not known.

Reading either library takes time: a quarter of a second, and about as much again for each provider's SDK. Call it off the
event loop; importing this module reads neither.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from ..core.budget import Price
from ..core.errors import GodwitError
from ..core.model_info import ModelInfo
from .providers import Connection, Provider
from .thinking import levels_of

_LISTED_AS = {"xai": "x-ai"}
"""What genai-prices calls a provider, where that is another name."""

_NO_CHAT = re.compile(
    r"embed|whisper|transcri|tts|realtime|audio|image|moderation|ocr|guard|live|dall-e|davinci|babbage|curie|(^|/)ada$|instruct$"
    r"|voice|speech|orpheus|timestral|nano-banana|omni-flash|-er-|computer-use|search-api|search-preview|:batch|deep-research"
    r"|voxtral|^ft:|\.ft-|^claude-v1$|^gemini-(pro|flash)-1\.5|vision-001$|:free$|:extended$|cyber|rosalind",
    re.IGNORECASE,
)
"""Models in the list that hold no conversations with tools."""

_MAX_OUTPUT: tuple[tuple[str, str, int | None], ...] = (
    # https://developers.openai.com/api/docs/models
    ("openai", r"gpt-[56](\.\d+)?-chat|gpt-chat", None),  # what is said of these differs from page to page
    ("openai", r"gpt-5-pro", 272_000),
    ("openai", r"gpt-5\.3-codex-spark", 32_000),
    ("openai", r"gpt-(5|6)", 128_000),
    ("openai", r"o1-preview", 32_768),
    ("openai", r"o1-mini", 65_536),
    ("openai", r"o[134]", 100_000),
    ("openai", r"gpt-4\.1", 32_768),
    ("openai", r"gpt-4o-2024-05-13", 4_096),
    ("openai", r"gpt-4o", 16_384),
    ("openai", r"gpt-4-turbo|gpt-3\.5-turbo($|-1106)", 4_096),
    ("openai", r"gpt-4$", 8_192),
    # https://ai.google.dev/gemini-api/docs/models
    ("google", r"gemini-(2\.5|3)", 65_536),
    ("google", r"gemini-2\.0", 8_192),
    # https://api-docs.deepseek.com/quick_start/pricing
    ("deepseek", r"deepseek-(chat$|flash$|v4)", 384_000),
)
"""Where neither library knows it: provider, how the id begins, tokens (None: not known). The first that fits counts."""

_TEXT_ONLY: tuple[tuple[str, str], ...] = (
    # https://developers.openai.com/api/docs/models
    ("openai", r"gpt-3\.5|gpt-4($|-32k|-0|-1)|o1-(mini|preview)|o3-mini|gpt-oss"),
    # https://console.groq.com/docs/models and /docs/vision name the models that see; these are none of them
    ("groq", r"openai/gpt-oss|llama-3\.[13]|llama3|moonshotai/kimi-k2|qwen/qwen3-|qwen-qwq|deepseek-r1|gemma"),
    # https://docs.mistral.ai/models
    (
        "mistral",
        # ministral-8b-latest is Ministral 3 by now, which sees
        r"codestral|devstral-(small|medium)-25(05|07)|devstral-2512|open-m|mistral-(7b|nemo|tiny|saba)|mistral-large-24"
        r"|mixtral|ministral-(3|8)b-2410$|ministral-3b-latest$",
    ),
    # https://api-docs.deepseek.com: DeepSeek sees from V4.1 on, which is deepseek-flash
    ("deepseek", r"deepseek-(chat|reasoner|v3|v4-(flash|pro)$)"),
    # The same open models, wherever they run.
    ("google", r"gemma-(2|3-1b)"),
    ("anthropic", r"claude-(2|instant)"),
    (
        "",
        r"gpt-oss|deepseek-(r1|coder|v3)|codestral|llama-?(2|3(\.[13])?)($|[:-])|qwen(2\.5|3)?(-coder)?($|:)|phi-?[34]($|:)",
    ),
)
"""Models that take no images: provider (empty for any), how the id begins."""

_NO_THINKING: tuple[tuple[str, str], ...] = (
    # https://platform.claude.com/docs/en/build-with-claude/extended-thinking
    ("anthropic", r"claude-(2|3-5|3-(haiku|opus|sonnet))"),
)
"""Models that do not think, although pydantic-ai says so of their family."""

_SURE = ("anthropic", "openai", "google")
"""Of models of these that are listed, what neither library denies is so."""

_NO_DOCUMENTS = frozenset(("openai-chat", "ollama", "deepseek"))
"""Formats in which no PDF can be said, but for OpenAI's own endpoint."""


class Listed(NamedTuple):
    """A line of the list."""

    id: str
    title: str
    context_window: int | None
    price: Price | None
    tiered: bool
    deprecated: bool


def listed_models(provider: Provider) -> list[Listed]:
    """The models of the provider that the installed list has, without those that hold no conversations."""
    from genai_prices.data_snapshot import get_snapshot

    name = _LISTED_AS.get(provider.system, provider.system)
    found = next((p for p in get_snapshot().providers if p.id == name), None)
    if found is None:
        return []
    own = [m for m in found.models if not _NO_CHAT.search(m.id) and not _elsewhere(name, m.id)]
    return [_listed(model) for model in own]


def _elsewhere(name: str, model: str) -> bool:
    """Whether the list has the model under a name by which this provider's own address does not know it."""
    return (name == "google" and model.startswith("claude")) or (name == "openrouter" and "/" not in model)


def listed_model(provider: Provider, model: str) -> Listed | None:
    """The line of the list that speaks of this id, dated ids included."""
    from genai_prices.data_snapshot import get_snapshot

    try:
        _, found = get_snapshot().find_provider_model(model, None, _LISTED_AS.get(provider.system, provider.system), None)
    except (LookupError, ValueError, AssertionError):
        return None
    return _listed(found)


def _listed(model: Any) -> Listed:
    prices = model.get_prices(datetime.now(UTC))
    read = {name: getattr(prices, f"{name}_mtok", None) for name in ("input", "output", "cache_read", "cache_write")}
    price = None
    if read["input"] is not None and read["output"] is not None:
        price = Price(**{name: _base(value) for name, value in read.items() if value is not None})
    tiered = any(hasattr(value, "tiers") for value in read.values())
    return Listed(model.id, model.name or "", model.context_window, price, tiered, bool(model.deprecated))


def _base(value: Any) -> float:
    return float(getattr(value, "base", value))


def info_of(name: str, connection: Connection, line: Listed | None) -> ModelInfo:
    """What is known of the model of this name, which is asked over this connection. Imports the provider's SDK."""
    provider = connection.provider
    model = name.partition(":")[2]
    try:
        profile: dict[str, Any] = dict(connection.profile(model))
    except (GodwitError, ImportError, ValueError, RuntimeError):
        profile = {}  # pydantic-ai refuses the name
    window = profile.get("context_window") or (None if line is None else line.context_window)
    known = ModelInfo(
        name,
        provider.name,
        title="" if line is None else line.title,
        context_window=window,
        max_output=profile.get("anthropic_max_output_tokens") or _max_output(provider, model),
        price=None if line is None else line.price,
        tiered=line is not None and line.tiered,
        deprecated=(line is not None and line.deprecated) or _given_up(provider, model),
        origin="guessed" if line is None else "listed",
    )
    if not profile:
        return known
    sure = provider.system in _SURE and (line is not None or provider.kind != "openai-chat")
    text_only = sees_no_images(provider, model) or profile.get("supports_image_input") is False
    documents = profile.get("supports_document_input", True) and not (text_only or _says_no_documents(provider))
    tools = bool(profile.get("supports_tools", True))
    thinks_not = any(where == provider.system and re.match(start, model) for where, start in _NO_THINKING)
    fields: dict[str, Any] = {
        "images": False if text_only else True if sure else None,
        "documents": False if not documents else True if sure else None,
        "tools": False if not tools else True if sure else None,
        "parallel_tools": False if not tools else True if sure else None,
        "structured_output": bool(profile.get("supports_json_schema_output", False)) if sure else None,
        "thinking": ("off",) if thinks_not else levels_of(provider.kind, profile),
    }
    return msgspec.structs.replace(known, **fields)


def sees_no_images(provider: Provider, model: str) -> bool:
    """Whether it is known that the model takes text alone."""
    own = model.rpartition("/")[2]
    return any(
        (where == provider.system and re.match(pattern, model)) or (not where and re.match(pattern, own))
        for where, pattern in _TEXT_ONLY
    )


def _given_up(provider: Provider, model: str) -> bool:
    """Whether the provider's SDK warns that the model ends, or has ended."""
    if provider.kind != "anthropic":
        return False
    from anthropic.resources.messages.messages import DEPRECATED_MODELS

    return model in DEPRECATED_MODELS


def _says_no_documents(provider: Provider) -> bool:
    return provider.kind in _NO_DOCUMENTS and provider.system != "openai"


def _max_output(provider: Provider, model: str) -> int | None:
    return next((most for where, start, most in _MAX_OUTPUT if where == provider.system and re.match(start, model)), None)


__all__ = ["Listed", "info_of", "listed_model", "listed_models", "sees_no_images"]
