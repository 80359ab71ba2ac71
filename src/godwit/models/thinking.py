"""Which thinking levels a model can tell apart, read from what pydantic-ai knows of it.

Each provider says it in its own way: an effort (OpenAI and those that speak its formats, newer Claude models), a budget of
tokens (older Claude models, Gemini 2.5), a level (Gemini 3 and later). pydantic-ai translates; this says which of our levels
would be translated to one and the same thing, and so are none of the model's own. A test compares it with request bodies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..core.agent import ThinkingLevel
from ..core.model_info import THINKING_LEVELS

if TYPE_CHECKING:
    from .providers import ProviderKind

_EFFORTS: dict[ThinkingLevel, str] = {"off": "none"}


def levels_of(kind: ProviderKind, profile: Mapping[str, Any]) -> tuple[ThinkingLevel, ...]:
    """The levels, from least to most. `off` alone: it does not think, or nothing is known of how to make it."""
    if not (profile.get("supports_thinking") or profile.get("thinking_always_enabled")):
        return ("off",)
    offered: set[ThinkingLevel] = set(THINKING_LEVELS)
    if profile.get("thinking_always_enabled"):
        offered.discard("off")
    match kind:
        case "anthropic":
            if profile.get("anthropic_supports_adaptive_thinking"):
                # Only the effort differs, and `minimal` and `low` have the same one.
                offered.discard("minimal")
                if not (
                    profile.get("anthropic_supports_xhigh_effort") or profile.get("anthropic_supports_max_effort", True)
                ):
                    offered.discard("xhigh")
        case "google" if not profile.get("google_supports_thinking_level", True):
            # The budget is the largest one at `high`.
            offered.discard("xhigh")
        case "google":
            if not profile.get("google_disables_thinking_with_zero_budget"):
                offered.discard("off")
            known = profile.get("google_thinking_levels")
            if known is None:
                known = {"LOW", "MEDIUM", "HIGH", *(("MINIMAL",) if _minimal_level(profile) else ())}
            offered -= {level for level in THINKING_LEVELS if level != "off" and level.upper() not in known}
        case "openrouter":
            # It takes three efforts of all models, and snaps them to what the routed one has.
            offered -= {"minimal", "xhigh"}
        case _:
            _by_effort(offered, profile)
    return tuple(level for level in THINKING_LEVELS if level in offered)


def _by_effort(offered: set[ThinkingLevel], profile: Mapping[str, Any]) -> None:
    efforts = profile.get("openai_reasoning_efforts")
    if efforts is not None:
        for level in THINKING_LEVELS:
            if _EFFORTS.get(level, level) not in efforts:
                offered.discard(level)
    elif not profile.get("openai_supports_minimal_reasoning_effort", True):
        offered.discard("minimal")


def _minimal_level(profile: Mapping[str, Any]) -> bool:
    return bool(profile.get("google_supports_minimal_thinking_level", True))


def profile_for(kind: ProviderKind, levels: tuple[ThinkingLevel, ...]) -> dict[str, Any]:
    """What to tell pydantic-ai of a model of which a user says that it has these levels."""
    thinking = any(level != "off" for level in levels)
    told: dict[str, Any] = {"supports_thinking": thinking, "thinking_always_enabled": thinking and "off" not in levels}
    if thinking and kind not in ("anthropic", "google", "openrouter"):
        told["openai_reasoning_efforts"] = frozenset(_EFFORTS.get(level, level) for level in levels)
    return told


__all__ = ["levels_of", "profile_for"]
