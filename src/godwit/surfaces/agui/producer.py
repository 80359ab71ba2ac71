"""What events are given to, so that they reach whoever follows: a connection, a queue, a list in a test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .events import Event


class EventProducer(Protocol):
    """A way out for events. One that raises has not sent the event that it was given."""

    async def emit(self, event: Event) -> None:
        """Sends one. Raises where it could not."""
        ...

    async def emit_many(self, events: Sequence[Event]) -> None:
        """Sends them in order, and stops at the first that it could not send."""
        ...

    @property
    def is_connected(self) -> bool:
        """Somebody can still be reached."""
        ...
