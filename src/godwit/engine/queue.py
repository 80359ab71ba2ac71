"""The queue of one session: inputs that were accepted and wait, and what became of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ..contracts import EventStore
from ..core.events import InputDelivered, InputWithdrawn, UserMessage
from ..core.facts import InputEntry, InputStatus
from ..core.ids import InputId, SessionId
from .inbox import Inbox
from .log import load_state


class Queue:
    """`session.queue`: list, withdraw and reorder what waits."""

    __slots__ = ("_inbox", "_session", "_store")

    def __init__(self, store: EventStore, session: SessionId, inbox: Inbox) -> None:
        self._store = store
        self._session = session
        self._inbox = inbox

    async def list(self, *, all: bool = False) -> list[InputEntry]:  # noqa: A002 - reads as it should
        """What waits, in the order of delivery; with `all`, every input the session ever had, oldest first."""
        # The state first: what it names stands in the log that is read then.
        state = None if all else await load_state(self._store, self._session)
        found: dict[InputId, InputEntry] = {}
        types = ("user.message", "input.delivered", "input.withdrawn")
        for event in await self._store.read(self._session, types=types):
            match event.data:
                case UserMessage() as data:
                    found[data.id] = InputEntry(
                        data.id, data.delivery, "accepted", data.content, event.seq, event.at_ms, data.metadata
                    )
                case InputDelivered(id=input_id) | InputWithdrawn(id=input_id) if input_id in found:
                    now: InputStatus = "delivered" if isinstance(event.data, InputDelivered) else "withdrawn"
                    found[input_id] = dataclasses.replace(found[input_id], status=now)
                case _:
                    pass
        if state is None:
            return [*found.values()]
        return [found[q.id] for q in state.gate.queue if found[q.id].status == "accepted"]

    async def withdraw(self, input_id: str) -> None:
        """Take a waiting input back. InputNotFound when it was delivered or withdrawn already."""
        await self._inbox.withdraw(InputId(input_id))

    async def reorder(self, order: Sequence[str]) -> None:
        """Put the follow-ups into this order; it names every one that waits. InputNotFound otherwise."""
        await self._inbox.reorder(tuple(InputId(i) for i in order))
