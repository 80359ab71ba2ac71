"""What the parts of a `SubagentHost` work with: the runtime, as far as subagents need it."""

from __future__ import annotations

from typing import Any, Protocol

from ..contracts import EventStore
from ..core.ids import SessionId
from ..engine.driver import Parts


class Host(Protocol):
    """The runtime, as far as subagents need it."""

    @property
    def store(self) -> EventStore: ...
    @property
    def parts(self) -> Parts: ...

    @property
    def desk(self) -> Any:
        """Its `session(id)` gives a handle that drives, kept for as long as its run is open."""
        ...

    def hosts(self, session: SessionId) -> bool: ...
    async def do_once(self, session: SessionId, *, force: bool = False) -> None: ...


class SubagentPart:
    """A part of a `SubagentHost`."""

    def __init__(self, host: Host) -> None:
        self._host = host

    @property
    def _store(self) -> EventStore:
        return self._host.store

    @property
    def _parts(self) -> Parts:
        return self._host.parts
