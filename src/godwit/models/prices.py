"""Prices of models: from the list installed with genai-prices, and of what runs on the user's own machine.

Prices that a user gives come first; they are the registry's (`registry.py`). Nothing here asks the network. Rule to keep:
what is not known is None and never 0, since a budget in money counts on it.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from ..core.budget import Price
from ..core.errors import ConfigurationError
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


def prices_of(text: str) -> dict[str, Price]:
    """Prices as a person writes them, in USD per million tokens: `ours:large=3/15, ours:small=0/0`.

    Behind input and output may stand those of tokens read from a cache and written to it. ConfigurationError.
    """
    found: dict[str, Price] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, numbers = entry.rpartition("=")
        try:
            amounts = [float(number) for number in numbers.split("/")]
            if not name.strip() or not 2 <= len(amounts) <= 4:
                raise ValueError
        except ValueError:
            raise ConfigurationError(
                f"GODWIT_PRICES: {entry!r} is not of the form model=input/output, such as ours:large=3/15", entry=entry
            ) from None
        found[name.strip()] = Price(*amounts)
    return found


def is_free(provider: str, base_url: str | None) -> bool:
    """Whether this provider runs here, and so takes no money."""
    if provider not in OWN_MACHINE or base_url is None:
        return False
    host = urlsplit(base_url).hostname or ""
    return host in _LOOPBACK or host.startswith("127.")


__all__ = ["is_free", "listed_cost", "prices_of"]
