"""The pending actions of one session: what it waits for a person or a client to answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..contracts import EventStore
from ..core.errors import ActionNotFound
from ..core.events import ActionKind, ActionOpened
from ..core.ids import ActionId, CallId, Clock, SessionId
from ..core.messages import ResultBlock, Text
from .inbox import Inbox
from .log import load_state


@dataclass(frozen=True)
class PendingAction:
    """`kind`: approval (may this call run?), question, or external (what is this call's result?). `age_s` in seconds."""

    id: ActionId
    kind: ActionKind
    call: CallId | None
    name: str
    arguments: dict[str, Any]
    message: str | None
    opened_ms: int
    age_s: float


class Approvals:
    """`session.approvals`: list and answer what is pending. Answers are durable, and repeating one changes nothing.

    An action may be named by its own id or by the id of the call it is about.
    """

    __slots__ = ("_clock", "_inbox", "_session", "_store")

    def __init__(self, store: EventStore, session: SessionId, inbox: Inbox, clock: Clock) -> None:
        self._store = store
        self._session = session
        self._inbox = inbox
        self._clock = clock

    async def pending(self) -> list[PendingAction]:
        """What waits for an answer, oldest first."""
        state = await load_state(self._store, self._session)
        waiting = {a.id for a in state.gate.actions if not a.answered}
        if not waiting:
            return []
        now = self._clock.now_ms()
        found = []
        for event in await self._store.read(self._session, types=("action.opened",)):
            data = event.data
            if isinstance(data, ActionOpened) and data.action in waiting:
                age_s = max(0.0, (now - event.at_ms) / 1000)
                found.append(
                    PendingAction(
                        data.action, data.kind, data.call, data.name, data.arguments, data.message, event.at_ms, age_s
                    )
                )
        return found

    async def approve(self, action: str, *, arguments: dict[str, Any] | None = None, sender: str | None = None) -> bool:
        """Let the call run; `arguments` replace all of its own, and the model is told so.

        False when the action had been answered before. ActionNotFound.
        """
        action_id = await self._find(action)
        return await self._inbox.answer(action_id, "approve", arguments=arguments, sender=sender)

    async def deny(self, action: str, reason: str | None = None, *, sender: str | None = None) -> bool:
        """Refuse the call; the model is told the reason. False when it had been answered before. ActionNotFound."""
        return await self._inbox.answer(await self._find(action), "deny", reason=reason, sender=sender)

    async def answer(
        self,
        action: str,
        result: str | tuple[ResultBlock, ...],
        *,
        is_error: bool = False,
        sender: str | None = None,
    ) -> bool:
        """Give an external call's result, or the answer to a question. False when it had been answered before."""
        content = (Text(result),) if isinstance(result, str) else result
        return await self._inbox.answer(
            await self._find(action), "result", content=content, is_error=is_error, sender=sender
        )

    async def _find(self, name: str) -> ActionId:
        """The action of this id, or the newest one about the call of this id. ActionNotFound."""
        newest = await self._store.read(self._session, types=("action.opened",), newest_first=True)
        for event in newest:
            if isinstance(event.data, ActionOpened) and name in (event.data.action, event.data.call):
                return event.data.action
        raise ActionNotFound(f"session {self._session} has no action or call {name!r}", action=name)
