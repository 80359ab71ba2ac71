"""Vendors: what services that speak OpenAI's chat format want otherwise than OpenAI does.

pydantic-ai has an adapter of its own for some of them, which needs an SDK that is not installed here; it also says of each
family what the models take, and that is used. Sources stand beside what is said here alone. What belongs to one history
(ids, thinking, the order of roles) is `translation.py`'s and `roles.py`'s.
"""

from __future__ import annotations

from typing import Any

_NONE = frozenset[str]()


def vendor_profile(vendor: str, model: str) -> dict[str, Any]:
    """What to tell pydantic-ai's chat adapter of a model of this service, beside what it knows of OpenAI's."""
    match vendor:
        case "mistral":
            from pydantic_ai.profiles.mistral import mistral_model_profile

            # https://docs.mistral.ai/api names `max_tokens`, and no files in messages. How much a model
            # thinks cannot be asked for.
            return {
                **mistral_model_profile(model),
                **_chat(),
                "supports_thinking": False,
                "thinking_always_enabled": False,
                "openai_chat_supports_max_completion_tokens": False,
                "openai_chat_send_back_thinking_parts": False,
            }
        case "groq":
            from pydantic_ai.profiles.groq import groq_model_profile

            told = dict(groq_model_profile(model))
            graded = told.get("groq_supports_graded_reasoning_effort", False)
            return {**_chat(), **_efforts(frozenset(("low", "medium", "high")) if graded else _NONE)}
        case "xai":
            from pydantic_ai.profiles.grok import grok_model_profile

            grok: Any = grok_model_profile(model) or {}
            return {**_chat(), **_efforts(frozenset(grok.get("grok_reasoning_efforts") or _NONE))}
        case "vllm" | "llama.cpp":
            return _chat()
    return {}


def _chat() -> dict[str, Any]:
    return {"openai_chat_supports_document_input": False}


def _efforts(efforts: frozenset[str]) -> dict[str, Any]:
    if not efforts:
        return {"supports_thinking": False, "thinking_always_enabled": False}
    always = "none" not in efforts
    return {"supports_thinking": True, "thinking_always_enabled": always, "openai_reasoning_efforts": efforts}


__all__ = ["vendor_profile"]
