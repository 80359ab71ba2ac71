"""What each protocol tells webhooks, put together. It loads no web framework, since the command line asks as well."""

from __future__ import annotations

from ...host.webhook_queue import Source


def webhook_sources() -> tuple[Source, ...]:
    from ..managed_agents.webhooks import SOURCE

    return (SOURCE,)
