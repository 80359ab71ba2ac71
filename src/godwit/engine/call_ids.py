"""The ids of a conversation's calls, so that those of the next answer are told apart from them.

Rule a change must keep: what was read is not read again, or each answer with a call costs more the longer the conversation
is. It leans on a transcript adding to its list of entries, and making another one whenever it changes anything else.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..core.ids import CallId
from ..core.messages import Assistant
from ..core.transcript import Entry


class CallIds:
    """Remembers the list that it read last, and how far."""

    def __init__(self) -> None:
        self._entries: Sequence[Entry] = ()
        self._read = 0
        self._ids: set[CallId] = set()

    def of(self, entries: Sequence[Entry]) -> set[CallId]:
        """The ids of all calls in these; not to be changed."""
        if entries is not self._entries:
            self._entries, self._read, self._ids = entries, 0, set()
        for place in range(self._read, len(entries)):
            message = entries[place].message
            if isinstance(message, Assistant):
                self._ids.update(call.id for call in message.calls)
        self._read = len(entries)
        return self._ids


__all__ = ["CallIds"]
