"""Prices of models: from the list installed with genai-prices, and of what runs on the user's own machine.

Prices that a user gives come first; they are the registry's (`registry.py`). Nothing here asks the network. Rule to keep:
what is not known is None and never 0, since a budget in money counts on it.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from ..core.messages import Usage

OWN_MACHINE = frozenset(("ollama", "vllm", "llama.cpp"))
"""Providers that cost nothing at an address of this machine."""
_LOOPBACK = frozenset(("localhost", "::1"))


def listed_cost(system: str, model: str, usage: Usage) -> float | None:
    """USD by the installed list; None when it does not have the model.

    The list takes a quarter of a second to load, the first time.
    """
    from genai_prices import Usage as Counted, calc_price

    counted = Counted(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
    )
    try:
        return float(calc_price(counted, model, provider_id=system).total_price)
    except (LookupError, ValueError, AssertionError):
        return None


def is_free(provider: str, base_url: str | None) -> bool:
    """Whether this provider runs here, and so takes no money."""
    if provider not in OWN_MACHINE or base_url is None:
        return False
    host = urlsplit(base_url).hostname or ""
    return host in _LOOPBACK or host.startswith("127.")


__all__ = ["is_free", "listed_cost"]
