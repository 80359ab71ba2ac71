"""A producer that keeps what it is given, and fails where it is told to."""

from __future__ import annotations

from collections.abc import Sequence

from godwit.surfaces.agui.events import Event


class Gone(Exception):
    """Nobody was there."""


class Recorded:
    """`fails`: how many of the next emits raise Gone."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.fails = 0
        self.is_connected = True

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]

    async def emit(self, event: Event) -> None:
        if self.fails:
            self.fails -= 1
            raise Gone
        self.events.append(event)

    async def emit_many(self, events: Sequence[Event]) -> None:
        for event in events:
            await self.emit(event)
