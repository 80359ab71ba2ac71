"""Loading: whole logs that come from elsewhere, as an import brings them.

Leaves out what may stand in them beside what the gate checks: whoever brings a log folds it first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..core.events import Draft
from ..core.ids import ArtifactRef, Seq, SessionId


class Loading(Protocol):
    """Logs on their way into a store. Nobody sees any of them before `commit`, and then all at once.

    Promises every implementation keeps, proven by `godwit.testing.StoreConformance`:

    * until `commit`, and for ever after `discard`, the sessions are not there: not read, not listed, not counted.
    * each event passes `core.gate.admit`; those of a driver need no epoch here, and nothing is added to what is given.
      A refused `add` stores nothing of its events.
    * events keep their times, and the session its place in lists by them. Only that a session is there is told in the feed.
    * what a process that died had brought is removed at the next `load`; it takes room until then.

    The pages may be of any size and of several logs in any order; each `add` is one append, with the errors of
    `EventStore.append`.
    """

    async def add(self, session: SessionId, events: Sequence[Draft]) -> Seq:
        """The next events of this log, first of all `session.created`; returns its head. SessionExists, IllegalEvent."""
        ...

    async def add_artifact(self, session: SessionId, content: bytes, media_type: str) -> ArtifactRef:
        """A large output that a log given before holds. SessionNotFound when it is none of this loading's."""
        ...

    async def commit(self) -> None:
        """Let all of them be there. SessionExists, SessionNotFound (a parent), and nothing has changed: `discard` it."""
        ...

    async def discard(self) -> None:
        """Remove all that was given; nothing to do behind a `commit`. Idempotent."""
        ...


class LogLoader(Protocol):
    """What a store has for imports."""

    async def load(self) -> Loading: ...
