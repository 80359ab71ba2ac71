"""Calls: from the id of an event that shows a call to what the session asks about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ...contracts import EventStore
from ...core.errors import InvalidArgument
from ...core.events import ActionKind, ActionOpened, AgentMessage, ModelStarted
from ...core.ids import ActionId, CallId, Seq, SessionId
from .event_ids import call_number, is_handed_out, place_of_id
from .projection import BUILT_IN, is_budget_question

_PAGE: Final = 256


@dataclass(frozen=True)
class Asked:
    """What is asked about a call; `custom`: its tool is the client's own."""

    action: ActionId
    kind: ActionKind
    name: str
    custom: bool


async def asked_by(store: EventStore, session: SessionId, event: str) -> Asked:
    """What was asked last about the call that this event shows. InvalidArgument when the id is none of such an event's."""
    place = place_of_id(session, event)
    if place is None or place[0] < 1:
        raise InvalidArgument(f"session {session!r} has no event {event!r}", id=event)
    seq, index = place
    number = call_number(index)
    opened = await _question(store, session, seq) if number is None else await _about(store, session, seq, number)
    if opened is None:
        raise InvalidArgument(f"event {event!r} is no call that waits, or waited, for an answer", id=event)
    custom = opened.call is not None and opened.kind != "approval" and opened.name not in BUILT_IN
    if number is not None and is_handed_out(index) and not custom:
        raise InvalidArgument(f"event {event!r} is no call that waits, or waited, for an answer", id=event)
    return Asked(opened.action, opened.kind, opened.name, custom)


async def _question(store: EventStore, session: SessionId, seq: Seq) -> ActionOpened | None:
    """The question of a run's own that was opened there."""
    found = await store.read(session, Seq(seq - 1), to_seq=seq)
    data = found[0].data if found else None
    if not isinstance(data, ActionOpened) or data.call is not None or is_budget_question(data.name, data.arguments):
        return None
    return data


async def _about(store: EventStore, session: SessionId, request: Seq, number: int) -> ActionOpened | None:
    """The last action about this call of the answer to the model request that began there."""
    found = await store.read(session, Seq(request - 1), types=("model.started", "agent.message"), limit=2)
    if len(found) < 2 or found[0].seq != request:
        return None
    started, answer = found[0].data, found[1].data
    if not isinstance(started, ModelStarted) or not isinstance(answer, AgentMessage):
        return None
    calls = answer.message.calls
    if answer.message.id != started.message or number >= len(calls):
        return None
    return await _last(store, session, found[1].seq, calls[number].id)


async def _last(store: EventStore, session: SessionId, after: Seq, call: CallId) -> ActionOpened | None:
    last: ActionOpened | None = None
    while True:
        events = await store.read(session, after, types=("action.opened", "turn.finished"), limit=_PAGE)
        for event in events:
            if event.type == "turn.finished":
                return last
            if isinstance(event.data, ActionOpened) and event.data.call == call:
                last = event.data
        if len(events) < _PAGE:
            return last
        after = events[-1].seq
