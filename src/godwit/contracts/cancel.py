"""The token by which work is called off. The engine makes them; parts that take time are given one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class CancelToken(Protocol):
    """A switch that goes one way. Children fall with their parent."""

    @property
    def cancelled(self) -> bool: ...
    def cancel(self) -> None: ...
    async def wait(self) -> None: ...
    def child(self) -> CancelToken: ...
    def on_cancel(self, call: Callable[[], None]) -> Callable[[], None]:
        """Call it when cancelled, at once if that has happened; returns the function that takes it back."""
        ...
