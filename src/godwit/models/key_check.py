"""Whether a provider takes a key: one request that lists something and costs nothing."""

from __future__ import annotations

from typing import Literal

from ..core.errors import GodwitError
from .providers import Connection, ProviderKind

Verdict = Literal["accepted", "refused", "unclear"]

_BASES: dict[ProviderKind, str] = {
    "openai-responses": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "google": "https://generativelanguage.googleapis.com",
}
_PATHS: dict[ProviderKind, str] = {"anthropic": "/v1/models", "google": "/v1beta/models", "openrouter": "/key"}
_TIMEOUT_S = 15.0


async def check_key(connection: Connection) -> tuple[Verdict, str]:
    """What the provider says to the key, and in words. Nothing is raised, and the words hold no key."""
    kind = connection.provider.kind
    base = connection.base_url or _BASES.get(kind) or _BASES["openai-responses"]
    url = base.rstrip("/") + _PATHS.get(kind, "/models")
    try:
        await connection.authorize()
        response = await connection.ask(url, {"anthropic-version": "2023-06-01"} if kind == "anthropic" else {}, _TIMEOUT_S)
    except GodwitError as error:
        return "refused" if error.code == "authentication_failed" else "unclear", error.message
    except Exception as error:  # the HTTP client's; its text may quote what was sent
        return "unclear", f"the provider cannot be reached ({type(error).__name__})"
    if response in (401, 403):
        return "refused", f"the provider does not accept the key (HTTP {response})"
    if 200 <= response < 300:
        return "accepted", "the provider accepts the key"
    return "unclear", f"the provider answers with HTTP {response}"
