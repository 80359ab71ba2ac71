"""What sees to it that sessions are driven."""

from __future__ import annotations

from typing import Protocol

from ..core.ids import SessionId


class Dispatcher(Protocol):
    """Sees to it that a session with work to do is driven by somebody. It may call twice, late, or never forget."""

    def wake(self, session: SessionId) -> None: ...
