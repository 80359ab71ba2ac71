"""RunLimit: how many runs one process drives at once, and which of those that wait comes next.

Owns the places and the line, in memory, for one event loop. Leaves out which runs need a place, and what a called one does.
Rules a change must keep: who is called has its place already, so none that comes later takes it; a place is given on the
moment it is left; the run that was started first comes first, whenever it came into the line.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

from ..core.errors import InvalidArgument
from ..core.ids import SessionId


class RunLimit:
    """`most`: how many places there are. `call`: is told whose turn it is; that session has a place from then on, unless it
    answers False.
    """

    def __init__(self, most: int, call: Callable[[SessionId], bool]) -> None:
        self.most = most
        self._call = call
        self._taken: set[SessionId] = set()
        self._standing: dict[SessionId, tuple[int, int]] = {}
        self._line: list[tuple[int, int, SessionId]] = []  # some of them have gone: only those in `_standing` count
        self._number = count()

    @property
    def waiting(self) -> tuple[SessionId, ...]:
        """Who stands in line, the next one first."""
        return tuple(sorted(self._standing, key=self._standing.__getitem__))

    def resize(self, most: int) -> None:
        """There are so many places from now on; who has one keeps it."""
        self.most = most
        self._give_on()

    def enter(self, session: SessionId, started_ms: int) -> bool:
        """Take a place, or else stand in line by when the run was started; True with a place. Safe to repeat."""
        if session in self._taken:
            return True
        if len(self._taken) < self.most:
            self._standing.pop(session, None)
            self._taken.add(session)
            return True
        if session not in self._standing:
            entry = (started_ms, next(self._number))
            self._standing[session] = entry
            heapq.heappush(self._line, (*entry, session))
        return False

    def leave(self, session: SessionId) -> None:
        """Give the place on, if it has one; whoever stands in line stays there."""
        if session in self._taken:
            self._taken.discard(session)
            self._give_on()

    def quit(self, session: SessionId) -> None:
        """Neither have a place nor stand in line any more."""
        self._standing.pop(session, None)
        self.leave(session)

    def _give_on(self) -> None:
        while self._line and len(self._taken) < self.most:
            *entry, session = heapq.heappop(self._line)
            if self._standing.get(session) != tuple(entry):
                continue
            del self._standing[session]
            self._taken.add(session)
            if not self._call(session):
                self._taken.discard(session)


def checked(most: Any) -> int:
    """The number, as a limit of runs. InvalidArgument unless it is a whole number greater than 0."""
    if isinstance(most, bool) or not isinstance(most, int) or most <= 0:
        raise InvalidArgument(f"max_runs {most!r} is no whole number greater than 0; None is no limit", max_runs=most)
    return most


__all__ = ["RunLimit", "checked"]
